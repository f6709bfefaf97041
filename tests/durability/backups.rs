//! Backups taken under load, put back elsewhere; kills in the middle of both; copies between engines.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use keyrack_test_harness::{Client, Program, Server, ended};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

const BALANCE: i64 = 1_000_000;

/// The program under test with fresh data, whose first start writes a root key: a backup has that file, too.
fn program() -> Program {
    crate::program().without_env("KEYRACK_BOOTSTRAP_ROOT_KEY")
}

fn run(program: &Program, line: &[&str]) -> Output {
    ended(&mut program.command(line))
}

#[track_caller]
fn expect(done: Output, code: i32) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(code), "{text}");
    text
}

async fn stop(server: &mut Server) {
    server.signal("TERM");
    server.wait_for_exit(Duration::from_secs(30)).await;
}

/// A server under load: keys are made, credits are spent.
struct Load {
    client: Client,
    api: String,
    metered: String,
    metered_id: String,
    spent: AtomicI64,
    asked: AtomicI64,
    is_over: AtomicBool,
}

impl Load {
    async fn on(server: &Server) -> Arc<Load> {
        let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
        let body = json!({"apiId": api, "credits": {"remaining": BALANCE}});
        let made = server.call("keys.createKey", body).await.expect(200);
        Arc::new(Load {
            client: server.client(),
            api,
            metered: made.text_of("key"),
            metered_id: made.text_of("keyId"),
            spent: AtomicI64::new(0),
            asked: AtomicI64::new(0),
            is_over: AtomicBool::new(false),
        })
    }

