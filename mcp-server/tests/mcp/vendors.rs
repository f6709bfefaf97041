//! Every tool of every view is one that the large model APIs take, as far as their published rules can be checked here.
//!
//! Each vendor reads a subset of JSON Schema of its own, and one tool outside of it makes some of them refuse the whole
//! request. A rule names its source: a page of the vendor's documentation and what it is called there, or, where that is
//! silent, the API's own refusal and a public report that quotes it. Looked up in November 2026.

mod rules;

use serde_json::{Map, Value, json};

use self::rules::{ANTHROPIC, GEMINI, OPENAI, OPENAI_STRICT, Rule};
use crate::raw_http::Server;

/// OpenAI API reference, Chat completions, Create, `tools`: "A max of 128 functions are supported."
const MOST_TOOLS: usize = 128;

/// What a server lists in every kind of view there is, by path.
async fn views(server: &Server) -> Vec<(String, Vec<Value>)> {
    let new = json!({ "name": "apis_createApi", "arguments": { "name": "payments" } });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": new });
    let api = server.post(&[], &message).await.json()["result"]["structuredContent"]["data"]["apiId"].clone();
    let pinned = format!("/mcp?toolsets=all&api={}", api.as_str().unwrap());
    let paths = ["/mcp", "/mcp?toolsets=all", "/mcp/readonly", "/mcp/ratelimits", "/mcp/compact", &pinned];
    let mut views = Vec::new();
    for path in paths {
        let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
        let answer = server.send("POST", path, &[], &list.to_string()).await.json();
        views.push((path.to_owned(), answer["result"]["tools"].as_array().unwrap().clone()));
    }
    views
}

/// What these rules find wrong with a tool.
fn faults(rules: &[Rule], place: &str, tool: &Value) -> Vec<String> {
    let found = |rule: &Rule| -> Vec<String> {
        let faults = (rule.faults)(tool).into_iter();
        faults.map(|fault| format!("{place}: {fault}: {} ({})", rule.says, rule.source)).collect()
    };
    rules.iter().flat_map(found).collect()
}

/// A tool as a client sends it to OpenAI with `strict: true`: "All fields must be required"; "it is possible to emulate
/// an optional parameter by using a union type with null" (Structured Outputs, Supported schemas). Defaults are told in
/// the descriptions as well. `None` where a member may be any object, which strict mode has no form for.
fn in_strict_form(tool: &Value) -> Option<Value> {
    let mut strict = tool.clone();
    strict["inputSchema"] = strict_schema(&tool["inputSchema"])?;
    Some(strict)
}

fn strict_schema(schema: &Value) -> Option<Value> {
    let mut strict = schema.clone();
    let members: &mut Map<String, Value> = strict.as_object_mut()?;
    members.remove("default");
    if let Some(items) = members.get("items") {
        let items = strict_schema(items)?;
        members.insert("items".to_owned(), items);
    }
    if schema["type"] == "object" {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let properties = members.get_mut("properties")?.as_object_mut()?;
        for (name, property) in properties.iter_mut() {
            *property = strict_schema(property)?;
            if !required.iter().any(|required| required == name) {
                or_null(property);
            }
        }
        let all: Vec<Value> = properties.keys().map(|name| name.as_str().into()).collect();
        members.insert("required".to_owned(), all.into());
        members.entry("additionalProperties").or_insert(Value::Bool(false));
    }
    Some(strict)
}

/// Lets a member be null.
fn or_null(schema: &mut Value) {
    schema["type"] = json!([schema["type"], "null"]);
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.push(Value::Null);
    }
}

/// A tool as a client sends it to Gemini as `parameters`. `additionalProperties` is what Google's own SDKs leave out:
/// that field takes OpenAPI's subset, and `parametersJsonSchema` beside it JSON Schema as it is.
fn in_the_form_of_gemini(tool: &Value) -> Value {
    fn without(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.remove("additionalProperties");
                members.values_mut().for_each(without);
            }
            Value::Array(items) => items.iter_mut().for_each(without),
            _ => {}
        }
    }
    let mut tool = tool.clone();
    without(&mut tool["inputSchema"]);
    tool
}

