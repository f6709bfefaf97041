//! What an operation answered, as the result of a tool.
//!
//! Some clients show the model the structured half only, others the text only, so both carry the same
//! facts: `structuredContent` is `{data, after?, pagination?, notes?}` and the one text block is its compact JSON.
//! `notes` is inside, because a note that a client drops is a note nobody reads.

use keyrack_core::schema::AnsweredSecrets;
use rmcp::model::{CallToolResult, MetaObject};
use serde_json::{Map, Value};

use crate::catalogue::Answer;
use crate::projection::Shown;

/// Where a result says which request it answers, as the server's log names it.
pub(crate) const REQUEST_ID: &str = "keyrack/requestId";

/// The result of a call that went well.
pub(crate) fn result(shown: Shown, request_id: &str) -> CallToolResult {
    CallToolResult::structured(structured(shown)).with_meta(Some(meta(request_id)))
}

/// What an answer is: its data, how it goes on, and what is to be known of it.
pub(crate) fn structured(shown: Shown) -> Value {
    let Shown { answer, after, notes, .. } = shown;
    let mut members = Map::new();
    members.insert("data".to_owned(), answer.data);
    if let Some(pagination) = answer.pagination {
        members.insert("pagination".to_owned(), serde_json::json!(pagination));
    }
    members.extend(after.map(|after| ("after".to_owned(), after)));
    if !notes.is_empty() {
        members.insert("notes".to_owned(), notes.into());
    }
    Value::Object(members)
}

/// Bytes of the texts of a result.
pub(crate) fn bytes(result: &CallToolResult) -> u64 {
    let texts = result.content.iter().filter_map(|content| content.as_text());
    texts.map(|text| text.text.len() as u64).sum()
}

/// What every result says about itself.
pub(crate) fn meta(request_id: &str) -> MetaObject {
    let mut meta = MetaObject::new();
    meta.insert(REQUEST_ID.to_owned(), request_id.into());
    meta
}

/// How a list goes on.
pub(crate) const MORE: &str = "There are more: call again with `pagination.cursor` as `cursor`.";

/// What is to be known of the secrets in an answer.
pub(crate) fn notes(secrets: &AnsweredSecrets, answer: &Answer) -> Vec<String> {
    let name = |pointer: &str| pointer.trim_start_matches('/').replace("*/", "[].").replace('/', ".");
    let once = secrets.once.filled_in(&answer.data).map(|pointer| {
        let name = name(pointer);
        format!("`data.{name}` is a secret, shown this once: it cannot be read again. Hand it over now.")
    });
    let again = secrets.again.filled_in(&answer.data);
    let again = again.map(|pointer| format!("`data.{}` is a secret. Do not repeat it.", name(pointer)));
    once.chain(again).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalogue::tests::CATALOGUE;

    fn rendered(tool: &str, data: Value) -> CallToolResult {
        let answer = Answer { data, pagination: None };
        let notes = notes(&CATALOGUE.find(tool).unwrap().secrets, &answer);
        result(Shown { notes, ..Shown::whole(answer) }, "req_1")
    }

    #[test]
    fn both_halves_carry_the_same_facts() {
        let result = rendered("keys_createKey", json!({ "keyId": "key_1", "key": "sk_1" }));
        let text = &result.content[0].as_text().unwrap().text;
        let structured = result.structured_content.unwrap();
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), structured);
        assert_eq!(structured["data"]["key"], "sk_1");
        assert!(structured["notes"][0].as_str().unwrap().starts_with("`data.key` is a secret, shown this once"));
        assert_eq!(result.meta.unwrap()[REQUEST_ID], "req_1");
    }
}
