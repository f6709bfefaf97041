//! Just enough MCP to ask one thing: JSON-RPC over the streamable HTTP transport.

use keyrack_test_harness::{ROOT_KEY, Server};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Value, json};

/// An initialised MCP session that sees all tools.
pub(crate) struct Session<'a> {
    server: &'a Server,
    id: String,
}

impl<'a> Session<'a> {
    /// Greets the server as a client of the 2025 protocol.
    pub(crate) async fn open(server: &'a Server) -> Self {
        let mut session = Self { server, id: String::new() };
        let hello = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        });
        let (id, answer) =
            session.post(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello})).await;
        assert!(answer.contains("serverInfo"), "{answer}");
        session.id = id;
        session.post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        session
    }

    /// One request; the whole answer as it came.
    pub(crate) async fn ask_text(&self, method: &str, params: Value) -> String {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.post(message).await.1
    }

    /// One request; its `result`.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        let text = self.ask_text(method, params).await;
        // Either a JSON body or a stream of events, one of which is the answer.
        let answer = text
            .lines()
            .map(|line| line.strip_prefix("data:").unwrap_or(line).trim())
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|message| message["id"] == 1);
        let answer = answer.unwrap_or_else(|| panic!("{method} was not answered: {text}"));
        assert_eq!(answer.get("error"), None, "{method}: {text}");
        answer["result"].clone()
    }

    /// Calls a tool, once somebody agreed if that has to be: its result.
    pub(crate) async fn call(&self, tool: &str, mut arguments: Value) -> Value {
        let call = |arguments: &Value| json!({"name": tool, "arguments": arguments});
        let result = self.ask("tools/call", call(&arguments)).await;
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        let Some((_, rest)) = text.split_once("`confirmToken`: \"") else { return result };
        arguments["confirmToken"] = rest.split('"').next().unwrap_or_default().into();
        self.ask("tools/call", call(&arguments)).await
    }

    async fn post(&self, message: Value) -> (String, String) {
        let mut request = self
            .server
            .request(Method::POST, "/mcp?toolsets=all")
            .header("MCP-UNKEY-BEARER-AUTH", ROOT_KEY)
            .header(ACCEPT, "application/json, text/event-stream")
            .header(CONTENT_TYPE, "application/json")
            .body(message.to_string());
        if !self.id.is_empty() {
            request = request.header("Mcp-Session-Id", &self.id);
        }
        if message["method"] != "initialize" {
            request = request.header("MCP-Protocol-Version", "2025-06-18");
        }
        let answer = self.server.send("POST /mcp", request).await;
        assert!(answer.status < 300, "{} {}", answer.status, answer.text);
        (answer.header("mcp-session-id").to_owned(), answer.text)
    }
}
