//! After kill -9 every change and every deduction that was answered is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use keyrack_test_harness::{Client, Server};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::program;

async fn new_key(client: &Client, api: &str, members: Value) -> (String, String) {
    let mut body = json!({"apiId": api});
    body.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    let answer = client.call("keys.createKey", body).await.expect(200);
    (answer.text_of("keyId"), answer.text_of("key"))
}

/// Everything a caller can read about the workspace, before and after.
async fn everything(server: &Server, api: &str) -> Value {
    let mut all = json!({});
    for (operation, body) in [
        ("apis.listApis", json!({})),
        ("apis.listKeys", json!({"apiId": api})),
        ("identities.getIdentity", json!({"identity": "customer"})),
        ("workspace.getOverview", json!({})),
    ] {
        all[operation] = server.call(operation, body).await.expect(200).data().clone();
    }
    all
}

async fn changes_survive(server: Server) {
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let gone = server.call("apis.createApi", json!({"name": "gone"})).await.expect(200).text_of("apiId");
    let limit = json!([{"name": "calls", "limit": 5, "duration": 60_000, "autoApply": true}]);
    let identity = json!({"externalId": "customer", "meta": {"a": 1}, "ratelimits": limit});
    server.call("identities.createIdentity", identity).await.expect(200);
    server.call("permissions.createRole", json!({"name": "admin", "permissions": ["a"]})).await.expect(200);
    server.call("permissions.createPermission", json!({"name": "B", "slug": "b"})).await.expect(200);
    let members =
        json!({"externalId": "customer", "credits": {"remaining": 9}, "roles": ["admin"], "ratelimits": limit});
    let (kept, kept_key) = new_key(&server, &api, members).await;
    let (deleted, deleted_key) = new_key(&server, &api, json!({})).await;
    let (disabled, disabled_key) = new_key(&server, &api, json!({})).await;
    let update = json!({"keyId": kept, "name": "renamed", "meta": {"x": [1]}, "permissions": ["b"]});
    server.call("keys.updateKey", update).await.expect(200);
    server.call("keys.updateKey", json!({"keyId": disabled, "enabled": false})).await.expect(200);
    server.call("keys.verifyKey", json!({"key": kept_key, "credits": {"cost": 4}})).await.expect(200);
    server.call("keys.deleteKey", json!({"keyId": deleted})).await.expect(200);
    server.call("apis.updateApi", json!({"apiId": api, "deleteProtection": true})).await.expect(200);
    let root_key =
        server.call("rootKeys.createKey", json!({"permissions": ["*"]})).await.expect(200).text_of("key");
    let before = everything(&server, &api).await;
    server.call("apis.deleteApi", json!({"apiId": gone})).await.expect(200);
    let server = server.kill_and_restart().await;
    let mut due = before;
    due["apis.listApis"].as_array_mut().expect("a list").retain(|one| one["id"] != gone.as_str());
    due["workspace.getOverview"]["counts"]["apis"] = json!(1);
    assert_eq!(everything(&server, &api).await, due);
    for (key, code) in [(kept_key, "VALID"), (deleted_key, "NOT_FOUND"), (disabled_key, "DISABLED")] {
        let verified = server.with_key(&root_key).call("keys.verifyKey", json!({"key": key})).await;
        assert_eq!(verified.expect(200).data()["code"], code);
    }
}

#[tokio::test]
async fn every_answered_change_survives_a_power_cut_on_sqlite() {
    changes_survive(program().start().await).await;
}

#[tokio::test]
async fn every_answered_change_survives_a_power_cut_on_postgres() {
    changes_survive(program().on_postgres().await.start().await).await;
}

/// Waits until so many requests were answered.
async fn at_least(answered: &AtomicI64, due: i64) {
    let started = Instant::now();
    while answered.load(Ordering::SeqCst) < due {
        assert!(started.elapsed() < Duration::from_secs(20), "only {answered:?} of {due} requests were answered");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Verifies a key from many tasks until the server is killed in the middle of it, and counts what was answered.
async fn spend_until_killed(server: &mut Server, key: &str) -> (i64, i64) {
    let (answered, asked) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    let http = keyrack_test_harness::http_client();
    for _ in 0..16 {
        let (http, stop, body) = (http.clone(), stop.clone(), json!({"key": key}));
        let (answered, asked) = (answered.clone(), asked.clone());
        let url = format!("{}/v2/keys.verifyKey", server.base());
        tasks.spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                asked.fetch_add(1, Ordering::SeqCst);
                let request = http.post(&url).bearer_auth(keyrack_test_harness::ROOT_KEY).json(&body);
                let Ok(answer) = request.send().await else {
                    break;
                };
                let Ok(body) = answer.json::<Value>().await else {
                    break;
                };
                assert_eq!(body["data"]["code"], "VALID", "{body}");
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    // A busy machine may not have got far by then.
    at_least(&answered, 40).await;
    server.kill();
    stop.store(true, Ordering::SeqCst);
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no task fails");
    }
    (answered.load(Ordering::SeqCst), asked.load(Ordering::SeqCst))
}

async fn deductions_survive(mut server: Server) {
    let balance = 1_000_000;
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let (id, key) = new_key(&server, &api, json!({"credits": {"remaining": balance}})).await;
    let (answered, asked) = spend_until_killed(&mut server, &key).await;
    assert!(answered > 20, "only {answered} verifications were answered before the kill");
    let server = server.kill_and_restart().await;
    let stored = server.call("keys.getKey", json!({"keyId": id})).await.expect(200);
    let spent = balance - stored.data()["credits"]["remaining"].as_i64().expect("a number");
    assert!(
        (answered..=asked).contains(&spent),
        "{spent} credits are gone, {answered} deductions were answered, {asked} were asked for"
    );
}

#[tokio::test]
async fn every_answered_deduction_survives_a_power_cut_on_sqlite() {
    deductions_survive(program().start().await).await;
}

#[tokio::test]
async fn every_answered_deduction_survives_a_power_cut_on_postgres() {
    deductions_survive(program().on_postgres().await.start().await).await;
}
