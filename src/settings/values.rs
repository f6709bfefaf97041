//! What the settings say, read: each with its default and an error that says what is allowed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use keyrack_core::keys::address_list::AddressList;
use keyrack_core::keys::secret::Secret;
use keyrack_core::retention::Retention;
use keyrack_core::store::{Durability, Location};
use keyrack_core::vault::{MasterKey, Vault};
use tracing_subscriber::EnvFilter;

use super::table::variable;
use super::{Settings, project_folders};

const METRICS_ADDRESS: &str = "must be an address and a port, such as 127.0.0.1:9090, or empty";

impl Settings {
    /// Reads every value once, so that those that make no sense are found before anything is done.
    pub(crate) fn faults(&self) -> Vec<anyhow::Error> {
        let filter = EnvFilter::try_new(self.log()).context("the log filter makes no sense");
        let read = [
            filter.err(),
            self.log_is_json().err(),
            self.data_dir().err(),
            self.database().err(),
            self.listen().err(),
            self.metrics_listen().err(),
            self.public_url().err(),
            self.trusted_proxies().err(),
            self.max_body_bytes().err(),
            self.drain().err(),
            self.event_log_bytes().err(),
            self.credits_durability().err(),
            self.mcp_calls_per_minute().err(),
            self.bootstrap_root_key().err(),
            self.vault().err(),
            self.retention().err(),
        ];
        read.into_iter().flatten().collect()
    }

    /// How large the log of events may become; 0: there is none.
    ///
    /// # Errors
    /// When it is no whole number.
    pub(crate) fn event_log_bytes(&self) -> anyhow::Result<u64> {
        self.number("event-log-bytes", 1 << 30)
    }

    /// The filter of the log.
    pub(crate) fn log(&self) -> &str {
        // rmcp says five lines about each HTTP request at `info`.
        self.text("log").unwrap_or("info,rmcp=warn")
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
    /// When it is no number.
    pub(crate) fn mcp_calls_per_minute(&self) -> anyhow::Result<u32> {
        Ok(u32::try_from(self.number("mcp-calls-per-minute", 300)?)?)
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

    /// Where plaintexts of recoverable keys go, if a master key was given.
    ///
    /// # Errors
    /// Says what a master key is.
    pub(crate) fn vault(&self) -> anyhow::Result<Option<Vault>> {
        let Some(master) = self.master_key("master-key", "master-key-file")? else { return Ok(None) };
        let previous = self.master_key("master-key-previous", "master-key-previous-file")?;
        Ok(Some(Vault::new(master, previous)))
    }

    fn master_key(&self, value: &'static str, file: &'static str) -> anyhow::Result<Option<MasterKey>> {
        let text = self.secret(value, file)?;
        let read =
            |text| MasterKey::parse(&text).map_err(|reason| anyhow::anyhow!("{}: {reason}", variable(value)));
        text.map(read).transpose()
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
