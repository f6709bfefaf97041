//! `keyrack analytics export`: a workspace's events as Parquet, read back as another tool reads them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use keyrack_test_harness::{Client, Server};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use serde_json::json;

use crate::{Done, Shell, keyrack};

/// The rows of a file: the values by the names of their columns.
fn rows(folder: &Path, table: &str) -> Vec<BTreeMap<String, Field>> {
    let path = folder.join(format!("{table}.parquet"));
    let file = File::open(&path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
    let reader = SerializedFileReader::new(file).expect("Parquet");
    let rows = reader.get_row_iter(None).expect("rows");
    let read = |row: parquet::errors::Result<parquet::record::Row>| row.expect("a row").into_columns();
    rows.map(|row| read(row).into_iter().collect()).collect()
}

fn text<'r>(row: &'r BTreeMap<String, Field>, name: &str) -> &'r str {
    match row.get(name) {
        Some(Field::Str(text)) => text,
        other => panic!("{name} is {other:?}"),
    }
}

/// Verifies a key so often, one that is not there once, and asks a limit twice: the id of the key.
async fn decide(client: &Client, times: usize) -> String {
    let api = client.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let key = client.call("keys.createKey", json!({"apiId": api})).await.expect(200);
    for _ in 0..times {
        let body = json!({"key": key.text_of("key"), "tags": ["path=/v1"]});
        client.call("keys.verifyKey", body).await.expect(200);
    }
    client.call("keys.verifyKey", json!({"key": "no_key_at_all"})).await.expect(200);
    for _ in 0..2 {
        let limit = json!({"namespace": "mail", "identifier": "ann", "limit": 1, "duration": 2_592_000_000_u64});
        client.call("ratelimit.limit", limit).await.expect(200);
    }
    // Events reach the log some moments later.
    tokio::time::sleep(Duration::from_millis(500)).await;
    key.text_of("keyId")
}

fn export(server: &Server, folder: &Path, more: &[&str]) -> Done {
    let line = ["analytics", "export", "--to", folder.to_str().expect("a path")];
    Shell::beside(server).run(&[&line[..], more].concat())
}

#[tokio::test]
async fn an_export_has_the_events_of_its_workspace_and_of_no_other_while_a_server_runs_and_after() {
    let server = keyrack().await;
    let made = server.call("workspace.createWorkspace", json!({"name": "elsewhere"})).await.expect(200);
    let (other_id, other) = (made.text_of("workspaceId"), server.with_key(&made.text_of("rootKey")));
    let overview = server.call("workspace.getOverview", json!({})).await.expect(200);
    let id = overview.data()["workspace"]["id"].as_str().expect("an id").to_owned();
    let (own_key, other_key) = (decide(&server, 3).await, decide(&other, 5).await);
    let place = tempfile::tempdir().expect("a folder");

    let several = export(&server, &place.path().join("several"), &[]).expect(2);
    assert!(several.stderr.contains(&id) && several.stderr.contains(&format!("{other_id} (elsewhere)")));
    let check = |folder: &Path, id: &str, key: &str, times: usize| {
        let verifications = rows(folder, "verifications");
        assert_eq!(verifications.len(), times);
        for row in &verifications {
            assert_eq!([text(row, "workspace_id"), text(row, "key_id"), text(row, "outcome")], [id, key, "VALID"]);
        }
        let (limits, refusals) = (rows(folder, "ratelimits"), rows(folder, "refusals"));
        let passed: Vec<&Field> = limits.iter().map(|row| &row["passed"]).collect();
        assert_eq!(passed, [&Field::Bool(true), &Field::Bool(false)]);
        assert_eq!((refusals.len(), text(&refusals[0], "reason")), (1, "UNKNOWN"));
        assert!(limits.iter().chain(&refusals).all(|row| text(row, "workspace_id") == id));
        assert!(rows(folder, "gaps").is_empty());
    };
    let folder = place.path().join("deep/own");
    let done = export(&server, &folder, &["--workspace", &id]).expect(0);
    let line = format!("{}: 3 rows, ", folder.join("verifications.parquet").display());
    assert!(done.stdout.starts_with(&line), "{done:?}");
    assert_eq!((done.stdout.lines().count(), done.stderr.as_str()), (4, ""));
    check(&folder, &id, &own_key, 3);
    assert!(export(&server, &folder, &["--workspace", &id]).expect(1).stderr.contains("nothing is overwritten"));
    check(&folder, &id, &own_key, 3);
    check_modes(&folder);

    let mut server = server;
    server.signal("TERM");
    server.wait_for_exit(Duration::from_secs(20)).await;
    let folder = place.path().join("other");
    export(&server, &folder, &["--workspace", &other_id]).expect(0);
    check(&folder, &other_id, &other_key, 5);
    let left = std::fs::read_dir(server.data_dir()).expect("a folder").filter_map(Result::ok);
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("export")), "{left:?}");
}

