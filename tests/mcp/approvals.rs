//! Calls that are held: the assistant waits, the operator decides at the terminal, the call is made once more.

use keyrack_test_harness::{Program, ROOT_KEY, program_under_test};
use serde_json::{Value, json};

use crate::connection::{Connection, text};

/// What `keyrack approvals` prints.
fn approvals(program: &Program, line: &[&str]) -> (Option<i32>, String) {
    let line: Vec<&str> = ["approvals"].iter().chain(line).copied().collect();
    let done = program.command(&line).output().expect("the program can be run");
    (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The id under which a call waits, as its refusal says.
fn waits_under(refused: &Value) -> String {
    let told = text(refused);
    assert!(refused["isError"] == true && told.starts_with("412 "), "{refused}");
    let (_, rest) = told.split_once("keyrack approvals approve ").expect("how to approve");
    rest.split('`').next().expect("an id").to_owned()
}

#[tokio::test]
async fn the_operator_approves_one_call_and_refuses_another() {
    let server =
        Program::new(program_under_test()).env("KEYRACK_MCP_CONFIRM", "held").on_engine().await.start().await;
    let assistant = Connection::new(&format!("http://127.0.0.1:{}", server.port()), "/mcp", ROOT_KEY);
    let api = assistant.call("apis_createApi", json!({ "name": "payments" })).await;
    let api = &api["structuredContent"]["data"]["apiId"];
    let mut keys = Vec::new();
    for name in ["mobile", "desktop"] {
        let made = assistant.call("keys_createKey", json!({ "apiId": api, "name": name })).await;
        keys.push(json!({ "keyId": made["structuredContent"]["data"]["keyId"] }));
    }
    let first = waits_under(&assistant.call("keys_deleteKey", keys[0].clone()).await);
    let second = waits_under(&assistant.call("keys_deleteKey", keys[1].clone()).await);
    let (code, listed) = approvals(server.program(), &["list"]);
    assert_eq!(code, Some(0));
    for told in [first.as_str(), second.as_str(), "held", "keys.deleteKey", "name: mobile", "name: desktop"] {
        assert!(listed.contains(told), "{told} is not in {listed}");
    }
    assert_eq!(approvals(server.program(), &["approve", &first]).0, Some(0));
    assert_eq!(approvals(server.program(), &["refuse", &second]).0, Some(0));
    assert_eq!(approvals(server.program(), &["approve", &second]).0, Some(2), "decided is decided");
    let done = assistant.call("keys_deleteKey", keys[0].clone()).await;
    assert_eq!(done["isError"], false, "{done}");
    let refused = assistant.call("keys_deleteKey", keys[1].clone()).await;
    assert!(text(&refused).contains("the operator refused this call"), "{refused}");
    let still_there = assistant.call("keys_getKey", keys[1].clone()).await;
    assert_eq!(still_there["isError"], false, "{still_there}");
}

#[tokio::test]
async fn nobody_who_connects_sees_more_than_the_operator_allows() {
    let server = Program::new(program_under_test())
        .env("KEYRACK_MCP_TOOLSETS", "apis,keys")
        .env("KEYRACK_MCP_READ_ONLY", "true")
        .start()
        .await;
    let base = format!("http://127.0.0.1:{}", server.port());
    for path in ["/mcp", "/mcp?toolsets=all", "/mcp?toolsets=keys,analytics&read_only=false", "/mcp/x/all"] {
        let assistant = Connection::new(&base, path, ROOT_KEY);
        let listed = assistant.ask("tools/list", json!({})).await;
        let tools = listed["result"]["tools"].as_array().expect("tools");
        let names: Vec<&str> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
        assert!(names.contains(&"keys_getKey"), "{path}: {names:?}");
        for beyond in ["keys_createKey", "keys_deleteKey", "analytics_getUsage", "identities_getIdentity"] {
            assert!(!names.contains(&beyond), "{path}: {names:?}");
        }
        let refused = assistant.call("keys_createKey", json!({ "apiId": "api_123456" })).await;
        assert!(text(&refused).contains("read-only"), "{path}: {refused}");
    }
}
