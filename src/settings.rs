//! The program's settings: one table, three sources.
//!
//! A flag beats an environment variable, which beats `keyrack.toml`. Each setting is named once:
//! `drain-seconds` is `--drain-seconds`, `KEYRACK_DRAIN_SECONDS` and `drain_seconds`. Secrets have no flag
//! for their value, because argument lists are public; they come from the environment, or from a file
//! that the setting `…-file` names.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Arg, ArgMatches, Command};
use keyrack_core::keys::address_list::AddressList;
use keyrack_core::keys::secret::Secret;
use keyrack_core::store::Location;

/// Which commands have a setting as a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// Everything that opens the database.
    Data,
    /// `keyrack serve`.
    Serve,
    /// Whatever answers assistants.
    Assistants,
    /// Whatever needs a root key.
    RootKey,
    /// Every command.
    All,
}

/// A setting.
struct Setting {
    name: &'static str,
    value: &'static str,
    used_by: For,
    is_secret: bool,
    /// Another environment variable that counts when the setting's own is not there.
    alias: Option<&'static str>,
    /// Whether an empty value says something, instead of being no value.
    may_be_empty: bool,
    help: &'static str,
}

const fn setting(name: &'static str, value: &'static str, used_by: For, help: &'static str) -> Setting {
    Setting { name, value, used_by, is_secret: false, alias: None, may_be_empty: false, help }
}

const fn secret(name: &'static str, used_by: For, alias: Option<&'static str>, help: &'static str) -> Setting {
    Setting { name, value: "VALUE", used_by, is_secret: true, alias, may_be_empty: false, help }
}

const SETTINGS: &[Setting] = &[
    setting(
        "config",
        "FILE",
        For::All,
        "Settings file [default: keyrack/keyrack.toml in your configuration folder, if it is there]",
    ),
    setting(
        "log",
        "FILTER",
        For::All,
        "What to log, such as `debug` or `info,keyrack_core=trace` [default: info]",
    ),
    setting("log-format", "text|json", For::All, "How to write the log [default: text]"),
    setting(
        "data-dir",
        "FOLDER",
        For::Data,
        "Where the database and the root-key file are [default: your data folder, ~/.local/share/keyrack on Linux]",
    ),
    setting(
        "database-url",
        "URL",
        For::Data,
        "sqlite://PATH or postgres://USER@HOST/NAME [default: keyrack.db in the data folder]",
    ),
    setting("listen", "ADDRESS:PORT", For::Serve, "Where to listen [default: 127.0.0.1:8080]"),
    Setting {
        may_be_empty: true,
        ..setting(
            "metrics-listen",
            "ADDRESS:PORT",
            For::Serve,
            "Where to serve /metrics for Prometheus; empty: nowhere [default: 127.0.0.1:9090]",
        )
    },
    setting("public-url", "URL", For::Serve, "Where clients reach the server [default: http://<listen>]"),
    setting("allowed-hosts", "NAMES", For::Serve, "More names that a Host header may have, comma-separated"),
    setting(
        "trusted-proxies",
        "ADDRESSES",
        For::Serve,
        "Proxies whose X-Forwarded-For counts: addresses and CIDR ranges, comma-separated [default: none]",
    ),
    setting("max-body-bytes", "BYTES", For::Serve, "Largest request body [default: 10485760]"),
    setting(
        "drain-seconds",
        "SECONDS",
        For::Serve,
        "How long requests in flight may take after SIGTERM [default: 30]",
    ),
    secret(
        "bootstrap-root-key",
        For::Serve,
        None,
        "A root key of your own choice, at least 32 characters, that exists after the start",
    ),
    setting("bootstrap-root-key-file", "FILE", For::Serve, "File with that root key"),
    setting(
        "mcp-calls-per-minute",
        "NUMBER",
        For::Assistants,
        "Tool calls per root key and minute; 0: no limit [default: 300]",
    ),
    secret("root-key", For::RootKey, Some("UNKEY_ROOT_KEY"), "The root key to act with"),
    setting(
        "root-key-file",
        "FILE",
        For::RootKey,
        "File with the root key [default: root-key in the data folder]",
    ),
];

