//! `keyrack migration`: made offline, used by a running server.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{Shell, program, text};

#[tokio::test]
async fn a_migration_made_offline_is_known_to_a_running_server() {
    let server = program().start().await;
    let shell = Shell::beside(&server);
    let made = shell.run(&["migration", "create", "--algorithm", "sha256"]).expect(0);
    let migration = made.stdout.trim();
    assert!(migration.starts_with("mig_") && made.stdout.lines().count() == 1, "{made:?}");
    let api = text(&shell.data(&["apis", "create-api", "--name", "payments"]), "apiId");
    let keys = r#"[{"hash":"ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="}]"#;
    let line = ["keys", "migrate-keys", "--migration-id", migration, "--api-id", &api, "--keys-json", keys]
        .map(str::to_owned);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    assert_eq!(shell.data(&line)["failed"], json!([]));
    assert_eq!(shell.data_with_stdin(&["keys", "verify-key"], "abc")["code"], "VALID");
}

#[tokio::test]
async fn a_server_that_imported_nothing_itself_knows_a_migration_within_a_second() {
    let server = program().start().await;
    let shell = Shell::beside(&server);
    let line = ["migration", "create", "--algorithm", "github.com/seamapi/prefixed-api-key"];
    let made = shell.run(&line).expect(0);
    let made_at = Instant::now();
    // Only a server that knows the migration can say that the key has not its form.
    let body = json!({"key": "noparts", "migrationId": made.stdout.trim()});
    while server.call("keys.verifyKey", body.clone()).await.status != 400 {
        assert!(made_at.elapsed() < Duration::from_secs(1), "not known yet");
    }
}

#[test]
fn the_list_shows_them_oldest_first() {
    let shell = Shell::alone();
    let empty = shell.run(&["migration", "list"]).expect(0);
    assert_eq!(empty.stdout, "");
    assert!(empty.stderr.contains("keyrack migration create"), "{empty:?}");
    let algorithms = ["sha256", "github.com/seamapi/prefixed-api-key", "sha256"];
    let ids = algorithms.map(|algorithm| {
        let made = shell.run(&["migration", "create", "--algorithm", algorithm]).expect(0);
        made.stdout.trim().to_owned()
    });
    let listed = shell.run(&["migration", "list"]).expect(0).stdout;
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 3, "{listed}");
    for ((line, id), algorithm) in lines.iter().zip(&ids).zip(algorithms) {
        assert_eq!((line[0], line[2]), (id.as_str(), algorithm), "{listed}");
        assert!(line[1].starts_with("ws_") && line[3].ends_with('Z'), "{listed}");
    }
}

#[test]
fn unknown_algorithms_and_workspaces_are_misuse() {
    let shell = Shell::alone();
    let refused = shell.run(&["migration", "create", "--algorithm", "md5"]).expect(2);
    assert!(refused.stderr.contains("sha256"), "{refused:?}");
    shell.run(&["migration", "create"]).expect(2);
    let line = ["migration", "create", "--algorithm", "sha256", "--workspace", "ws_unknown"];
    let refused = shell.run(&line).expect(2);
    assert!(refused.stderr.contains("ws_unknown") && refused.stdout.is_empty(), "{refused:?}");
}
