//! The parts of an open Keyrack, for those who work with them.

use std::sync::Arc;

use super::{Keyrack, Parts};
use crate::analytics::Analytics;
use crate::analytics::recorder::Recorder;
use crate::budget::Budget;
use crate::clock::Clock;
use crate::credits::Credits;
use crate::health::{Health, Reason};
use crate::keys::verification::Verifier;
use crate::large_bodies::LargeBodies;
use crate::metrics::Metrics;
use crate::ratelimit::counters::memory::MemoryCounters;
use crate::refusals::Refusals;
use crate::resident::Resident;
use crate::state::State;
use crate::store::Store;
use crate::vault::Vault;

impl Keyrack {
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

    /// How often the store is asked about root keys that memory does not know.
    pub(crate) fn newcomers(&self) -> &Budget {
        &self.0.newcomers
    }

    /// How often the store is asked about one-time links.
    pub(crate) fn claims(&self) -> &Budget {
        &self.0.claims
    }

    /// Where refusals are told.
    pub fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    /// The room for large bodies of requests.
    pub fn bodies(&self) -> &LargeBodies {
        &self.0.bodies
    }
}
