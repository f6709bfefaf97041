//! Streamable HTTP as it is on the wire: paths, statuses, both protocol eras.

use std::time::Duration;

use serde_json::{Value, json};

use crate::raw_http::{ABSENT, Server};

fn list() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })
}

fn call(tool: &str, arguments: Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
}

/// The same message as the newer era sends it, and the headers that go with it.
fn modern(mut message: Value) -> (Value, Vec<(&'static str, String)>) {
    message["params"]["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut headers =
        vec![("mcp-protocol-version", "2026-07-28".to_owned()), ("mcp-method", text(&message["method"]))];
    if message["method"] == "tools/call" {
        headers.push(("mcp-name", text(&message["params"]["name"])));
    }
    (message, headers)
}

fn borrowed<'a>(headers: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test]
async fn every_spelling_of_the_path_is_the_same_server_and_nothing_below_it_is() {
    let server = Server::start().await;
    for path in ["/mcp", "/mcp/", "/mcp/v1", "/mcp/v1/", "/mcp/v2", "/mcp/v2/"] {
        let answer = server.send("POST", path, &[], &list().to_string()).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(answer.json()["result"]["tools"].as_array().unwrap().len() > 15);
    }
    for path in ["/mcp/anything", "/mcp/v3", "/mcp/v2/anything"] {
        assert_eq!(server.send("POST", path, &[], &list().to_string()).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_older_era_needs_no_session() {
    let server = Server::start().await;
    let hello = json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": { "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } },
    });
    let answer = server.post(&[], &hello).await;
    assert_eq!(answer.header("mcp-session-id"), "");
    let result = &answer.json()["result"];
    assert_eq!(result["protocolVersion"], "2025-11-25");
    assert_eq!(result["serverInfo"]["title"], "Keyrack (Default)");
    let version = [("mcp-protocol-version", "2025-11-25")];
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(server.post(&version, &initialized).await.status, 202);
    let created = server.post(&version, &call("apis_createApi", json!({ "name": "payments" }))).await.json();
    assert!(created["result"]["structuredContent"]["data"]["apiId"].is_string(), "{created}");
    assert_eq!(created["result"].get("resultType"), None);
}

#[tokio::test]
async fn the_newer_era_carries_everything_in_each_request() {
    let server = Server::start().await;
    let (message, headers) =
        modern(json!({ "jsonrpc": "2.0", "id": 0, "method": "server/discover", "params": {} }));
    let discovered = server.post(&borrowed(&headers), &message).await.json();
    assert_eq!(discovered["result"]["cacheScope"], "private");
    assert!(discovered["result"]["instructions"].as_str().unwrap().contains("\"Default\""));
    let (message, headers) = modern(list());
    let listed = server.post(&borrowed(&headers), &message).await.json();
    assert_eq!(listed["result"]["cacheScope"], "private");
    assert!(listed["result"]["ttlMs"].is_number());
    let (message, headers) = modern(call("workspace_getOverview", json!({})));
    let answer = server.post(&borrowed(&headers), &message).await;
    let result = answer.json()["result"].clone();
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["structuredContent"]["data"]["workspace"]["name"], "Default");
}

#[tokio::test]
async fn headers_of_the_newer_era_must_agree_with_the_body() {
    let server = Server::start().await;
    let (message, mut headers) = modern(call("workspace_getOverview", json!({})));
    headers.retain(|(name, _)| *name != "mcp-name");
    headers.push(("mcp-name", "apis_deleteApi".to_owned()));
    assert_eq!(server.post(&borrowed(&headers), &message).await.status, 400);
    let (message, headers) = modern(json!({ "jsonrpc": "2.0", "id": 1, "method": "no/such", "params": {} }));
    let answer = server.post(&borrowed(&headers), &message).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].clone()), (404, json!(-32601)));
}

#[tokio::test]
async fn what_is_no_request_of_mcp_has_its_status() {
    let server = Server::start().await;
    let message = list();
    for (headers, status) in [
        (vec![("host", "evil.example")], 403),
        (vec![("host", "keys.example")], 200),
        (vec![("host", "localhost:1234")], 200),
        (vec![("host", "192.0.2.7")], 403),
        (vec![("origin", "http://evil.example")], 403),
        (vec![("origin", "null")], 403),
        (vec![("origin", "http://localhost:6274")], 200),
        (vec![("origin", "https://keys.example")], 200),
        (vec![("accept", "application/json")], 200),
        (vec![("accept", "*/*")], 200),
        (vec![("accept", ABSENT)], 200),
        (vec![("accept", "text/event-stream")], 406),
        (vec![("content-type", "text/plain")], 415),
        (vec![("mcp-protocol-version", "1999-01-01")], 400),
    ] {
        let answer = server.post(&headers, &message).await;
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
    }
    for method in ["GET", "DELETE", "PUT"] {
        let answer = server.send(method, "/mcp", &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, "POST"), "{method}");
    }
}

#[tokio::test]
async fn an_unknown_version_reads_which_ones_are_known() {
    let server = Server::start().await;
    let (mut message, mut headers) = modern(list());
    message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2099-01-01".into();
    headers[0].1 = "2099-01-01".to_owned();
    let answer = server.post(&borrowed(&headers), &message).await;
    assert_eq!(answer.status, 400);
    let error = &answer.json()["error"];
    assert_eq!(error["code"], -32022, "{error}");
    assert!(error["data"]["supported"].as_array().unwrap().contains(&"2025-11-25".into()));
}

