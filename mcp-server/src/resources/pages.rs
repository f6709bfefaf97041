//! What is public and can be read at an address: documentation, codes, schemas. Core's words, as Markdown or JSON.

use std::fmt;
use std::sync::OnceLock;

use keyrack_core::Code;
use keyrack_core::docs::{OPERATIONS, Reader, analytics_reference, guides};
use keyrack_core::operations;
use serde_json::{Value, json};

use crate::catalogue::{Catalogue, Offer};
use crate::naming::{operation_name, tool_name};

/// What only the program knows of documentation: where its HTTP API is, and how that describes itself.
#[derive(Default)]
pub struct Documents {
    base: String,
    describe: Option<fn(&str) -> String>,
    openapi: OnceLock<String>,
}

impl Documents {
    /// Of an HTTP API that clients reach at `base`; `describe` makes its OpenAPI document as JSON from that, once it is
    /// asked for.
    pub fn new(base: impl Into<String>, describe: fn(&str) -> String) -> Documents {
        let base = base.into().trim_end_matches('/').to_owned();
        Documents { base, describe: Some(describe), openapi: OnceLock::new() }
    }

    /// Whether there is an HTTP API at all.
    pub(super) fn are_there(&self) -> bool {
        self.describe.is_some()
    }

    fn openapi(&self) -> Option<&str> {
        let describe = self.describe?;
        Some(self.openapi.get_or_init(|| describe(&self.base)))
    }
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Where pages are made from.
pub(super) struct Shelf<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) documents: &'a Documents,
    /// Whether the view is about one API, which tools do not ask for then.
    pub(super) is_pinned: bool,
}

/// A guide by its name, or an operation by that of its tool or its own.
pub(super) fn documentation(shelf: &Shelf<'_>, page: &str) -> Option<String> {
    match guides().iter().find(|guide| guide.slug == page) {
        Some(guide) => {
            let text = guide.text(&shelf.documents.base);
            let text = text.replace("](/", &format!("]({}/", shelf.documents.base));
            Some(format!("# {}\n\n{}\n\n{}\n", guide.title, guide.summary, text.trim()))
        }
        None => of_operation(shelf, page),
    }
}

fn of_operation(shelf: &Shelf<'_>, page: &str) -> Option<String> {
    let path = format!("{OPERATIONS}{}", operation_name(page));
    let found = operations::index().page(&path, Reader::Assistant)?;
    let spoken = |text: &str| shelf.catalogue.in_tool_names(text);
    let mut text =
        format!("# {}\n\n{}\n\n{}\n", spoken(&found.title), spoken(&found.summary), spoken(&found.text));
    match shelf.catalogue.find(&tool_name(page)) {
        Some(offer) => {
            text.push_str(&format!("\nIts schema: keyrack://schemas/{}\n", offer.tool.name));
        }
        None => text.push_str("\nIt is no tool of assistants.\n"),
    }
    Some(text)
}

/// All codes, by status.
pub(super) fn codes(shelf: &Shelf<'_>, _: &str) -> Option<String> {
    let mut codes: Vec<Code> = Code::ALL.to_vec();
    codes.sort_by_key(|code| (code.status(), code.path()));
    let row = |code: &Code| format!("| {} | `{}` | {} |\n", code.status(), code.specific(), code.meaning());
    let rows: String = codes.iter().map(row).collect();
    let rows = shelf.catalogue.in_tool_names(&rows);
    Some(format!(
        "# Error codes\n\nWhat to do about one: `keyrack://errors/{{code}}`.\n\n| status | code | meaning |\n|---|---|---|\n{rows}"
    ))
}

/// A code by its last part. One name may have two codes: of the key that was verified, and of the root key.
pub(super) fn code(shelf: &Shelf<'_>, name: &str) -> Option<String> {
    let named = Code::ALL.iter().filter(|code| code.specific() == name || code.path() == name);
    let told = named.map(|code| {
        let (status, title, path) = (code.status(), code.title(), code.path());
        format!("# {status} {title}: {path}\n\n{}\n\nWhat to do: {}\n", code.meaning(), code.remedy())
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| shelf.catalogue.in_tool_names(&told.join("\n")))
}

/// What a tool takes and answers, as this view has it.
pub(super) fn schema(shelf: &Shelf<'_>, operation: &str) -> Option<String> {
    let offer: &Offer = shelf.catalogue.find(&tool_name(operation))?;
    let (tool, _) = offer.shape(shelf.is_pinned);
    let mut schema = json!({
        "tool": tool.name,
        "operation": offer.about.name,
        "description": tool.description,
        "arguments": tool.input_schema,
    });
    if let Some(output) = &tool.output_schema {
        schema["answer"] = Value::Object(output.as_ref().clone());
    }
    Some(schema.to_string())
}

/// The OpenAPI document of the HTTP API.
pub(super) fn openapi(shelf: &Shelf<'_>, _: &str) -> Option<String> {
    shelf.documents.openapi().map(str::to_owned)
}

/// What statements of analytics may name.
pub(super) fn tables(shelf: &Shelf<'_>, _: &str) -> Option<String> {
    Some(format!("# Tables of analytics\n\n{}", shelf.catalogue.in_tool_names(&analytics_reference())))
}
