//! The page of a one-time link: it reveals nothing until its button is pressed, and then once.

use std::time::Duration;

use keyrack_test_harness::{Answer, Program, ROOT_KEY, Server};
use reqwest::Method;
use reqwest::header::{HOST, USER_AGENT};
use serde_json::{Value, json};

use crate::access::secrecy::contains;
use crate::fixture::new_api;
use crate::program;
use crate::wire::mcp::Session;

async fn claiming() -> Program {
    program().env("KEYRACK_MCP_SECRETS", "claim").on_engine().await
}

/// What a tool answered that made a key, and the path of its link.
async fn new_key(server: &Server, name: &str) -> (Value, String) {
    let api = new_api(server).await;
    let made = Session::open(server).await.call("keys_createKey", json!({"apiId": api, "name": name})).await;
    let made = made["structuredContent"].clone();
    let link = made["data"]["link"].as_str().unwrap_or_else(|| panic!("no link in {made}"));
    let path = link.strip_prefix(server.base()).expect("the link is that of the listener").to_owned();
    assert!(path.starts_with("/claim/"), "{path}");
    (made, path)
}

async fn sent(server: &Server, method: Method, path: &str) -> Answer {
    server.send(&format!("{method} {path}"), server.request(method, path)).await
}

/// The text of the key on a page, if there is one.
fn text_on(page: &Answer) -> Option<String> {
    let (_, rest) = page.text.split_once("<pre>")?;
    Some(rest.split_once("</pre>")?.0.to_owned())
}

fn assert_is_a_page(page: &Answer) {
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-robots-tag", "noindex"),
    ] {
        assert_eq!(page.header(name), value, "{}", page.asked);
    }
    let policy = page.header("content-security-policy");
    for part in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("script-src") && !page.text.contains("<script"), "{}", page.text);
    assert!(page.text.contains("width=device-width"), "it works on small screens");
}

async fn verdict(server: &Server, key: &str) -> Value {
    server.call("keys.verifyKey", json!({"key": key})).await.expect(200).data()["code"].clone()
}

#[tokio::test]
async fn looking_reveals_nothing_and_the_button_shows_the_key_once() {
    let program = claiming().await;
    let server = program.start().await;
    let (made, path) = new_key(&server, "mobile </dd><script>alert(1)</script>").await;
    for _ in 0..3 {
        let page = sent(&server, Method::GET, &path).await.expect(200);
        assert_is_a_page(&page);
        assert_eq!(text_on(&page), None, "{}", page.text);
        let about = ["mobile", made["data"]["keyId"].as_str().expect("an id"), "Default", "<button>"];
        assert!(about.iter().all(|part| page.text.contains(part)), "{}", page.text);
        assert!(!page.text.contains(path.rsplit('/').next().expect("a token")), "the page repeats no address");
    }
    // Previews, and whoever asks only for the head, change nothing either.
    for method in [Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let refused = sent(&server, method, &path).await.expect(405);
        assert_eq!(refused.header("allow"), "GET, POST");
    }
    // Nor does a restart.
    drop(server);
    let server = program.start().await;
    let page = sent(&server, Method::POST, &path).await.expect(200);
    assert_is_a_page(&page);
    let key = text_on(&page).expect("a key");
    assert!(key.starts_with(made["data"]["start"].as_str().expect("a start")));
    assert_eq!(verdict(&server, &key).await, "VALID");
    for method in [Method::POST, Method::GET, Method::POST] {
        let page = sent(&server, method, &path).await.expect(410);
        assert_is_a_page(&page);
        assert!(page.text.contains("Shown already") && page.text.contains("rerolled"), "{}", page.text);
        assert!(!page.text.contains(&key));
    }
    let logs = server.call("audit.listLogs", json!({"event": "key.claim"})).await.expect(200);
    let entries = logs.data().as_array().expect("a list");
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["targets"][0]["id"], made["data"]["keyId"]);
    assert_eq!(entries[0]["location"], "127.0.0.1");
    assert!(!logs.text.contains(&key));
}

