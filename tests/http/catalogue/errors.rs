//! Every error code, each produced once. That status and title belong to the code is checked for every answer of
//! every test by [`crate::catalogue::responses`]; here it is shown that each code exists.

use std::collections::BTreeSet;

use keyrack_test_harness::{Answer, Database, Fault, Server};
use reqwest::Method;
use serde_json::{Value, json};

use crate::catalogue::responses;
use crate::fixture::{WINDOW, limited_client, merged, new_api, new_key, new_workspace, workspace_id};
use crate::{keyrack, program};

/// Codes that no HTTP request can be made to meet.
const ELSEWHERE: [(&str, &str); 5] = [
    ("user/bad_request/request_timeout", "of calls of assistants that are abandoned: mcp-server/src/call.rs"),
    ("unkey/data/analytics_connection_failed", "of an engine that fails: core/src/analytics/asking.rs"),
    (
        "user/unprocessable_entity/query_execution_timeout",
        "of an engine that is slow: core/src/analytics/asking.rs",
    ),
    ("user/unprocessable_entity/query_memory_limit_exceeded", "of large answers: core/src/analytics/asking.rs"),
    ("user/too_many_requests/query_quota_exceeded", "after a thousand queries: core/src/analytics/asking.rs"),
];

/// Requests of a caller who may do everything: each refused, with things that are there.
async fn refused_requests(server: &Server) -> Vec<(&'static str, Value)> {
    let api = new_api(server).await;
    let key = new_key(server, &api, json!({})).await;
    let limit =
        |namespace: &str| json!({"namespace": namespace, "identifier": "someone", "limit": 5, "duration": WINDOW});
    let mut requests = vec![
        ("apis.createApi", json!({"name": "x"})),
        ("keys.verifyKey", json!({"key": key.key, "ratelimits": [{"name": "nope"}]})),
        ("apis.deleteApi", json!({"apiId": api})),
        ("apis.getApi", json!({"apiId": "api_unknown1"})),
        ("audit.getLog", json!({"logId": "log_unknown"})),
        ("identities.getIdentity", json!({"identity": "nobody"})),
        ("keys.getKey", json!({"keyId": "key_unknown"})),
        ("keys.migrateKeys", json!({"apiId": api, "migrationId": "mig_unknown", "keys": [{"hash": "abc"}]})),
        ("keys.updateKey", json!({"keyId": key.id, "roles": ["nope"]})),
        ("keys.verifyKey", json!({"key": key.key, "permissions": "("})),
        ("permissions.getPermission", json!({"permission": "nope"})),
        ("ratelimit.getOverride", json!({"namespace": "nope", "identifier": "someone"})),
        ("ratelimit.getOverride", json!({"namespace": "mail", "identifier": "someone"})),
        ("ratelimit.limit", limit("gone")),
        ("workspace.updateWorkspace", json!({"workspaceId": "ws_unknown12345", "name": "renamed"})),
    ];
    let twice = [
        ("identities.createIdentity", json!({"externalId": "same"})),
        ("permissions.createPermission", json!({"name": "n", "slug": "same"})),
        ("permissions.createRole", json!({"name": "same"})),
        ("ratelimit.createNamespace", json!({"name": "same"})),
    ];
    for (operation, body) in &twice {
        server.call(operation, body.clone()).await.expect(200);
    }
    server.call("apis.updateApi", json!({"apiId": api, "deleteProtection": true})).await.expect(200);
    for namespace in ["mail", "gone"] {
        server.call("ratelimit.limit", limit(namespace)).await.expect(200);
    }
    server.call("ratelimit.deleteNamespace", json!({"namespace": "gone"})).await.expect(200);
    requests.extend(twice);
    requests
}

/// Callers who may not, whatever they ask for.
async fn refused_callers(server: &Server) -> Vec<Answer> {
    let body = json!({"name": "payments"});
    let mut answers = Vec::new();
    for root_key in ["nobody", " "] {
        answers.push(server.with_key(root_key).call("apis.createApi", body.clone()).await);
    }
    answers.push(limited_client(server, &[]).await.call("apis.createApi", body.clone()).await);
    let made = server.call("rootKeys.createKey", json!({"permissions": []})).await.expect(200);
    let disabled = json!({"keyId": made.text_of("keyId"), "enabled": false});
    server.call("rootKeys.updateKey", disabled).await.expect(200);
    answers.push(server.with_key(&made.text_of("key")).call("apis.createApi", body.clone()).await);
    for change in [json!({"enabled": false}), json!({"requestsPerMinute": 0})] {
        let (workspace, client) = new_workspace(server, "closed").await;
        let change = merged(json!({ "workspaceId": workspace }), change);
        server.call("workspace.updateWorkspace", change).await.expect(200);
        answers.push(client.call("apis.createApi", body.clone()).await);
    }
    answers
}

