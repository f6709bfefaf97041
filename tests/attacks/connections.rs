//! Connections that say nothing, half of something, or too much: others are served, and nobody is told the wrong thing.

use std::time::{Duration, Instant};

use keyrack_test_harness::Server;

use crate::program;
use crate::victim::Victim;
use crate::wire::{Wire, head};

/// How many connections the attacker opens where the server has files for fewer.
const CONNECTIONS: usize = 300;
/// How long idle ones may stand in the way of others.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until the victim can be served by a new connection.
async fn is_served_again(server: &Server) {
    let started = Instant::now();
    loop {
        let mut wire = Wire::to(server).await;
        wire.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        if let Ok(Some(reply)) = tokio::time::timeout(Duration::from_secs(5), wire.reply()).await
            && reply.status == 200
        {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "nobody is served any more");
    }
}

/// Opens connections that begin like this and go no further.
async fn besiege(beginning: &str) {
    let limited = ["sh", "-c", r#"ulimit -n 256; exec "$0" "$@""#];
    let mut server = program().through(&limited).start().await;
    let mut victim = Victim::new(&server).await;
    let mut wires = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut wire = Wire::to(&server).await;
        wire.send(beginning).await;
        wires.push(wire);
    }
    is_served_again(&server).await;
    victim.is_granted_all().await;
    assert!(server.is_running() && !server.log().contains("panicked"), "{}", server.log());
    let lines = server.log().lines().count();
    assert!(lines < 200, "the log has {lines} lines");
}

#[tokio::test]
async fn silent_connections_end_before_they_starve_others() {
    besiege("").await;
}

#[tokio::test]
async fn half_a_head_ends_before_it_starves_others() {
    besiege("POST /v2/keys.verifyKey HTTP/1.1\r\nHost: local").await;
}

#[tokio::test]
async fn half_a_body_ends_before_it_starves_others() {
    let beginning = head("/v2/keys.verifyKey", keyrack_test_harness::ROOT_KEY, 100) + "{\"key\"";
    besiege(&beginning).await;
}

/// What is refused before its body was read: the path, the method, the root key, the length that is told.
fn refusals() -> Vec<(&'static str, String, usize)> {
    let post = |path: &str, root_key: &str| head(path, root_key, 40);
    let own = keyrack_test_harness::ROOT_KEY;
    vec![
        ("unknown path", post("/v2/keys.unknown", own), 40),
        ("unknown root key", post("/v2/keys.verifyKey", "nobody's"), 40),
        ("no root key", post("/v2/keys.verifyKey", own).replace("Authorization", "X-Nothing"), 40),
        ("wrong method", post("/v2/keys.verifyKey", own).replace("POST", "PUT"), 40),
        ("wrong host", post("/v2/keys.verifyKey", own).replace("localhost", "evil.example"), 40),
        ("too large", head("/v2/keys.verifyKey", own, 30_000_000), 40),
    ]
}

#[tokio::test]
async fn a_refusal_before_the_body_keeps_the_connection_or_says_that_it_ends() {
    let server = program().start().await;
    let mut victim = Victim::new(&server).await;
    for (about, head, length) in refusals() {
        let mut wire = Wire::to(&server).await;
        wire.send(head).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        wire.send(" ".repeat(length)).await;
        let reply = wire.reply().await.unwrap_or_else(|| panic!("{about}: no answer"));
        assert!((400..500).contains(&reply.status), "{about}: {reply:?}");
        if !reply.closes() {
            wire.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            let next = wire.reply().await.unwrap_or_else(|| panic!("{about}: the connection ended unannounced"));
            assert_eq!(next.status, 200, "{about}: {next:?}");
        }
    }
    victim.is_granted_all().await;
}

#[tokio::test]
async fn hosts_and_credentials_that_can_be_read_in_two_ways_are_refused() {
    let server = program().start().await;
    let mut victim = Victim::new(&server).await;
    for host in ["localhost:80@evil.com", "127.0.0.1]evil.com", "localhost\\@evil.com", "localhost, evil.com"] {
        let mut wire = Wire::to(&server).await;
        let request = head("/v2/workspace.getOverview", keyrack_test_harness::ROOT_KEY, 2);
        wire.send(request.replace("localhost", host) + "{}").await;
        let reply = wire.reply().await.unwrap_or_else(|| panic!("{host}: no answer"));
        assert!([400, 403].contains(&reply.status), "{host}: {reply:?}");
    }
    let mut wire = Wire::to(&server).await;
    let two = "Authorization: Bearer another\r\nAuthorization";
    let request = head("/v2/workspace.getOverview", keyrack_test_harness::ROOT_KEY, 2);
    wire.send(request.replace("Authorization", two) + "{}").await;
    assert_eq!(wire.reply().await.expect("an answer").status, 401);
    victim.is_granted_all().await;
}
