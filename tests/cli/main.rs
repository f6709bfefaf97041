//! The command line, against the real server: what people type, what they read, how scripts can tell.

mod analytics_export;
mod analytics_sql;
mod audit;
mod commands;
mod doctor;
mod exit_codes;
mod help;
mod journey;
mod mcp_config;
mod migrations;
mod profiles;
mod readme;
mod root_keys;
mod settings;
mod usage;

use keyrack_test_harness::{Program, Server, ended_with_stdin, program_under_test};
use serde_json::Value;
use sqlx::Connection as _;

/// The program under test with fresh data. Its first start writes the root key that commands beside it find.
fn program() -> Program {
    Program::new(program_under_test()).without_env("KEYRACK_BOOTSTRAP_ROOT_KEY")
}

/// A running server with a fresh database of the engine under test.
async fn keyrack() -> Server {
    program().on_engine().await.start().await
}

/// A connection to the database of a server, behind its back.
async fn database(server: &Server) -> sqlx::AnyConnection {
    sqlx::any::install_default_drivers();
    let url = server.program().database_url();
    sqlx::AnyConnection::connect(&url).await.expect("the database can be opened")
}

/// What a command did.
#[derive(Debug)]
struct Done {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Done {
    /// The same, if this was its exit code.
    #[track_caller]
    fn expect(self, code: i32) -> Done {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|fault| panic!("no JSON ({fault}): {self:#?}"))
    }
}

/// A way to run commands: the program's data folder and some environment.
#[derive(Debug, Clone)]
struct Shell {
    program: Program,
    environment: Vec<(String, String)>,
}

impl Shell {
    /// Commands without a server.
    fn alone() -> Shell {
        Shell { program: program(), environment: Vec::new() }
    }

    /// Commands on the machine of a server: its address, and the root key that its first start left.
    fn beside(server: &Server) -> Shell {
        Shell { program: server.program().clone(), environment: Vec::new() }.with("KEYRACK_URL", server.base())
    }

    fn with(mut self, name: &str, value: &str) -> Shell {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn run(&self, line: &[&str]) -> Done {
        self.run_with_stdin(line, "")
    }

    fn run_with_stdin(&self, line: &[&str], stdin: &str) -> Done {
        let mut command = self.program.command(line);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = ended_with_stdin(&mut command, stdin);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Done {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// `data` of a command that is done.
    #[track_caller]
    fn data(&self, line: &[&str]) -> Value {
        self.data_with_stdin(line, "")
    }

    #[track_caller]
    fn data_with_stdin(&self, line: &[&str], stdin: &str) -> Value {
        let line: Vec<&str> = ["api"].iter().chain(line).chain(&["--output", "json"]).copied().collect();
        self.run_with_stdin(&line, stdin).expect(0).json()["data"].clone()
    }
}

/// A text member of data.
#[track_caller]
fn text(data: &Value, member: &str) -> String {
    data[member].as_str().unwrap_or_else(|| panic!("no text {member}: {data}")).to_owned()
}
