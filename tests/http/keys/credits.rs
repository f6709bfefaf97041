//! `keys.updateCredits` (UC1 to UC9).

use serde_json::{Value, json};

use crate::concurrency::{at_once, call};
use crate::fixture::{NewKey, limited_client, new_api, new_key, read_key, update_key, verify};
use crate::keyrack;

const LARGEST: i64 = i64::MAX;

/// Changes the balance of a key and returns `data`.
async fn change(server: &keyrack_test_harness::Server, key: &NewKey, members: Value) -> Value {
    let body = crate::fixture::merged(json!({"keyId": key.id}), members);
    server.call("keys.updateCredits", body).await.expect(200).data().clone()
}

#[tokio::test]
async fn set_increment_and_decrement_answer_the_balance_and_the_next_verification_has_it() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"credits": {"remaining": 5}})).await;
    for (operation, value, due) in [
        ("set", 100, 100),
        ("set", 0, 0),
        ("increment", 10, 10),
        ("increment", 0, 10),
        ("decrement", 0, 10),
        ("decrement", 3, 7),
        ("decrement", 50, 0),
        ("set", 2, 2),
    ] {
        let data = change(&server, &key, json!({"operation": operation, "value": value})).await;
        assert_eq!(data, json!({"remaining": due}), "{operation} {value}");
        assert_eq!(read_key(&server, &key).await["credits"], data);
    }
    assert_eq!(verify(&server, &key, json!({})).await["credits"], 1);
}

#[tokio::test]
async fn an_increment_stops_at_the_largest_integer() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"credits": {"remaining": 5}})).await;
    for value in [LARGEST, 1, LARGEST] {
        let data = change(&server, &key, json!({"operation": "increment", "value": value})).await;
        assert_eq!(data, json!({"remaining": LARGEST}));
    }
    let data = change(&server, &key, json!({"operation": "decrement", "value": LARGEST})).await;
    assert_eq!(data, json!({"remaining": 0}));
}

#[tokio::test]
async fn a_number_keeps_the_refill_and_null_or_nothing_makes_the_key_unlimited_without_one() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let refill = json!({"interval": "monthly", "amount": 9, "refillDay": 31});
    for unlimited in [json!({"operation": "set", "value": null}), json!({"operation": "set"})] {
        let key = new_key(&server, &api, json!({"credits": {"remaining": 5, "refill": refill}})).await;
        let data = change(&server, &key, json!({"operation": "set", "value": 7})).await;
        assert_eq!(data, json!({"remaining": 7, "refill": refill}));
        let data = change(&server, &key, json!({"operation": "decrement", "value": 1})).await;
        assert_eq!(data, json!({"remaining": 6, "refill": refill}));
        assert_eq!(change(&server, &key, unlimited).await, json!({"remaining": null}));
        assert_eq!(verify(&server, &key, json!({})).await.get("credits"), None);
        let data = change(&server, &key, json!({"operation": "set", "value": 1})).await;
        assert_eq!(data, json!({"remaining": 1}), "the refill came back");
        assert_eq!(verify(&server, &key, json!({})).await["credits"], 0);
        assert_eq!(verify(&server, &key, json!({})).await["code"], "USAGE_EXCEEDED");
    }
}

#[tokio::test]
async fn a_daily_refill_is_shown_without_a_day() {
    let server = keyrack().await;
    let refill = json!({"interval": "daily", "amount": 9});
    let members = json!({"credits": {"remaining": 5, "refill": refill}});
    let key = new_key(&server, &new_api(&server).await, members).await;
    let data = change(&server, &key, json!({"operation": "increment", "value": 1})).await;
    assert_eq!(data, json!({"remaining": 6, "refill": refill}));
}

