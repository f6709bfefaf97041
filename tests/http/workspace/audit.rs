//! Reading the audit log.

use keyrack_test_harness::{Client, Database};
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
    let mut same = same.data().clone();
    let chain = ["sequence", "hash", "previousHash"].map(|member| same[member].take());
    same.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    assert_eq!(same, log);
    let before = logs(&server, json!({"limit": 2})).await[1]["id"].clone();
    let before = server.call("audit.getLog", json!({"logId": before})).await.expect(200);
    assert_eq!(chain[0].as_i64(), before.data()["sequence"].as_i64().map(|sequence| sequence + 1));
    assert_eq!(chain[2], before.data()["hash"], "it follows the one before it");
    assert!(chain[1].as_str().is_some_and(|hash| hash.len() == 64), "{chain:?}");
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
    let through = async |via: &str| ids(&logs(&server, json!({"via": via})).await);
    assert_eq!(through("cli").await, ids(std::slice::from_ref(&log)));
    assert!(through("mcp").await.is_empty() && !through("http").await.contains(&ids(&[log])[0]));
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
        assert!(walked.len() <= all.len(), "pages do not end: {walked:?}");
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
    let some = |filter: Value| async { events(logs(&server, filter).await) };
    assert_eq!(some(json!({"events": ["key.create", "api.create"], "limit": 3})).await.len(), 3);
    assert_eq!(some(json!({"events": ["key.create", "api.update"]})).await, ["key.create"]);
    assert_eq!(some(json!({"events": ["key.create"], "event": "api.create"})).await, Vec::<String>::new());
    assert_eq!(some(json!({"events": ["key.create", "api.create"], "event": "key.create"})).await, ["key.create"]);
    assert_eq!(some(json!({"targetType": "key"})).await, ["key.create"]);
    assert_eq!(some(json!({"targetType": "key", "targetId": api})).await, Vec::<String>::new(), "it is an API");
    let of_key = logs(&server, json!({"targetId": key.id})).await.remove(0);
    let correlation = &of_key["meta"]["correlationId"];
    assert_eq!(some(json!({"correlationId": correlation})).await, ["key.create"]);
    assert_eq!(
        some(json!({"correlationId": format!("{}x", correlation.as_str().unwrap_or_default())})).await.len(),
        0
    );
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

#[tokio::test]
async fn a_deleted_key_is_known_by_its_name_its_start_and_its_customer() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let members = json!({"name": "Berlin", "prefix": "live", "externalId": "customer_7"});
    let key = new_key(&server, &api, members).await;
    let start = server.call("keys.getKey", json!({"keyId": key.id})).await.expect(200).text_of("start");
    server.call("keys.updateKey", json!({"keyId": key.id, "enabled": false})).await.expect(200);
    for permanent in [true, false] {
        server.call("keys.deleteKey", json!({"keyId": key.id, "permanent": permanent})).await;
    }
    let known = json!({
        "type": "key", "id": key.id, "name": "Berlin", "meta": {"start": start, "externalId": "customer_7"},
    });
    let entries = logs(&server, json!({"targetId": key.id})).await;
    let events: Vec<&Value> = entries.iter().map(|log| &log["event"]).collect();
    assert_eq!(events, ["key.delete", "key.update", "key.create"]);
    assert!(entries.iter().all(|log| log["targets"][0] == known), "{entries:?}");
}

