//! Root keys listed, changed, rerolled and deleted: nobody handles more than they hold.

use keyrack_test_harness::{Answer, Client, ROOT_KEY, Server};
use serde_json::{Value, json};

use crate::fixture::{event_count, events, last_events, limited_client, merged, new_workspace, now, workspace_id};
use crate::keyrack;

const DENIED: &str = "unkey/authorization/insufficient_permissions";
const PROTECTED: &str = "unkey/application/protected_resource";

/// A new root key: its id and its client.
async fn create(client: &Client, members: Value) -> (String, Client) {
    let made = client.call("rootKeys.createKey", members).await.expect(200);
    (made.text_of("keyId"), client.with_key(&made.text_of("key")))
}

async fn update(client: &Client, id: &str, members: Value) -> Answer {
    client.call("rootKeys.updateKey", merged(json!({"keyId": id}), members)).await
}

async fn delete(client: &Client, id: &str) -> Answer {
    client.call("rootKeys.deleteKey", json!({"keyId": id})).await
}

async fn reroll(client: &Client, id: &str, expiration: Value) -> Answer {
    client.call("rootKeys.rerollKey", json!({"keyId": id, "expiration": expiration})).await
}

async fn list(client: &Client) -> Vec<Value> {
    let answer = client.call("rootKeys.listKeys", json!({})).await.expect(200);
    answer.data().as_array().expect("a list").clone()
}

async fn listed(client: &Client, id: &str) -> Value {
    let found = list(client).await.into_iter().find(|key| key["keyId"] == json!(id));
    found.unwrap_or_else(|| panic!("{id} is not listed"))
}

/// A client that may do everything to root keys, holds these permissions and has this expiry.
async fn handler(server: &Server, permissions: &[&str], expires: Value) -> (String, Client) {
    let workspace = workspace_id(server).await;
    let own = ["read", "write", "delete"].map(|action| format!("unkey:v1:{workspace}:rootKeys/*#{action}"));
    let all: Vec<&str> = permissions.iter().copied().chain(own.iter().map(String::as_str)).collect();
    create(server, json!({"permissions": all, "expires": expires})).await
}

async fn is_accepted(client: &Client) -> bool {
    client.call("workspace.getOverview", json!({})).await.status == 200
}

#[tokio::test]
async fn root_keys_are_listed_without_their_secrets() {
    let server = keyrack().await;
    let before = now();
    let expires = before + 3_600_000;
    let made = server.call("rootKeys.createKey", json!({"permissions": ["api.*.read_api"], "expires": expires}));
    let made = made.await.expect(200);
    let (id, key) = (made.text_of("keyId"), made.text_of("key"));
    let item = listed(&server, &id).await;
    assert_eq!((&item["name"], &item["expires"], &item["enabled"]), (&Value::Null, &json!(expires), &json!(true)));
    assert_eq!((&item["permissions"], &item["lastUsedAt"]), (&json!(["api.*.read_api"]), &json!(0)));
    assert!(item["createdAt"].as_i64().is_some_and(|at| at >= before && at <= now()), "{item}");
    let shown = |member: &str| item[member].as_str().expect("a text").to_owned();
    assert!(key.starts_with(&shown("start")) && key.ends_with(&shown("end")) && !shown("end").is_empty());
    assert!(!item.to_string().contains(&key));
    assert!(is_accepted(&server.with_key(&key)).await);
    let used = listed(&server, &id).await["lastUsedAt"].as_i64().expect("a time");
    assert!(used >= before && used <= now(), "{used}");
    let all = list(&server).await;
    assert!(all.is_sorted_by_key(|one| one["keyId"].as_str().map(str::to_owned)), "{all:?}");
}

#[tokio::test]
async fn the_last_use_of_a_root_key_survives_a_stop() {
    let mut server = keyrack().await;
    let (id, client) = create(&server, json!({"permissions": []})).await;
    assert!(is_accepted(&client).await);
    let used = listed(&server, &id).await["lastUsedAt"].clone();
    server.signal("TERM");
    server.wait_for_exit(std::time::Duration::from_secs(40)).await;
    let server = server.program().start().await;
    assert_eq!(listed(&server, &id).await["lastUsedAt"], used);
}

