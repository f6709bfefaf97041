//! What can be read at an address instead of called: documentation, which is public, and things of the workspace.
//!
//! A thing of the workspace is what an operation answers to its example, with the name from the address in it: core says
//! of an operation that it is one ([`keyrack_core::catalogue::Resource`]). It is read by the same call as a tool, with the
//! same permission, view, limit, hygiene and log; where the tool is hidden, so is what it reads. Nothing is pushed and
//! lists never change within a connection.

mod address;
mod pages;

use std::sync::Arc;

use keyrack_core::Error;
use keyrack_core::catalogue::Pin;
use keyrack_core::docs::{PLACEHOLDERS, guides};
use rmcp::ErrorData;
use rmcp::model::{
    Annotations, CacheScope, ErrorCode, JsonObject, ReadResourceResult, Resource, ResourceContents,
    ResourceTemplate, Role,
};
use serde_json::{Value, json};

use crate::audience::Audience;
use crate::catalogue::{Catalogue, Offer};
use crate::projection::Shown;
use crate::schema::{DETAIL, FULL};
use crate::suggestions::Source;
use crate::view::View;
use crate::{failure, hygiene, rendering};
use address::SCHEME;
pub use pages::Documents;
use pages::Shelf;

const MARKDOWN: &str = "text/markdown";
const JSON: &str = "application/json";
/// How long documentation may be kept: it changes with the program alone.
const PUBLIC_TTL_MS: u64 = 3_600_000;
/// Characters of an address that are repeated.
const SHOWN: usize = 200;

const HOW_TO_FIND: &str = "resources/list and resources/templates/list show what can be read.";

