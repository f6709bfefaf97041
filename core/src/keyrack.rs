//! An open Keyrack: the store, the resident state, the limiter and the clock, shared by all faces.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tracing::Instrument as _;

use crate::analytics::recorder::Recorder;
use crate::analytics::writing;
use crate::audit::filing;
use crate::audit::heads::{self, Heads};
use crate::caller::Caller;
use crate::catalogue::About;
use crate::changes;
use crate::changes::forgetting::Forgetting;
use crate::clock::Clock;
use crate::credits::ledger::Ledger;
use crate::credits::refill::Refills;
use crate::error::{Code, Error};
use crate::following::STALE_AFTER;
use crate::health::{self, Health};
use crate::keys::secret;
use crate::large_bodies::LargeBodies;
use crate::last_used::LastUsed;
use crate::metrics::Metrics;
use crate::ratelimit::counters::memory::{CellKey, CellScope, Check, MemoryCounters};
use crate::refusals::{Refusal, Refusals};
use crate::resident::Resident;
use crate::retention::{Plaintexts, Removal, Retention};
use crate::schedule::{self, Job};
use crate::state::State;
use crate::store::workspaces::Workspace;
use crate::store::{Durability, Location, Store, root_keys};
use crate::vault::Vault;

const MINUTE_MS: i64 = 60_000;

/// An open Keyrack. Cloning it is cheap and gives the same one.
#[derive(Debug, Clone)]
pub struct Keyrack(Arc<Open>);

/// How a Keyrack is opened.
#[derive(Debug, Default)]
pub struct Options {
    /// Where plaintexts of recoverable keys go, if there is a master key.
    pub vault: Option<Vault>,
    /// When deductions of credits count as committed.
    pub durability: Durability,
    /// Counters of rate limits to go on with.
    pub counters: MemoryCounters,
    /// For how long this process answers from memory while it cannot read the changes of others; 10 s by default.
    pub stale_after: Option<Duration>,
}

#[derive(Debug)]
struct Open {
    state: Arc<State>,
    health: Health,
    counters: MemoryCounters,
    ledger: Ledger,
    vault: Option<Vault>,
    last_used: LastUsed,
    recorder: Arc<Recorder>,
    refusals: Refusals,
    bodies: LargeBodies,
    /// Held while hourly counts move from memory to the store.
    count_writing: Mutex<()>,
    /// Held while times of last use do.
    use_writing: Mutex<()>,
}

impl Keyrack {
    /// Opens the database, brings its tables up to date and loads the resident state.
    ///
    /// # Errors
    /// When the database cannot be opened or read.
    pub async fn open(location: &Location, clock: Clock) -> Result<Keyrack, Error> {
        Keyrack::open_with(location, clock, Options::default()).await
    }

    /// The same with options. Data keys that the vault's previous master key sealed are sealed anew.
    ///
    /// # Errors
    /// When the database cannot be opened or read.
    pub async fn open_with(location: &Location, clock: Clock, options: Options) -> Result<Keyrack, Error> {
        let Options { vault, durability, counters, stale_after } = options;
        let store = Store::open(location).await?;
        let metrics = Arc::new(Metrics::default());
        let started = Instant::now();
        let stale_after = stale_after.unwrap_or(STALE_AFTER);
        let state = State::load(store, metrics.clone(), clock, stale_after).await?;
        let keys = state.resident.key_count();
        tracing::info!(keys, ms = started.elapsed().as_secs_f64() * 1000.0, "the keys are in memory");
        filing::file_all(&state.store).await?;
        if let Some(vault) = &vault {
            let (rewrapped, foreign) = vault.rewrap(&state.store, state.clock.now()).await?;
            if rewrapped > 0 {
                tracing::info!(rewrapped, "data keys are sealed under the new master key now");
            }
            if foreign > 0 {
                tracing::error!(
                    foreign,
                    "some workspaces' recoverable keys need another master key: set KEYRACK_MASTER_KEY_PREVIOUS"
                );
            }
        }
        let ledger = Ledger::new(state.store.clone(), durability, metrics);
        Ok(Keyrack(Arc::new(Open {
            state: Arc::new(state),
            health: Health::default(),
            counters,
            ledger,
            vault,
            last_used: LastUsed::default(),
            recorder: Arc::default(),
            refusals: Refusals::default(),
            bodies: LargeBodies::default(),
            count_writing: Mutex::default(),
            use_writing: Mutex::default(),
        })))
    }

