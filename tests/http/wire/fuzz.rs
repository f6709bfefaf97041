//! Chance against the built program, over the wire: heads of requests, and messages of assistants. Whatever comes,
//! it answers in its protocol or closes, and lives on.

use std::time::Duration;

use keyrack_test_harness::fuzz::{Chance, corpus, rounds};
use keyrack_test_harness::{ROOT_KEY, Server};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::keyrack;

/// Sends bytes and no more, and returns what comes back.
async fn exchange(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.expect("the server listens");
    let mut answer = Vec::new();
    // It may have answered and closed already.
    if stream.write_all(bytes).await.is_ok() {
        let _ = stream.shutdown().await;
    }
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    answer
}

/// A head, mostly as it should be, and perhaps a body.
fn head(chance: &mut Chance) -> Vec<u8> {
    let lines = [
        "Host: localhost",
        "Host: 127.0.0.1:1",
        "Host: evil.example",
        "Content-Length: 2",
        "Content-Length: 99999999999999999999",
        "Content-Length: -1",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Expect: 100-continue",
        "Connection: close",
        "Content-Encoding: gzip",
        "X-Forwarded-For: 192.0.2.1, nonsense",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "Authorization: Basic abc",
        " folded: line",
        "no colon",
        ": no name",
    ];
    let method = *chance.one(&["POST", "POST", "POST", "GET", "OPTIONS", "CONNECT", "post"]);
    let path =
        *chance.one(&["/v2/keys.verifyKey", "/v2/apis.createApi", "/mcp", "/", "*", "http://a/v2/x", "/%00"]);
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !chance.once_in(3) {
        text.push_str(&format!("Host: localhost\r\nAuthorization: Bearer {ROOT_KEY}\r\n"));
    }
    for _ in 0..chance.below(5) {
        let piece = *chance.one(&lines);
        text.push_str(piece);
        let piece = *chance.one(&["\r\n", "\r\n", "\r\n", "\n", "\r"]);
        text.push_str(piece);
    }
    text.push_str("\r\n");
    let piece = *chance.one(&["", "{}", "{\"key\":\"a\"}", "2\r\n{}\r\n0\r\n\r\n", "zz\r\n"]);
    text.push_str(piece);
    let mut bytes = text.into_bytes();
    if chance.once_in(2) {
        chance.damage(&mut bytes);
    }
    bytes
}

fn is_http(answer: &[u8]) -> bool {
    // Whoever speaks 1.0 is answered in it.
    answer.is_empty() || answer.starts_with(b"HTTP/1.1 ") || answer.starts_with(b"HTTP/1.0 ")
}

#[tokio::test]
async fn any_head_is_answered_in_http_or_the_connection_closes() {
    let mut server = keyrack().await;
    for (file, bytes) in corpus("heads") {
        assert!(is_http(&exchange(&server, &bytes).await), "{file}");
    }
    for mut chance in rounds("heads") {
        let bytes = head(&mut chance);
        let answer = exchange(&server, &bytes).await;
        let shown = (String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&answer));
        assert!(is_http(&answer), "{shown:?}");
        assert_ne!(answer.get(9), Some(&b'5'), "{shown:?}");
    }
    unharmed(&mut server).await;
}

/// A message of an assistant, mostly as it should be.
fn message(chance: &mut Chance) -> Value {
    let methods = ["tools/call", "tools/call", "tools/call", "tools/list", "initialize", "ping", "no/such", ""];
    let tools = ["keys_createKey", "apis_listApis", "keys_verifyKey", "ratelimit_multiLimit", "no_such", ""];
    let mut message = json!({"jsonrpc": "2.0", "id": 1, "method": chance.one(&methods)});
    let arguments = match chance.below(4) {
        0 => chance.value(),
        1 => json!({"key": chance.value(), "apiId": chance.value(), "meta": chance.value()}),
        2 => json!({"limits": [{"namespace": "n", "identifier": chance.value(), "limit": 1, "duration": 1000}]}),
        _ => json!({}),
    };
    message["params"] = json!({"name": chance.one(&tools), "arguments": arguments});
    for member in ["jsonrpc", "id", "method", "params"] {
        if chance.once_in(12) {
            message[member] = chance.value();
        }
    }
    message
}

async fn post(server: &Server, bytes: Vec<u8>) -> (u16, String) {
    let request = server
        .request(Method::POST, "/mcp")
        .header("MCP-UNKEY-BEARER-AUTH", ROOT_KEY)
        .header("Accept", "application/json, text/event-stream")
        .header("Content-Type", "application/json")
        .body(bytes);
    let answer = server.send("mcp", request).await;
    (answer.status, answer.text)
}

#[tokio::test]
async fn any_message_to_mcp_is_answered_and_none_is_a_fault_of_ours() {
    let program = crate::program().env("KEYRACK_MCP_CALLS_PER_MINUTE", "0");
    let mut server = program.on_engine().await.start().await;
    for (file, bytes) in corpus("mcp") {
        let (status, text) = post(&server, bytes).await;
        assert!(status < 500, "{file}: {text}");
    }
    for mut chance in rounds("mcp messages") {
        let mut bytes = message(&mut chance).to_string().into_bytes();
        if chance.once_in(3) {
            chance.damage(&mut bytes);
        }
        let (status, text) = post(&server, bytes.clone()).await;
        assert!(status < 500, "{}: {text}", String::from_utf8_lossy(&bytes));
        assert!(!text.contains("unexpected_error"), "{}: {text}", String::from_utf8_lossy(&bytes));
    }
    unharmed(&mut server).await;
}

async fn unharmed(server: &mut Server) {
    assert!(server.is_running(), "{}", server.log());
    server.call("apis.createApi", json!({"name": "still here"})).await.expect(200);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