/// Something public.
struct Public {
    /// The address behind the scheme, with at most one name in it, at its end.
    path: &'static str,
    title: &'static str,
    description: &'static str,
    mime: &'static str,
    /// Whether only models have use for it.
    for_models: bool,
    /// Where its names come from.
    source: Option<Source>,
    text: fn(&Shelf<'_>, &str) -> Option<String>,
}

static PUBLIC: [Public; 6] = [
    Public {
        path: "docs/{page}",
        title: "A page of the documentation",
        description: "A guide, such as verify-in-your-service, or an operation, such as keys_createKey.",
        mime: MARKDOWN,
        for_models: false,
        source: Some(Source::Pages),
        text: pages::documentation,
    },
    Public {
        path: "errors",
        title: "Error codes",
        description: "Every code that a call may be refused with, and what it means.",
        mime: MARKDOWN,
        for_models: false,
        source: None,
        text: pages::codes,
    },
    Public {
        path: "errors/{code}",
        title: "An error code",
        description: "What a code means and what to do about it.",
        mime: MARKDOWN,
        for_models: false,
        source: Some(Source::Codes),
        text: pages::code,
    },
    Public {
        path: "schemas/{operation}",
        title: "The schema of an operation",
        description: "What a tool takes and answers, as JSON Schema.",
        mime: JSON,
        for_models: true,
        source: Some(Source::Operations),
        text: pages::schema,
    },
    Public {
        path: "openapi",
        title: "The HTTP API",
        description: "The OpenAPI document of the API that applications call. It is long.",
        mime: JSON,
        for_models: true,
        source: None,
        text: pages::openapi,
    },
    Public {
        path: "analytics/tables",
        title: "Tables of analytics",
        description: "Tables, columns, functions and limits of the SQL of analytics.",
        mime: MARKDOWN,
        for_models: true,
        source: None,
        text: pages::tables,
    },
];

/// What is at an address.
#[derive(Debug)]
pub(crate) enum Sought {
    /// A text that anybody may read.
    Text(Box<ReadResourceResult>),
    /// What a call of this tool answers.
    Call { tool: String, arguments: JsonObject },
}

/// All that can be read without a name.
pub(crate) fn listed(audience: &Audience<'_>, documents: &Documents) -> Vec<Resource> {
    let public = PUBLIC.iter().filter(|public| public.source.is_none());
    let public = public.filter(|public| public.path != "openapi" || documents.are_there()).map(|public| {
        Resource::new(format!("{SCHEME}{}", public.path), public.path)
            .with_title(public.title)
            .with_description(public.description)
            .with_mime_type(public.mime)
            .with_annotations(readers(public.for_models))
    });
    let guides = guides().iter().map(|guide| {
        Resource::new(format!("{SCHEME}docs/{}", guide.slug), format!("docs/{}", guide.slug))
            .with_title(guide.title)
            .with_description(guide.summary)
            .with_mime_type(MARKDOWN)
            .with_annotations(readers(false))
    });
    let private = private(audience.catalogue).filter(|private| private.name.is_none());
    let private = private.filter(|private| audience.sees(private.offer)).map(|private| {
        Resource::new(format!("{SCHEME}{}", private.path), private.path)
            .with_title(private.title)
            .with_description(audience.catalogue.in_tool_names(private.offer.about.summary))
            .with_mime_type(JSON)
            .with_annotations(readers(false))
    });
    private.chain(guides).chain(public).collect()
}

/// All that can be read by a name.
pub(crate) fn templates(audience: &Audience<'_>) -> Vec<ResourceTemplate> {
    let public = PUBLIC.iter().filter(|public| public.source.is_some()).map(|public| {
        let name = public.path.split('/').next().unwrap_or(public.path);
        ResourceTemplate::new(format!("{SCHEME}{}", public.path), name)
            .with_title(public.title)
            .with_description(public.description)
            .with_mime_type(public.mime)
            .with_annotations(readers(public.for_models))
    });
    let private = private(audience.catalogue).filter(|private| audience.sees(private.offer));
    let private = private.filter_map(|private| {
        let template = format!("{SCHEME}{}/{{{}}}", private.path, private.name?);
        let template = ResourceTemplate::new(template, private.path)
            .with_title(private.title)
            .with_description(audience.catalogue.in_tool_names(private.offer.about.summary))
            .with_mime_type(JSON)
            .with_annotations(readers(false));
        Some(template)
    });
    private.chain(public).collect()
}

/// Where the names of a template come from; `None` where the caller is not shown such a template.
pub(crate) fn source(audience: &Audience<'_>, template: &str, variable: &str) -> Option<Source> {
    let path = template.strip_prefix(SCHEME)?;
    let (before, name) = path.rsplit_once('/')?;
    if name != format!("{{{variable}}}") {
        return None;
    }
    if let Some(public) = PUBLIC.iter().find(|public| public.path == path) {
        return public.source.clone();
    }
    let mut private = private(audience.catalogue).filter(|private| audience.sees(private.offer));
    private.find(|private| private.path == before && private.name == Some(variable))?;
    Source::of_placeholder(variable)
}

/// Finds what is at an address.
///
/// # Errors
/// When there is nothing.
pub(crate) fn find(
    catalogue: &Catalogue,
    documents: &Documents,
    view: &View,
    address: &str,
) -> Result<Sought, ErrorData> {
    let parts = address::parts(address).map_err(|why| not_found(address, &why.to_string()))?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    if let Some(text) = public_text(catalogue, documents, view.api().is_some(), &parts, address) {
        return Ok(Sought::Text(Box::new(text)));
    }
    let call = match parts.as_slice() {
        [path] => private(catalogue)
            .find(|private| private.path == *path && private.name.is_none())
            .map(|private| (private, "")),
        [path, name] => {
            let named = private(catalogue).find(|private| private.path == *path && private.name.is_some());
            named.map(|private| (private, *name))
        }
        _ => None,
    };
    let (private, name) = call.ok_or_else(|| not_found(address, HOW_TO_FIND))?;
    let tool = private.offer.tool.name.to_string();
    let arguments = private.arguments(name, view).ok_or_else(|| not_found(address, "It is not of this view."))?;
    Ok(Sought::Call { tool, arguments })
}

/// Something public at an address, whoever asks.
pub(crate) fn public(catalogue: &Catalogue, documents: &Documents, address: &str) -> Option<ReadResourceResult> {
    let parts = address::parts(address).ok()?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    public_text(catalogue, documents, false, &parts, address)
}

fn public_text(
    catalogue: &Catalogue,
    documents: &Documents,
    is_pinned: bool,
    parts: &[&str],
    address: &str,
) -> Option<ReadResourceResult> {
    let shelf = Shelf { catalogue, documents, is_pinned };
    PUBLIC.iter().find_map(|public| {
        let name = public.name_in(parts)?;
        let text = (public.text)(&shelf, name)?;
        let contents = ResourceContents::text(text, address).with_mime_type(public.mime);
        // Schemas are those of the view.
        let scope = if is_pinned && public.for_models { CacheScope::Private } else { CacheScope::Public };
        Some(ReadResourceResult::new(vec![contents]).with_ttl_ms(PUBLIC_TTL_MS).with_cache_scope(scope))
    })
}

impl Public {
    /// The name in an address of this kind, empty where it has none.
    fn name_in<'a>(&self, parts: &[&'a str]) -> Option<&'a str> {
        let own: Vec<&str> = self.path.split('/').collect();
        match (self.source.is_some(), parts) {
            (false, _) => (own == parts).then_some(""),
            (true, [before @ .., name]) => (own[..own.len() - 1] == *before).then_some(*name),
            (true, []) => None,
        }
    }
}

