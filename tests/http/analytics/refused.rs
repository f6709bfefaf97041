//! Queries that are refused, each with its code and what to do.

use keyrack_test_harness::{Answer, Client};
use serde_json::json;

use crate::fixture::new_workspace;
use crate::{keyrack, program};

pub(crate) async fn asked(client: &Client, query: &str) -> Answer {
    client.call("analytics.getVerifications", json!({"query": query})).await
}

#[tokio::test]
async fn a_query_that_is_no_query_says_what_is_wrong_with_it() {
    let server = keyrack().await;
    for (query, code, named) in [
        ("SELECT FROM", "invalid_analytics_query", ""),
        ("SELECT nope FROM key_verifications_v1", "invalid_analytics_query", "nope"),
        ("DELETE FROM key_verifications_v1", "invalid_analytics_query_type", "SELECT"),
        ("SELECT * FROM system.tables", "invalid_analytics_table", "system.tables"),
        ("SELECT * FROM ratelimits_v1", "invalid_analytics_table", "ratelimits_v1"),
        ("SELECT dictGet('a', 'b', 1) FROM key_verifications_v1", "invalid_analytics_function", "dictGet"),
    ] {
        let answer = asked(&server, query).await;
        assert_eq!((answer.status, answer.code()), (400, format!("user/bad_request/{code}")), "{query}");
        assert_eq!(answer.error()["errors"][0]["location"], "body.query", "{query}");
        let detail = answer.error()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains(named), "{query}: {detail}");
    }
}

#[tokio::test]
async fn a_query_about_what_is_not_kept_any_more_is_refused_and_one_without_a_time_is_cut() {
    let server = keyrack().await;
    let (workspace, client) = new_workspace(&server, "short").await;
    let change = json!({"workspaceId": workspace, "logRetentionDays": 7});
    server.call("workspace.updateWorkspace", change).await.expect(200);
    let old = "SELECT count() AS n FROM key_verifications_v1 WHERE time >= now() - INTERVAL 8 DAY";
    let answer = asked(&client, old).await;
    assert_eq!(answer.code(), "user/bad_request/query_range_exceeds_retention", "{}", answer.text);
    asked(&client, "SELECT count() AS n FROM key_verifications_v1").await.expect(200);
    asked(&server, old).await.expect(200);
}

#[tokio::test]
async fn a_server_without_a_log_of_events_has_no_analytics() {
    let server = program().env("KEYRACK_EVENT_LOG_BYTES", "0").start().await;
    let answer = asked(&server, "SELECT count() AS n FROM key_verifications_v1").await;
    assert_eq!((answer.status, answer.code().as_str()), (412, "unkey/data/analytics_not_configured"));
}
