//! `keyrack audit verify`: whether the audit log is what was written.

use std::time::Duration;

use keyrack_test_harness::Server;
use serde_json::json;
use sqlx::Connection as _;

use crate::{Shell, program};

/// Changes the database behind the back of the program.
async fn tamper(server: &Server, statement: &'static str) {
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", server.data_dir().join("keyrack.db").display());
    let mut connection = sqlx::AnyConnection::connect(&url).await.expect("the database can be opened");
    sqlx::query("PRAGMA foreign_keys = OFF").execute(&mut connection).await.expect("whatever refers to it");
    sqlx::query(statement).execute(&mut connection).await.expect("it can be changed");
}

/// The hashes of newest entries that a text shows, as `--expect` takes them.
fn heads(text: &str) -> Vec<String> {
    let is_head = |word: &&str| word.starts_with("ws_") && word.split(':').count() == 3;
    let words = text.split(|letter: char| letter.is_whitespace() || "\"=\u{1b}".contains(letter));
    words.filter(is_head).map(str::to_owned).collect()
}

async fn with_entries() -> Server {
    let server = program().start().await;
    for _ in 0..4 {
        server.call("apis.createApi", json!({ "name": "payments" })).await.expect(200);
    }
    server
}

#[tokio::test]
async fn an_untouched_log_is_whole_beside_a_running_server() {
    let server = with_entries().await;
    server.call("workspace.createWorkspace", json!({ "name": "Acme" })).await.expect(200);
    let done = Shell::beside(&server).run(&["audit", "verify"]).expect(0);
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{done:?}");
    assert!(lines.iter().all(|line| line.contains(": whole, entries 1 to ")), "{done:?}");
    let workspace = lines[0].split(':').next().expect("an id");
    let one = Shell::beside(&server).run(&["audit", "verify", "--workspace", workspace]).expect(0);
    assert_eq!(one.stdout.trim_end(), lines[0]);
}

#[tokio::test]
async fn a_changed_entry_is_named() {
    let server = with_entries().await;
    tamper(&server, "UPDATE audit_logs SET event = 'api.delete' WHERE sequence = 4").await;
    let done = Shell::beside(&server).run(&["audit", "verify"]).expect(1);
    assert!(done.stdout.contains("BROKEN at entry 4 (log_"), "{done:?}");
}

#[tokio::test]
async fn a_missing_entry_is_named_by_the_one_after_it() {
    let server = with_entries().await;
    tamper(&server, "DELETE FROM audit_logs WHERE sequence = 3").await;
    let done = Shell::beside(&server).run(&["audit", "verify"]).expect(1);
    assert!(done.stdout.contains("BROKEN at entry 4"), "{done:?}");
}

#[tokio::test]
async fn a_setting_of_retention_explains_no_missing_beginning() {
    let server = with_entries().await;
    let overview = server.call("workspace.getOverview", json!({})).await.expect(200);
    let workspace = overview.data()["workspace"]["id"].as_str().expect("an id");
    let body = json!({ "workspaceId": workspace, "auditRetentionDays": 1 });
    server.call("workspace.updateWorkspace", body).await.expect(200);
    Shell::beside(&server).run(&["audit", "verify"]).expect(0);
    tamper(&server, "DELETE FROM audit_logs WHERE sequence < 3").await;
    let done = Shell::beside(&server).run(&["audit", "verify"]).expect(1);
    assert!(done.stdout.contains("BROKEN at entry 3 (log_"), "{done:?}");
    assert!(done.stdout.contains("it should be the first"), "{done:?}");
}

#[tokio::test]
async fn a_log_that_retention_cut_is_whole_from_its_anchor_on() {
    let server = with_entries().await;
    // What retention does, one half after the other.
    tamper(
        &server,
        "INSERT INTO audit_anchors SELECT workspace_id, sequence, hash FROM audit_logs WHERE sequence = 2",
    )
    .await;
    let left = Shell::beside(&server).run(&["audit", "verify"]).expect(1);
    assert!(left.stdout.contains("BROKEN at entry 1 (log_"), "{left:?}");
    assert!(left.stdout.contains("the chain's anchor says that retention removed it"), "{left:?}");
    tamper(&server, "DELETE FROM audit_logs WHERE sequence <= 2").await;
    let done = Shell::beside(&server).run(&["audit", "verify"]).expect(0);
    assert!(done.stdout.contains(": whole, entries 3 to "), "{done:?}");
    assert!(done.stdout.contains(", 1 to 2 removed by retention; head "), "{done:?}");
}

#[test]
fn there_must_be_a_log_to_check() {
    let done = Shell::alone().run(&["audit", "verify"]).expect(1);
    assert!(done.stderr.contains("no database"), "{done:?}");
    Shell::alone().run(&["audit", "verify", "--workspace", "ws_unknown"]).expect(1);
}

