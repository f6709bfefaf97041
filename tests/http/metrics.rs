//! What Prometheus reads.

use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keyrack_test_harness::{Server, free_port, http_client};
use serde_json::json;

use crate::fixture::{WINDOW, limited_client, new_api, new_key, verify, workspace_id};
use crate::mcp_wire::Session;
use crate::program;

/// A server that serves its metrics, and where.
async fn with_metrics() -> (Server, String) {
    let server = program().env("KEYRACK_METRICS_LISTEN", "127.0.0.1:0").start().await;
    let log = server.log();
    let address = log.lines().find_map(|line| line.trim().strip_prefix("Metrics"));
    let address = address.unwrap_or_else(|| panic!("the banner names no metrics:\n{log}")).trim().to_owned();
    // The change feed has an age from its first look on, which may come after the first request.
    while !scrape(&address).await.contains("change_feed_age") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (server, address)
}

async fn scrape(address: &str) -> String {
    let answer = http_client().get(address).send().await.expect("metrics are served");
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["content-type"].to_str().expect("text").starts_with("application/openmetrics-text"));
    answer.text().await.expect("text")
}

#[track_caller]
fn assert_shows(text: &str, line: &str) {
    assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
}

#[tokio::test]
async fn the_names_of_metrics_are_a_promise() {
    let (_server, address) = with_metrics().await;
    let text = scrape(&address).await;
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    insta::assert_snapshot!(names.join("\n"));
}

#[tokio::test]
async fn verifications_limits_and_credits_are_counted_without_names_of_anybody() {
    let (server, address) = with_metrics().await;
    let api = new_api(&server).await;
    let limit = json!([{"name": "requests", "limit": 2, "duration": WINDOW, "autoApply": true}]);
    let limited = new_key(&server, &api, json!({"ratelimits": limit})).await;
    for _ in 0..3 {
        verify(&server, &limited, json!({})).await;
    }
    let metered = new_key(&server, &api, json!({"credits": {"remaining": 5}})).await;
    verify(&server, &metered, json!({"credits": {"cost": 4}})).await;
    verify(&server, &metered, json!({"credits": {"cost": 3}})).await;
    server.call("keys.verifyKey", json!({"key": "unknown"})).await.expect(200);
    let may_not_verify = limited_client(&server, &["api.*.read_api"]).await;
    assert_eq!(verify(&may_not_verify, &limited, json!({})).await["code"], "NOT_FOUND");
    server.call("apis.getApi", json!({"apiId": "api_unknown1"})).await.expect(404);
    server.get("/nowhere").await.expect(404);
    let text = scrape(&address).await;
    for line in [
        r#"keyrack_requests_total{operation="keys.verifyKey",status="200"} 7"#,
        r#"keyrack_requests_total{operation="apis.getApi",status="404"} 1"#,
        r#"keyrack_requests_total{operation="unknown",status="404"} 1"#,
        r#"keyrack_request_duration_seconds_count{operation="keys.verifyKey"} 7"#,
        r#"keyrack_request_duration_seconds_bucket{le="+Inf",operation="keys.verifyKey"} 7"#,
        r#"keyrack_verifications_total{outcome="VALID"} 3"#,
        r#"keyrack_verifications_total{outcome="RATE_LIMITED"} 1"#,
        r#"keyrack_verifications_total{outcome="USAGE_EXCEEDED"} 1"#,
        r#"keyrack_verifications_total{outcome="NOT_FOUND"} 1"#,
        r#"keyrack_verifications_total{outcome="HIDDEN"} 1"#,
        r#"keyrack_verifications_total{outcome="EXPIRED"} 0"#,
        r#"keyrack_limit_decisions_total{limit="key",decision="passed"} 2"#,
        r#"keyrack_limit_decisions_total{limit="key",decision="refused"} 1"#,
        "keyrack_credits_spent_total 4",
        "keyrack_credits_refused_total 3",
        r#"keyrack_resident_entries{kind="keys"} 2.0"#,
        r#"keyrack_resident_entries{kind="apis"} 1.0"#,
        "keyrack_limit_cells 1.0",
        "keyrack_change_feed_generations_behind 0.0",
        "# EOF",
    ] {
        assert_shows(&text, line);
    }
    for name in [&workspace_id(&server).await, &api, &limited.id] {
        assert!(!text.contains(name.as_str()), "{name} is in\n{text}");
    }
}

#[tokio::test]
async fn calls_of_assistants_are_counted_with_their_outcome() {
    let (server, address) = with_metrics().await;
    let session = Session::open(&server).await;
    let call = |name: &str, arguments| json!({"name": name, "arguments": arguments});
    session.ask("tools/call", call("workspace_getOverview", json!({}))).await;
    session.ask("tools/call", call("apis_getApi", json!({"apiId": "api_unknown1"}))).await;
    let text = scrape(&address).await;
    assert_shows(&text, r#"keyrack_mcp_calls_total{operation="workspace.getOverview",outcome="ok"} 1"#);
    assert_shows(&text, r#"keyrack_mcp_calls_total{operation="apis.getApi",outcome="api_not_found"} 1"#);
    assert_shows(&text, "keyrack_mcp_call_duration_seconds_count 2");
}

#[tokio::test]
async fn the_change_feed_is_followed_all_the_time() {
    let (_server, address) = with_metrics().await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let text = scrape(&address).await;
    let age = text.lines().find_map(|line| line.strip_prefix("keyrack_change_feed_age_seconds "));
    let age: f64 = age.expect("an age").parse().expect("a number");
    assert!(age < 5.0, "{age} s");
}

#[tokio::test]
async fn scheduled_work_shows_when_it_ran_and_what_it_removed() {
    let (server, address) = with_metrics().await;
    let jobs = ["change_feed", "health", "idle_counters", "key_uses", "refills", "retention", "usage"];
    let shows = |text: &str, job: &str| {
        let name = format!("keyrack_scheduled_last_success_timestamp_seconds{{job=\"{job}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok())
    };
    let started = Instant::now();
    let text = loop {
        let text = scrape(&address).await;
        if jobs.iter().all(|job| shows(&text, job).is_some()) {
            break text;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{text}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    for job in jobs {
        let at = shows(&text, job).expect("a time");
        assert!((now - at).abs() < 60.0, "{job}: {at}, now {now}");
        assert_shows(&text, &format!("keyrack_scheduled_failures_total{{job=\"{job}\"}} 0"));
    }
    assert_shows(&text, r#"keyrack_rows_removed_total{kind="expired_keys"} 0"#);
}

#[tokio::test]
async fn metrics_are_not_on_the_listener_of_the_api() {
    let (server, _) = with_metrics().await;
    server.get("/metrics").await.expect_error(404, "unkey/application/route_not_found");
}

#[tokio::test]
async fn a_default_address_that_is_taken_is_a_warning_and_a_chosen_one_stops_the_start() {
    // Whether this binding works or somebody else has the port: it is taken.
    let _taken = TcpListener::bind("127.0.0.1:9090");
    let server = program().without_env("KEYRACK_METRICS_LISTEN").start().await;
    assert!(server.log().contains("127.0.0.1:9090 is taken"), "{}", server.log());
    let port = free_port();
    let _taken = TcpListener::bind(("127.0.0.1", port)).expect("it was free");
    let stderr = program().env("KEYRACK_METRICS_LISTEN", &format!("127.0.0.1:{port}")).start_refused().await;
    assert!(stderr.contains(&format!("cannot serve metrics on 127.0.0.1:{port}")), "{stderr}");
}
