//! An application's side of MCP, in the older protocol: to a program that it started, and to a server.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use keyrack_test_harness::http_client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// npx and Node start, and the machine may have other work.
const PATIENCE: Duration = Duration::from_secs(60);

/// The parameters of `initialize`.
pub(super) fn hello() -> Value {
    json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "keyrack-test", "version": "1" },
    })
}

fn message(id: u64, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// Asks a server: its answer.
pub(super) async fn ask_over_http(
    url: &str,
    headers: &BTreeMap<String, String>,
    method: &str,
    params: Value,
) -> Value {
    let mut request = http_client().post(url).header("accept", "application/json, text/event-stream");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = request.json(&message(1, method, &params)).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200, "{method}");
    answer.json().await.expect("JSON")
}

/// A program that was started; ended when dropped.
pub(super) struct Talk {
    _child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    /// Its home folder.
    _home: TempDir,
    next_id: u64,
}

impl Talk {
    /// Starts a program as an application does: with an environment of the least and what its settings say.
    pub(super) fn start(command: &str, arguments: &[String], environment: &BTreeMap<String, String>) -> Talk {
        let home = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(command);
        child
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("NO_PROXY", "*")
            .envs(environment)
            // mcp-remote is the pinned copy beside these tests, never another one.
            .current_dir(crate::folder().join("node"))
            .env("npm_config_offline", "true")
            .env("MCP_REMOTE_CONFIG_DIR", home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = child.spawn().unwrap_or_else(|fault| panic!("{command} cannot be run: {fault}"));
        let stdin = child.stdin.take().expect("it was piped");
        let stdout = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        Talk { _child: child, stdin, stdout, _home: home, next_id: 1 }
    }

    /// Says hello to Keyrack.
    pub(super) async fn greet(&mut self) {
        let hello = self.ask("initialize", hello()).await;
        assert_eq!(hello["result"]["serverInfo"]["name"], "keyrack", "{hello}");
        self.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        self.write(&message(id, method, &params)).await;
        loop {
            let line = tokio::time::timeout(PATIENCE, self.stdout.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{method} is not answered in time"));
            let line = line.expect("text").unwrap_or_else(|| panic!("it ended instead of answering {method}"));
            let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            if answer["id"] == id {
                return answer;
            }
        }
    }

    async fn write(&mut self, message: &Value) {
        self.stdin.write_all(format!("{message}\n").as_bytes()).await.expect("it reads");
    }
}
