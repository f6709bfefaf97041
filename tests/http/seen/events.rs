//! Events: the log, the last use of keys, and the usage of a month.

use std::time::{Duration, Instant};

use keyrack_test_harness::{Client, Server, ended};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::fixture::{
    WINDOW, limited_client, merged, new_api, new_identity, new_key, new_workspace, now, read_key, verify,
    workspace_id,
};
use crate::keyrack;

/// What `keyrack events --log` prints, once it has this many lines.
async fn events(server: &Server, count: usize) -> Vec<Value> {
    let mut lines = Vec::new();
    for _ in 0..100 {
        let output = ended(&mut server.program().command(&["events", "--log"]));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("text");
        lines = text.lines().map(|line| serde_json::from_str(line).expect("an object per line")).collect();
        if lines.len() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

/// An event but for what no test can know: its time is checked to be now, its id to be a request's.
fn known(event: &Value, kind: &str) -> Value {
    let mut event = event[kind].clone();
    let members = event.as_object_mut().expect("an event of that kind");
    let time = members.remove("time").and_then(|time| time.as_i64()).expect("a time");
    assert!((now() - 60_000..=now()).contains(&time), "{time}");
    let id = members.remove("requestId").expect("an id");
    assert!(id.as_str().is_some_and(|id| id.starts_with("req_")), "{id}");
    assert_eq!(members.remove("latencyMicroseconds").is_some_and(|latency| latency.is_u64()), kind != "refusal");
    let id = members.remove("rootKeyId").expect("an id");
    assert!(id.as_str().is_some_and(|id| id.starts_with("key_")), "{id}");
    event
}

async fn limit(client: &Client, members: Value) -> Value {
    let usual = json!({"namespace": "email", "identifier": "user_1", "limit": 3, "duration": WINDOW});
    client.call("ratelimit.limit", merged(usual, members)).await.expect(200).data().clone()
}

async fn usage(client: &Client) -> (i64, i64) {
    let answer = client.call("workspace.getUsage", json!({})).await.expect(200);
    let api = &answer.data()["totals"]["api"];
    (api["verifications"].as_i64().expect("a number"), api["ratelimits"].as_i64().expect("a number"))
}

#[tokio::test]
async fn every_decided_verification_is_an_event() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let identity = new_identity(&server, "customer_7", json!({})).await;
    let key = new_key(&server, &api, json!({"externalId": "customer_7", "credits": {"remaining": 5}})).await;
    verify(&server, &key, json!({"tags": ["a", "b=1"], "credits": {"cost": 3}})).await;
    verify(&server, &key, json!({"credits": {"cost": 3}})).await;
    verify(&server, &key, json!({"permissions": "docs.read"})).await;
    server.call("keys.verifyKey", json!({"key": key.key, "ratelimits": [{"name": "none"}]})).await.expect(412);
    let workspace =
        server.call("workspace.getOverview", json!({})).await.expect(200).data()["workspace"]["id"].clone();
    let space = verify(&server, &key, json!({"credits": {"cost": 0}})).await["keyspaceId"].clone();
    let expected = [
        ("VALID", json!(["a", "b=1"]), 3, json!([])),
        ("USAGE_EXCEEDED", json!([]), 0, json!([])),
        ("INSUFFICIENT_PERMISSIONS", json!([]), 0, json!(["docs.read"])),
        ("VALID", json!([]), 0, json!([])),
    ];
    for (event, (outcome, tags, spent, refused_by)) in events(&server, 4).await.iter().zip(expected) {
        let expected = json!({
            "workspaceId": workspace, "apiId": api, "keySpaceId": space, "keyId": key.id, "identityId": identity,
            "externalId": "customer_7", "outcome": outcome, "tags": tags, "spentCredits": spent,
            "source": "api", "appId": "", "region": "", "refusedBy": refused_by,
        });
        assert_eq!(known(event, "verification"), expected);
    }
}

#[tokio::test]
async fn an_event_says_who_asked_and_what_refused() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let limits = json!([
        {"name": "few", "limit": 1, "duration": WINDOW, "autoApply": true},
        {"name": "many", "limit": 100, "duration": WINDOW, "autoApply": true},
    ]);
    let key = new_key(&server, &api, json!({"ratelimits": limits})).await;
    let body = json!({"permissions": ["api.*.verify_key"], "name": "gateway"});
    let made = server.call("rootKeys.createKey", body).await.expect(200);
    let gateway = server.with_key(&made.text_of("key"));
    for code in ["VALID", "RATE_LIMITED"] {
        assert_eq!(verify(&gateway, &key, json!({})).await["code"], code);
    }
    assert_eq!(
        verify(&gateway, &key, json!({"permissions": "a AND b"})).await["code"],
        "INSUFFICIENT_PERMISSIONS"
    );
    server.call("apis.updateApi", json!({"apiId": api, "ipWhitelist": ["203.0.113.9"]})).await.expect(200);
    assert_eq!(verify(&gateway, &key, json!({})).await["code"], "FORBIDDEN");
    let events = events(&server, 4).await;
    let refused_by: Vec<&Value> = events.iter().map(|event| &event["verification"]["refusedBy"]).collect();
    assert_eq!(refused_by, [&json!([]), &json!(["few"]), &json!(["a AND b"]), &json!(["127.0.0.1"])]);
    assert!(events.iter().all(|event| event["verification"]["rootKeyId"] == made.text_of("keyId").as_str()));
}