#[tokio::test]
async fn every_tool_of_every_view_is_taken_by_the_large_model_apis() {
    let server = Server::start().await;
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, tools) in views(&server).await {
        assert!((1..=MOST_TOOLS).contains(&tools.len()), "{path}: {} tools", tools.len());
        for tool in &tools {
            let place = format!("{path} {}", tool["name"]);
            wrong.extend(faults(&ANTHROPIC, &place, tool));
            wrong.extend(faults(&OPENAI, &place, tool));
            wrong.extend(faults(&GEMINI, &place, &in_the_form_of_gemini(tool)));
            seen += 1;
        }
    }
    assert!(seen > 150, "{seen} tools in all views");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn openai_takes_them_in_strict_mode_but_for_those_with_an_object_of_any_members() {
    let server = Server::start().await;
    let (mut wrong, mut strict) = (Vec::new(), 0);
    for (path, tools) in views(&server).await {
        for tool in &tools {
            let place = format!("{path} {}", tool["name"]);
            let Some(sent) = in_strict_form(tool) else {
                // Metadata is any JSON object, and so are the arguments of any operation: these go without strict mode.
                let text = tool["inputSchema"].to_string();
                assert!(text.contains("\"meta\":") || path == "/mcp/compact", "{place}: {text}");
                continue;
            };
            wrong.extend(faults(&OPENAI_STRICT, &place, &sent));
            strict += 1;
        }
    }
    assert!(strict > 140, "{strict} tools in strict form");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn what_strict_mode_sends_for_members_that_are_left_out_is_nothing() {
    let server = Server::start().await;
    let tools = views(&server).await.remove(1).1;
    let mut called = 0;
    for tool in tools.iter().filter(|tool| tool["annotations"]["readOnlyHint"] == true) {
        let (name, schema) = (&tool["name"], &tool["inputSchema"]);
        let properties = schema["properties"].as_object().unwrap();
        if schema["required"].as_array().is_some_and(|required| !required.is_empty()) || properties.is_empty() {
            continue;
        }
        let nulls: Map<String, Value> = properties.keys().map(|name| (name.clone(), Value::Null)).collect();
        let mut answers = Vec::new();
        for arguments in [json!({}), Value::Object(nulls)] {
            let params = json!({ "name": name, "arguments": arguments });
            let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
            let mut result = server.post(&[], &call).await.json()["result"].take();
            let text = result["content"][0]["text"].take();
            let first = text.as_str().unwrap().lines().next().unwrap_or_default().to_owned();
            // An answer may tell the time, and a refusal its request.
            answers.push((result["isError"].clone(), result["isError"].as_bool().unwrap().then_some(first)));
        }
        assert_eq!(answers[0], answers[1], "{name}: nulls count as what is not sent");
        called += 1;
    }
    assert!(called >= 8, "{called} tools have optional arguments only");
}

#[test]
fn each_rule_can_be_broken() {
    for (vendor, rules) in [
        ("Anthropic", &ANTHROPIC[..]),
        ("OpenAI", &OPENAI),
        ("OpenAI strict", &OPENAI_STRICT),
        ("Gemini", &GEMINI),
    ] {
        for rule in rules {
            let tool = (rule.broken_by)();
            assert!(!(rule.faults)(&tool).is_empty(), "{vendor}: {} is not broken by {tool}", rule.says);
        }
        let plain = json!({
            "name": "keys_getKey", "description": "Reads a key.",
            "inputSchema": {
                "type": "object", "required": ["keyId"], "properties": { "keyId": { "type": "string" } },
                "additionalProperties": false,
            },
        });
        let plain = if vendor == "Gemini" { in_the_form_of_gemini(&plain) } else { plain };
        assert_eq!(faults(rules, vendor, &plain), [""; 0]);
    }
}
