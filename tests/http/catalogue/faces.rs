//! An operation is declared once and has every face: a route, a description, a tool. That it is a command
//! too, `tests/cli/commands.rs` shows.

use std::collections::BTreeSet;

use keyrack_test_harness::{Scene, operations, scene};
use serde_json::{Value, json};

use crate::keyrack;
use crate::wire::mcp::Session;

/// Operations that are no tool, each with the reason.
const NO_TOOLS: [(&str, &str); 1] =
    [("workspace.createWorkspace", "it hands out a root key to all of another workspace")];

/// What the MCP server offers.
async fn tools(session: &Session<'_>) -> Vec<Value> {
    let result = session.ask("tools/list", json!({})).await;
    assert_eq!(result.get("nextCursor"), None, "all of them are on one page");
    result["tools"].as_array().expect("tools").clone()
}

/// A body as a tool takes it: a bare list is its only member, and the null of a member that HTTP demands is `keep`.
fn arguments(tool: &Value, mut body: Value) -> Value {
    if let Some(members) = body.as_object_mut() {
        let is_kept =
            tool["inputSchema"]["properties"].get("keep").is_some() && members.values().any(Value::is_null);
        members.retain(|_, member| !(is_kept && member.is_null()));
        members.extend(is_kept.then(|| ("keep".to_owned(), json!(true))));
    }
    let Value::Array(_) = body else { return body };
    let members: Vec<&String> = tool["inputSchema"]["properties"].as_object().expect("members").keys().collect();
    assert_eq!(members.len(), 1, "{tool}");
    json!({ members[0]: body })
}

fn assert_answers_as_it_says(tool: &Value, answered: &Value) {
    let name = &tool["name"];
    let Some(schema) = tool.get("outputSchema") else {
        assert_eq!(answered["data"], json!({}), "{name} says nothing of what it answers");
        return;
    };
    let schema = jsonschema::validator_for(schema).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    let faults: Vec<String> = schema.iter_errors(answered).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{name}: {faults:?}\n{answered:#}");
}

#[tokio::test]
async fn every_operation_is_a_tool_unless_there_is_a_reason() {
    let server = keyrack().await;
    let tools = tools(&Session::open(&server).await).await;
    let tools: BTreeSet<String> =
        tools.iter().map(|tool| tool["name"].as_str().expect("a name").replacen('_', ".", 1)).collect();
    let mut due: BTreeSet<String> = operations(&server).await.into_iter().map(str::to_owned).collect();
    for (operation, reason) in NO_TOOLS {
        assert!(due.remove(operation), "{operation} is no operation any more ({reason})");
    }
    assert_eq!(tools, due);
}

#[tokio::test]
async fn every_tool_does_what_it_is_for_and_answers_as_it_says() {
    let server = keyrack().await;
    let session = Session::open(&server).await;
    let (mut described, mut called) = (0, 0);
    for tool in tools(&session).await {
        let name = tool["name"].as_str().expect("a name");
        let Scene { body, .. } = scene(&server, &name.replacen('_', ".", 1)).await;
        let result = session.call(name, arguments(&tool, body)).await;
        assert_eq!(result["isError"], false, "{name}: {result}");
        assert_answers_as_it_says(&tool, &result["structuredContent"]);
        described += usize::from(tool.get("outputSchema").is_some());
        called += 1;
    }
    assert!(described > 40 && called > 50, "{called} tools were called, and {described} say what they answer");
}

#[tokio::test]
async fn every_described_operation_has_a_route() {
    let server = keyrack().await;
    for operation in operations(&server).await {
        let answer = server.with_key("nobody").call(operation, json!({})).await;
        answer.expect_error(401, "unkey/authentication/key_not_found");
    }
}
