//! The worked examples of the behaviour document (VK-EX1 to VK-EX15), one test each.

use keyrack_test_harness::Server;
use serde_json::{Value, json};

use crate::fixture::{NewKey, WINDOW, new_api, new_identity, new_key, read_key, verify, verify_answer};
use crate::keyrack;

/// A key with 5 credits, an automatic limit `auto` of 1, the permission `x.read`, and an identity with the
/// limit `bulk` of 10 that applies only when named.
struct Example {
    server: Server,
    api: String,
    identity: String,
    key: NewKey,
}

fn credits_of(data: &Value) -> i64 {
    data["credits"].as_i64().expect("a limited key")
}

impl Example {
    async fn new() -> Self {
        Self::with(json!({})).await
    }

    async fn with(members: Value) -> Self {
        let server = keyrack().await;
        let api = new_api(&server).await;
        let bulk = json!([{"name": "bulk", "limit": 10, "duration": WINDOW, "autoApply": false}]);
        let identity = new_identity(&server, "customer", json!({"ratelimits": bulk})).await;
        let usual = json!({
            "externalId": "customer",
            "credits": {"remaining": 5},
            "permissions": ["x.read"],
            "ratelimits": [{"name": "auto", "limit": 1, "duration": WINDOW, "autoApply": true}],
        });
        let key = new_key(&server, &api, crate::fixture::merged(usual, members)).await;
        Self { server, api, identity, key }
    }

    async fn verify(&self, members: Value) -> Value {
        verify(&self.server, &self.key, members).await
    }

    async fn stored_credits(&self) -> Value {
        read_key(&self.server, &self.key).await["credits"]["remaining"].clone()
    }
}

fn limit<'a>(data: &'a Value, name: &str) -> &'a Value {
    data["ratelimits"]
        .as_array()
        .and_then(|all| all.iter().find(|limit| limit["name"] == name))
        .unwrap_or_else(|| panic!("no limit {name}: {data}"))
}

#[tokio::test]
async fn ex1_a_plain_verification_takes_one_credit_and_one_of_each_automatic_limit() {
    let example = Example::new().await;
    let data = example.verify(json!({})).await;
    assert_eq!((&data["valid"], &data["code"], credits_of(&data)), (&json!(true), &json!("VALID"), 4));
    assert_eq!(data["ratelimits"].as_array().map(Vec::len), Some(1));
    let auto = limit(&data, "auto");
    assert_eq!(
        (&auto["remaining"], &auto["exceeded"], &auto["autoApply"]),
        (&json!(0), &json!(false), &json!(true))
    );
    assert_eq!((&auto["limit"], &auto["duration"]), (&json!(1), &json!(WINDOW)));
}

#[tokio::test]
async fn ex2_a_rate_limited_verification_takes_no_credit() {
    let example = Example::new().await;
    example.verify(json!({})).await;
    let data = example.verify(json!({})).await;
    assert_eq!((&data["valid"], &data["code"], credits_of(&data)), (&json!(false), &json!("RATE_LIMITED"), 4));
    assert_eq!(limit(&data, "auto")["exceeded"], true);
    assert_eq!(example.stored_credits().await, 4);
}

#[tokio::test]
async fn ex3_a_missing_permission_is_found_before_limits_and_takes_nothing() {
    let example = Example::new().await;
    example.verify(json!({})).await;
    let data = example.verify(json!({"permissions": "x.write"})).await;
    assert_eq!(data["code"], "INSUFFICIENT_PERMISSIONS");
    assert_eq!(data.get("ratelimits"), None);
    assert_eq!(example.stored_credits().await, 4);
}

#[tokio::test]
async fn ex4_too_few_credits_leave_the_balance_but_spend_the_limit() {
    let example = Example::new().await;
    let data = example.verify(json!({"credits": {"cost": 9}})).await;
    assert_eq!((&data["code"], credits_of(&data)), (&json!("USAGE_EXCEEDED"), 5));
    assert_eq!(
        (&limit(&data, "auto")["remaining"], &limit(&data, "auto")["exceeded"]),
        (&json!(0), &json!(false))
    );
    assert_eq!(example.stored_credits().await, 5);
    assert_eq!(example.verify(json!({})).await["code"], "RATE_LIMITED");
}

#[tokio::test]
async fn ex5_of_several_limits_all_are_counted_or_none() {
    let example = Example::new().await;
    let data = example.verify(json!({"ratelimits": [{"name": "bulk", "cost": 11}]})).await;
    assert_eq!((&data["code"], credits_of(&data)), (&json!("RATE_LIMITED"), 5));
    let (auto, bulk) = (limit(&data, "auto"), limit(&data, "bulk"));
    assert_eq!((&bulk["exceeded"], &bulk["remaining"]), (&json!(true), &json!(0)));
    assert_eq!((&auto["exceeded"], &auto["remaining"]), (&json!(false), &json!(1)));
    let next = example.verify(json!({"ratelimits": [{"name": "bulk", "cost": 10}]})).await;
    assert_eq!(next["code"], "VALID", "something was consumed: {next}");
}

