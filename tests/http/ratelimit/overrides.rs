//! Overrides: set, found, applied, listed, deleted.

use keyrack_test_harness::{Client, Server};
use serde_json::{Value, json};

use crate::fixture::{WINDOW, event_count, events, last_events, limited_client, merged, workspace_id};
use crate::keyrack;

const OTHER_WINDOW: u64 = WINDOW - 1000;

/// A server with the namespace `mail`.
async fn with_namespace() -> Server {
    let server = keyrack().await;
    assert_eq!(limit(&server, "nobody", 0).await["success"], true);
    server
}

async fn limit(client: &Client, identifier: &str, cost: i64) -> Value {
    let body =
        json!({"namespace": "mail", "identifier": identifier, "limit": 3, "duration": WINDOW, "cost": cost});
    client.call("ratelimit.limit", body).await.expect(200).data().clone()
}

async fn set(client: &Client, identifier: &str, limit: i64, duration: u64) -> String {
    let body = json!({"namespace": "mail", "identifier": identifier, "limit": limit, "duration": duration});
    client.call("ratelimit.setOverride", body).await.expect(200).text_of("overrideId")
}

fn about(identifier: &str) -> Value {
    json!({"namespace": "mail", "identifier": identifier})
}

#[tokio::test]
async fn an_override_replaces_limit_and_window_from_the_next_request_on() {
    let server = with_namespace().await;
    assert_eq!(limit(&server, "vip", 2).await["remaining"], 1);
    let id = set(&server, "vip", 100, WINDOW).await;
    assert!(id.starts_with("rlor_"), "{id}");
    let counted = limit(&server, "vip", 1).await;
    assert_eq!((&counted["limit"], &counted["remaining"]), (&json!(100), &json!(97)), "one count per window");
    assert_eq!(counted["overrideId"], json!(id));
    assert_eq!(set(&server, "vip", 100, OTHER_WINDOW).await, id, "setting again keeps the id");
    assert_eq!(limit(&server, "vip", 1).await["remaining"], 99, "another window is another count");
    assert_eq!(limit(&server, "other", 1).await.get("overrideId"), None);
}

#[tokio::test]
async fn a_limit_of_0_blocks_and_reads_pass() {
    let server = with_namespace().await;
    set(&server, "bad", 0, WINDOW).await;
    let denied = limit(&server, "bad", 1).await;
    let due = (&json!(false), &json!(0), &json!(0));
    assert_eq!((&denied["success"], &denied["limit"], &denied["remaining"]), due);
    assert_eq!(limit(&server, "bad", 0).await["success"], true);
}

#[tokio::test]
async fn the_exact_one_applies_then_the_most_specific_pattern() {
    let server = with_namespace().await;
    let mut ids = Vec::new();
    for pattern in ["*", "*@acme.com", "user_*", "user_*@acme.com", "user_1", "a\n*"] {
        ids.push((pattern, set(&server, pattern, 50, WINDOW).await));
    }
    for (identifier, applied) in [
        ("user_1", "user_1"),
        ("user_2", "user_*"),
        ("user_2@acme.com", "user_*@acme.com"),
        ("x@acme.com", "*@acme.com"),
        ("x@acme.com.evil", "*"),
        ("User_1", "*"),
        ("user_*", "user_*"),
        ("a\nb", "a\n*"),
        ("*", "*"),
    ] {
        let due = &ids.iter().find(|(pattern, _)| *pattern == applied).expect("it was set").1;
        assert_eq!(limit(&server, identifier, 0).await["overrideId"], json!(due), "{identifier:?}");
        let found = server.call("ratelimit.getOverride", about(identifier)).await.expect(200);
        let data = json!({"overrideId": due, "identifier": applied, "limit": 50, "duration": WINDOW});
        assert_eq!(found.data(), &data, "{identifier:?}");
    }
    limit(&server, "y@acme.com", 10).await;
    assert_eq!(limit(&server, "z@acme.com", 0).await["remaining"], 50, "counts are per identifier");
}

#[tokio::test]
async fn only_the_exact_pattern_is_deleted_and_only_once() {
    let server = with_namespace().await;
    set(&server, "user_*", 50, WINDOW).await;
    let not_found = "unkey/data/ratelimit_override_not_found";
    server.call("ratelimit.deleteOverride", about("user_1")).await.expect_error(404, not_found);
    let deleted = server.call("ratelimit.deleteOverride", about("user_*")).await.expect(200);
    assert_eq!(deleted.data(), &json!({}));
    let due: &[(&str, &[&str])] = &[
        ("ratelimit.set_override", &["ratelimitOverride"]),
        ("ratelimit.delete_override", &["ratelimitOverride", "ratelimitNamespace"]),
    ];
    assert_eq!(last_events(&server, 2).await, events(due));
    server.call("ratelimit.deleteOverride", about("user_*")).await.expect_error(404, not_found);
    assert_eq!(limit(&server, "user_1", 0).await["limit"], 3);
    server.call("ratelimit.getOverride", about("user_1")).await.expect_error(404, not_found);
}

