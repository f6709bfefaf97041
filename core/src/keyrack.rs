//! An open Keyrack: the store, the resident state, the limiter and the clock, shared by all faces.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::analytics::recorder::Recorder;
use crate::analytics::writing;
use crate::audit::filing;
use crate::audit::heads::{self, Heads};
use crate::caller::{Caller, Origin};
use crate::changes::forgetting::Forgetting;
use crate::changes::{self, Subject};
use crate::clock::{Clock, rfc3339};
use crate::credits::ledger::Ledger;
use crate::credits::refill::Refills;
use crate::error::{Code, Error};
use crate::health::{self, Health};
use crate::keys::secret;
use crate::last_used::LastUsed;
use crate::metrics::Metrics;
use crate::ratelimit::counters::memory::{CellKey, CellScope, Check, MemoryCounters};
use crate::resident::Resident;
use crate::retention::{Removal, Retention};
use crate::schedule::{self, Job};
use crate::store::workspaces::Workspace;
use crate::store::{Connection, Durability, Engine, Location, Store, changes as feed, root_keys, workspaces};
use crate::vault::Vault;

const MINUTE_MS: i64 = 60_000;
/// How often a refresh after a commit is tried before the feed has to make up for it.
const REFRESH_TRIES: u32 = 3;
/// How old the last look at other nodes' changes may be. They are looked for several times a second.
const STALE_AFTER: Duration = Duration::from_secs(10);

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
}

#[derive(Debug)]
struct Open {
    store: Store,
    resident: Resident,
    /// The generation of each workspace that the resident state has seen. Whoever refreshes holds this
    /// lock from before reading until the entries are in place, so an older state never overwrites a newer.
    seen: Mutex<HashMap<String, i64>>,
    following: Following,
    health: Health,
    counters: MemoryCounters,
    metrics: Arc<Metrics>,
    ledger: Ledger,
    vault: Option<Vault>,
    last_used: LastUsed,
    recorder: Arc<Recorder>,
    /// Held while hourly counts move from memory to the store.
    count_writing: Mutex<()>,
    /// Held while times of last use do.
    use_writing: Mutex<()>,
    clock: Clock,
}

/// How well this process follows the changes of others. Every request asks, so it is no lock.
#[derive(Debug)]
struct Following {
    /// A change of this process could not be read back.
    is_behind: AtomicBool,
    /// When the changes of other processes were read last, in ms since `opened`; [`NEVER`] before the
    /// background work began.
    last_ms: AtomicU64,
    opened: Instant,
}

const NEVER: u64 = u64::MAX;

impl Following {
    fn new() -> Self {
        Following { is_behind: AtomicBool::new(false), last_ms: AtomicU64::new(NEVER), opened: Instant::now() }
    }

    /// How long ago the changes of other processes were read; `None` before the first time.
    fn age(&self) -> Option<Duration> {
        let last_ms = self.last_ms.load(Ordering::Acquire);
        (last_ms != NEVER).then(|| self.opened.elapsed().saturating_sub(Duration::from_millis(last_ms)))
    }

