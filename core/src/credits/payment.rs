//! Paying for a verification.
//!
//! The store decides on a payment, through the ledger. A refusal costs no write: what is known to be beyond
//! the balance is refused from memory, or by a look at the store when that knowledge is a second old.

use std::sync::Arc;

use super::Credits;
use crate::calendar::{Calendar, Day, UnixMs};
use crate::error::Error;
use crate::resident::Key;
use crate::resident::balance::KnownBalance;
use crate::store::debits::{Debit, Outcome};
use crate::store::{credits, refills};

/// What became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payment {
    /// Made, or not due; with the balance afterwards, `None` for an unlimited key.
    Made(Option<i64>),
    /// Beyond the balance, which is this.
    Refused(i64),
    /// There is no such account: another process removed the key a moment ago.
    NoAccount,
}

impl Credits {
    /// Takes the cost from the key's balance.
    ///
    /// A deduction is committed before it is acknowledged, and is never repeated. Whoever stops waiting for the
    /// answer does not stop the deduction. `now` is Unix ms.
    ///
    /// # Errors
    /// 503 when the store does not answer or too many deductions wait for it. Nothing was spent then, unless
    /// the error says that this is not known.
    pub async fn pay(&self, key: &Arc<Key>, cost: i64, now: UnixMs) -> Result<Payment, Error> {
        let Some(known) = key.balance.as_deref() else { return Ok(Payment::Made(None)) };
        if cost == 0 {
            return Ok(Payment::Made(self.balance(key, now).await?));
        }
        let today = Day::of(now);
        if known.seen(today).is_some_and(|seen| seen.balance < cost)
            && let Some(refused) = self.refuse(key, known, cost, now).await?
        {
            self.numbers.refused.add(cost.unsigned_abs());
            return Ok(refused);
        }
        let debit = Debit {
            workspace_id: key.place.workspace_id.clone(),
            key_id: key.id.clone(),
            cost,
            refill: known.awaits_refill(today).then(|| Calendar::at(now)),
        };
        Ok(match self.ledger.deduct(debit, key.clone()).await? {
            Outcome::Made(balance) => Payment::Made(Some(balance)),
            Outcome::Refused(balance) => Payment::Refused(balance),
            // The key became unlimited a moment ago.
            Outcome::Unlimited => Payment::Made(None),
            Outcome::NoBalance => Payment::NoAccount,
        })
    }

    /// The balance of a key at `now`, Unix ms, to be shown; `None` for an unlimited key.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn balance(&self, key: &Key, now: UnixMs) -> Result<Option<i64>, Error> {
        let Some(known) = key.balance.as_deref() else { return Ok(None) };
        let seen = known.seen(Day::of(now));
        if let Some(seen) = seen.filter(|seen| seen.is_fresh) {
            return Ok(Some(seen.balance));
        }
        self.look_up(key, known, now).await
    }

    /// What a key has now, as a deduction would find it, and its refill; nothing is settled, and what is known of the
    /// balance stays as it is.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn look(&self, key_id: &str, now: UnixMs) -> Result<credits::Credits, Error> {
        let mut connection = self.store.read().await?;
        let stored = credits::find(&mut connection, key_id).await?;
        let due = refills::balances(&mut connection, &[key_id], Calendar::at(now)).await?;
        let remaining = due.first().map(|(_, balance)| *balance).or(stored.remaining);
        Ok(credits::Credits { remaining, ..stored })
    }

    /// The refusal of a cost that is beyond what is known, if it is still right.
    async fn refuse(
        &self,
        key: &Key,
        known: &KnownBalance,
        cost: i64,
        now: UnixMs,
    ) -> Result<Option<Payment>, Error> {
        if let Some(seen) = known.seen(Day::of(now)).filter(|seen| seen.is_fresh && seen.balance < cost) {
            return Ok(Some(Payment::Refused(seen.balance)));
        }
        let stored = self.look_up(key, known, now).await?;
        Ok(stored.filter(|balance| *balance < cost).map(Payment::Refused))
    }

    /// What a deduction would find in the store, noted as known; `None` for a key that is unlimited or gone.
    async fn look_up(&self, key: &Key, known: &KnownBalance, now: UnixMs) -> Result<Option<i64>, Error> {
        let version = known.version();
        let mut connection = self.store.read().await?;
        let stored = if known.awaits_refill(Day::of(now)) {
            let balances = refills::balances(&mut connection, &[key.id.as_str()], Calendar::at(now)).await?;
            balances.first().map(|(_, balance)| *balance)
        } else {
            credits::remaining(&mut connection, &key.id).await?.flatten()
        };
        drop(connection);
        if let Some(balance) = stored {
            known.read(version, balance, Day::of(now));
        }
        Ok(stored)
    }
}
