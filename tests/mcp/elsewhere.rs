//! `keyrack mcp --url`: tools whose work a server elsewhere does, a Keyrack or another server of its API.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use keyrack_test_harness::{Program, ROOT_KEY, http_client, program_under_test};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::process::{Process, program};

fn at(url: &str, root_key: &str) -> Program {
    program().env("KEYRACK_URL", url).env("KEYRACK_ROOT_KEY", root_key)
}

/// The names of what is listed.
async fn tools(assistant: &mut Process) -> BTreeSet<String> {
    let listed = assistant.ask("tools/list", json!({})).await;
    let tools = listed["result"]["tools"].as_array().expect("tools");
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

/// Makes a key, sees it, and deletes it once somebody agreed to that.
async fn journey(assistant: &mut Process) -> Value {
    let api = assistant.data("apis_createApi", json!({ "name": "payments" })).await["apiId"].clone();
    let created = assistant.data("keys_createKey", json!({ "apiId": api, "name": "mobile" })).await;
    let key = json!({ "keyId": created["keyId"] });
    assert_eq!(assistant.data("keys_verifyKey", json!({ "key": created["key"] })).await["code"], "VALID");
    assert_eq!(assistant.data("keys_getKey", key.clone()).await["name"], "mobile");
    let renamed = json!({ "keyId": created["keyId"], "name": "desktop" });
    let asked = assistant.call("keys_deleteKey", key.clone()).await;
    let text = asked["content"][0]["text"].as_str().expect("a text");
    assert!(
        text.starts_with("412 ") && text.contains("name: mobile") && text.contains("Deletes the key"),
        "{text}"
    );
    let (_, token) = text.split_once("`confirmToken`: \"").expect("a token");
    let agreed = json!({ "keyId": created["keyId"], "confirmToken": token.split('"').next() });
    assistant.data("keys_updateKey", renamed).await;
    let changed = assistant.call("keys_deleteKey", agreed).await;
    assert!(changed["content"][0]["text"].as_str().expect("a text").contains("has changed since"), "{changed}");
    assert_eq!(assistant.data("keys_deleteKey", key.clone()).await, json!({}));
    let gone = assistant.call("keys_getKey", key).await;
    assert!(gone["content"][0]["text"].as_str().expect("a text").starts_with("404 key_not_found"), "{gone}");
    api
}

#[tokio::test]
async fn a_keyrack_elsewhere_does_what_tools_ask_for() {
    let server = Program::new(program_under_test()).start().await;
    let url = format!("http://127.0.0.1:{}", server.port());
    let program = at(&url, ROOT_KEY);
    let mut assistant = Process::greeted(&program).await;
    let seen = tools(&mut assistant).await;
    assert!(seen.contains("keys_listKeys") && seen.contains("workspace_getOverview"), "{seen:?}");
    let api = journey(&mut assistant).await;
    // What a Keyrack says of faults is said here too.
    let wrong = assistant.call("keys_createKey", json!({ "apiId": api, "roles": ["nobody"] })).await;
    let text = wrong["content"][0]["text"].as_str().expect("a text");
    assert!(
        wrong["isError"] == true && text.starts_with("404 role_not_found") && text.contains("nobody"),
        "{text}"
    );
    let ended = assistant.close().await;
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stderr.contains(&format!("keyrack mcp: {url}; workspace Default (ws_")), "{ended:?}");
    assert!(!ended.stderr.contains(ROOT_KEY));
    assert!(!program.data_dir().join("keyrack.db").exists(), "it opened no database of its own");
    let logs = server.client().call("audit.listLogs", json!({ "limit": 1, "event": "key.delete" })).await;
    assert_eq!(logs.body["data"][0]["actor"]["meta"]["via"], "mcp", "{logs:?}");
}

/// Passes on what the public API has; of all else it knows nothing.
async fn public_api_alone(
    State(keyrack): State<String>,
    Path(operation): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Bytes) {
    let contract: Value = serde_json::from_str(include_str!("../contract/v2.json")).expect("the contract is JSON");
    if contract["operations"].get(&operation).is_none() {
        return (StatusCode::NOT_FOUND, Bytes::from_static(b"{\"error\": {\"title\": \"Not Found\"}}"));
    }
    let mut request = http_client().post(format!("{keyrack}/v2/{operation}")).body(body);
    for name in ["authorization", "content-type"] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await.expect("an answer");
    (answer.status(), answer.bytes().await.expect("a body"))
}

#[tokio::test]
async fn another_server_of_the_api_does_what_it_has_and_nothing_else_is_shown() {
    let server = Program::new(program_under_test()).start().await;
    let keyrack = format!("http://127.0.0.1:{}", server.port());
    let routes = Router::new().route("/v2/{operation}", post(public_api_alone)).with_state(keyrack);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let mut assistant = Process::greeted(&at(&url, ROOT_KEY)).await;
    let seen = tools(&mut assistant).await;
    assert!(seen.contains("keys_createKey"), "{seen:?}");
    for own in ["keys_listKeys", "keys_explainKey", "workspace_getOverview", "analytics_getUsage", "docs_search"] {
        assert!(!seen.contains(own), "{own} is Keyrack's own");
    }
    journey(&mut assistant).await;
    let unknown = assistant.call("keys_explainKey", json!({ "keyId": "key_123456" })).await;
    let text = unknown["content"][0]["text"].as_str().expect("a text");
    assert!(unknown["isError"] == true && text.contains("does not have keys_explainKey"), "{text}");
    let refused = Process::start(&at(&url, "keyrack_nobody_has_this_root_key"), &[]).wait().await;
    assert_eq!((refused.status.code(), refused.answers.len()), (Some(2), 0), "{refused:?}");
    assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
}

#[tokio::test]
async fn what_cannot_be_done_elsewhere_is_said_before_anything_is_sent() {
    let far = "https://keys.example.invalid";
    let keyless = program().env("KEYRACK_URL", far).without_env("KEYRACK_ROOT_KEY");
    let refused = Process::start(&keyless, &[]).wait().await;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(refused.stderr.contains(far) && refused.stderr.lines().count() == 1, "{refused:?}");
    for (flags, words) in [
        (&["--confirm", "held"][..], "`ask` or `off`"),
        (&["--secrets", "claim", "--public-url", "https://keys.example.com"], "`inline` or"),
    ] {
        let refused = Process::start(&at("http://127.0.0.1:1", ROOT_KEY), flags).wait().await;
        assert!(!refused.status.success() && refused.stderr.contains(words), "{flags:?}: {refused:?}");
    }
    let away = Process::start(&at("http://127.0.0.1:1", ROOT_KEY), &[]).wait().await;
    assert_eq!(away.status.code(), Some(2), "{away:?}");
    assert!(away.stderr.contains("cannot be reached") && away.stderr.contains("127.0.0.1:1"), "{away:?}");
}
