//! Root keys that another process made a moment ago.
//!
//! `keyrack root-key create` prints a root key that is used at once, within the second that the change feed may take.
//! So the store is asked about a root key that memory does not know, once per request and a few times per second over
//! all: whoever guesses root keys makes no load.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::calendar::UnixMs;
use crate::error::Error;
use crate::keyrack::Keyrack;
use crate::keys::secret;
use crate::store::root_keys;

/// Questions to the store per second.
const PER_SECOND: u64 = 20;

/// How many questions were asked in the second at hand.
#[derive(Debug)]
struct Budget(AtomicU64);

impl Budget {
    /// Takes one of a second's questions, if there is one left.
    fn take(&self, now: UnixMs) -> bool {
        let second = now.get().unsigned_abs() / 1000;
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
            let (counted, asked) = (state >> 16, state & 0xffff);
            match (counted == second, asked < PER_SECOND) {
                (true, false) => None,
                (true, true) => Some(state + 1),
                (false, _) => Some((second << 16) | 1),
            }
        });
        taken.is_ok()
    }
}

static BUDGET: Budget = Budget(AtomicU64::new(0));

impl Keyrack {
    /// Whether a root key that is not known was made by another process: then it is known from now on.
    pub async fn learn_root_key(&self, bearer: &str) -> bool {
        if !BUDGET.take(self.clock().now()) {
            return false;
        }
        match self.ask_for_root_key(bearer).await {
            Ok(is_there) => is_there,
            Err(error) => {
                tracing::warn!(%error, "the store was asked about an unknown root key and did not answer");
                false
            }
        }
    }

    async fn ask_for_root_key(&self, bearer: &str) -> Result<bool, Error> {
        let hash = secret::hash(bearer).to_base64();
        let mut connection = self.store().read().await?;
        let is_there = root_keys::owner_of_hash(&mut connection, &hash).await?.is_some();
        drop(connection);
        if is_there {
            self.catch_up().await?;
        }
        Ok(is_there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_questions_and_no_more() {
        let budget = Budget(AtomicU64::new(0));
        let asked = |at| (0..100).filter(|_| budget.take(UnixMs::new(at))).count() as u64;
        assert_eq!((asked(1_000_500), asked(1_000_999), asked(1_001_000)), (PER_SECOND, 0, PER_SECOND));
        assert_eq!(asked(1_000_000), PER_SECOND, "a clock that was set back");
    }
}
