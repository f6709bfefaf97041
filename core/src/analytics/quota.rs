//! How much of an hour's questions a workspace has asked.

use crate::calendar::{HOUR_MS, UnixMs};

/// Questions that a workspace may ask an engine in an hour.
pub const QUERIES: u32 = 1000;
/// How long an engine may be at work for a workspace in an hour, in ms.
pub const EXECUTION_MS: i64 = 1800 * 1000;

/// Reports that it may have made in an hour, which take less.
pub const REPORTS: u32 = 20_000;

/// What a workspace asked in the hour that is counted.
#[derive(Debug)]
pub(crate) struct Quota {
    /// Questions in an hour.
    most: u32,
    /// Hours since 1970.
    hour: i64,
    queries: u32,
    execution_ms: i64,
}

/// The quota is used up, and for how many seconds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsedUp {
    pub(crate) retry_after_seconds: u64,
}

impl Quota {
    /// So many questions an hour, and [`EXECUTION_MS`] for them together.
    pub(crate) fn of(most: u32) -> Self {
        Quota { most, hour: 0, queries: 0, execution_ms: 0 }
    }

    /// Counts a question, unless there is none left in this hour.
    pub(crate) fn begin(&mut self, now: UnixMs) -> Result<(), UsedUp> {
        self.turn(now);
        if self.queries >= self.most || self.execution_ms >= EXECUTION_MS {
            let left_ms = (self.hour + 1).saturating_mul(HOUR_MS).saturating_sub(now.get());
            return Err(UsedUp { retry_after_seconds: u64::try_from(left_ms / 1000).unwrap_or(0) + 1 });
        }
        self.queries += 1;
        Ok(())
    }

    /// Counts how long an answer took.
    pub(crate) fn took(&mut self, ms: i64) {
        self.execution_ms = self.execution_ms.saturating_add(ms);
    }

    fn turn(&mut self, now: UnixMs) {
        let hour = now.get().div_euclid(HOUR_MS);
        if hour != self.hour {
            *self = Quota { hour, ..Quota::of(self.most) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_has_so_many_questions_and_so_much_time_and_the_next_one_has_as_many() {
        let hour = UnixMs::new(500 * HOUR_MS);
        let mut quota = Quota::of(QUERIES);
        assert!((0..QUERIES).all(|_| quota.begin(hour).is_ok()));
        assert_eq!(quota.begin(hour.plus(HOUR_MS - 1500)), Err(UsedUp { retry_after_seconds: 2 }));
        assert_eq!(quota.begin(hour.plus(HOUR_MS)), Ok(()));
        quota.took(EXECUTION_MS - 1);
        assert_eq!(quota.begin(hour.plus(HOUR_MS)), Ok(()));
        quota.took(1);
        assert!(quota.begin(hour.plus(HOUR_MS)).is_err());
        assert_eq!(quota.begin(hour), Ok(()), "a clock that was set back");
    }
}
