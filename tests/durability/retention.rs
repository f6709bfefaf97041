//! `keyrack serve` with retention: what was deleted or expired long ago is gone after a start.

use std::time::{Duration, Instant};

use keyrack_test_harness::{Program, Server};
use serde_json::json;

use crate::{database, program};

const DAY_MS: i64 = 86_400_000;
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until a query gives this number.
async fn becomes(server: &Server, query: &str, expected: i64) {
    let started = Instant::now();
    let mut connection = database(server).await;
    loop {
        let found: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()))
            .fetch_one(&mut connection)
            .await
            .expect("the database answers");
        if found == expected {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{query}: {found}, not {expected}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Makes everything that was deleted, or will expire, so many days older.
async fn age(server: &Server, days: i64) {
    let mut connection = database(server).await;
    for text in [
        "UPDATE keys SET deleted_at = deleted_at - $1 WHERE deleted_at IS NOT NULL",
        "UPDATE keys SET expires_at = expires_at - $1 WHERE expires_at IS NOT NULL",
        "UPDATE apis SET deleted_at = deleted_at - $1 WHERE deleted_at IS NOT NULL",
    ] {
        let query = sqlx::query(text).bind(days * DAY_MS);
        query.execute(&mut connection).await.expect("the database can be changed");
    }
}

async fn what_is_old_goes(program: Program) {
    let program = program.env("KEYRACK_DELETED_RETENTION_DAYS", "3").env("KEYRACK_EXPIRED_RETENTION_DAYS", "5");
    let mut server = program.start().await;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("fits");
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let new_key = async |body: serde_json::Value| {
        let mut body = body;
        body["apiId"] = json!(api);
        let made = server.call("keys.createKey", body).await.expect(200);
        (made.text_of("keyId"), made.text_of("key"))
    };
    let (deleted, _) = new_key(json!({})).await;
    let (expired, expired_text) = new_key(json!({"expires": now + DAY_MS})).await;
    let (_, lives) = new_key(json!({})).await;
    let gone = server.call("apis.createApi", json!({"name": "gone"})).await.expect(200).text_of("apiId");
    server.call("keys.createKey", json!({"apiId": gone})).await.expect(200);
    server.call("apis.deleteApi", json!({"apiId": gone})).await.expect(200);
    server.call("keys.deleteKey", json!({"keyId": deleted})).await.expect(200);
    // The time that retention goes by is known from the first look at the clock on.
    becomes(&server, "SELECT COUNT(*) FROM facts WHERE name = 'believed time'", 1).await;
    server.kill();
    age(&server, 4).await;

    let server = server.program().start().await;
    becomes(&server, "SELECT COUNT(*) FROM apis", 1).await;
    becomes(&server, "SELECT COUNT(*) FROM keys", 2).await;
    let code = async |key: &str| {
        let answer = server.call("keys.verifyKey", json!({"key": key})).await.expect(200);
        answer.data()["code"].clone()
    };
    assert_eq!(code(&expired_text).await, "EXPIRED", "for three days only");

    age(&server, 3).await;
    let mut server = server.kill_and_restart().await;
    becomes(&server, "SELECT COUNT(*) FROM keys", 1).await;
    let code = async |key: &str| {
        let answer = server.call("keys.verifyKey", json!({"key": key})).await.expect(200);
        answer.data()["code"].clone()
    };
    // Memory follows the database a moment later.
    let asked = Instant::now();
    while code(&expired_text).await != "NOT_FOUND" {
        assert!(asked.elapsed() < PATIENCE, "a key that is gone is still known");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(code(&lives).await, "VALID");
    let logs =
        server.call("audit.listLogs", json!({"event": "key.delete", "targetId": expired})).await.expect(200);
    assert_eq!(logs.data()[0]["actor"], json!({"type": "system", "id": "cleanup"}));
    server.kill();
}

#[tokio::test]
async fn what_was_deleted_or_expired_long_ago_is_gone_after_a_start_on_sqlite() {
    what_is_old_goes(program()).await;
}

#[tokio::test]
async fn what_was_deleted_or_expired_long_ago_is_gone_after_a_start_on_postgres() {
    what_is_old_goes(program().on_postgres().await).await;
}

#[tokio::test]
async fn a_retention_of_no_days_stops_the_start() {
    let stderr = program().env("KEYRACK_EXPIRED_RETENTION_DAYS", "0").start_refused().await;
    assert!(
        stderr.contains("KEYRACK_EXPIRED_RETENTION_DAYS: must be a number of days from 1 to 36500"),
        "{stderr}"
    );
}
