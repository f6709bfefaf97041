//! An open Keyrack: it puts the parts together, starts what runs beside requests, and stops it.

mod access;
mod changing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::analytics::Analytics;
use crate::analytics::writing::KeyUses;
use crate::audit::filing;
use crate::audit::heads::{self, Heads};
use crate::budget::Budget;
use crate::changes::forgetting::Forgetting;
use crate::clock::Clock;
use crate::credits::Credits;
use crate::credits::refill::Refills;
use crate::error::Error;
use crate::follower;
use crate::health::{Health, Look};
use crate::large_bodies::LargeBodies;
use crate::ratelimit::counters::idle::IdleCounters;
use crate::ratelimit::counters::memory::MemoryCounters;
use crate::refusals::Refusals;
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

/// Questions to the store per second about root keys that memory does not know.
const NEWCOMERS_PER_SECOND: u16 = 20;
/// The same about one-time links, which anybody can try: a look-up of one row, and so many that few can take them from all.
const CLAIMS_PER_SECOND: u16 = 1000;

#[derive(Debug)]
struct Parts {
    state: Arc<State>,
    health: Arc<Health>,
    counters: Arc<MemoryCounters>,
    credits: Arc<Credits>,
    analytics: Arc<Analytics>,
    vault: Option<Vault>,
    refusals: Refusals,
    newcomers: Budget,
    claims: Budget,
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
        let credits = Credits::new(state.store.clone(), durability);
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
            newcomers: Budget::per_second(NEWCOMERS_PER_SECOND),
            claims: Budget::per_second(CLAIMS_PER_SECOND),
            bodies: LargeBodies::default(),
        })))
    }

    /// Makes the deductions that were accepted, writes what is still in memory alone, and closes the store.
    pub async fn close(&self) {
        let Parts { state, credits, analytics, scheduler, .. } = &*self.0;
        credits.close().await;
        analytics.stop().await;
        analytics.close().await;
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
        // Whatever was still decided meanwhile is in the log, too.
        analytics.recorder().empty_ring(&state.clock);
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
}
