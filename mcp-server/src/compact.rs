//! The compact view: three tools stand for all, for models with little room.
//!
//! One finds operations, one runs those that only read, one runs the others, so that what is said of a tool, whether it
//! only reads, stays true. The list never changes. What is run is the same call as in any other view: its permission, its
//! arguments, its audit are those of the operation.

use std::sync::{Arc, LazyLock};

use keyrack_core::Error;
use keyrack_core::caller::Principal;
use keyrack_core::catalogue::Effect;
use keyrack_core::docs::{self, Reader};
use keyrack_core::error::{Code, Fault};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

use crate::asked::{TEXT_BYTES, read_text};
use crate::catalogue::{Catalogue, Offer};
use crate::naming::tool_name;
use crate::schema::into_object;
use crate::view::View;

/// The tool that finds operations.
pub(crate) const FIND: &str = "keyrack_find";
const READ: &str = "keyrack_read";
const WRITE: &str = "keyrack_write";
/// Operations that a search answers.
const FOUND: usize = 5;
/// Pages of the documentation that are looked through for them.
const PAGES: usize = 60;
/// Characters of what is looked for.
const LONGEST_QUERY: usize = 200;

/// The three tools.
pub(crate) static TOOLS: LazyLock<[Tool; 3]> = LazyLock::new(|| {
    let run = json!({
        "type": "object",
        "properties": {
            "operation": { "type": "string", "description": "Its name, such as keys_getKey." },
            "arguments": { "type": "object", "description": "As its schema says; keyrack_find shows it." },
        },
        "required": ["operation"],
        "additionalProperties": false,
    });
    let find = json!({
        "type": "object",
        "properties": { "query": { "type": "string", "description": "What is to be done, in a few words, or a name." } },
        "required": ["query"],
        "additionalProperties": false,
    });
    let tool = |name, description: &str, title, schema: &Value, hints: ToolAnnotations| {
        Tool::new(name, description.to_owned(), Arc::new(into_object(schema.clone())))
            .with_title(title)
            .with_annotations(hints.open_world(false))
    };
    let read = || ToolAnnotations::new().read_only(true).destructive(false).idempotent(true);
    let write = ToolAnnotations::new().read_only(false).destructive(true).idempotent(false);
    let finds =
        "Finds operations on API keys, limits, customers and usage, and shows how the best match is called.";
    let reads = "Runs an operation that changes nothing. Find it with keyrack_find first.";
    let writes = "Runs an operation that creates, changes or deletes, at once. Find it with keyrack_find first.";
    [
        tool(FIND, finds, "Find an operation", &find, read()),
        tool(READ, reads, "Run an operation that reads", &run, read()),
        tool(WRITE, writes, "Run an operation that changes", &run, write),
    ]
});

/// What is listed: the three, or the tools of the operations that a caller sees.
pub(crate) fn listed(catalogue: &Catalogue, view: &View, principal: &Principal) -> Vec<Tool> {
    if view.is_compact() { TOOLS.to_vec() } else { view.tools(catalogue, principal) }
}

/// What a call of one of the three is.
#[derive(Debug)]
pub(crate) enum Inner {
    /// A search for these words.
    Find(String),
    /// A call of this tool.
    Call { tool: String, arguments: JsonObject },
}

/// Reads a call of one of the three; `None` is a call of something else.
pub(crate) fn read(catalogue: &Catalogue, tool: &str, arguments: &JsonObject) -> Option<Result<Inner, Error>> {
    match tool {
        FIND => Some(query(arguments).map(Inner::Find)),
        READ => Some(call(catalogue, arguments, true)),
        WRITE => Some(call(catalogue, arguments, false)),
        _ => None,
    }
}

fn query(arguments: &JsonObject) -> Result<String, Error> {
    match arguments.get("query").and_then(Value::as_str).map(str::trim) {
        Some(query) if !query.is_empty() => Ok(query.chars().take(LONGEST_QUERY).collect()),
        _ => Err(wrong("query", "is required: what is to be done, in a few words")),
    }
}

