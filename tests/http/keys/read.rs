//! `keys.getKey`, `keys.whoami` and `apis.listKeys`: one key object in three places.

use serde_json::{Value, json};

use crate::fixture::{
    NewKey, WINDOW, limited_client, new_api, new_identity, new_key, now, read_key, update_key, verify,
};
use crate::keyrack;

#[tokio::test]
async fn a_key_reads_the_same_by_id_by_secret_and_in_a_list() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let limit = |name: &str| json!({"name": name, "limit": 5, "duration": WINDOW, "autoApply": false});
    let of_identity = json!({"meta": {"plan": "pro"}, "ratelimits": [limit("calls"), limit("bulk")]});
    new_identity(&server, "customer", of_identity).await;
    let role = json!({"name": "reader", "permissions": ["docs.read"]});
    server.call("permissions.createRole", role).await.expect(200);
    let before = now();
    let members = json!({
        "name": "Mobile", "prefix": "acme", "externalId": "customer", "meta": {"n": 9_223_372_036_854_775_807_i64},
        "expires": 4_102_444_800_000_i64, "credits": {"remaining": 5}, "permissions": ["b", "a", "docs.read"],
        "roles": ["reader"], "ratelimits": [limit("calls")],
    });
    let key = new_key(&server, &api, members.clone()).await;
    let stored = read_key(&server, &key).await;
    let created = stored["createdAt"].as_i64().expect("a time");
    assert!(created >= before && created <= now(), "{created}");
    assert_eq!((&stored["enabled"], &stored["meta"]), (&json!(true), &members["meta"]));
    assert_eq!(stored["permissions"], json!(["a", "b", "docs.read"]), "unique and sorted");
    assert_eq!(
        stored["identity"]["ratelimits"].as_array().map(Vec::len),
        Some(2),
        "shadowed limits are listed here"
    );
    assert_eq!(stored["ratelimits"].as_array().map(Vec::len), Some(1));
    assert_eq!(stored.get("updatedAt"), None, "never updated");
    let by_secret = server.call("keys.whoami", json!({"key": key.key})).await.expect(200);
    assert_eq!(by_secret.data(), &stored);
    let listed = server.call("apis.listKeys", json!({"apiId": api})).await.expect(200);
    assert_eq!(listed.data(), &json!([stored]));
    assert_eq!(listed.body["pagination"], json!({"hasMore": false}));
}

#[tokio::test]
async fn a_bare_key_has_only_what_is_always_there() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({})).await;
    let stored = read_key(&server, &key).await;
    let mut members: Vec<&str> = stored.as_object().expect("an object").keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["createdAt", "enabled", "keyId", "start"]);
}

#[tokio::test]
async fn disabled_and_expired_keys_are_still_read() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key =
        new_key(&server, &api, json!({"enabled": false, "expires": 1000, "credits": {"remaining": 0}})).await;
    let stored = read_key(&server, &key).await;
    assert_eq!((&stored["enabled"], &stored["credits"]), (&json!(false), &json!({"remaining": 0})));
    server.call("keys.whoami", json!({"key": key.key})).await.expect(200);
    let listed = server.call("apis.listKeys", json!({"apiId": api})).await.expect(200);
    assert_eq!(listed.data().as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn reading_takes_no_credit_and_shows_the_live_balance() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({"credits": {"remaining": 9}})).await;
    verify(&server, &key, json!({"credits": {"cost": 4}})).await;
    server.call("keys.whoami", json!({"key": key.key})).await.expect(200);
    assert_eq!(read_key(&server, &key).await["credits"]["remaining"], 5);
    let listed = server.call("apis.listKeys", json!({"apiId": api})).await.expect(200);
    assert_eq!(listed.data()[0]["credits"]["remaining"], 5);
}

#[tokio::test]
async fn whoami_says_the_same_of_an_unknown_key_and_of_one_that_may_not_be_read() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({})).await;
    let stranger = limited_client(&server, &["api.*.verify_key"]).await;
    let unknown = server.call("keys.whoami", json!({"key": "nobody_has_this"})).await;
    let unknown = unknown.expect_error(404, "unkey/data/key_not_found");
    let masked = stranger.call("keys.whoami", json!({"key": key.key})).await;
    assert_eq!(masked.expect(404).error(), unknown.error());
    let root = server.call("keys.whoami", json!({"key": keyrack_test_harness::ROOT_KEY})).await;
    assert_eq!(root.expect(404).error(), unknown.error(), "a root key is no key of an API");
}

