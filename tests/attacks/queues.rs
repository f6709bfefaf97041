//! What all tenants put into one queue or one log: a flood of one takes no place from another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keyrack_test_harness::{Client, Database, Server, http_client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::program;
use crate::tenants::flood;
use crate::victim::Workspace;

/// Size of the log of events.
const LOG_BYTES: u64 = 256 << 10;
const FLOOD: usize = 2_200;
/// Bytes of tags that an event keeps.
const TAGS_BYTES: usize = 2048;

async fn new_key(workspace: &Workspace, members: Value) -> String {
    let api = workspace.owner.call("apis.createApi", json!({"name": "payments"})).await.expect(200);
    let mut body = json!({"apiId": api.text_of("apiId")});
    body.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    workspace.owner.call("keys.createKey", body).await.expect(200).text_of("key")
}

/// Verifications in the log of events, by what `keyrack events --log` prints of them.
fn logged(server: &Server) -> Vec<Value> {
    let output = server.program().command(&["events", "--log"]).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("an object per line")).collect()
}

async fn number(server: &Server, name: &str) -> f64 {
    let log = server.log();
    let address = log.lines().find_map(|line| line.trim().strip_prefix("Metrics")).expect("a banner").trim();
    let text = http_client().get(address).send().await.expect("served").text().await.expect("text");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().expect("a number")
}

