//! The built-in documentation: a page per operation, a page per error code, and guides.
//!
//! Nothing here is written twice. A page of an operation is what its `About` and its schemas say; a page
//! of a code is what [`Code`] says; a [`Guide`] is written by hand. Faces decide how a page looks; [`Index`] finds pages
//! by their words.

mod analytics;
mod codes;
mod fields;
mod guides;
mod search;

pub use fields::Field;
pub use guides::{Guide, Part, anchor, guides, guides_about};
pub use search::{Found, Index, Reader};

use std::fmt;

use serde_json::Value;

use crate::catalogue::{About, Operation, Visitor, request_schema};
use crate::error::Code;
use crate::schema::response_schema;

/// Something that stands in an example for what its reader has.
#[derive(Debug, Clone, Copy)]
pub struct Placeholder {
    /// As it is written in the example.
    pub mark: &'static str,
    /// What it stands for.
    pub what: &'static str,
    /// The operation that shows such things.
    pub shown_by: Option<&'static str>,
    /// The member of what that answers, or of an item of it, that stands here; empty without such an operation.
    pub member: &'static str,
}

impl Placeholder {
    /// Its mark without brackets, as faces name it: `apiId`.
    pub fn name(&self) -> &'static str {
        self.mark.trim_matches(['<', '>'])
    }
}

/// Every placeholder of an example.
pub const PLACEHOLDERS: [Placeholder; 16] = [
    shown("<apiId>", "the id of an API", "apis.listApis", "id"),
    shown(
        "<externalId>",
        "what your own system calls an identity that exists",
        "identities.listIdentities",
        "externalId",
    ),
    shown("<identityId>", "the id of an identity", "identities.listIdentities", "id"),
    given("<key>", "a full key, as `keys.createKey` answered it"),
    shown("<keyId>", "the id of a key", "keys.listKeys", "keyId"),
    shown("<logId>", "the id of an entry of the audit log", "audit.listLogs", "id"),
    given("<migrationId>", "what `keyrack migration create` printed"),
    shown("<namespace>", "the name of a rate-limit namespace that exists", "ratelimit.listNamespaces", "name"),
    given("<newKeyHash>", "the hash of a key of your old system, in the form that the migration takes"),
    shown(
        "<overrideIdentifier>",
        "the identifier of an override that exists",
        "ratelimit.listOverrides",
        "identifier",
    ),
    shown("<permissionId>", "the id of a permission", "permissions.listPermissions", "id"),
    shown("<permissionSlug>", "the slug of a permission that exists", "permissions.listPermissions", "slug"),
    shown("<roleId>", "the id of a role", "permissions.listRoles", "id"),
    shown("<roleName>", "the name of a role that exists", "permissions.listRoles", "name"),
    shown("<rootKeyId>", "the id of a root key", "rootKeys.listKeys", "keyId"),
    shown("<workspaceId>", "the id of a workspace", "workspace.listWorkspaces", "id"),
];

const fn shown(mark: &'static str, what: &'static str, by: &'static str, member: &'static str) -> Placeholder {
    Placeholder { mark, what, shown_by: Some(by), member }
}

const fn given(mark: &'static str, what: &'static str) -> Placeholder {
    Placeholder { mark, what, shown_by: None, member: "" }
}

/// What it stands for, and where that comes from: ``the id of an API: `apis.listApis` shows them``.
impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        self.shown_by.map_or(Ok(()), |operation| write!(f, ": `{operation}` shows them"))
    }
}

/// The request members that name things which exist, each with the operation that shows such things: those whose value
/// in the example is a placeholder.
pub fn origins(about: &About) -> Vec<(String, &'static str)> {
    let Ok(Value::Object(members)) = serde_json::from_str::<Value>(about.example) else { return Vec::new() };
    let shown_by = |value: &Value| {
        let mark = value.as_str()?;
        PLACEHOLDERS.iter().find(|placeholder| placeholder.mark == mark)?.shown_by
    };
    members.into_iter().filter_map(|(member, value)| Some((member, shown_by(&value)?))).collect()
}

/// What the paths of pages of operations begin with, before the name.
pub const OPERATIONS: &str = "/docs/operations/";

/// The page of an operation.
#[derive(Debug)]
pub struct OperationPage {
    /// Its texts and facts.
    pub about: &'static About,
    /// What is sent, outer members before inner ones.
    pub request: Vec<Field>,
    /// What is answered as `data`.
    pub response: Vec<Field>,
    /// The codes that it answers besides those that any operation may.
    pub codes: Vec<Code>,
}

