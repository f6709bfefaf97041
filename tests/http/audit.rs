//! Reading the audit log.

use keyrack_test_harness::Client;
use serde_json::{Value, json};

use crate::fixture::{limited_client, new_api, new_key, new_workspace, now};
use crate::keyrack;

async fn logs(client: &Client, members: Value) -> Vec<Value> {
    let answer = client.call("audit.listLogs", members).await.expect(200);
    answer.data().as_array().expect("a list").clone()
}

fn ids(logs: &[Value]) -> Vec<String> {
    logs.iter().map(|log| log["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn an_entry_says_who_did_what_to_what_and_when() {
    let server = keyrack().await;
    let before = now();
    let api = new_api(&server).await;
    let log = logs(&server, json!({"limit": 1})).await.remove(0);
    let overview = server.call("workspace.getOverview", json!({})).await.expect(200);
    let actor = json!({"type": "rootkey", "id": overview.data()["rootKey"]["keyId"], "name": "bootstrap"});
    assert_eq!((&log["event"], &log["actor"]), (&json!("api.create"), &actor));
    assert_eq!(log["targets"], json!([{"type": "api", "id": api, "name": "payments"}]));
    assert_eq!(log["location"], "127.0.0.1");
    assert!(log["description"].as_str().is_some_and(|text| text.contains(&api)), "{log}");
    assert!(log["time"].as_i64().is_some_and(|at| at >= before && at <= now()), "{log}");
    let id = log["id"].as_str().expect("an id");
    assert!(id.starts_with("log_"), "{id}");
    let same = server.call("audit.getLog", json!({"logId": id})).await.expect(200);
    assert_eq!(same.data(), &log);
    let unknown = server.call("audit.getLog", json!({"logId": "log_unknown"})).await;
    unknown.expect_error(404, "unkey/data/audit_log_not_found");
}

#[tokio::test]
async fn calls_of_the_command_line_are_marked() {
    let server = keyrack().await;
    let headers = [("user-agent", "keyrack-cli/9")];
    server.call_with_headers("apis.createApi", json!({"name": "abc"}), &headers).await.expect(200);
    let log = logs(&server, json!({"limit": 1})).await.remove(0);
    assert_eq!(log["actor"]["meta"], json!({"via": "cli"}));
    assert_eq!(log["meta"]["userAgent"], "keyrack-cli/9");
}

#[tokio::test]
async fn the_newest_is_first_and_pages_follow_without_gap_or_repetition() {
    let server = keyrack().await;
    for _ in 0..7 {
        new_api(&server).await;
    }
    let all = ids(&logs(&server, json!({})).await);
    let mut walked: Vec<String> = Vec::new();
    let mut body = json!({"limit": 3});
    loop {
        let page = server.call("audit.listLogs", body.clone()).await.expect(200);
        walked.extend(ids(page.data().as_array().expect("a list")));
        // What is new meanwhile belongs before the first page.
        new_api(&server).await;
        match &page.body["pagination"]["cursor"] {
            Value::Null => break,
            cursor => body["cursor"] = cursor.clone(),
        }
    }
    assert_eq!(walked, all);
    let times: Vec<i64> = logs(&server, json!({})).await.iter().filter_map(|log| log["time"].as_i64()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
    assert_eq!(logs(&server, json!({"cursor": "log_unknown"})).await, Vec::<Value>::new());
}

#[tokio::test]
async fn filters_match_exactly_and_together() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({"name": format!("\",\"id\":\"{api}x\"")})).await;
    let other = limited_client(&server, &["api.*.create_api"]).await;
    let second = other.call("apis.createApi", json!({"name": "second"})).await.expect(200).text_of("apiId");
    let events = |logs: Vec<Value>| -> Vec<String> {
        logs.iter().map(|log| log["event"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(events(logs(&server, json!({"targetId": api})).await), ["key.create", "api.create"]);
    assert_eq!(events(logs(&server, json!({"targetId": key.id})).await), ["key.create"]);
    assert_eq!(events(logs(&server, json!({"targetId": second})).await), ["api.create"]);
    let both = json!({"targetId": api, "event": "api.create"});
    assert_eq!(logs(&server, both).await.len(), 1);
    let by_second = logs(&server, json!({"targetId": second})).await[0]["actor"]["id"].clone();
    assert_eq!(logs(&server, json!({"actorId": by_second})).await.len(), 1);
    for nothing in [
        json!({"targetId": api.to_lowercase()}),
        json!({"targetId": format!("{api}x")}),
        json!({"targetId": "%"}),
        json!({"actorId": api}),
        json!({"event": "API.CREATE"}),
        json!({"event": "api"}),
    ] {
        assert_eq!(logs(&server, nothing.clone()).await, Vec::<Value>::new(), "{nothing}");
    }
}

#[tokio::test]
async fn times_include_the_start_and_not_the_end() {
    let server = keyrack().await;
    new_api(&server).await;
    let at = logs(&server, json!({"limit": 1})).await[0]["time"].as_i64().expect("a time");
    let found = async |start: i64, end: i64| {
        logs(&server, json!({"start": start, "end": end, "event": "api.create"})).await.len()
    };
    assert_eq!((found(at, at + 1).await, found(at + 1, at + 2).await, found(0, at).await), (1, 0, 0));
}

#[tokio::test]
async fn each_workspace_reads_its_own_log() {
    let server = keyrack().await;
    let (_, client) = new_workspace(&server, "Acme").await;
    new_api(&server).await;
    let own = ids(&logs(&server, json!({})).await);
    assert!(ids(&logs(&client, json!({})).await).iter().all(|id| !own.contains(id)));
    let foreign = client.call("audit.getLog", json!({"logId": own[0]})).await;
    foreign.expect_error(404, "unkey/data/audit_log_not_found");
    assert_eq!(logs(&client, json!({"cursor": own[0]})).await, Vec::<Value>::new());
}
