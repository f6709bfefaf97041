//! `keyrack mcp-config`: the settings that connect an assistant, ready to paste.
//!
//! The JSON goes to stdout, and where to paste it to stderr. Arguments contain no spaces, because some
//! clients cannot pass them on. The root key is a placeholder unless it is asked for.

use std::path::Path;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command};
use keyrack_core::keys::secret::Secret;
use reqwest::Url;
use serde_json::{Map, Value, json};

use crate::instance::{self, ROOT_KEY_FILE};
use crate::settings::{self, Flags, Settings, add_flags};
use crate::{remote, stdout};

/// The header that needs no `Bearer `, hence no space; a wrong key in it is told to the user as it is.
const HEADER: &str = "MCP-UNKEY-BEARER-AUTH";
const PLACEHOLDER: &str = "<root key>";

/// An application that speaks MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    ClaudeDesktop,
    Cursor,
    Windsurf,
    VsCode,
}

impl Client {
    const ALL: [(&'static str, Client); 4] = [
        ("claude", Client::ClaudeDesktop),
        ("cursor", Client::Cursor),
        ("windsurf", Client::Windsurf),
        ("vscode", Client::VsCode),
    ];

    fn named(name: &str) -> Option<Client> {
        Client::ALL.iter().find(|(known, _)| *known == name).map(|(_, client)| *client)
    }

    /// Where its settings are, as its own documentation says.
    fn places(self) -> &'static str {
        match self {
            Client::ClaudeDesktop => {
                "Paste it into the settings file of Claude Desktop (Settings > Developer > Edit Config):\n  \
                 macOS    ~/Library/Application Support/Claude/claude_desktop_config.json\n  \
                 Windows  %APPDATA%\\Claude\\claude_desktop_config.json\n  \
                 Linux    ~/.config/Claude/claude_desktop_config.json\n\
                 Then quit Claude Desktop and start it again."
            }
            Client::Cursor => {
                "Paste it into the settings file of Cursor:\n  \
                 macOS, Linux  ~/.cursor/mcp.json\n  \
                 Windows       %USERPROFILE%\\.cursor\\mcp.json\n  \
                 one project   .cursor/mcp.json (keep root keys out of version control)"
            }
            Client::Windsurf => {
                "Paste it into the settings file of Windsurf, then refresh its list of MCP servers:\n  \
                 macOS, Linux  ~/.codeium/windsurf/mcp_config.json\n  \
                 Windows       %USERPROFILE%\\.codeium\\windsurf\\mcp_config.json"
            }
            Client::VsCode => {
                "Paste it into mcp.json of VS Code (command \"MCP: Open User Configuration\"):\n  \
                 macOS        ~/Library/Application Support/Code/User/mcp.json\n  \
                 Windows      %APPDATA%\\Code\\User\\mcp.json\n  \
                 Linux        ~/.config/Code/User/mcp.json\n  \
                 one project  .vscode/mcp.json (keep root keys out of version control)"
            }
        }
    }
}

/// The command.
pub(crate) fn command() -> Command {
    let command =
        Command::new("mcp-config")
            .about("Prints the settings that connect Claude Desktop, Cursor, Windsurf or VS Code")
            .arg(
                Arg::new("client")
                    .required(true)
                    .value_name("CLIENT")
                    .value_parser(Client::ALL.map(|(name, _)| name))
                    .help("The application"),
            )
            .arg(
                Arg::new("http").long("http").value_name("URL").num_args(0..=1).default_missing_value("").help(
                    "Connect to a running server instead of starting `keyrack mcp` [default: this machine's]",
                ),
            )
            .arg(
                Arg::new("show-root-key")
                    .long("show-root-key")
                    .action(ArgAction::SetTrue)
                    .requires("http")
                    .help("Put the root key itself into the settings instead of a placeholder"),
            );
    add_flags(command, Flags::Data)
}

