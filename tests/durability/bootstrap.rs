//! Root keys that come from outside: `KEYRACK_BOOTSTRAP_ROOT_KEY` and `keyrack root-key create`.

use keyrack_test_harness::{Client, ROOT_KEY, ended};
use serde_json::{Value, json};

use crate::program;

const SECOND: &str = "another-bootstrap-root-key-0123456789abcdef";

async fn overview(client: &Client) -> Value {
    client.call("workspace.getOverview", json!({})).await.expect(200).data().clone()
}

async fn refused(client: &Client) {
    let answer = client.call("workspace.getOverview", json!({})).await;
    answer.expect_error(401, "unkey/authentication/key_not_found");
}

#[tokio::test]
async fn the_bootstrap_key_has_full_access_and_is_operator() {
    let server = program().start().await;
    let root_key = overview(&server).await["rootKey"].clone();
    assert_eq!((&root_key["permissions"], &root_key["operator"]), (&json!(["*"]), &json!(true)));
    assert!(!server.log().contains(ROOT_KEY), "{}", server.log());
}

#[tokio::test]
async fn the_same_value_is_the_same_key_after_a_restart() {
    let server = program().start().await;
    let before = overview(&server).await;
    let server = server.kill_and_restart().await;
    assert_eq!(overview(&server).await, before);
}

#[tokio::test]
async fn a_changed_value_retires_the_previous_one_for_good() {
    let first = program();
    drop(first.start().await);
    let changed = first.clone().env("KEYRACK_BOOTSTRAP_ROOT_KEY", SECOND);
    let server = changed.start().await;
    refused(&server.with_key(ROOT_KEY)).await;
    assert_eq!(overview(&server.with_key(SECOND)).await["rootKey"]["operator"], true);
    drop(server);
    let without = changed.without_env("KEYRACK_BOOTSTRAP_ROOT_KEY").start().await;
    refused(&without.with_key(ROOT_KEY)).await;
}

#[tokio::test]
async fn a_value_may_come_from_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("bootstrap-key");
    std::fs::write(&path, format!("{SECOND}\n")).expect("written");
    let server = program()
        .without_env("KEYRACK_BOOTSTRAP_ROOT_KEY")
        .env("KEYRACK_BOOTSTRAP_ROOT_KEY_FILE", &path.display().to_string())
        .start()
        .await;
    assert_eq!(overview(&server.with_key(SECOND)).await["rootKey"]["permissions"], json!(["*"]));
}

#[tokio::test]
async fn a_value_that_is_too_short_stops_the_start_with_a_clear_message() {
    let stderr =
        program().env("KEYRACK_BOOTSTRAP_ROOT_KEY", "only-thirty-one-characters-long").start_refused().await;
    assert!(stderr.contains("bootstrap root key") && stderr.contains("32"), "{stderr}");
    assert!(!stderr.contains("only-thirty-one"), "the value is shown: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[tokio::test]
async fn a_value_that_belongs_to_another_key_stops_the_start() {
    let first = program();
    let server = first.start().await;
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let body = json!({"apiId": api, "byteLength": 32});
    let taken = server.call("keys.createKey", body).await.expect(200).text_of("key");
    drop(server);
    let stderr = first.env("KEYRACK_BOOTSTRAP_ROOT_KEY", &taken).start_refused().await;
    assert!(stderr.contains("bootstrap root key"), "{stderr}");
    assert!(!stderr.contains(&taken), "the value is shown: {stderr}");
}

#[tokio::test]
async fn the_root_key_file_is_written_once() {
    let server = program().without_env("KEYRACK_BOOTSTRAP_ROOT_KEY").start().await;
    let path = server.data_dir().join("root-key");
    let before = std::fs::read_to_string(&path).expect("the first start writes it");
    let server = server.kill_and_restart().await;
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), before);
    assert_eq!(overview(&server.with_key(before.trim())).await["rootKey"]["operator"], true);
}

#[tokio::test]
async fn no_root_key_is_written_or_made_beside_a_bootstrap_key() {
    let server = program().start().await;
    assert!(!server.data_dir().join("root-key").exists());
    let root_keys = server.call("rootKeys.listKeys", json!({})).await.expect(200);
    let names: Vec<&Value> = root_keys.data().as_array().expect("a list").iter().map(|key| &key["name"]).collect();
    assert_eq!(names, ["bootstrap"]);
    // A start without the setting is no first start, and the key stays.
    let server = server.program().clone().without_env("KEYRACK_BOOTSTRAP_ROOT_KEY").start().await;
    assert!(!server.data_dir().join("root-key").exists());
    assert_eq!(overview(&server.with_key(ROOT_KEY)).await["rootKey"]["operator"], true);
}

#[tokio::test]
async fn another_root_key_can_be_made_without_the_network() {
    let server = program().start().await;
    let output = ended(&mut server.program().command(&["root-key", "create"]));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    let key = stdout.split_whitespace().find(|word| word.starts_with("keyrack_")).expect("the key on stdout");
    let client = server.with_key(key);
    let started = std::time::Instant::now();
    while client.call("workspace.getOverview", json!({})).await.status != 200 {
        assert!(started.elapsed().as_millis() < 1500, "the running server does not know the key");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(overview(&client).await["rootKey"]["permissions"], json!(["*"]));
}