#[tokio::test]
async fn what_is_gone_altogether_is_missed() {
    for (statement, reason) in [
        ("DELETE FROM workspaces", "the workspace itself is gone"),
        ("DELETE FROM audit_logs", "entries were written up to 6, and are gone from here on"),
        ("DELETE FROM audit_logs WHERE sequence > 4", "entries were written up to 6, and are gone from here on"),
    ] {
        let server = with_entries().await;
        tamper(&server, statement).await;
        let done = Shell::beside(&server).run(&["audit", "verify"]).expect(1);
        assert!(done.stdout.contains("BROKEN") && done.stdout.contains(reason), "{statement}: {done:?}");
    }
    let server = with_entries().await;
    for table in ["workspaces", "audit_logs", "audit_heads"] {
        let statement: &'static str = format!("DELETE FROM {table}").leak();
        tamper(&server, statement).await;
    }
    let done = Shell::beside(&server).run(&["audit", "verify"]).expect(1);
    assert!(done.stdout.contains("neither a workspace nor an entry"), "{done:?}");
}

#[tokio::test]
async fn a_hash_that_was_kept_is_compared() {
    let server = with_entries().await;
    let done = Shell::beside(&server).run(&["audit", "verify"]).expect(0);
    let head = heads(&done.stdout).remove(0);
    server.call("apis.createApi", json!({ "name": "payments" })).await.expect(200);
    Shell::beside(&server).run(&["audit", "verify", "--expect", &head, "--expect", &head]).expect(0);
    let (place, hash) = head.rsplit_once(':').expect("three parts");
    let other = format!("{place}:{}", hash.chars().rev().collect::<String>());
    let done = Shell::beside(&server).run(&["audit", "verify", "--expect", &other]).expect(1);
    assert!(done.stdout.contains("its hash is not the one that was kept"), "{done:?}");
    let elsewhere = format!("ws_unknown:3:{hash}");
    let done = Shell::beside(&server).run(&["audit", "verify", "--expect", &elsewhere]).expect(1);
    assert!(done.stdout.contains("ws_unknown: BROKEN"), "{done:?}");
    for wrong in ["x", "ws_1:0:0", "ws_1:1:abc", &format!("ws_1:-1:{hash}"), &format!(":1:{hash}")] {
        Shell::beside(&server).run(&["audit", "verify", "--expect", wrong]).expect(2);
    }
    Shell::beside(&server).run(&["audit", "verify", "--expect", &head, "--expect", &other]).expect(2);
}

#[tokio::test]
async fn the_server_writes_the_newest_hashes_to_its_log() {
    let mut server = with_entries().await;
    let at_start = heads(&server.log());
    assert_eq!(at_start.len(), 1, "{}", server.log());
    server.signal("TERM");
    server.wait_for_exit(Duration::from_secs(20)).await;
    let kept = heads(&server.log());
    assert!(kept.len() == 2 && kept[0] != kept[1], "{kept:?}");
    let arguments: Vec<&str> = kept.iter().flat_map(|head| ["--expect", head]).collect();
    Shell::beside(&server).run(&[&["audit", "verify"], &*arguments].concat()).expect(0);
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_named_and_other_logs_are_checked() {
    let server = with_entries().await;
    server.call("workspace.createWorkspace", json!({ "name": "Acme" })).await.expect(200);
    let own = server.call("workspace.getOverview", json!({})).await.expect(200);
    let own = own.data()["workspace"]["id"].as_str().expect("an id").to_owned();
    for (column, statement) in [
        ("event", "UPDATE audit_logs SET event = x'ff00fe' WHERE sequence = 4"),
        ("time", "UPDATE audit_logs SET time = 'soon' WHERE sequence = 4"),
        ("format", "UPDATE audit_logs SET format = 'x' WHERE sequence = 4"),
    ] {
        tamper(&server, statement).await;
        let done = Shell::beside(&server).run(&["audit", "verify"]).expect(1);
        assert!(done.stdout.contains("BROKEN at entry 4 (log_"), "{statement}: {done:?}");
        // One that is damaged twice is known by the first of its columns.
        let is_told =
            ["time", "event", "format"].iter().any(|one| done.stdout.contains(&format!("its {one} cannot")));
        assert!(is_told && done.stdout.contains(": whole, entries 1 to "), "{column}: {done:?}");
    }
    tamper(&server, "UPDATE audit_logs SET sequence = 'x' WHERE sequence = 4").await;
    let done = Shell::beside(&server).run(&["audit", "verify", "--workspace", &own]).expect(1);
    assert!(done.stdout.contains("BROKEN at entry"), "{done:?}");
    tamper(&server, "UPDATE audit_heads SET hash = x'ff00fe' WHERE sequence > 3").await;
    let done = Shell::beside(&server).run(&["audit", "verify"]).expect(1);
    assert!(done.stdout.contains(": whole, entries 1 to "), "the other one: {done:?}");
    tamper(&server, "DELETE FROM audit_logs WHERE typeof(sequence) = 'text' OR typeof(time) = 'text'").await;
    tamper(&server, "UPDATE audit_heads SET sequence = 'x' WHERE typeof(hash) = 'blob'").await;
    let done = Shell::beside(&server).run(&["audit", "verify"]).expect(1);
    assert!(
        done.stdout.contains(&format!("{own}: ")) && done.stdout.contains(": whole, entries 1 to "),
        "{done:?}"
    );
}