#[tokio::test]
async fn a_body_beyond_a_mebibyte_is_refused() {
    let server = Server::start().await;
    let fits = call("apis_createApi", json!({ "name": "x".repeat(900_000) }));
    assert_eq!(server.post(&[], &fits).await.status, 200, "it is read, and refused by its schema");
    let answer = server.post(&[], &call("apis_createApi", json!({ "name": "x".repeat(1_100_000) }))).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn literal_addresses_are_named_only_where_the_listener_is_open_to_others() {
    let server = Server::start_with(|settings| settings.literal_addresses = true).await;
    for (host, status) in [("192.0.2.7:8080", 200), ("[2001:db8::1]:8080", 200), ("evil.example", 403)] {
        assert_eq!(server.post(&[("host", host)], &list()).await.status, status, "{host}");
    }
}

#[tokio::test]
async fn calls_are_counted_per_root_key_over_all_requests() {
    let server = Server::start_with(|settings| settings.policy.calls_per_minute = 2).await;
    let message = call("workspace_getOverview", json!({}));
    let mut refused = Vec::new();
    for _ in 0..3 {
        refused.push(server.post(&[], &message).await.json()["result"]["isError"].clone());
    }
    assert_eq!(refused, [false, false, true]);
    let other = server.world.root_key(&[]).await;
    let answer = server.post(&[("authorization", ABSENT), ("x-keyrack-root-key", &other)], &message).await;
    assert_eq!(answer.json()["result"]["isError"], false);
}

#[tokio::test]
async fn a_key_that_is_bound_to_addresses_sees_the_address_of_the_client() {
    let server = Server::start().await;
    for (allowed, code) in [("203.0.113.0/24", "VALID"), ("198.51.100.1", "FORBIDDEN")] {
        let data = |answer: Value| answer["result"]["structuredContent"]["data"].clone();
        let api = data(server.post(&[], &call("apis_createApi", json!({ "name": "bound" }))).await.json());
        let bind = json!({ "apiId": api["apiId"], "ipWhitelist": [allowed] });
        server.post(&[], &call("apis_updateApi", bind)).await;
        let key = data(server.post(&[], &call("keys_createKey", json!({ "apiId": api["apiId"] }))).await.json());
        let verdict = data(server.post(&[], &call("keys_verifyKey", json!({ "key": key["key"] }))).await.json());
        assert_eq!(verdict["code"], code, "{verdict}");
    }
}

#[tokio::test]
async fn a_call_in_flight_finishes_after_the_listener_has_stopped() {
    let server = Server::start().await;
    let writing = server.world.keyrack.store().write().await.unwrap();
    let message = call("apis_createApi", json!({ "name": "payments" }));
    let stop_then_let_go = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.stop();
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(writing);
    };
    let (answer, ()) = tokio::join!(server.post(&[], &message), stop_then_let_go);
    assert_eq!(answer.json()["result"]["isError"], false, "{answer:?}");
}

#[tokio::test]
async fn answers_are_kept_by_nobody_and_are_what_they_say() {
    let server = Server::start().await;
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
    let create = call("apis_createApi", json!({ "name": "payments" })).to_string();
    for (method, path, headers, body, status) in [
        ("POST", "/mcp", &[][..], create.as_str(), 200),
        ("POST", "/mcp/v2", &[], &ping, 200),
        ("POST", "/mcp", &[], r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, 202),
        ("POST", "/mcp", &[], r#"{"jsonrpc":"2.0","id":1,"method":"no/such"}"#, 200),
        ("POST", "/mcp", &[], r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#, 200),
        ("POST", "/mcp", &[], "[]", 400),
        ("POST", "/mcp", &[("authorization", ABSENT)], &ping, 401),
        ("POST", "/mcp", &[("host", "evil.example")], &ping, 403),
        ("POST", "/mcp", &[("accept", "text/html")], &ping, 406),
        ("POST", "/mcp", &[("content-type", "text/plain")], &ping, 415),
        ("POST", "/mcp?readonly=1", &[], &ping, 400),
        ("GET", "/mcp", &[], "", 405),
        ("POST", "/register", &[], "{}", 400),
        ("GET", "/.well-known/oauth-protected-resource/mcp", &[], "", 404),
    ] {
        let answer = server.send(method, path, headers, body).await;
        assert_eq!(answer.status, status, "{method} {path} {headers:?} {body}: {answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store", "{method} {path} {headers:?} {body}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{method} {path} {headers:?} {body}");
    }
}

#[tokio::test]
async fn a_large_call_is_answered_as_a_small_one_and_who_holds_nothing_makes_none() {
    let server = Server::start().await;
    let meta = json!({ "text": "x".repeat(300_000) });
    let message = call("identities_createIdentity", json!({ "externalId": "cust_1", "meta": meta }));
    let answer = server.post(&[], &message).await;
    assert_eq!(answer.json()["result"]["isError"], false, "{answer:?}");
    let wrong = call("identities_createIdentity", json!({ "externalId": 1, "meta": meta }));
    assert_eq!(server.post(&[], &wrong).await.json()["result"]["isError"], true);
    let bearer = |key: String| format!("Bearer {key}");
    let nobody = bearer(server.world.root_key(&[]).await);
    let small = call("workspace_getOverview", json!({}));
    for (size, status) in [(64 * 1024, 200), (64 * 1024 + 1, 413)] {
        let text = small.to_string();
        let padded = format!("{text}{}", " ".repeat(size - text.len()));
        let answer = server.send("POST", "/mcp", &[("authorization", &nobody)], &padded).await;
        assert_eq!(answer.status, status, "{size}: {answer:?}");
    }
    let someone = bearer(server.world.root_key(&["identity.*.read_identity"]).await);
    let answer = server.post(&[("authorization", &someone)], &message).await;
    assert!(answer.json()["result"]["content"].to_string().contains("create_identity"), "{answer:?}");
}
