//! More connections than there are files for: those who do nothing make room for those who want something.

use std::time::Duration;

use keyrack_test_harness::{Program, Server, http_client};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::program;

/// The program where it may have 256 files open, as faults were found.
fn few_files() -> Program {
    program().through(&["sh", "-c", r#"ulimit -n 256; exec "$0" "$@""#])
}

/// So many connections: one half silent, the other with half of a head.
async fn crowd(port: u16, count: usize) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for number in 0..count {
        let connected = TcpStream::connect(("127.0.0.1", port)).await;
        let mut stream = connected.unwrap_or_else(|error| panic!("connection {number}: {error}"));
        if number % 2 == 0 {
            stream
                .write_all(b"POST /v2/keys.verifyKey HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: ")
                .await
                .expect("sent");
        }
        crowd.push(stream);
    }
    crowd
}

/// Many requests, each on a connection of its own: all are answered while the crowd stands by.
async fn expect_service(server: &Server) {
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let body = json!({"apiId": api, "credits": {"remaining": 100}});
    let key = server.call("keys.createKey", body).await.expect(200).text_of("key");
    for number in 0..20 {
        let fresh = keyrack_test_harness::Client::new(server.base(), keyrack_test_harness::ROOT_KEY);
        let verify = fresh.call("keys.verifyKey", json!({"key": key}));
        let answer = tokio::time::timeout(Duration::from_secs(8), verify).await;
        let answer = answer.unwrap_or_else(|_| panic!("request {number} was not answered:\n{}", server.log()));
        assert_eq!(answer.expect(200).data()["code"], "VALID", "{number}");
    }
}

#[tokio::test]
async fn connections_that_do_nothing_keep_nobody_out() {
    for on_postgres in [false, true] {
        let program = few_files();
        let program = if on_postgres { program.on_postgres().await } else { program };
        let server = program.start().await;
        let _crowd = crowd(server.port(), 270).await;
        expect_service(&server).await;
        assert!(!server.log().contains("cannot take a connection"), "files ran out:\n{}", server.log());
    }
}

#[tokio::test]
async fn the_listener_for_metrics_keeps_room_too() {
    let server = few_files().env("KEYRACK_METRICS_LISTEN", "127.0.0.1:0").start().await;
    let log = server.log();
    let address =
        log.lines().find_map(|line| line.trim().strip_prefix("Metrics")).expect("an address").trim().to_owned();
    let port = address.rsplit_once(':').and_then(|(_, rest)| rest.strip_suffix("/metrics")?.parse().ok());
    let _crowd = crowd(port.expect("a port"), 270).await;
    let _another = crowd(server.port(), 270).await;
    expect_service(&server).await;
    let scrape = http_client().get(&address).timeout(Duration::from_secs(8)).send().await;
    let text = scrape.expect("metrics are served").text().await.expect("text");
    let ended = text
        .lines()
        .find_map(|line| line.strip_prefix("keyrack_connections_ended_total{reason=\"for_another\"} "));
    let ended: u32 = ended.expect("a count").parse().expect("a number");
    assert!(ended > 100, "{ended}");
}

#[tokio::test]
async fn who_set_a_number_of_connections_has_no_more() {
    let server = program().env("KEYRACK_MAX_CONNECTIONS", "4").start().await;
    let _crowd = crowd(server.port(), 12).await;
    expect_service(&server).await;
    let told = few_files().env("KEYRACK_MAX_CONNECTIONS", "1000").start().await.log();
    assert!(told.contains("KEYRACK_MAX_CONNECTIONS is 1000"), "{told}");
}

/// Asks over a connection and reads the answer: whether there was one.
async fn is_answered(stream: &mut TcpStream) -> bool {
    let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
    let mut answer = [0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(8), stream.read(&mut answer)).await;
    asked.is_ok() && matches!(read, Ok(Ok(length)) if answer[..length].starts_with(b"HTTP/1.1 200"))
}

/// Systems start a process with a low limit that it may raise itself: to what is allowed at most.
#[tokio::test]
async fn a_low_limit_of_open_files_is_raised_and_a_lower_one_that_cannot_be_is_told() {
    const WARNING: &str = "the limit of open files leaves room for";
    const CONNECTIONS: usize = 300;
    let raised = program().through(&["sh", "-c", r#"ulimit -Sn 128; exec "$0" "$@""#]).start().await;
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(("127.0.0.1", raised.port())).await.expect("a connection");
        assert!(is_answered(&mut stream).await, "{}", raised.log());
        streams.push(stream);
    }
    let mut served = 0;
    for stream in &mut streams {
        served += usize::from(is_answered(stream).await);
    }
    assert_eq!(served, CONNECTIONS, "all at a time, and none had to go: {}", raised.log());
    let low = few_files().start().await.log();
    assert!(low.contains(WARNING) && low.contains("ulimit -n"), "{low}");
}
