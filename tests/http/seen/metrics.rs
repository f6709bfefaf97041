//! What Prometheus reads.

use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keyrack_test_harness::{Server, free_port, http_client};
use serde_json::json;

use crate::fixture::{WINDOW, limited_client, new_api, new_key, verify, workspace_id};
use crate::program;
use crate::wire::mcp::Session;

/// A server that serves its metrics, and where.
async fn with_metrics() -> (Server, String) {
    let server = program().env("KEYRACK_METRICS_LISTEN", "127.0.0.1:0").start().await;
    let address = metrics_of(&server);
    // The change feed has an age from its first look on, which may come after the first request.
    let started = Instant::now();
    while !scrape(&address).await.contains("change_feed_age") {
        assert!(started.elapsed() < Duration::from_secs(20), "no change feed is looked at:\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (server, address)
}

/// Where a server serves its metrics, as its banner says.
pub(crate) fn metrics_of(server: &Server) -> String {
    let log = server.log();
    let address = log.lines().rev().find_map(|line| line.trim().strip_prefix("Metrics"));
    address.unwrap_or_else(|| panic!("the banner names no metrics:\n{log}")).trim().to_owned()
}

/// As Prometheus asks, if it is not told otherwise.
const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          text/plain;version=0.0.4;q=0.4,*/*;q=0.1";

/// The metrics of a server.
pub(crate) async fn scrape(address: &str) -> String {
    let (kind, text) = scrape_as(address, PROMETHEUS).await;
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    text
}

/// The metrics in the form that `accept` asks for: its name and the text.
async fn scrape_as(address: &str, accept: &str) -> (String, String) {
    let request = http_client().get(address).header("Accept", accept);
    let answer = request.send().await.expect("metrics are served");
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
    (kind, answer.text().await.expect("text"))
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
async fn analytics_show_what_was_asked_and_what_they_have() {
    let (server, address) = with_metrics().await;
    let key = new_key(&server, &new_api(&server).await, json!({})).await;
    for _ in 0..3 {
        verify(&server, &key, json!({})).await;
    }
    for (query, status) in [
        ("SELECT count() AS n FROM key_verifications_v1", 200),
        ("SELECT toInt64(outcome) AS n FROM key_verifications_v1", 400),
        ("SELECT nothing FROM key_verifications_v1", 400),
    ] {
        server.call("analytics.getVerifications", json!({"query": query})).await.expect(status);
    }
    let text = shown_in_time(&address, "keyrack_analytics_rows_unwritten 3.0").await;
    for line in [
        r#"keyrack_analytics_queries_total{outcome="ok"} 1"#,
        r#"keyrack_analytics_queries_total{outcome="invalid_analytics_query"} 1"#,
        "keyrack_analytics_query_duration_seconds_count 2",
        "keyrack_analytics_log_behind_bytes 0.0",
        "keyrack_analytics_damaged_files 0.0",
        "keyrack_analytics_stored_bytes 0.0",
        r#"keyrack_scheduled_failures_total{task="analytics"} 0"#,
    ] {
        assert_shows(&text, line);
    }
    let mut server = server;
    server.signal("TERM");
    server.wait_for_exit(Duration::from_secs(20)).await;
    let server = server.kill_and_restart().await;
    let text = shown_in_time(&metrics_of(&server), "keyrack_analytics_rows_unwritten 0.0").await;
    let stored = text.lines().find_map(|line| line.strip_prefix("keyrack_analytics_stored_bytes "));
    assert!(stored.is_some_and(|bytes| bytes.parse::<f64>().is_ok_and(|bytes| bytes > 100.0)), "{text}");
}

/// The metrics as soon as they have this line.
async fn shown_in_time(address: &str, line: &str) -> String {
    let started = Instant::now();
    loop {
        let text = scrape(address).await;
        if text.lines().any(|shown| shown == line) || started.elapsed() > Duration::from_secs(10) {
            assert_shows(&text, line);
            return text;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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
    let jobs = [
        "change_feed",
        "events",
        "health",
        "idle_counters",
        "key_uses",
        "plaintexts",
        "refills",
        "retention",
        "usage",
    ];
    let shows = |text: &str, job: &str| {
        let name = format!("keyrack_scheduled_last_success_timestamp_seconds{{task=\"{job}\"}} ");
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
        assert_shows(&text, &format!("keyrack_scheduled_failures_total{{task=\"{job}\"}} 0"));
    }
    assert_shows(&text, r#"keyrack_rows_removed_total{kind="expired_keys"} 0"#);
}

#[tokio::test]
async fn the_form_of_metrics_is_the_one_that_was_asked_for() {
    let (server, address) = with_metrics().await;
    server.get("/nowhere").await.expect(404);
    for accept in ["", "*/*", "text/plain", "text/plain;version=0.0.4"] {
        let (kind, text) = scrape_as(&address, accept).await;
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8", "{accept}");
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
        assert_shows(&text, "# TYPE keyrack_requests_total counter");
        assert_shows(&text, r#"keyrack_requests_total{operation="unknown",status="404"} 1"#);
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').expect("name and kind");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
        }
    }
    let (kind, text) = scrape_as(&address, "application/openmetrics-text").await;
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    assert!(text.ends_with("# EOF\n") && text.contains("# TYPE keyrack_requests counter"), "{text}");
}

