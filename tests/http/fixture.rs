//! The few steps that most tests begin with.

use keyrack_test_harness::{Answer, Client};
use serde_json::{Value, json};

/// The longest window there is (30 days), so that no test runs into the next one.
pub(crate) const WINDOW: u64 = 2_592_000_000;

/// A key as its creation returned it.
#[derive(Debug, Clone)]
pub(crate) struct NewKey {
    pub(crate) id: String,
    pub(crate) key: String,
}

/// Creates an API and returns its id.
pub(crate) async fn new_api(client: &Client) -> String {
    let answer = client.call("apis.createApi", json!({"name": "payments"})).await;
    answer.expect(200).text_of("apiId")
}

/// Creates a key in this API with these further members.
pub(crate) async fn new_key(client: &Client, api: &str, members: Value) -> NewKey {
    let answer = client.call("keys.createKey", merged(json!({"apiId": api}), members)).await;
    let answer = answer.expect(200);
    NewKey { id: answer.text_of("keyId"), key: answer.text_of("key") }
}

/// Creates an identity and returns its id.
pub(crate) async fn new_identity(client: &Client, external_id: &str, members: Value) -> String {
    let body = merged(json!({"externalId": external_id}), members);
    let answer = client.call("identities.createIdentity", body).await;
    answer.expect(200).text_of("identityId")
}

/// Verifies a key with these further members.
pub(crate) async fn verify_answer(client: &Client, key: &str, members: Value) -> Answer {
    client.call("keys.verifyKey", merged(json!({"key": key}), members)).await
}

/// Verifies a key and returns `data`.
pub(crate) async fn verify(client: &Client, key: &NewKey, members: Value) -> Value {
    verify_answer(client, &key.key, members).await.expect(200).data().clone()
}

/// What `keys.getKey` returns about a key.
pub(crate) async fn read_key(client: &Client, key: &NewKey) -> Value {
    let answer = client.call("keys.getKey", json!({"keyId": key.id})).await;
    answer.expect(200).data().clone()
}

/// Changes a key; the answer must be a success.
pub(crate) async fn update_key(client: &Client, key: &NewKey, members: Value) {
    let body = merged(json!({"keyId": key.id}), members);
    let answer = client.call("keys.updateKey", body).await.expect(200);
    assert_eq!(answer.data(), &json!({}));
}

/// A client with a new root key that holds exactly these permissions.
pub(crate) async fn limited_client(client: &Client, permissions: &[&str]) -> Client {
    let answer = client.call("rootKeys.createKey", json!({"permissions": permissions})).await;
    client.with_key(&answer.expect(200).text_of("key"))
}

/// The id of the caller's workspace.
pub(crate) async fn workspace_id(client: &Client) -> String {
    let answer = client.call("workspace.getOverview", json!({})).await.expect(200);
    answer.data()["workspace"]["id"].as_str().expect("an id").to_owned()
}

/// A new workspace: its id, and a client with full access to it.
pub(crate) async fn new_workspace(operator: &Client, name: &str) -> (String, Client) {
    let made = operator.call("workspace.createWorkspace", json!({"name": name})).await.expect(200);
    (made.text_of("workspaceId"), operator.with_key(&made.text_of("rootKey")))
}

/// The last `count` entries of the audit log, oldest first: the event and the types of its targets.
pub(crate) async fn last_events(client: &Client, count: usize) -> Vec<(String, Vec<String>)> {
    let logs = client.call("audit.listLogs", json!({"limit": count})).await.expect(200);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let event = |log: &Value| {
        let targets = log["targets"].as_array().expect("targets").iter().map(|target| text(&target["type"]));
        (text(&log["event"]), targets.collect())
    };
    logs.data().as_array().expect("a list").iter().rev().map(event).collect()
}

/// How many entries the audit log has, up to a hundred.
pub(crate) async fn event_count(client: &Client) -> usize {
    let logs = client.call("audit.listLogs", json!({})).await.expect(200);
    logs.data().as_array().expect("a list").len()
}

/// What [`last_events`] returns for events with these types of targets.
pub(crate) fn events(due: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    due.iter().map(|(event, targets)| ((*event).to_owned(), owned(targets))).collect()
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.expect("the clock is past 1970").as_millis()).expect("fits")
}

/// An object with the members of both.
pub(crate) fn merged(mut base: Value, members: Value) -> Value {
    let (Some(target), Value::Object(members)) = (base.as_object_mut(), members) else {
        panic!("only objects can be merged");
    };
    target.extend(members);
    base
}