#[tokio::test]
async fn what_a_killed_backup_or_export_left_is_removed_by_the_next_start() {
    let server = keyrack().await;
    decide(&server, 2).await;
    let places = [".analytics-of-a-backup", ".analytics-of-an-export"].map(|name| server.data_dir().join(name));
    for place in &places {
        std::fs::create_dir_all(place.join("analytics")).expect("a folder");
        std::fs::write(place.join("analytics").join("manifest"), "half").expect("a file");
        std::fs::write(place.join("lock"), "").expect("a file");
    }
    let server = server.kill_and_restart().await;
    assert!(places.iter().all(|place| !place.exists()));
    let target = tempfile::tempdir().expect("a folder");
    export(&server, &target.path().join("all"), &[]).expect(0);
    assert_eq!(rows(&target.path().join("all"), "verifications").len(), 2);
}

#[cfg(unix)]
fn check_modes(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(folder), 0o700);
    for entry in std::fs::read_dir(folder).expect("a folder") {
        assert_eq!(mode(&entry.expect("a file").path()), 0o600);
    }
}

#[cfg(not(unix))]
fn check_modes(_: &Path) {}

#[tokio::test]
async fn days_narrow_an_export_and_the_only_workspace_needs_no_name() {
    let server = keyrack().await;
    decide(&server, 2).await;
    let place = tempfile::tempdir().expect("a folder");
    let folder = |name: &str| place.path().join(name);
    let count = |name: &str, days: &[&str]| {
        let done = export(&server, &folder(name), days).expect(0);
        (rows(&folder(name), "verifications").len(), done.stderr)
    };
    assert_eq!(count("all", &[]), (2, String::new()));
    assert_eq!(count("since", &["--from", "2026-01-01"]).0, 2);
    let (none, told) = count("before", &["--until", "2026-01-01"]);
    assert!(none == 0 && told.contains("no events of ws_"), "{told}");
    let (none, told) = count("nobody", &["--workspace", "ws_nobody"]);
    assert!(none == 0 && told.contains("no events of ws_nobody"), "{told}");
    for wrong in [&["--from", "2026-13-01"][..], &["--from", "2026-11-02", "--until", "2026-11-01"]] {
        export(&server, &folder("wrong"), wrong).expect(2);
    }
    let own = server.data_dir().join("analytics");
    assert!(export(&server, &own, &[]).expect(2).stderr.contains("name another folder"));
    let file = folder("file");
    std::fs::write(&file, "mine").expect("a file");
    assert!(export(&server, &file, &[]).expect(1).stderr.contains("file"));
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "mine");
}

#[tokio::test]
async fn without_events_it_says_where_they_would_be_and_what_makes_them() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("events");
    let to = folder.to_str().expect("a path");
    let none = Shell::alone().run(&["analytics", "export", "--to", to, "--workspace", "ws_1"]).expect(1);
    assert!(none.stderr.contains("there are no events in") && none.stderr.contains("--data-dir"), "{none:?}");
    assert!(!folder.exists());
    Shell::alone().run(&["analytics", "export"]).expect(2);
    let nowhere = Shell::alone().run(&["analytics", "export", "--to", to]).expect(1);
    assert!(nowhere.stderr.contains("there is no database"), "{nowhere:?}");
}
