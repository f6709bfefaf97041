//! `keyrack mcp-config`: what it prints is what clients read, and what it writes leaves the rest as it was.

use std::path::Path;

use keyrack_test_harness::{Server, program_under_test};
use serde_json::{Value, json};

use crate::{Done, Shell, keyrack, text};

/// Each client, with the member of its settings that holds the servers.
const CLIENTS: [(&str, &str); 10] = [
    ("claude", "mcpServers"),
    ("claude-code", "mcpServers"),
    ("cursor", "mcpServers"),
    ("windsurf", "mcpServers"),
    ("vscode", "servers"),
    ("codex", "mcp_servers"),
    ("gemini", "mcpServers"),
    ("zed", "context_servers"),
    ("cline", "mcpServers"),
    ("jetbrains", "mcpServers"),
];

/// The server that a client's settings describe, whichever their format.
fn server_in(client: &str, settings: &str, name: &str) -> Value {
    let (_, servers) = CLIENTS.iter().find(|(known, _)| *known == client).expect("a client");
    let settings: Value = match client {
        "codex" => toml::from_str(settings).unwrap_or_else(|fault| panic!("{fault}: {settings}")),
        _ => serde_json::from_str(settings).unwrap_or_else(|fault| panic!("{fault}: {settings}")),
    };
    settings[servers][name].clone()
}

fn shown(client: &str, done: &Done) -> Value {
    server_in(client, &done.stdout, "keyrack")
}

#[test]
fn every_client_gets_its_settings_and_is_told_where_to_paste_them() {
    for (client, _) in CLIENTS {
        for form in [&[][..], &["--http"], &["--http", "https://keys.example.com"], &["--http", "--mcp-remote"]] {
            let done = Shell::alone().run(&[&["mcp-config", client], form].concat()).expect(0);
            let server = shown(client, &done);
            assert!(server.is_object(), "{done:?}");
            let is_program = server.get("command").is_some();
            let asks_for_http = form.len() == 1 || form.get(1).is_some_and(|url| url.starts_with("https"));
            let connects_by_itself = asks_for_http && !["claude", "jetbrains"].contains(&client);
            assert_eq!(is_program, !connects_by_itself, "{done:?}");
            let goes_somewhere = done.stderr.contains(".json") || done.stderr.contains(".toml");
            assert!(goes_somewhere || client == "jetbrains", "{done:?}");
            assert!(done.stderr.contains("root-key") && done.stderr.contains("full access"), "{done:?}");
        }
    }
    Shell::alone().run(&["mcp-config", "emacs"]).expect(2);
    Shell::alone().run(&["mcp-config"]).expect(2);
}

#[test]
fn the_stdio_form_starts_this_very_program_on_the_same_data() {
    let shell = Shell::alone();
    let this = program_under_test().canonicalize().expect("the program");
    let data_dir = shell.program.data_dir();
    for (client, _) in CLIENTS {
        let server = shown(client, &shell.run(&["mcp-config", client]).expect(0));
        assert_eq!(Path::new(&text(&server, "command")).canonicalize().expect("a path"), this);
        assert_eq!(server["args"], json!(["mcp"]));
        assert_eq!(server["env"], json!({ "KEYRACK_DATA_DIR": data_dir.to_str().expect("a path") }));
    }
}

#[tokio::test]
async fn the_root_key_is_shown_only_if_it_is_asked_for() {
    let server = keyrack().await;
    let shell = Shell::beside(&server);
    let root_key = std::fs::read_to_string(server.data_dir().join("root-key")).expect("the root key");
    for (client, _) in CLIENTS {
        let hidden = shell.run(&["mcp-config", client, "--http"]).expect(0);
        assert!(!format!("{}{}", hidden.stdout, hidden.stderr).contains(root_key.trim()));
        let shown = shell.run(&["mcp-config", client, "--http", "--show-root-key"]).expect(0);
        assert!(shown.stdout.contains(root_key.trim()) && !shown.stderr.contains(root_key.trim()));
    }
}

