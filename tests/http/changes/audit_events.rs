//! The audit log after each change: which events, in which order, by whom, from where, about what. The due events
//! come from `audit-events.json`, those of added operations from `keyrack.json`, and what differs on purpose is in
//! `deviations.json`.

use std::collections::{BTreeMap, BTreeSet};

use keyrack_test_harness::{Answer, Client, Server, changing_operations, operations, scene};
use serde_json::{Value, json};

use crate::catalogue::facts::facts;
use crate::changes::{Change, Due, Log, NO_CHANGES, able_program, changes};
use crate::fixture::{merged, new_api, now};
use crate::keyrack;

const ADDRESS: &str = "203.0.113.7";
const AGENT: &str = "audit-events-test/1";

/// The entries of an audit log that are newer than `known`, oldest first.
async fn since(client: &Client, known: &Value) -> Vec<Value> {
    let logs = client.call("audit.listLogs", json!({"limit": 100})).await.expect(200);
    let entries = logs.data().as_array().expect("a list");
    let mut new: Vec<Value> = entries.iter().take_while(|log| log["id"] != *known).cloned().collect();
    new.reverse();
    new
}

async fn newest(client: &Client) -> Value {
    let logs = client.call("audit.listLogs", json!({"limit": 1})).await.expect(200);
    logs.data()[0]["id"].clone()
}

/// An operator that is not the one that everything else was made with.
async fn auditor(server: &Server) -> (Client, Value) {
    let overview = server.call("workspace.getOverview", json!({})).await.expect(200);
    let own = overview.data()["rootKey"]["keyId"].clone();
    let made = server.call("rootKeys.rerollKey", json!({"keyId": own, "expiration": null})).await.expect(200);
    let key_id = made.text_of("keyId");
    server.call("rootKeys.updateKey", json!({"keyId": key_id, "name": "auditor"})).await.expect(200);
    let actor = json!({"type": "rootkey", "id": key_id, "name": "auditor"});
    (server.with_key(&made.text_of("key")), actor)
}

/// The events that a change must write, as names and targets: in the contract's order, group by group.
async fn due_events(client: &Client, change: &Change, answer: &Answer) -> Vec<(String, Value)> {
    let lines = facts().audit_events(change.operation);
    let known: BTreeSet<&str> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    let mut events = Vec::new();
    for group in &change.due {
        for Due { event, .. } in group {
            assert!(known.contains(event), "{}: the contract has no {event}", change.operation);
        }
        for line in &lines {
            let is_next = |due: &&Due| line["event"] == due.event;
            for due in group.iter().filter(is_next) {
                events.push((due.event.to_owned(), targets(client, due, &line["targets"], answer).await));
            }
        }
    }
    events
}

/// Targets by the types of the contract and the ids that the change names.
async fn targets(client: &Client, due: &Due, kinds: &Value, answer: &Answer) -> Value {
    let kinds = kinds.as_array().expect("a list of types");
    assert_eq!(kinds.len(), due.targets.len(), "{due:?} has not the targets of the contract: {kinds:?}");
    let mut targets = Vec::new();
    for (kind, named) in kinds.iter().zip(&due.targets) {
        targets.push(json!([kind, named.id(client, answer).await]));
    }
    json!(targets)
}

fn written_event(log: &Value) -> (String, Value) {
    let targets = log["targets"].as_array().expect("targets");
    let targets = targets.iter().map(|target| json!([target["type"], target["id"]]));
    (log["event"].as_str().expect("a name").to_owned(), targets.collect())
}

