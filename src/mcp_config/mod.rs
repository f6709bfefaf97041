//! `keyrack mcp-config`: the settings that connect an assistant, ready to paste, or put into its settings file.
//!
//! What is to be pasted goes to stdout, and what to do with it to stderr. The root key is a placeholder unless it is asked
//! for, and one with full access is never handed out by itself.

mod client;
mod document;
mod entry;
mod issuing;
mod place;
mod rules;
mod wishes;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command};
use keyrack_core::keys::secret::Secret;
use keyrack_core::root_keys::presets::PRESETS;
use reqwest::Url;
use serde_json::{Map, Value};

use crate::instance::{self, ROOT_KEY_FILE};
use crate::settings::{self, Flags, Settings, add_flags};
use crate::{exit, printable, remote, stdout};
use client::{CLIENTS, Client, Http, Unshown};
use entry::{Entry, PLACEHOLDER, VARIABLE};
use issuing::{Issued, Wanted};
use place::Place;
use wishes::Asked;

const DEFAULT_NAME: &str = "keyrack";
/// Clients put it before the names of tools, and some allow 60 characters for both.
const LONGEST_NAME: usize = 25;

/// The command.
pub(crate) fn command() -> Command {
    let command =
        Command::new("mcp-config")
            .about("Prints or writes the settings that connect an assistant")
            .arg(
                Arg::new("client")
                    .required_unless_present("rules")
                    .value_name("CLIENT")
                    .value_parser(CLIENTS.each_ref().map(|client| client.name))
                    .help("The application"),
            )
            .arg(
                Arg::new("http").long("http").value_name("URL").num_args(0..=1).default_missing_value("").help(
                    "Connect to a running server instead of starting `keyrack mcp` [default: this machine's]",
                ),
            )
            .arg(
                flag("mcp-remote", "Through `npx mcp-remote`, also where the application connects by itself")
                    .requires("http"),
            )
            .arg(
                Arg::new("name")
                    .long("name")
                    .default_value(DEFAULT_NAME)
                    .value_parser(server_name)
                    .help("What the application calls it: one entry for each workspace"),
            );
    let command = wishes::add_flags(with_root_key_flags(command))
        .arg(
            Arg::new("write")
                .long("write")
                .value_name("FILE")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("")
                .conflicts_with("rules")
                .help("Put it into the application's settings file, or into this one; what was there is kept beside it"),
        )
        .arg(flag("dry-run", "Say what --write would do, and do nothing").requires("write"))
        .arg(
            flag("rules", "Print rules for agents that write code (AGENTS.md, CLAUDE.md, .cursor/rules) and nothing else")
                .conflicts_with_all(["client", "new-root-key", "show-root-key", "mcp-remote"]),
        );
    add_flags(command, Flags::Data)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn with_root_key_flags(command: Command) -> Command {
    let presets = PRESETS.map(|preset| format!("{}: {}", preset.name, preset.purpose)).join("; ");
    command
        .arg(
            Arg::new("new-root-key")
                .long("new-root-key")
                .value_name("PRESET")
                .value_parser(PRESETS.map(|preset| preset.name))
                .help(format!("Make a root key for it and fill that in. {presets}")),
        )
        .arg(
            Arg::new("workspace")
                .long("workspace")
                .value_name("ID")
                .requires("new-root-key")
                .conflicts_with("http")
                .help("The workspace of the new root key [default: the oldest]"),
        )
        .arg(
            flag("show-root-key", "Put the root key itself into the settings instead of a placeholder")
                .requires("http")
                .conflicts_with("new-root-key"),
        )
}

fn server_name(text: &str) -> Result<String, String> {
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_name && (1..=LONGEST_NAME).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!("must be 1 to {LONGEST_NAME} letters, digits, - or _"))
}

