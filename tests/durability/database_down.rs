//! The database is away for a while: callers are told so, nothing crashes, and work goes on when it is back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use keyrack_test_harness::{Server, fresh_postgres_database};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::program;

/// A road to PostgreSQL that can be closed: open connections break, new ones are dropped.
struct Road {
    address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Road {
    async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (open, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *state.borrow() {
                    tokio::spawn(carry(near, target.clone(), state.clone()));
                }
            }
        });
        Self { address, open }
    }
}

async fn carry(mut near: TcpStream, target: String, mut state: watch::Receiver<bool>) {
    let Ok(mut far) = TcpStream::connect(&target).await else {
        return;
    };
    tokio::select! {
        // Either end may close; both are dropped then.
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = state.wait_for(|open| !open) => {}
    }
}

async fn ready(server: &Server) -> u16 {
    server.get("/readyz").await.status
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
    let url = fresh_postgres_database().await;
    let (credentials, rest) = url.split_once('@').expect("postgres://user@host:port/name");
    let (target, name) = rest.split_once('/').expect("postgres://user@host:port/name");
    let road = Road::to(target.to_owned()).await;
    let detour = format!("{credentials}@{}/{name}", road.address);
    let mut server = program().env("KEYRACK_DATABASE_URL", &detour).start().await;
    let created = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200);
    road.open.send(false).expect("the road exists");
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
    assert!(server.is_running());
    road.open.send(true).expect("the road exists");
    wait_for_readiness(&server, 200).await;
    server.call("apis.createApi", json!({"name": "payments"})).await.expect(200);
    server.call("apis.getApi", json!({"apiId": created.text_of("apiId")})).await.expect(200);
}
