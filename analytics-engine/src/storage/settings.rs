//! How much is kept, for how long, and in which portions.

use std::time::Duration;

use super::schema::Stored;

/// How much is kept, and in which portions.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Rows of the tail after which it is flushed.
    pub flush_rows: usize,
    /// Bytes of memory of the tail after which it is flushed.
    pub flush_bytes: usize,
    /// Age of the tail's oldest row after which it is flushed.
    pub flush_after: Duration,
    /// Bytes of memory of the tail beyond which no events are taken: they wait in the log.
    pub most_tail_bytes: usize,
    /// Bytes of the files of events beyond which the oldest go.
    pub most_bytes: u64,
    /// For how many days what is kept.
    pub retention: Retention,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            flush_rows: 250_000,
            flush_bytes: 96 << 20,
            flush_after: Duration::from_secs(10),
            most_tail_bytes: 160 << 20,
            most_bytes: 64 << 30,
            retention: Retention::default(),
        }
    }
}

/// For how many days what is kept. Days end at midnight UTC; a month is kept until its last day is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Of verifications, of those without a key, and of gaps.
    pub verifications: Kept,
    /// Of decisions on limits.
    pub ratelimits: Kept,
}

/// For how many days tables of one kind of event are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The events themselves, and so what is counted from them per minute and hour.
    pub raw: u32,
    /// Sums per day, and those per hour, API or namespace, and outcome.
    pub day: u32,
    /// Sums per month.
    pub month: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            verifications: Kept { raw: 90, day: 365, month: 1096 },
            ratelimits: Kept { raw: 30, day: 100, month: 1096 },
        }
    }
}

impl Retention {
    /// For how many days rows of this table are kept.
    pub fn days(&self, table: Stored) -> u32 {
        match table {
            Stored::Verifications | Stored::Refusals => self.verifications.raw,
            Stored::VerificationsPerDay | Stored::VerificationsPerHour => self.verifications.day,
            // A sum without the events that are missing from it is no sum.
            Stored::VerificationsPerMonth | Stored::Gaps => self.verifications.month,
            Stored::Ratelimits => self.ratelimits.raw,
            Stored::RatelimitsPerDay | Stored::RatelimitsPerHour => self.ratelimits.day,
            Stored::RatelimitsPerMonth => self.ratelimits.month,
        }
    }
}