#[tokio::test]
async fn who_may_read_one_root_key_sees_that_one_in_every_page() {
    let server = keyrack().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(create(&server, json!({"permissions": []})).await.0);
    }
    ids.sort();
    let workspace = workspace_id(&server).await;
    let grants = [&ids[1], &ids[4]].map(|id| format!("unkey:v1:{workspace}:rootKeys/{id}#read"));
    let client = limited_client(&server, &[&grants[0], &grants[1]]).await;
    let first = client.call("rootKeys.listKeys", json!({"limit": 1})).await.expect(200);
    assert_eq!(first.data()[0]["keyId"], json!(ids[1]));
    let cursor = first.body["pagination"]["cursor"].clone();
    assert_eq!(cursor, json!(ids[4]));
    let second = client.call("rootKeys.listKeys", json!({"limit": 1, "cursor": cursor})).await.expect(200);
    assert_eq!(
        (&second.data()[0]["keyId"], &second.body["pagination"]),
        (&json!(ids[4]), &json!({"hasMore": false}))
    );
    let writer = limited_client(&server, &[&format!("unkey:v1:{workspace}:rootKeys/*#write")]).await;
    assert_eq!(list(&writer).await, Vec::<Value>::new());
    let past_the_end = server.call("rootKeys.listKeys", json!({"cursor": "zzz"})).await.expect(200);
    assert_eq!(past_the_end.data(), &json!([]));
}

#[tokio::test]
async fn a_change_counts_at_once_and_only_what_is_sent_changes() {
    let server = keyrack().await;
    let (id, client) = create(&server, json!({"permissions": ["api.*.create_api"], "name": "ci"})).await;
    let apis = async || client.call("apis.createApi", json!({"name": "abc"})).await.status;
    assert_eq!(apis().await, 200);
    let answer = update(&server, &id, json!({"permissions": ["api.*.read_api", "api.*.read_api"]})).await;
    assert_eq!(answer.expect(200).data(), &json!({}));
    assert_eq!(apis().await, 403);
    let item = listed(&server, &id).await;
    assert_eq!((&item["name"], &item["permissions"]), (&json!("ci"), &json!(["api.*.read_api"])));
    update(&server, &id, json!({"enabled": false})).await.expect(200);
    let answer = client.call("workspace.getOverview", json!({})).await;
    answer.expect_error(403, "unkey/authorization/key_disabled");
    update(&server, &id, json!({"enabled": true, "name": null, "permissions": []})).await.expect(200);
    assert!(is_accepted(&client).await);
    assert_eq!(listed(&server, &id).await["name"], Value::Null);
    assert_eq!(last_events(&server, 1).await, events(&[("rootKey.update", &["rootKey"])]));
    assert_eq!(update(&server, &id, json!({})).await.expect(400).locations(), ["body"]);
    let unknown = update(&server, &id, json!({"permissions": ["api.*.read_api", "api.*.fly"]})).await;
    assert_eq!(unknown.expect(400).locations(), ["body.permissions[1]"]);
}

#[tokio::test]
async fn a_deleted_root_key_is_unknown_at_once_and_deleted_once() {
    let server = keyrack().await;
    let (id, client) = create(&server, json!({"permissions": ["*"]})).await;
    assert_eq!(delete(&client, &id).await.expect(200).data(), &json!({}), "it may delete itself");
    let answer = client.call("workspace.getOverview", json!({})).await;
    answer.expect_error(401, "unkey/authentication/key_not_found");
    assert_eq!(last_events(&server, 1).await, events(&[("rootKey.delete", &["rootKey"])]));
    let not_found = "unkey/data/key_not_found";
    delete(&server, &id).await.expect_error(404, not_found);
    update(&server, &id, json!({"enabled": true})).await.expect_error(404, not_found);
    reroll(&server, &id, json!(0)).await.expect_error(404, not_found);
    assert!(list(&server).await.iter().all(|key| key["keyId"] != json!(id)));
}

#[tokio::test]
async fn what_a_caller_does_not_cover_it_neither_changes_nor_gives() {
    let server = keyrack().await;
    let (_, client) = handler(&server, &["api.*.read_api"], Value::Null).await;
    let (beyond, _) = create(&server, json!({"permissions": ["api.*.read_api", "api.*.update_api"]})).await;
    let (within, _) = create(&server, json!({"permissions": ["api.api_1.read_api"]})).await;
    let count = event_count(&server).await;
    update(&client, &beyond, json!({"name": "x"})).await.expect_error(403, DENIED);
    update(&client, &beyond, json!({"permissions": []})).await.expect_error(403, DENIED);
    reroll(&client, &beyond, Value::Null).await.expect_error(403, DENIED);
    delete(&client, &beyond).await.expect_error(403, DENIED);
    update(&client, &within, json!({"permissions": ["api.*.update_api"]})).await.expect_error(403, DENIED);
    update(&client, &within, json!({"permissions": ["*"]})).await.expect_error(403, DENIED);
    assert_eq!(event_count(&server).await, count, "refusals are not recorded");
    update(&client, &within, json!({"permissions": ["api.*.read_api"]})).await.expect(200);
    reroll(&client, &within, json!(0)).await.expect(200);
    delete(&client, &within).await.expect(200);
}

