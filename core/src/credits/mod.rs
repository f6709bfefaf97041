//! Credits: what a key may spend. The store decides on balances; here is when they are refilled, and how
//! verifications spend them.

mod ledger;
pub mod payment;
pub mod refill;

use std::sync::Arc;
use std::time::Duration;

use self::ledger::Ledger;
use crate::metrics::Metrics;
use crate::store::{Durability, Store};

/// What verifications pay with.
#[derive(Debug)]
pub struct Credits {
    ledger: Ledger,
    store: Store,
    metrics: Arc<Metrics>,
}

impl Credits {
    /// Credits in this store; `durability` says when a deduction counts as committed.
    pub(crate) fn new(store: Store, durability: Durability, metrics: Arc<Metrics>) -> Self {
        Credits { ledger: Ledger::new(store.clone(), durability, metrics.clone()), store, metrics }
    }

    /// How many deductions wait to be made.
    pub fn waiting(&self) -> usize {
        self.ledger.waiting()
    }

    /// For how long the database takes over the deductions that are being made; zero when none are.
    pub fn busy_for(&self) -> Duration {
        self.ledger.busy_for()
    }

    /// Makes the deductions that were accepted, and accepts no more.
    pub(crate) async fn close(&self) {
        self.ledger.close().await;
    }
}
