//! `ratelimit.getCount`: what is used, and nothing else.

use keyrack_test_harness::{Client, Database, Server};
use serde_json::{Value, json};

use crate::fixture::{WINDOW, limited_client};
use crate::seen::metrics::{metrics_of, scrape};
use crate::{keyrack, program};

fn of(identifier: &str) -> Value {
    json!({"namespace": "mail", "identifier": identifier, "limit": 10, "duration": WINDOW})
}

async fn use_some(client: &Client, identifier: &str, cost: i64) -> Value {
    let mut body = of(identifier);
    body["cost"] = cost.into();
    client.call("ratelimit.limit", body).await.expect(200).data().clone()
}

async fn count(client: &Client, body: Value) -> Value {
    client.call("ratelimit.getCount", body).await.expect(200).data().clone()
}

#[tokio::test]
async fn what_was_counted_is_read_as_often_as_one_likes() {
    let server = keyrack().await;
    let reset = use_some(&server, "ann", 3).await["reset"].clone();
    let due = json!({"limit": 10, "duration": WINDOW, "used": 3, "remaining": 7, "reset": reset});
    for _ in 0..3 {
        assert_eq!(count(&server, of("ann")).await, due);
    }
    let mut narrower = of("ann");
    narrower["limit"] = 2.into();
    let beyond = count(&server, narrower).await;
    assert_eq!(
        (&beyond["used"], &beyond["remaining"]),
        (&json!(3), &json!(0)),
        "the limit is not part of the count"
    );
    let mut other = of("ann");
    other["duration"] = 60_000.into();
    assert_eq!(count(&server, other).await["used"], 0, "the duration is");
    assert_eq!(count(&server, of("bob")).await["used"], 0);
    assert_eq!(use_some(&server, "ann", 1).await["remaining"], 6);
}

#[tokio::test]
async fn the_override_that_applies_says_limit_and_window() {
    let server = keyrack().await;
    use_some(&server, "ann@vip", 3).await;
    let set = json!({"namespace": "mail", "identifier": "*@vip", "limit": 100, "duration": WINDOW});
    let id = server.call("ratelimit.setOverride", set).await.expect(200).text_of("overrideId");
    let mut asked = of("ann@vip");
    asked["duration"] = 1000.into();
    let answer = count(&server, asked).await;
    let due = json!({"limit": 100, "duration": WINDOW, "used": 3, "remaining": 97, "overrideId": id});
    for (member, value) in due.as_object().expect("an object") {
        assert_eq!(&answer[member], value, "{member}");
    }
    assert_eq!(count(&server, of("ann")).await.get("overrideId"), None);
}

#[tokio::test]
async fn nothing_is_created_counted_or_recorded_and_an_unknown_namespace_is_said() {
    let server = program().on_engine().await.env("KEYRACK_METRICS_LISTEN", "127.0.0.1:0").start().await;
    use_some(&server, "ann", 3).await;
    let mut database = Database::of(&server).await;
    let recorded = async |client: &Client| {
        let listed = client.call("analytics.listRatelimits", json!({})).await.expect(200);
        listed.data().as_array().expect("a list").len()
    };
    let (events, stored) = (recorded(&server).await, database.dump().await);
    let cells = decisions(&server).await;
    for identifier in ["ann", "bob", "carl"] {
        count(&server, of(identifier)).await;
    }
    let mut typo = of("ann");
    typo["namespace"] = "mial".into();
    let answer = server.call("ratelimit.getCount", typo).await;
    let answer = answer.expect_error(404, "unkey/data/ratelimit_namespace_not_found");
    assert!(answer.detail().contains("`ratelimit.listNamespaces`"), "{}", answer.detail());
    assert_eq!(decisions(&server).await, cells, "no cell was made and no decision noted");
    assert_eq!(recorded(&server).await, events);
    let listed = server.call("ratelimit.listNamespaces", json!({})).await.expect(200);
    assert_eq!(listed.data().as_array().map(Vec::len), Some(1), "{}", listed.text);
    assert_eq!(database.dump().await, stored);
}

#[tokio::test]
async fn a_deleted_namespace_has_no_counts_to_show() {
    let server = keyrack().await;
    use_some(&server, "ann", 1).await;
    server.call("ratelimit.deleteNamespace", json!({"namespace": "mail"})).await.expect(200);
    let answer = server.call("ratelimit.getCount", of("ann")).await;
    answer.expect_error(404, "unkey/data/ratelimit_namespace_not_found");
    let nobody = limited_client(&server, &["ratelimit.*.limit"]).await;
    nobody.call("ratelimit.getCount", of("ann")).await.expect(403);
}

/// How many limits of namespaces were decided, and how many counts there are.
async fn decisions(server: &Server) -> Vec<String> {
    let text = scrape(&metrics_of(server)).await;
    let is_meant = |line: &&str| line.contains("limit_cells ") || line.contains("limit=\"namespace\"");
    let lines: Vec<String> = text.lines().filter(is_meant).map(str::to_owned).collect();
    assert!(lines.len() > 2, "{text}");
    lines
}
