//! Journeys with real clients: the official SDKs, those of MCP in both generations, mcp-remote, the Inspector, curl; and
//! the conformance suite of MCP. Their versions are pinned in `package-lock.json` of `node` and `newer-node`, and in
//! `requirements.txt`, `mcp-1.txt` and `mcp-2.txt` of `python`; `tests/run` installs them.

mod configured;
mod generations;
mod guide;
mod suites;
#[expect(unreachable_pub, reason = "its reader makes a module of it")]
mod verify_in_rust;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use keyrack_test_harness::{Program, ROOT_KEY, Server, program_under_test};
use serde_json::json;
use tokio::process::Command;

/// 32 bytes in base64: with a master key, keys can be recoverable.
const MASTER_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// What belongs to the clients.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

/// Node with these arguments, beside the installed packages.
fn node(arguments: &[&str]) -> Command {
    let folder = folder().join("node");
    assert!(
        folder.join("node_modules").is_dir(),
        "the Node packages are not installed: start the tests with tests/run"
    );
    let mut command = Command::new("node");
    command.args(arguments).current_dir(folder);
    command
}

/// Python with these arguments, beside the installed packages.
fn python(arguments: &[&str]) -> Command {
    python_of(".venv", arguments)
}

/// Python of this virtual environment.
fn python_of(environment: &str, arguments: &[&str]) -> Command {
    let folder = folder().join("python");
    let python = folder.join(environment).join("bin/python");
    assert!(python.is_file(), "the Python packages are not installed: start the tests with tests/run");
    let mut command = Command::new(python);
    command.args(arguments).current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a client to its end and returns its stdout; the test fails with everything it wrote unless it succeeds.
async fn run(mut command: Command, what: &str, server_log: impl FnOnce() -> String) -> String {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|fault| panic!("{what} cannot be run: {fault}"));
    assert!(
        output.status.success(),
        "{what} failed with {}\nstdout:\n{}\nstderr:\n{}\nserver:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        server_log()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn run_against(server: &Server, mut command: Command, what: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    command
        .env("KEYRACK_TEST_URL", server.base())
        .env("KEYRACK_TEST_ROOT_KEY", ROOT_KEY)
        .env("KEYRACK_TEST_README", readme())
        .env("KEYRACK_TEST_FOLDER", folder.path())
        // Clients that heed a proxy would ask it for the loopback interface.
        .env("NO_PROXY", "*")
        .env("no_proxy", "*");
    let written = run(command, what, || server.log()).await;
    assert!(!server.log().contains("panicked"), "{}", server.log());
    written
}

async fn run_against_server(command: Command, what: &str) {
    let server = Program::new(program_under_test()).start().await;
    run_against(&server, command, what).await;
}

/// Runs a client that reaches every operation, on a server with all that this needs: a master key and a migration.
async fn run_against_everything(program: Program, mut command: Command, what: &str) {
    let server = program.env("KEYRACK_MASTER_KEY", MASTER_KEY).start().await;
    let migration = server.program().command(&["migration", "create", "--algorithm", "sha256"]).output();
    let migration = migration.expect("keyrack migration create can be run");
    assert!(migration.status.success(), "{}", String::from_utf8_lossy(&migration.stderr));
    let migration = String::from_utf8(migration.stdout).expect("an id");
    command.env("KEYRACK_TEST_MIGRATION", migration.trim());
    run_against(&server, command, what).await;
}

#[tokio::test]
async fn the_typescript_sdk_walks_every_operation_it_knows() {
    run_against_everything(Program::new(program_under_test()), node(&["sdk.mjs"]), "@unkey/api").await;
}

#[tokio::test]
async fn the_python_sdk_walks_every_operation_it_knows() {
    run_against_everything(Program::new(program_under_test()), python(&["sdk.py", "sync"]), "unkey.py").await;
}

#[tokio::test]
async fn the_asynchronous_python_sdk_walks_every_operation_it_knows() {
    run_against_everything(Program::new(program_under_test()), python(&["sdk.py", "async"]), "unkey.py").await;
}

#[tokio::test]
async fn the_fuzzer_finds_nothing_on_sqlite() {
    run_against_everything(Program::new(program_under_test()), python(&["fuzz.py"]), "schemathesis").await;
}

#[tokio::test]
async fn the_fuzzer_finds_nothing_on_postgres() {
    let program = Program::new(program_under_test()).on_postgres().await;
    run_against_everything(program, python(&["fuzz.py"]), "schemathesis").await;
}

/// The program in this language that README.md prints, with the server's address and a real key in it.
async fn program_of_the_readme(language: &str, server: &Server) -> String {
    let readme = std::fs::read_to_string(readme()).expect("README.md can be read");
    let (_, block) = readme.split_once(&format!("```{language}\n")).expect("README.md has a program");
    let (program, _) = block.split_once("```").expect("the program ends");
    assert!(program.contains("http://127.0.0.1:8080") && program.contains("pay_…"), "{program}");
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let created = server.call("keys.createKey", json!({"apiId": api, "prefix": "pay"})).await.expect(200);
    program.replace("http://127.0.0.1:8080", server.base()).replace("pay_…", &created.text_of("key"))
}

#[tokio::test]
async fn the_sdk_programs_of_the_readme_verify_a_key() {
    let server = Program::new(program_under_test()).start().await;
    let typescript = program_of_the_readme("ts", &server).await;
    let mut command = node(&["--input-type=module", "--eval", &typescript]);
    command.env("ROOT_KEY", ROOT_KEY);
    assert_eq!(run_against(&server, command, "the README's TypeScript").await.trim(), "true VALID");
    let mut command = python(&["-c", &program_of_the_readme("py", &server).await]);
    command.env("ROOT_KEY", ROOT_KEY);
    assert_eq!(run_against(&server, command, "the README's Python").await.trim(), "True VALID");
}

#[tokio::test]
async fn the_hono_app_of_the_readme_is_protected() {
    run_against_server(node(&["hono.mjs"]), "@unkey/hono and @unkey/ratelimit").await;
}

#[tokio::test]
async fn mcp_remote_works_with_the_settings_that_the_readme_prints() {
    run_against_server(node(&["mcp_remote.mjs"]), "mcp-remote").await;
}

#[tokio::test]
async fn curl_is_enough() {
    let script: PathBuf = folder().join("journey.sh");
    let mut command = Command::new("sh");
    command.arg(script);
    run_against_server(command, "curl").await;
}

#[tokio::test]
async fn an_assistant_works_over_stdio_and_two_of_them_share_one_database() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = node(&["mcp_stdio.mjs"]);
    command
        .env("KEYRACK_TEST_BINARY", program_under_test())
        .env("KEYRACK_TEST_FOLDER", folder.path().join("data"));
    run(command, "an MCP client over stdio", String::new).await;
}
