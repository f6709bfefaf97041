//! A flood of identifiers: memory stays bounded, and whoever counted more keeps their count.

use keyrack_test_harness::{Client, http_client};
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
async fn a_flood_of_identifiers_does_not_grow_memory_and_spares_those_who_count_more() {
    let settings =
        [("KEYRACK_RATELIMIT_CELLS", ROOM.to_string()), ("KEYRACK_METRICS_LISTEN", "127.0.0.1:0".into())];
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