/// A thing of the workspace.
struct Private<'a> {
    path: &'static str,
    title: &'static str,
    /// What it is named by, `keyId`, and the member of the request that takes that.
    name: Option<&'static str>,
    member: Option<String>,
    offer: &'a Arc<Offer>,
}

fn private(catalogue: &Catalogue) -> impl Iterator<Item = Private<'_>> {
    catalogue.offers().iter().filter_map(|offer| {
        let resource = offer.about.assistants.resource?;
        let example = serde_json::from_str::<Value>(offer.about.example).ok()?;
        let named = example.as_object()?.iter().find_map(|(member, value)| {
            let placeholder = PLACEHOLDERS.iter().find(|placeholder| value == placeholder.mark)?;
            Some((placeholder.name(), member.clone()))
        });
        let (name, member) = named.unzip();
        Some(Private { path: resource.path, title: resource.title, name, member, offer })
    })
}

impl Private<'_> {
    /// The example of the operation with a name in it; `None` where a view of one API is asked for another.
    fn arguments(&self, name: &str, view: &View) -> Option<JsonObject> {
        let mut arguments = serde_json::from_str::<JsonObject>(self.offer.about.example).ok()?;
        if let Some(member) = &self.member {
            match (self.offer.about.assistants.pinned_by, view.api()) {
                (Some(Pin::Api(pinned)), Some(api)) if pinned == member => {
                    arguments.remove(member);
                    (name == api).then_some(())?;
                }
                _ => drop(arguments.insert(member.clone(), name.into())),
            }
        }
        let (_, form) = self.offer.shape(view.api().is_some());
        if form.has_detail {
            arguments.insert(DETAIL.to_owned(), FULL.into());
        }
        Some(arguments)
    }
}

/// What a call answered, at its address. It is nobody else's, and true now.
pub(crate) fn answered(address: &str, shown: Shown, request_id: &str) -> ReadResourceResult {
    let text = rendering::structured(shown).to_string();
    let contents = ResourceContents::text(text, address).with_mime_type(JSON);
    let result = ReadResourceResult::new(vec![contents]).with_ttl_ms(0);
    let mut result = result.with_cache_scope(CacheScope::Private);
    result.meta = Some(rendering::meta(request_id));
    result
}

/// The refusal of a call for what is at an address: there is nothing for this caller, or not now.
pub(crate) fn refused(catalogue: &Catalogue, error: &Error, address: &str, request_id: &str) -> ErrorData {
    let text = failure::text(catalogue, error, request_id);
    match error.code().status() {
        401 | 429 => ErrorData::new(ErrorCode::INVALID_REQUEST, text, None),
        status if status < 500 => not_found(address, &text),
        _ => ErrorData::new(ErrorCode::INTERNAL_ERROR, text, None),
    }
}

/// Nothing is at an address. The name in it is not repeated: somebody may have put a key there.
fn not_found(address: &str, why: &str) -> ErrorData {
    let kind = address.strip_prefix(SCHEME).and_then(|path| path.split_once('/'));
    let shown = kind.map_or_else(|| address.to_owned(), |(kind, _)| format!("{SCHEME}{kind}/…"));
    let shown = hygiene::line(&shown, SHOWN);
    let message = format!("There is nothing to read at `{shown}`. {why}");
    ErrorData::resource_not_found(message, Some(json!({ "uri": shown })))
}

fn readers(for_models: bool) -> Annotations {
    let audience = if for_models { vec![Role::Assistant] } else { vec![Role::User, Role::Assistant] };
    Annotations::default().with_audience(audience)
}
