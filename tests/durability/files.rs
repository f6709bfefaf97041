//! Files under a running program and before a start: none is emptied or led elsewhere, and what would be lost is
//! not acknowledged.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use keyrack_test_harness::{Answer, Program, Server, ended};
use serde_json::json;

use crate::program;

fn beside(path: &Path, ending: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[tokio::test]
async fn a_database_whose_path_ends_in_lock_keeps_what_is_in_it() {
    let program = program();
    let path = program.data_dir().join("keyrack.lock");
    let program = program.env("KEYRACK_DATABASE_URL", &format!("sqlite://{}", path.display()));
    let mut server = program.start().await;
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    server.signal("TERM");
    server.wait_for_exit(Duration::from_secs(30)).await;
    assert!(fs::metadata(&path).expect("the database").len() > 0);
    let server = program.start().await;
    server.call("apis.getApi", json!({"apiId": api})).await.expect(200);
}

#[tokio::test]
async fn every_file_of_the_data_folder_is_for_its_owner_alone() {
    let server = program().start().await;
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let key = server.call("keys.createKey", json!({"apiId": api})).await.expect(200).text_of("key");
    server.call("keys.verifyKey", json!({"key": key})).await.expect(200);
    let program = server.program().clone();
    let (mut server, mut looked_at) = (server, 0);
    server.signal("TERM");
    server.wait_for_exit(Duration::from_secs(30)).await;
    let mut folders = vec![program.data_dir()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let mode = entry.metadata().expect("it is there").permissions().mode() & 0o777;
            assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", entry.path().display());
            looked_at += 1;
            if entry.path().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    assert!(looked_at >= 6, "only {looked_at} files were found");
}

#[tokio::test]
async fn a_lock_file_that_is_a_link_stops_the_start_and_what_it_leads_to_stays() {
    let program = program();
    fs::create_dir_all(program.data_dir()).expect("a folder");
    let victim = program.data_dir().join("victim");
    fs::write(&victim, "kept").expect("a file");
    for ending in [".lock", ".in-use"] {
        let lock = beside(&program.data_dir().join("keyrack.db"), ending);
        symlink(&victim, &lock).expect("a link");
        let told = program.start_refused().await;
        assert!(told.contains(&format!("keyrack.db{ending}")), "{told}");
        fs::remove_file(&lock).expect("the link");
    }
    assert_eq!(fs::read_to_string(&victim).expect("the file"), "kept");
}

#[tokio::test]
async fn a_start_that_waits_for_a_lock_says_which() {
    let program = program();
    fs::create_dir_all(program.data_dir()).expect("a folder");
    let lock = beside(&program.data_dir().join("keyrack.db"), ".lock");
    let held = fs::File::create(&lock).expect("a file");
    held.lock_shared().expect("it is free");
    let starting = tokio::spawn({
        let program = program.clone();
        async move { program.start().await }
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    held.unlock().expect("it was held");
    let server = starting.await.expect("it starts");
    assert!(server.log().contains("waiting for another process") && server.log().contains("keyrack.db.lock"));
}

/// A server with a key that has credits: the server, the key and what a creation of keys asks for.
async fn scene() -> (Server, String, String) {
    let server = program().start().await;
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let body = json!({"apiId": api, "credits": {"remaining": 9}});
    let key = server.call("keys.createKey", body).await.expect(200).text_of("key");
    server.call("keys.verifyKey", json!({"key": key})).await.expect(200);
    (server, api, key)
}

async fn writes(server: &Server, api: &str, key: &str) -> [Answer; 2] {
    [
        server.call("keys.verifyKey", json!({"key": key})).await,
        server.call("keys.createKey", json!({"apiId": api})).await,
    ]
}

async fn expect_refusals(server: &Server, api: &str, key: &str) {
    for refused in writes(server, api, key).await {
        let refused = refused.expect_error(503, "unkey/application/service_unavailable");
        assert!(refused.detail().contains("nothing was changed"), "{}", refused.text);
        assert!(!refused.text.contains("keyrack.db"), "the path is nobody's business: {}", refused.text);
    }
    expect_readiness(server, 503).await;
}

/// Readiness looks at the file now and then.
async fn expect_readiness(server: &Server, status: u16) {
    let asked = Instant::now();
    loop {
        let answer = server.get("/readyz").await;
        if answer.status == status {
            let says_so = answer.text.contains("database_file_moved");
            assert_eq!(says_so, status == 503, "{}", answer.text);
            return;
        }
        assert!(asked.elapsed() < Duration::from_secs(10), "{}", answer.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_into_a_database_file_that_was_removed() {
    let (server, api, key) = scene().await;
    let file = server.data_dir().join("keyrack.db");
    let away = server.data_dir().join("moved-away.db");
    fs::rename(&file, &away).expect("it can be moved");
    expect_refusals(&server, &api, &key).await;
    expect_refusals(&server, &api, &key).await;
    let said = server.log().lines().filter(|line| line.contains("Nothing is written until")).count();
    assert_eq!(said, 1, "{}", server.log());
    fs::rename(&away, &file).expect("it can be moved back");
    for done in writes(&server, &api, &key).await {
        done.expect(200);
    }
    expect_readiness(&server, 200).await;
}

#[tokio::test]
async fn nor_into_one_that_another_file_took_the_place_of() {
    let (server, api, key) = scene().await;
    let file = server.data_dir().join("keyrack.db");
    let copy = server.data_dir().join("copy.db");
    fs::copy(&file, &copy).expect("it can be copied");
    fs::rename(&copy, &file).expect("it can be replaced");
    expect_refusals(&server, &api, &key).await;
    assert!(server.log().contains("is another one than was opened"), "{}", server.log());
}

async fn refuses_to_begin_anew(program: Program, program_elsewhere: Program) {
    let [program, program_elsewhere] =
        [program, program_elsewhere].map(|program| program.without_env("KEYRACK_BOOTSTRAP_ROOT_KEY"));
    let mut server = program.start().await;
    server.signal("TERM");
    server.wait_for_exit(Duration::from_secs(30)).await;
    let root_key = program.data_dir().join("root-key");
    let before = fs::read_to_string(&root_key).expect("a root key");
    let told = program_elsewhere.start_refused().await;
    for part in ["there is no database", "root-key", "keyrack restore"] {
        assert!(told.contains(part), "no {part:?} in {told}");
    }
    assert_eq!(fs::read_to_string(&root_key).expect("a root key"), before);
    let done = ended(&mut program_elsewhere.command(&["root-key", "create"]));
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    fs::rename(&root_key, program.data_dir().join("old-root-key")).expect("it can be moved away");
    program_elsewhere.start().await;
}

#[tokio::test]
async fn a_first_start_beside_the_root_key_of_a_lost_database_stops_on_sqlite() {
    let program = program();
    let elsewhere = format!("sqlite://{}", program.data_dir().join("nothing.db").display());
    refuses_to_begin_anew(program.clone(), program.env("KEYRACK_DATABASE_URL", &elsewhere)).await;
}

#[tokio::test]
async fn a_first_start_beside_the_root_key_of_a_lost_database_stops_on_postgres() {
    let program = program().on_postgres().await;
    refuses_to_begin_anew(program.clone(), program.on_postgres().await).await;
}