impl OperationPage {
    fn of<O: Operation>() -> Self {
        let about = const { &O::ABOUT };
        OperationPage {
            about,
            request: fields::of(request_schema::<O>().as_value()),
            response: fields::of(&response_schema::<O::Response>()),
            codes: about.codes(),
        }
    }

    /// Where it is on a server.
    pub fn path(&self) -> String {
        format!("{OPERATIONS}{}", self.about.name)
    }

    /// The example as an HTTP body, laid out for people; `None` while the operation has none.
    pub fn example(&self) -> Option<String> {
        let example = self.about.example;
        let request = serde_json::from_str::<Value>(example).ok()?;
        if example.len() > 60 {
            serde_json::to_string_pretty(&self.about.to_body(request)).ok()
        } else {
            Some(example.to_owned())
        }
    }

    /// The placeholders of the example, each with where it comes from.
    pub fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        PLACEHOLDERS.into_iter().filter(|placeholder| self.about.example.contains(placeholder.mark))
    }

    /// What a root key needs, in words: a condition, which is empty for what every call needs, and the
    /// permissions.
    pub fn permissions(&self) -> Vec<(&'static str, String)> {
        let main = self.about.rule.main.as_ref().map(|main| ("", main.text("{workspaceId}", &[])));
        let further = self.about.rule.conditional.iter();
        main.into_iter().chain(further.map(|rule| (rule.when, rule.check.text("{workspaceId}", &[])))).collect()
    }
}

/// The pages of all operations that it is shown, in their order.
#[derive(Debug, Default)]
pub struct Pages(pub Vec<OperationPage>);

impl Visitor for Pages {
    fn operation<O: Operation>(&mut self) {
        self.0.push(OperationPage::of::<O>());
    }
}

/// Where the page of a code is on a server.
pub fn path_of(code: Code) -> String {
    format!("/docs/errors/{}", code.path())
}

/// What statements of analytics may name and take, as Markdown: tables with their columns, functions, limits.
pub fn analytics_reference() -> String {
    let [tables, functions, limits] = [analytics::tables(), analytics::functions(), analytics::limits()];
    format!("## Tables and columns\n\n{tables}\n## Functions\n\n{functions}\n## Limits\n\n{limits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placeholders_in(text: &str) -> impl Iterator<Item = &str> {
        text.match_indices("\"<").filter_map(|(at, _)| {
            let rest = &text[at + 1..];
            rest.find('>').map(|end| &rest[..=end])
        })
    }

    #[test]
    fn every_operation_has_an_example_that_its_own_schema_allows() {
        struct Examples(Vec<String>);
        impl Visitor for Examples {
            fn operation<O: Operation>(&mut self) {
                let about = O::ABOUT;
                let Ok(example) = serde_json::from_str::<Value>(about.example) else {
                    self.0.push(format!("{} has no `example` in its About (or it is no JSON)", about.name));
                    return;
                };
                for placeholder in placeholders_in(about.example) {
                    if !PLACEHOLDERS.iter().any(|known| known.mark == placeholder) {
                        self.0.push(format!("{}: {placeholder} is not in docs::PLACEHOLDERS", about.name));
                    }
                }
                // Patterns of ids do not allow placeholders; what replaces them does.
                let filled = about.example.replace('<', "id_").replace('>', "");
                let filled = serde_json::from_str(&filled).unwrap_or(example);
                for fault in request_schema::<O>().faults(&filled) {
                    self.0.push(format!("{}: {} {}", about.name, fault.location, fault.message));
                }
            }
        }
        let mut examples = Examples(Vec::new());
        crate::each(&mut examples);
        assert!(examples.0.is_empty(), "an example is a request in JSON: {:#?}", examples.0);
    }

    #[test]
    fn a_page_says_what_its_operation_says() {
        let page = crate::operations::pages().iter().find(|page| page.about.name == "apis.listKeys").unwrap();
        assert_eq!(page.path(), "/docs/operations/apis.listKeys");
        let codes: Vec<&str> = page.codes.iter().map(|code| code.specific()).collect();
        assert!(codes.contains(&"insufficient_permissions") && codes.contains(&"api_not_found"), "{codes:?}");
        assert_eq!(page.permissions()[1].0, "decrypt is true");
        assert!(page.request.iter().any(|field| field.path == "apiId" && field.required));
    }
}
