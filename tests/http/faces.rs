//! An operation is declared once and has every face: a route, a description, a tool, a command.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::mcp_wire::Session;
use crate::{keyrack, program};

/// Operations that are no tool, each with the reason.
const NO_TOOLS: [(&str, &str); 6] = [
    ("rootKeys.createKey", "root keys are not made by assistants until views exist"),
    ("rootKeys.deleteKey", "as rootKeys.createKey"),
    ("rootKeys.listKeys", "as rootKeys.createKey"),
    ("rootKeys.rerollKey", "as rootKeys.createKey"),
    ("rootKeys.updateKey", "as rootKeys.createKey"),
    ("workspace.createWorkspace", "it hands out a root key"),
];

fn described(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.keys().filter_map(|path| path.strip_prefix("/v2/")).filter(|name| name.contains('.'));
    operations.map(str::to_owned).collect()
}

/// `keys.createKey` as it is typed: `keys create-key`.
fn command_of(operation: &str) -> Vec<String> {
    let kebab = |text: &str| {
        text.chars().fold(String::new(), |mut words, letter| {
            if letter.is_ascii_uppercase() {
                words.push('-');
            }
            words.push(letter.to_ascii_lowercase());
            words
        })
    };
    operation.split('.').map(kebab).collect()
}

#[tokio::test]
async fn every_operation_is_a_tool_unless_there_is_a_reason() {
    let server = keyrack().await;
    let document = server.get("/openapi.json").await.expect(200).body;
    let result = Session::open(&server).await.ask("tools/list", json!({})).await;
    let tools = result["tools"].as_array().expect("tools").iter();
    let tools: BTreeSet<String> =
        tools.map(|tool| tool["name"].as_str().expect("a name").replacen('_', ".", 1)).collect();
    let mut due = described(&document);
    for (operation, reason) in NO_TOOLS {
        assert!(due.remove(operation), "{operation} is no operation any more ({reason})");
    }
    assert_eq!(tools, due);
}

#[tokio::test]
async fn every_operation_is_a_command() {
    let server = keyrack().await;
    let document = server.get("/openapi.json").await.expect(200).body;
    for operation in described(&document) {
        let words = command_of(&operation);
        let arguments: Vec<&str> =
            ["api"].into_iter().chain(words.iter().map(String::as_str)).chain(["--help"]).collect();
        let output = program().command(&arguments).output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn every_described_operation_has_a_route() {
    let server = keyrack().await;
    let document = server.get("/openapi.json").await.expect(200).body;
    for operation in described(&document) {
        let answer = server.with_key("nobody").call(&operation, json!({})).await;
        answer.expect_error(401, "unkey/authentication/key_not_found");
    }
}
