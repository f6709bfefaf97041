//! `keyrack doctor`: it names what is wrong and how to mend it, and changes nothing.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use keyrack_test_harness::{Server, free_port};
use serde_json::json;

use crate::{Done, Shell, program};

impl Shell {
    fn doctor(&self, code: i32) -> Done {
        self.run(&["doctor"]).expect(code)
    }
}

/// The line about a subject, as `finding: text`, and the line below it.
#[track_caller]
fn about(done: &Done, subject: &str) -> (String, String) {
    let mut lines = done.stdout.lines();
    let line = lines.find(|line| line.len() > 6 && line[6..].starts_with(subject));
    let line = line.unwrap_or_else(|| panic!("no line about {subject}: {done:#?}"));
    let text = line[6..].trim_start_matches(subject).trim();
    (format!("{}: {text}", line[..6].trim()), lines.next().unwrap_or_default().trim().to_owned())
}

#[track_caller]
fn assert_about(done: &Done, subject: &str, finding: &str, mend: &str) {
    let (line, below) = about(done, subject);
    assert!(line.contains(finding), "{finding:?} is not in {line:?}: {done:#?}");
    assert!(below.contains(mend), "{mend:?} is not in {below:?}: {done:#?}");
}

fn beside(server: &Server) -> Shell {
    Shell::beside(server).with("KEYRACK_LISTEN", &format!("127.0.0.1:{}", server.port()))
}

fn root_key_file(server: &Server) -> PathBuf {
    server.data_dir().join("root-key")
}

#[test]
fn before_the_first_start_nothing_is_wrong_and_nothing_is_made() {
    let shell = Shell::alone().with("KEYRACK_LISTEN", &format!("127.0.0.1:{}", free_port()));
    let done = shell.doctor(0);
    assert_about(&done, "settings", "ok: all readable", "");
    assert_about(&done, "data folder", "warn: ", "keyrack serve");
    assert_about(&done, "database", "warn: SQLite", "keyrack serve");
    assert_about(&done, "clock", "ok: it is 2", "");
    assert_about(&done, "root key", "warn: ", "keyrack root-key create");
    assert_about(&done, "port", "is free", "");
    assert!(!shell.program.data_dir().exists(), "it looked and made something");
}

#[tokio::test]
async fn beside_a_running_server_all_is_well() {
    let server = program().start().await;
    let done = beside(&server).doctor(0);
    assert!(done.stdout.lines().all(|line| line.starts_with("ok ")), "{done:#?}");
    assert_about(&done, "port", "ok: a Keyrack answers on", "");
    assert_about(&done, "root key", "holds one that the database knows", "");
    assert_about(&done, "database", "answers and is up to date", "");
}

#[tokio::test]
async fn a_master_key_that_opens_nothing_stored_is_a_failure_and_the_one_that_does_is_named() {
    let [one, other] =
        ["AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="];
    let server = program().env("KEYRACK_MASTER_KEY", one).start().await;
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    server.call("apis.updateApi", json!({"apiId": api, "storeEncryptedKeys": true})).await.expect(200);
    server.call("keys.createKey", json!({"apiId": api, "recoverable": true})).await.expect(200);
    let shell = Shell { program: server.program().clone().without_env("KEYRACK_MASTER_KEY"), ..beside(&server) };
    let with = |settings: &[(&str, &str)]| {
        settings.iter().fold(shell.clone(), |shell, (name, value)| shell.with(name, value))
    };
    assert_about(&with(&[("KEYRACK_MASTER_KEY", one)]).doctor(0), "master key", "ok: it opens", "");
    let changed = with(&[("KEYRACK_MASTER_KEY", other), ("KEYRACK_MASTER_KEY_PREVIOUS", one)]);
    assert_about(&changed.doctor(0), "master key", "ok: it opens", "");
    // The first 16 hex digits of the SHA-256 of 32 times 1.
    let name = "72cd6e8422c407fb";
    for wrong in [with(&[]), with(&[("KEYRACK_MASTER_KEY", other)])] {
        let done = wrong.doctor(1);
        assert_about(&done, "master key", name, "KEYRACK_MASTER_KEY_PREVIOUS");
        assert!(!done.stdout.contains(one) && !done.stdout.contains(other), "the secret is shown: {done:#?}");
    }
}

