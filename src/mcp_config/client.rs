//! The applications that speak MCP: where each keeps its servers, in what form, and what it can do.
//!
//! All of it is from the applications' own documentation, which [`Client::documentation`] names, as it was in November
//! 2026.

/// An application that speaks MCP.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// On the command line.
    pub(super) name: &'static str,
    /// For people.
    pub(super) title: &'static str,
    /// Its own settings file; some are to be pasted into only.
    pub(super) file: Option<File>,
    /// A project's settings file, where it has such.
    pub(super) project: Option<&'static str>,
    pub(super) format: Format,
    /// The member of the settings that holds the servers.
    pub(super) servers: &'static str,
    /// What its entries of programs say of their kind.
    pub(super) stdio_type: Option<&'static str>,
    pub(super) http: Http,
    /// Where a root key that is not shown comes from.
    pub(super) unshown: Unshown,
    /// How to get to the settings, if not by the file.
    pub(super) way: &'static str,
    /// What to do once the settings are there.
    pub(super) then: &'static str,
    /// What says so.
    pub(super) documentation: &'static str,
}

/// A file by operating system. `~` is the home folder, `%APPDATA%` as on Windows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) linux: &'static str,
    pub(super) macos: &'static str,
    pub(super) windows: &'static str,
    /// A variable of the environment that moves it, and the name in that folder; none: it is the file itself.
    pub(super) moved_by: Option<(&'static str, Option<&'static str>)>,
}

/// How a settings file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// JSON, and comments where its application allows them.
    Json,
    Toml,
}

/// How an application connects to a server that runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Http {
    /// By itself: the members for address and headers, and what the entry says of its kind.
    Own { url: &'static str, headers: &'static str, kind: Option<&'static str> },
    /// Its settings know programs only; mcp-remote is one that passes everything on.
    ThroughMcpRemote,
}

/// Where a root key that is not shown comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unshown {
    /// People put it in.
    Placeholder,
    /// The application asks for it, and keeps it elsewhere.
    Asked,
    /// This member takes headers from variables of the environment.
    Environment(&'static str),
}

/// The same place on every system.
const fn everywhere(path: &'static str) -> Option<File> {
    Some(File { linux: path, macos: path, windows: path, moved_by: None })
}

const fn own(url: &'static str, kind: Option<&'static str>) -> Http {
    Http::Own { url, headers: "headers", kind }
}

/// What most of them have in common.
const USUAL: Client = Client {
    name: "",
    title: "",
    file: None,
    project: None,
    format: Format::Json,
    servers: "mcpServers",
    stdio_type: None,
    http: Http::ThroughMcpRemote,
    unshown: Unshown::Placeholder,
    way: "",
    then: "",
    documentation: "",
};

