//! What the log says about a request, for machines.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

use crate::fixture::{limited_client, new_api, new_key, verify};
use crate::program;

/// The lines of the log that tell of refusals.
fn refusals(log: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "keyrack::refusals").collect()
}

fn lines_about(log: &str, request_id: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["request_id"] == request_id).collect()
}

#[tokio::test]
async fn a_failing_request_is_logged_under_the_id_that_its_caller_reads() {
    let server = program().env("KEYRACK_LOG_FORMAT", "json").start().await;
    let file = server.data_dir().join("keyrack.db");
    let mut other = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.expect("it opens");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("the write lock");
    let answer = server.call("apis.createApi", json!({"name": "payments"})).await;
    let answer = answer.expect_error(503, "unkey/application/service_unavailable");
    let log = server.log();
    let lines = lines_about(&log, answer.request_id());
    let failure =
        lines.iter().find(|line| line["level"] == "ERROR").unwrap_or_else(|| panic!("no line in\n{log}"));
    assert_eq!(failure["code"], "unkey/application/service_unavailable");
    assert!(failure["cause"].as_str().is_some_and(|cause| !cause.is_empty()), "{failure}");
    assert!(failure["timestamp"].is_string() && failure["target"].is_string(), "{failure}");
}

#[tokio::test]
async fn every_request_is_logged_with_its_id_at_the_level_debug() {
    let server = program().env("KEYRACK_LOG_FORMAT", "json").env("KEYRACK_LOG", "debug").start().await;
    let answer = server.call("apis.getApi", json!({"apiId": "api_unknown1"})).await.expect(404);
    let lines = lines_about(&server.log(), answer.request_id());
    let line = lines.iter().find(|line| line["message"] == "answered").expect("a line");
    assert_eq!((&line["status"], &line["path"]), (&json!(404), &json!("/v2/apis.getApi")));
}

#[tokio::test]
async fn a_refusal_is_told_with_who_asked_for_what_from_where() {
    let server = program().env("KEYRACK_LOG_FORMAT", "json").start().await;
    let narrow = limited_client(&server, &["api.*.read_api"]).await;
    let unknown = server.with_key("unknown-root-key-4a1b");
    let disabled = server.call("rootKeys.createKey", json!({"permissions": ["*"]})).await.expect(200);
    let (disabled_id, disabled) = (disabled.text_of("keyId"), server.with_key(&disabled.text_of("key")));
    server.call("rootKeys.updateKey", json!({"keyId": disabled_id, "enabled": false})).await.expect(200);
    for (client, status) in [(&narrow, 403), (&unknown, 401), (&disabled, 403)] {
        client.call("apis.createApi", json!({"name": "payments"})).await.expect(status);
    }
    let log = server.log();
    let told = refusals(&log);
    let due = [
        ("unkey/authorization/insufficient_permissions", narrow_id(&server).await),
        ("unkey/authentication/key_not_found", "unknown".to_owned()),
        ("unkey/authorization/key_disabled", disabled_id),
    ];
    assert_eq!(told.len(), due.len(), "{log}");
    for (line, (code, root_key)) in told.iter().zip(due) {
        let said = ["code", "root_key", "operation", "address"].map(|member| line[member].as_str().unwrap_or("-"));
        assert_eq!(said, [code, &root_key, "apis.createApi", "127.0.0.1"], "{line}");
    }
    assert!(!log.contains("unknown-root-key-4a1b"), "no secret is told");
}

/// The id of the newest root key but one.
async fn narrow_id(server: &keyrack_test_harness::Server) -> String {
    let logs = server.call("audit.listLogs", json!({"event": "rootKey.create", "limit": 2})).await.expect(200);
    logs.data()[1]["targets"][0]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_flood_of_refusals_writes_few_lines_and_says_how_many_were_left_out() {
    let server = program().env("KEYRACK_LOG_FORMAT", "json").start().await;
    let unknown = server.with_key("unknown-root-key-4a1b");
    let refuse = async || unknown.call("apis.createApi", json!({"name": "payments"})).await.expect(401);
    let started = Instant::now();
    for _ in 0..300 {
        refuse().await;
    }
    let seconds = started.elapsed().as_secs() + 2;
    tokio::time::sleep(Duration::from_secs(1)).await;
    refuse().await;
    let told = refusals(&server.log());
    let left_out: u64 = told.iter().filter_map(|line| line["left_out"].as_u64()).sum();
    assert_eq!(told.len() as u64 + left_out, 301);
    assert!(told.len() as u64 <= 20 * seconds + 1, "{} lines in {seconds} s", told.len());
}

#[tokio::test]
async fn a_root_key_that_hides_keys_from_verifications_is_warned_of_once_a_minute() {
    let server = program().env("KEYRACK_LOG_FORMAT", "json").start().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({})).await;
    let narrow = limited_client(&server, &["api.*.read_api"]).await;
    for _ in 0..3 {
        assert_eq!(verify(&narrow, &key, json!({})).await["code"], "NOT_FOUND");
    }
    let warnings: Vec<Value> =
        refusals(&server.log()).into_iter().filter(|line| line["level"] == "WARN").collect();
    assert!((1..=2).contains(&warnings.len()), "a minute may end meanwhile: {warnings:?}");
    assert!(warnings[0]["message"].as_str().is_some_and(|text| text.contains("verify_key")), "{warnings:?}");
}

#[tokio::test]
async fn a_log_in_json_is_json_from_its_first_line_on_and_its_numbers_are_numbers() {
    let server = program().env("KEYRACK_LOG_FORMAT", "json").env("KEYRACK_LOG", "debug").start().await;
    server.call("apis.createApi", json!({ "name": "payments" })).await.expect(200);
    let log = server.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON in the log: {line}")))
        .collect();
    assert!(lines.iter().any(|line| line["subject"] == "HTTP API"), "{log}");
    for line in &lines {
        for (name, value) in line.as_object().expect("an object") {
            let is_number = value.as_str().is_some_and(|text| text.parse::<f64>().is_ok());
            assert!(!is_number || ["value", "version"].contains(&name.as_str()), "{name} of {line}");
        }
    }
}
