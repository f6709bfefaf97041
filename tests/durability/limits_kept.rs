//! Counts of rate limits from one run to the next: after an orderly stop they go on, after a kill they begin anew.

use std::time::Duration;

use keyrack_test_harness::{Client, Program, Server, ended};
use serde_json::json;

use crate::program;

const MONTH_MS: u64 = 2_592_000_000;
const FILE: &str = "ratelimit-counters";

/// What is left of 10 for this identifier after counting `cost`.
async fn count(client: &Client, identifier: &str, cost: u64) -> u64 {
    let body =
        json!({"namespace": "mail", "identifier": identifier, "limit": 10, "duration": MONTH_MS, "cost": cost});
    let answer = client.call("ratelimit.limit", body).await.expect(200);
    assert_eq!(answer.data()["success"], true, "{}", answer.text);
    answer.data()["remaining"].as_u64().expect("a number")
}

async fn stop(mut server: Server) -> Server {
    server.signal("TERM");
    let status = server.wait_for_exit(Duration::from_secs(10)).await;
    assert!(status.success(), "{status}: {}", server.log());
    server
}

async fn counts_go_on(program: Program) {
    let server = program.start().await;
    assert_eq!(count(&server, "a", 3).await, 7);
    let stopped = stop(server).await;
    assert!(stopped.data_dir().join(FILE).exists(), "{}", stopped.log());
    let again = stopped.program().start().await;
    assert_eq!(count(&again, "a", 0).await, 7);
    assert!(!again.data_dir().join(FILE).exists(), "a kill from now on must not bring it back");
    assert_eq!(count(&again, "a", 2).await, 5);
    let stopped = stop(again).await;
    let again = stopped.program().start().await;
    assert_eq!(count(&again, "a", 0).await, 5, "the second time too");
    let killed = again.kill_and_restart().await;
    assert_eq!(count(&killed, "a", 0).await, 10);
}

#[tokio::test]
async fn counts_survive_an_orderly_stop_and_not_a_kill() {
    counts_go_on(program()).await;
}

#[tokio::test]
async fn counts_survive_an_orderly_stop_and_not_a_kill_on_postgres() {
    counts_go_on(program().on_postgres().await).await;
}

#[tokio::test]
async fn the_limits_of_keys_go_on_too() {
    let server = program().start().await;
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let limit = json!([{"name": "requests", "limit": 2, "duration": MONTH_MS, "autoApply": true}]);
    let key = server.call("keys.createKey", json!({"apiId": api, "ratelimits": limit})).await.expect(200);
    let key = json!({"key": key.text_of("key")});
    for code in ["VALID", "VALID", "RATE_LIMITED"] {
        assert_eq!(server.call("keys.verifyKey", key.clone()).await.expect(200).data()["code"], code);
    }
    let stopped = stop(server).await;
    let again = stopped.program().start().await;
    assert_eq!(again.call("keys.verifyKey", key).await.expect(200).data()["code"], "RATE_LIMITED");
}

#[tokio::test]
async fn a_damaged_file_costs_the_counts_and_not_the_start() {
    let server = program().start().await;
    count(&server, "a", 3).await;
    let stopped = stop(server).await;
    let file = stopped.data_dir().join(FILE);
    let bytes = std::fs::read(&file).expect("the counters are there");
    for (damaged, said) in [
        (bytes[..bytes.len() - 1].to_vec(), "it is damaged"),
        (b"something else".to_vec(), "no file of counters"),
        (Vec::new(), "no file of counters"),
    ] {
        std::fs::write(&file, damaged).expect("writable");
        let again = stopped.program().start().await;
        assert_eq!(count(&again, "a", 0).await, 10);
        let log = again.log();
        assert!(log.contains("WARN") && log.contains("counters of the last run are lost"), "{log}");
        assert!(log.contains(said), "{log}");
        assert!(!file.exists());
    }
}

#[tokio::test]
async fn a_second_server_on_the_data_directory_leaves_the_counters_of_the_first_alone() {
    let program = program();
    let first = program.start().await;
    count(&first, "a", 3).await;
    let second = program.start().await;
    assert_eq!(count(&second, "a", 9).await, 1, "each counts for itself");
    stop(second).await;
    assert!(!first.data_dir().join(FILE).exists());
    stop(first).await;
    let again = program.start().await;
    assert_eq!(count(&again, "a", 0).await, 7);
}

#[tokio::test]
async fn an_assistant_on_the_data_directory_leaves_the_counters_alone() {
    let server = program().start().await;
    count(&server, "a", 3).await;
    let stopped = stop(server).await;
    // Its standard input is at its end, so it starts, finds nobody there and stops in order.
    let done = ended(&mut stopped.program().command(&["mcp"]));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("keyrack mcp: ") && said.contains("sees"), "it did not come far enough: {said}");
    assert!(stopped.data_dir().join(FILE).exists());
    let again = stopped.program().start().await;
    assert_eq!(count(&again, "a", 0).await, 7);
}
