//! The database is away for a while: callers are told so, nothing crashes, and work goes on when it is back.

use std::time::{Duration, Instant};

use keyrack_test_harness::{Road, Server, Traffic, fresh_postgres_database};
use serde_json::json;

use crate::program;

/// Whoever asks is told what is known: a check of a load balancer waits for no database.
async fn ready(server: &Server) -> u16 {
    let answer = tokio::time::timeout(Duration::from_secs(1), server.get("/readyz")).await;
    answer.expect("readiness is answered at once").status
}

async fn wait_for_readiness(server: &Server, due: u16) {
    let started = Instant::now();
    while ready(server).await != due {
        assert!(started.elapsed() < Duration::from_secs(20), "readiness never became {due}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_503_until_it_is_back() {
    let (road, detour) = Road::to(&fresh_postgres_database().await).await;
    let mut server = program().env("KEYRACK_DATABASE_URL", &detour).start().await;
    let created = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200);
    road.set(Traffic::Stops);
    let refused = server.call("apis.createApi", json!({"name": "payments"})).await;
    assert_eq!(refused.status, 503, "{}\n{}", refused.text, server.log());
    let refused = refused.expect_error(503, "unkey/application/service_unavailable");
    assert!(refused.header("retry-after").parse::<u32>().is_ok(), "{:?}", refused.headers);
    assert!(
        !refused.detail().contains("sqlx") && !refused.detail().contains("127.0.0.1"),
        "internals: {}",
        refused.detail()
    );
    wait_for_readiness(&server, 503).await;
    let told = server.get("/readyz").await.expect(503);
    assert_eq!(told.body["reasons"][0]["reason"], "database_away", "{}", told.text);
    assert!(server.is_running());
    road.set(Traffic::Flows);
    wait_for_readiness(&server, 200).await;
    server.call("apis.createApi", json!({"name": "payments"})).await.expect(200);
    server.call("apis.getApi", json!({"apiId": created.text_of("apiId")})).await.expect(200);
}