/// Whoever names a workspace does not choose what the terminal of the server's operator obeys.
#[tokio::test]
async fn a_banner_is_text_whatever_the_workspace_is_called() {
    let mut server = program().start().await;
    let overview = server.call("workspace.getOverview", json!({})).await.expect(200);
    let name = "a\u{1b}[2J\u{202e}b";
    let id = &overview.data()["workspace"]["id"];
    server.call("workspace.updateWorkspace", json!({"workspaceId": id, "name": name})).await.expect(200);
    server.kill();
    let server = server.program().start().await;
    let log = server.log();
    assert!(log.contains("Workspace  a\\u{1b}[2J\\u{202e}b ("), "{log}");
    assert!(!log.contains("\u{1b}[2J") && !log.contains('\u{202e}'), "{log}");
    let file = root_key_file(&server);
    let shell = Shell { environment: Vec::new(), ..beside(&server) };
    let assistant = shell.run(&["mcp", "--root-key-file", file.to_str().expect("text")]);
    assert!(assistant.stderr.contains("a\\u{1b}[2J\\u{202e}b"), "{assistant:?}");
    assert!(!assistant.stderr.contains("\u{1b}[2J"), "{assistant:?}");
}

#[tokio::test]
async fn after_the_server_ended_the_database_is_still_readable() {
    let mut server = program().start().await;
    server.kill();
    let done = beside(&server).doctor(0);
    assert_about(&done, "database", "answers and is up to date", "");
    assert_about(&done, "port", "is free", "");
}

#[tokio::test]
async fn a_postgres_database_is_looked_at_too() {
    let server = program().on_postgres().await.start().await;
    let done = beside(&server).doctor(0);
    assert_about(&done, "database", "ok: PostgreSQL", "");
    assert_about(&done, "root key", "holds one that the database knows", "");
    let shell = Shell::alone().with("KEYRACK_DATABASE_URL", "postgres://nobody:hunter2@127.0.0.1:1/nothing");
    let done = shell.doctor(1);
    assert_about(&done, "database", "fail: PostgreSQL, 127.0.0.1:1/nothing", "KEYRACK_DATABASE_URL");
    assert!(!done.stdout.contains("hunter2"), "{done:#?}");
}

#[tokio::test]
async fn a_postgres_database_that_cannot_keep_every_text_is_refused() {
    let url = keyrack_test_harness::fresh_postgres_database().await;
    let (server, name) = url.rsplit_once('/').expect("a name");
    let mut admin = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.expect("it answers");
    let text = format!("CREATE DATABASE {name}_latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut admin).await.expect("a database");
    let shell = Shell::alone().with("KEYRACK_DATABASE_URL", &format!("{server}/{name}_latin"));
    assert_about(&shell.doctor(1), "database", "stores texts as LATIN1", "KEYRACK_DATABASE_URL");
    let refused = shell.run(&["root-key", "create"]).expect(1);
    assert!(refused.stderr.contains("ENCODING 'UTF8'"), "{refused:?}");
}

#[tokio::test]
async fn stored_events_are_looked_at_and_what_is_damaged_is_named() {
    let mut server = program().start().await;
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let key = server.call("keys.createKey", json!({"apiId": api})).await.expect(200).text_of("key");
    server.call("keys.verifyKey", json!({"key": key})).await.expect(200);
    server.signal("TERM");
    server.wait_for_exit(Duration::from_secs(20)).await;
    let shell = beside(&server);
    let whole =
        "ok: on: 1 files with 1 MiB, of which 1 of 10240 MiB for single events; days kept: verifications 90,";
    assert_about(&shell.doctor(0), "analytics", whole, "");
    let smaller =
        shell.clone().with("KEYRACK_ANALYTICS_BYTES", "1073741824").with("KEYRACK_ANALYTICS_RAW_DAYS", "7");
    assert_about(
        &smaller.doctor(0),
        "analytics",
        "1 of 1024 MiB for single events; days kept: verifications 7,",
        "",
    );
    for setting in ["KEYRACK_ANALYTICS_BYTES", "KEYRACK_EVENT_LOG_BYTES"] {
        assert_about(
            &shell.clone().with(setting, "0").doctor(0),
            "analytics",
            &format!("ok: off: {setting} is 0"),
            "",
        );
    }
    let folder = server.data_dir().join("analytics");
    let files = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("a file").path());
    let file = files.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "parquet"));
    let file = file.expect("a file of events");
    let mut bytes = fs::read(&file).expect("events");
    let middle = bytes.len() / 2;
    bytes[4..middle].fill(0xaa);
    fs::write(&file, &bytes).expect("written");
    let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
    let done = shell.doctor(0);
    assert_about(&done, "analytics", "warn: 1 of 1 files cannot be read, with 1 rows: ", "keyrack restore");
    assert_about(&done, "analytics", name, "");
    fs::write(folder.join("manifest"), "keyrack analytics 1 00000000\n{}").expect("written");
    assert_about(&shell.doctor(1), "analytics", "fail: ", "keyrack restore");
}