#[tokio::test]
async fn ex6_naming_an_automatic_limit_sets_its_cost_and_cost_0_passes_a_full_one() {
    let example = Example::new().await;
    example.verify(json!({})).await;
    let data = example.verify(json!({"ratelimits": [{"name": "auto", "cost": 0}]})).await;
    assert_eq!(data["code"], "VALID");
    assert_eq!(data["ratelimits"].as_array().map(Vec::len), Some(1));
    assert_eq!(limit(&data, "auto")["autoApply"], true);
}

#[tokio::test]
async fn ex7_a_limit_without_a_duration_is_no_override() {
    let example = Example::new().await;
    let data = example.verify(json!({"ratelimits": [{"name": "bulk", "limit": 100}]})).await;
    let bulk = limit(&data, "bulk");
    assert_eq!((&bulk["limit"], &bulk["duration"], &bulk["remaining"]), (&json!(10), &json!(WINDOW), &json!(9)));
}

#[tokio::test]
async fn ex8_limit_and_duration_make_a_limit_of_the_key_for_this_request() {
    let example = Example::new().await;
    let named = json!([{"name": "bulk", "limit": 100, "duration": WINDOW}]);
    let data = example.verify(json!({"ratelimits": named})).await;
    let bulk = limit(&data, "bulk");
    assert_eq!((&bulk["id"], &bulk["autoApply"], &bulk["limit"]), (&json!(""), &json!(false), &json!(100)));
    let named = json!([{"name": "bulk", "cost": 10}, {"name": "auto", "cost": 0}]);
    let untouched = example.verify(json!({"ratelimits": named})).await;
    assert_eq!((&untouched["code"], &limit(&untouched, "bulk")["remaining"]), (&json!("VALID"), &json!(0)));
}

#[tokio::test]
async fn ex9_an_unknown_limit_name_is_412_and_takes_nothing() {
    let example = Example::new().await;
    let named = json!({"ratelimits": [{"name": "nope"}]});
    let answer = verify_answer(&example.server, &example.key.key, named.clone()).await;
    let answer = answer.expect_error(412, "unkey/application/precondition_failed");
    for word in ["nope", example.key.id.as_str(), example.identity.as_str(), "customer"] {
        assert!(answer.detail().contains(word), "{word} is not in: {}", answer.detail());
    }
    let data = example.verify(json!({})).await;
    assert_eq!((&data["code"], credits_of(&data)), (&json!("VALID"), 4));
    let disabled = new_key(&example.server, &example.api, json!({"enabled": false})).await;
    assert_eq!(verify(&example.server, &disabled, named).await["code"], "DISABLED");
}

#[tokio::test]
async fn ex10_a_broken_permission_query_is_400_even_for_an_expired_key() {
    let example = Example::with(json!({"expires": 1})).await;
    let answer = verify_answer(&example.server, &example.key.key, json!({"permissions": "x.read AND"})).await;
    let answer = answer.expect_error(400, "user/bad_request/permissions_query_syntax_error");
    assert_eq!(answer.locations(), ["body.permissions"]);
}

#[tokio::test]
async fn ex11_a_broken_permission_query_on_an_unknown_key_is_not_found() {
    let example = Example::new().await;
    let answer = verify_answer(&example.server, "no_such_key", json!({"permissions": "x.read AND"})).await;
    assert_eq!(answer.expect(200).data(), &json!({"valid": false, "code": "NOT_FOUND"}));
}

#[tokio::test]
async fn ex12_disabled_is_said_before_expired_and_before_credits() {
    let example = Example::with(json!({"enabled": false, "expires": 1, "credits": {"remaining": 0}})).await;
    let data = example.verify(json!({})).await;
    assert_eq!((&data["code"], &data["enabled"]), (&json!("DISABLED"), &json!(false)));
    assert_eq!((credits_of(&data), &data["identity"]["externalId"]), (0, &json!("customer")));
}

#[tokio::test]
async fn ex13_a_wrong_address_is_found_before_a_missing_permission() {
    let example = Example::new().await;
    let body = json!({"apiId": example.api, "ipWhitelist": ["203.0.113.9"]});
    example.server.call("apis.updateApi", body).await.expect(200);
    let data = example.verify(json!({"permissions": "x.write"})).await;
    assert_eq!((&data["code"], credits_of(&data)), (&json!("FORBIDDEN"), 5));
}

#[tokio::test]
async fn ex14_cost_0_passes_an_empty_key() {
    let example = Example::with(json!({"credits": {"remaining": 0}})).await;
    let data = example.verify(json!({"credits": {"cost": 0}})).await;
    assert_eq!((&data["code"], credits_of(&data)), (&json!("VALID"), 0));
}

#[tokio::test]
async fn ex15_an_unlimited_key_has_no_balance_to_show() {
    let example = Example::with(json!({"credits": {"remaining": null}})).await;
    let data = example.verify(json!({"credits": {"cost": 7}})).await;
    assert_eq!((&data["code"], data.get("credits")), (&json!("VALID"), None));
}