#[tokio::test]
async fn a_caller_that_expires_handles_nothing_that_outlives_it() {
    let server = keyrack().await;
    let own = now() + 3_600_000;
    let (_, client) = handler(&server, &[], json!(own)).await;
    let (forever, _) = create(&server, json!({"permissions": []})).await;
    let (later, _) = create(&server, json!({"permissions": [], "expires": own + 1})).await;
    let (equal, _) = create(&server, json!({"permissions": [], "expires": own})).await;
    for id in [&forever, &later] {
        update(&client, id, json!({"enabled": false})).await.expect_error(403, DENIED);
        reroll(&client, id, json!(0)).await.expect_error(403, DENIED);
    }
    update(&client, &equal, json!({"enabled": false})).await.expect(200);
    let rerolled = reroll(&client, &equal, Value::Null).await.expect(200).text_of("keyId");
    let item = listed(&server, &rerolled).await;
    assert_eq!((&item["expires"], &item["enabled"]), (&json!(own), &json!(false)));
    delete(&client, &forever).await.expect(200);
}

#[tokio::test]
async fn a_rerolled_root_key_does_what_the_old_one_did_and_the_old_one_ends_as_said() {
    let server = keyrack().await;
    let permissions = json!(["api.*.create_api", "api.*.read_api"]);
    let make = async || create(&server, json!({"permissions": permissions, "name": "ci"})).await;
    let (now_id, now_client) = make().await;
    let made = reroll(&server, &now_id, json!(0)).await.expect(200);
    let answer = now_client.call("workspace.getOverview", json!({})).await;
    answer.expect_error(403, "unkey/authorization/forbidden");
    let client = server.with_key(&made.text_of("key"));
    client.call("apis.createApi", json!({"name": "abc"})).await.expect(200);
    let (new, old) = (listed(&server, &made.text_of("keyId")).await, listed(&server, &now_id).await);
    assert_eq!((&new["name"], &new["permissions"], &new["expires"]), (&json!("ci"), &permissions, &Value::Null));
    assert!(old["expires"].as_i64().is_some_and(|at| at <= now()), "{old}");
    let due: &[(&str, &[&str])] = &[("rootKey.reroll", &["rootKey", "rootKey"])];
    assert_eq!(last_events(&server, 2).await[..1], events(due));
    let (later_id, later_client) = make().await;
    let before = now();
    reroll(&server, &later_id, json!(60_000)).await.expect(200);
    assert!(is_accepted(&later_client).await);
    let end = listed(&server, &later_id).await["expires"].as_i64().expect("a time");
    assert!(end >= before + 60_000 && end <= now() + 60_000, "{end}");
    let (kept_id, kept_client) = make().await;
    reroll(&server, &kept_id, Value::Null).await.expect(200);
    assert!(is_accepted(&kept_client).await && listed(&server, &kept_id).await["expires"].is_null());
    let missing = server.call("rootKeys.rerollKey", json!({"keyId": kept_id})).await;
    assert_eq!(missing.expect(400).locations(), ["body.expiration"]);
}

#[tokio::test]
async fn a_reroll_never_prolongs_the_old_root_key_and_keeps_a_disabled_one_disabled() {
    let server = keyrack().await;
    let expires = now() + 30_000;
    let (id, _) = create(&server, json!({"permissions": [], "expires": expires})).await;
    update(&server, &id, json!({"enabled": false})).await.expect(200);
    let made = reroll(&server, &id, json!(3_600_000)).await.expect(200);
    assert_eq!(listed(&server, &id).await["expires"], json!(expires));
    let new = listed(&server, &made.text_of("keyId")).await;
    assert_eq!((&new["expires"], &new["enabled"]), (&json!(expires), &json!(false)));
    let answer = server.with_key(&made.text_of("key")).call("workspace.getOverview", json!({})).await;
    answer.expect_error(403, "unkey/authorization/key_disabled");
}