/// All of them.
pub(super) static CLIENTS: [Client; 10] = [
    Client {
        name: "claude",
        title: "Claude Desktop",
        file: Some(File {
            linux: "~/.config/Claude/claude_desktop_config.json",
            macos: "~/Library/Application Support/Claude/claude_desktop_config.json",
            windows: "%APPDATA%/Claude/claude_desktop_config.json",
            moved_by: None,
        }),
        way: "Settings > Developer > Edit Config",
        then: "Quit Claude Desktop and start it again.",
        documentation: "https://modelcontextprotocol.io/docs/develop/connect-local-servers",
        ..USUAL
    },
    Client {
        name: "claude-code",
        title: "Claude Code",
        file: everywhere("~/.claude.json"),
        project: Some(".mcp.json"),
        stdio_type: Some("stdio"),
        http: own("url", Some("http")),
        then: "Claude Code writes that file too: end its sessions first. `/mcp` in a new one shows the server.",
        documentation: "https://code.claude.com/docs/en/mcp",
        ..USUAL
    },
    Client {
        name: "cursor",
        title: "Cursor",
        file: everywhere("~/.cursor/mcp.json"),
        project: Some(".cursor/mcp.json"),
        http: own("url", None),
        then: "Switch it on in Cursor's list of MCP servers.",
        documentation: "https://cursor.com/docs/mcp",
        ..USUAL
    },
    Client {
        name: "windsurf",
        title: "Windsurf",
        file: everywhere("~/.codeium/windsurf/mcp_config.json"),
        http: own("serverUrl", None),
        then: "Refresh Windsurf's list of MCP servers.",
        documentation: "https://docs.windsurf.com/windsurf/cascade/mcp",
        ..USUAL
    },
    Client {
        name: "vscode",
        title: "VS Code",
        file: Some(File {
            linux: "~/.config/Code/User/mcp.json",
            macos: "~/Library/Application Support/Code/User/mcp.json",
            windows: "%APPDATA%/Code/User/mcp.json",
            moved_by: None,
        }),
        project: Some(".vscode/mcp.json"),
        servers: "servers",
        stdio_type: Some("stdio"),
        http: own("url", Some("http")),
        unshown: Unshown::Asked,
        way: "command \"MCP: Open User Configuration\"",
        then: "Start it from the command \"MCP: List Servers\".",
        documentation: "https://code.visualstudio.com/docs/copilot/reference/mcp-configuration",
        ..USUAL
    },
    Client {
        name: "codex",
        title: "Codex",
        file: Some(File {
            linux: "~/.codex/config.toml",
            macos: "~/.codex/config.toml",
            windows: "~/.codex/config.toml",
            moved_by: Some(("CODEX_HOME", Some("config.toml"))),
        }),
        project: Some(".codex/config.toml"),
        format: Format::Toml,
        servers: "mcp_servers",
        http: Http::Own { url: "url", headers: "http_headers", kind: None },
        unshown: Unshown::Environment("env_http_headers"),
        then: "`/mcp` in a new session shows the server.",
        documentation: "https://developers.openai.com/codex/mcp",
        ..USUAL
    },
    Client {
        name: "gemini",
        title: "Gemini CLI",
        file: everywhere("~/.gemini/settings.json"),
        project: Some(".gemini/settings.json"),
        http: own("httpUrl", None),
        then: "`/mcp` in a new session shows the server.",
        documentation: "https://geminicli.com/docs/tools/mcp-server",
        ..USUAL
    },
    Client {
        name: "zed",
        title: "Zed",
        file: Some(File {
            linux: "~/.config/zed/settings.json",
            macos: "~/.config/zed/settings.json",
            windows: "%APPDATA%/Zed/settings.json",
            moved_by: None,
        }),
        servers: "context_servers",
        http: own("url", None),
        way: "command \"zed: open settings file\"",
        then: "Settings > AI > MCP Servers shows it.",
        documentation: "https://zed.dev/docs/ai/mcp",
        ..USUAL
    },
    Client {
        name: "cline",
        title: "Cline",
        file: Some(File {
            linux: "~/.cline/data/settings/cline_mcp_settings.json",
            macos: "~/.cline/data/settings/cline_mcp_settings.json",
            windows: "~/.cline/data/settings/cline_mcp_settings.json",
            moved_by: Some(("CLINE_MCP_SETTINGS_PATH", None)),
        }),
        http: own("url", Some("streamableHttp")),
        way: "in an editor: MCP Servers > Configure > Configure MCP Servers, which may open another file",
        then: "Cline's list of MCP servers shows it.",
        documentation: "https://docs.cline.bot/mcp/mcp-overview",
        ..USUAL
    },
    Client {
        name: "jetbrains",
        title: "JetBrains AI Assistant",
        way: "Settings > Tools > AI Assistant > Model Context Protocol (MCP) > Add > As JSON",
        then: "Apply the settings; the list shows whether it connects.",
        documentation: "https://www.jetbrains.com/help/ai-assistant/mcp.html",
        ..USUAL
    },
];

impl Client {
    /// The application of this name.
    pub(super) fn named(name: &str) -> Option<&'static Client> {
        CLIENTS.iter().find(|client| client.name == name)
    }

    /// Where its settings are, for people.
    pub(super) fn places(&self) -> String {
        let mut text = format!("Paste it into the settings of {}", self.title);
        if !self.way.is_empty() {
            text.push_str(&format!(" ({})", self.way));
        }
        text.push_str(":\n");
        if let Some(file) = &self.file {
            let windows = file.windows.replace('~', "%USERPROFILE%").replace('/', "\\");
            for (system, path) in [("Linux", file.linux), ("macOS", file.macos), ("Windows", &windows)] {
                text.push_str(&format!("  {system:<12} {path}\n"));
            }
        }
        if let Some(project) = self.project {
            text.push_str(&format!("  {:<12} {project} (keep root keys out of version control)\n", "one project"));
        }
        text + self.then
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_client_says_where_its_settings_are_and_what_says_so() {
        let names: HashSet<&str> = CLIENTS.iter().map(|client| client.name).collect();
        assert_eq!(names.len(), CLIENTS.len());
        for client in &CLIENTS {
            assert!(client.documentation.starts_with("https://") && !client.then.is_empty(), "{}", client.name);
            assert!(client.file.is_some() || !client.way.is_empty(), "{}", client.name);
            assert_eq!(Client::named(client.name), Some(client));
            let places = client.places();
            assert_eq!(places.contains("%USERPROFILE%") || places.contains("%APPDATA%"), client.file.is_some());
        }
    }

    #[test]
    fn paths_begin_in_a_folder_that_is_known() {
        for file in CLIENTS.iter().filter_map(|client| client.file.as_ref()) {
            for path in [file.linux, file.macos] {
                assert!(path.starts_with("~/") && !path.contains('%'), "{path}");
            }
            assert!(file.windows.starts_with("~/") || file.windows.starts_with("%APPDATA%/"), "{}", file.windows);
        }
    }
}
