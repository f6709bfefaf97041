//! Rate limits of keys and identities during verification: which apply, whose counter they use, what they cost.

use serde_json::{Value, json};

use crate::fixture::{WINDOW, new_api, new_identity, new_key, now, update_key, verify, verify_answer};
use crate::keyrack;

fn automatic(name: &str, limit: u64) -> Value {
    json!({"name": name, "limit": limit, "duration": WINDOW, "autoApply": true})
}

fn on_request(name: &str, limit: u64) -> Value {
    json!({"name": name, "limit": limit, "duration": WINDOW, "autoApply": false})
}

/// `(name, remaining, exceeded)` of each limit, in the order of the answer.
fn limits(data: &Value) -> Vec<(String, i64, bool)> {
    let all = data["ratelimits"].as_array().cloned().unwrap_or_default();
    let one = |limit: &Value| {
        let name = limit["name"].as_str().expect("a name").to_owned();
        let remaining = limit["remaining"].as_i64().expect("a number");
        (name, remaining, limit["exceeded"] == true)
    };
    all.iter().map(one).collect()
}

fn state(name: &str, remaining: i64, exceeded: bool) -> (String, i64, bool) {
    (name.to_owned(), remaining, exceeded)
}

#[tokio::test]
async fn a_limit_of_the_key_hides_one_of_the_identity_with_the_same_name() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let of_identity = json!({"ratelimits": [automatic("calls", 1), automatic("other", 9)]});
    let identity = new_identity(&server, "customer", of_identity).await;
    let members = json!({"externalId": "customer", "ratelimits": [on_request("calls", 50)]});
    let key = new_key(&server, &api, members).await;
    for remaining in [8, 7] {
        let data = verify(&server, &key, json!({})).await;
        assert_eq!(limits(&data), [state("other", remaining, false)], "{data}");
        let of_identity = &data["identity"]["ratelimits"];
        assert_eq!(of_identity.as_array().map(Vec::len), Some(1), "shadowed limits are not listed: {data}");
        assert_eq!((&of_identity[0]["name"], &data["identity"]["id"]), (&json!("other"), &json!(identity)));
    }
    let data = verify(&server, &key, json!({"ratelimits": [{"name": "calls"}]})).await;
    assert_eq!(limits(&data)[1], state("calls", 49, false));
}

#[tokio::test]
async fn keys_of_one_identity_share_its_limits_but_not_their_own() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    new_identity(&server, "customer", json!({"ratelimits": [automatic("shared", 3)]})).await;
    let members = json!({"externalId": "customer", "ratelimits": [automatic("own", 10)]});
    let (one, two) = (new_key(&server, &api, members.clone()).await, new_key(&server, &api, members).await);
    assert_eq!(
        limits(&verify(&server, &one, json!({})).await),
        [state("own", 9, false), state("shared", 2, false)]
    );
    assert_eq!(
        limits(&verify(&server, &two, json!({})).await),
        [state("own", 9, false), state("shared", 1, false)]
    );
    assert_eq!(verify(&server, &one, json!({})).await["code"], "VALID");
    let denied = verify(&server, &two, json!({})).await;
    assert_eq!(limits(&denied), [state("own", 9, false), state("shared", 0, true)]);
}

#[tokio::test]
async fn an_empty_list_of_limits_does_not_switch_automatic_ones_off() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"ratelimits": [automatic("auto", 1)]})).await;
    assert_eq!(verify(&server, &key, json!({"ratelimits": []})).await["code"], "VALID");
    assert_eq!(verify(&server, &key, json!({"ratelimits": []})).await["code"], "RATE_LIMITED");
}

#[tokio::test]
async fn limits_are_listed_automatic_first_by_name_then_in_request_order() {
    let server = keyrack().await;
    let all = json!({"ratelimits": [automatic("zzz", 9), automatic("mmm", 9), on_request("ccc", 9), on_request("bbb", 9)]});
    let key = new_key(&server, &new_api(&server).await, all).await;
    let named = json!({"ratelimits": [
        {"name": "ccc"}, {"name": "aaa", "limit": 9, "duration": WINDOW}, {"name": "bbb", "cost": 2}
    ]});
    let data = verify(&server, &key, named).await;
    let due = [("mmm", 8), ("zzz", 8), ("ccc", 8), ("aaa", 8), ("bbb", 7)];
    assert_eq!(limits(&data), due.map(|(name, remaining)| state(name, remaining, false)));
}

#[tokio::test]
async fn of_two_items_with_one_name_the_later_counts() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"ratelimits": [on_request("calls", 10)]})).await;
    let named = json!({"ratelimits": [{"name": "calls", "cost": 10}, {"name": "calls", "cost": 1}]});
    let data = verify(&server, &key, named).await;
    assert_eq!(limits(&data), [state("calls", 9, false)]);
}

