//! `keys.rerollKey` (RR1 to RR13, R19).

use keyrack_test_harness::Server;
use serde_json::{Value, json};

use crate::fixture::{NewKey, WINDOW, limited_client, new_api, new_identity, new_key, now, read_key, verify};
use crate::keyrack;

const MINUTE: i64 = 60_000;

async fn reroll(server: &Server, key: &NewKey, expiration: Value) -> NewKey {
    let answer = server.call("keys.rerollKey", json!({"keyId": key.id, "expiration": expiration})).await;
    let answer = answer.expect(200);
    NewKey { id: answer.text_of("keyId"), key: answer.text_of("key") }
}

/// What the two keys must have in common.
fn copied(mut key: Value) -> Value {
    for own in ["keyId", "start", "createdAt", "updatedAt", "expires"] {
        key.as_object_mut().and_then(|members| members.remove(own));
    }
    for limit in key["ratelimits"].as_array_mut().into_iter().flatten() {
        limit.as_object_mut().and_then(|members| members.remove("id"));
    }
    key
}

#[tokio::test]
async fn the_new_key_has_all_that_the_old_one_has() {
    let server = keyrack().await;
    server.call("permissions.createRole", json!({"name": "admin", "permissions": ["r.all"]})).await.expect(200);
    let shared = json!([{"name": "shared", "limit": 9, "duration": WINDOW, "autoApply": false}]);
    new_identity(&server, "customer", json!({"ratelimits": shared})).await;
    let members = json!({
        "name": "Mobile", "prefix": "sk_live", "externalId": "customer", "meta": {"plan": "pro"},
        "expires": 4_102_444_800_000_i64, "enabled": false,
        "credits": {"remaining": 5, "refill": {"interval": "monthly", "amount": 9, "refillDay": 3}},
        "ratelimits": [{"name": "calls", "limit": 5, "duration": WINDOW, "autoApply": true}],
        "permissions": ["x.read"], "roles": ["admin"],
    });
    let old = new_key(&server, &new_api(&server).await, members).await;
    let before = read_key(&server, &old).await;
    let new = reroll(&server, &old, json!(3_600_000)).await;
    let stored = read_key(&server, &new).await;
    assert_eq!(copied(stored.clone()), copied(before.clone()));
    assert_eq!(stored["expires"], before["expires"], "the expiry is not the grace period's");
    assert_eq!(stored.get("updatedAt"), None, "{stored}");
    assert_ne!(stored["ratelimits"][0]["id"], before["ratelimits"][0]["id"]);
    assert!(new.key.starts_with("sk_live_") && new.id != old.id && new.key != old.key);
    assert_eq!(stored["start"], json!(new.key[..12]));
    assert_eq!(verify(&server, &new, json!({})).await["code"], "DISABLED");
}

#[tokio::test]
async fn prefixes_survive_with_all_their_underscores() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let defaults = json!({"apiId": api, "defaultPrefix": "acme", "defaultBytes": 32});
    let old = new_key(&server, &api, json!({"prefix": "sk_"})).await;
    let bare = new_key(&server, &api, json!({})).await;
    server.call("apis.updateApi", defaults).await.expect(200);
    for (old, prefix) in [(old, "sk__"), (bare, "acme_")] {
        let new = reroll(&server, &old, json!(0)).await;
        let secret = new.key.strip_prefix(prefix).unwrap_or_else(|| panic!("{} lacks {prefix}", new.key));
        assert!((40..=44).contains(&secret.len()) && !secret.contains('_'), "{}", new.key);
        assert_eq!(verify(&server, &new, json!({})).await["code"], "VALID");
    }
}

#[tokio::test]
async fn without_grace_the_very_next_verification_of_the_old_key_is_refused() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    for _ in 0..5 {
        let old = new_key(&server, &api, json!({})).await;
        let new = reroll(&server, &old, json!(0)).await;
        assert_eq!(verify(&server, &old, json!({})).await["code"], "EXPIRED");
        assert_eq!(verify(&server, &new, json!({})).await["code"], "VALID");
    }
}

#[tokio::test]
async fn a_grace_period_ends_at_a_whole_minute_and_null_leaves_the_old_key_alone() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let old = new_key(&server, &api, json!({})).await;
    let before = now();
    reroll(&server, &old, json!(90_000)).await;
    let stored = read_key(&server, &old).await;
    let expires = stored["expires"].as_i64().expect("an expiry");
    assert_eq!(expires % MINUTE, 0, "{expires}");
    assert!(expires >= before + 90_000 && expires < now() + 90_000 + MINUTE, "{expires}");
    assert!(stored["updatedAt"].as_i64() >= Some(before), "{stored}");
    assert_eq!(verify(&server, &old, json!({})).await["code"], "VALID");

    let kept = new_key(&server, &api, json!({"expires": 4_102_444_800_000_i64})).await;
    let before = read_key(&server, &kept).await;
    let new = reroll(&server, &kept, Value::Null).await;
    assert_eq!(read_key(&server, &kept).await, before);
    assert_eq!(read_key(&server, &new).await["expires"], before["expires"]);
}

#[tokio::test]
async fn the_old_key_never_outlives_its_own_expiry() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let expired = new_key(&server, &api, json!({"expires": 1000})).await;
    let new = reroll(&server, &expired, json!(3_600_000)).await;
    for key in [&expired, &new] {
        assert_eq!(read_key(&server, key).await["expires"], 1000);
        assert_eq!(verify(&server, key, json!({})).await["code"], "EXPIRED");
    }
    let soon = now() + 30_000;
    let expiring = new_key(&server, &api, json!({"expires": soon})).await;
    let new = reroll(&server, &expiring, json!(3_600_000)).await;
    for key in [&expiring, &new] {
        assert_eq!(read_key(&server, key).await["expires"], soon);
    }
}

