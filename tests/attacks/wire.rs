//! Requests as bytes on a connection, in pieces.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use keyrack_test_harness::Server;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long an answer may take on a busy machine: longer than the server lets a request take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a server.
pub(crate) struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
}

/// An answer: its status, its head in lower case, and its body.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Reply {
    /// Whether the server said that the connection ends with it.
    pub(crate) fn closes(&self) -> bool {
        self.head.contains("connection: close")
    }
}

/// The head of a POST with a body of this length.
pub(crate) fn head(path: &str, root_key: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {root_key}\r\n\
         Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

impl Wire {
    pub(crate) async fn to(server: &Server) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket has the option");
        Wire { stream, received: Vec::new() }
    }

    /// Sends bytes; a server that has closed the connection need not take them.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// The next answer; `None` when the connection ends before it.
    pub(crate) async fn reply(&mut self) -> Option<Reply> {
        tokio::time::timeout(PATIENCE, self.read_reply()).await.expect("an answer or an end in time")
    }

    async fn read_reply(&mut self) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.receive().await?;
        };
        let head = String::from_utf8_lossy(&self.received[..end]).to_lowercase();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
        while self.received.len() < end + length {
            self.receive().await?;
        }
        let body = serde_json::from_slice(&self.received[end..end + length]).unwrap_or(Value::Null);
        self.received.drain(..end + length);
        Some(Reply { status, head, body })
    }

    async fn receive(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.received).await.ok()?;
        (read > 0).then_some(())
    }
}
