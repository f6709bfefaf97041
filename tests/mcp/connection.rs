//! Messages of MCP over streamable HTTP, in the older protocol and without a session.

use keyrack_test_harness::http_client;
use serde_json::{Value, json};

/// Whom messages go to.
#[derive(Clone)]
pub(crate) struct Connection {
    http: reqwest::Client,
    url: String,
    root_key: String,
}

impl Connection {
    /// To the server at this address, at one of its paths.
    pub(crate) fn new(base: &str, path: &str, root_key: &str) -> Connection {
        Connection { http: http_client(), url: format!("{base}{path}"), root_key: root_key.to_owned() }
    }

    /// Asks: the whole answer.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        let answer = self.ask_anything(method, params).await;
        assert_eq!(answer.status().as_u16(), 200, "{method}");
        answer.json().await.expect("JSON")
    }

    /// Asks for what may be none: the answer, whatever it is.
    pub(crate) async fn ask_anything(&self, method: &str, params: Value) -> reqwest::Response {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request = self.http.post(&self.url).header("authorization", format!("Bearer {}", self.root_key));
        let request = request.header("accept", "application/json, text/event-stream").json(&message);
        request.send().await.expect("an answer")
    }

    /// Calls a tool: its result.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        let mut answer = self.ask("tools/call", json!({ "name": tool, "arguments": arguments })).await;
        assert!(answer["result"].is_object(), "{tool}: {answer}");
        answer["result"].take()
    }
}

/// What a model reads of a result.
pub(crate) fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {result}"))
}
