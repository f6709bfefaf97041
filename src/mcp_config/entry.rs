//! What a client's settings say of Keyrack: an entry of its table of servers.
//!
//! Arguments contain no spaces, because some clients cannot pass them on.

use std::path::Path;

use reqwest::Url;
use serde_json::{Map, Value, json};

use super::client::{Client, Http, Unshown};
use crate::remote;

/// The header that needs no `Bearer `, hence no space; a wrong key in it is told to the user as it is.
pub(super) const HEADER: &str = "MCP-UNKEY-BEARER-AUTH";
/// Stands for a root key.
pub(super) const PLACEHOLDER: &str = "<root key>";
/// The variable that holds one.
pub(super) const VARIABLE: &str = "KEYRACK_ROOT_KEY";
/// The version that the tests connect through.
pub(super) const MCP_REMOTE: &str = "mcp-remote@0.15.1";

/// An entry, and what VS Code asks its user.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// What the client calls the server.
    pub(super) name: String,
    pub(super) server: Value,
    /// A question for a root key that the entry refers to.
    pub(super) input: Option<Value>,
}

impl Entry {
    /// Starts this program.
    pub(super) fn stdio(
        client: &Client,
        name: &str,
        program: &Path,
        arguments: Vec<String>,
        env: Map<String, Value>,
    ) -> Entry {
        let mut server = Map::new();
        server.extend(client.stdio_type.map(|kind| ("type".to_owned(), kind.into())));
        server.insert("command".to_owned(), program.display().to_string().into());
        server.insert("args".to_owned(), arguments.into());
        if !env.is_empty() {
            server.insert("env".to_owned(), env.into());
        }
        Entry { name: name.to_owned(), server: server.into(), input: None }
    }

    /// Connects to a server that runs, by itself if the client can and is not told otherwise.
    pub(super) fn http(
        client: &Client,
        name: &str,
        url: &Url,
        root_key: Option<&str>,
        through_mcp_remote: bool,
    ) -> Entry {
        let entry = |server| Entry { name: name.to_owned(), server, input: None };
        let Http::Own { url: address, headers, kind } = &client.http else {
            return entry(mcp_remote(client, url, root_key));
        };
        if through_mcp_remote {
            return entry(mcp_remote(client, url, root_key));
        }
        let mut server = Map::new();
        server.extend(kind.map(|kind| ("type".to_owned(), kind.into())));
        server.insert((*address).to_owned(), url.as_str().into());
        let (member, value, input) = match (root_key, &client.unshown) {
            (Some(root_key), _) => (*headers, root_key.to_owned(), None),
            (None, Unshown::Placeholder) => (*headers, PLACEHOLDER.to_owned(), None),
            (None, Unshown::Environment(member)) => (*member, VARIABLE.to_owned(), None),
            (None, Unshown::Asked) => {
                let id = format!("{name}-root-key");
                let input = json!({
                    "type": "promptString",
                    "id": id,
                    "description": format!("Root key of {name}"),
                    "password": true,
                });
                (*headers, format!("${{input:{id}}}"), Some(input))
            }
        };
        server.insert(member.to_owned(), json!({ HEADER: value }));
        Entry { input, ..entry(server.into()) }
    }

    /// The same without the root key.
    pub(super) fn masked(&self, root_key: Option<&str>) -> Entry {
        let Some(root_key) = root_key else { return self.clone() };
        Entry { server: masked(&self.server, root_key), ..self.clone() }
    }
}

fn masked(value: &Value, secret: &str) -> Value {
    match value {
        Value::String(text) => text.replace(secret, PLACEHOLDER).into(),
        Value::Array(items) => items.iter().map(|item| masked(item, secret)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), masked(value, secret))).collect()
        }
        other => other.clone(),
    }
}