#[tokio::test]
async fn ending_the_old_root_key_needs_the_permission_to_delete() {
    let server = keyrack().await;
    let write = format!("unkey:v1:{}:rootKeys/*#write", workspace_id(&server).await);
    let client = limited_client(&server, &[&write]).await;
    let (id, _) = create(&server, json!({"permissions": []})).await;
    for expiration in [json!(0), json!(1000)] {
        let answer = reroll(&client, &id, expiration).await.expect_error(403, DENIED);
        assert!(answer.detail().contains("#delete"), "{}", answer.detail());
    }
    reroll(&client, &id, Value::Null).await.expect(200);
}

#[tokio::test]
async fn only_an_operator_handles_an_operator_and_rerolling_keeps_one() {
    let server = keyrack().await;
    let own = server.call("workspace.getOverview", json!({})).await.expect(200);
    let operator = own.data()["rootKey"]["keyId"].as_str().expect("an id").to_owned();
    let full = limited_client(&server, &["*"]).await;
    update(&full, &operator, json!({"enabled": false})).await.expect_error(403, DENIED);
    reroll(&full, &operator, json!(0)).await.expect_error(403, DENIED);
    delete(&full, &operator).await.expect_error(403, DENIED);
    let made = reroll(&server, &operator, json!(0)).await.expect(200);
    assert!(!is_accepted(&server.with_key(ROOT_KEY)).await);
    let client = server.with_key(&made.text_of("key"));
    client.call("workspace.listWorkspaces", json!({})).await.expect(200);
}

#[tokio::test]
async fn the_last_way_into_a_workspace_stays_open() {
    let server = keyrack().await;
    let (workspace, client) = new_workspace(&server, "Acme").await;
    let id = list(&client).await[0]["keyId"].as_str().expect("an id").to_owned();
    // Neither of these is a way in for ever.
    let (_, expiring) = create(&client, json!({"permissions": ["*"], "expires": now() + 60_000})).await;
    create(&client, json!({"permissions": ["api.*.read_api"]})).await;
    let count = event_count(&client).await;
    update(&client, &id, json!({"enabled": false})).await.expect_error(412, PROTECTED);
    update(&client, &id, json!({"permissions": ["api.*.read_api"]})).await.expect_error(412, PROTECTED);
    delete(&client, &id).await.expect_error(412, PROTECTED);
    delete(&expiring, &id).await.expect_error(412, PROTECTED);
    assert_eq!(event_count(&client).await, count);
    update(&client, &id, json!({"name": "the last"})).await.expect(200);
    let whole = format!("unkey:v1:{workspace}:**#*");
    update(&client, &id, json!({"permissions": [whole]})).await.expect(200);
    let (_, other) = create(&client, json!({"permissions": ["*"]})).await;
    delete(&other, &id).await.expect(200);
}

#[tokio::test]
async fn two_that_delete_each_other_leave_one() {
    let server = keyrack().await;
    for _ in 0..5 {
        let (_, one) = new_workspace(&server, "Acme").await;
        let first = list(&one).await[0]["keyId"].as_str().expect("an id").to_owned();
        let (second, two) = create(&one, json!({"permissions": ["*"]})).await;
        let (a, b) = tokio::join!(delete(&one, &second), delete(&two, &first));
        assert_eq!([a.status, b.status].iter().filter(|status| **status == 200).count(), 1, "{a:?} {b:?}");
    }
}

#[tokio::test]
async fn a_repeated_reroll_of_a_root_key_gives_one_that_lasts_and_an_ended_one_names_its_successor() {
    let server = keyrack().await;
    let answer = server.call("rootKeys.createKey", json!({"permissions": ["api.*.read_api"]})).await.expect(200);
    let old = answer.text_of("keyId");
    reroll(&server, &old, json!(60_000)).await.expect(200);
    let answer = reroll(&server, &old, json!(60_000)).await.expect(200);
    let item = listed(&server, &answer.text_of("keyId")).await;
    assert!(item.get("expires").is_none_or(Value::is_null), "not the first grace: {item}");
    let successor = reroll(&server, &old, json!(0)).await.expect(200).text_of("keyId");
    let refused = reroll(&server, &old, json!(0)).await;
    let refused = refused.expect_error(412, "unkey/application/precondition_failed");
    assert!(refused.text.contains(&successor), "{}", refused.text);
    reroll(&server, &successor, Value::Null).await.expect(200);
}