/// What is wrong with how an entry says what was changed: every one of an update says something, and none
/// more than a path and what was and is there.
fn unexplained(log: &Value) -> Option<String> {
    const CHANGING: [&str; 2] = [".update", "_override"];
    let event = log["event"].as_str().expect("a name");
    let is_change = CHANGING.iter().any(|ending| event.ends_with(ending)) || event.starts_with("authorization.");
    let changes = log["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_right = |change: &Value| {
        let members = change.as_object().expect("an object");
        let known = members.keys().all(|name| ["path", "before", "after"].contains(&name.as_str()));
        // Of `meta` there are only names, and a value may have changed.
        let differs = change["path"] == "meta" || change.get("before") != change.get("after");
        known && change["path"].is_string() && differs
    };
    let is_explained = !(is_change && changes.is_empty()) && changes.iter().all(is_right);
    (!is_explained).then(|| format!("{event} does not say what was changed: {log}"))
}

/// The keys that entries of the log do not tell as people know them: by name, start and customer, in every event.
async fn unnamed_keys(client: &Client, logs: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    for log in logs {
        for target in log["targets"].as_array().into_iter().flatten().filter(|target| target["type"] == "key") {
            let key = client.call("keys.getKey", json!({"keyId": target["id"]})).await;
            let told = (&target["name"], &target["meta"]["start"], &target["meta"]["externalId"]);
            let is_named = match key.status {
                200 => {
                    let key = key.data();
                    let name = if key["name"].is_null() { &key["keyId"] } else { &key["name"] };
                    // An imported key has none before its first use.
                    let start = if key["start"] == "" { &Value::Null } else { &key["start"] };
                    told == (name, start, &key["identity"]["externalId"])
                }
                // What was deleted, or belongs to another workspace, is told all the same.
                _ => told.0.is_string() && told.1.is_string(),
            };
            if !is_named {
                faults.push(format!("{} does not say which key: {target}", log["event"]));
            }
        }
    }
    faults
}

#[track_caller]
fn assert_envelope(log: &Value, actor: &Value, started: i64, operation: &str) {
    assert_eq!((&log["actor"], &log["location"]), (actor, &json!(ADDRESS)), "{operation}: {log}");
    assert_eq!(log["meta"]["userAgent"], AGENT, "{operation}: {log}");
    assert!(log["time"].as_i64().is_some_and(|at| at >= started && at <= now()), "{operation}: {log}");
    let description = log["description"].as_str().expect("a sentence");
    let primary = log["targets"][0]["id"].as_str().expect("an id");
    let last = log["targets"].as_array().and_then(|all| all.last()).and_then(|target| target["id"].as_str());
    let names = |id: &str| description.contains(id);
    assert!(names(primary) || last.is_some_and(names), "{operation}: the sentence names no target: {log}");
}

/// Events of one request share a correlation id if there are several or the contract says so.
#[track_caller]
fn assert_correlation(logs: &[Value], operation: &str, used: &mut BTreeSet<String>) {
    let ids: BTreeSet<&str> = logs.iter().filter_map(|log| log["meta"]["correlationId"].as_str()).collect();
    let with_id = logs.iter().filter(|log| log["meta"].get("correlationId").is_some()).count();
    if logs.len() > 1 || facts().always_correlated(operation) {
        assert_eq!((ids.len(), with_id), (1, logs.len()), "{operation}: one correlation id for all: {logs:?}");
    } else {
        assert_eq!(with_id, 0, "{operation}: a single event has no correlation id: {logs:?}");
    }
    for id in ids {
        assert!(id.starts_with("cor_") && used.insert(id.to_owned()), "{operation}: {id} is used again");
    }
}

