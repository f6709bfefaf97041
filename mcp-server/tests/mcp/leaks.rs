//! What this crate and core write to the log never holds a key, whatever the filter. rmcp logs arguments
//! at DEBUG and below; the program caps it at INFO, and so does this test.

use std::io::Write;
use std::sync::{Arc, Mutex};

use rmcp::model::Reference;
use serde_json::json;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::client::{Client, ERAS};
use crate::raw_http::{ABSENT, Server};

/// What was logged.
#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// As text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Captures all that this thread logs, as the program would log it at its most talkative, until the guard goes.
    pub(crate) fn begin() -> (Captured, DefaultGuard) {
        let captured = Captured::default();
        let writer = captured.clone();
        let cap = Targets::new().with_default(LevelFilter::TRACE).with_target("rmcp", LevelFilter::INFO);
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_filter(cap);
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        (captured, guard)
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One thread runs everything, so that its subscriber sees everything.
#[tokio::test(flavor = "current_thread")]
async fn no_key_is_ever_logged() {
    let (captured, _guard) = Captured::begin();
    let server = Server::start().await;
    let mut planted =
        vec![server.root_key.clone(), "planted-argument".to_owned(), "planted-credential".to_owned()];
    for era in ERAS {
        let root_key = server.world.root_key(&["*"]).await;
        let client = Client::connect(&server.world, era, &root_key, 0).await;
        let api = client.call("apis_createApi", json!({ "name": "payments" })).await;
        let key = client.call("keys_createKey", json!({ "apiId": api["data"]["apiId"] })).await;
        client.call("keys_verifyKey", json!({ "key": key["data"]["key"] })).await;
        client.call("keys_verifyKey", json!({ "key": "planted-argument" })).await;
        client.refused("keys_whoami", json!({ "key": "planted-argument" })).await;
        client.refused("keys_whoami", json!({ "key": "planted-argument", "planted-argument": 1 })).await;
        let secret = key["data"]["key"].as_str().unwrap();
        client.prompt("debug_verification", json!({ "key_or_id": secret })).await.unwrap();
        client.complete(Reference::for_prompt("debug_verification"), "key_or_id", secret, &[]).await.unwrap();
        let refusal = client.nothing(&format!("keyrack://keys/{secret}")).await;
        assert!(!refusal.contains(secret), "{refusal}");
        client.nothing("keyrack://keys/planted-argument").await;
        planted.extend([root_key, key["data"]["key"].as_str().unwrap().to_owned()]);
    }
    let call = json!({ "name": "keys_verifyKey", "arguments": { "key": "planted-argument" } });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call });
    assert_eq!(server.post(&[], &message).await.status, 200);
    let wrong = [("authorization", ABSENT), ("x-keyrack-root-key", "planted-credential")];
    assert_eq!(server.post(&wrong, &message).await.status, 403);

    let log = captured.text();
    assert!(log.matches("tool call").count() >= 13, "every call is logged:\n{log}");
    assert!(log.contains("keyrack::refusals"));
    for secret in planted {
        let leaks: Vec<&str> = log.lines().filter(|line| line.contains(&secret)).collect();
        assert!(leaks.is_empty(), "{leaks:#?}");
    }
}