#[tokio::test]
async fn a_verification_that_finds_no_key_is_no_use_but_an_event_of_its_own_kind() {
    let server = keyrack().await;
    let (api, hidden_api) = (new_api(&server).await, new_api(&server).await);
    let (key, hidden) = (new_key(&server, &api, json!({})).await, new_key(&server, &hidden_api, json!({})).await);
    let gateway = limited_client(&server, &[&format!("api.{api}.verify_key")]).await;
    let (_, elsewhere) = new_workspace(&server, "elsewhere").await;
    let workspace = workspace_id(&server).await;
    for body in [json!({"key": "nobody_knows_this_one", "tags": ["a"]}), json!({"key": hidden.key})] {
        let answer = gateway.call("keys.verifyKey", body).await.expect(200);
        assert_eq!(answer.data(), &json!({"valid": false, "code": "NOT_FOUND"}));
    }
    elsewhere.call("keys.verifyKey", json!({"key": key.key})).await.expect(200);
    let seen: Vec<Value> = events(&server, 3).await.iter().map(|event| known(event, "refusal")).collect();
    let unknown = |tags: Value| json!({"workspaceId": workspace, "reason": "UNKNOWN", "apiId": "", "keyId": "", "tags": tags});
    assert_eq!(seen[0], unknown(json!(["a"])));
    let found =
        json!({"workspaceId": workspace, "reason": "HIDDEN", "apiId": hidden_api, "keyId": hidden.id, "tags": []});
    assert_eq!(seen[1], found);
    let other = &seen[2];
    assert!(
        other["workspaceId"] != workspace.as_str() && other["keyId"] == "",
        "another workspace's key: {other}"
    );
    assert_eq!(usage(&server).await, (0, 0));
    assert_eq!(read_key(&server, &hidden).await.get("lastUsedAt"), None);
}

#[tokio::test]
async fn every_decision_of_limits_is_an_event_unless_the_caller_does_not_want_it() {
    let server = keyrack().await;
    limit(&server, json!({"cost": 2})).await;
    server
        .call(
            "ratelimit.setOverride",
            json!({"namespace": "email", "identifier": "user_1", "limit": 1, "duration": WINDOW}),
        )
        .await
        .expect(200);
    limit(&server, json!({})).await;
    let batch = json!([{"namespace": "sms", "identifier": "user_2", "limit": 1, "duration": WINDOW, "cost": 0}]);
    server.call("ratelimit.multiLimit", batch).await.expect(200);
    let body = json!({"namespace": "email", "identifier": "user_3", "limit": 3, "duration": WINDOW});
    server.call_with_headers("ratelimit.limit", body, &[("X-Unkey-Metrics", "disabled")]).await.expect(200);
    let seen: Vec<Value> = events(&server, 3).await.iter().map(|event| known(event, "ratelimit")).collect();
    let of = |name: &str| seen.iter().map(|event| event[name].clone()).collect::<Value>();
    assert_eq!(of("namespace"), json!(["email", "email", "sms"]));
    assert_eq!(of("identifier"), json!(["user_1", "user_1", "user_2"]));
    assert_eq!(of("passed"), json!([true, false, true]));
    assert_eq!(of("limit"), json!([3, 1, 1]));
    assert_eq!(of("remaining"), json!([1, 0, 1]));
    assert_eq!(of("tokens"), json!([2, 1, 0]));
    let overrides: Vec<bool> = seen.iter().map(|event| event["overrideId"] != "").collect();
    assert_eq!(overrides, [false, true, false]);
    assert_eq!(usage(&server).await, (0, 2));
}

