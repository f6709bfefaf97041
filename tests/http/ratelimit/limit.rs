//! `ratelimit.limit`.

use keyrack_test_harness::{Answer, Client};
use serde_json::{Value, json};

use crate::fixture::{WINDOW, limited_client, merged, now};
use crate::keyrack;

async fn limit(client: &Client, members: Value) -> Answer {
    let usual = json!({"namespace": "email", "identifier": "user_1", "limit": 3, "duration": WINDOW});
    client.call("ratelimit.limit", merged(usual, members)).await
}

async fn outcome(client: &Client, members: Value) -> (bool, i64) {
    let answer = limit(client, members).await.expect(200);
    let data = answer.data();
    (data["success"] == true, data["remaining"].as_i64().expect("a number"))
}

#[tokio::test]
async fn a_limit_admits_its_number_and_then_denies() {
    let server = keyrack().await;
    for remaining in [2, 1, 0] {
        assert_eq!(outcome(&server, json!({})).await, (true, remaining));
    }
    let denied = limit(&server, json!({})).await.expect(200);
    let data = denied.data();
    assert_eq!((&data["success"], &data["remaining"], &data["limit"]), (&json!(false), &json!(0), &json!(3)));
    assert_eq!(data.get("overrideId"), None);
    assert_eq!(outcome(&server, json!({"limit": 4})).await, (true, 0), "a denial is not counted");
}

#[tokio::test]
async fn namespaces_identifiers_and_durations_count_apart() {
    let server = keyrack().await;
    outcome(&server, json!({"cost": 3})).await;
    assert_eq!(outcome(&server, json!({})).await, (false, 0));
    for other in [json!({"namespace": "sms"}), json!({"identifier": "user_2"}), json!({"duration": WINDOW - 1000})]
    {
        assert_eq!(outcome(&server, other.clone()).await, (true, 2), "{other}");
    }
}

#[tokio::test]
async fn names_are_exact_and_may_be_anything() {
    let server = keyrack().await;
    for namespace in ["a", "A", "ä b/c\n", "💶", "%", "_"] {
        assert_eq!(outcome(&server, json!({"namespace": namespace})).await, (true, 2), "{namespace:?}");
        assert_eq!(outcome(&server, json!({"namespace": namespace})).await, (true, 1), "{namespace:?}");
    }
}

#[tokio::test]
async fn cost_is_taken_whole_or_not_at_all_and_0_takes_nothing() {
    let server = keyrack().await;
    assert!(!outcome(&server, json!({"cost": 4})).await.0);
    assert_eq!(outcome(&server, json!({"cost": 2})).await, (true, 1));
    assert!(!outcome(&server, json!({"cost": 2})).await.0);
    assert_eq!(outcome(&server, json!({"cost": 1})).await, (true, 0));
    assert_eq!(outcome(&server, json!({"cost": 0})).await, (true, 0));
    assert!(!outcome(&server, json!({"cost": i64::MAX})).await.0);
    assert_eq!(outcome(&server, json!({"identifier": "new", "cost": 0})).await, (true, 3));
}

#[tokio::test]
async fn the_largest_limit_does_not_overflow() {
    let server = keyrack().await;
    let huge = json!({"limit": i64::MAX, "cost": i64::MAX});
    assert_eq!(outcome(&server, huge.clone()).await, (true, 0));
    assert!(!outcome(&server, huge).await.0);
}

#[tokio::test]
async fn the_reset_is_the_end_of_the_window() {
    let server = keyrack().await;
    let before = now();
    let answer = limit(&server, json!({"duration": 3_600_000})).await.expect(200);
    let reset = answer.data()["reset"].as_i64().expect("a time");
    assert_eq!(reset % 3_600_000, 0);
    assert!(reset > before && reset <= now() + 3_600_000);
}

#[tokio::test]
async fn a_window_slides() {
    let server = keyrack().await;
    let short = json!({"duration": 1000, "limit": 2, "identifier": "sliding"});
    let started = std::time::Instant::now();
    while outcome(&server, short.clone()).await.0 {
        let limit = std::time::Duration::from_secs(20);
        assert!(
            started.elapsed() < limit,
            "no request was refused: this machine makes too few of them in a second"
        );
    }
    let started = std::time::Instant::now();
    let mut admitted = false;
    while started.elapsed() < std::time::Duration::from_secs(4) && !admitted {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        admitted = outcome(&server, short.clone()).await.0;
    }
    assert!(admitted, "the window never opened again");
}

#[tokio::test]
async fn a_new_namespace_needs_the_permission_to_create_it_and_a_refusal_creates_nothing() {
    let server = keyrack().await;
    let only_limit = limited_client(&server, &["ratelimit.*.limit"]).await;
    let answer = limit(&only_limit, json!({})).await;
    let answer = answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    assert!(answer.detail().contains("ratelimit.*.create_namespace"), "{}", answer.detail());
    let overview = server.call("workspace.getOverview", json!({})).await.expect(200);
    assert_eq!(overview.data()["counts"]["namespaces"], 0);
    limit(&server, json!({})).await.expect(200);
    limit(&only_limit, json!({})).await.expect(200);
    let only_create = limited_client(&server, &["ratelimit.*.create_namespace"]).await;
    let answer = limit(&only_create, json!({"namespace": "made"})).await;
    answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    let overview = server.call("workspace.getOverview", json!({})).await.expect(200);
    assert_eq!(overview.data()["counts"]["namespaces"], 2, "the namespace stays created");
}
