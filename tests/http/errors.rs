//! Every error code of this milestone, each produced once. That status and title belong to the code is checked for
//! every answer of every test by [`crate::responses`]; here it is shown that each code exists.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::fixture::{limited_client, new_api, new_key};
use crate::{keyrack, program};

/// Codes that a caller with a valid root key meets.
const CODES: [&str; 14] = [
    "unkey/application/invalid_input",
    "unkey/application/precondition_failed",
    "unkey/application/protected_resource",
    "unkey/authentication/key_not_found",
    "unkey/authorization/insufficient_permissions",
    "unkey/data/api_not_found",
    "unkey/data/identity_already_exists",
    "unkey/data/identity_not_found",
    "unkey/data/key_not_found",
    "unkey/data/permission_already_exists",
    "unkey/data/role_already_exists",
    "unkey/data/role_not_found",
    "user/bad_request/permissions_query_syntax_error",
    "user/bad_request/request_body_unreadable",
];

#[tokio::test]
async fn every_code_of_this_milestone_can_be_met() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({})).await;
    let protected = json!({"apiId": api, "deleteProtection": true});
    let twice = [
        ("identities.createIdentity", json!({"externalId": "same"})),
        ("permissions.createPermission", json!({"name": "n", "slug": "same"})),
        ("permissions.createRole", json!({"name": "same"})),
        ("apis.updateApi", protected),
    ];
    for (operation, body) in &twice {
        server.call(operation, body.clone()).await.expect(200);
    }
    let requests: Vec<(&str, Value)> = vec![
        ("apis.createApi", json!({"name": "x"})),
        ("keys.verifyKey", json!({"key": key.key, "ratelimits": [{"name": "nope"}]})),
        ("apis.deleteApi", json!({"apiId": api})),
        ("apis.getApi", json!({"apiId": "api_unknown1"})),
        ("identities.getIdentity", json!({"identity": "nobody"})),
        ("keys.getKey", json!({"keyId": "key_unknown"})),
        ("keys.updateKey", json!({"keyId": key.id, "roles": ["nope"]})),
        ("keys.verifyKey", json!({"key": key.key, "permissions": "("})),
    ];
    let mut met = BTreeSet::new();
    for (operation, body) in requests.iter().chain(&twice[..3]) {
        met.insert(server.call(operation, body.clone()).await.code());
    }
    met.insert(server.call_text("apis.createApi", "{", &[]).await.code());
    let body = json!({"name": "payments"});
    met.insert(limited_client(&server, &[]).await.call("apis.createApi", body.clone()).await.code());
    met.insert(server.with_key("nobody").call("apis.createApi", body).await.code());
    let met: Vec<&str> = met.iter().map(String::as_str).collect();
    assert_eq!(met, CODES);
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
