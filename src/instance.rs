//! Opening this machine's Keyrack: log, database, first start, root-key file.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use keyrack_core::analytics::log::{self, Log};
use keyrack_core::clock::Clock;
use keyrack_core::error::{Code, Error};
use keyrack_core::files::{self, create_private_folder};
use keyrack_core::keyrack::{Keyrack, Options};
use keyrack_core::keys::secret::Secret;
use keyrack_core::ratelimit::counters::memory::MemoryCounters;
use keyrack_core::setup;
use keyrack_core::store::Location;
use keyrack_core::store::inspection::{Condition, Inspection};
use keyrack_core::traces::TARGET;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::{self, Settings};
use crate::traces::{self, Traces};

/// The file of the data folder that holds the root key of the first start, unless the bootstrap setting said which it is.
pub(crate) const ROOT_KEY_FILE: &str = "root-key";

/// An open Keyrack, and what opening it did.
pub(crate) struct Instance {
    /// The open Keyrack.
    pub(crate) keyrack: Keyrack,
    /// Whether this start set up an empty database.
    pub(crate) is_first_start: bool,
    /// Whether the settings have a bootstrap root key: then a first start makes no other.
    pub(crate) has_bootstrap_key: bool,
    /// Where a first start otherwise writes the root key.
    pub(crate) root_key_file: PathBuf,
}

/// Refuses to make a database where a command needs one that is there.
///
/// # Errors
/// Says where none is, and how to name another place.
pub(crate) fn need_database(location: &Location) -> anyhow::Result<()> {
    match location {
        Location::Sqlite(path) if !path.exists() => bail!(
            "there is no database at {}; name the server's data folder with --data-dir or KEYRACK_DATA_DIR",
            path.display()
        ),
        _ => Ok(()),
    }
}

impl Instance {
    /// What a command that is no server says of its first start, if this was one.
    pub(crate) fn say_first_start(&self) {
        if !self.is_first_start {
            return;
        }
        if self.has_bootstrap_key {
            eprintln!("The database was empty: its first root key is the bootstrap root key of the settings.");
        } else {
            eprintln!("The database was empty: its first root key is in {}.", self.root_key_file.display());
        }
        eprintln!(
            "Was it to be that of a server? Name the server's data folder with --data-dir or KEYRACK_DATA_DIR."
        );
    }
}

/// The root key of this machine's Keyrack: the one that its first start left in the data folder, else the bootstrap
/// root key of the settings.
///
/// # Errors
/// When there is neither, or it cannot be read.
pub(crate) fn own_root_key(settings: &Settings) -> anyhow::Result<Secret> {
    let file = settings.get(&settings::DATA_DIR)?.join(ROOT_KEY_FILE);
    match settings.get(&settings::BOOTSTRAP_ROOT_KEY)? {
        Some(bootstrap) if !file.exists() => Ok(bootstrap),
        _ => settings::read_secret(&file),
    }
}

/// Sends the log to stderr.
///
/// # Errors
/// When the filter makes no sense.
pub(crate) fn start_log(settings: &Settings) -> anyhow::Result<()> {
    start_log_with(settings, None)
}

/// Sends the log to stderr, and traces to where the environment says, if it does.
///
/// # Errors
/// When the filter makes no sense, or what the environment says of traces.
pub(crate) fn start_log_and_traces(settings: &Settings) -> anyhow::Result<Option<Traces>> {
    let traces = Traces::from_environment()?;
    start_log_with(settings, traces.as_ref())?;
    if traces.is_some() {
        tracing::info!("traces are sent to the OTLP endpoint of the environment");
    }
    Ok(traces)
}

