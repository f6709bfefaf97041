//! A database that cannot be written: a full disk, a lock that another process keeps, a read-only
//! file system, a damaged file. Callers are told, what needs no write goes on, nothing is spent that was
//! not acknowledged as such, and work goes on when the obstacle is gone.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use keyrack_test_harness::{Answer, Program, Server, ended};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

use crate::{database, program};

/// A server with a key that has credits, one that has none left and one without a limit.
struct Scene {
    server: Server,
    api: String,
    metered: String,
    metered_id: String,
    spent: String,
    unlimited: String,
}

impl Scene {
    async fn on(program: Program) -> Self {
        let server = program.start().await;
        let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
        let made =
            server.call("keys.createKey", json!({"apiId": api, "credits": {"remaining": 9}})).await.expect(200);
        let (metered, metered_id) = (made.text_of("key"), made.text_of("keyId"));
        let made =
            server.call("keys.createKey", json!({"apiId": api, "credits": {"remaining": 0}})).await.expect(200);
        let spent = made.text_of("key");
        let unlimited = server.call("keys.createKey", json!({"apiId": api})).await.expect(200).text_of("key");
        let scene = Scene { server, api, metered, metered_id, spent, unlimited };
        assert_eq!(code(&scene.pay().await), "VALID");
        scene
    }

    async fn verify(&self, key: &str) -> Answer {
        self.server.call("keys.verifyKey", json!({"key": key})).await
    }

    async fn pay(&self) -> Answer {
        self.verify(&self.metered).await
    }

    async fn stored(&self) -> i64 {
        let key = self.server.call("keys.getKey", json!({"keyId": self.metered_id})).await.expect(200);
        key.data()["credits"]["remaining"].as_i64().expect("a number")
    }

    /// What needs no write is answered as ever.
    async fn expect_reading_to_go_on(&self) {
        assert_eq!(code(&self.verify(&self.unlimited).await), "VALID");
        assert_eq!(code(&self.verify(&self.spent).await), "USAGE_EXCEEDED");
        assert_eq!(self.stored().await, 8);
    }

    /// What needs a write is refused, clearly and without a guess.
    async fn expect_writes_to_be_refused(&self) {
        let refused = [self.pay().await, self.server.call("apis.createApi", json!({"name": "more"})).await];
        for refused in refused {
            let refused = refused.expect_error(503, "unkey/application/service_unavailable");
            assert!(refused.detail().contains("nothing was changed"), "{}", refused.text);
            assert!(refused.header("retry-after").parse::<u32>().is_ok(), "{:?}", refused.headers);
        }
    }

    async fn expect_all_to_be_well(&mut self) {
        assert_eq!(code(&self.pay().await), "VALID");
        assert_eq!(self.stored().await, 7);
        self.server.call("apis.getApi", json!({"apiId": self.api})).await.expect(200);
        self.server.call("apis.createApi", json!({"name": "more"})).await.expect(200);
        self.expect_no_panic();
    }

    /// Readiness says why, in words and with a mend.
    async fn expect_unready(&self, reason: &str) {
        let answer = self.readiness(503).await;
        let reasons = answer.body["reasons"].as_array().expect("a list");
        let told = reasons.iter().find(|told| told["reason"] == reason);
        let told = told.unwrap_or_else(|| panic!("{reason} is not in {}", answer.text));
        assert!(told["message"].is_string() && told["fix"].is_string(), "{}", answer.text);
    }