    /// Makes the deductions that were accepted, writes what is still in memory alone, and closes the store.
    pub async fn close(&self) {
        self.ledger().close().await;
        self.recorder().stop();
        if let Err(error) = self.write_usage().await {
            tracing::warn!(%error, "the last uses of root keys, or hourly counts, could not be written");
        }
        if let Err(error) = heads::write_all(self).await {
            tracing::warn!(%error, "the newest hashes of the audit logs could not be read");
        }
        if let Err(error) = writing::write_key_uses(self).await {
            tracing::warn!(%error, "the last uses of keys could not be written");
        }
        self.store().close().await;
    }

    /// Starts what runs beside requests: events, following other processes' changes, and scheduled work.
    pub fn start_background_work(&self, retention: Retention) {
        if let Err(error) = self.recorder().start(self.clock().clone(), self.state().metrics.clone()) {
            tracing::error!(%error, "no thread for events: those of an overload will be lost");
        }
        tokio::spawn(changes::follow(self.0.state.clone()));
        schedule::start(self, health::Look);
        schedule::start(self, Refills::default());
        schedule::start(self, Usage);
        schedule::start(self, writing::KeyUses);
        schedule::start(self, IdleCounters);
        schedule::start(self, Forgetting);
        schedule::start(self, Heads::default());
        schedule::start(self, Plaintexts);
        schedule::start(self, Removal::new(retention));
    }

    /// The store, what of it is in memory, and how memory follows.
    pub(crate) fn state(&self) -> &Arc<State> {
        &self.0.state
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.0.state.store
    }

    /// The resident state.
    pub fn resident(&self) -> &Resident {
        &self.0.state.resident
    }

    /// What is known against sending requests to this process.
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// The counters of rate limits.
    pub fn counters(&self) -> &MemoryCounters {
        &self.0.counters
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.0.state.metrics
    }

    /// What makes deductions.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// How many deductions wait to be made.
    pub fn waiting_deductions(&self) -> usize {
        self.ledger().waiting()
    }

    /// For how long the database takes over the deductions that are being made; zero when none are.
    pub fn deductions_busy_for(&self) -> Duration {
        self.ledger().busy_for()
    }

    /// Where the plaintexts of recoverable keys are, if the server has a master key.
    pub fn vault(&self) -> Option<&Vault> {
        self.0.vault.as_ref()
    }

