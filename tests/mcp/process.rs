//! A `keyrack mcp` that is spoken to in raw lines.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use keyrack_test_harness::{Program, program_under_test};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const PATIENCE: Duration = Duration::from_secs(20);

/// The program with a fresh database and nothing else.
pub(crate) fn program() -> Program {
    Program::new(program_under_test()).without_env("KEYRACK_BOOTSTRAP_ROOT_KEY")
}

/// A running `keyrack mcp`. Whatever it writes to standard output must be JSON-RPC, or the test fails.
pub(crate) struct Process {
    /// Its data folder lives as long as it does.
    _program: Program,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    next_id: u64,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// What it answered since it was last read.
    pub(crate) answers: Vec<Value>,
    pub(crate) stderr: String,
}

impl Process {
    pub(crate) fn start(program: &Program, arguments: &[&str]) -> Process {
        let arguments: Vec<&str> = ["mcp"].iter().chain(arguments).copied().collect();
        let mut command = Command::from(program.command(&arguments));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the program can be run");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        Process { _program: program.clone(), child, stdin, stdout, next_id: 1 }
    }

    /// Starts one and greets it as a client of the 2025 protocol.
    pub(crate) async fn greeted(program: &Program) -> Process {
        let mut process = Process::start(program, &[]);
        let hello = process.ask("initialize", hello()).await;
        assert_eq!(hello["result"]["protocolVersion"], "2025-11-25", "{hello}");
        process.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string()).await;
        process
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Writes a line, whatever it is.
    pub(crate) async fn write(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    }

    /// Sends a request: its id.
    pub(crate) async fn send(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.write(&request.to_string()).await;
        id
    }

    /// Sends a request and reads its answer, the next line.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        let answer = self.read().await.unwrap_or_else(|| panic!("{method} was not answered"));
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// Calls a tool: its result.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments })).await["result"].clone()
    }

    /// Calls a tool that does what it is asked, once somebody agreed if that has to be: its `data`.
    pub(crate) async fn data(&mut self, tool: &str, mut arguments: Value) -> Value {
        let mut result = self.call(tool, arguments.clone()).await;
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        if let Some((_, rest)) = text.split_once("`confirmToken`: \"") {
            arguments["confirmToken"] = rest.split('"').next().unwrap_or_default().into();
            result = self.call(tool, arguments).await;
        }
        assert_eq!(result["isError"], false, "{tool}: {result}");
        result["structuredContent"]["data"].clone()
    }

    /// The next line.
    pub(crate) async fn read(&mut self) -> Option<Value> {
        let line = tokio::time::timeout(PATIENCE, self.stdout.next_line()).await.expect("it answers in time");
        line.expect("standard output can be read").map(|line| message(&line))
    }

    /// Closes standard input and waits for the end.
    pub(crate) async fn close(mut self) -> Ended {
        self.stdin = None;
        self.wait().await
    }

    /// Waits for the end.
    pub(crate) async fn wait(mut self) -> Ended {
        let mut answers = Vec::new();
        while let Some(answer) = self.read().await {
            answers.push(answer);
        }
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().expect("it was piped");
        let read = tokio::time::timeout(PATIENCE, pipe.read_to_string(&mut stderr)).await;
        read.expect("standard error ends in time").expect("standard error is text");
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends in time");
        Ended { status: status.expect("it can be waited for"), answers, stderr }
    }
}

/// What a line of standard output must be.
fn message(line: &str) -> Value {
    let message: Value =
        serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON on standard output: {line}"));
    assert_eq!(message["jsonrpc"], "2.0", "{line}");
    message
}

/// The parameters of `initialize`.
pub(crate) fn hello() -> Value {
    json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    })
}

/// Sends SIGTERM.
pub(crate) fn terminate(id: u32) {
    let status = std::process::Command::new("kill").args(["-TERM", &id.to_string()]).status();
    assert!(status.expect("there is a kill").success());
}