#[tokio::test]
async fn an_ad_hoc_limit_shares_the_counter_of_the_keys_own_limit_of_that_name() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"ratelimits": [on_request("calls", 10)]})).await;
    verify(&server, &key, json!({"ratelimits": [{"name": "calls", "cost": 4}]})).await;
    let named = json!({"ratelimits": [{"name": "calls", "limit": 100, "duration": WINDOW}]});
    assert_eq!(limits(&verify(&server, &key, named).await), [state("calls", 95, false)]);
    let named = json!({"ratelimits": [{"name": "calls", "limit": 100, "duration": WINDOW - 1000}]});
    assert_eq!(limits(&verify(&server, &key, named).await), [state("calls", 99, false)]);
}

#[tokio::test]
async fn changing_the_limit_keeps_the_count_and_changing_the_duration_does_not() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"ratelimits": [automatic("auto", 5)]})).await;
    verify(&server, &key, json!({})).await;
    update_key(&server, &key, json!({"ratelimits": [automatic("auto", 10)]})).await;
    assert_eq!(limits(&verify(&server, &key, json!({})).await), [state("auto", 8, false)]);
    let other = json!([{"name": "auto", "limit": 10, "duration": WINDOW - 1000, "autoApply": true}]);
    update_key(&server, &key, json!({"ratelimits": other})).await;
    assert_eq!(limits(&verify(&server, &key, json!({})).await), [state("auto", 9, false)]);
}

#[tokio::test]
async fn a_limit_of_0_denies_and_a_window_under_a_second_is_refused() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"ratelimits": [automatic("auto", 5)]})).await;
    let closed = json!({"ratelimits": [{"name": "closed", "limit": 0, "duration": WINDOW}]});
    let data = verify(&server, &key, closed).await;
    assert_eq!(data["code"], "RATE_LIMITED");
    assert_eq!(limits(&data), [state("auto", 5, false), state("closed", 0, true)]);
    let free = json!({"ratelimits": [{"name": "closed", "limit": 0, "duration": WINDOW, "cost": 0}]});
    assert_eq!(verify(&server, &key, free).await["code"], "VALID");
    let hasty = json!({"ratelimits": [{"name": "hasty", "limit": 5, "duration": 999}]});
    let answer = verify_answer(&server, &key.key, hasty).await;
    answer.expect_error(400, "unkey/application/invalid_input");
}

#[tokio::test]
async fn a_refused_short_window_does_not_leak_into_a_longer_one() {
    let server = keyrack().await;
    let both = json!({"ratelimits": [automatic("hour", 12), {"name": "month", "limit": 200, "duration": WINDOW - 1000, "autoApply": true}]});
    let key = new_key(&server, &new_api(&server).await, both).await;
    for _ in 0..12 {
        assert_eq!(verify(&server, &key, json!({})).await["code"], "VALID");
    }
    for _ in 0..3 {
        let data = verify(&server, &key, json!({})).await;
        assert_eq!(limits(&data), [state("hour", 0, true), state("month", 188, false)]);
    }
}

#[tokio::test]
async fn the_reset_is_the_end_of_the_window_counted_from_1970() {
    let server = keyrack().await;
    let duration = 3_600_000;
    let limit = json!([{"name": "hourly", "limit": 5, "duration": duration, "autoApply": true}]);
    let key = new_key(&server, &new_api(&server).await, json!({"ratelimits": limit})).await;
    let before = now();
    let data = verify(&server, &key, json!({})).await;
    let reset = data["ratelimits"][0]["reset"].as_i64().expect("a time");
    assert_eq!(reset % duration, 0);
    assert!(reset > before && reset <= now() + duration, "{reset} at {before}");
}

#[tokio::test]
async fn an_unknown_limit_of_a_key_without_identity_says_so() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({})).await;
    for item in
        [json!({"name": "nope"}), json!({"name": "nope", "limit": 5}), json!({"name": "nope", "duration": 60000})]
    {
        let answer = verify_answer(&server, &key.key, json!({"ratelimits": [item]})).await;
        let answer = answer.expect_error(412, "unkey/application/precondition_failed");
        assert!(answer.detail().contains("nope") && answer.detail().contains(&key.id), "{}", answer.detail());
        assert!(answer.detail().contains("identity"), "{}", answer.detail());
    }
}

#[tokio::test]
async fn unknown_members_of_a_rate_limit_item_are_tolerated() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"ratelimits": [automatic("auto", 5)]})).await;
    let data = verify(&server, &key, json!({"ratelimits": [{"name": "auto", "note": "mine"}]})).await;
    assert_eq!(data["code"], "VALID");
}

#[tokio::test]
async fn a_hundred_limits_are_checked_and_more_are_refused() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({})).await;
    let named = |count: usize| -> Vec<Value> {
        (0..count).map(|n| json!({"name": format!("name{n}"), "limit": 5, "duration": WINDOW})).collect()
    };
    let answer = verify_answer(&server, &key.key, json!({"ratelimits": named(100)})).await.expect(200);
    assert_eq!(answer.data()["ratelimits"].as_array().map(Vec::len), Some(100));
    let answer = verify_answer(&server, &key.key, json!({"ratelimits": named(101)})).await;
    assert_eq!(answer.expect(400).locations(), ["body.ratelimits"]);
}
