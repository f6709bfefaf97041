//! What a verification shows about the key, and how a caller narrows it to key spaces.

use serde_json::json;

use crate::fixture::{new_api, new_identity, new_key, verify, verify_answer};
use crate::keyrack;

#[tokio::test]
async fn everything_the_key_has_is_shown_and_nothing_it_lacks() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let identity = new_identity(&server, "customer", json!({"meta": {"plan": "pro"}})).await;
    server.call("permissions.createRole", json!({"name": "b role"})).await.expect(200);
    server.call("permissions.createRole", json!({"name": "a role"})).await.expect(200);
    let members = json!({
        "name": "Mobile", "meta": {"n": 9_007_199_254_740_993_i64, "deep": {"x": [1, 2.5]}}, "externalId": "customer",
        "permissions": ["z", "a"], "roles": ["b role", "a role"], "expires": 4_102_444_800_000_i64,
        "credits": {"remaining": 5},
    });
    let full = new_key(&server, &api, members.clone()).await;
    let data = verify(&server, &full, json!({})).await;
    for member in ["name", "meta", "expires"] {
        assert_eq!(data[member], members[member], "{member}");
    }
    assert_eq!((&data["keyId"], &data["enabled"], &data["credits"]), (&json!(full.id), &json!(true), &json!(4)));
    assert_eq!((&data["permissions"], &data["roles"]), (&json!(["a", "z"]), &json!(["a role", "b role"])));
    assert_eq!(data["identity"], json!({"id": identity, "externalId": "customer", "meta": {"plan": "pro"}}));
    let bare = new_key(&server, &api, json!({})).await;
    let data = verify(&server, &bare, json!({})).await;
    let members: Vec<&String> = data.as_object().expect("an object").keys().collect();
    let mut members: Vec<&str> = members.into_iter().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["code", "enabled", "keyId", "keyspaceId", "valid"]);
}

#[tokio::test]
async fn the_key_space_is_shown_for_every_outcome_but_not_found() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let one = new_key(&server, &api, json!({})).await;
    let other = new_key(&server, &api, json!({"enabled": false})).await;
    let elsewhere = new_key(&server, &new_api(&server).await, json!({})).await;
    let space = verify(&server, &one, json!({})).await["keyspaceId"].clone();
    assert!(space.as_str().is_some_and(|id| id.starts_with("ks_")), "{space}");
    assert_eq!(verify(&server, &other, json!({})).await["keyspaceId"], space);
    assert_eq!(verify(&server, &one, json!({"permissions": "missing"})).await["keyspaceId"], space);
    assert_ne!(verify(&server, &elsewhere, json!({})).await["keyspaceId"], space);
}

#[tokio::test]
async fn a_key_outside_the_named_key_spaces_is_not_found_and_not_charged() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({"credits": {"remaining": 5}})).await;
    let space = verify(&server, &key, json!({})).await["keyspaceId"].clone();
    let data = verify(&server, &key, json!({"keyspaces": ["ks_elsewhere"]})).await;
    assert_eq!(data, json!({"valid": false, "code": "NOT_FOUND"}));
    let data = verify(&server, &key, json!({"keyspaces": ["ks_elsewhere", space]})).await;
    assert_eq!((&data["code"], &data["credits"]), (&json!("VALID"), &json!(3)));
}

#[tokio::test]
async fn tags_never_change_the_outcome() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({})).await;
    let most: Vec<String> = (0..20).map(|n| format!("path=/v1/ünïcode {n}")).collect();
    assert_eq!(verify(&server, &key, json!({"tags": most})).await["code"], "VALID");
    assert_eq!(verify(&server, &key, json!({"tags": []})).await["code"], "VALID");
    assert_eq!(verify(&server, &key, json!({"tags": ["ü".repeat(512)]})).await["code"], "VALID");
    verify_answer(&server, &key.key, json!({"tags": ["ü".repeat(513)]})).await.expect(400);
}

#[tokio::test]
async fn empty_meta_is_not_shown() {
    let server = keyrack().await;
    new_identity(&server, "customer", json!({"meta": {}})).await;
    let members = json!({"meta": {}, "externalId": "customer"});
    let key = new_key(&server, &new_api(&server).await, members).await;
    let data = verify(&server, &key, json!({})).await;
    assert_eq!((data.get("meta"), data["identity"].get("meta")), (None, None), "{data}");
}