const METRICS_ADDRESS: &str = "must be an address and a port, such as 127.0.0.1:9090, or empty";

/// Environment variables that other parts of the program read.
const OTHER_VARIABLES: &[&str] = &["KEYRACK_URL", "KEYRACK_OUTPUT"];
/// Variables of this project's own tests.
const TEST_VARIABLES: &str = "KEYRACK_TEST_";

/// A group of settings that a command takes as flags.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Flags {
    /// `keyrack serve`
    Serve,
    /// `keyrack mcp`
    Mcp,
    /// Commands that only open the database.
    Data,
}

impl Flags {
    fn include(self, used_by: For) -> bool {
        match (self, used_by) {
            (_, For::All | For::Data) => true,
            (Flags::Serve, For::Serve | For::Assistants) | (Flags::Mcp, For::Assistants | For::RootKey) => true,
            (Flags::Serve, For::RootKey) | (Flags::Mcp, For::Serve) | (Flags::Data, _) => false,
        }
    }
}

/// Adds the flags of a group to a command. What has no flag is named in its help.
pub(crate) fn add_flags(command: Command, flags: Flags) -> Command {
    let group = SETTINGS.iter().filter(|setting| flags.include(setting.used_by));
    let mut secrets = String::new();
    let mut command = command;
    for setting in group {
        if setting.is_secret {
            secrets.push_str(&format!("\n  {}  {}", variable(setting.name), setting.help));
        } else {
            let help = format!("{} [env: {}]", setting.help, variable(setting.name));
            command = command.arg(Arg::new(setting.name).long(setting.name).value_name(setting.value).help(help));
        }
    }
    if secrets.is_empty() {
        command
    } else {
        command.after_help(format!("Secrets, from the environment only:{secrets}"))
    }
}

/// `drain-seconds` as `KEYRACK_DRAIN_SECONDS`.
fn variable(name: &str) -> String {
    format!("KEYRACK_{}", name.replace('-', "_").to_ascii_uppercase())
}

/// The settings of one run.
#[derive(Debug)]
pub(crate) struct Settings {
    /// From flags, then the environment, then the file; secrets among them, so never print it whole.
    values: BTreeMap<&'static str, Value>,
    warnings: Vec<String>,
}

/// A value and where it came from, for error messages.
struct Value {
    text: String,
    source: String,
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "from {}", self.source)
    }
}

impl Settings {
    /// Reads the flags of a command, the environment and the settings file.
    ///
    /// # Errors
    /// Names the unknown entry of the file and the nearest known one, or says why the file cannot be read.
    pub(crate) fn read(matches: &ArgMatches) -> anyhow::Result<Settings> {
        let mut settings = Settings { values: BTreeMap::new(), warnings: Vec::new() };
        for setting in SETTINGS {
            if let Ok(Some(text)) = matches.try_get_one::<String>(setting.name) {
                settings.set(setting.name, text.clone(), format!("--{}", setting.name));
                continue;
            }
            let own = variable(setting.name);
            let found = [Some(own.as_str()), setting.alias].into_iter().flatten().find_map(|name| {
                let text = std::env::var(name).ok().filter(|text| setting.may_be_empty || !text.is_empty())?;
                Some((text, name.to_owned()))
            });
            if let Some((text, source)) = found {
                settings.set(setting.name, text, source);
            }
        }
        settings.read_file()?;
        settings.warn_of_unknown_variables();
        Ok(settings)
    }

    fn set(&mut self, name: &'static str, text: String, source: String) {
        self.values.insert(name, Value { text, source });
    }

