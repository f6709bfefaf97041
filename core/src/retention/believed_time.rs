//! The time that retention goes by: the clock's, as long as the clock goes on from where it was.
//!
//! A clock that is wrong by years would remove everything that has a retention, keys that are still to expire
//! among it. So the time that was last believed is stored, and follows the clock by at most [`STEP_MS`] per
//! [`PERIOD`] that a process has run: a day per hour. After a pause it catches up at that pace, which only delays
//! what is removed; a clock that jumps ahead can be put right before much harm is done, and the log says that
//! it jumped. A clock that goes back removes nothing that it would not have removed before.

use std::sync::Arc;
use std::time::Duration;

use crate::calendar::{DAY_MS, HOUR_MS, UnixMs};
use crate::error::Error;
use crate::state::State;
use crate::store::facts;

/// Between two steps.
pub(super) const PERIOD: Duration = Duration::from_secs(10 * 60);
/// How far the believed time moves in one step.
const STEP_MS: i64 = 4 * HOUR_MS;
const FACT: &str = "believed time";

/// The believed time, as this process follows it.
#[derive(Debug, Default)]
pub struct BelievedTime {
    /// What was stored when this process looked last.
    stored: Option<UnixMs>,
    is_far: bool,
}

impl BelievedTime {
    /// Moves the stored time towards the clock, to be called once per period: the Unix ms to go by, or `None`
    /// when no time was stored yet.
    ///
    /// Several processes do not move it faster than one: it stays when another has moved it since the last call,
    /// and at the first call.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn advance(&mut self, state: &Arc<State>) -> Result<Option<UnixMs>, Error> {
        let now = state.clock.now();
        let mut transaction = state.store.write().await?;
        let text = facts::find(&mut transaction, FACT).await?;
        let stored = text.as_ref().and_then(|text| text.parse().ok()).map(UnixMs::new);
        let Some(stored) = stored else {
            facts::insert(&mut transaction, FACT, &now.get().to_string()).await?;
            transaction.commit().await?;
            self.stored = Some(now);
            return Ok(None);
        };
        let mut believed = stored;
        if self.stored == Some(stored) {
            let next = follow(stored, now);
            if facts::change(&mut transaction, FACT, &stored.get().to_string(), &next.get().to_string()).await? {
                believed = next;
            }
        }
        transaction.commit().await?;
        self.stored = Some(believed);
        self.warn_of_distance(believed, now);
        Ok(Some(believed.min(now)))
    }

    fn warn_of_distance(&mut self, believed: UnixMs, now: UnixMs) {
        let is_far = now.since(believed).abs() > DAY_MS;
        if is_far && !self.is_far {
            tracing::warn!(
                clock = now.rfc3339(),
                retention = believed.min(now).rfc3339(),
                "the clock is not where it was: the program did not run for a while, or the clock was moved. \
                 Retention, if any is set, follows it by a day per hour; if the clock is wrong, put it right now"
            );
        }
        self.is_far = is_far;
    }
}

fn follow(believed: UnixMs, clock: UnixMs) -> UnixMs {
    clock.clamp(believed.minus(STEP_MS), believed.plus(STEP_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_on_is_believed_and_one_that_jumps_is_followed_in_steps() {
        let start = 1_000 * STEP_MS;
        for (clock, expected) in [
            (start, start),
            (start + 600_000, start + 600_000),
            (start + STEP_MS + 1, start + STEP_MS),
            (i64::MAX, start + STEP_MS),
            (start - 600_000, start - 600_000),
            (0, start - STEP_MS),
        ] {
            assert_eq!(follow(UnixMs::new(start), UnixMs::new(clock)), UnixMs::new(expected), "{clock}");
        }
    }
}
