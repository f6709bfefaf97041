//! Chance against what lies in the data folder: rows of the database, the counts of rate limits, the settings file.
//! Whatever is damaged, the program starts or says what it cannot read, and what was not damaged works on.

use std::path::PathBuf;

use keyrack_test_harness::fuzz::{Chance, rounds};
use keyrack_test_harness::{Answer, Server};
use serde_json::json;
use sqlx::{Connection as _, Row as _, SqliteConnection};

use crate::program;

/// Tables of which one row may be damaged without an end to all work.
const TABLES: [&str; 7] =
    ["identities", "keys", "credits", "ratelimits", "permissions", "roles", "key_permissions"];

/// Two customers with all that can belong to a key; the second one is there to be left alone.
async fn scene(server: &Server) -> Vec<String> {
    let mut keys = Vec::new();
    for name in ["first", "second"] {
        let api = server.call("apis.createApi", json!({"name": name})).await.expect(200).text_of("apiId");
        let limits = json!([{"name": "all", "limit": 100, "duration": 60_000, "autoApply": true}]);
        let meta = json!({"plan": name});
        let identity = json!({"externalId": name, "meta": meta, "ratelimits": limits});
        server.call("identities.createIdentity", identity).await.expect(200);
        server.call("permissions.createRole", json!({"name": name})).await.expect(200);
        let key = json!({
            "apiId": api, "externalId": name, "meta": meta, "permissions": [format!("{name}.read")],
            "roles": [name], "credits": {"remaining": 1000}, "ratelimits": limits,
        });
        keys.push(server.call("keys.createKey", key).await.expect(200).text_of("key"));
        let rule = json!({"namespace": name, "identifier": "a*", "limit": 5, "duration": 60_000});
        let limit = json!({"namespace": name, "identifier": "a", "limit": 5, "duration": 60_000});
        server.call("ratelimit.limit", limit).await.expect(200);
        server.call("ratelimit.setOverride", rule).await.expect(200);
    }
    keys
}

fn file_of(server: &Server) -> PathBuf {
    server.data_dir().join("keyrack.db")
}

/// Overwrites a cell of the first row of a table with something else; what the database itself refuses is no
/// damage. Says what was done.
async fn damage_a_cell(chance: &mut Chance, server: &Server) -> String {
    let url = format!("sqlite://{}", file_of(server).display());
    let mut database = SqliteConnection::connect(&url).await.expect("the database can be opened");
    let table = *chance.one(&TABLES);
    let columns = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT name FROM pragma_table_info('{table}')")));
    let columns = columns.fetch_all(&mut database).await.expect("the table is there");
    let column: String = columns[chance.below(columns.len())].get(0);
    let value =
        *chance.one(&["NULL", "''", "'x'", "-1", "0", "9223372036854775807", "1.5", "x'ff00fe'", "','", "'{'"]);
    let text = format!("UPDATE {table} SET {column} = {value} WHERE rowid = (SELECT MIN(rowid) FROM {table})");
    let done = sqlx::query(sqlx::AssertSqlSafe(text.clone())).execute(&mut database).await;
    database.close().await.expect("it closes");
    format!("{text}: {}", if done.is_ok() { "done" } else { "refused" })
}

fn code(answer: &Answer) -> String {
    answer.clone().expect(200).data()["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_damaged_row_costs_what_it_describes_and_nothing_else() {
    for mut chance in rounds("stored rows") {
        let mut server = program().start().await;
        let keys = scene(&server).await;
        server.kill();
        let mut damage = Vec::new();
        for _ in 0..=chance.below(3) {
            damage.push(damage_a_cell(&mut chance, &server).await);
        }
        let mut server = server.program().start().await;
        let verified = |key: &str| server.call("keys.verifyKey", json!({ "key": key }));
        let first = verified(&keys[0]).await;
        assert!(first.status == 200 || first.status == 503 || first.status == 500, "{damage:?}: {}", first.text);
        let second = verified(&keys[1]).await;
        assert_eq!(code(&second), "VALID", "{damage:?}: {}\n{}", second.text, server.log());
        for operation in ["apis.listApis", "identities.listIdentities", "ratelimit.listNamespaces"] {
            server.call(operation, json!({})).await;
        }
        assert!(server.is_running(), "{damage:?}: {}", server.log());
        assert!(!server.log().contains("panicked"), "{damage:?}: {}", server.log());
    }
}

#[tokio::test]
async fn damaged_counts_of_rate_limits_stop_no_start() {
    let program = program();
    let mut server = program.start().await;
    let limit = json!({"namespace": "mail", "identifier": "a", "limit": 10, "duration": 2_592_000_000_u64});
    server.call("ratelimit.limit", limit.clone()).await.expect(200);
    server.signal("TERM");
    assert!(server.wait_for_exit(std::time::Duration::from_secs(40)).await.success());
    let file = server.data_dir().join("ratelimit-counters");
    let whole = std::fs::read(&file).expect("the counts are there");
    for mut chance in rounds("counters file") {
        let mut bytes = whole.clone();
        chance.damage(&mut bytes);
        std::fs::write(&file, &bytes).expect("it can be written");
        let server = program.start().await;
        server.call("ratelimit.limit", limit.clone()).await.expect(200);
        assert!(!server.log().contains("panicked"), "{}", server.log());
    }
}

#[tokio::test]
async fn a_damaged_settings_file_is_read_or_refused_with_its_name() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("keyrack.toml");
    let whole = "listen = '127.0.0.1:9001'\ndrain_seconds = 7\nlog = \"info\"\nmcp_calls_per_minute = 0\n";
    let program = program().env("KEYRACK_CONFIG", &file.display().to_string());
    for mut chance in rounds("settings file") {
        let mut bytes = whole.as_bytes().to_vec();
        chance.damage(&mut bytes);
        std::fs::write(&file, &bytes).expect("it can be written");
        // It reads its settings and then finds that there is no server.
        let done = program.command(&["api", "apis", "list-apis"]).output().expect("it can be run");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(
            matches!(done.status.code(), Some(1..=9)),
            "{:?}: {}: {said}",
            String::from_utf8_lossy(&bytes),
            done.status
        );
        assert!(!said.contains("panicked"), "{:?}: {said}", String::from_utf8_lossy(&bytes));
    }
}