#[test]
fn wishes_are_arguments_of_the_program_and_a_query_of_the_address() {
    let wishes = [
        "--toolsets",
        "keys,analytics",
        "--read-only",
        "--exclude-tools",
        "keys_verifyKey",
        "--api",
        "api_1",
        "--view",
        "compact",
    ];
    let stdio =
        Shell::alone().run(&[&["mcp-config", "cursor", "--name", "keyrack-prod"][..], &wishes].concat()).expect(0);
    let server = server_in("cursor", &stdio.stdout, "keyrack-prod");
    let arguments: Vec<&str> =
        server["args"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let expected =
        "mcp --toolsets keys,analytics --exclude-tools keys_verifyKey --read-only true --api api_1 --view compact";
    assert_eq!(arguments.join(" "), expected);
    // Nothing is said that `keyrack mcp` does not know: it goes on until its input ends.
    Shell::alone().run(&arguments).expect(0);
    let form = ["mcp-config", "cursor", "--http", "https://keys.example.com"];
    let http = Shell::alone().run(&[&form[..], &wishes].concat()).expect(0);
    assert_eq!(
        shown("cursor", &http)["url"],
        "https://keys.example.com/mcp?toolsets=keys,analytics&exclude_tools=keys_verifyKey&read_only=true&api=api_1&view=compact"
    );
    let refused = Shell::alone().run(&["mcp-config", "cursor", "--toolsets", "kyes"]).expect(2);
    assert!(refused.stderr.contains("kyes") && refused.stderr.contains("analytics"), "{refused:?}");
    Shell::alone().run(&["mcp-config", "cursor", "--name", "two words"]).expect(2);
}

#[test]
fn a_settings_file_gets_an_entry_and_keeps_the_rest() {
    let shell = Shell::alone();
    let folder = shell.program.data_dir().to_owned();
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("mcp.json");
    let before = "{\n  \"mcpServers\": {\n    \"github\": { \"url\": \"https://api.example.com\" }\n  }\n}\n";
    std::fs::write(&file, before).expect("a file");
    let write = format!("--write={}", file.display());
    let dry = shell.run(&["mcp-config", "cursor", &write, "--dry-run"]).expect(0);
    assert!(dry.stderr.contains("github") && dry.stderr.contains("Nothing was written"), "{dry:?}");
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), before);

    let done = shell.run(&["mcp-config", "cursor", &write]).expect(0);
    assert_eq!(done.stdout, "");
    shell.run(&["mcp-config", "cursor", &write, "--name", "second", "--read-only"]).expect(0);
    let after = std::fs::read_to_string(&file).expect("the file");
    assert_eq!(server_in("cursor", &after, "github")["url"], "https://api.example.com");
    assert_eq!(server_in("cursor", &after, "keyrack")["args"], json!(["mcp"]));
    assert_eq!(server_in("cursor", &after, "second")["args"], json!(["mcp", "--read-only", "true"]));
    let names = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let backups: Vec<_> = names.filter(|path| path.to_string_lossy().contains("keyrack-backup-")).collect();
    assert_eq!(backups.len(), 2, "{backups:?}");
    assert!(backups.iter().any(|path| std::fs::read_to_string(path).expect("a backup") == before));

    std::fs::write(&file, "{ this is no JSON").expect("a file");
    let refused = shell.run(&["mcp-config", "cursor", &write, "--new-root-key", "assistant"]).expect(1);
    assert!(refused.stderr.contains("stays as it is"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "{ this is no JSON");
    let pasted = shell.run(&["mcp-config", "jetbrains", "--write"]).expect(1);
    assert!(pasted.stderr.contains("paste"), "{pasted:?}");
}

