//! Every block that `keyrack mcp-config` prints, read as its application reads it and started as printed: what it starts
//! or connects to answers `initialize` and lists tools.
//!
//! What an application reads of its settings is written down here once more, from its own documentation (which
//! `src/mcp_config/client.rs` names), so that a slip there is not repeated here.

mod talk;

use std::collections::{BTreeMap, BTreeSet};

use keyrack_test_harness::{Program, Server, ended, program_under_test};
use serde_json::{Map, Value, json};

use self::talk::{Talk, ask_over_http};

/// What an application's settings are: the member that holds servers, and for those it connects to by itself the members
/// with address and headers, and what such an entry must say of its kind.
struct Settings {
    client: &'static str,
    servers: &'static str,
    by_itself: Option<(&'static str, &'static str, Option<&'static str>)>,
}

const fn settings(
    client: &'static str,
    servers: &'static str,
    by_itself: Option<(&'static str, &'static str, Option<&'static str>)>,
) -> Settings {
    Settings { client, servers, by_itself }
}

const SETTINGS: [Settings; 10] = [
    settings("claude", "mcpServers", None),
    settings("claude-code", "mcpServers", Some(("url", "headers", Some("http")))),
    settings("cursor", "mcpServers", Some(("url", "headers", None))),
    settings("windsurf", "mcpServers", Some(("serverUrl", "headers", None))),
    settings("vscode", "servers", Some(("url", "headers", Some("http")))),
    settings("codex", "mcp_servers", Some(("url", "http_headers", None))),
    settings("gemini", "mcpServers", Some(("httpUrl", "headers", None))),
    settings("zed", "context_servers", Some(("url", "headers", None))),
    settings("cline", "mcpServers", Some(("url", "headers", Some("streamableHttp")))),
    settings("jetbrains", "mcpServers", None),
];

/// What an application makes of an entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Launch {
    /// It starts a program.
    Start { command: String, arguments: Vec<String>, environment: BTreeMap<String, String> },
    /// It connects.
    Connect { url: String, headers: BTreeMap<String, String> },
}

/// What people put into the place of a root key that is not shown.
const PLACEHOLDER: &str = "<root key>";

impl Settings {
    /// Reads what was printed, and fills in the root key as the application or its user does.
    fn launch(&self, printed: &str, root_key: &str) -> Launch {
        let read: Value = match self.client {
            "codex" => toml::from_str(printed).unwrap_or_else(|fault| panic!("{fault}: {printed}")),
            _ => serde_json::from_str(printed).unwrap_or_else(|fault| panic!("{fault}: {printed}")),
        };
        let mut entry = read[self.servers]["keyrack"].as_object().unwrap_or_else(|| panic!("{printed}")).clone();
        let kind = entry.remove("type");
        if let Some(command) = entry.remove("command") {
            assert!(kind.is_none_or(|kind| kind == "stdio"), "{}: {printed}", self.client);
            let arguments = entry.remove("args").unwrap_or_default();
            let arguments = arguments.as_array().expect("arguments").iter().map(text).collect();
            let environment = texts(entry.remove("env")).into_iter();
            let environment = environment.map(|(name, value)| (name, value.replace(PLACEHOLDER, root_key)));
            assert!(entry.is_empty(), "{} reads nothing else: {entry:?}", self.client);
            return Launch::Start { command: text(&command), arguments, environment: environment.collect() };
        }
        let (address, headers, expected) =
            self.by_itself.unwrap_or_else(|| panic!("{} connects: {printed}", self.client));
        assert_eq!(kind.as_ref().and_then(Value::as_str), expected, "{}: {printed}", self.client);
        let url = text(&entry.remove(address).expect("an address"));
        let mut sent = texts(entry.remove(headers));
        for value in sent.values_mut() {
            *value = self.filled_in(value, &read, root_key);
        }
        // Codex: the names of variables of its environment, by header.
        if let (Some(from_environment), "codex") = (entry.remove("env_http_headers"), self.client) {
            let named = texts(Some(from_environment)).into_iter();
            sent.extend(named.map(|(header, variable)| {
                assert_eq!(variable, "KEYRACK_ROOT_KEY");
                (header, root_key.to_owned())
            }));
        }
        assert!(entry.is_empty(), "{} reads nothing else: {entry:?}", self.client);
        Launch::Connect { url, headers: sent }
    }

