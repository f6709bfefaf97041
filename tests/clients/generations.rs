//! The official clients of MCP, in both generations: over streamable HTTP and over stdio, in each protocol that they
//! settle on, with forms and without.

use keyrack_test_harness::{Program, program_under_test};
use tokio::process::Command;

use crate::suites::newer_node;
use crate::{node, python_of, run_against};

/// Runs a client against a server, and against the program that it starts itself.
async fn converses(mut command: Command, what: &str) {
    let server = Program::new(program_under_test()).start().await;
    command.env("KEYRACK_TEST_BINARY", program_under_test());
    run_against(&server, command, what).await;
}

#[tokio::test]
async fn the_first_typescript_client_lists_calls_and_asks() {
    converses(node(&["mcp_client.mjs"]), "@modelcontextprotocol/sdk").await;
}

#[tokio::test]
async fn the_second_typescript_client_lists_calls_and_asks() {
    converses(newer_node(&["mcp_client.mjs"]), "@modelcontextprotocol/client").await;
}

#[tokio::test]
async fn the_first_python_client_lists_calls_and_asks() {
    converses(python_of(".venv-mcp-1", &["mcp_1.py"]), "mcp 1").await;
}

#[tokio::test]
async fn the_second_python_client_lists_calls_and_asks() {
    converses(python_of(".venv-mcp-2", &["mcp_2.py"]), "mcp 2").await;
}
