//! Credits: what a key may spend. The store decides on balances; here is when they are refilled, and how
//! verifications spend them.

mod ledger;
mod numbers;
pub mod payment;
pub mod refill;

use std::sync::Arc;
use std::time::Duration;

use self::ledger::Ledger;
pub use self::numbers::Numbers;
use crate::store::{Durability, Store};

/// What verifications pay with.
#[derive(Debug)]
pub struct Credits {
    ledger: Ledger,
    store: Store,
    numbers: Arc<Numbers>,
}

impl Credits {
    /// Credits in this store; `durability` says when a deduction counts as committed.
    pub(crate) fn new(store: Store, durability: Durability) -> Self {
        let numbers = Arc::<Numbers>::default();
        Credits { ledger: Ledger::new(store.clone(), durability, numbers.clone()), store, numbers }
    }

    /// What is counted.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
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