#[tokio::test]
async fn increment_and_decrement_need_a_value_and_a_balance() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let limited = new_key(&server, &api, json!({"credits": {"remaining": 5}})).await;
    let unlimited = new_key(&server, &api, json!({})).await;
    for operation in ["increment", "decrement"] {
        for body in [
            json!({"keyId": limited.id, "operation": operation}),
            json!({"keyId": limited.id, "operation": operation, "value": null}),
        ] {
            let answer = server.call("keys.updateCredits", body).await;
            let answer = answer.expect_error(400, "unkey/application/invalid_input");
            assert_eq!(answer.locations(), ["body.value"]);
        }
        let body = json!({"keyId": unlimited.id, "operation": operation, "value": 1});
        let answer = server.call("keys.updateCredits", body).await;
        answer.expect_error(400, "unkey/application/invalid_input");
    }
    assert_eq!(read_key(&server, &limited).await["credits"]["remaining"], 5);
    // A refill alone is no balance either.
    update_key(&server, &unlimited, json!({"credits": {"refill": {"interval": "daily", "amount": 3}}})).await;
    let body = json!({"keyId": unlimited.id, "operation": "increment", "value": 1});
    server.call("keys.updateCredits", body).await.expect_error(400, "unkey/application/invalid_input");
}

#[tokio::test]
async fn what_the_key_may_not_be_told_about_comes_before_what_is_wrong_with_the_change() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({})).await;
    let senseless = |id: &str| json!({"keyId": id, "operation": "increment"});
    let answer = server.call("keys.updateCredits", senseless("key_unknown")).await;
    answer.expect_error(404, "unkey/data/key_not_found");
    let stranger = limited_client(&server, &["api.*.read_key"]).await;
    let answer = stranger.call("keys.updateCredits", senseless(&key.id)).await;
    answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    server.call("apis.deleteApi", json!({"apiId": api})).await.expect(200);
    let answer = server.call("keys.updateCredits", senseless(&key.id)).await;
    answer.expect_error(404, "unkey/data/key_not_found");
}

#[tokio::test]
async fn changes_beside_verifications_lose_nothing() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"credits": {"remaining": 100}})).await;
    let calls = (0..60).map(|n| match n % 3 {
        0 => call(&server, "keys.updateCredits", json!({"keyId": key.id, "operation": "increment", "value": 5})),
        1 => call(&server, "keys.updateCredits", json!({"keyId": key.id, "operation": "decrement", "value": 2})),
        _ => call(&server, "keys.verifyKey", json!({"key": key.key})),
    });
    for answer in at_once(calls.collect::<Vec<_>>()).await {
        answer.expect(200);
    }
    assert_eq!(read_key(&server, &key).await["credits"]["remaining"], 100 + 20 * (5 - 2 - 1));
}

#[tokio::test]
async fn a_refill_that_is_due_and_not_settled_is_shown_as_a_deduction_would_find_it() {
    let server = crate::program().start().await;
    let api = new_api(&server).await;
    let refill = json!({"interval": "daily", "amount": 9});
    let due = new_key(&server, &api, json!({"credits": {"remaining": 2, "refill": refill}})).await;
    let richer = new_key(&server, &api, json!({"credits": {"remaining": 20, "refill": refill}})).await;
    let none = new_key(&server, &api, json!({"credits": {"remaining": 2}})).await;
    let file = server.data_dir().join("keyrack.db");
    let mut database =
        <sqlx::SqliteConnection as sqlx::Connection>::connect(&format!("sqlite://{}", file.display())).await;
    let yesterday = "UPDATE credits SET refilled_on = refilled_on - 1";
    sqlx::query(yesterday).execute(database.as_mut().expect("it opens")).await.expect("it is written");
    for (key, balance) in [(&due, 9), (&richer, 20), (&none, 2)] {
        assert_eq!(read_key(&server, key).await["credits"]["remaining"], balance);
        assert_eq!(verify(&server, key, json!({"credits": {"cost": 0}})).await["credits"], balance);
        let found = server.call("keys.whoami", json!({"key": key.key})).await.expect(200);
        assert_eq!(found.data()["credits"]["remaining"], balance);
    }
    let listed = server.call("apis.listKeys", json!({"apiId": api})).await.expect(200);
    let mut balances: Vec<i64> = listed
        .data()
        .as_array()
        .expect("a list")
        .iter()
        .map(|key| key["credits"]["remaining"].as_i64().expect("a number"))
        .collect();
    balances.sort_unstable();
    assert_eq!(balances, [2, 9, 20]);
    assert_eq!(verify(&server, &due, json!({})).await["credits"], 8, "and a deduction finds it so");
}