#[tokio::test]
async fn entries_say_what_was_changed_from_what_to_what() {
    let server = keyrack().await;
    let made = server.call("rootKeys.createKey", json!({"name": "ops", "permissions": ["api.*.read_api"]})).await;
    let root_key = made.expect(200).text_of("keyId");
    let body = json!({"keyId": root_key, "permissions": ["*"]});
    server.call("rootKeys.updateKey", body).await.expect(200);
    let log = logs(&server, json!({"targetId": root_key, "event": "rootKey.update"})).await.remove(0);
    let widened = json!([{"path": "permissions", "before": ["api.*.read_api"], "after": ["*"]}]);
    assert_eq!(log["changes"], widened);

    let api = new_api(&server).await;
    let members = json!({"meta": {"plan": "planted-in-meta", "same": 1}, "credits": {"remaining": 5}});
    let key = new_key(&server, &api, members).await;
    let body = json!({
        "keyId": key.id, "name": "new", "meta": {"plan": "planted-too", "same": 1, "seats": 2}, "roles": [],
        "credits": {"refill": {"interval": "daily", "amount": 9}}, "permissions": ["a", "b"],
    });
    server.call("keys.updateKey", body).await.expect(200);
    let log = logs(&server, json!({"targetId": key.id, "event": "key.update"})).await.remove(0);
    let changes = json!([
        {"path": "credits.refill.amount", "after": 9},
        {"path": "credits.refill.interval", "after": "daily"},
        {"path": "meta", "before": ["plan"], "after": ["plan", "seats"]},
        {"path": "name", "after": "new"},
        {"path": "permissions", "before": [], "after": ["a", "b"]},
    ]);
    assert_eq!(log["changes"], changes);
    let body = json!({"keyId": key.id, "operation": "decrement", "value": 2});
    server.call("keys.updateCredits", body).await.expect(200);
    let log = logs(&server, json!({"limit": 1})).await.remove(0);
    assert_eq!(log["changes"], json!([{"path": "credits.remaining", "before": 5, "after": 3}]));
    let text = json!(logs(&server, json!({})).await).to_string();
    assert!(!text.contains("planted"), "of meta only names: {text}");
}

#[tokio::test]
async fn a_list_of_a_thousand_is_told_as_what_differs() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let slugs = |range: std::ops::Range<u32>| range.map(|n| format!("p{n:04}")).collect::<Vec<_>>();
    let key = new_key(&server, &api, json!({"permissions": slugs(0..999)})).await;
    server.call("keys.updateKey", json!({"keyId": key.id, "permissions": slugs(1..1000)})).await.expect(200);
    let log = logs(&server, json!({"targetId": key.id, "event": "key.update"})).await.remove(0);
    assert_eq!(log["changes"], json!([{"path": "permissions", "before": ["p0000"], "after": ["p0999"]}]));
    server.call("keys.updateKey", json!({"keyId": key.id, "permissions": []})).await.expect(200);
    let log = logs(&server, json!({"targetId": key.id, "event": "key.update"})).await.remove(0);
    let before = log["changes"][0]["before"].as_array().expect("a list");
    assert_eq!((before.len(), &before[50]), (51, &json!({"more": 949})));
}

/// An entry whose row was damaged is shown with what can be read of it, and hides no others.
#[tokio::test]
async fn a_damaged_entry_says_so_and_the_others_are_listed() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    new_api(&server).await;
    let entry = logs(&server, json!({"targetId": api})).await.remove(0);
    let (id, whole) = (entry["id"].as_str().expect("an id"), ids(&logs(&server, json!({})).await));
    let mut database = Database::of(&server).await;
    for (column, value) in [
        ("targets", "'{'"),
        ("changes", "'x'"),
        ("actor", "'{}'"),
        ("description", if server.program().database_url().starts_with("sqlite") { "x'ff00fe'" } else { "''" }),
    ] {
        database.execute(&format!("UPDATE audit_logs SET {column} = {value} WHERE id = '{id}'")).await;
        let listed = logs(&server, json!({})).await;
        assert_eq!(ids(&listed), whole, "{column}");
        let damaged = listed.iter().find(|log| log["id"] == id).expect("it is listed");
        let told = damaged["description"].as_str().expect("a text");
        assert!(told.starts_with("This entry is damaged: its "), "{column}: {damaged}");
        assert_eq!(damaged["event"], "api.create", "what can be read is shown");
        let got = server.call("audit.getLog", json!({"logId": id})).await.expect(200);
        assert_eq!(got.data()["description"], told, "{column}");
    }
    let sound = listed_but(&logs(&server, json!({})).await, id);
    assert!(sound.iter().all(|log| !log["description"].to_string().contains("damaged")), "{sound:?}");
}

fn listed_but(logs: &[Value], id: &str) -> Vec<Value> {
    logs.iter().filter(|log| log["id"] != id).cloned().collect()
}
