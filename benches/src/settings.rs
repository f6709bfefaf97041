//! What a run of the benchmarks is told, all of it by `benches/run` through the environment.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, Result, ensure};

/// The settings of a run.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// How long each variant is loaded in a round, in seconds.
    pub(crate) seconds: u64,
    /// How often each variant is loaded.
    pub(crate) rounds: usize,
    /// Numbers of connections to load with.
    pub(crate) connections: Vec<u32>,
    /// Threads of the load generator.
    pub(crate) threads: u32,
    /// Keys in the largest database.
    pub(crate) keys: u32,
    /// The built `keyrack`.
    pub(crate) keyrack: PathBuf,
    /// Another built `keyrack`, an earlier one, to compare with.
    pub(crate) base: Option<PathBuf>,
    /// One without the engine of analytics.
    pub(crate) without_engine: Option<PathBuf>,
    /// A folder of events that were not compacted yet: what the benchmark `storage` of the engine left.
    pub(crate) events: Option<PathBuf>,
    /// The folder `benches`.
    pub(crate) folder: PathBuf,
    /// An empty folder, removed by `benches/run`.
    pub(crate) scratch: PathBuf,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// Names the variable that is missing or makes no sense.
    pub(crate) fn from_environment() -> Result<Settings> {
        let connections: Result<Vec<u32>> = text("BENCH_CONNECTIONS", "32 64")
            .split_whitespace()
            .map(|count| count.parse().with_context(|| format!("BENCH_CONNECTIONS: {count} is not a number")))
            .collect();
        let settings = Settings {
            seconds: number("BENCH_SECONDS", 3)?,
            rounds: number("BENCH_ROUNDS", 5)?,
            connections: connections?,
            threads: number("BENCH_THREADS", 2)?,
            keys: number("BENCH_KEYS", 1_000_000)?,
            keyrack: path("BENCH_KEYRACK")?,
            base: named("BENCH_BASE"),
            without_engine: named("BENCH_WITHOUT_ENGINE"),
            events: named("BENCH_EVENTS"),
            folder: path("BENCH_FOLDER")?,
            scratch: path("BENCH_SCRATCH")?,
        };
        let are_positive = settings.seconds > 0 && settings.rounds > 0 && settings.threads > 0;
        ensure!(are_positive, "BENCH_SECONDS, BENCH_ROUNDS and BENCH_THREADS are at least 1");
        ensure!(settings.keys >= 20_000, "BENCH_KEYS is at least 20000");
        let are_enough = settings.connections.iter().all(|count| *count >= settings.threads);
        ensure!(
            are_enough && !settings.connections.is_empty(),
            "BENCH_CONNECTIONS are at least BENCH_THREADS each"
        );
        Ok(settings)
    }

    /// The number of connections of measures that name one: the largest.
    pub(crate) fn most_connections(&self) -> u32 {
        self.connections.iter().copied().max().unwrap_or(1)
    }

    /// About how many seconds it takes to load this many variants, each in every round.
    pub(crate) fn seconds_for(&self, variants: u64, connection_counts: usize) -> u64 {
        let loads = variants * connection_counts as u64;
        // A run takes a little longer than its load, and each variant is warmed up.
        loads * self.rounds as u64 * (self.seconds * 1000 + 350) / 1000 + loads
    }
}

/// A path that may be left out.
fn named(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn text(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
}

fn number<T: FromStr + ToString>(name: &str, default: T) -> Result<T> {
    let text = text(name, &default.to_string());
    text.parse().ok().with_context(|| format!("{name}: {text} is not a number that makes sense here"))
}

fn path(name: &str) -> Result<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).with_context(|| format!("{name} is not set; start benches/run"))
}
