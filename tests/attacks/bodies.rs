//! Bodies that cost a lot, from a root key that allows nothing and from one that allows everything: refused, cheap, and
//! nothing that the process ends of.

use std::time::Duration;

use keyrack_test_harness::{Server, operations};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::program;
use crate::victim::{Victim, Workspace};
use crate::wire::{Wire, head};

/// How many wrong items an array has.
const ITEMS: usize = 1_000_000;
/// How many members nobody knows an object has.
const MEMBERS: usize = 100_000;
const DEPTH: usize = 100_000;
/// How many bodies are on their way at one time that are read to their end.
const AT_ONCE: usize = 8;
/// How many that wait.
const CROWD: usize = 64;
/// Bytes that a message to `/mcp` may have, and values that it holds twice over, which is nearly as many as it may.
const MESSAGE: usize = 1024 * 1024;
const VALUES: usize = 45_000;
/// What a request may take beside the memory of an idle server, with what debug builds and allocators add.
const MEMORY_KIB: u64 = 96 * 1024;

/// The most memory that a process ever had, in KiB.
fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// The schema of the body of each operation.
async fn schemas(server: &Server) -> Vec<(&'static str, Value)> {
    let document = server.get("/openapi.json").await.expect(200);
    let schema = |name: &'static str| {
        let body = &document.body["paths"][format!("/v2/{name}")]["post"]["requestBody"];
        (name, body["content"]["application/json"]["schema"].clone())
    };
    operations(server).await.into_iter().map(schema).collect()
}

/// Wrong bodies for a schema, each as large as nobody would send.
fn bodies(schema: &Value) -> Vec<String> {
    let wrong = format!("[{}1]", "1,".repeat(ITEMS));
    if schema["type"] == "array" {
        return vec![wrong, format!("[{}[]]", "[],".repeat(ITEMS))];
    }
    let unknown: Vec<String> = (0..MEMBERS).map(|n| format!("\"{n}\":1")).collect();
    let mut bodies = vec![format!("{{{}}}", unknown.join(","))];
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let kinds = member["type"].as_array().cloned().unwrap_or_else(|| vec![member["type"].clone()]);
        if kinds.contains(&json!("array")) {
            bodies.push(format!("{{\"{name}\":{wrong}}}"));
        }
        if kinds.contains(&json!("object")) {
            let deep = format!("{}1{}", "{\"a\":".repeat(DEPTH), "}".repeat(DEPTH));
            bodies.push(format!("{{\"{name}\":{deep}}}"));
        }
    }
    bodies
}

