//! `keyrack mcp`: an assistant on standard input and output, with the built program and its own database.

mod approvals;
mod connection;
mod conversations;
mod elsewhere;
mod injection;
mod process;

use std::process::Stdio;
use std::time::{Duration, Instant};

use keyrack_test_harness::{Program, ROOT_KEY, program_under_test};
use serde_json::{Value, json};

use crate::process::{Process, hello, program, terminate};

/// What the newer protocol wants in each request.
fn modern_meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

#[tokio::test]
async fn an_assistant_issues_a_key_sees_it_limited_and_deletes_it() {
    let program = program().env("KEYRACK_LOG", "trace").on_engine().await;
    let mut assistant = Process::greeted(&program).await;
    let listed = assistant.ask("tools/list", json!({})).await;
    let tools = listed["result"]["tools"].as_array().expect("tools").clone();
    assert!(tools.iter().any(|tool| tool["name"] == "keys_createKey"), "{listed}");
    let api = assistant.data("apis_createApi", json!({ "name": "payments" })).await;
    let limits = json!([{ "name": "requests", "limit": 3, "duration": 2_592_000_000_u64, "autoApply": true }]);
    let wanted = json!({ "apiId": api["apiId"], "credits": { "remaining": 5 }, "ratelimits": limits });
    let created = assistant.data("keys_createKey", wanted).await;
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(assistant.data("keys_verifyKey", json!({ "key": created["key"] })).await["code"].clone());
    }
    assert_eq!(codes, ["VALID", "VALID", "VALID", "RATE_LIMITED"]);
    let read = assistant.data("keys_getKey", json!({ "keyId": created["keyId"] })).await;
    assert_eq!(read["credits"]["remaining"], 2, "{read}");
    assert_eq!(assistant.data("keys_deleteKey", json!({ "keyId": created["keyId"] })).await, json!({}));
    let verdict = assistant.data("keys_verifyKey", json!({ "key": created["key"] })).await;
    assert_eq!(verdict["code"], "NOT_FOUND");
    let root_key = std::fs::read_to_string(program.data_dir().join("root-key")).expect("the first start wrote it");
    let ended = assistant.close().await;
    assert!(ended.status.success(), "{ended:?}");
    let key = created["key"].as_str().expect("a key");
    assert!(!ended.stderr.contains(key) && !ended.stderr.contains(root_key.trim()), "a key is in the log");
}

#[tokio::test]
async fn a_key_that_goes_into_a_file_is_not_in_the_conversation() {
    let program = program().env("KEYRACK_MCP_SECRETS", "file").on_engine().await;
    let mut assistant = Process::greeted(&program).await;
    let api = assistant.data("apis_createApi", json!({ "name": "payments" })).await;
    let created = assistant.data("keys_createKey", json!({ "apiId": api["apiId"] })).await;
    assert_eq!(created.get("key"), None, "{created}");
    let file = std::path::PathBuf::from(created["file"].as_str().expect("a file"));
    assert_eq!(file.parent(), Some(program.data_dir().join("secrets").as_path()));
    let key = std::fs::read_to_string(&file).expect("the key");
    let verdict = assistant.data("keys_verifyKey", json!({ "key": key.trim() })).await;
    assert_eq!((&verdict["code"], &verdict["keyId"]), (&json!("VALID"), &created["keyId"]));
}

#[tokio::test]
async fn a_link_needs_a_server_that_shows_it() {
    let program = program().env("KEYRACK_MCP_SECRETS", "claim").on_engine().await;
    let refused = Process::start(&program, &[]).wait().await;
    assert!(!refused.status.success() && refused.answers.is_empty(), "{refused:?}");
    assert!(refused.stderr.contains("`claim` needs a server on the same database"), "{refused:?}");
    assert!(refused.stderr.contains("KEYRACK_PUBLIC_URL"), "{refused:?}");
    let server = program.start().await;
    let mut assistant = Process::greeted(&program.clone().env("KEYRACK_PUBLIC_URL", server.base())).await;
    let api = assistant.data("apis_createApi", json!({ "name": "payments" })).await;
    let created = assistant.data("keys_createKey", json!({ "apiId": api["apiId"] })).await;
    let path = created["link"].as_str().and_then(|link| link.strip_prefix(server.base())).expect("a link");
    let page = server.send("POST", server.request(reqwest::Method::POST, path)).await.expect(200);
    let (_, key) = page.text.split_once("<pre>").expect("the key is shown");
    let key = key.split_once("</pre>").expect("to its end").0;
    assert_eq!(server.call("keys.verifyKey", json!({ "key": key })).await.expect(200).data()["code"], "VALID");
}