    /// Waits until readiness is answered with this status, without doing anything else.
    async fn readiness(&self, due: u16) -> Answer {
        let started = Instant::now();
        loop {
            let answer = self.server.get("/readyz").await;
            if answer.status == due {
                return answer;
            }
            let passed = started.elapsed();
            assert!(passed < Duration::from_secs(20), "{passed:?}: {}\n{}", answer.text, self.server.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn expect_no_panic(&mut self) {
        assert!(self.server.is_running());
        let log = self.server.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

fn code(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.data()["code"].clone()
}

fn run(command: &mut Command) {
    let done = ended(command);
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Lets no file of the process grow beyond this many bytes; the disk is full for it.
fn limit_files(server: &Server, bytes: &str) {
    run(Command::new("prlimit").args([
        "--pid",
        &server.process().to_string(),
        &format!("--fsize={bytes}:unlimited"),
    ]));
}

#[tokio::test]
async fn a_file_that_cannot_grow_refuses_writes_until_it_can() {
    // Unless it is ignored, the signal that comes with the limit ends a process.
    let program = program().through(&["sh", "-c", r#"trap "" XFSZ; exec "$0" "$@""#]);
    let mut scene = Scene::on(program).await;
    scene.verify(&scene.spent).await;
    limit_files(&scene.server, "20000");
    scene.expect_writes_to_be_refused().await;
    scene.expect_reading_to_go_on().await;
    scene.expect_unready("disk_full").await;
    limit_files(&scene.server, "unlimited");
    scene.readiness(200).await;
    scene.expect_all_to_be_well().await;
}

/// The program in a name space of its own, in which this script may mount something on its data first.
fn mounting(program: Program, script: &str) -> Option<Program> {
    let namespace = ["unshare", "--user", "--map-root-user", "--mount"];
    let mut probe = Command::new(namespace[0]);
    probe.args(&namespace[1..]).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
    if !probe.output().is_ok_and(|done| done.status.success()) {
        eprintln!("this machine lets nobody mount anything in a name space of their own: not tried");
        return None;
    }
    let script =
        format!(r#"mkdir -p "$KEYRACK_DATA_DIR" && cd "$KEYRACK_DATA_DIR" && {script} && exec "$0" "$@""#);
    Some(program.through(&[&namespace[..], &["sh", "-c", &script]].concat()))
}

/// Runs a shell script where the server sees its data.
fn beside(server: &Server, script: &str) {
    let pid = server.process().to_string();
    let mut command = Command::new("nsenter");
    command.args(["--target", &pid, "--user", "--mount", "--preserve-credentials", "sh", "-c", script]);
    run(command.arg(server.data_dir()));
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_space() {
    let Some(program) = mounting(program(), "mount -t tmpfs -o size=8m tmpfs .") else { return };
    let mut scene = Scene::on(program).await;
    scene.verify(&scene.spent).await;
    beside(&scene.server, r#"cat /dev/zero > "$0/filler" 2>/dev/null; true"#);
    // What a write-ahead log has of old pages may still be written over.
    for _ in 0..2000 {
        if scene.server.call("apis.createApi", json!({"name": "more"})).await.status != 200 {
            break;
        }
    }
    scene.expect_writes_to_be_refused().await;
    scene.expect_reading_to_go_on().await;
    scene.expect_unready("disk_full").await;
    beside(&scene.server, r#"rm "$0/filler""#);
    scene.readiness(200).await;
    scene.expect_all_to_be_well().await;
}

#[tokio::test]
async fn a_read_only_file_system_stops_the_start_and_says_so() {
    let writable = program();
    let mut scene = Scene::on(writable.clone()).await;
    scene.server.kill();
    let script = "mount --bind . . && cd . && mount -o remount,bind,ro .";
    let Some(read_only) = mounting(writable.clone(), script) else { return };
    let told = read_only.start_refused().await;
    assert!(told.contains("keyrack.db cannot be opened") && told.contains("Read-only file system"), "{told}");
    assert!(!told.contains("panicked"), "{told}");
    scene.server = writable.start().await;
    scene.expect_all_to_be_well().await;
}

#[tokio::test]
async fn a_lock_that_another_program_keeps_refuses_writes_until_it_is_released() {
    let mut scene = Scene::on(program()).await;
    scene.verify(&scene.spent).await;
    let url = format!("sqlite://{}", scene.server.data_dir().join("keyrack.db").display());
    let mut other = SqliteConnection::connect(&url).await.expect("the file can be opened");
    let held = other.begin_with("BEGIN IMMEDIATE").await.expect("the lock is free");
    let started = Instant::now();
    scene.expect_writes_to_be_refused().await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    scene.expect_reading_to_go_on().await;
    scene.expect_unready("writes_fail").await;
    held.rollback().await.expect("it can be released");
    scene.readiness(200).await;
    scene.expect_all_to_be_well().await;
}

/// Writes nonsense over a file, from this byte on.
fn damage(path: &Path, from: usize) {
    let mut bytes = std::fs::read(path).expect("the file can be read");
    let whole = bytes.len();
    if from < whole {
        bytes[from..].fill(0xa5);
        // In place: the program has the file open.
        std::fs::write(path, bytes).expect("the file can be written");
    }
}

#[tokio::test]
async fn a_damaged_file_gives_no_wrong_answer_and_stops_the_next_start() {
    let mut scene = Scene::on(program()).await;
    let file = scene.server.data_dir().join("keyrack.db");
    damage(&file, 0);
    damage(&file.with_extension("db-wal"), 0);
    let mut left = 8;
    for _ in 0..5 {
        let answer = scene.pay().await;
        if answer.status == 200 {
            // From pages that were in memory.
            left -= 1;
            assert_eq!(answer.data()["credits"], left);
        } else {
            answer.expect_error(503, "unkey/application/service_unavailable");
        }
        assert_eq!(code(&scene.verify(&scene.unlimited).await), "VALID");
    }
    scene.expect_no_panic();
    scene.server.kill();
    damage(&file, 0);
    let told = scene.server.program().start_refused().await;
    assert!(told.contains("keyrack.db") && told.contains("not a database"), "{told}");
    assert!(!told.contains("panicked"), "{told}");
}

/// How many threads of the server make deductions.
#[cfg(target_os = "linux")]
fn ledgers(server: &Server) -> usize {
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.process())).expect("it runs");
    let names = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|name| name.trim() == "credits").count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_spends_nothing_has_no_thread_for_it() {
    let server = program().start().await;
    assert_eq!(ledgers(&server), 0);
    let scene = Scene::on(server.program().clone()).await;
    assert_eq!(ledgers(&scene.server), 1);
}

/// Makes a PostgreSQL database read-only or not, as a standby is, for everybody who connects from now on.
async fn set_read_only(connection: &mut sqlx::AnyConnection, setting: &str) {
    let everybody = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let text = format!(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {setting}', current_database()); END $$; {everybody}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(connection).await.expect("the database can be changed");
}

#[tokio::test]
async fn a_postgres_that_takes_no_writes_is_told_by_readiness_until_it_does() {
    let mut scene = Scene::on(program().on_postgres().await).await;
    scene.verify(&scene.spent).await;
    let mut connection = database(&scene.server).await;
    set_read_only(&mut connection, "SET default_transaction_read_only = on").await;
    let started = Instant::now();
    while !scene.server.get("/readyz").await.text.contains("writes_fail") {
        scene.expect_writes_to_be_refused().await;
        assert!(started.elapsed() < Duration::from_secs(20), "{}", scene.server.log());
    }
    scene.expect_unready("writes_fail").await;
    scene.expect_reading_to_go_on().await;
    set_read_only(&mut connection, "RESET default_transaction_read_only").await;
    // Nobody writes meanwhile: whoever sees 503 sends no requests.
    scene.readiness(200).await;
    scene.expect_all_to_be_well().await;
}
