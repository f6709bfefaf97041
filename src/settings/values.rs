//! What the settings say, read: each with its default and an error that says what is allowed.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use keyrack_core::keys::address_list::AddressList;
use keyrack_core::keys::secret::Secret;
use keyrack_core::ratelimit::counters::memory::DEFAULT_ROOM;
use keyrack_core::retention::Retention;
use keyrack_core::setup::MIN_BOOTSTRAP_CHARACTERS;
use keyrack_core::store::{Durability, Location};
use keyrack_core::vault::{MasterKey, Vault};
use tracing_subscriber::EnvFilter;

use super::{Settings, hosts, project_folders, read_secret, secret_in};

/// With fewer, ordinary use would lose counts.
const MIN_RATELIMIT_CELLS: u64 = 1000;
const MAX_RATELIMIT_CELLS: u64 = 1_000_000_000;
/// Small enough to be refused by mistake, and larger than any body means something.
const MAX_BODY_BYTES: std::ops::RangeInclusive<u64> = 1024..=1 << 30;
const MAX_DRAIN_SECONDS: u64 = 3600;
const MAX_IDLE_SECONDS: u64 = 86_400;
/// More than a system could have.
const MAX_CONNECTIONS: u64 = 10_000_000;
/// A smaller log of events would be all beginnings.
const MIN_EVENT_LOG_BYTES: u64 = 16 << 10;
const MAX_EVENT_LOG_BYTES: u64 = 1 << 50;
/// A root key travels in a header, and heads are bounded.
const LONGEST_ROOT_KEY: usize = 1024;
/// No system opens longer paths.
const LONGEST_PATH: usize = 4096;
/// What a PostgreSQL URL may say after `?`.
const POSTGRES_PARAMETERS: [&str; 17] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];
const METRICS_ADDRESS: &str = "must be an address and a port, such as 127.0.0.1:9090, or empty";

impl Settings {
    /// Reads every value once, so that those that make no sense are found before anything is done.
    pub(crate) fn faults(&self) -> Vec<anyhow::Error> {
        let read = [
            self.log_filter().err(),
            self.log_is_json().err(),
            self.data_dir().err(),
            self.database().err(),
            self.listen().err(),
            self.metrics_listen().err(),
            self.public_url().err(),
            self.allowed_hosts().err(),
            self.trusted_proxies().err(),
            self.max_body_bytes().err(),
            self.max_connections().err(),
            self.idle().err(),
            self.shutdown_delay().err(),
            self.drain().err(),
            self.stale_after().err(),
            self.event_log_bytes().err(),
            self.credits_durability().err(),
            self.mcp_calls_per_minute().err(),
            self.ratelimit_cells().err(),
            self.bootstrap_root_key().err(),
            self.vault().err(),
            self.retention().err(),
        ];
        let refused = self.refused.iter().map(|fault| anyhow::anyhow!("{fault}"));
        refused.chain(read.into_iter().flatten()).collect()
    }

    /// How large the log of events may become; 0: there is none.
    ///
    /// # Errors
    /// When it is no whole number, or too small to be meant.
    pub(crate) fn event_log_bytes(&self) -> anyhow::Result<u64> {
        let read = |text: &str| {
            let is_meant =
                |bytes: &u64| *bytes == 0 || (MIN_EVENT_LOG_BYTES..=MAX_EVENT_LOG_BYTES).contains(bytes);
            text.parse().ok().filter(is_meant).ok_or_else(|| {
                format!("must be 0 or a whole number from {MIN_EVENT_LOG_BYTES} to {MAX_EVENT_LOG_BYTES}")
            })
        };
        Ok(self.parsed("event-log-bytes", read)?.unwrap_or(1 << 30))
    }