    async fn spend(self: Arc<Load>) {
        while !self.is_over.load(Ordering::SeqCst) {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let answer = self.client.call("keys.verifyKey", json!({"key": self.metered})).await.expect(200);
            assert_eq!(answer.data()["code"], "VALID");
            self.spent.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Makes keys until the end: all of them.
    async fn create(self: Arc<Load>, first: Vec<String>) -> Vec<String> {
        let mut made = first;
        while !self.is_over.load(Ordering::SeqCst) {
            made.push(self.key().await);
        }
        made
    }

    async fn key(&self) -> String {
        let body = json!({"apiId": self.api, "externalId": "ada", "permissions": ["documents.read"]});
        self.client.call("keys.createKey", body).await.expect(200).text_of("key")
    }
}

async fn balance(server: &Server, key_id: &str) -> i64 {
    let key = server.call("keys.getKey", json!({"keyId": key_id})).await.expect(200);
    key.data()["credits"]["remaining"].as_i64().expect("a number")
}

async fn code(server: &Server, key: &str) -> Value {
    let body = json!({"key": key, "credits": {"cost": 0}});
    server.call("keys.verifyKey", body).await.expect(200).data()["code"].clone()
}

/// Verifications of a key in the analytics, each of which is there once.
async fn recorded(server: &Server, key_id: &str) -> i64 {
    let query = format!(
        "SELECT toInt64(count()) AS n, toInt64(uniqExact(request_id)) AS different FROM key_verifications_v1 \
         WHERE key_id = '{key_id}'"
    );
    let row =
        server.call("analytics.getVerifications", json!({"query": query})).await.expect(200).data()[0].clone();
    assert_eq!(row["n"], row["different"]);
    row["n"].as_i64().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_load_has_everything_that_was_acknowledged_before_it_began() {
    let server = program().start().await;
    let load = Load::on(&server).await;
    let mut acknowledged = Vec::new();
    for _ in 0..50 {
        acknowledged.push(load.key().await);
    }
    let busy: Vec<_> = (0..3).map(|_| tokio::spawn(load.clone().spend())).collect();
    let creating = tokio::spawn(load.clone().create(Vec::new()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("backup");
    let name = file.to_str().expect("text").to_owned();
    // A query has the events taken over from the log, from which they may be gone later.
    let recorded_before = recorded(&server, &load.metered_id).await;
    let spent_before = load.spent.load(Ordering::SeqCst);
    let (program, line) = (server.program().clone(), name.clone());
    let saved = tokio::task::spawn_blocking(move || run(&program, &["backup", &line])).await.expect("it runs");
    let asked_after = load.asked.load(Ordering::SeqCst);
    load.is_over.store(true, Ordering::SeqCst);
    let said = expect(saved, 0);
    assert!(said.contains("database, root key") && said.contains("the audit log's head is ws_"), "{said}");
    for task in busy {
        task.await.expect("nobody is refused");
    }
    creating.await.expect("nobody is refused");
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).expect("it").permissions()) & 0o777,
        0o600
    );
    let elsewhere = server.program().elsewhere();
    let told = expect(run(&elsewhere, &["restore", &name, "--yes"]), 0);
    assert!(told.contains(": whole, entries 1 to "), "{told}");
    let restored = elsewhere.start().await;
    for key in &acknowledged {
        assert_eq!(code(&restored, key).await, "VALID");
    }
    let recorded = recorded(&restored, &load.metered_id).await;
    assert!((recorded_before..=asked_after).contains(&recorded), "{recorded_before} {recorded} {asked_after}");
    let left = balance(&restored, &load.metered_id).await;
    assert!((BALANCE - asked_after..=BALANCE - spent_before).contains(&left), "{left} left of {BALANCE}");
    let root_key = fs::read_to_string(restored.data_dir().join("root-key")).expect("the root key");
    restored.with_key(root_key.trim()).call("workspace.getOverview", json!({})).await.expect(200);
}

/// A stopped server with a backup of it, after which a key was deleted: program, backup and the key.
async fn backed_up() -> (Program, String, String) {
    let mut server = program().start().await;
    let load = Load::on(&server).await;
    let made = server.call("keys.createKey", json!({"apiId": load.api})).await.expect(200);
    server.call("keys.verifyKey", json!({"key": made.text_of("key")})).await.expect(200);
    let file = server.data_dir().join("../backup").to_str().expect("text").to_owned();
    expect(run(server.program(), &["backup", &file]), 0);
    server.call("keys.deleteKey", json!({"keyId": made.text_of("keyId")})).await.expect(200);
    stop(&mut server).await;
    (server.program().clone(), file, made.text_of("key"))
}

fn kept(program: &Program) -> Vec<String> {
    let names =
        fs::read_dir(program.data_dir()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| name.contains(".before-restore-"));
    names
}

#[tokio::test]
async fn a_restore_says_what_it_undoes_and_asks_and_keeps_what_was_there() {
    let (program, file, key) = backed_up().await;
    let refused = expect(run(&program, &["restore", &file]), 2);
    for part in ["revoked keys live again", "(Default): 1 to undo", "nothing was changed"] {
        assert!(refused.contains(part), "no {part:?} in {refused}");
    }
    let mut server = program.start().await;
    assert_eq!(code(&server, &key).await, "NOT_FOUND");
    let running = expect(run(&program, &["restore", &file, "--yes"]), 1);
    assert!(running.contains("stop it first"), "{running}");
    stop(&mut server).await;
    expect(run(&program, &["restore", &file, "--yes"]), 0);
    assert!(kept(&program).iter().any(|name| name.starts_with("keyrack.db")), "{:?}", kept(&program));
    let server = program.start().await;
    assert_eq!(code(&server, &key).await, "VALID");
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_a_damaged_one_is_not_restored() {
    let (program, file, key) = backed_up().await;
    let exists = expect(run(&program, &["backup", &file]), 1);
    assert!(exists.contains("exists"), "{exists}");
    let whole = fs::read(&file).expect("the backup");
    let place = whole.windows(8).position(|bytes| bytes == b"SQLite f").expect("the database") + 5000;
    let mut flipped = whole.clone();
    flipped[place] ^= 1;
    for (bytes, said) in [
        (flipped, "is damaged"),
        (whole[..whole.len() / 2].to_vec(), "backup"),
        (whole[..whole.len() - 3000].to_vec(), ""),
        (b"not a backup at all".to_vec(), "is no backup of Keyrack"),
    ] {
        fs::write(&file, bytes).expect("it can be written");
        let refused = expect(run(&program, &["restore", &file, "--yes"]), 1);
        assert!(refused.contains(said), "no {said:?} in {refused}");
    }
    assert!(kept(&program).is_empty());
    let server = program.start().await;
    assert_eq!(code(&server, &key).await, "NOT_FOUND");
}

/// Runs a command and kills it after so long, if it is not done.
fn run_and_kill(program: &Program, line: &[&str], after: Duration) {
    let mut command: Command = program.command(line);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    std::thread::sleep(after);
    // Fails only when it has ended already.
    let _ = child.kill();
    child.wait().expect("it ends");
}

#[tokio::test]
async fn kills_in_the_middle_leave_the_old_state_or_the_new_one() {
    let (program, file, key) = backed_up().await;
    for milliseconds in [2, 10, 20, 30, 40, 60, 80, 120] {
        let other = format!("{file}-{milliseconds}");
        run_and_kill(&program, &["backup", &other], Duration::from_millis(milliseconds));
        if Path::new(&other).exists() {
            let elsewhere = program.elsewhere();
            expect(run(&elsewhere, &["restore", &other, "--yes"]), 0);
        }
        run_and_kill(&program, &["restore", &file, "--yes"], Duration::from_millis(milliseconds));
        let mut server = program.start().await;
        let found = code(&server, &key).await;
        assert!(found == "NOT_FOUND" || found == "VALID", "{found}");
        stop(&mut server).await;
    }
    expect(run(&program, &["restore", &file, "--yes"]), 0);
    expect(run(&program, &["backup", &format!("{file}-last")]), 0);
    let server = program.start().await;
    assert_eq!(code(&server, &key).await, "VALID");
}

#[tokio::test]
async fn a_malformed_database_names_the_way_out_and_is_kept() {
    let (program, file, key) = backed_up().await;
    let database = program.data_dir().join("keyrack.db");
    let mut bytes = fs::read(&database).expect("the database");
    let from = bytes.len().min(4096);
    bytes[from..].fill(0xa5);
    fs::write(&database, &bytes).expect("it can be written");
    let refused = program.start_refused().await;
    for part in ["keyrack.db", "malformed", "keyrack restore"] {
        assert!(refused.contains(part), "no {part:?} in {refused}");
    }
    let saved = expect(run(&program, &["backup", &format!("{file}-late")]), 1);
    assert!(saved.contains("malformed"), "{saved}");
    assert!(!Path::new(&format!("{file}-late.unfinished")).exists());
    let told = expect(run(&program, &["doctor"]), 1);
    assert!(told.contains("malformed") && told.contains("keyrack restore"), "{told}");
    expect(run(&program, &["restore", &file, "--yes"]), 0);
    let kept = kept(&program).into_iter().find(|name| name.starts_with("keyrack.db")).expect("it is kept");
    assert_eq!(fs::read(program.data_dir().join(kept)).expect("it can be read")[from..], bytes[from..]);
    let server = program.start().await;
    assert_eq!(code(&server, &key).await, "VALID");
}

#[tokio::test]
async fn on_postgres_a_backup_says_what_saves_the_database_and_does_the_rest() {
    let mut server = program().on_postgres().await.start().await;
    let file = server.data_dir().join("../backup").to_str().expect("text").to_owned();
    let said = expect(run(server.program(), &["backup", &file]), 0);
    assert!(said.contains("pg_dump") && said.contains("root key"), "{said}");
    stop(&mut server).await;
    let root_key = server.data_dir().join("root-key");
    let before = fs::read_to_string(&root_key).expect("the root key");
    fs::remove_file(&root_key).expect("it can be lost");
    expect(run(server.program(), &["restore", &file, "--yes"]), 0);
    assert_eq!(fs::read_to_string(&root_key).expect("the root key"), before);
}

/// Every row of every table as JSON, in an order of its own.
async fn dump(path: &Path) -> Vec<String> {
    let url = format!("sqlite://{}?mode=rw", path.display());
    let mut database = SqliteConnection::connect(&url).await.expect("the database can be opened");
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite%' ORDER BY name",
    )
    .fetch_all(&mut database)
    .await
    .expect("tables");
    let mut lines = Vec::new();
    for table in tables {
        let columns: String = sqlx::query_scalar("SELECT group_concat(name, ', ') FROM pragma_table_info($1)")
            .bind(&table)
            .fetch_one(&mut database)
            .await
            .expect("columns");
        let text = format!("SELECT '{table}' || json_array({columns}) AS line FROM {table} ORDER BY line");
        let rows: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_all(&mut database).await.expect("rows");
        lines.extend(rows);
    }
    lines
}

#[tokio::test]
async fn a_copy_to_postgres_and_back_is_the_identity() {
    let program = program();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/0.1.0/sqlite/keyrack.db");
    let path = |name: &str| program.data_dir().join(name);
    fs::create_dir_all(program.data_dir()).expect("a folder");
    fs::copy(fixture, path("keyrack.db")).expect("a database");
    let postgres = program.clone().on_postgres().await;
    let server = program.start().await;
    let refused = expect(run(&program, &["copy", "--to", &postgres.database_url()]), 1);
    assert!(refused.contains("stop what uses it first"), "{refused}");
    drop(server);
    let there = expect(run(&program, &["copy", "--to", &postgres.database_url()]), 0);
    assert!(there.contains("Nothing tells whether a server runs on PostgreSQL"), "{there}");
    assert!(there.contains(": whole, entries 1 to ") && there.contains(" rows are in PostgreSQL"), "{there}");
    let again = expect(run(&program, &["copy", "--to", &postgres.database_url()]), 1);
    assert!(again.contains("not empty"), "{again}");
    let back = format!("sqlite://{}", path("back.db").display());
    expect(run(&postgres, &["copy", "--to", &back]), 0);
    let before = dump(&path("keyrack.db")).await;
    assert!(before.len() > 300, "{} rows", before.len());
    assert_eq!(dump(&path("back.db")).await, before);
    expect(run(&program, &["copy", "--to", &program.database_url()]), 2);
}

/// A server that is killed leaves changes in the write-ahead log that SQLite would replay into whatever file stands
/// beside it, also when the database itself is gone.
#[tokio::test]
async fn a_write_ahead_log_of_the_old_database_is_not_replayed_into_the_restored_one() {
    for is_database_gone in [false, true] {
        let (program, file, key) = backed_up().await;
        let mut server = program.start().await;
        for _ in 0..20 {
            server.call("apis.createApi", json!({"name": "after the backup"})).await.expect(200);
        }
        server.kill();
        let log = program.data_dir().join("keyrack.db-wal");
        assert!(fs::metadata(&log).expect("it is left").len() > 4096, "it has changes in it");
        let left = fs::read(&log).expect("it can be read");
        if is_database_gone {
            fs::remove_file(program.data_dir().join("keyrack.db")).expect("it can be removed");
        }
        expect(run(&program, &["restore", &file, "--yes"]), 0);
        assert_ne!(fs::read(&log).ok(), Some(left), "it does not stay where SQLite finds it");
        let server = program.start().await;
        assert_eq!(code(&server, &key).await, "VALID");
        let listed = server.call("apis.listApis", json!({})).await.expect(200);
        assert_eq!(listed.data().as_array().map(Vec::len), Some(1), "{}", listed.text);
        expect(run(&program, &["audit", "verify"]), 0);
        expect(run(&program, &["doctor"]), 0);
    }
}
