//! What is kept for how long, and the removal of what is older.

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
    /// Sums per day, and those per hour, API and outcome.
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