#[tokio::test]
async fn no_metric_has_a_label_that_prometheus_gives_itself_and_fast_requests_have_buckets() {
    let (server, address) = with_metrics().await;
    verify(&server, &new_key(&server, &new_api(&server).await, json!({})).await, json!({})).await;
    let text = scrape(&address).await;
    for label in ["job", "instance"] {
        let (first, later) = (format!("{{{label}=\""), format!(",{label}=\""));
        let has = |line: &&str| line.contains(&first) || line.contains(&later);
        assert_eq!(text.lines().find(has), None, "the label {label}");
    }
    for bound in ["0.00005", "0.0001", "0.00025", "0.0005"] {
        let bucket =
            format!("keyrack_request_duration_seconds_bucket{{le=\"{bound}\",operation=\"keys.verifyKey\"}} ");
        assert!(text.lines().any(|line| line.starts_with(&bucket)), "{bucket} is not in\n{text}");
    }
}

#[tokio::test]
async fn metrics_are_shown_under_the_servers_own_names_only() {
    let (_server, address) = with_metrics().await;
    for (host, status) in [("localhost:9090", 200), ("evil.example.com", 403), ("localhost:80@evil.com", 403)] {
        let answer = http_client().get(&address).header("Host", host).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{host}");
        let text = answer.text().await.expect("text");
        assert_eq!(text.contains("keyrack_requests"), status == 200, "{host}: {text}");
    }
}

#[tokio::test]
async fn connections_and_their_ends_are_counted() {
    let (server, address) = with_metrics().await;
    let refused = server.request(reqwest::Method::POST, "/v2/keys.verifyKey").body("{}");
    server.send("keys.verifyKey", refused).await.expect(401);
    let text = scrape(&address).await;
    for line in [
        r#"keyrack_connections_refused_total{reason="full"} 0"#,
        r#"keyrack_connections_refused_total{reason="no_file"} 0"#,
        r#"keyrack_connections_ended_total{reason="idle"} 0"#,
        r#"keyrack_connections_ended_total{reason="head_late"} 0"#,
        r#"keyrack_connections_ended_total{reason="stuck"} 0"#,
        r#"keyrack_connections_ended_total{reason="for_another"} 0"#,
        r#"keyrack_unwanted_bodies_total{ending="read"} 1"#,
        r#"keyrack_unwanted_bodies_total{ending="cut"} 0"#,
        r#"keyrack_health_reason{reason="disk_full"} 0.0"#,
    ] {
        assert_shows(&text, line);
    }
    let open = text.lines().find_map(|line| line.strip_prefix("keyrack_connections_open "));
    assert!(open.is_some_and(|open| open != "0.0"), "{text}");
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