    /// Notes that the changes of all processes were followed to their end just now.
    fn caught_up(&self) {
        let now_ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(NEVER - 1);
        self.last_ms.store(now_ms, Ordering::Release);
        self.is_behind.store(false, Ordering::Release);
    }
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
        let Options { vault, durability, counters } = options;
        let store = Store::open(location).await?;
        let mut connection = store.read().await?;
        // Generations first: what changes while the rest loads is read again.
        let seen = workspaces::generations(&mut connection).await?.into_iter().collect();
        let started = Instant::now();
        let resident = Resident::load(&store).await?;
        tracing::info!(keys = resident.key_count(), ms = started.elapsed().as_millis(), "the keys are in memory");
        drop(connection);
        filing::file_all(&store).await?;
        if let Some(vault) = &vault {
            let (rewrapped, foreign) = vault.rewrap(&store, clock.now()).await?;
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
        let (following, last_used) = (Following::new(), LastUsed::default());
        let (seen, metrics) = (Mutex::new(seen), Arc::new(Metrics::default()));
        let ledger = Ledger::new(store.clone(), durability, metrics.clone());
        Ok(Keyrack(Arc::new(Open {
            store,
            resident,
            seen,
            following,
            health: Health::default(),
            counters,
            metrics,
            ledger,
            vault,
            last_used,
            recorder: Arc::default(),
            count_writing: Mutex::default(),
            use_writing: Mutex::default(),
            clock,
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
        if let Err(error) = self.recorder().start(self.clock().clone()) {
            tracing::error!(%error, "no thread for events: those of an overload will be lost");
        }
        tokio::spawn(changes::follow(self.clone()));
        schedule::start(self, health::Look);
        schedule::start(self, Refills::default());
        schedule::start(self, Usage);
        schedule::start(self, writing::KeyUses);
        schedule::start(self, IdleCounters);
        schedule::start(self, Forgetting);
        schedule::start(self, Heads::default());
        schedule::start(self, Removal::new(retention));
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The resident state.
    pub fn resident(&self) -> &Resident {
        &self.0.resident
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
        &self.0.metrics
    }

    /// What makes deductions.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// How many deductions wait to be made.
    pub fn waiting_deductions(&self) -> usize {
        self.ledger().waiting()
    }

    /// Where the plaintexts of recoverable keys are, if the server has a master key.
    pub fn vault(&self) -> Option<&Vault> {
        self.0.vault.as_ref()
    }

    /// Where decisions put their events.
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.0.recorder
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
        &self.0.clock
    }

    /// Finds the root key that a bearer value is.
    ///
    /// # Errors
    /// 401 for what is no root key (an ordinary key reads the same), 403 for one that may not be used,
    /// 404 when its workspace is gone, 503 while the resident state is stale.
    pub fn authenticate(&self, bearer: &str, origin: Origin) -> Result<Caller, Error> {
        if self.is_stale() {
            return Err(Error::new(
                Code::ServiceUnavailable,
                "The server cannot read the changes of other processes, and would answer from an older state. Try \
                 again shortly.",
            )
            .retry_after(1));
        }
        let invalid =
            |code: Code, reason: &str| Error::new(code, format!("The provided root key is invalid. {reason}"));
        let Some(root_key) = self.resident().root_key(&secret::hash(bearer)) else {
            return Err(invalid(Code::RootKeyNotFound, "No root key has this value."));
        };
        let is_enabled = self.resident().look_at_workspace(&root_key.workspace_id, |workspace| workspace.enabled);
        let Some(is_enabled) = is_enabled else {
            return Err(invalid(Code::WorkspaceNotFound, "Its workspace does not exist any more."));
        };
        if !is_enabled {
            return Err(invalid(Code::WorkspaceDisabled, "Its workspace is disabled."));
        }
        if !root_key.enabled {
            return Err(invalid(Code::KeyDisabled, "It is disabled."));
        }
        if let Some(expires_at) = root_key.expires_at.filter(|expires_at| self.clock().now() > *expires_at) {
            return Err(invalid(Code::Forbidden, &format!("It expired at {}.", rfc3339(expires_at))));
        }
        self.0.last_used.note(&root_key.id, self.clock().now());
        Ok(Caller::new(root_key, origin))
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

    /// Whether the resident state may be older than the answers that are promised from it: a change of this
    /// process could not be read back, or those of other nodes could not be read for a while.
    ///
    /// On SQLite only the first counts: processes that share a file lose it together, and verifications go on.
    pub fn is_stale(&self) -> bool {
        let following = &self.0.following;
        following.is_behind.load(Ordering::Acquire)
            || (self.store().engine() == Engine::Postgres && following.age().is_some_and(|age| age > STALE_AFTER))
    }

    /// How long ago the changes of all processes were followed to their end; `None` before the first time.
    pub fn change_feed_age(&self) -> Option<Duration> {
        self.0.following.age()
    }

    /// Counts a request against the caller's workspace limit, if it has one.
    ///
    /// `Ok(None)` when the workspace has no limit. A limit of 0 refuses without numbers.
    ///
    /// # Errors
    /// 429 `workspace_rate_limited`, with the numbers unless the limit is 0.
    pub fn throttle(&self, caller: &Caller) -> Result<Option<Throttle>, (Error, Option<Throttle>)> {
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

    /// Brings the resident state up to date with a change that this process just committed.
    pub(crate) async fn changed_here(&self, workspace_id: &str, generation: i64, subjects: &[Subject]) {
        let mut seen = self.0.seen.lock().await;
        for attempt in 1..=REFRESH_TRIES {
            match self.refresh(subjects).await {
                Ok(()) => {
                    let known = seen.entry(workspace_id.to_owned()).or_insert(0);
                    // With a gap, changes of another process come first; the feed brings all of them.
                    if *known == generation - 1 {
                        *known = generation;
                    }
                    return;
                }
                Err(error) => tracing::warn!(%error, attempt, "a committed change could not be read back"),
            }
        }
        // Until the feed brings it, an answer would be one from before the change.
        self.0.following.is_behind.store(true, Ordering::Release);
    }

    /// Applies the changes of other processes.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        let mut seen = self.0.seen.lock().await;
        let mut connection = self.store().read().await?;
        let generations = workspaces::generations(&mut connection).await?;
        let behind = generations.iter().map(|(workspace_id, generation)| {
            let known = seen.get(workspace_id).copied().unwrap_or(0);
            u64::try_from(generation - known).unwrap_or_default()
        });
        self.metrics().generations_behind.set(behind.sum());
        for (workspace_id, generation) in generations {
            let known = seen.get(&workspace_id).copied().unwrap_or(0);
            if generation > known {
                let Some(subjects) = feed::after(&mut connection, &workspace_id, known).await? else {
                    *seen = self.reload(&mut connection).await?;
                    break;
                };
                self.resident().refresh(&mut connection, &subjects).await?;
                seen.insert(workspace_id, generation);
            }
        }
        self.metrics().generations_behind.set(0);
        self.0.following.caught_up();
        Ok(())
    }

    /// Reads everything anew: this process was away for longer than the feed goes back, as a suspended
    /// machine is. Until that is done, an answer would be one from before. The generations that it then knows.
    async fn reload(&self, connection: &mut Connection) -> Result<HashMap<String, i64>, Error> {
        tracing::warn!("this process missed changes that the feed has forgotten; reading everything anew");
        self.0.following.is_behind.store(true, Ordering::Release);
        // Generations first: what changes while the rest loads is read again.
        let generations = workspaces::generations(connection).await?;
        self.resident().reload(self.store()).await?;
        Ok(generations.into_iter().collect())
    }

    /// Reads these things anew, now.
    pub(crate) async fn read_again(&self, subjects: &[Subject]) -> Result<(), Error> {
        let _seen = self.0.seen.lock().await;
        self.refresh(subjects).await
    }

    async fn refresh(&self, subjects: &[Subject]) -> Result<(), Error> {
        let mut connection = self.store().read().await?;
        self.resident().refresh(&mut connection, subjects).await
    }
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
