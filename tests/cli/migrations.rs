//! `keyrack migration`: made offline, used by a running server.

use std::time::{Duration, Instant};

use keyrack_test_harness::{Server, sha256_base64};
use serde_json::{Value, json};

use crate::{Done, Shell, keyrack, text};

#[tokio::test]
async fn a_migration_made_offline_is_known_to_a_running_server() {
    let server = keyrack().await;
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
    let server = keyrack().await;
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
    // A folder that no server has is a slip, and no place for a database.
    for line in [&["migration", "list"][..], &["migration", "create", "--algorithm", "sha256"]] {
        let refused = shell.run(line).expect(1);
        assert!(refused.stderr.contains("there is no database") && refused.stderr.contains("--data-dir"));
    }
    shell.run(&["root-key", "create"]).expect(0);
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
    shell.run(&["root-key", "create"]).expect(0);
    let refused = shell.run(&["migration", "create", "--algorithm", "md5"]).expect(2);
    assert!(refused.stderr.contains("sha256"), "{refused:?}");
    shell.run(&["migration", "create"]).expect(2);
    let line = ["migration", "create", "--algorithm", "sha256", "--workspace", "ws_unknown"];
    let refused = shell.run(&line).expect(2);
    assert!(refused.stderr.contains("ws_unknown") && refused.stdout.is_empty(), "{refused:?}");
}

/// A migration, an API and a folder for the files of an import.
struct Scene {
    server: Server,
    shell: Shell,
    migration: String,
    api: String,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Scene {
        let server = keyrack().await;
        let shell = Shell::beside(&server);
        let migration = shell.run(&["migration", "create", "--algorithm", "sha256"]).expect(0).stdout;
        let api = text(&shell.data(&["apis", "create-api", "--name", "payments"]), "apiId");
        let folder = tempfile::tempdir().expect("a folder");
        Scene { server, shell, migration: migration.trim().to_owned(), api, folder }
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path.to_str().expect("text").to_owned()
    }

    fn import(&self, file: &str, flags: &[&str]) -> Done {
        let line = ["migration", "import", file, "--migration", &self.migration, "--api", &self.api];
        self.shell.run(&[&line[..], flags].concat())
    }

    fn code(&self, key: &str) -> Value {
        self.shell.data_with_stdin(&["keys", "verify-key"], key)["code"].clone()
    }

    fn report(&self, file: &str) -> Vec<Value> {
        let report = std::fs::read_to_string(format!("{file}.report.jsonl")).expect("a report");
        report.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

#[tokio::test]
async fn both_kinds_of_files_are_imported_and_rows_that_are_wrong_are_reported() {
    let scene = Scene::new().await;
    let [one, two, three] = ["one", "two", "three"].map(sha256_base64);
    let csv = scene.file(
        "keys.csv",
        &format!(
            "hash,externalId,permissions,remaining\n{one},ada,docs.read|docs.write,5\nnonsense,,,\n{two},,,many\n"
        ),
    );
    let done = scene.import(&csv, &["--dry-run"]).expect(1);
    assert!(done.stderr.contains("1 rows are right, 2 are not") && done.stderr.contains("line 3"), "{done:?}");
    assert_eq!(scene.code("one"), "NOT_FOUND", "a dry run sends nothing");
    let done = scene.import(&csv, &[]).expect(1);
    assert!(done.stderr.contains("1 imported, 0 known already, 2 left out"), "{done:?}");
    let lines: Vec<Value> = scene.report(&csv).iter().map(|row| row["line"].clone()).collect();
    assert_eq!((scene.code("one"), lines), (json!("VALID"), vec![json!(3), json!(4)]));
    let json_lines = scene.file("keys.jsonl", &format!("{{\"hash\":\"{three}\",\"name\":\"Third\"}}\n\n{{\n"));
    scene.import(&json_lines, &[]).expect(1);
    assert_eq!(scene.code("three"), "VALID");
    let again = scene.import(&csv, &[]).expect(1);
    assert!(again.stderr.contains("0 imported, 1 known already, 2 left out"), "{again:?}");
}

/// Names that a JSON library keeps for itself are names here, however often one lies in another.
#[tokio::test]
async fn what_a_row_holds_is_imported_as_the_file_has_it() {
    const NAME: &str = "$serde_json::private::RawValue";
    let scene = Scene::new().await;
    let obeyed = json!({NAME: "{\"a\":1}"});
    let deep = (0..17).fold(json!({"a": 1}).to_string(), |inner, _| json!({NAME: inner}).to_string());
    let row = |key: &str, meta: &str| format!("{{\"hash\":\"{}\",\"meta\":{meta}}}\n", sha256_base64(key));
    let rows = row("one", &obeyed.to_string()) + &row("two", &deep) + &row("three", "{\"a\":[[[1]]]}");
    let done = scene.import(&scene.file("keys.jsonl", &rows), &[]);
    assert!(!done.stderr.contains("overflow") && done.stderr.contains("left out"), "{done:?}");
    let csv = format!("hash,meta\n{},\"{}\"\n", sha256_base64("four"), obeyed.to_string().replace('"', "\"\""));
    scene.import(&scene.file("keys.csv", &csv), &[]).expect(0);
    for key in ["one", "four"] {
        let verdict = scene.server.call("keys.verifyKey", json!({"key": key})).await.expect(200);
        // As text: what reads it here may obey the name too.
        assert!(verdict.text.contains(&obeyed.to_string()), "{}", verdict.text);
    }
    assert_eq!(scene.code("three"), "VALID");
}

#[tokio::test]
async fn an_import_that_was_cut_off_goes_on_where_it_stopped() {
    let scene = Scene::new().await;
    let rows: Vec<String> =
        (0..2_500).map(|at| format!("{{\"hash\":\"{}\"}}\n", sha256_base64(&format!("key {at}")))).collect();
    let file = scene.file("keys.jsonl", &rows.concat());
    let size = rows.concat().len();
    // What a run leaves that was stopped after its first portion.
    let first = scene.file("first.jsonl", &rows[..1_000].concat());
    scene.import(&first, &[]).expect(0);
    let noted = json!({"of": [scene.migration, scene.api, size], "line": 1_000, "imported": 1_000, "known": 0, "failed": 0});
    std::fs::write(format!("{file}.progress"), noted.to_string()).expect("a file");
    let done = scene.import(&file, &[]).expect(0);
    assert!(done.stderr.contains("going on after line 1000"), "{done:?}");
    assert!(done.stderr.contains("2500 imported, 0 known already"), "{done:?}");
    assert_eq!((scene.code("key 999"), scene.code("key 2499")), (json!("VALID"), json!("VALID")));
    let anew = scene.import(&file, &["--restart"]).expect(0);
    assert!(anew.stderr.contains("0 imported, 2500 known already"), "{anew:?}");
    let Scene { server, shell, migration, api, folder: _folder } = scene;
    drop(server);
    let line = ["migration", "import", &file, "--migration", &migration, "--api", &api, "--restart"];
    shell.run(&line).expect(1);
}

#[test]
fn files_of_another_kind_and_unknown_columns_are_misuse() {
    let shell = Shell::alone();
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content, what) in
        [("keys.txt", "", ".csv"), ("keys.csv", "hash,nmae\n", "nmae"), ("names.csv", "name\n", "hash")]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        let path = path.to_str().expect("text");
        let done = shell.run(&["migration", "import", path, "--migration", "mig_x", "--api", "api_x"]).expect(2);
        assert!(done.stderr.contains(what), "{done:?}");
    }
}
