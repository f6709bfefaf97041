//! A change is done as a whole or not at all, its events and the memory of the process included: real faults of
//! the database before, at and after the commit, for every changing operation of the catalogue.

use keyrack_test_harness::{
    Database, Dump, Fault, Road, Server, Traffic, differing, event_count, fresh_postgres_database,
};
use serde_json::json;

use crate::changes::{Change, Log, able_program, changes, observed};
use crate::fixture::{new_api, new_key, read_key, verify};
use crate::keyrack;

/// What no process keeps in memory, and what the change feed therefore says nothing of.
const NOTHING_CACHED: [&str; 2] = ["permissions.createPermission", "permissions.createRole"];

/// How many events a change writes. What is done to another workspace itself is in the caller's log as well.
fn events_of(change: &Change) -> usize {
    let due = || change.due.iter().flatten();
    let at_home = due().filter(|due| due.event.starts_with("workspace.") && !matches!(change.log, Log::Own));
    due().count() + at_home.count()
}

/// The change fails, and everything is as it was: the database, and what the process answers.
async fn assert_leaves_nothing(server: &Server, database: &mut Database, change: &Change, before: &Dump) {
    let answers = observed(server, change).await;
    let answer = server.call(change.operation, change.body.clone()).await;
    let about = format!("{} {}", change.operation, answer.text);
    assert!([500, 503].contains(&answer.status), "{about}");
    assert!(!answer.text.contains("a fault of the test"), "internals: {about}");
    let after = database.dump().await;
    assert_eq!(differing(before, &after), [] as [&String; 0], "something is left: {about}");
    assert_eq!(observed(server, change).await, answers, "memory has changed: {about}");
}

#[tokio::test]
async fn a_fault_before_or_at_the_commit_leaves_nothing() {
    let server = able_program().await.start().await;
    let changes = changes(&server).await;
    let mut database = Database::of(&server).await;
    for fault in [Fault::ChangeFeed, Fault::AuditLog, Fault::Commit] {
        database.break_at(fault).await;
        let before = database.dump().await;
        for change in &changes {
            if fault == Fault::ChangeFeed && NOTHING_CACHED.contains(&change.operation) {
                continue;
            }
            assert_leaves_nothing(&server, &mut database, change, &before).await;
        }
        database.mend(fault).await;
    }
    // Each of them could have been done.
    for change in &changes {
        let before = event_count(&database.dump().await);
        server.call(change.operation, change.body.clone()).await.expect(200);
        let after = event_count(&database.dump().await);
        assert_eq!(after - before, events_of(change), "{}", change.operation);
    }
}

#[tokio::test]
async fn a_power_cut_after_the_answer_leaves_everything() {
    let mut server = able_program().await.start().await;
    let changes = changes(&server).await;
    // Some changes for each power cut: starting again takes longer than a change.
    for some in changes.chunks(6) {
        let before = event_count(&Database::of(&server).await.dump().await);
        let mut answers = Vec::new();
        for change in some {
            server.call(change.operation, change.body.clone()).await.expect(200);
        }
        for change in some {
            answers.push(observed(&server, change).await);
        }
        server = server.kill_and_restart().await;
        let after = event_count(&Database::of(&server).await.dump().await);
        assert_eq!(after - before, some.iter().map(events_of).sum::<usize>(), "{some:?}");
        for (change, answers) in some.iter().zip(answers) {
            assert_eq!(observed(&server, change).await, answers, "{}", change.operation);
        }
    }
}

// More than one thread: the road must be open while the command line makes a migration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_at_the_commit_leaves_all_or_nothing_on_postgres() {
    let url = fresh_postgres_database().await;
    let (road, detour) = Road::to(&url).await;
    let program = able_program().await.env("KEYRACK_DATABASE_URL", &detour);
    let server = program.start().await;
    let changes = changes(&server).await;
    let mut database = Database::at(&url).await;
    for change in &changes {
        let before = database.dump().await;
        road.set(Traffic::BreaksBeforeCommit);
        assert_leaves_nothing(&server, &mut database, change, &before).await;
        road.set(Traffic::BreaksAfterCommit);
        let answer = server.call(change.operation, change.body.clone()).await;
        answer.expect_error(503, "unkey/application/service_unavailable");
        road.set(Traffic::Flows);
        let after = event_count(&database.dump().await);
        assert_eq!(after - event_count(&before), events_of(change), "{}", change.operation);
    }
    let fresh = program.env("KEYRACK_DATABASE_URL", &url).start().await;
    for change in &changes {
        let answers = observed(&server, change).await;
        assert_eq!(answers, observed(&fresh, change).await, "{}: memory is behind", change.operation);
    }
}

#[tokio::test]
async fn a_failed_deduction_spends_nothing() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"credits": {"remaining": 9}})).await;
    assert_eq!(verify(&server, &key, json!({})).await["credits"], 8);
    let mut database = Database::of(&server).await;
    database.break_at(Fault::Credits).await;
    let failed = server.call("keys.verifyKey", json!({"key": key.key})).await;
    assert!([500, 503].contains(&failed.status), "{}", failed.text);
    database.mend(Fault::Credits).await;
    assert_eq!(read_key(&server, &key).await["credits"]["remaining"], 8);
    assert_eq!(verify(&server, &key, json!({})).await["credits"], 7);
}