#[tokio::test]
async fn the_first_line_for_people_says_where_it_works() {
    let ended = Process::greeted(&program()).await.close().await;
    let first = ended.stderr.lines().next().expect("a line");
    for part in ["keyrack mcp: SQLite, ", "keyrack.db", "workspace Default (ws_", "root key key_", " tools"] {
        assert!(first.contains(part), "{part} is not in {first}");
    }
}

#[tokio::test]
async fn a_root_key_that_is_no_root_key_ends_it_before_the_handshake() {
    let program = program().on_engine().await;
    Process::greeted(&program).await.close().await;
    let refused = Process::start(&program.clone().env("KEYRACK_ROOT_KEY", "wrong-root-key-planted"), &[]);
    let ended = refused.wait().await;
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert_eq!((ended.answers.len(), ended.stderr.lines().count()), (0, 1), "{ended:?}");
    assert!(ended.stderr.starts_with("error: The provided root key is invalid."), "{ended:?}");
    assert!(!ended.stderr.contains("planted"), "{ended:?}");
}

#[tokio::test]
async fn without_any_root_key_it_says_how_to_give_one() {
    let program = program().on_engine().await;
    Process::greeted(&program).await.close().await;
    std::fs::remove_file(program.data_dir().join("root-key")).expect("the first start wrote it");
    let ended = Process::start(&program, &[]).wait().await;
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert_eq!((ended.answers.len(), ended.stderr.lines().count()), (0, 1), "{ended:?}");
    assert!(ended.stderr.contains("KEYRACK_ROOT_KEY or --root-key-file"), "{ended:?}");
}

#[tokio::test]
async fn a_root_key_comes_from_the_environment_or_a_file_of_its_own() {
    let program = program().on_engine().await;
    Process::greeted(&program).await.close().await;
    let file = program.data_dir().join("root-key");
    let root_key = std::fs::read_to_string(&file).expect("the first start wrote it");
    let elsewhere = program.data_dir().join("elsewhere");
    std::fs::rename(&file, &elsewhere).expect("it can be moved");
    for name in ["KEYRACK_ROOT_KEY", "UNKEY_ROOT_KEY"] {
        Process::greeted(&program.clone().env(name, root_key.trim())).await.close().await;
    }
    let mut assistant = Process::start(&program, &["--root-key-file", elsewhere.to_str().expect("a path")]);
    assert!(assistant.ask("initialize", hello()).await["result"].is_object());
}

#[tokio::test]
async fn the_end_of_input_is_the_end_and_what_was_asked_is_answered() {
    let program = program().on_engine().await;
    let before_a_word = Process::start(&program, &[]).close().await;
    assert!(before_a_word.status.success(), "{before_a_word:?}");
    let mut assistant = Process::greeted(&program).await;
    let id =
        assistant.send("tools/call", json!({ "name": "apis_createApi", "arguments": { "name": "last" } })).await;
    let ended = assistant.close().await;
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(ended.answers.len(), 1, "{ended:?}");
    assert_eq!((&ended.answers[0]["id"], &ended.answers[0]["result"]["isError"]), (&json!(id), &json!(false)));
}

#[tokio::test]
async fn sigterm_is_the_end_as_well() {
    let assistant = Process::greeted(&program().on_engine().await).await;
    terminate(assistant.id());
    let started = Instant::now();
    let ended = assistant.wait().await;
    assert!(ended.status.success(), "{ended:?}");
    assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
}

