//! The protocol's own answers over HTTP: whatever is sent is answered in JSON-RPC's words.

use serde_json::{Value, json};

use crate::raw_http::{ABSENT, Answer, Server};

/// The methods that are served.
const SERVED: [&str; 11] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "completion/complete",
];
/// Those that answer a list, of one page.
const LISTS: [&str; 4] = ["tools/list", "prompts/list", "resources/list", "resources/templates/list"];
/// Methods of the protocol whose capabilities are not declared.
const UNDECLARED: [&str; 5] =
    ["resources/subscribe", "resources/unsubscribe", "logging/setLevel", "tasks/list", "no/such"];

fn message(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": params })
}

/// The code and the id of an error, which are there whatever the status is.
#[track_caller]
fn error(answer: &Answer) -> (Value, Value) {
    let body = answer.json();
    assert_eq!(body["jsonrpc"], "2.0", "{body}");
    assert!(body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    assert!(body.as_object().is_some_and(|members| members.contains_key("id")), "no id: {body}");
    (body["error"]["code"].clone(), body["id"].clone())
}

#[tokio::test]
async fn what_is_no_message_is_answered_in_json_with_an_id() {
    let server = Server::start().await;
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    for (body, status, code, id) in [
        ("", 400, -32700, json!(null)),
        ("{", 400, -32700, json!(null)),
        ("[1", 400, -32700, json!(null)),
        ("[]", 400, -32600, json!(null)),
        (&*format!("[{ping}]"), 400, -32600, json!(null)),
        ("7", 400, -32600, json!(null)),
        ("{}", 400, -32600, json!(null)),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, 400, -32600, json!(null)),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, 400, -32600, json!(null)),
        (r#"{"jsonrpc":"1.0","id":"a","method":"ping"}"#, 400, -32600, json!("a")),
        (r#"{"jsonrpc":"2.0","id":5,"method":7}"#, 400, -32600, json!(5)),
    ] {
        for version in [ABSENT, "2025-11-25", "2026-07-28"] {
            let answer = server.send("POST", "/mcp", &[("mcp-protocol-version", version)], body).await;
            assert_eq!(answer.status, status, "{body} {version}: {answer:?}");
            assert_eq!(error(&answer), (json!(code), id.clone()), "{body} {version}");
        }
    }
}

#[tokio::test]
async fn parameters_that_cannot_be_read_are_invalid_whatever_the_method() {
    let server = Server::start().await;
    let odd = [json!(""), json!("{}"), json!(0), json!([]), json!([1]), json!(true), json!({ "_meta": "" })];
    for method in SERVED {
        for params in &odd {
            let answer = server.post(&[], &message(method, params)).await;
            assert_eq!(answer.status, 200, "{method} {params}: {answer:?}");
            assert_eq!(error(&answer), (json!(-32602), json!("a")), "{method} {params}");
        }
    }
    for params in [
        json!({ "name": "apis_listApis", "arguments": "all" }),
        json!({ "name": "apis_listApis", "arguments": [] }),
        json!({ "name": 5 }),
        json!({}),
        json!({ "name": "no_such" }),
    ] {
        let answer = server.post(&[], &message("tools/call", &params)).await;
        assert_eq!(error(&answer), (json!(-32602), json!("a")), "{params}");
    }
    for method in LISTS {
        let answer = server.post(&[], &message(method, &json!({ "cursor": "never given" }))).await;
        assert_eq!(error(&answer), (json!(-32602), json!("a")), "{method}");
        let answer = server.post(&[], &message(method, &json!({}))).await;
        assert!(answer.json()["result"].is_object(), "{method}: {answer:?}");
    }
    let fine =
        server.post(&[], &message("tools/call", &json!({ "name": "apis_listApis", "arguments": null }))).await;
    assert_eq!(fine.json()["result"]["isError"], false, "{fine:?}");
}

#[tokio::test]
async fn what_is_not_declared_is_not_found() {
    let server = Server::start().await;
    for method in UNDECLARED {
        for params in [json!({}), json!({ "name": "x", "uri": "x:y", "level": "info" }), json!("")] {
            let answer = server.post(&[], &message(method, &params)).await;
            assert_eq!(error(&answer), (json!(-32601), json!("a")), "{method} {params}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn refusals_of_the_transport_are_json_rpc_too() {
    let server = Server::start().await;
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    for (headers, status) in [
        (vec![("origin", "http://evil.example")], 403),
        (vec![("accept", "text/html")], 406),
        (vec![("accept", "application/json;q=0")], 406),
        (vec![("content-type", "text/plain")], 415),
        (vec![("content-type", ABSENT)], 415),
        (vec![("mcp-protocol-version", "1999-01-01")], 400),
        (vec![("authorization", "Bearer nobody")], 401),
        (vec![("authorization", ABSENT)], 401),
    ] {
        let answer = server.post(&headers, &ping).await;
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        error(&answer);
    }
    for accept in ["*/*", "application/json", "text/html, application/*;q=0.2", ABSENT] {
        let answer = server.post(&[("accept", accept)], &ping).await;
        assert_eq!((answer.status, answer.json()["result"].clone()), (200, json!({})), "{accept}");
    }
}

#[tokio::test]
async fn null_is_absent_and_what_is_named_is_cleared() {
    let server = Server::start().await;
    let call = async |tool: &str, arguments: Value| {
        let params = json!({ "name": tool, "arguments": arguments });
        server.post(&[], &message("tools/call", &params)).await.json()["result"].clone()
    };
    let data = |result: Value| result["structuredContent"]["data"].clone();
    let api = data(call("apis_createApi", json!({ "name": "payments" })).await)["apiId"].clone();
    let new = json!({ "apiId": api, "name": "a", "externalId": "cust_1", "expires": 4_102_444_800_000_i64, "credits": null,
                      "meta": { "kept": null } });
    let key = data(call("keys_createKey", new).await)["keyId"].clone();
    let nothing = json!({ "keyId": key, "name": null, "externalId": null, "expires": null, "meta": null });
    assert_eq!(call("keys_updateKey", nothing).await["isError"], false);
    let read = data(call("keys_getKey", json!({ "keyId": key, "detail": "full" })).await);
    assert_eq!((&read["name"], &read["expires"]), (&json!("a"), &json!(4_102_444_800_000_i64)), "{read}");
    assert_eq!(read["meta"], json!({ "kept": null }), "what is attached is data");
    assert_eq!(read["identity"]["externalId"], "cust_1");
    let clear = json!({ "keyId": key, "clear": ["name", "expires", "externalId"], "credits": { "remaining": 5 } });
    assert_eq!(call("keys_updateKey", clear).await["isError"], false);
    let read = data(call("keys_getKey", json!({ "keyId": key, "detail": "full" })).await);
    assert_eq!((read.get("name"), read.get("expires"), read.get("identity")), (None, None, None), "{read}");
    assert_eq!(read["credits"]["remaining"], 5);
    assert_eq!(call("keys_updateKey", json!({ "keyId": key, "clear": ["credits"] })).await["isError"], false);
    assert_eq!(data(call("keys_getKey", json!({ "keyId": key, "detail": "full" })).await).get("credits"), None);
    let both = call("keys_updateKey", json!({ "keyId": key, "name": "b", "clear": ["name"] })).await;
    assert_eq!(both["isError"], true);
    assert!(both["content"][0]["text"].as_str().is_some_and(|text| text.contains("- name: ")), "{both}");
    let unknown = call("keys_updateKey", json!({ "keyId": key, "clear": ["keyId"] })).await;
    assert_eq!(unknown["isError"], true);
    for (arguments, is_error) in [
        (json!({ "keyId": key }), true),
        (json!({ "keyId": key, "expiration": null }), true),
        (json!({ "keyId": key, "expiration": 0, "keep": true }), true),
        (json!({ "keyId": key, "keep": true }), false),
        (json!({ "keyId": key, "expiration": 60_000 }), false),
    ] {
        assert_eq!(call("keys_rerollKey", arguments.clone()).await["isError"], is_error, "{arguments}");
    }
}
