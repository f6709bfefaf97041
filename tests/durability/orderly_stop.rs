//! SIGTERM: no new work, the work in hand is finished, then the end.

use std::time::Duration;

use keyrack_test_harness::ROOT_KEY;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::program;

const BODY: &str = r#"{"name":"payments"}"#;

/// A request whose body is not complete yet: it is in hand, and stays so until [`finish`].
async fn begin(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens");
    let (head, start) = (
        format!(
            "POST /v2/apis.createApi HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ROOT_KEY}\r\n\
             Content-Length: {}\r\n\r\n",
            BODY.len()
        ),
        &BODY[..5],
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.write_all(start.as_bytes()).await.expect("written");
    stream
}

async fn finish(mut stream: TcpStream) -> String {
    stream.write_all(&BODY.as_bytes()[5..]).await.expect("written");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    read.expect("the connection is closed after the answer").expect("readable");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_request_in_hand_is_finished_and_readiness_turns_503_meanwhile() {
    let mut server = program().start().await;
    let in_hand = begin(server.port()).await;
    // Opened before the signal: whether new connections are still accepted is the server's choice.
    let mut probe = TcpStream::connect(("127.0.0.1", server.port())).await.expect("the server listens");
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.signal("TERM");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(server.is_running(), "it ended with a request in hand:\n{}", server.log());
    probe.write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await.expect("written");
    let mut seen = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(5), probe.read(&mut seen)).await;
    // A reset is as good as a close: it takes no new requests.
    let read = read.expect("answered in time").unwrap_or(0);
    let seen = String::from_utf8_lossy(&seen[..read]).into_owned();
    assert!(seen.is_empty() || seen.starts_with("HTTP/1.1 503 "), "{seen}");
    let answer = finish(in_hand).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let status = server.wait_for_exit(Duration::from_secs(10)).await;
    assert!(status.success(), "{status}: {}", server.log());
}

/// The status of readiness and its text, on a connection that is opened for it.
async fn readiness(port: u16) -> (u16, String) {
    let answer = keyrack_test_harness::http_client().get(format!("http://127.0.0.1:{port}/readyz")).send().await;
    let answer = answer.expect("a new connection is taken");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

#[tokio::test]
async fn who_asks_after_the_signal_is_told_to_go_elsewhere_and_served_meanwhile() {
    let mut server = program().env("KEYRACK_SHUTDOWN_DELAY_SECONDS", "3").start().await;
    assert_eq!(readiness(server.port()).await.0, 200);
    server.signal("TERM");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (status, text) = readiness(server.port()).await;
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("shutting_down"), "{text}");
    server.call("apis.createApi", serde_json::json!({"name": "payments"})).await.expect(200);
    let status = server.wait_for_exit(Duration::from_secs(10)).await;
    assert!(status.success(), "{status}: {}", server.log());
}

#[tokio::test]
async fn a_second_signal_and_a_person_at_the_terminal_wait_for_nothing() {
    for signals in [&["TERM", "TERM"][..], &["INT"]] {
        let mut server = program().env("KEYRACK_SHUTDOWN_DELAY_SECONDS", "60").start().await;
        for signal in signals {
            server.signal(signal);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        server.wait_for_exit(Duration::from_secs(10)).await;
    }
}

#[tokio::test]
async fn an_idle_server_stops_at_once_and_starts_again_on_its_data() {
    for signal in ["TERM", "INT"] {
        let mut server = program().start().await;
        let created = server.call("apis.createApi", serde_json::json!({"name": "payments"})).await.expect(200);
        server.signal(signal);
        let status = server.wait_for_exit(Duration::from_secs(5)).await;
        assert!(status.success(), "{signal}: {status}");
        let again = server.program().start().await;
        let body = serde_json::json!({"apiId": created.text_of("apiId")});
        again.call("apis.getApi", body).await.expect(200);
    }
}

#[tokio::test]
async fn the_wait_for_requests_in_hand_has_an_end() {
    let mut server = program().env("KEYRACK_DRAIN_SECONDS", "1").start().await;
    let _in_hand = begin(server.port()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.signal("TERM");
    server.wait_for_exit(Duration::from_secs(6)).await;
}

#[tokio::test]
async fn nothing_answered_before_the_stop_is_lost() {
    let mut server = program().start().await;
    let api =
        server.call("apis.createApi", serde_json::json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let body = serde_json::json!({"apiId": api, "credits": {"remaining": 9}});
    let created = server.call("keys.createKey", body).await.expect(200);
    let verified = server.call("keys.verifyKey", serde_json::json!({"key": created.text_of("key")})).await;
    assert_eq!(verified.expect(200).data()["credits"], 8);
    server.signal("TERM");
    server.wait_for_exit(Duration::from_secs(5)).await;
    let again = server.program().start().await;
    let read = again.call("keys.getKey", serde_json::json!({"keyId": created.text_of("keyId")})).await;
    assert_eq!(read.expect(200).data()["credits"]["remaining"], 8);
}
