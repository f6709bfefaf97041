//! The built-in documentation: every operation and every code has a page, and every example works.

use std::collections::BTreeSet;
use std::process::Command;

use keyrack_test_harness::{ROOT_KEY, Server, ended};
use serde_json::{Value, json};

use crate::fixture::{new_api, new_identity, new_key, workspace_id};
use crate::{keyrack, program};

async fn described(server: &Server) -> BTreeSet<String> {
    let document = server.get("/openapi.json").await.expect(200).body;
    let paths = document["paths"].as_object().expect("paths");
    let names = paths.keys().filter_map(|path| path.strip_prefix("/v2/")).filter(|name| name.contains('.'));
    names.map(str::to_owned).collect()
}

async fn page(server: &Server, path: &str) -> String {
    let answer = server.get(path).await.expect(200);
    assert!(answer.header("content-type").starts_with("text/html"), "{path}");
    assert!(answer.header("content-security-policy").contains("default-src 'none'"), "{path}");
    answer.text
}

/// The shell line of an operation's page, as people copy it.
fn shell_line(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("<pre><code>")?;
    let (line, _) = rest.split_once("</code></pre>")?;
    let text = line.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    Some(text.replace("&amp;", "&"))
}

/// What a reader would put in place of the placeholders: things made for this one example.
async fn filled(server: &Server, operation: &str, line: String) -> String {
    let api = new_api(server).await;
    let unique = api.replace("api_", "n");
    let members = json!({
        "credits": {"remaining": 10}, "externalId": unique, "permissions": [format!("{unique}.held")],
        "ratelimits": [{"name": "requests", "limit": 9, "duration": 60_000, "autoApply": false}],
    });
    let key = new_key(server, &api, members).await;
    let mut values = vec![
        ("<apiId>", api),
        ("<keyId>", key.id),
        ("<key>", key.key),
        ("<externalId>", unique.clone()),
        // 32 bytes in base64, as a SHA-256 would be.
        ("<newKeyHash>", format!("{unique:A<43}=")),
        ("<workspaceId>", workspace_id(server).await),
    ];
    if line.contains("<identityId>") {
        values.push(("<identityId>", new_identity(server, &format!("{unique}.other"), json!({})).await));
    }
    if line.contains("<permission") {
        let body = json!({"name": unique, "slug": unique});
        let permission = server.call("permissions.createPermission", body).await.expect(200);
        values.push(("<permissionId>", permission.text_of("permissionId")));
        values.push(("<permissionSlug>", unique.clone()));
    }
    if line.contains("<role") {
        let role = server.call("permissions.createRole", json!({"name": unique})).await.expect(200);
        values.push(("<roleId>", role.text_of("roleId")));
        values.push(("<roleName>", unique.clone()));
    }
    if line.contains("<rootKeyId>") {
        let root_key = server.call("rootKeys.createKey", json!({"permissions": []})).await.expect(200);
        values.push(("<rootKeyId>", root_key.text_of("keyId")));
    }
    values.extend(rarer(server, &line, unique).await);
    let line = values.iter().fold(line, |line, (name, value)| line.replace(name, value));
    assert!(
        !line.contains("\"<"),
        "{operation}: tests/http/catalogue/docs.rs does not know what to put in: {line}"
    );
    line
}

/// Things that few operations are about.
async fn rarer(server: &Server, line: &str, unique: String) -> Vec<(&'static str, String)> {
    let mut values = Vec::new();
    if line.contains("<namespace>") || line.contains("<overrideIdentifier>") {
        let body = json!({"namespace": unique, "identifier": "x", "limit": 5, "duration": 60_000});
        server.call("ratelimit.limit", body.clone()).await.expect(200);
        if line.contains("<overrideIdentifier>") {
            server.call("ratelimit.setOverride", body).await.expect(200);
        }
        values.push(("<overrideIdentifier>", "x".to_owned()));
        values.push(("<namespace>", unique));
    }
    if line.contains("<logId>") {
        let entries = server.call("audit.listLogs", json!({"limit": 1})).await.expect(200);
        values.push(("<logId>", entries.data()[0]["id"].as_str().expect("an id").to_owned()));
    }
    if line.contains("<migrationId>") {
        let output = ended(&mut server.program().command(&["migration", "create", "--algorithm", "sha256"]));
        let text = String::from_utf8(output.stdout).expect("text");
        values.push(("<migrationId>", text.trim().to_owned()));
    }
    values
}

fn run(line: &str) -> Value {
    let mut command = Command::new("sh");
    command.args(["-c", line]).env("ROOT_KEY", ROOT_KEY).env("no_proxy", "*");
    let output = ended(&mut command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|fault| panic!("{fault}: {line}\n{text}"))
}

