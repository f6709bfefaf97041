//! One tenant takes nothing from another: counts, room and turns.

use keyrack_test_harness::{Client, Server};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::program;
use crate::victim::{Victim, WINDOW, Workspace};

/// Room for counts of limits, of all tenants together.
const CELLS: usize = 2_000;
/// As many different counts as the attacker causes.
const FLOOD: usize = 12_000;
const PER_REQUEST: usize = 100;
const LARGE: u64 = 1_000_000_000_000;

/// Sends batches side by side.
async fn flood(client: &Client, operation: &'static str, batches: impl Iterator<Item = Value>) {
    let mut tasks = JoinSet::new();
    for body in batches {
        if tasks.len() >= 8 {
            tasks.join_next().await.expect("a task").expect("no panic");
        }
        let client = client.clone();
        tasks.spawn(async move { client.call(operation, body).await.status });
    }
    let statuses = tasks.join_all().await;
    assert!(statuses.iter().all(|status| [200, 400, 429].contains(status)), "{statuses:?}");
}

async fn scene() -> (Server, Victim, Workspace) {
    let server = program().env("KEYRACK_RATELIMIT_CELLS", &CELLS.to_string()).start().await;
    let victim = Victim::new(&server).await;
    let attacker = Workspace::new(&server, "attacker").await;
    (server, victim, attacker)
}

#[tokio::test]
async fn limits_that_a_verification_makes_up_reset_no_count_of_the_victim() {
    let (_server, mut victim, attacker) = scene().await;
    let api = attacker.owner.call("apis.createApi", json!({"name": "attack"})).await.expect(200).text_of("apiId");
    let key = attacker.owner.call("keys.createKey", json!({"apiId": api})).await.expect(200).text_of("key");
    let narrow = attacker.holder(&["api.*.verify_key"]).await;
    let batches = (0..FLOOD / PER_REQUEST).map(|batch| {
        let limit = |n: usize| json!({"name": format!("limit {batch} {n}"), "limit": LARGE, "duration": WINDOW, "cost": LARGE});
        json!({"key": key, "ratelimits": (0..PER_REQUEST).map(limit).collect::<Vec<_>>()})
    });
    flood(&narrow, "keys.verifyKey", batches).await;
    victim.is_granted_all().await;
}

#[tokio::test]
async fn identifiers_of_one_tenant_reset_no_count_of_another() {
    let (_server, mut victim, attacker) = scene().await;
    let batches = (0..FLOOD / PER_REQUEST).map(|batch| {
        let check = |n: usize| json!({"namespace": "flood", "identifier": format!("{batch} {n}"), "limit": LARGE, "duration": WINDOW, "cost": LARGE});
        json!((0..PER_REQUEST).map(check).collect::<Vec<_>>())
    });
    flood(&attacker.owner, "ratelimit.multiLimit", batches).await;
    victim.is_granted_all().await;
}

#[tokio::test]
async fn counts_of_a_flood_are_evicted_in_a_restarted_process_too() {
    let (server, mut victim, attacker) = scene().await;
    let batches = (0..FLOOD / PER_REQUEST).map(|batch| {
        let check = |n: usize| json!({"namespace": "flood", "identifier": format!("{batch} {n}"), "limit": LARGE, "duration": WINDOW, "cost": LARGE});
        json!((0..PER_REQUEST).map(check).collect::<Vec<_>>())
    });
    flood(&attacker.owner, "ratelimit.multiLimit", batches).await;
    let mut server = server;
    server.signal("TERM");
    server.wait_for_exit(std::time::Duration::from_secs(60)).await;
    let server = server.program().start().await;
    victim.moves_to(&server);
    victim.is_granted_all().await;
}

#[tokio::test]
async fn a_tenants_throttle_is_its_own_and_can_be_corrected() {
    let (server, mut victim, attacker) = scene().await;
    let limit = |requests: Value| json!({"workspaceId": attacker.id, "requestsPerMinute": requests});
    server.call("workspace.updateWorkspace", limit(json!(1))).await.expect(200);
    attacker.owner.call("workspace.getOverview", json!({})).await.expect(200);
    attacker.owner.call("workspace.getOverview", json!({})).await.expect(429);
    victim.is_granted_all().await;
    server.call("workspace.updateWorkspace", limit(Value::Null)).await.expect(200);
    attacker.owner.call("workspace.getOverview", json!({})).await.expect(200);
}