/// Prints or writes the settings.
///
/// # Errors
/// When the settings of this program make no sense, a root key was asked for and there is none, or a file cannot be
/// read or written.
pub(crate) async fn run(settings: &Settings, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let named = matches.get_one::<String>("http");
    if matches.get_flag("rules") {
        let base = base_of(&address(named.map_or("", String::as_str), settings)?);
        stdout::print(&rules::text(&base))?;
        return Ok(ExitCode::SUCCESS);
    }
    let client = matches.get_one::<String>("client").and_then(|name| Client::named(name));
    let client = client.context("which application? `keyrack mcp-config --help` lists them")?;
    let asked = match Asked::of(matches) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("error: {}", printable::line(&why));
            return Ok(ExitCode::from(exit::USAGE));
        }
    };
    let name = matches.get_one::<String>("name").map_or(DEFAULT_NAME, String::as_str);
    let configuration = Configuration {
        client,
        name,
        asked,
        url: named.map(|url| address(url, settings)).transpose()?,
        through_mcp_remote: matches.get_flag("mcp-remote"),
        settings,
    };
    let wanted = Wanted::of(matches, client.name, name);
    let shows_own = matches.get_flag("show-root-key");
    match matches.get_one::<String>("write") {
        None => configuration.print(wanted, shows_own).await?,
        Some(file) => {
            let file = (!file.is_empty()).then(|| Path::new(file));
            configuration.write(file, matches.get_flag("dry-run"), wanted, shows_own).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is to be connected to what.
struct Configuration<'a> {
    client: &'static Client,
    name: &'a str,
    /// What the assistant is to see.
    asked: Asked,
    /// The MCP address of a running server; none: the client starts `keyrack mcp`.
    url: Option<Url>,
    through_mcp_remote: bool,
    settings: &'a Settings,
}

impl Configuration<'_> {
    /// What to paste on stdout, where on stderr.
    async fn print(&self, wanted: Option<Wanted>, shows_own: bool) -> anyhow::Result<()> {
        let (made, root_key) = self.root_key(wanted, shows_own).await?;
        let entry = self.entry(root_key.as_ref())?;
        let text = document::alone(self.client, &entry).map_err(anyhow::Error::msg)?;
        stdout::print(text.trim_end())?;
        eprintln!("\n{}", self.client.places());
        self.say_root_key(made.is_some(), root_key.is_some())
    }

    /// The same into the settings file.
    async fn write(
        &self,
        file: Option<&Path>,
        is_dry: bool,
        wanted: Option<Wanted>,
        shows_own: bool,
    ) -> anyhow::Result<()> {
        let place = Place::of(self.client, file)?;
        // Whatever can be wrong is, before a root key is made.
        let planned = place.with(self.client, &self.entry(None)?)?;
        let shown = place.path().display().to_string();
        let verb = if planned.replaces { "replaces" } else { "is added beside" };
        let others = if planned.others.is_empty() { "no others".to_owned() } else { planned.others.join(", ") };
        let others = if planned.replaces { format!("its old entry; others: {others}") } else { others };
        eprintln!("{}: `{}` {verb} {}.", printable::line(&shown), self.name, printable::line(&others));
        if is_dry {
            eprintln!(
                "{}",
                document::alone(self.client, &self.entry(None)?).map_err(anyhow::Error::msg)?.trim_end()
            );
            if let Some(wanted) = wanted {
                eprintln!("It would hold {}.", wanted.purpose());
            }
            eprintln!("Nothing was written.");
            return Ok(());
        }
        let (made, root_key) = self.root_key(wanted, shows_own).await?;
        let entry = self.entry(root_key.as_ref())?;
        let written = place.with(self.client, &entry).and_then(|merged| place.write(&merged.text));
        let backup = written.map_err(|error| match &made {
            Some(id) => error.context(format!(
                "the new root key {id} is in no file; delete it: `keyrack api root-keys delete-key --key-id {id}`"
            )),
            None => error,
        })?;
        let masked = entry.masked(root_key.as_ref().map(Secret::expose));
        eprintln!("{}", document::alone(self.client, &masked).map_err(anyhow::Error::msg)?.trim_end());
        match backup {
            Some(backup) => {
                eprintln!("Written. What was there is in {}.", printable::line(&backup.display().to_string()))
            }
            None => eprintln!("Written; the file is new."),
        }
        if root_key.is_some() && place.is_in_git() {
            eprintln!("The file is in a working copy of Git: keep it out of commits, it holds a root key.");
        }
        eprintln!("{}", self.client.then);
        self.say_root_key(made.is_some(), root_key.is_some())
    }

    /// The root key that goes into the settings, and its id if it was made for them.
    async fn root_key(
        &self,
        wanted: Option<Wanted>,
        shows_own: bool,
    ) -> anyhow::Result<(Option<String>, Option<Secret>)> {
        let Some(wanted) = wanted else {
            let url = self.url.as_ref().filter(|_| shows_own);
            return Ok((None, url.map(|url| root_key_for(url, self.settings)).transpose()?));
        };
        let Issued { id, secret } = match &self.url {
            None => wanted.offline(self.settings).await?,
            Some(url) => wanted.by_server(base_of(url), &root_key_for(url, self.settings)?).await?,
        };
        eprintln!("Made {} ({id}).", wanted.purpose());
        Ok((Some(id), Some(secret)))
    }

    fn entry(&self, root_key: Option<&Secret>) -> anyhow::Result<Entry> {
        let root_key = root_key.map(Secret::expose);
        if let Some(url) = &self.url {
            let url = self.asked.applied(url.clone());
            return Ok(Entry::http(self.client, self.name, &url, root_key, self.through_mcp_remote));
        }
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let mut arguments = vec!["mcp".to_owned()];
        arguments.extend(self.asked.arguments());
        let mut environment = shared(self.settings)?;
        environment.extend(root_key.map(|root_key| (VARIABLE.to_owned(), root_key.into())));
        Ok(Entry::stdio(self.client, self.name, &program, arguments, environment))
    }

    /// Where the root key is, or has to come from.
    fn say_root_key(&self, is_made: bool, is_shown: bool) -> anyhow::Result<()> {
        let is_direct = matches!(self.client.http, Http::Own { .. }) && !self.through_mcp_remote;
        let words = match (is_shown, &self.url) {
            (true, _) => "It contains a root key: keep it to yourself.".to_owned(),
            (false, None) => acting(self.settings)?,
            (false, Some(_)) => {
                let one = whereabouts(self.settings)?;
                match &self.client.unshown {
                    Unshown::Asked if is_direct => {
                        format!("{} asks for the root key; one is {one}.", self.client.title)
                    }
                    Unshown::Environment(_) if is_direct => format!(
                        "{} takes the root key from {VARIABLE} in its environment; one is {one}.",
                        self.client.title
                    ),
                    _ => format!("Put a root key in the place of {PLACEHOLDER}; one is {one}."),
                }
            }
        };
        eprintln!("{}", printable::line(&words));
        if !is_made {
            eprintln!("That one has full access; `--new-root-key assistant` makes one with less.");
        }
        Ok(())
    }
}