fn mcp_remote(client: &Client, url: &Url, root_key: Option<&str>) -> Value {
    let header = format!("{HEADER}:${{{VARIABLE}}}");
    let mut args = vec!["-y", MCP_REMOTE, url.as_str()];
    if url.scheme() == "http" && !remote::is_loopback(url) {
        args.push("--allow-http");
    }
    args.extend(["--header", &header]);
    let mut server = Map::new();
    server.extend(client.stdio_type.map(|kind| ("type".to_owned(), kind.into())));
    server.insert("command".to_owned(), "npx".into());
    server.insert("args".to_owned(), args.into());
    server.insert("env".to_owned(), json!({ VARIABLE: root_key.unwrap_or(PLACEHOLDER) }));
    server.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp_config::client::CLIENTS;

    fn url(text: &str) -> Url {
        remote::parse_base(text).unwrap()
    }

    fn http(client: &str, address: &str, root_key: Option<&str>) -> Entry {
        Entry::http(Client::named(client).unwrap(), "keyrack", &url(address), root_key, false)
    }

    #[test]
    fn claude_desktop_connects_through_mcp_remote() {
        let expected = json!({
            "command": "npx",
            "args": [
                "-y", "mcp-remote@0.15.1", "http://127.0.0.1:8080/mcp",
                "--header", "MCP-UNKEY-BEARER-AUTH:${KEYRACK_ROOT_KEY}",
            ],
            "env": { "KEYRACK_ROOT_KEY": "<root key>" },
        });
        assert_eq!(http("claude", "http://127.0.0.1:8080/mcp", None).server, expected);
    }

    #[test]
    fn plain_http_to_another_machine_must_be_allowed() {
        let args = |text: &str| http("jetbrains", text, Some("k")).server["args"].to_string();
        assert!(args("http://10.0.0.1/mcp").contains("--allow-http"));
        assert!(!args("https://keys.example.com/mcp").contains("--allow-http"));
    }

    #[test]
    fn each_client_gets_its_own_form() {
        let address = "https://keys.example.com/mcp";
        let entry = |client: &str| http(client, address, Some("k")).server;
        let headers = json!({ HEADER: "k" });
        for (client, expected) in [
            ("claude-code", json!({ "type": "http", "url": address, "headers": headers })),
            ("cursor", json!({ "url": address, "headers": headers })),
            ("windsurf", json!({ "serverUrl": address, "headers": headers })),
            ("vscode", json!({ "type": "http", "url": address, "headers": headers })),
            ("codex", json!({ "url": address, "http_headers": headers })),
            ("gemini", json!({ "httpUrl": address, "headers": headers })),
            ("zed", json!({ "url": address, "headers": headers })),
            ("cline", json!({ "type": "streamableHttp", "url": address, "headers": headers })),
        ] {
            assert_eq!(entry(client), expected, "{client}");
        }
    }

    #[test]
    fn a_root_key_that_is_not_shown_comes_from_where_the_client_gets_it() {
        let entry = |client: &str| http(client, "https://keys.example.com/mcp", None);
        assert_eq!(entry("cursor").server["headers"][HEADER], PLACEHOLDER);
        assert_eq!(entry("codex").server["env_http_headers"][HEADER], VARIABLE);
        let vscode = entry("vscode");
        assert_eq!(vscode.server["headers"][HEADER], "${input:keyrack-root-key}");
        assert_eq!(vscode.input.unwrap()["id"], "keyrack-root-key");
    }

    #[test]
    fn a_masked_entry_has_no_root_key_anywhere() {
        let secret = "keyrack_planted";
        for client in &CLIENTS {
            for through in [false, true] {
                let entry = Entry::http(client, "x", &url("http://127.0.0.1/mcp"), Some(secret), through);
                assert!(format!("{entry:?}").contains(secret), "{}", client.name);
                assert!(!format!("{:?}", entry.masked(Some(secret))).contains("planted"), "{}", client.name);
            }
        }
    }

    #[test]
    fn stdio_starts_this_program_with_the_settings_that_were_given() {
        let program = Path::new("/opt/keyrack");
        let entry = |client: &str, environment| {
            let client = Client::named(client).unwrap();
            Entry::stdio(client, "keyrack", program, vec!["mcp".to_owned()], environment).server
        };
        assert_eq!(entry("claude", Map::new()), json!({ "command": "/opt/keyrack", "args": ["mcp"] }));
        let environment = Map::from_iter([("KEYRACK_DATA_DIR".to_owned(), "/d".into())]);
        let expected = json!({ "type": "stdio", "command": "/opt/keyrack", "args": ["mcp"], "env": { "KEYRACK_DATA_DIR": "/d" } });
        assert_eq!(entry("vscode", environment), expected);
    }
}
