//! A process that cannot read the changes of others answers from memory for ten seconds, or as long as it is told,
//! then not at all, and never again from before what it missed. One that waits for a lock keeps nobody else waiting.

use std::time::{Duration, Instant};

use keyrack_test_harness::{Answer, Program, Road, Server, Traffic, fresh_postgres_database};
use serde_json::json;

use crate::{database, program};

/// How old a look at others' changes may be, unless a setting says otherwise.
const STALE_AFTER: Duration = Duration::from_secs(10);

async fn verify(server: &Server, key: &str) -> Answer {
    server.call("keys.verifyKey", json!({ "key": key })).await
}

/// Asks until the server refuses to answer from memory: how long that took.
async fn answers_until_stale(server: &Server, key: &str, stale_after: Duration) -> Duration {
    let cut_off = Instant::now();
    loop {
        let answer = verify(server, key).await;
        if answer.status != 200 {
            let answer = answer.expect_error(503, "unkey/application/service_unavailable");
            assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{:?}", answer.headers);
            return cut_off.elapsed();
        }
        assert_eq!(answer.data()["code"], "VALID", "from memory, as before");
        assert!(cut_off.elapsed() < stale_after * 2, "still answering from memory");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn who_misses_changes_for_ten_seconds_refuses_and_then_knows_them() {
    refuses_and_then_knows(program(), STALE_AFTER).await;
}

#[tokio::test]
async fn how_long_a_process_answers_from_memory_is_a_setting() {
    refuses_and_then_knows(program().env("KEYRACK_STALE_SECONDS", "4"), Duration::from_secs(4)).await;
}

async fn refuses_and_then_knows(cut_off: Program, stale_after: Duration) {
    let url = fresh_postgres_database().await;
    let (road, detour) = Road::to(&url).await;
    let cut_off = cut_off.env("KEYRACK_DATABASE_URL", &detour).start().await;
    let other = program().env("KEYRACK_DATABASE_URL", &url).start().await;
    let api = other.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let made = other.call("keys.createKey", json!({ "apiId": api })).await.expect(200);
    let (key_id, key) = (made.text_of("keyId"), made.text_of("key"));
    let made = Instant::now();
    while verify(&cut_off, &key).await.expect(200).data()["code"] != "VALID" {
        assert!(made.elapsed() < Duration::from_secs(20), "the new key is never known: {}", cut_off.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    road.set(Traffic::Stops);
    other.call("keys.updateKey", json!({"keyId": key_id, "enabled": false})).await.expect(200);
    let answered = answers_until_stale(&cut_off, &key, stale_after).await;
    assert!(answered > stale_after - Duration::from_secs(2), "refused after {answered:?} already");
    let everything = cut_off.call("workspace.getOverview", json!({})).await;
    everything.expect_error(503, "unkey/application/service_unavailable");
    let readiness = cut_off.get("/readyz").await;
    assert_eq!(readiness.status, 503);
    assert!(readiness.text.contains("\"stale\""), "{}", readiness.text);
    assert_eq!(cut_off.get("/healthz").await.status, 200, "the process itself is well");
    road.set(Traffic::Flows);
    let back = Instant::now();
    loop {
        let answer = verify(&cut_off, &key).await;
        if answer.status == 200 {
            assert_eq!(answer.data()["code"], "DISABLED", "the first answer knows what was missed");
            break;
        }
        assert!(back.elapsed() < Duration::from_secs(20), "never ready again: {}", cut_off.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Readiness answers from the last look at the database, of which there are two a second.
    while cut_off.get("/readyz").await.status != 200 {
        assert!(back.elapsed() < Duration::from_secs(20), "never ready again: {}", cut_off.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Another transaction holds a workspace's row, as a long change of another process does. Whoever wants to change
/// that workspace is told so soon; nobody else waits, neither for a connection nor because memory grows old.
#[tokio::test]
async fn changes_that_wait_for_a_workspace_keep_nobody_else_waiting() {
    let server = program().on_postgres().await.start().await;
    let made = server.call("workspace.createWorkspace", json!({"name": "other"})).await.expect(200);
    let other = server.with_key(&made.text_of("rootKey"));
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let other_api = other.call("apis.createApi", json!({"name": "orders"})).await.expect(200).text_of("apiId");
    let key = other.call("keys.createKey", json!({ "apiId": other_api })).await.expect(200).text_of("key");
    let workspace = server.call("workspace.getOverview", json!({})).await.expect(200);
    let workspace = workspace.data()["workspace"]["id"].as_str().expect("an id").to_owned();

    let mut connection = database(&server).await;
    for statement in ["BEGIN".to_owned(), format!("UPDATE workspaces SET name = name WHERE id = '{workspace}'")] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.expect("it can be locked");
    }
    let began = Instant::now();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (client, body) = (server.client(), json!({ "apiId": api }));
        waiting.spawn(async move { client.call("keys.createKey", body).await.status });
    }
    while began.elapsed() < STALE_AFTER + Duration::from_secs(2) {
        let verified = other.call("keys.verifyKey", json!({ "key": key })).await.expect(200);
        assert_eq!(verified.data()["code"], "VALID");
        let listed = server.call("apis.listKeys", json!({ "apiId": api })).await;
        assert_eq!(listed.status, 200, "reading waits for nobody");
        other.call("keys.createKey", json!({ "apiId": other_api })).await.expect(200);
        tokio::time::sleep(Duration::from_millis(100)).await;
        if waiting.len() == 20 && began.elapsed() > Duration::from_secs(5) {
            while let Some(status) = waiting.join_next().await {
                assert_eq!(status.expect("no panic"), 503);
            }
            assert!(began.elapsed() < Duration::from_secs(7), "told after {:?} only", began.elapsed());
        }
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.expect("it can be let go");
    server.call("keys.createKey", json!({ "apiId": api })).await.expect(200);
}