/// Sends every body to every operation, some at once.
async fn flood(server: &Server, root_key: &str) {
    let mut tasks = JoinSet::new();
    for (operation, schema) in schemas(server).await {
        for body in bodies(&schema) {
            if tasks.len() >= AT_ONCE {
                tasks.join_next().await.expect("a task").expect("no panic");
            }
            let (mut wire, operation) = (Wire::to(server).await, operation);
            let request = head(&format!("/v2/{operation}"), root_key, body.len()) + &body;
            tasks.spawn(async move {
                wire.send(request).await;
                let reply = wire.reply().await.unwrap_or_else(|| panic!("{operation} was not answered"));
                let faults = reply.body["error"]["errors"].as_array().map_or(0, Vec::len);
                assert!((400..500).contains(&reply.status) && faults <= 50, "{operation}: {reply:?}");
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no panic");
    }
}

/// Sends messages that are as large as they may be and hold as many values, side by side.
async fn flood_with_calls(server: &Server, root_key: &str) {
    let items = format!("[{}1]", "1,".repeat(VALUES));
    let pad = " ".repeat(MESSAGE - items.len() - 200);
    let calls = ["keys_createKey", "identities_createIdentity", "docs_search", "permissions_createRole"];
    let send = async |tool: &str| {
        let arguments = format!("{{\"name\":\"a\",\"permissions\":{items},\"meta\":{{\"a\":{items}}}}}{pad}");
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"{tool}\",\"arguments\":{arguments}}}}}"
        );
        let mut wire = Wire::to(server).await;
        wire.send(head("/mcp?toolsets=all", root_key, body.len()) + &body).await;
        wire
    };
    let mut wires = Vec::new();
    for at in 0..CROWD {
        wires.push(send(calls[at % calls.len()]).await);
    }
    for mut wire in wires {
        let reply = wire.reply().await.expect("an answer");
        let is_refused = (400..500).contains(&reply.status) || reply.body["result"]["isError"] == true;
        assert!(is_refused, "{reply:?}");
    }
}

#[tokio::test]
async fn wrong_bodies_of_any_size_cost_the_victim_nothing() {
    let mut server = program().start().await;
    let mut victim = Victim::new(&server).await;
    let attacker = Workspace::new(&server, "attacker").await;
    let idle = peak_kib(server.process());
    for client in [victim.workspace.holder(&[]).await, attacker.owner.clone()] {
        flood(&server, client.root_key()).await;
        victim.is_granted_all().await;
    }
    let peak = peak_kib(server.process());
    assert!(peak < idle + MEMORY_KIB, "{idle} KiB when idle, {peak} KiB at the worst");
    assert!(server.is_running() && !server.log().contains("panicked"), "{}", server.log());
}

#[tokio::test]
async fn calls_of_any_size_that_come_at_once_cost_the_victim_nothing() {
    let mut server = program().start().await;
    let mut victim = Victim::new(&server).await;
    let attacker = Workspace::new(&server, "attacker").await;
    let idle = peak_kib(server.process());
    for client in [victim.workspace.holder(&[]).await, attacker.owner.clone()] {
        flood_with_calls(&server, client.root_key()).await;
        victim.is_granted_all().await;
    }
    let peak = peak_kib(server.process());
    assert!(peak < idle + MEMORY_KIB, "{idle} KiB when idle, {peak} KiB at the worst");
    assert!(server.is_running() && !server.log().contains("panicked"), "{}", server.log());
}

/// Who says that a large body comes, and does not end it, has no room for it that others do not have.
#[tokio::test]
async fn bodies_that_never_end_take_no_more_memory_than_there_is_room() {
    let server = program().start().await;
    let mut victim = Victim::new(&server).await;
    let attacker = Workspace::new(&server, "attacker").await;
    let idle = peak_kib(server.process());
    let body = format!("{{\"externalId\":\"cust_1\"{}", " ".repeat(2 * MESSAGE - 100));
    let mut wires = Vec::new();
    for _ in 0..CROWD {
        let mut wire = Wire::to(&server).await;
        let request = head("/v2/identities.createIdentity", attacker.owner.root_key(), body.len() + 1) + &body;
        // Where there is no room the server takes no more, and the rest does not leave here.
        wires.push(tokio::spawn(async move {
            wire.send(request).await;
            wire
        }));
    }
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        victim.is_granted_all().await;
    }
    let peak = peak_kib(server.process());
    assert!(peak < idle + MEMORY_KIB / 2, "{idle} KiB when idle, {peak} KiB at the worst");
    wires.iter().for_each(tokio::task::JoinHandle::abort);
    drop(wires);
    let large = json!({"externalId": "cust_2", "meta": {"text": "x".repeat(500_000)}});
    attacker.owner.call("identities.createIdentity", large).await.expect(200);
    victim.is_granted_all().await;
}

#[tokio::test]
async fn a_reserved_name_in_metadata_is_data_and_ends_no_process() {
    const NAME: &str = "$serde_json::private::RawValue";
    let mut server = program().start().await;
    let mut victim = Victim::new(&server).await;
    let zero = victim.workspace.holder(&[]).await;
    let nested = (0..14).fold(json!({"a": 1}).to_string(), |inner, _| json!({NAME: inner}).to_string());
    let body = format!("{{\"apiId\":\"api_1234\",\"meta\":{nested}}}");
    let mut wire = Wire::to(&server).await;
    wire.send(head("/v2/keys.createKey", zero.root_key(), body.len()) + &body).await;
    let reply = wire.reply().await.expect("an answer");
    assert!((400..500).contains(&reply.status), "{reply:?}");
    let owner = &victim.workspace.owner;
    let api = owner.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let meta = json!({NAME: "{\"a\":1}"});
    let made = owner.call("keys.createKey", json!({"apiId": api, "meta": meta})).await.expect(200);
    let read = owner.call("keys.getKey", json!({"keyId": made.text_of("keyId")})).await.expect(200);
    // As text: what reads it here may obey the name too.
    assert!(read.text.contains(&meta.to_string()), "{}", read.text);
    victim.is_granted_all().await;
    assert!(server.is_running());
}
