//! Which check decides first, what an unknown key shows, and what a refusal leaves untouched.

use keyrack_test_harness::ROOT_KEY;
use serde_json::{Value, json};

use crate::fixture::{WINDOW, limited_client, new_api, new_key, read_key, update_key, verify, verify_answer};
use crate::keyrack;

fn not_found() -> Value {
    json!({"valid": false, "code": "NOT_FOUND"})
}

#[tokio::test]
async fn a_key_that_cannot_be_found_shows_nothing_but_that() {
    let server = keyrack().await;
    let (api, doomed_api) = (new_api(&server).await, new_api(&server).await);
    let rich = json!({"name": "n", "meta": {"a": 1}, "externalId": "u", "credits": {"remaining": 5}});
    let (soft, hard) = (new_key(&server, &api, rich.clone()).await, new_key(&server, &api, rich.clone()).await);
    let (orphan, living) = (new_key(&server, &doomed_api, rich.clone()).await, new_key(&server, &api, rich).await);
    server.call("keys.deleteKey", json!({"keyId": soft.id})).await.expect(200);
    server.call("keys.deleteKey", json!({"keyId": hard.id, "permanent": true})).await.expect(200);
    server.call("apis.deleteApi", json!({"apiId": doomed_api})).await.expect(200);
    for key in ["never_existed", &soft.key, &hard.key, &orphan.key, ROOT_KEY, &format!("{} ", living.key)] {
        let answer = verify_answer(&server, key, json!({})).await.expect(200);
        assert_eq!(answer.data(), &not_found());
    }
    let stranger = limited_client(&server, &["api.*.read_key"]).await;
    let answer = verify_answer(&stranger, &living.key, json!({"permissions": "("})).await.expect(200);
    assert_eq!(answer.data(), &not_found());
    let unknown_migration = json!({"migrationId": "migration_unknown"});
    let answer = verify_answer(&server, "never_existed", unknown_migration).await.expect(200);
    assert_eq!(answer.data(), &not_found());
    assert_eq!(verify(&server, &living, json!({})).await["credits"], 4);
}

#[tokio::test]
async fn expiry_is_said_before_the_address() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({"expires": 1})).await;
    server.call("apis.updateApi", json!({"apiId": api, "ipWhitelist": ["203.0.113.9"]})).await.expect(200);
    let data = verify(&server, &key, json!({})).await;
    assert_eq!((&data["code"], &data["expires"]), (&json!("EXPIRED"), &json!(1)));
}

#[tokio::test]
async fn a_missing_permission_is_found_before_an_unknown_limit_name() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({})).await;
    let data = verify(&server, &key, json!({"permissions": "a", "ratelimits": [{"name": "nope"}]})).await;
    assert_eq!(data["code"], "INSUFFICIENT_PERMISSIONS");
}

#[tokio::test]
async fn rate_limits_are_asked_before_credits() {
    let server = keyrack().await;
    let limits = json!([{"name": "auto", "limit": 1, "duration": WINDOW, "autoApply": true}]);
    let members = json!({"credits": {"remaining": 1}, "ratelimits": limits});
    let key = new_key(&server, &new_api(&server).await, members).await;
    assert_eq!(verify(&server, &key, json!({})).await["code"], "VALID");
    let data = verify(&server, &key, json!({})).await;
    assert_eq!((&data["code"], &data["credits"]), (&json!("RATE_LIMITED"), &json!(0)));
}

#[tokio::test]
async fn a_key_is_valid_until_it_expires() {
    let server = keyrack().await;
    let expires = crate::fixture::now() + 1500;
    let key = new_key(&server, &new_api(&server).await, json!({"expires": expires})).await;
    let data = verify(&server, &key, json!({})).await;
    assert_eq!((&data["code"], &data["expires"]), (&json!("VALID"), &json!(expires)));
    tokio::time::sleep(std::time::Duration::from_millis(1600)).await;
    assert_eq!(verify(&server, &key, json!({})).await["code"], "EXPIRED");
}

#[tokio::test]
async fn expires_0_is_expired_and_not_shown() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"expires": 0})).await;
    let data = verify(&server, &key, json!({})).await;
    assert_eq!((&data["code"], data.get("expires")), (&json!("EXPIRED"), None));
}

#[tokio::test]
async fn refusals_take_no_credits() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({"credits": {"remaining": 3}})).await;
    verify(&server, &key, json!({"permissions": "missing"})).await;
    verify(&server, &key, json!({"credits": {"cost": 4}})).await;
    verify_answer(&server, &key.key, json!({"permissions": "("})).await.expect(400);
    verify_answer(&server, &key.key, json!({"ratelimits": [{"name": "nope"}]})).await.expect(412);
    update_key(&server, &key, json!({"enabled": false})).await;
    assert_eq!(verify(&server, &key, json!({})).await["code"], "DISABLED");
    assert_eq!(read_key(&server, &key).await["credits"]["remaining"], 3);
}

#[tokio::test]
async fn a_balance_can_be_spent_to_exactly_nothing() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"credits": {"remaining": 5}})).await;
    let data = verify(&server, &key, json!({"credits": {"cost": 5}})).await;
    assert_eq!((&data["code"], &data["credits"]), (&json!("VALID"), &json!(0)));
    let data = verify(&server, &key, json!({})).await;
    assert_eq!((&data["code"], &data["credits"]), (&json!("USAGE_EXCEEDED"), &json!(0)));
}

#[tokio::test]
async fn changes_are_effective_with_the_next_verification() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({})).await;
    for (members, code) in [
        (json!({"enabled": false}), "DISABLED"),
        (json!({"enabled": true}), "VALID"),
        (json!({"expires": 1}), "EXPIRED"),
        (json!({"expires": null}), "VALID"),
        (json!({"credits": {"remaining": 0}}), "USAGE_EXCEEDED"),
        (json!({"credits": null}), "VALID"),
    ] {
        update_key(&server, &key, members.clone()).await;
        assert_eq!(verify(&server, &key, json!({})).await["code"], code, "after {members}");
    }
    server.call("apis.deleteApi", json!({"apiId": api})).await.expect(200);
    assert_eq!(verify(&server, &key, json!({})).await, not_found());
}