    /// The filter of the log.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn log_filter(&self) -> anyhow::Result<EnvFilter> {
        let read =
            |text: &str| EnvFilter::try_new(text).map_err(|error| format!("is no filter of a log: {error}"));
        // rmcp says five lines about each HTTP request at `info`.
        Ok(self.parsed("log", read)?.unwrap_or_else(|| EnvFilter::new("info,rmcp=warn")))
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
        if let Some(folder) = self.path("data-dir")? {
            return Ok(folder);
        }
        let folders = project_folders().context("there is no home folder; set --data-dir or KEYRACK_DATA_DIR")?;
        Ok(folders.data_dir().to_owned())
    }

    /// Where the database is.
    ///
    /// # Errors
    /// Says which forms of URL are known.
    pub(crate) fn database(&self) -> anyhow::Result<Location> {
        let read = |url: &str| match Location::parse(url)? {
            Location::Postgres(url) => postgres_url(url).map(Location::Postgres),
            Location::Sqlite(path) if path.as_os_str().len() > LONGEST_PATH => Err(too_long()),
            sqlite @ Location::Sqlite(_) => Ok(sqlite),
        };
        match self.parsed("database-url", read)? {
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
            let url = reqwest::Url::parse(text).ok().filter(|_| is_http);
            // The stricter reader too: what it cannot read, clients may not understand.
            let url = url.filter(|_| text.parse::<axum::http::Uri>().is_ok());
            let host = url.as_ref().and_then(|url| url.host_str().filter(|host| hosts::name(host).is_ok()));
            let Some((url, _)) = url.as_ref().zip(host) else {
                return Err("must be a URL such as https://keys.example.com".to_owned());
            };
            if !url.username().is_empty() || url.password().is_some() {
                return Err("must have no user and no password".to_owned());
            }
            if url.query().is_some() || url.fragment().is_some() {
                return Err("must end with the host, the port or a path".to_owned());
            }
            Ok(text.trim_end_matches('/').to_owned())
        })
    }

    /// More names that a `Host` header may have.
    ///
    /// # Errors
    /// Names one that could never match, and what to write.
    pub(crate) fn allowed_hosts(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.parsed("allowed-hosts", hosts::names)?.unwrap_or_default())
    }

    /// Proxies whose `X-Forwarded-For` counts.
    ///
    /// # Errors
    /// Names the entry that is no address.
    pub(crate) fn trusted_proxies(&self) -> anyhow::Result<AddressList> {
        let read = |text: &str| match AddressList::parse(text) {
            Ok(list) if list.is_empty() => Err("names no address; leave it out to trust nobody".to_owned()),
            Ok(list) => Ok(list),
            Err(error) => Err(error.to_string()),
        };
        Ok(self.parsed("trusted-proxies", read)?.unwrap_or_default())
    }

    /// Bytes that a request body may have.
    ///
    /// # Errors
    /// When it is no number in its range.
    pub(crate) fn max_body_bytes(&self) -> anyhow::Result<usize> {
        Ok(usize::try_from(self.number("max-body-bytes", 10 << 20, MAX_BODY_BYTES)?)?)
    }

    /// How many connections there may be, if that was said.
    ///
    /// # Errors
    /// When it is no number in its range.
    pub(crate) fn max_connections(&self) -> anyhow::Result<Option<usize>> {
        let wanted = self.number("max-connections", 0, 1..=MAX_CONNECTIONS)?;
        Ok(if wanted == 0 { None } else { Some(usize::try_from(wanted)?) })
    }

    /// How long a connection may do nothing.
    ///
    /// # Errors
    /// When it is no number in its range.
    pub(crate) fn idle(&self) -> anyhow::Result<std::time::Duration> {
        Ok(std::time::Duration::from_secs(self.number("idle-seconds", 120, 1..=MAX_IDLE_SECONDS)?))
    }

    /// How long to go on after SIGTERM before no new connections are taken.
    ///
    /// # Errors
    /// When it is no number in its range.
    pub(crate) fn shutdown_delay(&self) -> anyhow::Result<std::time::Duration> {
        let seconds = self.number("shutdown-delay-seconds", 1, 0..=MAX_DRAIN_SECONDS)?;
        Ok(std::time::Duration::from_secs(seconds))
    }

    /// How long requests in flight may take after SIGTERM.
    ///
    /// # Errors
    /// When it is no number in its range.
    pub(crate) fn drain(&self) -> anyhow::Result<std::time::Duration> {
        Ok(std::time::Duration::from_secs(self.number("drain-seconds", 30, 0..=MAX_DRAIN_SECONDS)?))
    }

    /// How long to answer from memory while the changes of other processes cannot be read.
    ///
    /// # Errors
    /// When it is no number from 1 to 86400.
    pub(crate) fn stale_after(&self) -> anyhow::Result<std::time::Duration> {
        Ok(std::time::Duration::from_secs(self.number("stale-seconds", 10, 1..=86_400)?))
    }

    /// When deductions of credits count as committed.
    ///
    /// # Errors
    /// Names the values there are.
    pub(crate) fn credits_durability(&self) -> anyhow::Result<Durability> {
        let read = |text: &str| match text {
            "full" => Ok(Durability::Full),
            "normal" => Ok(Durability::Normal),
            _ => Err("must be `full` or `normal`".to_owned()),
        };
        Ok(self.parsed("credits-durability", read)?.unwrap_or_default())
    }

    /// Tool calls per root key and minute; 0 means no limit.
    ///
    /// # Errors
    /// When it is no number in its range.
    pub(crate) fn mcp_calls_per_minute(&self) -> anyhow::Result<u32> {
        Ok(u32::try_from(self.number("mcp-calls-per-minute", 300, 0..=u32::MAX.into())?)?)
    }

    /// How long what nobody can use is kept.
    ///
    /// # Errors
    /// When it is no number of days.
    pub(crate) fn retention(&self) -> anyhow::Result<Retention> {
        let read = |text: &str| match text.parse() {
            Ok(days) if (1..=Retention::MAX_DAYS).contains(&days) => Ok(days),
            _ => {
                Err(format!("must be a number of days from 1 to {}; leave it out for never", Retention::MAX_DAYS))
            }
        };
        Ok(Retention {
            deleted_days: self.parsed("deleted-retention-days", read)?,
            expired_days: self.parsed("expired-retention-days", read)?,
        })
    }

    /// How many counts of rate limits there is room for.
    ///
    /// # Errors
    /// When it is no number, or too small to be meant.
    pub(crate) fn ratelimit_cells(&self) -> anyhow::Result<usize> {
        let range = MIN_RATELIMIT_CELLS..=MAX_RATELIMIT_CELLS;
        Ok(usize::try_from(self.number("ratelimit-cells", DEFAULT_ROOM as u64, range)?)?)
    }

    /// The bootstrap root key, if one was given.
    ///
    /// # Errors
    /// When its file cannot be read, or no header can carry it, or it is easily guessed.
    pub(crate) fn bootstrap_root_key(&self) -> anyhow::Result<Option<Secret>> {
        let Some((key, source)) = self.secret("bootstrap-root-key", "bootstrap-root-key-file")? else {
            return Ok(None);
        };
        let bytes = key.expose().len();
        if !(MIN_BOOTSTRAP_CHARACTERS..=LONGEST_ROOT_KEY).contains(&bytes) {
            bail!(
                "{source}: the bootstrap root key must have {MIN_BOOTSTRAP_CHARACTERS} to {LONGEST_ROOT_KEY} \
                 characters, and has {bytes}"
            );
        }
        Ok(Some(key))
    }

    /// The root key to act with, if one was given.
    ///
    /// # Errors
    /// When its file cannot be read, or no header can carry it.
    pub(crate) fn root_key(&self) -> anyhow::Result<Option<Secret>> {
        let Some((key, source)) = self.secret("root-key", "root-key-file")? else { return Ok(None) };
        if key.expose().len() > LONGEST_ROOT_KEY {
            bail!("{source}: no root key is longer than {LONGEST_ROOT_KEY} characters");
        }
        Ok(Some(key))
    }

    /// Where plaintexts of recoverable keys go, if a master key was given.
    ///
    /// # Errors
    /// Says what a master key is, or that one is missing.
    pub(crate) fn vault(&self) -> anyhow::Result<Option<Vault>> {
        let master = self.master_key("master-key", "master-key-file")?;
        let previous = self.master_key("master-key-previous", "master-key-previous-file")?;
        match (master, previous) {
            (Some((master, _)), previous) => Ok(Some(Vault::new(master, previous.map(|(previous, _)| previous)))),
            (None, Some((_, source))) => {
                bail!("{source}: the master key before has no effect without a master key; set KEYRACK_MASTER_KEY")
            }
            (None, None) => Ok(None),
        }
    }

    fn master_key(&self, value: &'static str, file: &'static str) -> anyhow::Result<Option<(MasterKey, String)>> {
        let Some((text, source)) = self.secret(value, file)? else { return Ok(None) };
        let key = MasterKey::parse(&text).map_err(|reason| anyhow::anyhow!("{source}: {reason}"))?;
        Ok(Some((key, source)))
    }

    /// A secret, and which setting it is from.
    fn secret(&self, value: &'static str, file: &'static str) -> anyhow::Result<Option<(Secret, String)>> {
        let source = |name| self.values.get(name).map(|value| value.source.clone()).unwrap_or_default();
        // Values have no flag, so a file that is a flag beats a value from anywhere else.
        let file_is_flag = self.values.get(file).is_some_and(|named| named.source.starts_with("--"));
        if !file_is_flag && let Some(secret) = self.parsed(value, |text| secret_in(text.as_bytes()))? {
            return Ok(Some((secret, source(value))));
        }
        let Some(path) = self.path(file)? else { return Ok(None) };
        let secret = read_secret(&path).with_context(|| source(file))?;
        Ok(Some((secret, source(file))))
    }

    fn path(&self, name: &str) -> anyhow::Result<Option<PathBuf>> {
        let read = |text: &str| if text.len() > LONGEST_PATH { Err(too_long()) } else { Ok(PathBuf::from(text)) };
        self.parsed(name, read)
    }
}

fn too_long() -> String {
    format!("is longer than {LONGEST_PATH} bytes, which no path is")
}

/// A PostgreSQL URL of which every part means something. No message shows any of it.
fn postgres_url(url: String) -> Result<String, String> {
    let parsed = reqwest::Url::parse(&url).map_err(|error| {
        format!(
            "is no URL ({error}); write postgres://USER:PASSWORD@HOST:PORT/NAME, with % codes for what is special"
        )
    })?;
    if parsed.fragment().is_some() {
        return Err("ends in a `#…` that means nothing; in a password write it as %23".to_owned());
    }
    let known =
        |name: &str| POSTGRES_PARAMETERS.contains(&name) || name == "options" || name.starts_with("options[");
    match parsed.query_pairs().find(|(name, _)| !known(name)) {
        Some((name, _)) => Err(format!("has the parameter `{name}`, which has no effect")),
        None => Ok(url),
    }
}
