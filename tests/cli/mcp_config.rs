//! `keyrack mcp-config`: what it prints is what clients read.

use std::path::Path;

use keyrack_test_harness::program_under_test;
use serde_json::{Value, json};

use crate::{Shell, keyrack, text};

#[test]
fn every_client_gets_json_and_is_told_where_to_paste_it() {
    for client in ["claude", "cursor", "windsurf", "vscode"] {
        for form in [&[][..], &["--http"], &["--http", "https://keys.example.com"]] {
            let done = Shell::alone().run(&[&["mcp-config", client], form].concat()).expect(0);
            let servers = if client == "vscode" { "servers" } else { "mcpServers" };
            assert!(done.json()[servers]["keyrack"].is_object(), "{done:?}");
            assert!(done.stderr.contains(".json") && done.stderr.contains("root-key"), "{done:?}");
        }
    }
    Shell::alone().run(&["mcp-config", "emacs"]).expect(2);
}

#[test]
fn the_stdio_form_starts_this_very_program_on_the_same_data() {
    let shell = Shell::alone();
    let server = shell.run(&["mcp-config", "claude"]).expect(0).json()["mcpServers"]["keyrack"].clone();
    let this = program_under_test().canonicalize().expect("the program");
    assert_eq!(Path::new(&text(&server, "command")).canonicalize().expect("a path"), this);
    assert_eq!(server["args"], json!(["mcp"]));
    let data_dir = shell.program.data_dir();
    assert_eq!(server["env"], json!({ "KEYRACK_DATA_DIR": data_dir.to_str().expect("a path") }));
}

#[tokio::test]
async fn the_root_key_is_shown_only_if_it_is_asked_for() {
    let server = keyrack().await;
    let shell = Shell::beside(&server);
    let root_key = std::fs::read_to_string(server.data_dir().join("root-key")).expect("the root key");
    for client in ["claude", "cursor", "windsurf", "vscode"] {
        let hidden = shell.run(&["mcp-config", client, "--http"]).expect(0);
        assert!(!format!("{}{}", hidden.stdout, hidden.stderr).contains(root_key.trim()));
        let shown = shell.run(&["mcp-config", client, "--http", "--show-root-key"]).expect(0);
        assert!(shown.stdout.contains(root_key.trim()) && !shown.stderr.contains(root_key.trim()));
    }
}

/// Blocks of JSON in a Markdown text.
fn blocks(markdown: &str) -> Vec<Value> {
    let blocks = markdown.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter_map(|block| serde_json::from_str(block).ok()).collect()
}

#[test]
fn the_readme_shows_what_it_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(path).expect("the README");
    let printed = Shell::alone().run(&["mcp-config", "claude", "--http"]).expect(0).json();
    assert!(blocks(&readme).contains(&printed), "the README has no block {printed:#}");
}
