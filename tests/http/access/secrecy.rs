//! No plaintext of a key is written anywhere: not to the log at its most talkative, not into an error, not into
//! the database.

use keyrack_test_harness::{ROOT_KEY, Server};
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::json;

use crate::fixture::{new_api, new_key};
use crate::program;
use crate::wire::mcp::Session;

/// What must appear nowhere, and every error body that was received.
#[derive(Default)]
pub(crate) struct Planted {
    pub(crate) secrets: Vec<String>,
    errors: Vec<String>,
}

impl Planted {
    pub(crate) fn secret(&mut self, text: &str) -> String {
        self.secrets.push(text.to_owned());
        text.to_owned()
    }
}

pub(crate) async fn plant_good_keys(server: &Server, planted: &mut Planted) {
    planted.secret(ROOT_KEY);
    let made = server.call("rootKeys.createKey", json!({"permissions": ["*"]})).await.expect(200);
    let root_key = planted.secret(&made.text_of("key"));
    let client = server.with_key(&root_key);
    let api = new_api(&client).await;
    for members in [json!({}), json!({"prefix": "acme", "credits": {"remaining": 1}})] {
        let key = new_key(&client, &api, members).await;
        planted.secret(key.key.rsplit('_').next().unwrap_or_default());
        for body in [json!({"key": key.key}), json!({"key": key.key, "permissions": "a ("})] {
            client.call("keys.verifyKey", body).await;
        }
        client.call("keys.whoami", json!({"key": key.key})).await.expect(200);
        // A key where it does not belong.
        planted.errors.push(client.call("keys.getKey", json!({"keyId": key.key, "key": key.key})).await.text);
        let stranger = server.with_key(&key.key);
        planted.errors.push(stranger.call("apis.createApi", json!({"name": "abc"})).await.expect(401).text);
    }
}

pub(crate) async fn plant_bad_requests(server: &Server, planted: &mut Planted) {
    let garbage = planted.secret("garbage-key-4f9d1c77aa");
    server.call("keys.verifyKey", json!({"key": garbage})).await.expect(200);
    let missing = server.call("keys.whoami", json!({"key": garbage})).await.expect(404);
    planted.errors.push(missing.text);
    let long = format!("{}{}", planted.secret("overlong-key-51be0d"), "x".repeat(600));
    let listed = planted.secret("listed-key-90ac11");
    let extra = planted.secret("unknown-member-key-77e3");
    for operation in ["keys.verifyKey", "keys.whoami"] {
        for body in [
            json!({"key": long}),
            json!({"key": [listed]}),
            json!({"key": {"secret": listed}}),
            json!({"key": "k", "secret": extra}),
        ] {
            planted.errors.push(server.call(operation, body).await.expect(400).text);
        }
        let malformed = format!(r#"{{"key": "{}", "#, planted.secret("malformed-body-key-1d2e"));
        planted.errors.push(server.call_text(operation, malformed, &[]).await.expect(400).text);
    }
    let header = planted.secret("header-key-83bb20");
    for value in [format!("Basic {header}"), format!("Bearer {header}"), header.clone()] {
        let request = server.request(Method::POST, "/v2/apis.createApi").header(AUTHORIZATION, value).body("{}");
        planted.errors.push(server.send("a wrong header", request).await.expect(401).text);
    }
    let query = format!("/v2/keys.verifyKey?key={}", planted.secret("query-key-60dd02"));
    planted.errors.push(server.send("GET", server.request(Method::GET, &query)).await.expect(405).text);
}

pub(crate) async fn plant_over_mcp(server: &Server, planted: &mut Planted) {
    let session = Session::open(server).await;
    let key = planted.secret("mcp-argument-key-2c4410");
    for arguments in [json!({"key": key}), json!({"key": [key]}), json!({"key": "k", "extra": key})] {
        for tool in ["keys_verifyKey", "keys_whoami"] {
            let text = session.ask_text("tools/call", json!({"name": tool, "arguments": arguments})).await;
            assert!(text.contains("\"result\"") || text.contains("\"error\""), "{text}");
            planted.errors.push(text);
        }
    }
}

/// Name and content of every file in the data directory but the root-key file.
fn stored_files(server: &Server) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(server.data_dir()).expect("the data directory can be read");
    files
        .filter_map(Result::ok)
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(name, path)| name != "root-key" && path.is_file())
        .map(|(name, path)| (name, std::fs::read(path).expect("a file can be read")))
        .collect()
}

pub(crate) fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

fn assert_nowhere(server: &Server, planted: &Planted) {
    let log = server.log();
    assert!(log.len() > 2000, "the log is too quiet for this test: {log}");
    let files = stored_files(server);
    assert!(files.iter().any(|(name, _)| name.ends_with(".db")), "no database file");
    for secret in &planted.secrets {
        assert!(secret.len() >= 15, "too short to search for: {secret}");
        let line = log.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(line, None, "the log holds {secret}");
        let error = planted.errors.iter().find(|text| text.contains(secret.as_str()));
        assert_eq!(error, None, "an answer holds {secret}");
        for (name, content) in &files {
            assert!(!contains(content, secret), "{name} holds {secret}");
        }
    }
}

#[tokio::test]
async fn no_plaintext_key_reaches_the_log_an_error_or_the_database() {
    let program = program().without_env("KEYRACK_BOOTSTRAP_ROOT_KEY");
    let server = program.env("KEYRACK_LOG", "trace").start().await;
    let mut planted = Planted::default();
    let file = std::fs::read_to_string(server.data_dir().join("root-key"));
    planted.secret(file.expect("the first start writes a root-key file").trim());
    plant_good_keys(&server, &mut planted).await;
    plant_bad_requests(&server, &mut planted).await;
    assert_nowhere(&server, &planted);
}

#[tokio::test]
async fn no_plaintext_key_of_a_tool_call_reaches_the_log_an_error_or_the_database() {
    let server = program().env("KEYRACK_LOG", "trace").start().await;
    let mut planted = Planted::default();
    planted.secret(ROOT_KEY);
    plant_over_mcp(&server, &mut planted).await;
    assert_nowhere(&server, &planted);
}

#[tokio::test]
async fn the_root_key_file_is_for_its_owner_only_and_works() {
    use std::os::unix::fs::PermissionsExt;
    let server = program().without_env("KEYRACK_BOOTSTRAP_ROOT_KEY").start().await;
    let path = server.data_dir().join("root-key");
    let mode = std::fs::metadata(&path).expect("the file exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = std::fs::read_to_string(&path).expect("the file can be read");
    let overview = server.with_key(key.trim()).call("workspace.getOverview", json!({})).await.expect(200);
    let root_key = &overview.data()["rootKey"];
    assert_eq!((&root_key["permissions"], &root_key["operator"]), (&json!(["*"]), &json!(true)));
    let log = server.log();
    assert!(log.contains(&path.display().to_string()), "the banner names the file: {log}");
    assert!(!log.contains(key.trim()), "the banner shows the secret");
}
