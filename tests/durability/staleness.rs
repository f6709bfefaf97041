//! A process that cannot read the changes of others answers from memory for ten seconds, then not at all, and never
//! again from before what it missed.

use std::time::{Duration, Instant};

use keyrack_test_harness::{Answer, Road, Server, Traffic, fresh_postgres_database};
use serde_json::json;

use crate::program;

/// How old a look at others' changes may be, on PostgreSQL.
const STALE_AFTER: Duration = Duration::from_secs(10);

async fn verify(server: &Server, key: &str) -> Answer {
    server.call("keys.verifyKey", json!({ "key": key })).await
}

/// Asks until the server refuses to answer from memory: how long that took.
async fn answers_until_stale(server: &Server, key: &str) -> Duration {
    let cut_off = Instant::now();
    loop {
        let answer = verify(server, key).await;
        if answer.status != 200 {
            let answer = answer.expect_error(503, "unkey/application/service_unavailable");
            assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{:?}", answer.headers);
            return cut_off.elapsed();
        }
        assert_eq!(answer.data()["code"], "VALID", "from memory, as before");
        assert!(cut_off.elapsed() < STALE_AFTER * 2, "still answering from memory");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn who_misses_changes_for_ten_seconds_refuses_and_then_knows_them() {
    let url = fresh_postgres_database().await;
    let (road, detour) = Road::to(&url).await;
    let cut_off = program().env("KEYRACK_DATABASE_URL", &detour).start().await;
    let other = program().env("KEYRACK_DATABASE_URL", &url).start().await;
    let api = other.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let made = other.call("keys.createKey", json!({ "apiId": api })).await.expect(200);
    let (key_id, key) = (made.text_of("keyId"), made.text_of("key"));
    while verify(&cut_off, &key).await.expect(200).data()["code"] != "VALID" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    road.set(Traffic::Stops);
    other.call("keys.updateKey", json!({"keyId": key_id, "enabled": false})).await.expect(200);
    let answered = answers_until_stale(&cut_off, &key).await;
    assert!(answered > STALE_AFTER - Duration::from_secs(2), "refused after {answered:?} already");
    let everything = cut_off.call("workspace.getOverview", json!({})).await;
    everything.expect_error(503, "unkey/application/service_unavailable");
    assert_eq!(cut_off.get("/readyz").await.status, 503);
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