/// Node connects its children with sockets, which are read by a thread that cannot be interrupted.
#[cfg(unix)]
#[tokio::test]
async fn sigterm_is_the_end_even_if_standard_input_is_a_socket_that_stays_open() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
    let program = program().on_engine().await;
    let mut command = program.command(&["mcp"]);
    let stdin = Stdio::from(std::os::fd::OwnedFd::from(theirs));
    let mut child = command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stderr = std::io::BufReader::new(child.stderr.take().expect("it was piped"));
    let (sender, ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::BufRead::read_line(&mut stderr, &mut line);
        // Standard error stays open until the test is over.
        sender.send((read.map(|_| line), stderr))
    });
    let (line, _stderr) = ready.recv_timeout(Duration::from_secs(20)).expect("it says that it is ready");
    let line = line.expect("standard error is text");
    tokio::time::sleep(Duration::from_millis(300)).await;
    terminate(child.id());
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            break status;
        }
        if started.elapsed() > Duration::from_secs(5) {
            child.kill().expect("it can be killed");
            panic!("it did not end after SIGTERM: {line}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(status.success(), "{status}");
    drop(ours);
}

#[tokio::test]
async fn two_assistants_share_one_database() {
    let program = program().on_engine().await;
    let mut one = Process::greeted(&program).await;
    let mut two = Process::greeted(&program).await;
    let api = one.data("apis_createApi", json!({ "name": "shared" })).await;
    let created = one.data("keys_createKey", json!({ "apiId": api["apiId"] })).await;
    let question = json!({ "key": created["key"] });
    says_within_a_second(&mut two, &question, "VALID").await;
    one.data("keys_deleteKey", json!({ "keyId": created["keyId"] })).await;
    says_within_a_second(&mut two, &question, "NOT_FOUND").await;
}

async fn says_within_a_second(assistant: &mut Process, question: &Value, expected: &str) {
    let started = Instant::now();
    while assistant.data("keys_verifyKey", question.clone()).await["code"] != expected {
        assert!(started.elapsed() < Duration::from_secs(1), "it did not say {expected} within a second");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_client_may_probe_for_the_newer_protocol_and_then_speak_the_older() {
    let program = program().on_engine().await;
    let mut assistant = Process::start(&program, &[]);
    let probe = assistant.ask("server/discover", json!({ "_meta": modern_meta() })).await;
    assert!(probe["result"]["supportedVersions"].as_array().expect("versions").contains(&json!("2026-07-28")));
    let hello = assistant.ask("initialize", hello()).await;
    assert_eq!(hello["result"]["protocolVersion"], "2025-11-25", "{hello}");
    assistant.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string()).await;
    assert_eq!(assistant.data("workspace_getOverview", json!({})).await["workspace"]["name"], "Default");
}

#[tokio::test]
async fn a_client_may_stay_with_the_newer_protocol() {
    let mut assistant = Process::start(&program(), &[]);
    assistant.ask("server/discover", json!({ "_meta": modern_meta() })).await;
    let call = json!({ "name": "workspace_getOverview", "arguments": {}, "_meta": modern_meta() });
    let answer = assistant.ask("tools/call", call).await;
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    assert_eq!(answer["result"]["structuredContent"]["data"]["workspace"]["name"], "Default");
}

/// Each of these is answered with an error of this code, under this id.
fn no_messages() -> Vec<(String, i64, Value)> {
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
    let mut lines: Vec<(String, i64, Value)> = [
        ("not json".to_owned(), -32700),
        ("{\"jsonrpc\":".to_owned(), -32700),
        ("[1,2".to_owned(), -32700),
        (format!("{ping}x"), -32700),
        ("[]".to_owned(), -32600),
        (format!("[{ping}]"), -32600),
        ("null".to_owned(), -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#.to_owned(), -32600),
        ("x".repeat(5 << 20), -32600),
    ]
    .into_iter()
    .map(|(line, code)| (line, code, Value::Null))
    .collect();
    for (at, params) in [json!(""), json!(5), json!([]), json!({ "_meta": "" })].iter().enumerate() {
        for method in
            ["initialize", "ping", "server/discover", "tools/list", "tools/call", "prompts/get", "resources/read"]
        {
            let id = json!(format!("{method} {at}"));
            let line = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
            lines.push((line.to_string(), -32602, id));
        }
    }
    let arguments = json!({ "name": "apis_listApis", "arguments": "all" });
    let line = json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": arguments });
    lines.push((line.to_string(), -32602, json!(9)));
    let cursor = json!({ "jsonrpc": "2.0", "id": 10, "method": "tools/list", "params": { "cursor": "x" } });
    lines.push((cursor.to_string(), -32602, json!(10)));
    for method in ["resources/subscribe", "logging/setLevel", "no/such"] {
        let line = json!({ "jsonrpc": "2.0", "id": method, "method": method, "params": {} });
        lines.push((line.to_string(), -32601, json!(method)));
    }
    lines
}

#[tokio::test]
async fn a_line_that_is_no_message_is_answered_and_disturbs_nothing() {
    let mut assistant = Process::greeted(&program().on_engine().await).await;
    for blank in ["", "  ", "\r"] {
        assistant.write(blank).await;
    }
    for (line, code, id) in no_messages() {
        assistant.write(&line).await;
        let shown: String = line.chars().take(100).collect();
        let answer = assistant.read().await.unwrap_or_else(|| panic!("{shown} ended it"));
        assert_eq!((&answer["error"]["code"], answer.get("id")), (&json!(code), Some(&id)), "{shown}: {answer}");
    }
    assert_eq!(assistant.data("workspace_getOverview", json!({})).await["workspace"]["name"], "Default");
}

#[tokio::test]
async fn what_is_no_message_before_the_handshake_is_answered_too() {
    let mut assistant = Process::start(&program(), &[]);
    for line in ["not json", "[]", r#"{"jsonrpc":"2.0","id":null,"method":"initialize"}"#] {
        assistant.write(line).await;
        assert_eq!(assistant.read().await.expect("an answer")["id"], Value::Null, "{line}");
    }
    let broken = assistant.ask("initialize", json!({ "protocolVersion": 5 })).await;
    assert_eq!(broken["error"]["code"], -32602, "{broken}");
    assert!(assistant.ask("initialize", hello()).await["result"].is_object());
}

#[tokio::test]
async fn a_server_that_is_named_is_not_replaced_by_the_database_of_this_machine() {
    let program = program().on_engine().await;
    let named = program.clone().env("KEYRACK_URL", "https://keys.example.com");
    let ended = Process::start(&named, &[]).wait().await;
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert_eq!((ended.answers.len(), ended.stderr.lines().count()), (0, 1), "{ended:?}");
    assert!(ended.stderr.contains("no root key to call https://keys.example.com"), "{ended:?}");
    assert!(!program.data_dir().exists(), "it opened a database");
}

#[tokio::test]
async fn what_does_not_begin_as_mcp_does_is_not_quoted() {
    let mut assistant = Process::start(&program(), &[]);
    assistant
        .write(&json!({ "jsonrpc": "2.0", "method": "planted", "params": { "key": "planted" } }).to_string())
        .await;
    let ended = assistant.wait().await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let last = ended.stderr.lines().last().expect("a line");
    assert_eq!(last, "error: the client did not begin with a request of MCP");
    assert!(!ended.stderr.contains("planted"), "{ended:?}");
}

const OWN_PROMPT: &str = "---\nname: own\ntitle: Of the house\ndescription: Ours.\ntoolsets: keys\n---\nList keys with `keys_listKeys`.\n";

#[tokio::test]
async fn an_operators_prompts_are_offered_and_documentation_is_that_of_the_program() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("own.md"), OWN_PROMPT).expect("a file");
    let path = folder.path().to_str().expect("a path");
    let mut assistant = Process::start(&program(), &["--prompts", path]);
    assistant.ask("initialize", hello()).await;
    assistant.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string()).await;
    let listed = assistant.ask("prompts/list", json!({})).await;
    let names: Vec<&str> = listed["result"]["prompts"]
        .as_array()
        .map(|prompts| prompts.iter().filter_map(|prompt| prompt["name"].as_str()).collect())
        .unwrap_or_default();
    assert!(names.contains(&"own") && names.contains(&"create_key"), "{listed}");
    let got = assistant.ask("prompts/get", json!({ "name": "own" })).await;
    assert_eq!(got["result"]["messages"][0]["content"]["text"], "List keys with `keys_listKeys`.", "{got}");
    let read = assistant.ask("resources/read", json!({ "uri": "keyrack://openapi" })).await;
    let text = read["result"]["contents"][0]["text"].as_str().unwrap_or_default();
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    assert!(document["paths"]["/v2/keys.createKey"].is_object(), "{text}");
}