async fn ids_of(client: &keyrack_test_harness::Client, body: Value) -> (Vec<String>, Value) {
    let answer = client.call("apis.listKeys", body).await.expect(200);
    let keys = answer.data().as_array().expect("a list").clone();
    let ids = keys.iter().map(|key| key["keyId"].as_str().expect("an id").to_owned()).collect();
    (ids, answer.body["pagination"].clone())
}

#[tokio::test]
async fn pages_follow_each_other_by_id_without_gap_or_repetition() {
    let server = keyrack().await;
    let (api, other) = (new_api(&server).await, new_api(&server).await);
    let mut created: Vec<String> = Vec::new();
    for _ in 0..7 {
        created.push(new_key(&server, &api, json!({})).await.id);
        new_key(&server, &other, json!({})).await;
    }
    created.sort();
    let mut seen: Vec<String> = Vec::new();
    let mut body = json!({"apiId": api, "limit": 3});
    loop {
        let (ids, pagination) = ids_of(&server, body.clone()).await;
        seen.extend(ids);
        if pagination["hasMore"] == false {
            assert_eq!(pagination.get("cursor"), None);
            break;
        }
        assert!(seen.len() < 8, "pages do not end");
        body["cursor"] = pagination["cursor"].clone();
    }
    assert_eq!(seen, created);
    let (ids, _) = ids_of(&server, json!({"apiId": api, "cursor": created[4]})).await;
    assert_eq!(ids, created[4..], "the cursor is inclusive");
    let (ids, pagination) = ids_of(&server, json!({"apiId": api, "limit": 7})).await;
    assert_eq!((ids.len(), &pagination["hasMore"]), (7, &json!(false)), "a full last page is the last");
}

#[tokio::test]
async fn any_text_is_a_cursor_and_a_deleted_one_starts_at_the_next() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let mut keys = [new_key(&server, &api, json!({})).await.id, new_key(&server, &api, json!({})).await.id];
    keys.sort();
    server.call("keys.deleteKey", json!({"keyId": keys[0]})).await.expect(200);
    for (cursor, due) in [(keys[0].as_str(), 1), ("", 1), ("!", 1), ("~~~", 0)] {
        let (ids, _) = ids_of(&server, json!({"apiId": api, "cursor": cursor})).await;
        assert_eq!(ids.len(), due, "cursor {cursor:?}");
    }
}

#[tokio::test]
async fn a_list_can_be_narrowed_to_one_identity() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let mine: NewKey = new_key(&server, &api, json!({"externalId": "mine"})).await;
    new_key(&server, &api, json!({"externalId": "Mine"})).await;
    new_key(&server, &api, json!({})).await;
    let (ids, _) = ids_of(&server, json!({"apiId": api, "externalId": "mine"})).await;
    assert_eq!(ids, std::slice::from_ref(&mine.id));
    let (ids, pagination) = ids_of(&server, json!({"apiId": api, "externalId": "nobody"})).await;
    assert!(ids.is_empty());
    assert_eq!(pagination, json!({"hasMore": false}));
    update_key(&server, &mine, json!({"externalId": null})).await;
    let (ids, _) = ids_of(&server, json!({"apiId": api, "externalId": "mine", "revalidateKeysCache": true})).await;
    assert!(ids.is_empty());
}

#[tokio::test]
async fn an_unknown_deleted_or_forbidden_api_cannot_be_listed() {
    let server = keyrack().await;
    let (api, deleted) = (new_api(&server).await, new_api(&server).await);
    server.call("apis.deleteApi", json!({"apiId": deleted})).await.expect(200);
    let half = limited_client(&server, &["api.*.read_key"]).await;
    let mut errors = Vec::new();
    for (client, id) in [(server.client(), "odd id!"), (server.client(), &deleted), (half, &api)] {
        let answer = client.call("apis.listKeys", json!({"apiId": id})).await;
        errors.push(answer.expect_error(404, "unkey/data/api_not_found").error().clone());
    }
    assert_eq!((&errors[0], &errors[0]), (&errors[1], &errors[2]));
}