#[test]
fn a_clients_own_file_is_found_in_the_home_folder() {
    let shell = Shell::alone();
    let home = shell.program.data_dir().join("home");
    for (client, path) in [
        ("claude-code", ".claude.json"),
        ("cursor", ".cursor/mcp.json"),
        ("windsurf", ".codeium/windsurf/mcp_config.json"),
        ("codex", ".codex/config.toml"),
        ("gemini", ".gemini/settings.json"),
        ("cline", ".cline/data/settings/cline_mcp_settings.json"),
    ] {
        let home = home.to_str().expect("a path");
        shell.clone().with("HOME", home).run(&["mcp-config", client, "--write"]).expect(0);
        let written = std::fs::read_to_string(Path::new(home).join(path)).expect("the file");
        assert_eq!(server_in(client, &written, "keyrack")["args"], json!(["mcp"]), "{client}");
    }
}

/// What the root key of this secret may do.
async fn grants(server: &Server, root_key: &str) -> Value {
    let overview = server.with_key(root_key).call("workspace.getOverview", json!({})).await.expect(200);
    overview.data()["rootKey"]["permissions"].clone()
}

#[tokio::test]
async fn a_new_root_key_has_no_more_than_its_preset_says() {
    let server = keyrack().await;
    let shell = Shell::beside(&server);
    let file = server.data_dir().join("client.json");
    let write = format!("--write={}", file.display());
    for (at, preset) in ["assistant", "support", "developer"].into_iter().enumerate() {
        for form in [&[][..], &["--http", server.base()]] {
            let done =
                shell.run(&[&["mcp-config", "cursor", &write, "--new-root-key", preset], form].concat()).expect(0);
            let written = std::fs::read_to_string(&file).expect("the file");
            let entry = server_in("cursor", &written, "keyrack");
            let place = if form.is_empty() { "/env/KEYRACK_ROOT_KEY" } else { "/headers/MCP-UNKEY-BEARER-AUTH" };
            let root_key = entry.pointer(place).and_then(Value::as_str).expect("a root key");
            assert!(!format!("{}{}", done.stdout, done.stderr).contains(root_key), "it is shown on the terminal");
            let grants = grants(&server, root_key).await;
            let grants: Vec<&str> = grants.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
            assert!(grants.contains(&"api.*.read_key") && !grants.contains(&"*"), "{grants:?}");
            assert_eq!(grants.contains(&"api.*.update_key"), at > 0, "{grants:?}");
            assert_eq!(grants.contains(&"api.*.create_key"), preset == "developer", "{grants:?}");
        }
    }
    let printed = shell.run(&["mcp-config", "cursor", "--new-root-key", "assistant"]).expect(0);
    let root_key = text(&shown("cursor", &printed)["env"], "KEYRACK_ROOT_KEY");
    assert!(!printed.stderr.contains(&root_key), "{printed:?}");
    let refused = server.with_key(&root_key).call("apis.createApi", json!({"name": "payments"})).await;
    assert_eq!(refused.status, 403);
    shell.run(&["mcp-config", "cursor", "--new-root-key", "everything"]).expect(2);
}

#[tokio::test]
async fn the_rules_for_agents_name_pages_that_there_are() {
    let server = keyrack().await;
    let rules = Shell::beside(&server).run(&["mcp-config", "--rules", "--http", server.base()]).expect(0).stdout;
    let addresses = rules.split(server.base()).skip(1).map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !"/.-".contains(letter));
        rest[..end.unwrap_or(rest.len())].trim_end_matches('.')
    });
    let mut pages = 0;
    for path in addresses.filter(|path| !path.is_empty() && !path.starts_with("/v2")) {
        server.get(path).await.expect(200);
        pages += 1;
    }
    assert!(pages >= 4, "{rules}");
    assert!(!rules.contains("keyrack_"), "{rules}");
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

#[test]
fn mcp_remote_is_of_the_version_that_the_tests_connect_through() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/node/package.json");
    let packages: Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect("the packages")).expect("JSON");
    let version = packages["dependencies"]["mcp-remote"].as_str().expect("a version");
    let printed = Shell::alone().run(&["mcp-config", "claude", "--http"]).expect(0);
    assert_eq!(shown("claude", &printed)["args"][1], format!("mcp-remote@{version}"));
}