#[tokio::test]
async fn a_broken_prompt_stops_the_start_with_its_file_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("own.md"), OWN_PROMPT.replace("title", "titel")).expect("a file");
    let path = folder.path().to_str().expect("a path");
    let ended = Process::start(&program(), &["--prompts", path]).close().await;
    assert!(!ended.status.success() && ended.answers.is_empty(), "{ended:?}");
    assert!(ended.stderr.contains("own.md, line 3: `titel` is nothing to say here; known are name"), "{ended:?}");
}

#[tokio::test]
async fn prompts_resources_and_completion_are_of_the_server_that_does_the_work() {
    let server = Program::new(program_under_test()).start().await;
    let program = program().env("KEYRACK_ROOT_KEY", ROOT_KEY);
    let mut assistant = Process::start(&program, &["--url", server.base()]);
    assistant.ask("initialize", hello()).await;
    assistant.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string()).await;
    let api = assistant.data("apis_createApi", json!({ "name": "payments" })).await["apiId"].clone();
    let id = api.as_str().expect("an id");
    let text = |read: &Value| -> Value {
        let text = read["result"]["contents"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {read}"));
        serde_json::from_str(text).expect("JSON")
    };
    let read = assistant.ask("resources/read", json!({ "uri": format!("keyrack://apis/{id}") })).await;
    assert_eq!(text(&read)["data"]["name"], "payments");
    let read = assistant.ask("resources/read", json!({ "uri": "keyrack://openapi" })).await;
    assert_eq!(text(&read)["servers"][0]["url"], server.base());
    let asked = json!({
        "ref": { "type": "ref/prompt", "name": "create_key" },
        "argument": { "name": "api", "value": "pay" },
    });
    let completed = assistant.ask("completion/complete", asked).await;
    assert_eq!(completed["result"]["completion"]["values"], json!([id]), "{completed}");
    let got = assistant.ask("prompts/get", json!({ "name": "top_keys" })).await;
    assert_eq!(got["result"]["messages"][0]["role"], "user", "{got}");
}
