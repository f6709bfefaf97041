//! What is no message of MCP, answered as JSON-RPC wants, the same on every transport.
//!
//! The library answers parameters that it cannot read with "method not found", which clients take for a server
//! without tools, and broken JSON with a plain text or not at all. So every message passes here first, and the
//! library sees only those that it can read.

use std::borrow::Cow;

use keyrack_core::json::{self, Unfit};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorCode, JsonRpcMessage};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::asked::{TEXT_BYTES, read_text};

/// The methods that are served, and what their parameters are.
const SERVED: [(&str, &str); 11] = [
    (
        "initialize",
        "an object with `protocolVersion` (a text), `capabilities` (an object) and `clientInfo` (an object with the texts \
         `name` and `version`)",
    ),
    ("ping", "an object, or absent"),
    ("server/discover", "an object, or absent"),
    ("tools/list", LIST),
    ("tools/call", "an object with `name` (a text) and, if the tool takes any, `arguments` (an object)"),
    ("prompts/list", LIST),
    (
        "prompts/get",
        "an object with `name` (a text) and, if the prompt takes any, `arguments` (an object of texts)",
    ),
    ("resources/list", LIST),
    ("resources/templates/list", LIST),
    ("resources/read", "an object with `uri` (a text)"),
    (
        "completion/complete",
        "an object with `ref` (`{type: \"ref/prompt\", name}` or `{type: \"ref/resource\", uri}`) and `argument` (an object \
         with the texts `name` and `value`)",
    ),
];
const LIST: &str = "an object, or absent; its `cursor`, if there is one, is a text";
/// Values that a message may hold: the library reads a message twice over into trees of them.
const MOST_VALUES: usize = 100_000;
/// Levels of a message around the arguments of a tool: itself and its `params`.
const AROUND_ARGUMENTS: usize = 2;
/// Characters of a method that are repeated.
const SHOWN: usize = 64;

/// Why a message goes no further.
#[derive(Debug, PartialEq)]
pub(crate) struct Refusal {
    /// The message's id; null where it has none that can be read.
    id: Value,
    code: ErrorCode,
    message: String,
}

impl Refusal {
    /// A refusal of what has no id.
    pub(crate) fn without_id(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { id: Value::Null, code, message: message.into() }
    }

    /// Whether the message itself is a right one, and only what it asks for is not.
    pub(crate) fn is_of_a_request(&self) -> bool {
        matches!(self.code, ErrorCode::INVALID_PARAMS | ErrorCode::METHOD_NOT_FOUND)
    }

    /// The answer.
    pub(crate) fn to_json(&self) -> Value {
        serde_json::json!({ "jsonrpc": "2.0", "id": self.id, "error": { "code": self.code, "message": self.message } })
    }
}

/// The members of a message that decide how it is read; texts of the rest are not looked into.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// The parameters of a list.
#[derive(Deserialize)]
struct ListParams {
    #[serde(default, rename = "cursor")]
    _cursor: Option<String>,
}

/// The parameters of `tools/call`, as far as they are looked at here.
#[derive(Deserialize)]
struct CallParams<'a> {
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

/// A message as it was meant: without the byte-order mark that some clients begin with, and which readers of JSON may
/// ignore, and with the arguments of a call as an object where a model wrote their JSON into a text, or an empty text.
pub(crate) fn meant(text: &[u8]) -> Cow<'_, [u8]> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    with_arguments(text).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn with_arguments(text: &[u8]) -> Option<Vec<u8>> {
    let envelope: Envelope<'_> = serde_json::from_slice(text).ok()?;
    if envelope.method?.get() != r#""tools/call""# {
        return None;
    }
    let params: CallParams<'_> = serde_json::from_str(envelope.params?.get()).ok()?;
    let arguments: String = serde_json::from_str(params.arguments?.get()).ok()?;
    let arguments = match arguments.trim() {
        "" => serde_json::json!({}),
        json => read_text(json, &mut { TEXT_BYTES }).filter(Value::is_object)?,
    };
    json::look_at(text, AROUND_ARGUMENTS, MOST_VALUES).ok()?;
    let mut message: Value = json::read(text).ok()?;
    // The library of JSON reads arrays as objects, too.
    message.get_mut("params")?.as_object_mut()?.insert("arguments".to_owned(), arguments);
    Some(message.to_string().into_bytes())
}

