//! A database of 0.1.0 opened by the program of today: every question that was asked of 0.1.0 has the answer that it
//! gave. `tests/fixtures/0.1.0/make.py` says how the databases were made.

use std::fs;
use std::path::{Path, PathBuf};

use keyrack_test_harness::{Answer, Program, ended};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::program;

/// What is answered otherwise on purpose: operation, place in the answer, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("rootKeys.listKeys", "/data/*/lastUsedAt", "being asked is a use"),
    (
        "keys.verifyKey",
        "/data/ratelimits/*/reset",
        "a window of 95 years, which the fixture has, counts as one of 34",
    ),
    (
        "ratelimit.limit",
        "/data/reset",
        "a window of today ends later than one of the day on which 0.1.0 was asked",
    ),
    ("*", "/pagination/cursor", "a cursor is opaque, and valid for a while only"),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/0.1.0").join(name)
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("the fixture can be read").map(|entry| entry.expect("an entry")) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

/// Whether `place` is listed as a difference of this operation.
fn is_listed(operation: &str, place: &str) -> bool {
    let fits = |listed: &str| {
        let (listed, place): (Vec<_>, Vec<_>) = (listed.split('/').collect(), place.split('/').collect());
        listed.len() == place.len() && listed.iter().zip(place).all(|(one, other)| *one == "*" || *one == other)
    };
    DIFFERENCES.iter().any(|(of, listed, _)| (*of == "*" || *of == operation) && fits(listed))
}

/// Adds to `found` where `now` lacks something of what was answered `then`. What is new in it is no difference.
fn differences(operation: &str, place: &str, then: &Value, now: &Value, found: &mut Vec<String>) {
    if is_listed(operation, place) {
        return;
    }
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            for (name, value) in then {
                let there = now.get(name).unwrap_or(&Value::Null);
                differences(operation, &format!("{place}/{name}"), value, there, found);
            }
        }
        (Value::Array(then), Value::Array(now)) if then.len() == now.len() => {
            for (at, (then, now)) in then.iter().zip(now).enumerate() {
                differences(operation, &format!("{place}/{at}"), then, now, found);
            }
        }
        _ if then == now => {}
        _ => found.push(format!("{place}: then {then}, now {now}")),
    }
}

/// The end of an error's type, which names what went wrong; its words may become better.
fn code_of(answer: &Value) -> String {
    let url = answer["error"]["type"].as_str().unwrap_or_default();
    url.rsplit('/').take(3).collect::<Vec<_>>().join("/")
}

fn compare(question: &Value, now: &Answer) -> Vec<String> {
    let operation = question["operation"].as_str().expect("a name");
    let mut found = Vec::new();
    if question["status"] != now.status {
        found.push(format!("status: then {}, now {}", question["status"], now.status));
    } else if now.status == 200 {
        differences(operation, "", &question["answer"], &now.body, &mut found);
    } else if code_of(&question["answer"]) != code_of(&now.body) {
        found.push(format!("code: then {}, now {}", code_of(&question["answer"]), code_of(&now.body)));
    }
    let about = format!("{operation} {} as {}", question["body"], question["rootKey"]);
    found.into_iter().map(|difference| format!("{about}: {difference}")).collect()
}

/// What a command of the program says, which must do what it was asked.
fn run(program: &Program, line: &[&str]) -> String {
    let done = ended(&mut program.command(line));
    let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{line:?}: {stdout}\n{stderr}");
    stdout.into_owned()
}

async fn answers_as_before(engine: &str, program: Program) {
    copy_folder(&fixture(engine), &program.data_dir());
    let text = fs::read_to_string(fixture(&format!("{engine}.json"))).expect("the fixture can be read");
    let asked: Value = serde_json::from_str(&text).expect("JSON");
    let program = program.env("KEYRACK_MASTER_KEY", asked["secrets"]["masterKey"].as_str().expect("a key"));
    let events = fs::read_to_string(fixture(&format!("{engine}.events.jsonl"))).expect("the fixture can be read");
    let now = run(&program, &["events", "--log"]);
    assert_eq!(now.lines().count(), events.lines().count());
    let mut found = Vec::new();
    for (then, now) in events.lines().zip(now.lines()) {
        let event = |line| serde_json::from_str::<Value>(line).expect("JSON");
        differences("events", "", &event(then), &event(now), &mut found);
    }
    let mut server = program.start().await;
    for question in asked["questions"].as_array().expect("a list") {
        let root_key = question["rootKey"].as_str().expect("a name");
        let root_key = asked["secrets"]["rootKeys"][root_key].as_str().expect("a root key");
        let operation = question["operation"].as_str().expect("a name");
        let now = server.with_key(root_key).call(operation, question["body"].clone()).await;
        found.extend(compare(question, &now));
    }
    assert!(found.is_empty(), "{} differences that are not listed:\n{}", found.len(), found.join("\n"));
    server.signal("TERM");
    assert!(server.wait_for_exit(std::time::Duration::from_secs(30)).await.success(), "{}", server.log());
    let verified = run(&program, &["audit", "verify"]);
    assert!(
        verified.lines().count() >= 2 && verified.lines().all(|line| line.contains(": whole, ")),
        "{verified}"
    );
}

#[tokio::test]
async fn a_sqlite_database_of_0_1_0_gives_the_answers_that_it_gave() {
    answers_as_before("sqlite", program()).await;
}

#[tokio::test]
async fn a_postgres_database_of_0_1_0_gives_the_answers_that_it_gave() {
    let program = program().on_postgres().await;
    let dump = fs::read_to_string(fixture("postgres.sql")).expect("the fixture can be read");
    let mut database = PgConnection::connect(&program.database_url()).await.expect("the database can be opened");
    sqlx::raw_sql(sqlx::AssertSqlSafe(dump)).execute(&mut database).await.expect("the dump can be replayed");
    database.close().await.expect("it can be closed");
    answers_as_before("postgres", program).await;
}
