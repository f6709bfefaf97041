//! Journeys with real clients: the official SDKs, mcp-remote, an MCP client over stdio, curl.
//! Their versions are pinned in `node/package-lock.json` and `python/requirements.txt`; `tests/run` installs them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use keyrack_test_harness::{Program, ROOT_KEY, Server};
use tokio::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_keyrack");

/// 32 bytes in base64: with a master key, keys can be recoverable.
const MASTER_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn node_script(name: &str) -> Command {
    let folder = repository().join("tests/clients/node");
    assert!(
        folder.join("node_modules").is_dir(),
        "the Node packages are not installed: start the tests with tests/run"
    );
    let mut command = Command::new("node");
    command.arg(folder.join(name)).current_dir(folder);
    command
}

fn python_script(name: &str) -> Command {
    let folder = repository().join("tests/clients/python");
    let python = folder.join(".venv/bin/python");
    assert!(python.is_file(), "the Python packages are not installed: start the tests with tests/run");
    let mut command = Command::new(python);
    command.arg(folder.join(name)).current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a client to its end; the test fails with everything it wrote unless it succeeds.
async fn run(mut command: Command, what: &str, server_log: impl FnOnce() -> String) {
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
}

async fn run_against(server: &Server, mut command: Command, what: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    command
        .env("KEYRACK_TEST_URL", server.base())
        .env("KEYRACK_TEST_ROOT_KEY", ROOT_KEY)
        .env("KEYRACK_TEST_README", repository().join("README.md"))
        .env("KEYRACK_TEST_FOLDER", folder.path());
    run(command, what, || server.log()).await;
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

async fn run_against_server(command: Command, what: &str) {
    let server = Program::new(BINARY).start().await;
    run_against(&server, command, what).await;
}

/// An SDK walks every operation it knows, on a server with all that this needs: a master key and a migration.
async fn walk(mut command: Command, what: &str) {
    let server = Program::new(BINARY).env("KEYRACK_MASTER_KEY", MASTER_KEY).start().await;
    let migration = new_migration(&server);
    command.env("KEYRACK_TEST_MIGRATION", migration);
    run_against(&server, command, what).await;
}

fn new_migration(server: &Server) -> String {
    let done = server.program().command(&["migration", "create", "--algorithm", "sha256"]).output();
    let done = done.expect("keyrack migration create can be run");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text").trim().to_owned()
}

#[tokio::test]
async fn the_typescript_sdk_walks_every_operation_it_knows() {
    walk(node_script("sdk.mjs"), "@unkey/api").await;
}

#[tokio::test]
async fn the_python_sdk_walks_every_operation_it_knows() {
    let mut command = python_script("sdk.py");
    command.arg("sync");
    walk(command, "unkey.py").await;
}

#[tokio::test]
async fn the_asynchronous_python_sdk_walks_every_operation_it_knows() {
    let mut command = python_script("sdk.py");
    command.arg("async");
    walk(command, "unkey.py, asynchronous").await;
}

#[tokio::test]
async fn mcp_remote_works_with_the_settings_that_the_readme_prints() {
    run_against_server(node_script("mcp_remote.mjs"), "mcp-remote").await;
}

#[tokio::test]
async fn curl_is_enough() {
    let script: PathBuf = repository().join("tests/clients/journey.sh");
    let mut command = Command::new("sh");
    command.arg(script);
    run_against_server(command, "curl").await;
}

#[tokio::test]
async fn an_assistant_works_over_stdio_and_two_of_them_share_one_database() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = node_script("mcp_stdio.mjs");
    command.env("KEYRACK_TEST_BINARY", BINARY).env("KEYRACK_TEST_FOLDER", folder.path().join("data"));
    run(command, "an MCP client over stdio", String::new).await;
}