fn start_log_with(settings: &Settings, traces: Option<&Traces>) -> anyhow::Result<()> {
    let filter = settings.get(&settings::LOG)?;
    // rmcp logs tool arguments at DEBUG, plaintext included, and at WARN whatever was no tool; the parser and the engine of
    // SQL log what is asked about; the exporter of traces what its receiver answers: no filter of the user's lowers this
    // cap.
    let cap = Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_target("rmcp", LevelFilter::INFO)
        .with_target("rmcp::service", LevelFilter::ERROR)
        .with_target("sqlparser", LevelFilter::INFO)
        .with_target("datafusion", LevelFilter::INFO)
        .with_target("opentelemetry", LevelFilter::INFO)
        .with_target(TARGET, LevelFilter::OFF);
    // A filter of this layer only: traces do not depend on what is logged.
    let filter = filter.and(cap);
    let to_stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if settings.get(&settings::LOG_AS_JSON)? {
        to_stderr.json().flatten_event(true).with_filter(filter).boxed()
    } else {
        to_stderr.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).with_filter(filter).boxed()
    };
    let layers: Vec<_> = traces.map(Traces::layer).into_iter().chain([layer]).collect();
    tracing_subscriber::registry().with(layers).init();
    for warning in
        settings.warnings().iter().cloned().chain(traces.map(|_| traces::oddities()).unwrap_or_default())
    {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// Opens the database, setting it up if it is empty.
///
/// # Errors
/// When the database cannot be opened, or the root-key file cannot be written.
pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Instance> {
    open_with(settings, MemoryCounters::with_room_for(settings.get(&settings::RATELIMIT_CELLS)?)).await
}

/// The same, with counters of rate limits to go on with.
///
/// # Errors
/// When the database cannot be opened, or the root-key file cannot be written.
pub(crate) async fn open_with(settings: &Settings, counters: MemoryCounters) -> anyhow::Result<Instance> {
    let root_key_file = settings.get(&settings::DATA_DIR)?.join(ROOT_KEY_FILE);
    let location = settings.get(&settings::DATABASE_URL)?;
    let options = Options {
        vault: settings.vault()?,
        durability: settings.get(&settings::CREDITS_DURABILITY)?,
        counters,
        stale_after: Some(settings.get(&settings::STALE_SECONDS)?),
    };
    refuse_lost_database(&location, &root_key_file).await?;
    let keyrack = Keyrack::open_with(&location, Clock::system(), options).await.map_err(told)?;
    let keep = |secret: &Secret| {
        write_root_key(&root_key_file, secret).map_err(|error| {
            Error::new(Code::ServiceUnavailable, format!("The root key cannot be written: {error:#}."))
        })
    };
    let bootstrap = settings.get(&settings::BOOTSTRAP_ROOT_KEY)?;
    let is_first_start = setup::first_start(&keyrack, bootstrap.as_ref(), keep).await.map_err(told)?;
    if let Some(secret) = &bootstrap {
        setup::ensure_bootstrap_key(&keyrack, secret).await.map_err(told)?;
    }
    Ok(Instance { keyrack, is_first_start, has_bootstrap_key: bootstrap.is_some(), root_key_file })
}

/// Stops where a first start would hide a loss: there is no database, and the root key of one.
///
/// A first start that was cut off made the tables before the root key.
async fn refuse_lost_database(location: &Location, root_key_file: &Path) -> anyhow::Result<()> {
    // The file first: another process may set the database up just now.
    if !root_key_file.exists() {
        return Ok(());
    }
    let is_empty = match Inspection::open(location).await {
        Ok(None) => true,
        Ok(Some(mut inspection)) => matches!(inspection.condition().await, Ok(Condition::Empty)),
        // Opening it says more.
        Err(_) => false,
    };
    ensure!(
        !is_empty,
        "there is no database ({}), but the root key of one in {}. If the database is lost, put a backup back with \
         `keyrack restore FILE`; if it is elsewhere, set KEYRACK_DATABASE_URL or KEYRACK_DATA_DIR; to begin anew, move \
         the root-key file away",
        location.label(),
        root_key_file.display()
    );
    Ok(())
}

/// Starts what runs beside requests, the log of events included.
///
/// # Errors
/// When the log's folder cannot be made.
pub(crate) fn start_background_work(settings: &Settings, keyrack: &Keyrack) -> anyhow::Result<()> {
    let bytes = settings.get(&settings::EVENT_LOG_BYTES)?;
    if bytes > 0 {
        let folder = settings.get(&settings::DATA_DIR)?.join(log::FOLDER);
        let log = Log::open(&folder, bytes).with_context(|| format!("cannot create {}", folder.display()))?;
        #[cfg(feature = "analytics-engine")]
        crate::analytics::start(settings, keyrack, &log)?;
        keyrack.recorder().write_to(log);
    }
    keyrack.start_background_work(settings.retention()?);
    Ok(())
}

/// An error of core in words, with its cause: on this side of the wire its reader owns the server.
pub(crate) fn told(error: Error) -> anyhow::Error {
    match error.cause() {
        // Its sentence sends callers to whoever reads this.
        Some(cause) if error.code() == Code::UnexpectedError => anyhow::anyhow!("{cause}"),
        Some(cause) => anyhow::anyhow!("{} ({cause})", error.detail()),
        None => anyhow::anyhow!("{}", error.detail()),
    }
}

/// Writes the root key for its owner's eyes only. A file from an earlier database is kept beside it.
fn write_root_key(path: &Path, secret: &Secret) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        create_private_folder(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    if path.exists() {
        let kept = path.with_extension(format!("old-{}", Clock::system().now().get()));
        std::fs::rename(path, &kept).with_context(|| format!("cannot keep {}", path.display()))?;
    }
    files::replace(path, |mut file| writeln!(file, "{}", secret.expose()).map(|()| (file, ())))
        .with_context(|| format!("cannot create {}", path.display()))
}
