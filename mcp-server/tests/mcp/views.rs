//! What connections see, by what they wish and what the operator allows, over HTTP and in process.

use std::sync::Arc;

use keyrack_mcp_server::{Policy, Wish, Wishes};
use serde_json::{Value, json};

use crate::client::{Client, Era};
use crate::raw_http::Server;
use crate::world::{World, catalogue};

fn message(method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
}

async fn tools(server: &Server, path: &str, headers: &[(&str, &str)]) -> Vec<String> {
    let answer = server.send("POST", path, headers, &message("tools/list", &json!({}))).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    let tools = answer.json()["result"]["tools"].as_array().cloned().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

async fn call(server: &Server, path: &str, tool: &str, arguments: Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    server.send("POST", path, &[], &message("tools/call", &params)).await.json()["result"].clone()
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

fn wishes(said: &[(Wish, &str)]) -> Wishes {
    let mut wishes = Wishes::default();
    said.iter().for_each(|(wish, text)| wishes.add(*wish, text, catalogue()).unwrap());
    wishes
}

#[tokio::test]
async fn a_path_a_query_and_headers_choose_what_is_listed() {
    let server = Server::start().await;
    let by_default = tools(&server, "/mcp", &[]).await;
    assert!(by_default.len() <= 40 && by_default.iter().all(|tool| !tool.starts_with("permissions_")));
    let limits = tools(&server, "/mcp/ratelimits", &[]).await;
    assert_eq!(limits, tools(&server, "/mcp/ratelimits/", &[]).await);
    let is_of = |tool: &String, groups: &[&str]| groups.iter().any(|group| tool.starts_with(group));
    assert!(
        limits.iter().all(|tool| is_of(tool, &["ratelimit_", "docs_", "workspace_getOverview"])),
        "{limits:?}"
    );
    assert!(limits.len() > 5);
    let chosen = tools(&server, "/mcp/x/permissions,audit", &[]).await;
    assert_eq!(chosen, tools(&server, "/mcp", &[("x-mcp-toolsets", "audit, permissions")]).await);
    assert_eq!(chosen, tools(&server, "/mcp/v2?toolsets=permissions,audit", &[]).await);
    assert!(chosen.contains(&"permissions_createRole".to_owned()) && !chosen.contains(&"keys_getKey".to_owned()));
    let read_only = tools(&server, "/mcp/x/permissions,audit/readonly", &[]).await;
    assert!(read_only.len() < chosen.len() && read_only.iter().all(|tool| chosen.contains(tool)));
    assert!(!read_only.contains(&"permissions_createRole".to_owned()));
    assert_eq!(tools(&server, "/mcp/readonly", &[]).await, tools(&server, "/mcp?read_only=true", &[]).await);
    let alone = tools(&server, "/mcp?tools=keys_getKey&exclude_tools=docs_search", &[]).await;
    assert_eq!(alone, ["keys_getKey", "workspace_getOverview"]);
    assert_eq!(tools(&server, "/mcp?", &[]).await, by_default);
}

#[tokio::test]
async fn what_is_no_wish_is_refused_and_never_ignored() {
    let server = Server::start().await;
    let list = message("tools/list", &json!({}));
    for (path, header) in [
        ("/mcp?readonly=1", None),
        ("/mcp/v1?x", None),
        ("/mcp/x/nothing", None),
        ("/mcp?api=payments", None),
        ("/mcp", Some(("x-mcp-misspelt", "true"))),
        ("/mcp/", Some(("x-mcp-tools", "keys_doNothing"))),
    ] {
        let headers: Vec<_> = header.into_iter().collect();
        let answer = server.send("POST", path, &headers, &list).await;
        assert_eq!(answer.status, 400, "{path} {header:?}: {answer:?}");
        assert!(answer.refusal().contains("cannot be understood"), "{answer:?}");
        assert!(answer.refusal().contains("known are") || path.contains("api="), "{answer:?}");
    }
    for path in ["/mcp/x", "/mcp/x/", "/mcp/x/keys/write", "/mcp/readonly/keys"] {
        assert_eq!(server.send("POST", path, &[], &list).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_call_of_what_is_hidden_says_what_hides_it_and_does_nothing() {
    let server = Server::start().await;
    for (path, expected) in [
        ("/mcp/readonly", "read-only"),
        ("/mcp/x/audit", "`apis` was not asked for"),
        ("/mcp?exclude_tools=apis_createApi", "excluded it"),
        ("/mcp?api=api_123456", "about one API"),
    ] {
        let refused = call(&server, path, "apis_createApi", json!({ "name": "payments" })).await;
        assert_eq!(refused["isError"], true, "{path}");
        assert!(text(&refused).contains(expected), "{path}: {refused}");
    }
    let listed = call(&server, "/mcp", "apis_listApis", json!({})).await;
    assert_eq!(listed["structuredContent"]["data"], json!([]));
}

#[tokio::test]
async fn nobody_sees_more_than_the_operator_allows() {
    let ceiling = wishes(&[(Wish::Toolsets, "keys,apis"), (Wish::ExcludeTools, "keys_deleteKey")]);
    let server = Server::start_with(|settings| settings.policy.ceiling = Arc::new(ceiling)).await;
    let by_default = tools(&server, "/mcp", &[]).await;
    for path in
        ["/mcp?toolsets=all", "/mcp/x/permissions,keys", "/mcp?tools=keys_deleteKey,keys_getKey", "/mcp/v1"]
    {
        for tool in tools(&server, path, &[]).await {
            assert!(by_default.contains(&tool), "{path}: {tool}");
        }
    }
    let refused = call(&server, "/mcp?toolsets=all", "permissions_listRoles", json!({})).await;
    assert!(text(&refused).contains("the operator of this server did not allow its toolset"), "{refused}");
}

#[tokio::test]
async fn a_view_of_one_api_reaches_no_key_of_another() {
    let server = Server::start().await;
    let data = |result: Value| result["structuredContent"]["data"].clone();
    let mut apis = Vec::new();
    for name in ["payments", "letters"] {
        let api = data(call(&server, "/mcp", "apis_createApi", json!({ "name": name })).await)["apiId"].clone();
        let new = json!({ "apiId": api, "name": name });
        apis.push((api, data(call(&server, "/mcp", "keys_createKey", new).await)));
    }
    let [(own, own_key), (_, other_key)] = apis.as_slice() else { unreachable!() };
    let path = format!("/mcp?toolsets=default,permissions&api={}", own.as_str().unwrap());
    let seen = tools(&server, &path, &[]).await;
    assert!(
        !seen.iter().any(|tool| tool.starts_with("identities_") || tool.starts_with("permissions_")),
        "{seen:?}"
    );
    let list = server.send("POST", &path, &[], &message("tools/list", &json!({}))).await.json();
    let create = list["result"]["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == "keys_createKey");
    assert!(create.unwrap()["inputSchema"]["properties"].get("apiId").is_none());
    let made = call(&server, &path, "keys_createKey", json!({ "name": "third" })).await;
    assert_eq!(made["isError"], false, "{made}");
    let listed = data(call(&server, &path, "keys_listKeys", json!({})).await);
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    for (tool, arguments) in [
        ("keys_getKey", json!({ "keyId": other_key["keyId"] })),
        ("keys_updateKey", json!({ "keyId": other_key["keyId"], "name": "mine" })),
        ("keys_deleteKey", json!({ "keyId": other_key["keyId"] })),
        ("keys_rerollKey", json!({ "keyId": other_key["keyId"], "expiration": 0 })),
        ("keys_addRoles", json!({ "keyId": other_key["keyId"], "roles": ["admin"] })),
        ("keys_whoami", json!({ "key": other_key["key"] })),
        ("keys_verifyKey", json!({ "key": other_key["key"] })),
        ("keys_getKey", json!({ "keyId": "key_doesnotexist" })),
    ] {
        let refused = call(&server, &path, tool, arguments).await;
        assert_eq!(refused["isError"], true, "{tool}: {refused}");
        assert!(text(&refused).starts_with("404 key_not_found"), "{tool}: {refused}");
        assert!(!text(&refused).contains("letters"), "{refused}");
    }
    for (tool, arguments) in [
        ("keys_getKey", json!({ "keyId": own_key["keyId"] })),
        ("keys_whoami", json!({ "key": own_key["key"] })),
        ("keys_verifyKey", json!({ "key": own_key["key"] })),
    ] {
        assert_eq!(call(&server, &path, tool, arguments).await["isError"], false, "{tool}");
    }
    let own_name = json!({ "keyId": other_key["keyId"] });
    assert_eq!(data(call(&server, "/mcp", "keys_getKey", own_name).await)["name"], "letters", "it is as it was");
}

#[tokio::test]
async fn three_tools_stand_for_all() {
    let server = Server::start().await;
    assert_eq!(tools(&server, "/mcp/compact", &[]).await, ["keyrack_find", "keyrack_read", "keyrack_write"]);
    let list = server.send("POST", "/mcp/compact", &[], &message("tools/list", &json!({}))).await;
    assert!(list.json()["result"]["tools"].to_string().len() < 2500);
    let found = call(&server, "/mcp/compact", "keyrack_find", json!({ "query": "create an api" })).await;
    assert_eq!(found["structuredContent"]["data"]["best"]["operation"], "apis_createApi", "{found}");
    let new = json!({ "operation": "apis_createApi", "arguments": { "name": "payments" } });
    let refused = call(&server, "/mcp/compact", "keyrack_read", new.clone()).await;
    assert!(text(&refused).contains("keyrack_write"), "{refused}");
    let made = call(&server, "/mcp/compact", "keyrack_write", new).await;
    let listed = call(&server, "/mcp/compact", "keyrack_read", json!({ "operation": "apis.listApis" })).await;
    assert_eq!(
        listed["structuredContent"]["data"][0]["id"], made["structuredContent"]["data"]["apiId"],
        "{listed}"
    );
    // It is a view like any other: what is excluded, is.
    let path = "/mcp/compact?read_only=true";
    let refused =
        call(&server, path, "keyrack_write", json!({ "operation": "apis_createApi", "arguments": {} })).await;
    assert!(text(&refused).contains("read-only"), "{refused}");
    // Elsewhere the three are no tools.
    let params = json!({ "name": "keyrack_find", "arguments": { "query": "x" } });
    let answer = server.send("POST", "/mcp", &[], &message("tools/call", &params)).await;
    assert_eq!(answer.json()["error"]["code"], -32602, "{answer:?}");
}

#[tokio::test]
async fn on_standard_input_and_output_it_is_the_same() {
    let world = World::new().await;
    let root_key = world.root_key(&["*"]).await;
    for era in crate::client::ERAS {
        let read_only = wishes(&[(Wish::ReadOnly, "true"), (Wish::Tools, "keys_getKey, apis_createApi")]);
        let client = Client::with_wishes(&world, era, &root_key, Policy::default(), read_only).await;
        assert_eq!(client.tool_names(), ["docs_search", "keys_getKey", "workspace_getOverview"]);
        assert!(client.refused("apis_createApi", json!({ "name": "x" })).await.contains("read-only"));
    }
    let client = Client::with_wishes(&world, Era::Discover, &root_key, Policy::default(), Wishes::default()).await;
    assert!(client.tool_names().len() <= 40);
}