#[tokio::test]
async fn both_keys_have_the_true_balance_and_spend_it_apart() {
    let server = keyrack().await;
    let old = new_key(&server, &new_api(&server).await, json!({"credits": {"remaining": 5}})).await;
    for left in [4, 3] {
        assert_eq!(verify(&server, &old, json!({})).await["credits"], left);
    }
    let new = reroll(&server, &old, json!(3_600_000)).await;
    assert_eq!(verify(&server, &new, json!({})).await["credits"], 2);
    assert_eq!(verify(&server, &new, json!({})).await["credits"], 1);
    assert_eq!(verify(&server, &old, json!({})).await["credits"], 2);
}

#[tokio::test]
async fn limits_of_the_key_start_anew_and_those_of_its_identity_go_on() {
    let server = keyrack().await;
    let limit = |name: &str| json!([{"name": name, "limit": 2, "duration": WINDOW, "autoApply": true}]);
    new_identity(&server, "customer", json!({"ratelimits": limit("shared")})).await;
    let members = json!({"externalId": "customer", "ratelimits": limit("own")});
    let old = new_key(&server, &new_api(&server).await, members).await;
    verify(&server, &old, json!({})).await;
    let new = reroll(&server, &old, json!(0)).await;
    let limits = verify(&server, &new, json!({})).await["ratelimits"].clone();
    let left: Vec<(&Value, &Value)> =
        limits.as_array().expect("limits").iter().map(|one| (&one["name"], &one["remaining"])).collect();
    assert_eq!(left, [(&json!("own"), &json!(1)), (&json!("shared"), &json!(0))]);
}

#[tokio::test]
async fn unknown_keys_are_404_and_a_missing_permission_is_403() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({})).await;
    let body = |id: &str| json!({"keyId": id, "expiration": 0});
    let stranger = limited_client(&server, &["api.api_other123.create_key"]).await;
    let answer = stranger.call("keys.rerollKey", body(&key.id)).await;
    answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    stranger.call("keys.rerollKey", body("key_unknown")).await.expect_error(404, "unkey/data/key_not_found");
    server.call("apis.deleteApi", json!({"apiId": api})).await.expect(200);
    server.call("keys.rerollKey", body(&key.id)).await.expect_error(404, "unkey/data/key_not_found");
}

#[tokio::test]
async fn unknown_members_are_tolerated() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({})).await;
    let body = json!({"keyId": key.id, "expiration": 0, "reason": "leaked"});
    server.call("keys.rerollKey", body).await.expect(200);
}

/// What a program does whose first answer was lost: it asks for the same again.
#[tokio::test]
async fn a_reroll_that_is_repeated_gives_a_key_that_outlives_the_grace() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let far = 4_102_444_800_000_i64;
    for (members, expires) in [(json!({}), None), (json!({"expires": far}), Some(json!(far)))] {
        let old = new_key(&server, &api, members).await;
        let lost = reroll(&server, &old, json!(MINUTE)).await;
        let end = read_key(&server, &old).await["expires"].clone();
        let new = reroll(&server, &old, json!(MINUTE)).await;
        let third = reroll(&server, &old, json!(10 * MINUTE)).await;
        for key in [&lost, &new, &third] {
            assert_eq!(read_key(&server, key).await.get("expires").cloned(), expires);
            assert_eq!(verify(&server, key, json!({})).await["code"], "VALID");
        }
        assert_eq!(read_key(&server, &old).await["expires"], end, "the end only comes nearer");
    }
}

#[tokio::test]
async fn a_key_that_a_reroll_has_ended_names_the_key_in_its_place() {
    let server = keyrack().await;
    let old = new_key(&server, &new_api(&server).await, json!({})).await;
    let new = reroll(&server, &old, json!(0)).await;
    for expiration in [json!(0), json!(MINUTE), Value::Null] {
        let body = json!({"keyId": old.id, "expiration": expiration});
        let answer = server.call("keys.rerollKey", body).await;
        let answer = answer.expect_error(412, "unkey/application/precondition_failed");
        assert!(answer.text.contains(&new.id), "{}", answer.text);
    }
    let newest = reroll(&server, &new, json!(0)).await;
    assert_eq!(verify(&server, &newest, json!({})).await["code"], "VALID");
    // Whoever gives the key another expiry has the last word.
    let body = json!({"keyId": old.id, "expires": null});
    server.call("keys.updateKey", body).await.expect(200);
    assert_eq!(verify(&server, &old, json!({})).await["code"], "VALID");
    reroll(&server, &old, json!(0)).await;
}

#[tokio::test]
async fn a_key_that_expired_of_itself_is_rerolled_as_expired() {
    let server = keyrack().await;
    let old = new_key(&server, &new_api(&server).await, json!({"expires": 1000})).await;
    let new = reroll(&server, &old, json!(MINUTE)).await;
    assert_eq!(read_key(&server, &new).await["expires"], 1000);
    reroll(&server, &old, json!(0)).await;
}

#[tokio::test]
async fn a_grace_of_more_than_a_year_is_refused() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({})).await;
    let year = 31_536_000_000_i64;
    let body = json!({"keyId": key.id, "expiration": year + 1});
    for operation in ["keys.rerollKey", "rootKeys.rerollKey"] {
        let answer = server.call(operation, body.clone()).await;
        let answer = answer.expect_error(400, "unkey/application/invalid_input");
        assert_eq!(answer.locations(), ["body.expiration"]);
    }
    reroll(&server, &key, json!(year)).await;
}