#[tokio::test]
async fn the_request_on_every_operation_page_works_as_it_is_printed() {
    let server = keyrack().await;
    let mut without = Vec::new();
    let mut failed = Vec::new();
    for operation in described(&server).await {
        let text = page(&server, &format!("/docs/operations/{operation}")).await;
        let Some(line) = shell_line(&text) else {
            without.push(operation);
            continue;
        };
        let line = filled(&server, &operation, line).await;
        let answer = run(&line);
        if answer.get("meta").is_none() || answer.get("error").is_some() {
            failed.push(format!("{operation}: {answer}\n{line}"));
        }
    }
    assert!(
        without.is_empty(),
        "these operations have no example: set `example` in their About, a request in JSON with placeholders \
         of core's docs::PLACEHOLDERS such as <apiId>: {without:?}"
    );
    assert!(failed.is_empty(), "examples that do not work:\n{}", failed.join("\n"));
}

#[tokio::test]
async fn the_type_of_an_error_leads_to_its_page() {
    let server = keyrack().await;
    for (answer, code) in [
        (server.call("apis.getApi", json!({"apiId": "api_unknown1"})).await, "api_not_found"),
        (server.call("apis.createApi", json!({})).await, "invalid_input"),
        (server.with_key("nobody").call("apis.listApis", json!({})).await, "key_not_found"),
    ] {
        let address = answer.error()["type"].as_str().expect("an address");
        let path = address.strip_prefix(server.base()).expect("an address of this server");
        let text = page(&server, path).await;
        assert!(text.contains(&format!("<h1>{code}</h1>")) && text.contains("What to do"), "{path}: {text}");
    }
}

#[tokio::test]
async fn the_index_and_the_reference_have_every_operation_and_need_nothing_else() {
    let server = keyrack().await;
    let (index, reference) = (page(&server, "/docs").await, page(&server, "/reference").await);
    for operation in described(&server).await {
        let link = format!("docs/operations/{operation}\"");
        assert!(index.contains(&link), "{operation} is not in the index");
        assert!(
            reference.contains(&format!("<section id=\"{operation}\">")),
            "{operation} is not in the reference"
        );
    }
    for text in [&index, &reference] {
        for foreign in ["<script", "src=", "href=\"http", "@import", "url("] {
            assert!(!text.contains(foreign), "{foreign}");
        }
        assert!(text.contains("prefers-color-scheme:dark") && text.contains("name=\"viewport\""));
    }
}

#[tokio::test]
async fn requests_on_pages_go_to_the_public_url() {
    let server = program().env("KEYRACK_PUBLIC_URL", "https://keys.example.com/keyrack").start().await;
    let text = page(&server, "/docs/operations/apis.createApi").await;
    assert!(text.contains("curl -s https://keys.example.com/keyrack/v2/apis.createApi"), "{text}");
    assert!(text.contains("href=\"../../docs\""), "{text}");
}

#[tokio::test]
async fn programs_find_every_page_from_one_list() {
    let server = keyrack().await;
    let list = server.get("/llms.txt").await.expect(200);
    assert!(list.header("content-type").starts_with("text/plain"));
    let full = server.get("/llms-full.txt").await.expect(200).text;
    let links = list.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let mut operations = BTreeSet::new();
    for link in links {
        let path = link.strip_prefix(server.base()).unwrap_or_else(|| panic!("{link} leads elsewhere"));
        let page = server.get(path).await.expect(200);
        if path == "/openapi.json" {
            continue;
        }
        assert!(page.header("content-type").starts_with("text/markdown"), "{path}");
        if path != "/reference.md" {
            assert!(full.contains(page.text.trim_end()), "{path}");
        }
        let name = path.strip_prefix("/docs/operations/").and_then(|name| name.strip_suffix(".md"));
        operations.extend(name.map(str::to_owned));
    }
    assert_eq!(operations, described(&server).await);
    let index = page(&server, "/docs").await;
    assert!(index.contains("rel=\"alternate\" type=\"text/markdown\" href=\"docs.md\""), "{index}");
    server.get("/docs.md").await.expect(200);
}

#[tokio::test]
async fn an_unknown_page_is_like_any_unknown_path() {
    let server = keyrack().await;
    for path in [
        "/docs/operations/keys.fly",
        "/docs/operations/keys.fly.md",
        "/docs/errors/a/b/c",
        "/docs/nothing",
        "/reference/x",
    ] {
        server.get(path).await.expect_error(404, "unkey/application/route_not_found");
    }
}

#[tokio::test]
async fn the_documentation_can_be_searched_with_any_root_key() {
    let server = keyrack().await;
    let nobody = crate::fixture::limited_client(&server, &[]).await;
    let answer = nobody.call("docs.search", json!({"query": "create key", "limit": 3})).await.expect(200);
    let pages = answer.data()["pages"].as_array().expect("pages").clone();
    assert_eq!(pages.len(), 3);
    assert_eq!(pages[0]["path"], "/docs/operations/keys.createKey");
    for found in &pages {
        let text = page(&server, found["path"].as_str().expect("a path")).await;
        assert!(!text.is_empty() && !found["summary"].as_str().expect("text").is_empty());
    }
    let nothing = server.call("docs.search", json!({"query": "zyzzyva"})).await.expect(200);
    assert_eq!(nothing.data(), &json!({"pages": []}));
    let faults = server.call("docs.search", json!({"query": "", "limit": 21})).await;
    let mut locations = faults.expect_error(400, "unkey/application/invalid_input").locations();
    locations.sort();
    assert_eq!(locations, ["body.limit", "body.query"]);
}
