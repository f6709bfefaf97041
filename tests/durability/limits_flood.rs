//! A flood of identifiers: memory stays bounded, whoever is nearer to the limit keeps their count, and nobody
//! loses a count to another workspace.

use std::time::Duration;

use keyrack_test_harness::{Client, Server, http_client};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::program;

const MONTH_MS: u64 = 2_592_000_000;
const ROOM: u64 = 2_000;
const BATCHES: u64 = 600;
const PER_BATCH: u64 = 100;

fn check(identifier: &str, cost: u64) -> Value {
    json!({"namespace": "mail", "identifier": identifier, "limit": 10, "duration": MONTH_MS, "cost": cost})
}

async fn number(metrics: &str, name: &str) -> u64 {
    let text = http_client().get(metrics).send().await.expect("served").text().await.expect("text");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("{name} is not in\n{text}"));
    value.strip_suffix(".0").unwrap_or(value).parse().expect("a whole number")
}

/// Sends batches of new identifiers over several connections.
async fn flood(client: &Client, batches: std::ops::Range<u64>) {
    let mut tasks = JoinSet::new();
    for lane in 0..4 {
        let (client, mine) = (client.clone(), batches.clone().filter(move |batch| batch % 4 == lane));
        tasks.spawn(async move {
            for batch in mine {
                let checks: Vec<Value> =
                    (0..PER_BATCH).map(|one| check(&format!("flood {batch} {one}"), 1)).collect();
                let answer = client.call("ratelimit.multiLimit", json!(checks)).await.expect(200);
                assert_eq!(answer.data()["passed"], true);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a lane went through");
    }
}

/// Resident memory of a process in KiB.
#[cfg(target_os = "linux")]
pub(crate) fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_flood_of_identifiers_does_not_grow_memory_and_spares_those_near_their_limit() {
    // Each decision is an event, and those that are in no file yet are in memory: that is another matter.
    let settings = [
        ("KEYRACK_RATELIMIT_CELLS", ROOM.to_string()),
        ("KEYRACK_METRICS_LISTEN", "127.0.0.1:0".into()),
        ("KEYRACK_ANALYTICS_BYTES", "0".into()),
    ];
    let program = settings.iter().fold(program(), |program, (name, value)| program.env(name, value));
    let server = program.start().await;
    let log = server.log();
    let metrics = log.lines().find_map(|line| line.trim().strip_prefix("Metrics")).expect("a banner").trim();
    server.call("ratelimit.limit", check("busy", 8)).await.expect(200);
    // Ten times the room, so that buffers, pools and threads have their size.
    flood(&server, 0..ROOM * 10 / PER_BATCH).await;
    let before = resident_kib(server.process());
    flood(&server, ROOM * 10 / PER_BATCH..BATCHES).await;
    let after = resident_kib(server.process());
    assert!(after < before + 6_144, "{before} KiB, then {after} KiB");
    let cells = number(metrics, "keyrack_limit_cells").await;
    assert!(cells <= ROOM, "{cells} cells");
    let evicted = number(metrics, "keyrack_limit_cells_evicted_total").await;
    assert_eq!(evicted + cells, BATCHES * PER_BATCH + 1);
    let busy = server.call("ratelimit.limit", check("busy", 0)).await.expect(200);
    assert_eq!(busy.data()["remaining"], 2);
}

/// A new workspace: its id, and a root key with full access to it.
async fn workspace(operator: &Server, name: &str) -> (String, String) {
    let made = operator.call("workspace.createWorkspace", json!({"name": name})).await.expect(200);
    (made.text_of("workspaceId"), made.text_of("rootKey"))
}

async fn new_key(client: &Client, members: Value) -> Value {
    let api = client.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let mut body = json!({"apiId": api});
    body.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    json!(client.call("keys.createKey", body).await.expect(200).text_of("key"))
}

/// One verification with a hundred limits that nobody has, each used up at once, for a month.
fn ad_hoc(key: &Value, number: usize) -> Value {
    let limit = |at| json!({"name": format!("{number} {at}"), "limit": u64::MAX >> 1, "duration": MONTH_MS, "cost": u64::MAX >> 1});
    json!({"key": key, "ratelimits": (0..100).map(limit).collect::<Vec<_>>()})
}

/// What the victim has counted: 8 of 10, and a key whose limit is used up.
async fn is_limited(victim: &Client, key: &Value) {
    let busy = victim.call("ratelimit.limit", check("busy", 0)).await.expect(200);
    assert_eq!(busy.data()["remaining"], 2);
    let verified = victim.call("keys.verifyKey", json!({"key": key})).await.expect(200);
    assert_eq!(verified.data()["code"], "RATE_LIMITED");
}

/// Somebody who may only verify keys tries to push out the counts of another workspace, and the throttle of
/// their own.
#[tokio::test]
async fn a_flood_by_one_workspace_resets_no_limit_of_another_and_not_its_own_throttle() {
    const PER_MINUTE: usize = 30;
    let server = program().env("KEYRACK_RATELIMIT_CELLS", "1000").start().await;
    let (_, root_key) = workspace(&server, "victim").await;
    let victim = server.with_key(&root_key);
    let limit = json!([{"name": "requests", "limit": 1, "duration": MONTH_MS, "autoApply": true}]);
    let limited = new_key(&victim, json!({"ratelimits": limit})).await;
    victim.call("ratelimit.limit", check("busy", 8)).await.expect(200);
    victim.call("keys.verifyKey", json!({"key": limited})).await.expect(200);
    is_limited(&victim, &limited).await;

    let (id, attacker) = workspace(&server, "attacker").await;
    let attacker = server.with_key(&attacker);
    let key = new_key(&attacker, json!({})).await;
    let throttle = json!({"workspaceId": id, "requestsPerMinute": PER_MINUTE});
    server.call("workspace.updateWorkspace", throttle).await.expect(200);
    let mut served = 0;
    for number in 0..4 * PER_MINUTE {
        let answer = attacker.call("keys.verifyKey", ad_hoc(&key, number)).await;
        served += usize::from(answer.status == 200);
    }
    // The window slides: a few are served while the flood goes on.
    assert!((16..2 * PER_MINUTE).contains(&served), "{served} requests of {PER_MINUTE} per minute");
    is_limited(&victim, &limited).await;

    // A start reads the counts in any order, with as little room.
    let mut stopped = server;
    stopped.signal("TERM");
    assert!(stopped.wait_for_exit(Duration::from_secs(20)).await.success(), "{}", stopped.log());
    let again = stopped.program().start().await;
    is_limited(&again.with_key(&root_key), &limited).await;
}