#[tokio::test]
async fn a_flood_of_long_tags_removes_no_event_of_the_victim() {
    let server = program()
        .env("KEYRACK_EVENT_LOG_BYTES", &LOG_BYTES.to_string())
        .env("KEYRACK_METRICS_LISTEN", "127.0.0.1:0")
        .start()
        .await;
    let (victim, attacker) = (Workspace::new(&server, "victim").await, Workspace::new(&server, "attacker").await);
    let (its_key, key) = (new_key(&victim, json!({})).await, new_key(&attacker, json!({})).await);
    let of_victim = |from: usize| {
        (from..from + 10).map(|n| json!({"key": its_key, "tags": [format!("n={n}")]})).collect::<Vec<_>>()
    };
    flood(&victim.owner, "keys.verifyKey", of_victim(0).into_iter()).await;
    let tags: Vec<String> = (0..20).map(|n| format!("{n}{}", "x".repeat(498))).collect();
    let sent: usize = tags.iter().map(String::len).sum();
    let body = json!({"key": key, "tags": tags});
    flood(&attacker.owner, "keys.verifyKey", (0..FLOOD).map(|_| body.clone())).await;
    flood(&victim.owner, "keys.verifyKey", of_victim(10).into_iter()).await;
    // The log is written some milliseconds later.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let events = logged(&server);
    let of = |workspace: &Workspace| -> Vec<&Value> {
        events.iter().filter(|event| event["verification"]["workspaceId"] == workspace.id.as_str()).collect()
    };
    let mut kept: Vec<&str> = of(&victim).iter().filter_map(|e| e["verification"]["tags"][0].as_str()).collect();
    kept.sort_unstable();
    let mut due: Vec<String> = (0..20).map(|n| format!("n={n}")).collect();
    due.sort_unstable();
    assert_eq!(kept, due, "events of the victim are gone");
    let loud = of(&attacker);
    assert!((20..150).contains(&loud.len()), "{} of the flood's events are kept", loud.len());
    assert!(loud.iter().all(|event| event["cutBytes"] == sent - TAGS_BYTES), "{}", loud[0]);
    assert_eq!(number(&server, r#"keyrack_events_dropped_total{reason="failed"}"#).await, 0.0);
    let bytes = number(&server, "keyrack_event_log_bytes").await;
    assert!((100_000.0..300_000.0).contains(&bytes), "{bytes} bytes");
    let age = number(&server, "keyrack_event_log_age_seconds").await;
    assert!((0.5..600.0).contains(&age), "{age} s");
}

/// Verifies a paid key again and again without waiting for answers, and counts refusals for want of a place. Each
/// request has a connection of its own, and goes on when its client leaves.
async fn spend(client: Client, key: String, refused: Arc<AtomicUsize>, is_over: Arc<AtomicBool>) {
    let address = client.base().strip_prefix("http://").expect("HTTP").to_owned();
    let body = json!({"key": key}).to_string();
    let request = format!(
        "POST /v2/keys.verifyKey HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        client.root_key(),
        body.len()
    );
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(&address).await else { continue };
        if stream.write_all(request.as_bytes()).await.is_err() {
            continue;
        }
        let mut answer = Vec::new();
        let whole = tokio::time::timeout(Duration::from_millis(200), stream.read_to_end(&mut answer)).await;
        if whole.is_ok_and(|read| read.is_ok())
            && String::from_utf8_lossy(&answer).contains("More deductions wait")
        {
            refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn a_flood_of_deductions_leaves_the_victims_to_be_made() {
    const PAID: i64 = 8;
    const FLOOD_LIMIT: Duration = Duration::from_secs(30);
    // A machine that is busy with this does not follow changes in time.
    let server = program().env("KEYRACK_STALE_SECONDS", "600").start().await;
    let (victim, attacker) = (Workspace::new(&server, "victim").await, Workspace::new(&server, "attacker").await);
    let credits = |remaining: i64| json!({"credits": {"remaining": remaining}});
    let (its_key, key) = (new_key(&victim, credits(100)).await, new_key(&attacker, credits(1_000_000)).await);
    let mut database = Database::of(&server).await;
    database.execute("BEGIN IMMEDIATE").await;
    let (refused, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut lanes = JoinSet::new();
    for _ in 0..256 {
        lanes.spawn(spend(attacker.owner.clone(), key.clone(), refused.clone(), is_over.clone()));
    }
    // Until the attacker has its share, as far as this machine gets to that.
    let started = Instant::now();
    while refused.load(Ordering::Relaxed) < 100 && started.elapsed() < FLOOD_LIMIT {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut paying = JoinSet::new();
    for _ in 0..PAID {
        let (client, key) = (victim.owner.clone(), its_key.clone());
        paying.spawn(async move { client.call("keys.verifyKey", json!({"key": key})).await });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    database.execute("ROLLBACK").await;
    is_over.store(true, Ordering::Relaxed);
    for answer in paying.join_all().await {
        assert_eq!(answer.expect(200).data()["code"], "VALID");
    }
    lanes.join_all().await;
    let left = victim.owner.call("keys.verifyKey", json!({"key": its_key, "credits": {"cost": 0}})).await;
    assert_eq!(left.expect(200).data()["credits"], 100 - PAID);
}

#[tokio::test]
async fn a_line_of_changes_is_bounded_and_does_not_put_off_the_end_of_the_root_key_that_makes_it() {
    const LINE: usize = 300;
    let server = program().env("KEYRACK_STALE_SECONDS", "600").start().await;
    let workspace = Workspace::new(&server, "tenant").await;
    let api =
        workspace.owner.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let made = json!({"permissions": ["api.*.create_key"]});
    let made = workspace.owner.call("rootKeys.createKey", made).await.expect(200);
    let (key_id, maker) = (made.text_of("keyId"), workspace.owner.with_key(&made.text_of("key")));
    let mut database = Database::of(&server).await;
    database.execute("BEGIN IMMEDIATE").await;
    let mut line = JoinSet::new();
    for _ in 0..LINE {
        let (maker, body) = (maker.clone(), json!({"apiId": api}));
        line.spawn(async move { maker.call("keys.createKey", body).await.status });
    }
    // Those for whom there is no room are told so while the others wait.
    let mut refused = 0;
    while refused < LINE - 260 {
        assert_eq!(line.join_next().await.expect("one of them").expect("no panic"), 503);
        refused += 1;
    }
    let owner = workspace.owner.clone();
    let ending = tokio::spawn(async move { owner.call("rootKeys.deleteKey", json!({"keyId": key_id})).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    database.execute("ROLLBACK").await;
    ending.await.expect("no panic").expect(200);
    let statuses = line.join_all().await;
    let created = statuses.iter().filter(|status| **status == 200).count();
    assert!(created <= 3, "{created} keys were made before the root key ended: {statuses:?}");
}

#[tokio::test]
async fn the_first_calls_on_a_new_namespace_all_wait_for_the_one_that_makes_it() {
    // More than may wait for a turn to change the workspace.
    const CALLS: usize = 400;
    let server = program().env("KEYRACK_STALE_SECONDS", "600").start().await;
    let workspace = Workspace::new(&server, "tenant").await;
    let mut database = Database::of(&server).await;
    database.execute("BEGIN IMMEDIATE").await;
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let (owner, body) = (
            workspace.owner.clone(),
            json!({"namespace": "new", "identifier": "user", "limit": 1000, "duration": 60_000}),
        );
        calls.spawn(async move { owner.call("ratelimit.limit", body).await });
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    database.execute("ROLLBACK").await;
    for answer in calls.join_all().await {
        answer.expect(200);
    }
}

#[tokio::test]
async fn who_leaves_keeps_no_place_in_the_line_of_changes() {
    const LINE: usize = 100;
    let server = program().env("KEYRACK_STALE_SECONDS", "600").start().await;
    let workspace = Workspace::new(&server, "tenant").await;
    let api =
        workspace.owner.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let mut database = Database::of(&server).await;
    database.execute("BEGIN IMMEDIATE").await;
    let mut line = JoinSet::new();
    for _ in 0..LINE {
        let (owner, body) = (workspace.owner.clone(), json!({"apiId": api}));
        line.spawn(async move { owner.call("keys.createKey", body).await });
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    line.shutdown().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    database.execute("ROLLBACK").await;
    // One more change comes after all of those that still stand there.
    workspace.owner.call("keys.createKey", json!({"apiId": api})).await.expect(200);
    let keys = workspace.owner.call("apis.listKeys", json!({"apiId": api})).await.expect(200);
    let made = keys.data().as_array().expect("a list").len();
    assert!((1..=3).contains(&made), "{made} keys of {LINE} whose clients had left");
}