#[tokio::test]
async fn every_change_writes_the_events_of_the_contract() {
    let server = able_program().await.start().await;
    let (client, actor) = auditor(&server).await;
    let (mut used, mut faults) = (BTreeSet::new(), Vec::new());
    let mut met: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for change in changes(&server).await {
        let own = newest(&server).await;
        let other = match &change.log {
            Log::Of(client) => newest(client).await,
            Log::Own | Log::OfNew => Value::Null,
        };
        let started = now();
        let headers = [("x-forwarded-for", ADDRESS), ("user-agent", AGENT)];
        let answer = client.call_with_headers(change.operation, change.body.clone(), &headers).await.expect(200);
        let of_own = since(&server, &own).await;
        let logs = match &change.log {
            Log::Own => of_own.clone(),
            Log::Of(client) => since(client, &other).await,
            Log::OfNew => since(&server.with_key(&answer.text_of("rootKey")), &Value::Null).await,
        };
        let written: Vec<(String, Value)> = logs.iter().map(written_event).collect();
        let due = due_events(&server, &change, &answer).await;
        if written != due {
            faults.push(format!("{} {}\n  due     {due:?}\n  written {written:?}", change.operation, change.body));
        }
        if !matches!(change.log, Log::Own) {
            // What is done to the workspace itself, and nothing else, is in the operator's own log as well.
            let of_workspace = written.iter().filter(|(_, targets)| targets[0][0] == "workspace").cloned();
            let at_home: Vec<_> = of_own.iter().map(written_event).collect();
            assert_eq!(at_home, of_workspace.collect::<Vec<_>>(), "{}: in the operator's log", change.operation);
            of_own.iter().for_each(|log| assert_envelope(log, &actor, started, change.operation));
        }
        logs.iter().for_each(|log| assert_envelope(log, &actor, started, change.operation));
        faults.extend(logs.iter().filter_map(unexplained));
        faults.extend(unnamed_keys(&server, &logs).await);
        assert_correlation(&logs, change.operation, &mut used);
        met.entry(change.operation).or_default().extend(written.into_iter().map(|(event, _)| event));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_complete(&met);
}

/// Every event of every operation was written by some change.
fn assert_complete(met: &BTreeMap<&str, BTreeSet<String>>) {
    let mut all = BTreeSet::new();
    for (operation, events) in met {
        let lines = facts().audit_events(operation);
        let due: BTreeSet<String> =
            lines.iter().map(|line| line["event"].as_str().expect("a name").to_owned()).collect();
        assert_eq!(events, &due, "{operation}: not every event of the contract was written");
        all.extend(due);
    }
    for event in facts().emitted_events() {
        assert!(all.contains(event), "no operation writes {event}");
    }
}

#[tokio::test]
async fn every_operation_writes_events_or_is_known_to_write_none() {
    let server = keyrack().await;
    let (known, changing) = (operations(&server).await, changing_operations(&server).await);
    for &operation in &known {
        let writes = !facts().audit_events(operation).is_empty();
        assert!(!writes || changing.contains(&operation), "{operation} writes events and says that it only reads");
        let writes_none = facts().writes_no_events(operation);
        assert!(writes || writes_none, "{operation}: neither in the events nor among those without");
    }
    for operation in facts().operations_with_events() {
        let is_later = operation.starts_with("portal.");
        assert!(is_later || known.contains(&operation), "the contract's {operation} is missing");
    }
}

#[tokio::test]
async fn operations_without_events_write_none() {
    let server = able_program().await.start().await;
    let mut tried = 0;
    for operation in operations(&server).await.into_iter().filter(|operation| facts().writes_no_events(operation))
    {
        let body = scene(&server, operation).await.body;
        let before = newest(&server).await;
        server.call(operation, body).await.expect(200);
        assert_eq!(newest(&server).await, before, "{operation} wrote an event");
        tried += 1;
    }
    assert!(tried > 20, "only {tried} operations were tried");
    let spending = NO_CHANGES.iter().all(|(operation, _)| facts().writes_no_events(operation));
    assert!(spending, "what spends credits is tried here too");
}

#[tokio::test]
async fn reading_a_plaintext_is_an_event_and_reading_without_it_is_none() {
    let server = able_program().await.start().await;
    let api = new_api(&server).await;
    server.call("apis.updateApi", json!({"apiId": api, "storeEncryptedKeys": true})).await.expect(200);
    let key = server.call("keys.createKey", json!({"apiId": api, "recoverable": true})).await.expect(200);
    let key_id = key.text_of("keyId");
    let mut listed: Vec<&Value> = facts().deviations["auditEvents"].as_array().expect("a list").iter().collect();
    listed.retain(|line| line["path"].as_str().is_some_and(|path| !path.contains('/')));
    let reads = [("apis.listKeys", json!({"apiId": api})), ("keys.getKey", json!({"keyId": key_id}))];
    assert_eq!(listed.len(), reads.len(), "{listed:?}");
    for (operation, body) in reads {
        let line = listed.iter().find(|line| line["path"] == operation).expect("a deviation");
        assert!(line["ruling"].is_string() && facts().writes_no_events(operation), "{line}");
        let before = newest(&server).await;
        server.call(operation, body.clone()).await.expect(200);
        assert_eq!(newest(&server).await, before, "{operation}");
        server.call(operation, merged(body, json!({"decrypt": true}))).await.expect(200);
        let written: Vec<_> = since(&server, &before).await.iter().map(written_event).collect();
        let due = (line["keyrack"]["event"].as_str().expect("a name").to_owned(), json!([["key", key_id]]));
        assert_eq!(written, [due], "{operation}");
    }
}

#[tokio::test]
async fn a_root_key_without_a_name_is_an_actor_called_root_key() {
    let server = able_program().await.start().await;
    let made = server.call("rootKeys.createKey", json!({"permissions": ["*"]})).await.expect(200);
    new_api(&server.with_key(&made.text_of("key"))).await;
    let log = server.call("audit.listLogs", json!({"limit": 1})).await.expect(200).data()[0].clone();
    assert_eq!(log["actor"], json!({"type": "rootkey", "id": made.text_of("keyId"), "name": "root key"}));
}

#[tokio::test]
async fn a_change_that_changes_nothing_or_is_refused_writes_no_event() {
    let server = able_program().await.start().await;
    let api = new_api(&server).await;
    let members = json!({"apiId": api, "permissions": ["held"]});
    let key_id = server.call("keys.createKey", members).await.expect(200).text_of("keyId");
    server.call("permissions.createPermission", json!({"name": "n", "slug": "unheld"})).await.expect(200);
    for name in ["has", "free"] {
        server.call("permissions.createRole", json!({"name": name, "permissions": ["held"]})).await.expect(200);
    }
    server.call("keys.addRoles", json!({"keyId": key_id, "roles": ["has"]})).await.expect(200);
    let before = newest(&server).await;
    for (action, permissions, roles) in
        [("add", json!(["held"]), "has"), ("set", json!(["held"]), "has"), ("remove", json!(["unheld"]), "free")]
    {
        let body = json!({"keyId": key_id, "permissions": permissions});
        server.call(&format!("keys.{action}Permissions"), body).await.expect(200);
        server.call(&format!("keys.{action}Roles"), json!({"keyId": key_id, "roles": [roles]})).await.expect(200);
    }
    let same = json!({"role": "has", "permissions": ["held"]});
    server.call("permissions.setRolePermissions", same).await.expect(200);
    for (operation, body) in [
        ("keys.updateKey", json!({"keyId": key_id, "roles": ["nope"], "permissions": ["made.in.vain"]})),
        ("keys.addRoles", json!({"keyId": key_id, "roles": ["free", "nope"]})),
        ("keys.createKey", json!({"apiId": api, "externalId": "made.in.vain", "roles": ["nope"]})),
        ("permissions.createRole", json!({"name": "has", "permissions": ["made.in.vain"]})),
        ("identities.updateIdentity", json!({"identity": "made.in.vain", "meta": {}})),
    ] {
        let refused = server.call(operation, body).await;
        assert!(refused.status == 404 || refused.status == 409, "{operation}: {}", refused.text);
    }
    assert_eq!(newest(&server).await, before);
    server.call("permissions.getPermission", json!({"permission": "made.in.vain"})).await.expect(404);
    server.call("identities.getIdentity", json!({"identity": "made.in.vain"})).await.expect(404);
}