/// Tells a member that is null from one that is absent.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a message.
///
/// # Errors
/// Why it is none, or none that can be answered otherwise.
pub(crate) fn read(text: &[u8]) -> Result<ClientJsonRpcMessage, Refusal> {
    let invalid = |message: &str| Refusal::without_id(ErrorCode::INVALID_REQUEST, message);
    let text = &*meant(text);
    let envelope = envelope(text)?;
    if let Err(Unfit::TooMuch(why)) = json::look_at(text, AROUND_ARGUMENTS, MOST_VALUES) {
        return Err(Refusal { id: readable_id(envelope.id), ..invalid(&format!("The message {why}.")) });
    }
    if envelope.jsonrpc.is_none_or(|version| version.get() != r#""2.0""#) {
        return Err(Refusal { id: readable_id(envelope.id), ..invalid("`jsonrpc` must be \"2.0\".") });
    }
    let id = readable_id(envelope.id);
    let Some(method) = envelope.method else {
        // An answer to something that we never ask; the library drops it.
        let is_answer = envelope.result.is_some() || envelope.error.is_some();
        return match serde_json::from_slice(text) {
            Ok(message) if is_answer => Ok(message),
            _ => Err(Refusal { id, ..invalid("A message has a `method`, or a `result`, or an `error`.") }),
        };
    };
    if envelope.id.is_some() && id.is_null() {
        return Err(invalid("`id` must be a text or a whole number; leave it out of a notification."));
    }
    let Ok(method) = serde_json::from_str::<String>(method.get()) else {
        return Err(Refusal { id, ..invalid("`method` must be a text.") });
    };
    let unread_cursor = || {
        envelope
            .params
            .filter(|params| params.get() != "null")
            .is_some_and(|params| serde_json::from_str::<ListParams>(params.get()).is_err())
    };
    if served(&method) == Some(LIST) && unread_cursor() {
        // The library would take it for none.
        return Err(unreadable(id, &method, served(&method).unwrap_or_default()));
    }
    let message = serde_json::from_slice::<ClientJsonRpcMessage>(text);
    match (message, served(&method)) {
        (Ok(JsonRpcMessage::Request(request)), Some(params))
            if matches!(request.request, ClientRequest::CustomRequest(_)) =>
        {
            Err(unreadable(id, &method, params))
        }
        (Ok(message), _) => Ok(message),
        (Err(_), Some(params)) if !id.is_null() => Err(unreadable(id, &method, params)),
        (Err(_), None) if !id.is_null() => {
            let message = format!("There is no method {}.", method.chars().take(SHOWN).collect::<String>());
            Err(Refusal { id, code: ErrorCode::METHOD_NOT_FOUND, message })
        }
        (Err(_), _) => Err(Refusal { id, ..invalid("The message is none of MCP.") }),
    }
}

fn served(method: &str) -> Option<&'static str> {
    SERVED.iter().find(|(known, _)| *known == method).map(|(_, params)| *params)
}

fn unreadable(id: Value, method: &str, params: &str) -> Refusal {
    let method: String = method.chars().take(SHOWN).collect();
    let message = format!(
        "The `params` of {method} cannot be read: they are {params}. `_meta`, where it is sent, is an object."
    );
    Refusal { id, code: ErrorCode::INVALID_PARAMS, message }
}

fn envelope(text: &[u8]) -> Result<Envelope<'_>, Refusal> {
    let invalid = |message: &str| Refusal::without_id(ErrorCode::INVALID_REQUEST, message);
    let parsed = serde_json::from_slice::<&RawValue>(text);
    let whole =
        parsed.map_err(|_| Refusal::without_id(ErrorCode::PARSE_ERROR, "The message is not JSON in UTF-8."))?;
    match whole.get().as_bytes().first() {
        Some(b'{') => {
            serde_json::from_str(whole.get()).map_err(|_| invalid("A member of the message is there twice."))
        }
        Some(b'[') => {
            Err(invalid("Batches are not taken, in no revision of the protocol: send one message at a time."))
        }
        _ => Err(invalid("A message is a JSON object.")),
    }
}

