//! The commands of README.md and of guides, one after the other as a reader would run them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use keyrack_test_harness::{Server, ended_with_stdin, program_under_test};

use crate::program;

/// What prepares the reader's machine and not Keyrack.
const PREPARATIONS: [&str; 4] = ["cargo ", "tests/run", "install ", "export "];

/// The commands of all shell blocks, each with its continuation lines.
fn commands(readme: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for block in readme.split("```sh\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        let mut command = String::new();
        for line in block.lines().filter(|line| !line.starts_with('#')) {
            // What is said about a command stands behind it.
            command.push_str(line.split("  #").next().unwrap_or_default().trim_end());
            command.push('\n');
            let goes_on = line.ends_with('\\') || command.matches('\'').count() % 2 == 1;
            if !goes_on {
                commands.push(std::mem::take(&mut command).trim().to_owned());
            }
        }
    }
    commands.retain(|command| !command.is_empty());
    commands
}

/// What a reader puts in place of `api_…` and the like: what an earlier command has shown.
#[derive(Default)]
struct Shown(BTreeMap<&'static str, String>);

impl Shown {
    fn remember(&mut self, output: &str) {
        for prefix in ["api_", "key_", "mig_", "pay_"] {
            let mut words = output.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            if let Some(id) = words.rfind(|word| word.starts_with(prefix) && word.len() > prefix.len()) {
                self.0.insert(prefix, id.to_owned());
            }
        }
    }

    fn filled(&self, command: &str) -> String {
        let mut filled = command.replace("<base64 of the SHA-256 of the key>", &format!("{}=", "A".repeat(43)));
        for (prefix, id) in &self.0 {
            filled = filled.replace(&format!("{prefix}…"), id);
        }
        assert!(!filled.contains('…'), "no earlier command has shown what goes here: {filled}");
        filled
    }
}

/// Runs a line in a shell beside the server, as its reader.
fn run(server: &Server, line: &str, stdin: &str) -> String {
    let program = program_under_test();
    let folder = program.parent().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    // As its reader is told to.
    let root_key = std::fs::read_to_string(server.data_dir().join("root-key")).expect("the first start wrote it");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &line.replace("http://127.0.0.1:8080", server.base())])
        // What commands write is nobody else's.
        .current_dir(server.data_dir())
        .env_clear()
        .env("PATH", format!("{}:{path}", folder.display()))
        .env("HOME", server.data_dir())
        .env("KEYRACK_DATA_DIR", server.data_dir())
        .env("KEYRACK_URL", server.base())
        .env("ROOT_KEY", root_key.trim())
        .env("no_proxy", "*");
    let output = ended_with_stdin(&mut shell, stdin);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{line}\n{stdout}\n{stderr}");
    assert!(!stdout.contains("\"error\""), "{line}\n{stdout}");
    stdout.into_owned()
}

#[tokio::test]
async fn every_command_of_the_readme_works() {
    let server = program().start().await;
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"));
    let mut shown = Shown::default();
    let mut run_so_far = 0;
    for command in commands(&readme.expect("README.md can be read")) {
        if PREPARATIONS.iter().any(|preparation| command.starts_with(preparation)) {
            continue;
        }
        assert!(command.starts_with("curl ") || command.starts_with("keyrack "), "what is this? {command}");
        let stdin = shown.0.get("pay_").cloned().unwrap_or_default();
        let output = run(&server, &shown.filled(&command), &stdin);
        shown.remember(&output);
        run_so_far += 1;
    }
    assert!(run_so_far >= 10, "only {run_so_far} commands were found");
}

/// A guide as a server shows it that listens where the README's does.
fn guide(slug: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(slug).with_extension("md");
    let text = std::fs::read_to_string(path).expect("the guide can be read");
    text.replace("{{base}}", "http://127.0.0.1:8080").replace("$KEYRACK_ROOT_KEY", "$ROOT_KEY")
}

#[tokio::test]
async fn every_command_of_these_guides_works() {
    let server = program().start().await;
    let mut shown = Shown::default();
    let api = run(&server, "keyrack api apis create-api --name payments", "");
    shown.remember(&api);
    let issue = shown.filled("keyrack api keys create-key --api-id api_… --prefix pay");
    shown.remember(&run(&server, &issue, ""));
    let filled = |command: &str| shown.filled(&command.replace("<keyId>", "key_…").replace("<key>", "pay_…"));
    // Those of the guide about SQL run in the HTTP tests, which know what they answer.
    for (slug, at_least) in [("why-is-a-key-refused", 3), ("assistants", 4), ("verify-in-your-service", 3)] {
        let commands = commands(&guide(slug));
        assert!(commands.len() >= at_least, "{slug}: {commands:?}");
        for command in commands {
            run(&server, &filled(&command), "");
        }
    }
    let written = std::fs::read_to_string(server.data_dir().join(".cursor/mcp.json"));
    assert!(written.expect("mcp-config wrote it").contains("KEYRACK_ROOT_KEY"));
}