#[tokio::test]
async fn a_key_that_was_tried_was_used_whatever_the_verdict() {
    let mut server = keyrack().await;
    let api = new_api(&server).await;
    let (tried, untouched) =
        (new_key(&server, &api, json!({"enabled": false})).await, new_key(&server, &api, json!({})).await);
    let before = now();
    assert_eq!(verify(&server, &tried, json!({})).await["code"], "DISABLED");
    // Written once a minute, and at the latest when the server stops.
    server.signal("TERM");
    assert!(server.wait_for_exit(Duration::from_secs(10)).await.success());
    let server = server.program().start().await;
    let last_used = read_key(&server, &tried).await["lastUsedAt"].as_i64().expect("a time");
    assert!((before..=now()).contains(&last_used), "{last_used}");
    assert_eq!(read_key(&server, &untouched).await.get("lastUsedAt"), None);
}

#[tokio::test]
async fn usage_counts_what_was_valid_or_passed_at_once_and_over_restarts() {
    let mut server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({"credits": {"remaining": 2}})).await;
    assert_eq!(usage(&server).await, (0, 0));
    for number in 1..=3 {
        verify(&server, &key, json!({})).await;
        assert_eq!(usage(&server).await.0, number.min(2));
    }
    limit(&server, json!({})).await;
    server.signal("TERM");
    assert!(server.wait_for_exit(Duration::from_secs(10)).await.success());
    let server = server.program().start().await;
    assert_eq!(usage(&server).await, (2, 1));
    verify(&server, &key, json!({"credits": {"cost": 0}})).await;
    assert_eq!(usage(&server).await, (3, 1));
}

#[tokio::test]
async fn usage_is_read_by_those_who_may_and_of_recent_months() {
    let server = keyrack().await;
    for permission in ["workspace.*.read_workspace", "unkey:v1:{ws}:usage#read"] {
        let overview = server.call("workspace.getOverview", json!({})).await.expect(200);
        let permission = permission.replace("{ws}", overview.data()["workspace"]["id"].as_str().expect("an id"));
        usage(&limited_client(&server, &[&permission]).await).await;
    }
    limited_client(&server, &["api.*.read_api"]).await.call("workspace.getUsage", json!({})).await.expect(403);
    for period in [json!({"year": 1999, "month": 1}), json!({"year": 9999, "month": 1}), json!({"year": 2026})] {
        server.call("workspace.getUsage", json!({"period": period})).await.expect(400);
    }
}

#[tokio::test]
async fn parallel_verifications_are_each_counted_once() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({})).await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (client, key) = (server.client(), key.clone());
        tasks.spawn(async move {
            for _ in 0..50 {
                verify(&client, &key, json!({})).await;
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(usage(&server).await.0, 400);
    events(&server, 400).await;
}

#[tokio::test]
async fn what_was_spent_for_clients_that_left_is_in_the_events() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({"credits": {"remaining": 1000}})).await;
    for round in 0..60_u64 {
        let asked = verify(&server, &key, json!({}));
        // Some are cut off before the server read them, some while it waits for the disk, some never.
        let _ = tokio::time::timeout(Duration::from_micros(round * 60), asked).await;
    }
    let balance = async || read_key(&server, &key).await["credits"]["remaining"].as_i64().expect("a balance");
    let mut before = -1;
    let started = Instant::now();
    while before != balance().await {
        assert!(started.elapsed() < Duration::from_secs(30), "the balance never comes to rest: it is {before}");
        before = balance().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let spent = usize::try_from(1000 - before).expect("a number");
    assert!(spent > 0, "nothing was answered");
    events(&server, spent).await;
}
