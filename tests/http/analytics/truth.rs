//! What is decided is what queries say, at once, after a stop and after a kill.

use std::time::Duration;

use keyrack_test_harness::Server;
use serde_json::{Value, json};

use super::{ratelimits, verifications};
use crate::fixture::{WINDOW, new_api, new_key, now, verify};
use crate::{keyrack, program};

/// Of each outcome one or more verifications, and what they come to.
async fn decide(server: &Server) -> Value {
    let api = new_api(server).await;
    let key = new_key(server, &api, json!({"externalId": "customer_7", "credits": {"remaining": 5}})).await;
    let disabled = new_key(server, &api, json!({"enabled": false})).await;
    for cost in [3, 2, 1] {
        verify(server, &key, json!({"tags": ["path=/v1", "x"], "credits": {"cost": cost}})).await;
    }
    verify(server, &disabled, json!({"tags": []})).await;
    verify(server, &key, json!({"permissions": "docs.read"})).await;
    server.call("keys.verifyKey", json!({"key": "no_key_at_all"})).await.expect(200);
    json!([
        {"outcome": "DISABLED", "n": 1, "spent": 0},
        {"outcome": "INSUFFICIENT_PERMISSIONS", "n": 1, "spent": 0},
        {"outcome": "USAGE_EXCEEDED", "n": 1, "spent": 0},
        {"outcome": "VALID", "n": 2, "spent": 5},
    ])
}

async fn outcomes(server: &Server, table: &str) -> Value {
    let sum = if table.contains("_per_") { "SUM(count)" } else { "count()" };
    let query = format!(
        "SELECT outcome, {sum} AS n, SUM(spent_credits) AS spent FROM {table} GROUP BY outcome ORDER BY outcome"
    );
    verifications(server, &query).await
}

const TABLES: [&str; 5] = [
    "key_verifications_v1",
    "key_verifications_per_minute_v1",
    "key_verifications_per_hour_v1",
    "key_verifications_per_day_v1",
    "key_verifications_per_month_v1",
];

#[tokio::test]
async fn every_table_says_what_was_decided_at_once_and_after_a_restart() {
    let server = keyrack().await;
    let truth = decide(&server).await;
    for table in TABLES {
        assert_eq!(outcomes(&server, table).await, truth, "{table}");
    }
    let mut server = server;
    server.signal("TERM");
    server.wait_for_exit(Duration::from_secs(20)).await;
    let server = server.kill_and_restart().await;
    for table in TABLES {
        assert_eq!(outcomes(&server, table).await, truth, "{table} after a stop");
    }
    // What a kill finds in the log is taken in by the next start.
    let more = decide(&server).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    let server = server.kill_and_restart().await;
    let twice = |one: &Value, other: &Value| {
        let sum = |name: &str| one[name].as_i64().zip(other[name].as_i64()).map(|(a, b)| a + b);
        json!({"outcome": one["outcome"], "n": sum("n"), "spent": sum("spent")})
    };
    let (truth, more) = (truth.as_array().expect("rows").clone(), more.as_array().expect("rows").clone());
    let both: Vec<Value> = truth.iter().zip(&more).map(|(one, other)| twice(one, other)).collect();
    for table in TABLES {
        assert_eq!(outcomes(&server, table).await, json!(both), "{table} after a kill");
    }
}

#[tokio::test]
async fn a_row_of_an_event_has_everything_about_it() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let limits = json!([{"name": "few", "limit": 1, "duration": WINDOW, "autoApply": true}]);
    let key = new_key(&server, &api, json!({"externalId": "customer_7", "ratelimits": limits})).await;
    verify(&server, &key, json!({"tags": ["b", "a"]})).await;
    verify(&server, &key, json!({})).await;
    let rows = verifications(&server, "SELECT * FROM key_verifications_v1 ORDER BY time, outcome DESC").await;
    let first = &rows[0];
    let time = first["time"].as_i64().expect("ms");
    assert!((now() - 60_000..=now()).contains(&time), "{time}");
    assert!(first["request_id"].as_str().is_some_and(|id| id.starts_with("req_")), "{first}");
    assert!(first["latency"].as_f64().is_some_and(|latency| latency > 0.0), "{first}");
    assert_eq!(
        (&first["api_id"], &first["key_id"], &first["external_id"], &first["tags"], &first["source"]),
        (&json!(api), &json!(key.id), &json!("customer_7"), &json!(["b", "a"]), &json!("api"))
    );
    assert_eq!((&rows[1]["outcome"], &rows[1]["refused_by"]), (&json!("RATE_LIMITED"), &json!(["few"])));
    // Columns come in the order of the statement.
    let text = server
        .call(
            "analytics.getVerifications",
            json!({"query": "SELECT outcome AS z, key_id AS a FROM key_verifications_v1"}),
        )
        .await
        .expect(200)
        .text;
    assert!(text.contains(r#"[{"z":"VALID","a":"key_"#), "{text}");
}

#[tokio::test]
async fn decisions_on_limits_are_counted_with_their_cost() {
    let server = keyrack().await;
    for cost in [2, 2, 0, 9] {
        let body = json!({"namespace": "mail", "identifier": "ann", "limit": 5, "duration": WINDOW, "cost": cost});
        server.call("ratelimit.limit", body).await.expect(200);
    }
    let query = "SELECT namespace, identifier, SUM(total) AS total, SUM(passed) AS passed, SUM(total_tokens) AS tokens, \
                 SUM(passed_tokens) AS passed_tokens FROM ratelimits_per_hour_v1 GROUP BY namespace, identifier";
    let expected = json!([{
        "namespace": "mail", "identifier": "ann", "total": 4, "passed": 3, "tokens": 13, "passed_tokens": 4,
    }]);
    assert_eq!(ratelimits(&server, query).await, expected);
    let raw = ratelimits(&server, "SELECT tokens, passed FROM ratelimits_v1 ORDER BY tokens DESC LIMIT 1").await;
    assert_eq!(raw, json!([{"tokens": 9, "passed": false}]));
}

#[tokio::test]
async fn gaps_are_filled_times_are_rfc_3339_and_nothing_is_null() {
    let server = keyrack().await;
    let query = "SELECT time AS t, SUM(count) AS n FROM key_verifications_per_day_v1 GROUP BY t \
                 ORDER BY t WITH FILL FROM toDate('2026-03-01') TO toDate('2026-03-03') STEP INTERVAL 1 DAY";
    let expected = json!([{"t": "2026-03-01T00:00:00Z", "n": 0}, {"t": "2026-03-02T00:00:00Z", "n": 0}]);
    assert_eq!(verifications(&server, query).await, expected);
    let nothing =
        "SELECT count() AS n, avg(latency) AS mean, sum(spent_credits) AS spent FROM key_verifications_v1";
    assert_eq!(verifications(&server, nothing).await, json!([{"n": 0, "mean": null, "spent": 0}]));
}

#[tokio::test]
async fn a_second_process_of_a_data_folder_says_that_it_has_no_analytics() {
    let server = program().start().await;
    let second = server.program().start().await;
    let body = json!({"query": "SELECT count() AS n FROM key_verifications_v1"});
    let answer = second.call("analytics.getVerifications", body.clone()).await;
    assert_eq!((answer.status, answer.code().as_str()), (412, "unkey/data/analytics_not_configured"));
    server.call("analytics.getVerifications", body).await.expect(200);
}