/// With what the stdio server acts, in words.
fn acting(settings: &Settings) -> anyhow::Result<String> {
    let has_file = settings.get(&settings::DATA_DIR)?.join(ROOT_KEY_FILE).exists();
    if !has_file && settings.get(&settings::BOOTSTRAP_ROOT_KEY)?.is_some() {
        return Ok("It needs a root key, KEYRACK_ROOT_KEY or KEYRACK_ROOT_KEY_FILE in its env: the bootstrap root key of \
                   the settings is not printed. `--new-root-key` makes one for it."
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

/// The root key of the settings for the server at this address.
fn root_key_for(url: &Url, settings: &Settings) -> anyhow::Result<Secret> {
    let Some(root_key) = settings.get(&settings::ROOT_KEY)? else { return instance::own_root_key(settings) };
    match settings.belongs_elsewhere(&base_of(url), "--http") {
        Some(why) => anyhow::bail!("{why}; name the right one with KEYRACK_ROOT_KEY_FILE or KEYRACK_ROOT_KEY"),
        None => Ok(root_key),
    }
}

/// The address of the server whose MCP address this is.
fn base_of(url: &Url) -> Url {
    let mut base = url.clone();
    base.set_path(url.path().strip_suffix("/mcp").unwrap_or(url.path()));
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for name in ["keyrack", "keyrack-prod", "a_1"] {
            assert_eq!(server_name(name).unwrap(), name);
        }
        for name in ["", "a b", "a.b", "ä", &"x".repeat(LONGEST_NAME + 1)] {
            assert!(server_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_base_of_an_mcp_address_is_the_server() {
        for (url, base) in [("https://h/mcp", "https://h/"), ("https://h/base/mcp", "https://h/base")] {
            assert_eq!(base_of(&Url::parse(url).unwrap()).as_str(), base);
        }
    }

    #[test]
    fn the_command_is_consistent() {
        command().debug_assert();
    }
}
