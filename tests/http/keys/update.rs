//! `keys.updateKey`: absent keeps, null clears, a value sets (UK4 to UK20).

use keyrack_test_harness::Server;
use serde_json::{Value, json};

use crate::fixture::{NewKey, WINDOW, new_api, new_identity, new_key, read_key, update_key, verify};
use crate::keyrack;

struct Stored {
    server: Server,
    key: NewKey,
}

impl Stored {
    /// A key with every field that an update can touch.
    async fn new() -> Self {
        let server = keyrack().await;
        server.call("permissions.createRole", json!({"name": "admin"})).await.expect(200);
        let members = json!({
            "name": "Mobile",
            "externalId": "customer",
            "meta": {"plan": "pro", "n": 1},
            "expires": 4_102_444_800_000_i64,
            "credits": {"remaining": 5, "refill": {"interval": "monthly", "amount": 9, "refillDay": 3}},
            "ratelimits": [{"name": "calls", "limit": 5, "duration": WINDOW, "autoApply": true}],
            "permissions": ["x.read"],
            "roles": ["admin"],
        });
        let key = new_key(&server, &new_api(&server).await, members).await;
        Self { server, key }
    }

    async fn update(&self, members: Value) {
        update_key(&self.server, &self.key, members).await;
    }

    async fn refused(&self, members: Value) -> String {
        let body = crate::fixture::merged(json!({"keyId": self.key.id}), members);
        let answer = self.server.call("keys.updateKey", body).await;
        answer.expect_error(400, "unkey/application/invalid_input").detail().to_owned()
    }

    async fn read(&self) -> Value {
        read_key(&self.server, &self.key).await
    }
}

/// The stored key without the time of its last change.
fn without_time(mut key: Value) -> Value {
    key.as_object_mut().expect("an object").remove("updatedAt");
    key
}

#[tokio::test]
async fn an_update_of_nothing_changes_only_the_time_of_the_update() {
    let stored = Stored::new().await;
    let before = stored.read().await;
    stored.update(json!({})).await;
    let after = stored.read().await;
    assert!(after["updatedAt"].as_i64() >= before["createdAt"].as_i64(), "{after}");
    assert_eq!(without_time(after), without_time(before));
}

#[tokio::test]
async fn null_clears_a_field_and_leaves_the_others() {
    for field in ["name", "meta", "expires", "credits", "externalId", "ratelimits"] {
        let stored = Stored::new().await;
        let mut due = without_time(stored.read().await);
        stored.update(json!({field: null})).await;
        let shown = if field == "externalId" { "identity" } else { field };
        assert!(due.as_object_mut().expect("an object").remove(shown).is_some(), "{field}");
        assert_eq!(without_time(stored.read().await), due, "{field}: null");
    }
}

#[tokio::test]
async fn a_value_replaces_a_field_and_leaves_the_others() {
    let stored = Stored::new().await;
    for (field, value) in [
        ("name", json!("Desktop")),
        ("meta", json!({"only": [1, 2]})),
        ("expires", json!(1)),
        ("enabled", json!(false)),
        ("roles", json!([])),
        ("permissions", json!(["b", "a"])),
    ] {
        let mut due = without_time(stored.read().await);
        stored.update(json!({field: value})).await;
        match field {
            "roles" => drop(due.as_object_mut().and_then(|members| members.remove("roles"))),
            "permissions" => due[field] = json!(["a", "b"]),
            _ => due[field] = value,
        }
        assert_eq!(without_time(stored.read().await), due, "{field}");
    }
}

#[tokio::test]
async fn null_is_no_value_for_enabled_permissions_and_roles() {
    let stored = Stored::new().await;
    for field in ["enabled", "permissions", "roles", "keyId"] {
        stored.refused(json!({field: null})).await;
    }
}

#[tokio::test]
async fn empty_meta_reads_back_as_absent_and_empty_lists_remove_all() {
    let stored = Stored::new().await;
    stored.update(json!({"meta": {}, "permissions": [], "roles": [], "ratelimits": []})).await;
    let key = stored.read().await;
    for field in ["meta", "permissions", "roles", "ratelimits"] {
        assert_eq!(key.get(field), None, "{field}: {key}");
    }
}

#[tokio::test]
async fn an_external_id_links_an_identity_and_makes_it_if_it_is_new() {
    let stored = Stored::new().await;
    let other = new_identity(&stored.server, "other", json!({"meta": {"a": 1}})).await;
    stored.update(json!({"externalId": "other"})).await;
    assert_eq!(stored.read().await["identity"], json!({"id": other, "externalId": "other", "meta": {"a": 1}}));
    stored.update(json!({"externalId": "brand.new"})).await;
    let identity = stored.read().await["identity"].clone();
    let found = stored.server.call("identities.getIdentity", json!({"identity": "brand.new"})).await;
    assert_eq!(found.expect(200).data()["id"], identity["id"]);
}

#[tokio::test]
async fn a_new_balance_keeps_the_refill_and_null_clears_both() {
    let stored = Stored::new().await;
    let refill = stored.read().await["credits"]["refill"].clone();
    stored.update(json!({"credits": {"remaining": 50}})).await;
    assert_eq!(stored.read().await["credits"], json!({"remaining": 50, "refill": refill}));
    assert_eq!(verify(&stored.server, &stored.key, json!({})).await["credits"], 49);
    stored.update(json!({"credits": {"remaining": null}})).await;
    assert_eq!(stored.read().await.get("credits"), None);
    stored.update(json!({"credits": {"remaining": 3}})).await;
    assert_eq!(stored.read().await["credits"], json!({"remaining": 3}), "the refill came back");
}