/// The id of a message, if it can be answered under it.
fn readable_id(id: Option<&RawValue>) -> Value {
    let id = id.filter(|id| serde_json::from_str::<rmcp::model::RequestId>(id.get()).is_ok());
    id.and_then(|id| serde_json::from_str(id.get()).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn refused(text: &str) -> (Value, i32) {
        let refusal = read(text.as_bytes()).expect_err(text);
        let json = refusal.to_json();
        (json["id"].clone(), i32::try_from(json["error"]["code"].as_i64().unwrap()).unwrap())
    }

    #[test]
    fn what_is_no_message_has_its_code_and_an_id() {
        for (text, id, code) in [
            ("", json!(null), -32700),
            ("{", json!(null), -32700),
            ("[1", json!(null), -32700),
            ("\u{1}", json!(null), -32700),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#, json!(null), -32700),
            ("[]", json!(null), -32600),
            (r#"["2.0",1,"tools/call",{"arguments":""}]"#, json!(null), -32600),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, json!(null), -32600),
            ("1", json!(null), -32600),
            ("null", json!(null), -32600),
            (r#""ping""#, json!(null), -32600),
            ("{}", json!(null), -32600),
            (r#"{"jsonrpc":"2.0"}"#, json!(null), -32600),
            (r#"{"id":1,"method":"ping"}"#, json!(1), -32600),
            (r#"{"jsonrpc":"1.0","id":"a","method":"ping"}"#, json!("a"), -32600),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, json!(null), -32600),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, json!(null), -32600),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, json!(null), -32600),
            (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, json!(null), -32600),
            (r#"{"jsonrpc":"2.0","id":7,"method":5}"#, json!(7), -32600),
            (r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"ping"}"#, json!(null), -32600),
            (r#"{"jsonrpc":"2.0","id":7}"#, json!(7), -32600),
        ] {
            assert_eq!(refused(text), (id, code), "{text}");
        }
    }

    #[test]
    fn parameters_that_cannot_be_read_are_invalid_and_the_method_is_not_unknown() {
        let odd = [
            json!(""),
            json!(0),
            json!([]),
            json!([1]),
            json!(true),
            json!({ "_meta": "" }),
            json!({ "_meta": 1 }),
        ];
        for (method, params) in SERVED {
            for odd in &odd {
                let text = json!({ "jsonrpc": "2.0", "id": "x", "method": method, "params": odd }).to_string();
                assert_eq!(refused(&text), (json!("x"), -32602), "{text}");
            }
            assert!(!params.is_empty());
        }
        for (method, params) in [
            ("tools/call", json!({})),
            ("tools/call", json!({ "name": 5 })),
            ("tools/call", json!([""])),
            ("tools/call", json!(["{}"])),
            ("tools/call", json!({ "name": "apis_listApis", "arguments": "all" })),
            ("tools/call", json!({ "name": "apis_listApis", "arguments": "[]" })),
            ("tools/call", json!({ "name": "apis_listApis", "arguments": "{\"a\": " })),
            ("tools/call", json!({ "name": "apis_listApis", "arguments": "\"{}\"" })),
            ("tools/call", json!({ "name": "apis_listApis", "arguments": [] })),
            ("tools/list", json!({ "cursor": 5 })),
            ("prompts/list", json!({ "cursor": {} })),
            ("resources/list", json!({ "cursor": 5 })),
            ("resources/templates/list", json!({ "cursor": 5 })),
            ("prompts/get", json!({})),
            ("prompts/get", json!({ "name": "usage_report", "arguments": "" })),
            ("resources/read", json!({})),
            ("resources/read", json!({ "uri": 5 })),
            ("completion/complete", json!({})),
            (
                "completion/complete",
                json!({ "ref": { "type": "ref/tool", "name": "x" }, "argument": { "name": "a", "value": "" } }),
            ),
            ("completion/complete", json!({ "ref": { "type": "ref/prompt", "name": "x" } })),
            (
                "completion/complete",
                json!({ "ref": { "type": "ref/prompt", "name": "x" }, "argument": { "name": "a", "value": 5 } }),
            ),
            ("initialize", json!({})),
            (
                "initialize",
                json!({ "protocolVersion": 1, "capabilities": {}, "clientInfo": { "name": "a", "version": "1" } }),
            ),
        ] {
            let text = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
            assert_eq!(refused(&text), (json!(1), -32602), "{text}");
            let shown = read(text.as_bytes()).unwrap_err().to_json().to_string();
            assert!(shown.contains(method), "{shown}");
        }
    }

    #[test]
    fn arguments_in_a_text_are_arguments() {
        for (arguments, meant) in [
            ("", json!({})),
            (" \n", json!({})),
            ("{}", json!({})),
            (r#"{"limit": 5, "search": "\u00fc{}"}"#, json!({ "limit": 5, "search": "ü{}" })),
        ] {
            let params = json!({ "name": "apis_listApis", "arguments": arguments, "_meta": { "a": 1 } });
            let text = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
            let read: Value = serde_json::from_slice(&super::meant(text.as_bytes())).unwrap();
            assert_eq!(read["params"]["arguments"], meant, "{text}");
            assert_eq!(read["params"]["_meta"], json!({ "a": 1 }));
            assert!(super::read(text.as_bytes()).is_ok(), "{text}");
        }
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(200), "]".repeat(200));
        for arguments in [deep, format!("{{\"a\": \"{}\"}}", "x".repeat(TEXT_BYTES))] {
            let params = json!({ "name": "apis_listApis", "arguments": arguments });
            let text = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
            assert_eq!(refused(&text), (json!(1), -32602), "what is no slip of a model is none");
        }
    }

    #[test]
    fn messages_pass() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":null}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"no/such","params":{}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        ] {
            assert!(read(text.as_bytes()).is_ok(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in any::<Vec<u8>>()) {
            if let Err(refusal) = read(&line) {
                prop_assert_eq!(&refusal.to_json()["jsonrpc"], "2.0");
            }
        }

        #[test]
        fn a_damaged_message_is_read_or_refused(at in 0_usize..90, with in any::<u8>()) {
            let whole = br#"{"jsonrpc":"2.0","id":12,"method":"tools/call","params":{"name":"a","arguments":{"b":1}}}"#;
            let mut line = whole.to_vec();
            let at = at % line.len();
            line[at] = with;
            let _ = read(&line);
            line.truncate(at);
            prop_assert!(read(&line).is_err());
        }
    }
}
