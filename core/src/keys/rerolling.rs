//! When keys end that are rerolled, and what their successors inherit: one rule for keys and root keys.
//!
//! A reroll whose answer got lost is repeated, by programs and by people. The new key then inherits the expiry
//! from before the first reroll, not the end that this has set; and a key that a reroll has ended already is
//! refused with the id of the key in its place, instead of making one that is as dead.

use crate::calendar::UnixMs;
use crate::changes::Mutation;
use crate::error::{Code, Error};
use crate::store::Connection;
use crate::store::rerolls::{self, Reroll, Rerolled};

/// The longest grace period, in ms: a year.
pub(crate) const LONGEST_GRACE_MS: i64 = 31_536_000_000;

/// What is known of a key that is rerolled.
#[derive(Debug)]
pub(crate) struct Rerolling<'a> {
    key: Rerolled<'a>,
    /// When it ends as it stands.
    expires_at: Option<UnixMs>,
    earlier: Option<Reroll>,
}

impl<'a> Rerolling<'a> {
    /// Looks at a key that expires at this Unix ms.
    ///
    /// # Errors
    /// 412 when a reroll has ended it.
    pub(crate) async fn begin(
        connection: &mut Connection,
        key: Rerolled<'a>,
        expires_at: Option<UnixMs>,
        now: UnixMs,
    ) -> Result<Self, Error> {
        let earlier = rerolls::find(connection, key).await?;
        match earlier {
            Some(Reroll { successor_id, .. }) if expires_at.is_some_and(|end| now > end) => Err(Error::new(
                Code::PreconditionFailed,
                format!("A reroll has ended this key. In its place is {successor_id}: reroll that one."),
            )),
            earlier => Ok(Rerolling { key, expires_at, earlier }),
        }
    }

    /// When the new key ends.
    pub(crate) fn inherited_expiry(&self) -> Option<UnixMs> {
        self.earlier.as_ref().map_or(self.expires_at, |earlier| earlier.expires_before)
    }

    /// Brings the end of the old key forward to `due`, a Unix ms, never back: when it ends then.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn end(
        &self,
        mutation: &mut Mutation,
        successor_id: &str,
        due: UnixMs,
    ) -> Result<Option<UnixMs>, Error> {
        let ends_before = self.expires_at.is_some_and(|expires_at| expires_at <= due);
        if ends_before && self.earlier.is_none() {
            return Ok(self.expires_at);
        }
        let expires_at = if ends_before { self.expires_at } else { Some(due) };
        let reroll = Reroll { successor_id: successor_id.to_owned(), expires_before: self.inherited_expiry() };
        let now = mutation.now();
        rerolls::end(mutation.connection(), self.key, expires_at, reroll, now).await?;
        Ok(expires_at)
    }
}