    fn read_file(&mut self) -> anyhow::Result<()> {
        let named = self.text("config").map(PathBuf::from);
        let is_named = named.is_some();
        let Some(path) = named.or_else(default_file) else { return Ok(()) };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => return Ok(()),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read the settings file {}", path.display()));
            }
        };
        let table: toml::Table =
            text.parse().with_context(|| format!("the settings file {} is not valid TOML", path.display()))?;
        for (entry, value) in table {
            let name = entry.replace('_', "-");
            let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name && name != "config") else {
                bail!(
                    "{}: unknown entry `{entry}`{}",
                    path.display(),
                    nearest(&name, |known| known.replace('-', "_"))
                );
            };
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(flag) => flag.to_string(),
                _ => bail!("{}: `{entry}` must be a text or a number", path.display()),
            };
            if !self.values.contains_key(setting.name) {
                self.set(setting.name, text, format!("`{entry}` in {}", path.display()));
            }
        }
        Ok(())
    }

    fn warn_of_unknown_variables(&mut self) {
        let known: Vec<String> = SETTINGS.iter().map(|setting| variable(setting.name)).collect();
        for (name, _) in std::env::vars() {
            let ours = name.starts_with("KEYRACK_") && !name.starts_with(TEST_VARIABLES);
            if ours && !known.contains(&name) && !OTHER_VARIABLES.contains(&name.as_str()) {
                let wanted = name.trim_start_matches("KEYRACK_").to_ascii_lowercase().replace('_', "-");
                self.warnings.push(format!("the variable {name} has no effect{}", nearest(&wanted, variable)));
            }
        }
    }

    /// What is odd about the settings and stops nothing.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// A setting as it was given, if it was.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.text.as_str())
    }

    /// Reads a setting with `read`, whose error says what is allowed.
    fn parsed<T>(&self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> anyhow::Result<Option<T>> {
        let Some(value) = self.values.get(name) else { return Ok(None) };
        read(&value.text).map(Some).map_err(|reason| anyhow::anyhow!("{}: {reason}", value.source))
    }

    fn number(&self, name: &str, default: u64) -> anyhow::Result<u64> {
        let read = |text: &str| text.parse().map_err(|_| "must be a whole number".to_owned());
        Ok(self.parsed(name, read)?.unwrap_or(default))
    }

    /// The filter of the log.
    pub(crate) fn log(&self) -> &str {
        self.text("log").unwrap_or("info")
    }

    /// Whether log lines are JSON.
    ///
    /// # Errors
    /// Names the forms there are.
    pub(crate) fn log_is_json(&self) -> anyhow::Result<bool> {
        let read = |text: &str| match text {
            "json" => Ok(true),
            "text" => Ok(false),
            _ => Err("must be `text` or `json`".to_owned()),
        };
        Ok(self.parsed("log-format", read)?.unwrap_or(false))
    }

    /// The folder of the database and the root-key file.
    ///
    /// # Errors
    /// When the system knows no data folder.
    pub(crate) fn data_dir(&self) -> anyhow::Result<PathBuf> {
        if let Some(folder) = self.text("data-dir") {
            return Ok(PathBuf::from(folder));
        }
        let folders = project_folders().context("there is no home folder; set --data-dir or KEYRACK_DATA_DIR")?;
        Ok(folders.data_dir().to_owned())
    }

    /// Where the database is.
    ///
    /// # Errors
    /// Says which forms of URL are known.
    pub(crate) fn database(&self) -> anyhow::Result<Location> {
        match self.parsed("database-url", Location::parse)? {
            Some(location) => Ok(location),
            None => Ok(Location::Sqlite(self.data_dir()?.join("keyrack.db"))),
        }
    }

    /// Where to listen.
    ///
    /// # Errors
    /// When it is no address with a port.
    pub(crate) fn listen(&self) -> anyhow::Result<SocketAddr> {
        let read = |text: &str| {
            text.parse().map_err(|_| "must be an address and a port, such as 127.0.0.1:8080".to_owned())
        };
        Ok(self.parsed("listen", read)?.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))))
    }

    /// Where to serve metrics, if anywhere, and whether that was asked for.
    ///
    /// # Errors
    /// When it is no address with a port.
    pub(crate) fn metrics_listen(&self) -> anyhow::Result<Option<(SocketAddr, bool)>> {
        let read = |text: &str| {
            let address = text.trim().parse().map(|address| Some((address, true)));
            if text.trim().is_empty() { Ok(None) } else { address.map_err(|_| METRICS_ADDRESS.to_owned()) }
        };
        let default = Some((SocketAddr::from(([127, 0, 0, 1], 9090)), false));
        Ok(self.parsed("metrics-listen", read)?.unwrap_or(default))
    }

    /// Where clients reach the server, without a trailing slash, if that was said.
    ///
    /// # Errors
    /// When it is no HTTP URL.
    pub(crate) fn public_url(&self) -> anyhow::Result<Option<String>> {
        self.parsed("public-url", |text| {
            let is_http = text.starts_with("http://") || text.starts_with("https://");
            let has_host = text.parse::<axum::http::Uri>().is_ok_and(|uri| uri.host().is_some());
            if is_http && has_host {
                Ok(text.trim_end_matches('/').to_owned())
            } else {
                Err("must be a URL such as https://keys.example.com".to_owned())
            }
        })
    }

    /// More names that a `Host` header may have.
    pub(crate) fn allowed_hosts(&self) -> Vec<String> {
        let names = self.text("allowed-hosts").unwrap_or_default().split(',');
        names.map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect()
    }

    /// Proxies whose `X-Forwarded-For` counts.
    ///
    /// # Errors
    /// Names the entry that is no address.
    pub(crate) fn trusted_proxies(&self) -> anyhow::Result<AddressList> {
        let read = |text: &str| AddressList::parse(text).map_err(|error| error.to_string());
        Ok(self.parsed("trusted-proxies", read)?.unwrap_or_default())
    }

    /// Bytes that a request body may have.
    ///
    /// # Errors
    /// When it is no number.
    pub(crate) fn max_body_bytes(&self) -> anyhow::Result<usize> {
        Ok(usize::try_from(self.number("max-body-bytes", 10 * 1024 * 1024)?)?)
    }

    /// How long requests in flight may take after SIGTERM.
    ///
    /// # Errors
    /// When it is no number.
    pub(crate) fn drain(&self) -> anyhow::Result<std::time::Duration> {
        Ok(std::time::Duration::from_secs(self.number("drain-seconds", 30)?))
    }

    /// Tool calls per root key and minute; 0 means no limit.
    ///
    /// # Errors
    /// When it is no number.
    pub(crate) fn mcp_calls_per_minute(&self) -> anyhow::Result<u32> {
        Ok(u32::try_from(self.number("mcp-calls-per-minute", 300)?)?)
    }

    /// The bootstrap root key, if one was given.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub(crate) fn bootstrap_root_key(&self) -> anyhow::Result<Option<Secret>> {
        self.secret("bootstrap-root-key", "bootstrap-root-key-file")
    }

    /// The root key to act with, if one was given.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub(crate) fn root_key(&self) -> anyhow::Result<Option<Secret>> {
        self.secret("root-key", "root-key-file")
    }

    fn secret(&self, value: &'static str, file: &'static str) -> anyhow::Result<Option<Secret>> {
        // Values have no flag, so a file that is a flag beats a value from anywhere else.
        let file_is_flag = self.values.get(file).is_some_and(|named| named.source.starts_with("--"));
        if let Some(text) = self.text(value).filter(|_| !file_is_flag) {
            return Ok(Some(Secret::from_string(text.trim().to_owned())));
        }
        self.text(file).map(|path| read_secret(Path::new(path))).transpose()
    }
}

/// Reads a file that holds a secret and nothing else.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read_secret(path: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Secret::from_string(text.trim().to_owned()))
}

fn project_folders() -> Option<directories::ProjectDirs> {
    directories::ProjectDirs::from("", "", "keyrack")
}

fn default_file() -> Option<PathBuf> {
    project_folders().map(|folders| folders.config_dir().join("keyrack.toml"))
}

/// `; did you mean …?` for a name that is close to a setting's.
fn nearest(name: &str, show: impl Fn(&str) -> String) -> String {
    let nearest = SETTINGS
        .iter()
        .map(|setting| (strsim::damerau_levenshtein(name, setting.name), setting.name))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min();
    nearest.map(|(_, known)| format!("; did you mean `{}`?", show(known))).unwrap_or_default()
}

#[cfg(test)]
mod tests;
