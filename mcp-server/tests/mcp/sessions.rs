//! Sessions over HTTP: whose they are, asking in between, and their end.

use std::time::Duration;

use keyrack_mcp_server::Confirm;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::raw_http::{ABSENT, Answer, Server};

const PATIENCE: Duration = Duration::from_secs(10);
const VERSION: (&str, &str) = ("mcp-protocol-version", "2025-11-25");

async fn server() -> Server {
    Server::start_with(|settings| {
        settings.sessions = true;
        settings.policy.confirm = Confirm::Ask;
    })
    .await
}

/// The id of a new session, whose client shows forms.
async fn open(server: &Server, root_key: &str) -> String {
    let params = json!({
        "protocolVersion": "2025-11-25", "capabilities": { "elicitation": {} }, "clientInfo": { "name": "test", "version": "1" },
    });
    let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
    let bearer = format!("Bearer {root_key}");
    let answer = server.post(&[("authorization", &bearer)], &hello).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let session = answer.header("mcp-session-id").to_owned();
    assert!(!session.is_empty(), "{answer:?}");
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(in_session(server, root_key, &session, "POST", &initialized.to_string()).await.status, 202);
    session
}

async fn in_session(server: &Server, root_key: &str, session: &str, method: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {root_key}");
    let accept = if method == "GET" { "text/event-stream" } else { "application/json, text/event-stream" };
    let headers = [("authorization", bearer.as_str()), ("mcp-session-id", session), ("accept", accept), VERSION];
    timeout(PATIENCE, server.send(method, "/mcp", &headers, body)).await.expect("an answer that ends")
}

fn call(id: u64, tool: &str, arguments: Value) -> String {
    let params = json!({ "name": tool, "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string()
}

/// The messages of a stream of events.
fn messages(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
    data.filter(|data| !data.is_empty()).map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn a_session_is_that_of_the_root_key_that_opened_it() {
    let server = server().await;
    let own = server.root_key.clone();
    let stranger = server.world.root_key(&["*"]).await;
    let session = open(&server, &own).await;
    let listed = call(1, "apis_listApis", json!({}));
    let answer = in_session(&server, &own, &session, "POST", &listed).await;
    let message = messages(&answer.text).pop().unwrap_or_else(|| panic!("{answer:?}"));
    assert!(message["result"]["structuredContent"]["data"].is_array(), "{message}");
    for method in ["POST", "GET", "DELETE"] {
        let answer = in_session(&server, &stranger, &session, method, &listed).await;
        assert_eq!(answer.status, 404, "{method}: {answer:?}");
        let made_up = in_session(&server, &stranger, "made-up", method, &listed).await;
        assert_eq!(answer.text, made_up.text, "it does not even say that there is one");
    }
    let answer = in_session(&server, &own, &session, "POST", &listed).await;
    assert_eq!(answer.status, 200, "a stranger ended nothing: {answer:?}");
    assert!(in_session(&server, &own, &session, "DELETE", "").await.status < 300);
    assert_eq!(in_session(&server, &own, &session, "POST", &listed).await.status, 404);
    // The newer protocol has none, and goes on as ever.
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": meta } });
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")];
    let listed = server.post(&headers, &list).await;
    assert!(listed.json()["result"]["tools"].is_array() && listed.header("mcp-session-id").is_empty());
}

#[tokio::test]
async fn in_a_session_the_user_of_an_older_client_is_asked_by_a_form() {
    let server = server().await;
    let own = server.root_key.clone();
    let session = open(&server, &own).await;
    let answer =
        in_session(&server, &own, &session, "POST", &call(1, "apis_createApi", json!({ "name": "letters" })))
            .await;
    let api = messages(&answer.text).pop().unwrap()["result"]["structuredContent"]["data"]["apiId"].clone();
    let answer =
        in_session(&server, &own, &session, "POST", &call(2, "keys_createKey", json!({ "apiId": api }))).await;
    let key = messages(&answer.text).pop().unwrap()["result"]["structuredContent"]["data"]["keyId"].clone();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let body = call(3, "keys_deleteKey", json!({ "keyId": key }));
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {own}\r\nmcp-session-id: {session}\r\n\
         mcp-protocol-version: 2025-11-25\r\naccept: application/json, text/event-stream\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        server.address,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains("elicitation/create") || !text.ends_with("\n\r\n") {
        let mut piece = [0; 4096];
        let read = timeout(PATIENCE, stream.read(&mut piece)).await.expect("a question").unwrap();
        assert!(read > 0, "no question: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    let asked = messages(&text).into_iter().find(|message| message["method"] == "elicitation/create").unwrap();
    assert!(asked["params"]["message"].as_str().unwrap().contains("Deletes the key"), "{asked}");
    let result = json!({ "action": "accept", "content": { "confirm": true } });
    let said = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result }).to_string();
    assert_eq!(in_session(&server, &own, &session, "POST", &said).await.status, 202);
    let mut rest = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut rest)).await.expect("an answer").unwrap();
    let done = messages(&rest).pop().unwrap_or_else(|| panic!("no answer: {rest}"));
    assert_eq!(done["result"]["isError"], false, "{done}");
}

#[tokio::test]
async fn a_stream_that_stays_open_ends_with_the_server() {
    let server = server().await;
    let own = server.root_key.clone();
    let session = open(&server, &own).await;
    let streaming = in_session(&server, &own, &session, "GET", "");
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.stop();
    };
    let (answer, ()) = tokio::join!(streaming, stopping);
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn without_sessions_none_is_looked_for() {
    let server = Server::start().await;
    let headers = [("mcp-session-id", "made-up"), ("mcp-protocol-version", "2025-11-25")];
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    assert_eq!(server.post(&headers, &list).await.status, 200);
    assert_eq!(server.send("GET", "/mcp", &[("content-type", ABSENT)], "").await.status, 405);
}
