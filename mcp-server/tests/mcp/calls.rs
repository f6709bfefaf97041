//! Calls over an in-process pipe, in both protocol eras.

use keyrack_core::setup;
use rmcp::model::ErrorCode;
use rmcp::service::ServiceError;
use serde_json::json;

use crate::client::{Client, ERAS, Era};
use crate::world::{World, secret};

async fn api(client: &Client, name: &str) -> String {
    client.call("apis_createApi", json!({ "name": name })).await["data"]["apiId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_assistant_issues_a_key_and_sees_it_limited() {
    for era in ERAS {
        let world = World::new().await;
        let client = Client::with_permissions(&world, era, &["*"]).await;
        let api_id = api(&client, "payments").await;
        let created = client
            .call(
                "keys_createKey",
                json!({
                    "apiId": api_id,
                    "prefix": "pay",
                    "credits": { "remaining": 5 },
                    "ratelimits": [{ "name": "requests", "limit": 3, "duration": 2_592_000_000_u64, "autoApply": true }],
                }),
            )
            .await;
        assert!(created["notes"][0].as_str().unwrap().contains("shown this once"), "{created}");
        let key = created["data"]["key"].as_str().unwrap();
        let key_id = created["data"]["keyId"].as_str().unwrap();
        let mut codes = Vec::new();
        for _ in 0..4 {
            codes.push(client.call("keys_verifyKey", json!({ "key": key })).await["data"]["code"].clone());
        }
        assert_eq!(codes, ["VALID", "VALID", "VALID", "RATE_LIMITED"], "{era:?}");
        let read = client.call("keys_getKey", json!({ "keyId": key_id })).await;
        assert_eq!(read["data"]["credits"]["remaining"], 2);
        assert_eq!(client.call("keys_deleteKey", json!({ "keyId": key_id })).await, json!({ "data": {} }));
        let verdict = client.call("keys_verifyKey", json!({ "key": key })).await;
        assert_eq!(verdict, json!({ "data": { "valid": false, "code": "NOT_FOUND" } }));
    }
}

#[tokio::test]
async fn answers_with_all_that_a_key_can_have_are_within_their_schemas() {
    let world = World::new().await;
    let client = Client::with_permissions(&world, Era::Discover, &["*"]).await;
    let api_id = api(&client, "payments").await;
    client.call("permissions_createPermission", json!({ "name": "read", "slug": "documents.read" })).await;
    client.call("permissions_createRole", json!({ "name": "reader" })).await;
    let limits = json!([{ "name": "shared", "limit": 9, "duration": 1000, "autoApply": false }]);
    client
        .call(
            "identities_createIdentity",
            json!({ "externalId": "user_1", "meta": { "plan": "pro" }, "ratelimits": limits }),
        )
        .await;
    client.call("identities_getIdentity", json!({ "identity": "user_1" })).await;
    let key = json!({
        "apiId": api_id,
        "name": "full",
        "externalId": "user_1",
        "meta": { "deep": { "list": [1, null] } },
        "roles": ["reader"],
        "permissions": ["documents.read"],
        "credits": { "remaining": 5, "refill": { "interval": "monthly", "amount": 5, "refillDay": 31 } },
        "ratelimits": limits,
    });
    let created = client.call("keys_createKey", key).await;
    let (key, key_id) = (&created["data"]["key"], &created["data"]["keyId"]);
    let verified = client.call("keys_verifyKey", json!({ "key": key, "permissions": "documents.read" })).await;
    assert_eq!(verified["data"]["code"], "VALID", "{verified}");
    client.call("keys_whoami", json!({ "key": key })).await;
    client.call("keys_updateKey", json!({ "keyId": key_id, "name": null, "credits": null })).await;
    let listed = client.call("apis_listKeys", json!({ "apiId": api_id })).await;
    assert_eq!(listed["data"][0]["identity"]["externalId"], "user_1");
    client.call("apis_getApi", json!({ "apiId": api_id })).await;
    client.call("apis_updateApi", json!({ "apiId": api_id, "name": "billing" })).await;
    client
        .call("ratelimit_limit", json!({ "namespace": "sms", "identifier": "u", "limit": 1, "duration": 1000 }))
        .await;
    let overview = client.call("workspace_getOverview", json!({})).await;
    assert_eq!(overview["data"]["counts"]["keys"], 1);
    client.call("apis_deleteApi", json!({ "apiId": api_id })).await;
}

#[tokio::test]
async fn two_root_keys_see_two_lists_and_neither_goes_beyond_its_own() {
    let world = World::new().await;
    for era in ERAS {
        let full = Client::with_permissions(&world, era, &["*"]).await;
        let api_id = api(&full, "payments").await;
        let reader = Client::with_permissions(&world, era, &["api.*.read_api"]).await;
        assert_eq!(reader.tool_names(), ["apis_getApi", "apis_listApis", "docs_search", "workspace_getOverview"]);
        assert!(full.tool_names().len() > 15);
        reader.call("apis_getApi", json!({ "apiId": api_id })).await;
        let refusal = reader.refused("apis_deleteApi", json!({ "apiId": api_id })).await;
        assert!(refusal.starts_with("403 insufficient_permissions: Insufficient Permissions\n"), "{refusal}");
        assert!(refusal.contains("api.*.delete_api or api.{apiId}.delete_api"), "{refusal}");
        assert!(refusal.contains("\nFix: use a root key that holds the permission"), "{refusal}");
        full.call("apis_getApi", json!({ "apiId": api_id })).await;
    }
}

#[tokio::test]
async fn a_key_for_one_api_lists_the_tool_and_is_refused_for_another_api() {
    let world = World::new().await;
    let full = Client::with_permissions(&world, Era::Handshake, &["*"]).await;
    let (own, other) = (api(&full, "own").await, api(&full, "other").await);
    let permission = format!("api.{own}.delete_api");
    let client = Client::with_permissions(&world, Era::Handshake, &[&permission]).await;
    assert!(client.tool_names().contains(&"apis_deleteApi"));
    let refusal = client.refused("apis_deleteApi", json!({ "apiId": other })).await;
    assert!(refusal.contains(&format!("api.{other}.delete_api")), "{refusal}");
    client.call("apis_deleteApi", json!({ "apiId": own })).await;
}

#[tokio::test]
async fn an_unknown_tool_is_a_protocol_error_that_names_the_closest_one() {
    let world = World::new().await;
    for era in ERAS {
        let client = Client::with_permissions(&world, era, &["*"]).await;
        let Err(ServiceError::McpError(error)) = client.try_call("keys.createKey", json!({})).await else {
            panic!("it must be a protocol error");
        };
        assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
        assert_eq!(error.message, "There is no tool `keys.createKey`. Did you mean `keys_createKey`?");
    }
}

#[tokio::test]
async fn a_withheld_operation_says_why_and_is_not_run() {
    let world = World::new().await;
    let client = Client::with_permissions(&world, Era::Handshake, &["*"]).await;
    let refusal = client.refused("workspace_createWorkspace", json!({ "name": "another" })).await;
    assert!(
        refusal.starts_with("403 forbidden: Forbidden\nworkspace_createWorkspace is not offered"),
        "{refusal}"
    );
}

#[tokio::test]
async fn all_wrong_arguments_are_named_at_once_as_the_caller_knows_them() {
    let world = World::new().await;
    let client = Client::with_permissions(&world, Era::Handshake, &["*"]).await;
    let wrong =
        json!({ "apiId": 7, "recoverable": true, "ratelimits": [{ "name": "x", "limit": 0 }], "nam": "a" });
    let refusal = client.refused("keys_createKey", wrong).await;
    for place in ["apiId:", "recoverable:", "ratelimits[0].limit:", "ratelimits[0].name:", "nam:"] {
        assert!(refusal.contains(&format!("\n- {place}")), "{place} is not in {refusal}");
    }
    assert!(refusal.contains("did you mean `name`?") && !refusal.contains("body."), "{refusal}");
    assert!(refusal.contains("\nRequest: req_"), "{refusal}");
}

#[tokio::test]
async fn a_secret_argument_is_never_echoed() {
    let world = World::new().await;
    let client = Client::with_permissions(&world, Era::Handshake, &["*"]).await;
    for wrong in [json!("planted-secret".repeat(60)), json!(["planted-secret"]), json!({ "planted-secret": 1 })] {
        for tool in ["keys_verifyKey", "keys_whoami"] {
            let refusal = client.refused(tool, json!({ "key": wrong })).await;
            assert!(!refusal.contains("planted"), "{refusal}");
        }
    }
    let refusal = client.refused("keys_whoami", json!({ "key": "planted-secret" })).await;
    assert!(refusal.starts_with("404 ") && !refusal.contains("planted"), "{refusal}");
}

#[tokio::test]
async fn lists_come_in_pages_of_twenty_and_say_how_to_read_on() {
    let world = World::new().await;
    let client = Client::with_permissions(&world, Era::Handshake, &["*"]).await;
    for number in 0..25 {
        api(&client, &format!("api {number}")).await;
    }
    let first = client.call("apis_listApis", json!({})).await;
    assert_eq!(first["data"].as_array().unwrap().len(), 20);
    assert_eq!(first["pagination"]["hasMore"], true);
    assert!(first["notes"][0].as_str().unwrap().contains("cursor"));
    let rest = client.call("apis_listApis", json!({ "cursor": first["pagination"]["cursor"] })).await;
    assert_eq!(rest["data"].as_array().unwrap().len(), 5);
    assert_eq!(rest["pagination"], json!({ "hasMore": false }));
}

#[tokio::test]
async fn a_root_key_makes_so_many_calls_per_minute_and_no_more() {
    let world = World::new().await;
    let root_key = world.root_key(&["*"]).await;
    let client = Client::connect(&world, Era::Handshake, &root_key, 2).await;
    client.call("workspace_getOverview", json!({})).await;
    client.refused("apis_getApi", json!({})).await;
    let refusal = client.refused("workspace_getOverview", json!({})).await;
    assert!(refusal.starts_with("429 "), "{refusal}");
    assert!(refusal.contains("made 2 requests within a minute"), "{refusal}");
    assert!(refusal.contains("\nFix: call again in "), "{refusal}");
    client.running().list_all_tools().await.unwrap();
}

#[tokio::test]
async fn a_root_key_that_is_retired_stops_working_in_the_middle_of_a_session() {
    let world = World::new().await;
    let old = "bootstrap-one-0123456789012345678901234567890";
    setup::ensure_bootstrap_key(&world.keyrack, &secret(old)).await.unwrap();
    let client = Client::connect(&world, Era::Handshake, old, 0).await;
    client.call("workspace_getOverview", json!({})).await;
    let new = secret("bootstrap-two-0123456789012345678901234567890");
    setup::ensure_bootstrap_key(&world.keyrack, &new).await.unwrap();
    let refusal = client.refused("workspace_getOverview", json!({})).await;
    assert!(refusal.starts_with("401 key_not_found: Unauthorized\n"), "{refusal}");
}

#[tokio::test]
async fn the_limit_of_the_workspace_counts_calls_of_all_its_root_keys() {
    let world = World::new().await.changed("UPDATE workspaces SET requests_per_minute = 2").await;
    let one = Client::with_permissions(&world, Era::Handshake, &["*"]).await;
    let two = Client::with_permissions(&world, Era::Handshake, &["*"]).await;
    one.call("workspace_getOverview", json!({})).await;
    two.call("workspace_getOverview", json!({})).await;
    let refusal = one.refused("workspace_getOverview", json!({})).await;
    assert!(
        refusal.starts_with("429 workspace_rate_limited: Too Many Requests\nThe workspace made more"),
        "{refusal}"
    );
}

#[tokio::test]
async fn the_audit_log_says_that_an_assistant_did_it() {
    let world = World::new().await;
    let client = Client::with_permissions(&world, Era::Handshake, &["*"]).await;
    api(&client, "payments").await;
    let actors = world.actors_of("api.create").await;
    assert_eq!(actors.len(), 1);
    assert_eq!(actors[0]["meta"], json!({ "via": "mcp" }), "{actors:?}");
}