    /// The value of a header: VS Code asks for what the settings describe as an input.
    fn filled_in(&self, value: &str, settings: &Value, root_key: &str) -> String {
        if let Some(id) = value.strip_prefix("${input:").and_then(|rest| rest.strip_suffix('}')) {
            let mut inputs = settings["inputs"].as_array().expect("inputs").iter();
            let input = inputs.find(|input| input["id"] == id).expect("the input");
            assert_eq!(
                (self.client, &input["type"], &input["password"]),
                ("vscode", &json!("promptString"), &json!(true))
            );
            return root_key.to_owned();
        }
        value.replace(PLACEHOLDER, root_key)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn texts(members: Option<Value>) -> BTreeMap<String, String> {
    let members: Map<String, Value> = members.and_then(|members| members.as_object().cloned()).unwrap_or_default();
    members.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// A server with a root key of its own in its data folder, as one that was just installed.
async fn installed() -> (Server, String) {
    let server = Program::new(program_under_test()).without_env("KEYRACK_BOOTSTRAP_ROOT_KEY").start().await;
    let root_key = std::fs::read_to_string(server.data_dir().join("root-key")).expect("the first start wrote it");
    (server, root_key.trim().to_owned())
}

fn printed(server: &Server, arguments: &[&str]) -> String {
    let arguments = [&["mcp-config"], arguments].concat();
    let done = ended(&mut server.program().command(&arguments));
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// What there is to start, once each: many applications share a form.
fn launches(server: &Server, forms: &[&[&str]], root_key: &str) -> BTreeSet<Launch> {
    let of_client = |settings: &Settings| -> Vec<Launch> {
        let form =
            |form: &&[&str]| settings.launch(&printed(server, &[&[settings.client], *form].concat()), root_key);
        forms.iter().map(form).collect()
    };
    SETTINGS.iter().flat_map(of_client).collect()
}

/// Starts or connects to it: the names of the tools that it lists.
async fn tools(launch: &Launch) -> Vec<String> {
    let listed = match launch {
        Launch::Start { command, arguments, environment } => {
            let mut talk = Talk::start(command, arguments, environment);
            talk.greet().await;
            talk.ask("tools/list", json!({})).await
        }
        Launch::Connect { url, headers } => {
            let hello = ask_over_http(url, headers, "initialize", talk::hello()).await;
            assert_eq!(hello["result"]["serverInfo"]["name"], "keyrack", "{hello}");
            ask_over_http(url, headers, "tools/list", json!({})).await
        }
    };
    let tools = listed["result"]["tools"].as_array().unwrap_or_else(|| panic!("{launch:?}: {listed}"));
    tools.iter().map(|tool| text(&tool["name"])).collect()
}

async fn all_list_tools(launches: BTreeSet<Launch>, expected: usize) {
    assert_eq!(launches.len(), expected, "{launches:#?}");
    for launch in &launches {
        let tools = tools(launch).await;
        assert!(tools.contains(&"keys_listKeys".to_owned()), "{launch:?}: {tools:?}");
    }
}

#[tokio::test]
async fn what_starts_the_program_answers() {
    let (server, root_key) = installed().await;
    let wishes: &[&str] = &["--read-only", "--toolsets", "keys,apis"];
    let made: &[&str] = &["--new-root-key", "assistant"];
    all_list_tools(launches(&server, &[&[], wishes], &root_key), 2).await;
    // With a root key that was made for it, which each application has its own of.
    let settings = SETTINGS.iter().find(|settings| settings.client == "cursor").expect("a client");
    let launch = settings.launch(&printed(&server, &[&["cursor"], made].concat()), "none");
    let Launch::Start { environment, .. } = &launch else { panic!("{launch:?}") };
    assert!(environment.contains_key("KEYRACK_ROOT_KEY"), "{launch:?}");
    all_list_tools(BTreeSet::from([launch]), 1).await;
}

#[tokio::test]
async fn what_connects_by_itself_is_answered() {
    let (server, root_key) = installed().await;
    let hidden: &[&str] = &["--http", server.base()];
    let shown: &[&str] = &["--http", server.base(), "--show-root-key"];
    let wishes: &[&str] = &["--http", server.base(), "--read-only"];
    let connects = |launch: &Launch| matches!(launch, Launch::Connect { .. });
    let launches = launches(&server, &[hidden, shown, wishes], &root_key);
    all_list_tools(launches.into_iter().filter(connects).collect(), 2).await;
    let made: &[&str] = &["--http", server.base(), "--new-root-key", "assistant"];
    let settings = SETTINGS.iter().find(|settings| settings.client == "codex").expect("a client");
    let launch = settings.launch(&printed(&server, &[&["codex"], made].concat()), "none");
    all_list_tools(BTreeSet::from([launch]), 1).await;
}

#[tokio::test]
async fn what_goes_through_mcp_remote_is_answered() {
    let (server, root_key) = installed().await;
    let forms: [&[&str]; 2] =
        [&["--http", server.base(), "--mcp-remote"], &["--http", server.base(), "--mcp-remote", "--read-only"]];
    all_list_tools(launches(&server, &forms, &root_key), 2).await;
}

#[tokio::test]
async fn calls_through_mcp_remote_go_on_after_a_restart_of_the_server() {
    let (server, root_key) = installed().await;
    let settings = SETTINGS.iter().find(|settings| settings.client == "claude").expect("a client");
    let Launch::Start { command, arguments, environment } =
        settings.launch(&printed(&server, &["claude", "--http", server.base()]), &root_key)
    else {
        panic!("Claude Desktop starts programs only");
    };
    let mut talk = Talk::start(&command, &arguments, &environment);
    talk.greet().await;
    let call = |tool: &str, arguments: Value| json!({ "name": tool, "arguments": arguments });
    let made = talk.ask("tools/call", call("apis_createApi", json!({ "name": "payments" }))).await;
    assert_eq!(made["result"]["isError"], false, "{made}");
    let _server = server.kill_and_restart_in_place().await;
    let listed = talk.ask("tools/call", call("apis_listApis", json!({}))).await;
    assert_eq!(listed["result"]["structuredContent"]["data"][0]["name"], "payments", "{listed}");
}