#[tokio::test]
async fn of_those_who_press_it_at_once_one_is_shown_the_key() {
    let server = claiming().await.start().await;
    let (_, path) = new_key(&server, "mobile").await;
    let client = keyrack_test_harness::Client::new(server.base(), ROOT_KEY);
    let pressed = (0..8).map(|_| {
        let (client, path) = (client.clone(), path.clone());
        tokio::spawn(async move { client.send("POST", client.request(Method::POST, &path)).await })
    });
    let mut statuses = Vec::new();
    for one in pressed.collect::<Vec<_>>() {
        statuses.push(one.await.expect("it ends").status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 410, 410, 410, 410, 410, 410, 410]);
}

#[tokio::test]
async fn what_is_unknown_and_what_is_over_are_the_same_page() {
    let program = claiming().await;
    let server = program.start().await;
    let (made, path) = new_key(&server, "mobile").await;
    let unknown = sent(&server, Method::GET, "/claim/4Nv8yTq1ZbWc7XgR9kLmPa").await.expect(404);
    assert_is_a_page(&unknown);
    for other in ["/claim/x", "/claim/%00", "/claim/%ff%fe", "/claim/..%2f..%2fetc", "/claim/'%20OR%201=1"] {
        for method in [Method::GET, Method::POST] {
            let page = sent(&server, method, other).await.expect(404);
            assert_eq!(page.text, unknown.text, "{other}");
        }
    }
    server.call("keys.deleteKey", json!({"keyId": made["data"]["keyId"]})).await.expect(200);
    for method in [Method::GET, Method::POST] {
        assert_eq!(sent(&server, method, &path).await.expect(404).text, unknown.text);
    }
    for path in ["/claim", "/claim/", "/claim/a/b"] {
        sent(&server, Method::GET, path).await.expect_error(404, "unkey/application/route_not_found");
    }
}

#[tokio::test]
async fn another_host_is_refused_before_anything_is_shown() {
    let server = claiming().await.start().await;
    let (_, path) = new_key(&server, "mobile").await;
    for method in [Method::GET, Method::POST] {
        let request = server.request(method, &path).header(HOST, "evil.example.com");
        server.send("another host", request).await.expect_error(403, "unkey/authorization/forbidden");
    }
    sent(&server, Method::POST, &path).await.expect(200);
}

#[tokio::test]
async fn links_lead_to_the_public_address() {
    let program = claiming().await.env("KEYRACK_PUBLIC_URL", "https://keys.example.com/base/");
    let server = program.start().await;
    let api = new_api(&server).await;
    let made = Session::open(&server).await.call("keys_createKey", json!({"apiId": api})).await;
    let link = made["structuredContent"]["data"]["link"].as_str().expect("a link").to_owned();
    let path = link.strip_prefix("https://keys.example.com/base").unwrap_or_else(|| panic!("{link}"));
    assert!(text_on(&sent(&server, Method::POST, path).await.expect(200)).is_some());
}

#[tokio::test]
async fn nothing_of_a_key_or_its_link_is_in_the_log_or_the_database() {
    let program = program().env("KEYRACK_MCP_SECRETS", "claim").env("KEYRACK_LOG", "trace");
    let server = program.start().await;
    let (made, path) = new_key(&server, "mobile").await;
    let token = path.rsplit('/').next().expect("a token").to_owned();
    sent(&server, Method::GET, &path).await.expect(200);
    let agent = server.request(Method::POST, &path).header(USER_AGENT, "browser/1");
    let key = text_on(&server.send("POST", agent).await.expect(200)).expect("a key");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let log = server.log();
    assert!(log.contains("/claim/{claim}"), "requests to the page are logged by their route");
    let stored = std::fs::read_dir(server.data_dir()).expect("the data folder");
    let stored: Vec<u8> = stored
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .flat_map(|path| std::fs::read(path).expect("a file"))
        .collect();
    assert!(stored.len() > 10_000);
    for secret in [&key, &token] {
        assert!(!log.lines().any(|line| line.contains(secret.as_str())), "{secret} is in the log");
        assert!(!contains(&stored, secret), "{secret} is in the database");
    }
    assert!(!made.to_string().contains(&key));
}

#[tokio::test]
async fn a_server_that_could_not_hand_over_does_not_start() {
    let refused = program().env("KEYRACK_MCP_SECRETS", "file").start_refused().await;
    assert!(refused.contains("KEYRACK_MCP_SECRETS: `file` is for `keyrack mcp` alone"), "{refused}");
}