fn call(catalogue: &Catalogue, arguments: &JsonObject, is_read: bool) -> Result<Inner, Error> {
    let named = arguments.get("operation").and_then(Value::as_str).map(str::trim).unwrap_or_default();
    let tool = tool_name(named);
    let Some(offer) = catalogue.find(&tool) else {
        return Err(wrong("operation", "is the name of no operation; keyrack_find shows names"));
    };
    if is_read != (offer.about.effect == Effect::Read) {
        let other = if is_read { WRITE } else { READ };
        return Err(wrong("operation", &format!("is to be run with {other}; nothing was done")));
    }
    let mut left = TEXT_BYTES;
    let arguments = match arguments.get("arguments") {
        None | Some(Value::Null) => JsonObject::new(),
        Some(Value::Object(members)) => members.clone(),
        Some(Value::String(text)) => match read_text(text, &mut left) {
            Some(Value::Object(members)) => members,
            _ if text.trim().is_empty() => JsonObject::new(),
            _ => return Err(wrong("arguments", "must be an object")),
        },
        Some(_) => return Err(wrong("arguments", "must be an object")),
    };
    Ok(Inner::Call { tool, arguments })
}

fn wrong(member: &str, what: &str) -> Error {
    let fault = Fault { location: format!("body.{member}"), message: what.to_owned(), fix: None };
    Error::new(Code::InvalidInput, "The arguments are not valid.").with_faults(vec![fault])
}

/// The operations that a caller sees and that a query is about, the best one with its schema.
pub(crate) fn find(catalogue: &Catalogue, view: &View, principal: &Principal, query: &str) -> Value {
    let named = catalogue.find(&tool_name(query));
    let pages = keyrack_core::operations::index().search(query, PAGES, Reader::Assistant);
    let documented = pages.iter().filter_map(|page| page.path.strip_prefix(docs::OPERATIONS));
    let documented = documented.filter_map(|name| catalogue.find(&tool_name(name)));
    let documented = documented.filter(|offer| named.is_none_or(|named| !Arc::ptr_eq(named, offer)));
    let seen = named.into_iter().chain(documented).filter(|offer| view.shows(offer, principal));
    let found: Vec<&Arc<Offer>> = seen.take(FOUND).collect();
    let shown = |offer: &&Arc<Offer>| {
        let runs_with = if offer.about.effect == Effect::Read { READ } else { WRITE };
        json!({ "operation": offer.tool.name, "does": offer.tool.description, "runsWith": runs_with })
    };
    let operations: Vec<Value> = found.iter().map(shown).collect();
    let best = found.first().map(|offer| {
        let (tool, _) = offer.shape(view.api().is_some());
        json!({ "operation": tool.name, "arguments": tool.input_schema })
    });
    json!({ "operations": operations, "best": best })
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::catalogue::tests::CATALOGUE;
    use crate::view::tests::root_key;

    fn arguments(value: Value) -> JsonObject {
        into_object(value)
    }

    #[test]
    fn a_call_says_which_operation_and_which_of_the_two_runs_it() {
        let read = |tool: &str, value: Value| super::read(&CATALOGUE, tool, &arguments(value)).unwrap();
        let call =
            read(READ, json!({ "operation": "keys.getKey", "arguments": "{\"keyId\": \"key_1\"}" })).unwrap();
        let Inner::Call { tool, arguments } = call else { panic!("{call:?}") };
        assert_eq!((tool.as_str(), &arguments["keyId"]), ("keys_getKey", &json!("key_1")));
        for (tool, value, expected) in [
            (READ, json!({ "operation": "keys_deleteKey" }), "run with keyrack_write"),
            (WRITE, json!({ "operation": "keys_getKey" }), "run with keyrack_read"),
            (READ, json!({ "operation": "keys_doNothing" }), "no operation"),
            (READ, json!({}), "no operation"),
            (READ, json!({ "operation": "keys_getKey", "arguments": [1] }), "must be an object"),
            (FIND, json!({ "query": " " }), "is required"),
        ] {
            let error = read(tool, value.clone()).unwrap_err();
            assert!(error.faults()[0].message.contains(expected), "{value}: {error:?}");
        }
        assert!(super::read(&CATALOGUE, "keys_getKey", &JsonObject::new()).is_none());
    }

    #[test]
    fn what_is_looked_for_is_found_among_what_is_seen() {
        let everything = root_key(&["*"], false);
        for (query, expected) in [
            ("create a key", "keys_createKey"),
            ("delete api", "apis_deleteApi"),
            ("keys.rerollKey", "keys_rerollKey"),
            ("list identities", "identities_listIdentities"),
        ] {
            let found = find(&CATALOGUE, &View::default(), &everything, query);
            assert_eq!(found["best"]["operation"], expected, "{query}: {found}");
            assert!(found["best"]["arguments"]["properties"].is_object());
        }
        let reader = root_key(&["api.*.read_api"], false);
        let found = find(&CATALOGUE, &View::default(), &reader, "create a key");
        assert!(!found.to_string().contains("keys_createKey"), "{found}");
        assert_eq!(find(&CATALOGUE, &View::default(), &everything, "¿?")["operations"], json!([]));
    }
}
