//! What the log says about a request, for machines.

use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

use crate::program;

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