#[cfg(unix)]
#[tokio::test]
async fn a_root_key_that_others_can_read_or_that_is_wrong_is_a_failure() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = program().start().await;
    let (shell, file) = (beside(&server), root_key_file(&server));
    let key = fs::read_to_string(&file).expect("a root key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
    assert_about(&shell.doctor(1), "root key", "fail: ", "chmod 600");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
    shell.doctor(0);
    for (text, finding) in [
        (key.trim()[..key.trim().len() - 1].to_owned(), "checksum"),
        (String::new(), "is empty"),
        (format!("\u{feff}{}", key.trim()), "byte-order mark"),
        ("a-bootstrap-key-that-this-database-does-not-know".to_owned(), "does not know"),
    ] {
        fs::write(&file, &text).expect("written");
        let done = shell.doctor(1);
        assert_about(&done, "root key", finding, "keyrack root-key create");
        assert!(text.is_empty() || !done.stdout.contains(&text), "the secret is shown: {done:#?}");
    }
}

#[cfg(unix)]
#[test]
fn files_that_others_can_read_are_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let shell = Shell::alone().with("KEYRACK_LISTEN", &format!("127.0.0.1:{}", free_port()));
    let folder = shell.program.data_dir();
    fs::create_dir_all(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("chmod");
    let file = folder.join("bootstrap");
    fs::write(&file, "a-root-key-of-at-least-32-characters").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("chmod");
    let shell = shell.with("KEYRACK_BOOTSTRAP_ROOT_KEY_FILE", file.to_str().expect("text"));
    let done = shell.doctor(0);
    assert_about(&done, "settings", "warn: ", "chmod 600");
    assert_about(&done, "data folder", "warn: ", "chmod 700");
}

#[test]
fn every_unreadable_setting_is_named_at_once() {
    let shell = Shell::alone().with("KEYRACK_DRAIN_SECONDS", "soon").with("KEYRACK_LISTEN", "here");
    let done = shell.with("KEYRACK_LISTN", "x").doctor(1);
    for named in ["KEYRACK_DRAIN_SECONDS", "KEYRACK_LISTEN", "KEYRACK_LISTN"] {
        assert!(done.stdout.contains(named), "{named}: {done:#?}");
    }
}

#[test]
fn a_port_that_something_else_has_and_a_file_that_is_no_database_are_failures() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    std::thread::spawn(move || {
        // Something that is no Keyrack: it hangs up.
        while let Ok((connection, _)) = taken.accept() {
            drop(connection);
        }
    });
    let shell = Shell::alone().with("KEYRACK_LISTEN", &address.to_string());
    fs::create_dir_all(shell.program.data_dir()).expect("a folder");
    fs::write(shell.program.data_dir().join("keyrack.db"), "not a database, whatever its name says")
        .expect("a file");
    let done = shell.doctor(1);
    assert_about(&done, "port", "no Keyrack answers there", "KEYRACK_LISTEN");
    assert_about(&done, "database", "fail: SQLite", "restore a backup");
}
