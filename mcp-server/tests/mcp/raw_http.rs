//! HTTP by hand: requests with any header, answers as they come.

use std::net::{IpAddr, SocketAddr};

use axum::Extension;
use keyrack_core::caller::ClientAddress;
use keyrack_mcp_server::http::{HttpSettings, router};
use keyrack_mcp_server::{Confirm, Policy};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::world::{World, catalogue};

/// MCP on a real listener, stopped when dropped.
pub(crate) struct Server {
    pub(crate) world: World,
    /// A root key with full access.
    pub(crate) root_key: String,
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut HttpSettings)) -> Server {
        let world = World::new().await;
        let shutdown = CancellationToken::new();
        let mut settings = HttpSettings {
            public_hosts: vec!["keys.example".to_owned()],
            literal_addresses: false,
            policy: Policy { confirm: Confirm::Off, ..Policy::default() },
            max_body_bytes: 1 << 20,
            sessions: false,
            shutdown: shutdown.clone(),
        };
        change(&mut settings);
        let client_address: IpAddr = "203.0.113.7".parse().unwrap();
        let routes = router(world.keyrack.clone(), catalogue().clone(), settings)
            .layer(Extension(ClientAddress(Some(client_address))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = shutdown.clone().cancelled_owned();
        tokio::spawn(async move { axum::serve(listener, routes).with_graceful_shutdown(stopped).await.unwrap() });
        let root_key = world.root_key(&["*"]).await;
        Server { world, root_key, address, shutdown }
    }

    /// Stops the listener; requests in flight may finish.
    pub(crate) fn stop(&self) {
        self.shutdown.cancel();
    }

    /// A POST of a message to `/mcp` with the root key, unless a header says otherwise.
    pub(crate) async fn post(&self, headers: &[(&str, &str)], message: &Value) -> Answer {
        self.send("POST", "/mcp", headers, &message.to_string()).await
    }

    /// Any request. Headers in lower case; the usual ones are added where they are missing.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.root_key);
        let host = self.address.to_string();
        let usual = [
            ("host", host.as_str()),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("authorization", &bearer),
        ];
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        let missing = usual.iter().filter(|(name, _)| !headers.iter().any(|(given, _)| given == name));
        for (name, value) in headers.iter().chain(missing).filter(|(_, value)| *value != ABSENT) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
        let mut text = Vec::new();
        // A server that refuses a body may close before it was read; what it said is there all the same.
        let _ = stream.read_to_end(&mut text).await;
        Answer::read(&String::from_utf8_lossy(&text))
    }
}

/// As the value of a header: leave out the usual one.
pub(crate) const ABSENT: &str = "-";

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    fn read(text: &str) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        Answer {
            status: status.unwrap_or_else(|| panic!("no answer: {text:?}")),
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
            text: body.to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The body, which is JSON and says so.
    pub(crate) fn json(&self) -> Value {
        assert!(self.header("content-type").starts_with("application/json"), "{self:?}");
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The sentence of a refusal in JSON-RPC's form.
    pub(crate) fn refusal(&self) -> String {
        let body = self.json();
        assert_eq!((&body["jsonrpc"], &body["id"]), (&"2.0".into(), &Value::Null), "{body}");
        body["error"]["message"].as_str().unwrap().to_owned()
    }
}
