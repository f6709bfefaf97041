//! Recoverable keys: when they are kept, who may read them, and what a change of the master key does.

use keyrack_test_harness::{Program, ROOT_KEY, Server};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

use crate::fixture::{limited_client, new_api};
use crate::program;

const FIRST: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const SECOND: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

fn with_master_key() -> Program {
    program().env("KEYRACK_MASTER_KEY", FIRST)
}

async fn api(server: &Server, stores: bool) -> String {
    let api = new_api(server).await;
    let body = json!({ "apiId": api, "storeEncryptedKeys": stores });
    server.call("apis.updateApi", body).await.expect(200);
    api
}

async fn recoverable_key(server: &Server, api: &str) -> (String, String) {
    let created = server.call("keys.createKey", json!({ "apiId": api, "recoverable": true })).await.expect(200);
    (created.text_of("keyId"), created.text_of("key"))
}

/// All that the database has on disk, its log included.
fn stored_bytes(server: &Server) -> Vec<u8> {
    let files = std::fs::read_dir(server.data_dir()).expect("the data folder can be read");
    files.filter_map(|file| std::fs::read(file.ok()?.path()).ok()).flatten().collect()
}

#[tokio::test]
async fn a_recoverable_key_is_read_back_and_the_reading_is_audited() {
    let server = with_master_key().start().await;
    let api = api(&server, true).await;
    let (key_id, key) = recoverable_key(&server, &api).await;
    let plain = server.call("keys.getKey", json!({ "keyId": key_id })).await.expect(200);
    assert_eq!(plain.data().get("plaintext"), None);
    let shown = server.call("keys.getKey", json!({ "keyId": key_id, "decrypt": true })).await.expect(200);
    assert_eq!(shown.data()["plaintext"], key);
    let other = server.call("keys.createKey", json!({ "apiId": api })).await.expect(200).text_of("keyId");
    let listed = server.call("apis.listKeys", json!({ "apiId": api, "decrypt": true })).await.expect(200);
    let plaintexts: Vec<(&Value, Option<&Value>)> =
        listed.data().as_array().unwrap().iter().map(|key| (&key["keyId"], key.get("plaintext"))).collect();
    assert!(plaintexts.contains(&(&json!(key_id), Some(&json!(key)))), "{plaintexts:?}");
    assert!(plaintexts.contains(&(&json!(other), None)), "a key without ciphertext is no error");
    let stored = stored_bytes(&server);
    let holds = |text: &str| stored.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(&key_id), "the files that were read are those of the database");
    assert!(!holds(&key));
}

#[tokio::test]
async fn without_a_master_key_or_without_the_apis_consent_nothing_is_kept() {
    let without = program().start().await;
    let api_id = api(&without, true).await;
    for (operation, body) in [
        ("keys.createKey", json!({ "apiId": api_id, "recoverable": true })),
        ("apis.listKeys", json!({ "apiId": api_id, "decrypt": true })),
    ] {
        without.call(operation, body).await.expect_error(412, "unkey/application/precondition_failed");
    }
    assert!(without.log().contains("no KEYRACK_MASTER_KEY"), "the start says what is off");

    let server = with_master_key().start().await;
    let api_id = api(&server, false).await;
    let body = json!({ "apiId": api_id, "recoverable": true });
    server.call("keys.createKey", body).await.expect_error(412, "unkey/application/precondition_failed");
}

#[tokio::test]
async fn keeping_and_reading_need_their_own_permissions() {
    let server = with_master_key().start().await;
    let api_id = api(&server, true).await;
    let (key_id, _) = recoverable_key(&server, &api_id).await;
    let creator = limited_client(&server, &["api.*.create_key"]).await;
    let body = json!({ "apiId": api_id, "recoverable": true });
    creator.call("keys.createKey", body.clone()).await.expect_error(404, "unkey/data/api_not_found");
    limited_client(&server, &["api.*.create_key", "api.*.encrypt_key"])
        .await
        .call("keys.createKey", body)
        .await
        .expect(200);
    let reader = limited_client(&server, &["api.*.read_key", "api.*.read_api"]).await;
    for (operation, body) in [
        ("keys.getKey", json!({ "keyId": key_id, "decrypt": true })),
        ("apis.listKeys", json!({ "apiId": api_id, "decrypt": true })),
    ] {
        reader.call(operation, body).await.expect_error(403, "unkey/authorization/insufficient_permissions");
    }
    let decrypter = limited_client(&server, &["api.*.read_key", "api.*.decrypt_key"]).await;
    let shown = decrypter.call("keys.getKey", json!({ "keyId": key_id, "decrypt": true })).await.expect(200);
    assert!(shown.data()["plaintext"].is_string());
}