/// Prints the settings.
///
/// # Errors
/// When the settings of this program make no sense, or the root key was asked for and is not there.
pub(crate) fn run(settings: &Settings, matches: &ArgMatches) -> anyhow::Result<()> {
    let client = matches.get_one::<String>("client").and_then(|name| Client::named(name));
    let client = client.context("which application? `keyrack mcp-config --help` lists them")?;
    let Some(url) = matches.get_one::<String>("http") else {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        stdout::print(&format!("{:#}", stdio(client, &program, shared(settings)?)))?;
        eprintln!("\n{}", client.places());
        eprintln!("{}", acting(settings)?);
        return Ok(());
    };
    let url = address(url, settings)?;
    let root_key = matches.get_flag("show-root-key").then(|| root_key_for(&url, settings)).transpose()?;
    let shown = root_key.as_ref().map(|root_key| root_key.expose());
    stdout::print(&format!("{:#}", http(client, &url, shown)))?;
    eprintln!("\n{}", client.places());
    match (shown, client) {
        (Some(_), _) => eprintln!("It contains a root key: keep it to yourself."),
        (None, Client::VsCode) => {
            eprintln!("VS Code asks for the root key; one is {}.", whereabouts(settings)?)
        }
        (None, _) => {
            eprintln!("Put a root key in the place of {PLACEHOLDER}; one is {}.", whereabouts(settings)?);
        }
    }
    Ok(())
}

/// With what the stdio server acts, in words.
fn acting(settings: &Settings) -> anyhow::Result<String> {
    let has_file = settings.get(&settings::DATA_DIR)?.join(ROOT_KEY_FILE).exists();
    if !has_file && settings.get(&settings::BOOTSTRAP_ROOT_KEY)?.is_some() {
        return Ok("It needs a root key, KEYRACK_ROOT_KEY or KEYRACK_ROOT_KEY_FILE in its env: the bootstrap root key of \
                   the settings is not printed. `keyrack root-key create` makes one for it."
            .to_owned());
    }
    Ok(format!("It acts with {}.", whereabouts(settings)?))
}

/// Where the root key of this machine is, in words.
fn whereabouts(settings: &Settings) -> anyhow::Result<String> {
    let file = settings.get(&settings::DATA_DIR)?.join(ROOT_KEY_FILE);
    let shown = file.display();
    Ok(if file.exists() {
        format!("the root key in {shown}")
    } else if settings.get(&settings::BOOTSTRAP_ROOT_KEY)?.is_some() {
        "the bootstrap root key of the settings".to_owned()
    } else {
        format!("the root key in {shown}, which the first start writes")
    })
}

/// The environment of the stdio server, which must share these settings: what was given here.
fn shared(settings: &Settings) -> anyhow::Result<Map<String, Value>> {
    let mut environment = Map::new();
    // The client starts the server in a folder of its own.
    for folder in [settings::CONFIG.facts(), settings::DATA_DIR.facts()] {
        if let Some(text) = settings.text(folder) {
            environment.insert(folder.variable(), std::path::absolute(text)?.display().to_string().into());
        }
    }
    let database = settings::DATABASE_URL.facts();
    if let Some(text) = settings.text(database) {
        environment.insert(database.variable(), text.into());
    }
    Ok(environment)
}

/// The MCP address of a server: of the one named, or of this machine's by its settings.
fn address(named: &str, settings: &Settings) -> anyhow::Result<Url> {
    let base = match (named, settings.get(&settings::PUBLIC_URL)?) {
        ("", Some(public)) => public,
        ("", None) => {
            let mut listen = settings.get(&settings::LISTEN)?;
            if listen.ip().is_unspecified() {
                listen.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
            }
            format!("http://{listen}")
        }
        (named, _) => named.to_owned(),
    };
    let mut url = remote::parse_base(&base).map_err(|what| anyhow::anyhow!("--http {what}"))?;
    if url.path() == "/" {
        url.set_path("/mcp");
    }
    Ok(url)
}

/// The root key to show in a configuration for this address.
fn root_key_for(url: &Url, settings: &Settings) -> anyhow::Result<Secret> {
    let Some(root_key) = settings.get(&settings::ROOT_KEY)? else { return instance::own_root_key(settings) };
    let mut base = url.clone();
    base.set_path(url.path().strip_suffix("/mcp").unwrap_or(url.path()));
    match settings.belongs_elsewhere(&base, "--http") {
        Some(why) => anyhow::bail!("{why}; name the right one with KEYRACK_ROOT_KEY_FILE or KEYRACK_ROOT_KEY"),
        None => Ok(root_key),
    }
}

fn stdio(client: Client, program: &Path, environment: Map<String, Value>) -> Value {
    let mut server = json!({ "command": program.display().to_string(), "args": ["mcp"] });
    if !environment.is_empty() {
        server["env"] = Value::Object(environment);
    }
    match client {
        Client::VsCode => {
            let mut typed = json!({ "type": "stdio" });
            if let (Value::Object(typed), Value::Object(server)) = (&mut typed, server) {
                typed.extend(server);
            }
            json!({ "servers": { "keyrack": typed } })
        }
        Client::ClaudeDesktop | Client::Cursor | Client::Windsurf => {
            json!({ "mcpServers": { "keyrack": server } })
        }
    }
}

