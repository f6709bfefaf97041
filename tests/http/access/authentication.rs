//! Who calls: the `Authorization` header, the order of checks, and the paths that need no key.

use keyrack_test_harness::{Answer, ROOT_KEY, Server};
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::json;

use crate::catalogue::responses;
use crate::fixture::{limited_client, new_api, new_key};
use crate::keyrack;

async fn with_header(server: &Server, value: Option<&str>, body: &'static str) -> Answer {
    let mut request = server.request(Method::POST, "/v2/apis.createApi").body(body);
    if let Some(value) = value {
        request = request.header(AUTHORIZATION, value);
    }
    let answer = server.send("apis.createApi", request).await;
    answer.check_envelope();
    responses::check(&answer);
    answer
}

const GOOD: &str = r#"{"name":"payments"}"#;

#[tokio::test]
async fn a_missing_key_is_401_and_says_how_to_send_one() {
    let server = keyrack().await;
    for value in [None, Some("")] {
        let answer = with_header(&server, value, GOOD).await.expect_error(401, "unkey/authentication/missing");
        assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="keyrack""#);
    }
}

#[tokio::test]
async fn another_scheme_or_an_empty_token_is_malformed() {
    let server = keyrack().await;
    let nearly = format!("Bearer{ROOT_KEY}");
    for value in ["Basic dXNlcjpwYXNz", ROOT_KEY, "Bearer", "Bearer ", "Bearer    ", &nearly] {
        let answer = with_header(&server, Some(value), GOOD).await;
        assert_eq!(answer.status, 401, "{value:?}: {}", answer.text);
        answer.expect_error(401, "unkey/authentication/malformed");
    }
}

#[tokio::test]
async fn the_scheme_has_no_case_and_spaces_do_not_matter() {
    let server = keyrack().await;
    for scheme in ["Bearer ", "bearer ", "BEARER   ", "  Bearer  "] {
        with_header(&server, Some(&format!("{scheme}{ROOT_KEY}  ")), GOOD).await.expect(200);
    }
}

#[tokio::test]
async fn an_unknown_key_and_an_ordinary_key_look_the_same() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let unknown = with_header(&server, Some("Bearer nobody_has_this_key"), GOOD).await;
    let unknown = unknown.expect_error(401, "unkey/authentication/key_not_found");
    for members in [json!({}), json!({"enabled": false}), json!({"expires": 1})] {
        let key = new_key(&server, &api, members.clone()).await;
        let ordinary = with_header(&server, Some(&format!("Bearer {}", key.key)), GOOD).await;
        assert_eq!(ordinary.expect(401).error(), unknown.error(), "{members}");
    }
}

#[tokio::test]
async fn authentication_comes_before_the_body_is_looked_at() {
    let server = keyrack().await;
    for body in ["", "{", r#"{"name":1}"#, GOOD] {
        with_header(&server, None, body).await.expect_error(401, "unkey/authentication/missing");
        let answer = with_header(&server, Some("Bearer nobody"), body).await;
        answer.expect_error(401, "unkey/authentication/key_not_found");
    }
}

#[tokio::test]
async fn validation_comes_before_permissions() {
    let server = keyrack().await;
    let stranger = limited_client(&server, &[]).await;
    stranger.call("apis.createApi", json!({"name": "x"})).await.expect(400);
    stranger.call("apis.createApi", json!({"name": "payments"})).await.expect(403);
}

#[tokio::test]
async fn health_and_description_need_no_key() {
    let server = keyrack().await;
    let alive = server.get("/v2/liveness").await.expect(200);
    alive.check_envelope();
    assert!(alive.data()["message"].is_string(), "{}", alive.text);
    assert_eq!(server.get("/healthz").await.expect(200).body["status"], "ok");
    server.get("/readyz").await.expect(200);
    let document = server.get("/openapi.json").await.expect(200);
    assert!(document.header("content-type").starts_with("application/json"));
    let head = server.send("HEAD", server.request(Method::HEAD, "/v2/liveness")).await.expect(200);
    assert_eq!(head.text, "");
}

#[tokio::test]
async fn the_overview_needs_only_a_valid_key_and_counts_what_there_is() {
    let server = keyrack().await;
    let (api, gone) = (new_api(&server).await, new_api(&server).await);
    server.call("apis.deleteApi", json!({"apiId": gone})).await.expect(200);
    new_key(&server, &api, json!({"externalId": "customer", "permissions": ["a", "b"]})).await;
    let deleted = new_key(&server, &api, json!({"externalId": "customer"})).await;
    server.call("keys.deleteKey", json!({"keyId": deleted.id})).await.expect(200);
    server.call("permissions.createRole", json!({"name": "admin"})).await.expect(200);
    let body = json!({"namespace": "n", "identifier": "i", "limit": 1, "duration": 60_000});
    server.call("ratelimit.limit", body).await.expect(200);
    let stranger = limited_client(&server, &[]).await;
    let overview = stranger.call("workspace.getOverview", json!({})).await.expect(200);
    let due = json!({"apis": 1, "keys": 1, "identities": 1, "permissions": 2, "roles": 1, "namespaces": 1});
    assert_eq!(overview.data()["counts"], due);
    let unlimited = json!({"requestsPerMinute": null, "logRetentionDays": null, "auditRetentionDays": null});
    assert_eq!(overview.data()["limits"], unlimited);
    assert_eq!(overview.data()["rootKey"]["permissions"], json!([]));
    assert!(overview.data()["workspace"]["id"].as_str().is_some_and(|id| id.starts_with("ws_")));
}
