//! An open Keyrack: it puts the parts together, starts what runs beside requests, and stops it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::analytics::Analytics;
use crate::analytics::recorder::Recorder;
use crate::analytics::writing::KeyUses;
use crate::audit::filing;
use crate::audit::heads::{self, Heads};
use crate::changes::forgetting::Forgetting;
use crate::clock::Clock;
use crate::credits::Credits;
use crate::credits::refill::Refills;
use crate::error::Error;
use crate::follower;
use crate::health::{Health, Look, Reason};
use crate::keys::verification::Verifier;
use crate::large_bodies::LargeBodies;
use crate::metrics::Metrics;
use crate::ratelimit::counters::idle::IdleCounters;
use crate::ratelimit::counters::memory::MemoryCounters;
use crate::refusals::Refusals;
use crate::resident::Resident;
use crate::retention::{Plaintexts, Removal, Retention};
use crate::schedule::Scheduler;
use crate::state::State;
use crate::store::{Durability, Location, Store};
use crate::usage::{self, Usage};
use crate::vault::Vault;

/// An open Keyrack. Cloning it is cheap and gives the same one.
#[derive(Debug, Clone)]
pub struct Keyrack(Arc<Parts>);

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
struct Parts {
    state: Arc<State>,
    health: Arc<Health>,
    counters: Arc<MemoryCounters>,
    credits: Arc<Credits>,
    analytics: Arc<Analytics>,
    vault: Option<Vault>,
    refusals: Refusals,
    bodies: LargeBodies,
    scheduler: Scheduler,
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
        let started = Instant::now();
        let state = Arc::new(State::load(store, clock, stale_after).await?);
        let keys = state.resident.key_count();
        tracing::info!(keys, ms = started.elapsed().as_secs_f64() * 1000.0, "the keys are in memory");
        filing::file_all(&state.store).await?;
        if let Some(vault) = &vault {
            vault.take_over(&state.store, state.clock.now()).await?;
        }
        let credits = Credits::new(state.store.clone(), durability, state.metrics.clone());
        let analytics = Analytics::new(state.store.clone(), state.clock.clone());
        Ok(Keyrack(Arc::new(Parts {
            scheduler: Scheduler::of(&state),
            state,
            health: Arc::default(),
            counters: Arc::new(counters),
            credits: Arc::new(credits),
            analytics: Arc::new(analytics),
            vault,
            refusals: Refusals::default(),
            bodies: LargeBodies::default(),
        })))
    }

    /// Makes the deductions that were accepted, writes what is still in memory alone, and closes the store.
    pub async fn close(&self) {
        let Parts { state, credits, analytics, scheduler, .. } = &*self.0;
        credits.close().await;
        analytics.recorder().stop();
        if let Err(error) = usage::write(state, analytics).await {
            tracing::warn!(%error, "the last uses of root keys, or hourly counts, could not be written");
        }
        if let Err(error) = heads::write_all(&state.store).await {
            tracing::warn!(%error, "the newest hashes of the audit logs could not be read");
        }
        if let Err(error) = analytics.write_key_uses().await {
            tracing::warn!(%error, "the last uses of keys could not be written");
        }
        scheduler.stop();
        state.store.close().await;
    }

    /// Starts what runs beside requests: events, following other processes' changes, and scheduled work.
    pub fn start_background_work(&self, retention: Retention) {
        let Parts { state, health, counters, credits, analytics, scheduler, .. } = &*self.0;
        analytics.start(state.metrics.clone());
        tokio::spawn(follower::follow(state.clone()));
        scheduler.start(Look { state: state.clone(), credits: credits.clone(), health: health.clone() });
        scheduler.start(Refills::new(state.clone()));
        scheduler.start(Usage { state: state.clone(), analytics: analytics.clone() });
        scheduler.start(KeyUses(analytics.clone()));
        scheduler.start(IdleCounters { counters: counters.clone(), clock: state.clock.clone() });
        scheduler.start(Forgetting(state.clone()));
        scheduler.start(Heads::new(state.store.clone()));
        scheduler.start(Plaintexts(state.clone()));
        scheduler.start(Removal::new(state.clone(), retention));
    }

    /// The store, what of it is in memory, and how memory follows.
    pub fn state(&self) -> &Arc<State> {
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

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.0.state.clock
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.0.state.metrics
    }

    /// What is known against sending requests to this process.
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// What is wrong with this process now; whether it should get requests says [`Reason::is_against_work`]. It
    /// waits for nothing.
    pub fn reasons(&self) -> Vec<Reason> {
        let stale = self.0.state.is_stale().then_some(Reason::Stale);
        self.0.health.reasons().into_iter().chain(stale).collect()
    }

    /// The counters of rate limits.
    pub fn counters(&self) -> &MemoryCounters {
        &self.0.counters
    }

    /// What verifications pay with.
    pub fn credits(&self) -> &Credits {
        &self.0.credits
    }

    /// What becomes of events.
    pub fn analytics(&self) -> &Analytics {
        &self.0.analytics
    }

    /// Where decisions put their events.
    pub fn recorder(&self) -> &Arc<Recorder> {
        self.0.analytics.recorder()
    }

    /// What verifies keys.
    pub fn verifier(&self) -> Verifier<'_> {
        let Parts { state, counters, credits, analytics, .. } = &*self.0;
        Verifier { counters, credits, metrics: &state.metrics, recorder: analytics.recorder() }
    }

    /// Where the plaintexts of recoverable keys are, if the server has a master key.
    pub fn vault(&self) -> Option<&Vault> {
        self.0.vault.as_ref()
    }

    /// Where refusals are told.
    pub fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    /// The room for large bodies of requests.
    pub fn bodies(&self) -> &LargeBodies {
        &self.0.bodies
    }

    /// What runs jobs.
    #[cfg(test)]
    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.0.scheduler
    }
}