#[tokio::test]
async fn setting_a_deleted_override_revives_it_under_its_id() {
    let server = with_namespace().await;
    let id = set(&server, "vip", 50, WINDOW).await;
    server.call("ratelimit.deleteOverride", about("vip")).await.expect(200);
    assert_eq!(set(&server, "vip", 70, WINDOW).await, id);
    assert_eq!(limit(&server, "vip", 0).await["limit"], 70);
    let listed = server.call("ratelimit.listOverrides", json!({"namespace": "mail"})).await.expect(200);
    let due = json!([{"overrideId": id, "identifier": "vip", "limit": 70, "duration": WINDOW}]);
    assert_eq!(listed.data(), &due);
    server.call("ratelimit.deleteOverride", about("vip")).await.expect(200);
}

#[tokio::test]
async fn setting_the_same_numbers_again_is_recorded_again_and_a_refusal_is_not() {
    let server = with_namespace().await;
    set(&server, "vip", 50, WINDOW).await;
    let count = event_count(&server).await;
    set(&server, "vip", 50, WINDOW).await;
    assert_eq!(event_count(&server).await, count + 1);
    let body = merged(about("vip"), json!({"limit": 1, "duration": 999}));
    let answer = server.call("ratelimit.setOverride", body).await;
    assert_eq!(answer.expect(400).locations(), ["body.duration"]);
    let body = json!({"namespace": "unknown", "identifier": "i", "limit": 1, "duration": 1000});
    let answer = server.call("ratelimit.setOverride", body).await;
    answer.expect_error(404, "unkey/data/ratelimit_namespace_not_found");
    let nobody = limited_client(&server, &[]).await;
    let count = event_count(&server).await;
    let body = merged(about("vip"), json!({"limit": 1, "duration": 1000}));
    nobody.call("ratelimit.setOverride", body).await.expect(403);
    assert_eq!(event_count(&server).await, count);
}

#[tokio::test]
async fn overrides_are_listed_by_id_50_at_a_time() {
    let server = with_namespace().await;
    let mut due = Vec::new();
    for n in 0..53 {
        due.push(set(&server, &format!("user_{n}"), 1, WINDOW).await);
    }
    due.sort();
    let list = |members: Value| {
        let body = merged(json!({"namespace": "mail"}), members);
        let client = server.client();
        async move { client.call("ratelimit.listOverrides", body).await.expect(200) }
    };
    let ids = |answer: &keyrack_test_harness::Answer| -> Vec<String> {
        let items = answer.data().as_array().expect("a list").iter();
        items.map(|one| one["overrideId"].as_str().expect("an id").to_owned()).collect()
    };
    let first = list(json!({})).await;
    assert_eq!(ids(&first), due[..50]);
    let cursor = first.body["pagination"]["cursor"].clone();
    assert_eq!(cursor, json!(due[50]));
    let rest = list(json!({"cursor": cursor})).await;
    assert_eq!((ids(&rest), &rest.body["pagination"]), (due[50..].to_vec(), &json!({"hasMore": false})));
    assert_eq!(ids(&list(json!({"cursor": "", "limit": 2})).await), due[..2]);
    assert_eq!(ids(&list(json!({"cursor": "zzz"})).await), Vec::<String>::new());
}

#[tokio::test]
async fn who_may_not_read_an_override_learns_nothing_of_it() {
    let server = with_namespace().await;
    set(&server, "vip", 50, WINDOW).await;
    let workspace = workspace_id(&server).await;
    let nobody = limited_client(&server, &["ratelimit.*.set_override"]).await;
    let masked = nobody.call("ratelimit.getOverride", about("vip")).await;
    let masked = masked.expect_error(404, "unkey/data/ratelimit_override_not_found");
    let missing = server.call("ratelimit.getOverride", about("nobody")).await.expect(404);
    assert_eq!(masked.body["error"], missing.body["error"]);
    let everything = format!("unkey:v1:{workspace}:ratelimits/**#read_override");
    let client = limited_client(&server, &[&everything]).await;
    client.call("ratelimit.getOverride", about("vip")).await.expect(200);
    let answer = client.call("ratelimit.listOverrides", json!({"namespace": "mail"})).await;
    answer.expect_error(403, "unkey/authorization/insufficient_permissions");
}