#[tokio::test]
async fn refill_null_keeps_the_balance_and_a_new_refill_replaces_the_old() {
    let stored = Stored::new().await;
    stored.update(json!({"credits": {"refill": null}})).await;
    assert_eq!(stored.read().await["credits"], json!({"remaining": 5}));
    let monthly = json!({"interval": "monthly", "amount": 7, "refillDay": 15});
    stored.update(json!({"credits": {"refill": monthly}})).await;
    assert_eq!(stored.read().await["credits"], json!({"remaining": 5, "refill": monthly}));
    let daily = json!({"interval": "daily", "amount": 7});
    stored.update(json!({"credits": {"refill": daily}})).await;
    assert_eq!(stored.read().await["credits"], json!({"remaining": 5, "refill": daily}));
    stored.update(json!({"credits": {}})).await;
    assert_eq!(stored.read().await["credits"], json!({"remaining": 5, "refill": daily}));
}

#[tokio::test]
async fn credits_null_makes_the_key_unlimited_and_forgets_the_refill() {
    let stored = Stored::new().await;
    stored.update(json!({"credits": null})).await;
    assert_eq!(verify(&stored.server, &stored.key, json!({})).await.get("credits"), None);
    stored.update(json!({"credits": {"remaining": 2}})).await;
    assert_eq!(stored.read().await["credits"], json!({"remaining": 2}));
}

#[tokio::test]
async fn a_refill_day_belongs_to_monthly_refills_only() {
    let stored = Stored::new().await;
    let before = stored.read().await;
    let monthly = json!({"credits": {"refill": {"interval": "monthly", "amount": 7}}});
    let detail = stored.refused(monthly).await;
    assert!(detail.contains("refillDay"), "{detail}");
    let daily = json!({"credits": {"refill": {"interval": "daily", "amount": 7, "refillDay": 1}}});
    let detail = stored.refused(daily).await;
    assert!(detail.contains("refillDay") && detail.contains("daily"), "{detail}");
    assert_eq!(stored.read().await, before);
}

#[tokio::test]
async fn a_refill_on_an_unlimited_key_stays_hidden() {
    let stored = Stored::new().await;
    let credits = json!({"remaining": null, "refill": {"interval": "daily", "amount": 7}});
    stored.update(json!({"credits": credits})).await;
    assert_eq!(stored.read().await.get("credits"), None);
    assert_eq!(verify(&stored.server, &stored.key, json!({})).await.get("credits"), None);
}

#[tokio::test]
async fn limits_are_replaced_by_name_and_keep_their_ids() {
    let stored = Stored::new().await;
    let kept = stored.read().await["ratelimits"][0]["id"].clone();
    let limit =
        |name: &str, limit: u64| json!({"name": name, "limit": limit, "duration": 60_000, "autoApply": false});
    stored.update(json!({"ratelimits": [limit("calls", 1), limit("tokens", 2), limit("calls", 8)]})).await;
    let key = stored.read().await;
    let limits = key["ratelimits"].as_array().expect("limits");
    assert_eq!(limits.len(), 2, "{key}");
    let calls = limits.iter().find(|limit| limit["name"] == "calls").expect("calls");
    let due = json!({"id": kept, "name": "calls", "limit": 8, "duration": 60_000, "autoApply": false});
    assert_eq!(calls, &due);
    stored.update(json!({"ratelimits": [limit("tokens", 2)]})).await;
    assert_eq!(stored.read().await["ratelimits"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn limits_of_the_identity_are_not_touched() {
    let server = keyrack().await;
    let bulk = json!([{"name": "bulk", "limit": 10, "duration": WINDOW, "autoApply": false}]);
    new_identity(&server, "customer", json!({"ratelimits": bulk})).await;
    let key = new_key(&server, &new_api(&server).await, json!({"externalId": "customer"})).await;
    update_key(&server, &key, json!({"ratelimits": null})).await;
    assert_eq!(read_key(&server, &key).await["identity"]["ratelimits"][0]["name"], "bulk");
}

#[tokio::test]
async fn an_unknown_role_changes_nothing() {
    let stored = Stored::new().await;
    let before = stored.read().await;
    let body = json!({"keyId": stored.key.id, "name": "Other", "roles": ["nope"], "permissions": ["made"]});
    let answer = stored.server.call("keys.updateKey", body).await;
    answer.expect_error(404, "unkey/data/role_not_found");
    assert_eq!(stored.read().await, before);
}

#[tokio::test]
async fn an_unknown_key_or_one_of_a_deleted_api_is_not_found() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({})).await;
    server.call("apis.deleteApi", json!({"apiId": api})).await.expect(200);
    for id in ["key_unknown", &key.id] {
        for operation in ["keys.updateKey", "keys.getKey", "keys.deleteKey"] {
            let answer = server.call(operation, json!({"keyId": id})).await;
            answer.expect_error(404, "unkey/data/key_not_found");
        }
    }
}