fn http(client: Client, url: &Url, root_key: Option<&str>) -> Value {
    let key = root_key.unwrap_or(PLACEHOLDER);
    match client {
        Client::ClaudeDesktop => json!({ "mcpServers": { "keyrack": through_mcp_remote(url, key) } }),
        Client::Cursor => {
            json!({ "mcpServers": { "keyrack": { "url": url.as_str(), "headers": { HEADER: key } } } })
        }
        Client::Windsurf => {
            json!({ "mcpServers": { "keyrack": { "serverUrl": url.as_str(), "headers": { HEADER: key } } } })
        }
        Client::VsCode => in_vscode(url, root_key),
    }
}

/// Claude Desktop's settings file knows only programs; mcp-remote is one that passes everything on.
fn through_mcp_remote(url: &Url, key: &str) -> Value {
    let header = format!("{HEADER}:${{KEYRACK_ROOT_KEY}}");
    let mut args = vec!["-y", "mcp-remote", url.as_str()];
    if url.scheme() == "http" && !remote::is_loopback(url) {
        args.push("--allow-http");
    }
    args.extend(["--header", &header]);
    json!({ "command": "npx", "args": args, "env": { "KEYRACK_ROOT_KEY": key } })
}

/// VS Code asks for secrets and keeps them outside its settings.
fn in_vscode(url: &Url, root_key: Option<&str>) -> Value {
    let server =
        |key: &str| json!({ "keyrack": { "type": "http", "url": url.as_str(), "headers": { HEADER: key } } });
    match root_key {
        Some(key) => json!({ "servers": server(key) }),
        None => json!({
            "inputs": [{
                "type": "promptString",
                "id": "keyrack-root-key",
                "description": "Root key of Keyrack",
                "password": true,
            }],
            "servers": server("${input:keyrack-root-key}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        remote::parse_base(text).unwrap()
    }

    #[test]
    fn claude_desktop_connects_through_mcp_remote() {
        let expected = json!({ "mcpServers": { "keyrack": {
            "command": "npx",
            "args": [
                "-y", "mcp-remote", "http://127.0.0.1:8080/mcp",
                "--header", "MCP-UNKEY-BEARER-AUTH:${KEYRACK_ROOT_KEY}",
            ],
            "env": { "KEYRACK_ROOT_KEY": "<root key>" },
        }}});
        assert_eq!(http(Client::ClaudeDesktop, &url("http://127.0.0.1:8080/mcp"), None), expected);
    }

    #[test]
    fn plain_http_to_another_machine_must_be_allowed() {
        let args = |text: &str| through_mcp_remote(&url(text), "k")["args"].to_string();
        assert!(args("http://10.0.0.1/mcp").contains("--allow-http"));
        assert!(!args("https://keys.example.com/mcp").contains("--allow-http"));
    }

    #[test]
    fn each_client_gets_its_own_form() {
        let address = url("https://keys.example.com/mcp");
        let cursor = http(Client::Cursor, &address, None);
        assert_eq!(cursor["mcpServers"]["keyrack"]["url"], address.as_str());
        let windsurf = http(Client::Windsurf, &address, Some("k"));
        assert_eq!(windsurf["mcpServers"]["keyrack"]["serverUrl"], address.as_str());
        assert_eq!(windsurf["mcpServers"]["keyrack"]["headers"][HEADER], "k");
        let vscode = http(Client::VsCode, &address, None);
        assert_eq!(vscode["servers"]["keyrack"]["type"], "http");
        assert_eq!(vscode["servers"]["keyrack"]["headers"][HEADER], "${input:keyrack-root-key}");
        assert_eq!(http(Client::VsCode, &address, Some("k"))["inputs"], Value::Null);
    }

    #[test]
    fn stdio_starts_this_program_with_the_settings_that_were_given() {
        let program = Path::new("/opt/keyrack");
        let claude = stdio(Client::ClaudeDesktop, program, Map::new());
        assert_eq!(claude, json!({ "mcpServers": { "keyrack": { "command": "/opt/keyrack", "args": ["mcp"] } } }));
        let environment = Map::from_iter([("KEYRACK_DATA_DIR".to_owned(), "/d".into())]);
        let vscode = stdio(Client::VsCode, program, environment);
        assert_eq!(vscode["servers"]["keyrack"]["type"], "stdio");
        assert_eq!(vscode["servers"]["keyrack"]["env"]["KEYRACK_DATA_DIR"], "/d");
    }
}