    /// Where decisions put their events.
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.0.recorder
    }

    /// Where refusals are told.
    pub fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    /// The room for large bodies of requests.
    pub fn bodies(&self) -> &LargeBodies {
        &self.0.bodies
    }

    /// Tells the log that a bearer value, or its absence, was refused.
    pub fn refused_credential(
        &self,
        operation: &'static str,
        address: Option<IpAddr>,
        bearer: Option<&str>,
        error: &Error,
    ) {
        let root_key = bearer.and_then(|bearer| self.resident().root_key(&secret::hash(bearer)));
        let root_key = root_key.as_ref().map(|root_key| root_key.id.as_str());
        self.refusals().tell(self.clock().now(), &Refusal { operation, root_key, address, error });
    }

    /// Waits until no counts move from memory to the store, and keeps it so until what is returned is dropped.
    pub(crate) async fn count_writing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.count_writing.lock().await
    }

    /// The same for times of last use.
    pub(crate) async fn use_writing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.use_writing.lock().await
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.0.state.clock
    }

    /// Notes that a root key is used now.
    pub(crate) fn note_use(&self, root_key_id: &str) {
        self.0.last_used.note(root_key_id, self.clock().now());
    }

    /// When this process last saw a root key used, in Unix ms; 0 when never.
    pub(crate) fn root_key_last_used(&self, id: &str) -> i64 {
        self.0.last_used.of(id)
    }

    /// Writes to the store when root keys were last used, and the hourly counts.
    pub(crate) async fn write_usage(&self) -> Result<(), Error> {
        writing::write_counts(self).await?;
        self.write_last_used().await
    }

    async fn write_last_used(&self) -> Result<(), Error> {
        let uses = self.0.last_used.unwritten();
        if uses.is_empty() {
            return Ok(());
        }
        let mut transaction = self.store().write().await?;
        for (id, at) in &uses {
            root_keys::set_last_used(&mut transaction, id, *at).await?;
        }
        transaction.commit().await?;
        self.0.last_used.written(&uses);
        Ok(())
    }

    /// Whether memory may be older than the answers that are promised from it: the changes of other processes
    /// could not be read for a while, or in some workspace a change that is known of is not there yet.
    pub fn is_stale(&self) -> bool {
        self.state().following.is_stale() || self.state().following.is_stale_anywhere()
    }

    /// How long ago the changes of all processes were looked for; `None` before the first time.
    pub fn change_feed_age(&self) -> Option<Duration> {
        self.state().following.age()
    }

    /// Brings memory up to what the database says of a workspace: for what another process may have made a
    /// moment ago.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn follow(&self, workspace_id: &str) -> Result<(), Error> {
        let (state, workspace_id) = (self.state().clone(), workspace_id.to_owned());
        in_a_task(async move { state.follow(&workspace_id).await }).await
    }

    /// The same for every workspace.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        let state = self.state().clone();
        in_a_task(async move { state.catch_up().await }).await
    }

    /// Counts a request against the caller's workspace limit, if it has one.
    ///
    /// `Ok(None)` when the workspace has no limit. A limit of 0 refuses without numbers. Operators are not held
    /// back from what only they may do: that is how a limit is corrected.
    ///
    /// # Errors
    /// 429 `workspace_rate_limited`, with the numbers unless the limit is 0.
    pub fn throttle(&self, caller: &Caller, about: &About) -> Result<Option<Throttle>, (Error, Option<Throttle>)> {
        if about.rule.operator && caller.root_key().operator {
            return Ok(None);
        }
        let limit = |workspace: &Workspace| workspace.requests_per_minute;
        let limit = self.resident().look_at_workspace(caller.workspace_id(), limit);
        let Some(limit) = limit.flatten() else { return Ok(None) };
        let refused = || {
            Error::new(
                Code::WorkspaceRateLimited,
                "The workspace made more requests this minute than it is allowed. Slow down and try again.",
            )
        };
        if limit <= 0 {
            return Err((refused(), None));
        }
        let now = self.clock().now();
        let decision = self.counters().check(&workspace_check(caller.workspace_id(), limit), now);
        let reset_seconds = u64::try_from((decision.reset_ms - now).max(0)).unwrap_or_default().div_ceil(1000);
        let throttle = Throttle { limit, remaining: decision.remaining, reset_seconds };
        if decision.passed {
            Ok(Some(throttle))
        } else {
            Err((refused().retry_after(reset_seconds), Some(throttle)))
        }
    }
}

/// Whoever stops waiting must not stop it: a reload that is cut off would leave readers behind that write what is
/// old by then.
async fn in_a_task(work: impl Future<Output = Result<(), Error>> + Send + 'static) -> Result<(), Error> {
    tokio::spawn(work.in_current_span()).await.unwrap_or_else(|ended| Err(Error::unexpected(ended)))
}

/// Writes when root keys were last used, and the hourly counts.
#[derive(Debug)]
struct Usage;

impl Job for Usage {
    const NAME: &'static str = "usage";
    const PERIOD: Duration = Duration::from_secs(10);

    async fn run(&mut self, keyrack: &Keyrack) -> Result<(), Error> {
        keyrack.write_usage().await
    }
}

/// Forgets rate-limit counts that nobody asks for any more.
#[derive(Debug)]
struct IdleCounters;

impl Job for IdleCounters {
    const NAME: &'static str = "idle_counters";
    const PERIOD: Duration = Duration::from_secs(60);

    async fn run(&mut self, keyrack: &Keyrack) -> Result<(), Error> {
        let keyrack = keyrack.clone();
        // A million counts take some ten milliseconds, in which a worker would answer nobody.
        let forget = move || keyrack.counters().forget_idle(keyrack.clock().now());
        tokio::task::spawn_blocking(forget).await.map(drop).map_err(Error::unexpected)
    }
}

fn workspace_check(workspace_id: &str, limit: i64) -> Check<'_> {
    let cell = CellKey {
        workspace: workspace_id,
        scope: CellScope::Workspace,
        identifier: workspace_id,
        duration_ms: MINUTE_MS,
    };
    Check { cell, limit, cost: 1 }
}

/// Where a workspace stands with its requests per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// Requests per minute.
    pub limit: i64,
    /// Requests left in this window.
    pub remaining: i64,
    /// Seconds until the window ends.
    pub reset_seconds: u64,
}
