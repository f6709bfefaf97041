//! A client that hangs up in the middle of a change: whether the change is done or not, what the process remembers
//! is what the database says.

use std::time::{Duration, Instant};

use keyrack_test_harness::{Client, Database, ROOT_KEY, Server, event_count};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::changes::{Change, able_program, changes, observed};

/// How often each change is asked for, each time cut off at another moment.
const ROUNDS: u32 = 4;
/// How long what was begun may go on.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends the request and hangs up after so long, without reading.
async fn hang_up(port: u16, request: String, after: Duration) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens");
    socket.write_all(request.as_bytes()).await.expect("the request is sent");
    tokio::time::sleep(after).await;
}

fn request(change: &Change) -> String {
    let body = change.body.to_string();
    format!(
        "POST /v2/{} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ROOT_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        change.operation,
        body.len()
    )
}

/// Waits until nothing that was begun is still going on.
async fn settled(server: &Server) {
    let mut database = Database::of(server).await;
    let mut events = event_count(&database.dump().await);
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < PATIENCE, "after {PATIENCE:?} events are still written, {events} by now");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = event_count(&database.dump().await);
        if now == events {
            return;
        }
        events = now;
    }
}

async fn assert_agree(one: &Client, other: &Client, changes: &[Change]) {
    for change in changes {
        let answers = observed(one, change).await;
        assert!(!answers.is_empty(), "{} has no probe", change.operation);
        assert_eq!(answers, observed(other, change).await, "{} {}", change.operation, change.body);
    }
}

#[tokio::test]
async fn clients_that_hang_up_leave_memory_and_database_in_step() {
    let server = able_program().await.start().await;
    let changes = changes(&server).await;
    let before = event_count(&Database::of(&server).await.dump().await);
    for round in 0..ROUNDS {
        let mut cuts = JoinSet::new();
        for (number, change) in (0_u32..).zip(&changes) {
            // Spread over 0 to 20 ms, another moment for each change in each round.
            let after = Duration::from_micros(u64::from((number * 7 + round * 13) % 50) * 400);
            cuts.spawn(hang_up(server.port(), request(change), after));
            if number % 6 == 5 {
                while cuts.join_next().await.is_some() {}
            }
        }
        cuts.join_all().await;
    }
    settled(&server).await;
    let after = event_count(&Database::of(&server).await.dump().await);
    assert!(after > before + changes.len() / 2, "hardly any change was done: {before} events, then {after}");
    let fresh = server.program().start().await;
    assert_agree(&server, &fresh, &changes).await;
}