/// Requests that are no calls of an operation.
async fn strange_requests(server: &Server) -> Vec<Answer> {
    let mut answers = vec![
        server.call_text("apis.createApi", "{", &[]).await,
        server.call_text("apis.createApi", "x".repeat(100_000), &[]).await,
    ];
    for (method, path, host) in [
        (Method::POST, "/v2/apis.createApi", "127.0.0.1"),
        (Method::POST, "/v2/apis.createApi", "evil.example"),
        (Method::GET, "/v2/apis.createApi", "127.0.0.1"),
        (Method::POST, "/v2/apis.fly", "127.0.0.1"),
    ] {
        let request = server.request(method, path).header("Host", host);
        let answer = server.send(path, request).await;
        answer.check_envelope();
        responses::check(&answer);
        answers.push(answer);
    }
    answers
}

/// Analytics that are refused, also of a server without them.
async fn refused_queries(server: &Server) -> Vec<Answer> {
    let mut answers = Vec::new();
    for query in [
        "SELECT",
        "DROP TABLE key_verifications_v1",
        "SELECT 1 AS a FROM system.one",
        "SELECT sleep(1) AS a FROM key_verifications_v1",
        "SELECT count() AS n FROM key_verifications_v1 WHERE time > 0",
    ] {
        answers.push(server.call("analytics.getVerifications", json!({"query": query})).await);
    }
    let without = program().env("KEYRACK_EVENT_LOG_BYTES", "0").start().await;
    answers.push(without.call("analytics.getVerifications", json!({"query": "SELECT 1 AS a"})).await);
    answers
}

/// The codes that have a page, as the list of all pages links them.
async fn documented_codes(server: &Server) -> BTreeSet<String> {
    let index = server.get("/docs").await.expect(200).text;
    let links = index.split("href=\"docs/errors/").skip(1);
    links.filter_map(|link| link.split_once('"')).map(|(code, _)| code.to_owned()).collect()
}

#[tokio::test]
async fn every_code_can_be_met() {
    let server = program().env("KEYRACK_MAX_BODY_BYTES", "50000").on_engine().await.start().await;
    let mut met = BTreeSet::new();
    for (operation, body) in refused_requests(&server).await {
        met.insert(server.call(operation, body).await.code());
    }
    met.extend(refused_callers(&server).await.iter().map(Answer::code));
    met.extend(strange_requests(&server).await.iter().map(Answer::code));
    let workspace = workspace_id(&server).await;
    let kept = json!({"workspaceId": workspace, "logRetentionDays": 7});
    server.call("workspace.updateWorkspace", kept).await.expect(200);
    met.extend(refused_queries(&server).await.iter().map(Answer::code));
    let mut database = Database::of(&server).await;
    for fault in [Fault::AuditLog, Fault::Commit] {
        database.break_at(fault).await;
        met.insert(server.call("apis.createApi", json!({"name": "payments"})).await.code());
        database.mend(fault).await;
    }
    let documented = documented_codes(&server).await;
    for (elsewhere, _) in ELSEWHERE {
        assert!(documented.contains(elsewhere) && met.insert(elsewhere.to_owned()), "{elsewhere}");
    }
    assert_eq!(met, documented);
}

#[tokio::test]
async fn the_type_of_an_error_is_a_page_of_this_server() {
    let server = program().env("KEYRACK_PUBLIC_URL", "https://keys.example.com").start().await;
    let answer = server.call("apis.getApi", json!({"apiId": "api_unknown1"})).await.expect(404);
    let page = "https://keys.example.com/docs/errors/unkey/data/api_not_found";
    assert_eq!(answer.error()["type"], page);
    let request = server.request(reqwest::Method::GET, "/v2/liveness").header("Host", "keys.example.com");
    server.send("liveness", request).await.expect(200);
}

#[tokio::test]
async fn errors_are_json_whatever_the_caller_accepts() {
    let server = keyrack().await;
    for accept in ["application/problem+json", "*/*", "text/html"] {
        let headers = [("Accept", accept)];
        let answer = server.call_with_headers("apis.createApi", json!({}), &headers).await.expect(400);
        assert_eq!(answer.header("content-type"), "application/json", "{accept}");
    }
}