#[tokio::test]
async fn consent_withdrawn_refuses_and_a_new_master_key_takes_over() {
    let program = with_master_key();
    let server = program.start().await;
    let api_id = api(&server, true).await;
    let (key_id, key) = recoverable_key(&server, &api_id).await;
    let asked = json!({ "keyId": key_id, "decrypt": true });
    server.call("apis.updateApi", json!({ "apiId": api_id, "storeEncryptedKeys": false })).await.expect(200);
    let refused = server.call("keys.getKey", asked.clone()).await;
    refused.expect_error(412, "unkey/application/precondition_failed");
    server.call("apis.updateApi", json!({ "apiId": api_id, "storeEncryptedKeys": true })).await.expect(200);
    drop(server);

    let changing =
        program.clone().env("KEYRACK_MASTER_KEY", SECOND).env("KEYRACK_MASTER_KEY_PREVIOUS", FIRST).start().await;
    assert_eq!(changing.call("keys.getKey", asked.clone()).await.expect(200).data()["plaintext"], key);
    drop(changing);
    let changed = program.clone().env("KEYRACK_MASTER_KEY", SECOND).start().await;
    assert_eq!(changed.call("keys.getKey", asked.clone()).await.expect(200).data()["plaintext"], key);
    drop(changed);
    let lost = program.env("KEYRACK_MASTER_KEY", FIRST).start().await;
    for (operation, body) in
        [("keys.getKey", asked), ("apis.listKeys", json!({ "apiId": api_id, "decrypt": true }))]
    {
        let refused = lost.call(operation, body).await.expect_error(503, "unkey/application/service_unavailable");
        assert!(refused.text.contains("another master key"), "{}", refused.text);
    }
    lost.call("keys.getKey", json!({ "keyId": key_id })).await.expect(200);
    let ready = lost.get("/readyz").await;
    assert!(ready.status == 200 && ready.text.contains("another master key"), "{}", ready.text);
    let body = json!({ "apiId": api_id, "recoverable": true });
    lost.call("keys.createKey", body).await.expect_error(503, "unkey/application/service_unavailable");
    assert!(lost.log().contains("KEYRACK_MASTER_KEY_PREVIOUS"), "the log says what is missing");
    assert!(!lost.log().contains(ROOT_KEY) && !lost.log().contains(FIRST));
}

#[tokio::test]
async fn rerolling_a_recoverable_key_keeps_it_recoverable_and_needs_the_permission() {
    let server = with_master_key().start().await;
    let api_id = api(&server, true).await;
    let (key_id, _) = recoverable_key(&server, &api_id).await;
    let body = json!({ "keyId": key_id, "expiration": 0 });
    let creator = limited_client(&server, &["api.*.create_key"]).await;
    let refused = creator.call("keys.rerollKey", body.clone()).await;
    refused.expect_error(403, "unkey/authorization/insufficient_permissions");
    let rerolled = server.call("keys.rerollKey", body).await.expect(200);
    let asked = json!({ "keyId": rerolled.text_of("keyId"), "decrypt": true });
    let shown = server.call("keys.getKey", asked).await.expect(200);
    assert_eq!(shown.data()["plaintext"], rerolled.data()["key"]);
}

async fn data_keys(server: &Server) -> Vec<(String, i64)> {
    let file = server.data_dir().join("keyrack.db");
    let mut database = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.expect("it opens");
    let text = "SELECT d.id, COUNT(e.key_id) FROM data_keys d LEFT JOIN encrypted_keys e ON e.data_key_id = d.id \
                GROUP BY d.id ORDER BY d.created_at, d.id";
    sqlx::query_as(text).fetch_all(&mut database).await.expect("rows")
}

#[tokio::test]
async fn after_a_change_of_the_master_key_new_plaintexts_get_a_new_data_key() {
    let program = with_master_key();
    let server = program.start().await;
    let api_id = api(&server, true).await;
    let old = [recoverable_key(&server, &api_id).await, recoverable_key(&server, &api_id).await];
    let before = data_keys(&server).await;
    assert_eq!(before.iter().map(|(_, keys)| *keys).collect::<Vec<_>>(), [2]);
    drop(server);
    let server = program.env("KEYRACK_MASTER_KEY", SECOND).env("KEYRACK_MASTER_KEY_PREVIOUS", FIRST).start().await;
    let new = [recoverable_key(&server, &api_id).await, recoverable_key(&server, &api_id).await];
    let after = data_keys(&server).await;
    assert_eq!(after.iter().map(|(_, keys)| *keys).collect::<Vec<_>>(), [2, 2], "{after:?}");
    assert_eq!(after[0], before[0]);
    for (key_id, key) in old.iter().chain(&new) {
        let shown = server.call("keys.getKey", json!({ "keyId": key_id, "decrypt": true })).await.expect(200);
        assert_eq!(shown.data()["plaintext"], *key);
    }
    let listed = server.call("apis.listKeys", json!({ "apiId": api_id, "decrypt": true })).await.expect(200);
    assert!(listed.data().as_array().unwrap().iter().all(|key| key["plaintext"].is_string()));
    // What is deleted leaves no ciphertext behind.
    server.call("keys.deleteKey", json!({ "keyId": new[0].0 })).await.expect(200);
    assert_eq!(data_keys(&server).await[1].1, 1);
    server.call("apis.deleteApi", json!({ "apiId": api_id })).await.expect(200);
    assert!(data_keys(&server).await.iter().all(|(_, keys)| *keys == 0));
}