#[tokio::test]
async fn an_operator_that_throttles_its_own_workspace_can_take_that_back() {
    let server = program().start().await;
    let overview = server.call("workspace.getOverview", json!({})).await.expect(200);
    let id = &overview.data()["workspace"]["id"];
    let limit = |requests: Value| json!({"workspaceId": id, "requestsPerMinute": requests});
    server.call("workspace.updateWorkspace", limit(json!(1))).await.expect(200);
    server.call("apis.listApis", json!({})).await;
    server.call("apis.listApis", json!({})).await.expect(429);
    server.call("workspace.updateWorkspace", limit(Value::Null)).await.expect(200);
    server.call("apis.listApis", json!({})).await.expect(200);
}

#[tokio::test]
async fn patterns_of_one_tenant_leave_the_victims_turn_alone() {
    let (server, mut victim, attacker) = scene().await;
    let check = |identifier: &str| json!({"namespace": "patterns", "identifier": identifier, "limit": 9, "duration": WINDOW});
    attacker.owner.call("ratelimit.limit", check("first")).await.expect(200);
    let batches = (0..20).map(|n| check(&format!("{}Q{n}*", "a*".repeat(60))));
    flood(&attacker.owner, "ratelimit.setOverride", batches).await;
    // As many stars, and as many patterns with several, as there may be.
    for n in 0..100 {
        attacker.owner.call("ratelimit.setOverride", check(&format!("{}Q{n}*", "a*".repeat(7)))).await.expect(200);
    }
    attacker.owner.call("ratelimit.setOverride", check("a*b*")).await.expect(400);
    let long = "a".repeat(500);
    let batches = (0..8).map(|_| json!((0..PER_REQUEST).map(|_| check(&long)).collect::<Vec<_>>()));
    flood(&attacker.owner, "ratelimit.multiLimit", batches).await;
    victim.is_granted_all().await;
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[tokio::test]
async fn an_import_of_one_tenant_leaves_the_victims_turn_alone() {
    let (server, mut victim, attacker) = scene().await;
    let line = ["migration", "create", "--algorithm", "sha256", "--workspace", &attacker.id];
    let made = server.program().command(&line).output().expect("it runs");
    let migration = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    let api = attacker.owner.call("apis.createApi", json!({"name": "attack"})).await.expect(200).text_of("apiId");
    let keys: Vec<Value> = (0..2_000).map(|n| json!({"hash": format!("{n:064x}")})).collect();
    let body = json!({"apiId": api, "migrationId": migration, "keys": keys});
    let importing = tokio::spawn(async move { attacker.owner.call("keys.migrateKeys", body).await });
    let mut turns = 0;
    while !importing.is_finished() {
        victim.is_granted_all().await;
        turns += 1;
    }
    let answer = importing.await.expect("no panic");
    // On a machine that does nothing else it is done in time; on another it goes on without an answer.
    assert!([200, 408].contains(&answer.status), "{}", answer.text);
    // Paid verifications and changes: without turns the first of them waits for the whole import.
    assert!(turns >= 3, "{turns}");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[tokio::test]
async fn nothing_of_an_attack_is_in_the_victims_audit_log_and_the_chain_is_whole() {
    let (server, mut victim, attacker) = scene().await;
    let before = entries(&victim.workspace.owner).await;
    let agent = "A".repeat(60_000);
    let slugs: Vec<String> = (0..200).map(|n| format!("slug.{n}")).collect();
    let api = attacker.owner.call("apis.createApi", json!({"name": "attack"})).await.expect(200).text_of("apiId");
    let body = json!({"apiId": api, "permissions": slugs});
    // Larger heads than the server reads are refused; smaller ones are written in part.
    attacker.owner.call_with_headers("keys.createKey", body, &[("user-agent", &agent[..8000])]).await.expect(200);
    let written = attacker.owner.call("audit.listLogs", json!({"limit": 100})).await.expect(200);
    assert!(written.text.len() < 100 * 2000, "{} bytes of audit entries", written.text.len());
    let zero = victim.workspace.holder(&[]).await;
    for operation in ["audit.listLogs", "audit.getLog"] {
        let body = if operation == "audit.getLog" { json!({"logId": "log_unknown"}) } else { json!({}) };
        assert!([403, 404].contains(&zero.call(operation, body).await.status), "{operation}");
    }
    assert_eq!(entries(&victim.workspace.owner).await.len(), before.len() + 1, "the zero key's creation");
    victim.is_granted_all().await;
    let verified = server.program().command(&["audit", "verify"]).output().expect("it runs");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

async fn entries(client: &Client) -> Vec<Value> {
    let logs = client.call("audit.listLogs", json!({"limit": 100})).await.expect(200);
    logs.data().as_array().expect("a list").clone()
}
