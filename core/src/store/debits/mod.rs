//! Deductions in groups: one transaction for all that came together, each with the outcome that it would
//! have had alone, in their order.
//!
//! The two engines go different ways here. SQLite runs in this process, so a statement per deduction is
//! cheap, on a connection that is called directly. PostgreSQL is a network away, so a group is one statement
//! that locks its balances, arithmetic in this process, and one statement that writes what became of them.

mod postgres;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;

pub(crate) use postgres::PostgresDebits;
pub(crate) use sqlite::{SqliteDebits, unavailable};

use crate::calendar::Calendar;

/// When a deduction counts as committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When the disk has it: a power cut loses nothing that was acknowledged.
    #[default]
    Full,
    /// When the database has it: the end of this program, however abrupt, loses nothing, but a power cut may
    /// lose what was acknowledged in the last moments, and with PostgreSQL so may a crash of its server.
    Normal,
}

/// A deduction that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Debit {
    /// The workspace of the key.
    pub(crate) workspace_id: Arc<str>,
    /// Whose balance it is.
    pub(crate) key_id: CompactString,
    /// How many credits; at least 1.
    pub(crate) cost: i64,
    /// The day whose refill is settled first, unless that is known to be done.
    pub(crate) refill: Option<Calendar>,
}

/// What became of a deduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Made; this is left.
    Made(i64),
    /// Not made: this is less than it costs.
    Refused(i64),
    /// Not due: the key has no balance.
    Unlimited,
    /// The key never had a balance, or is gone.
    NoBalance,
}

/// A group that was committed.
#[derive(Debug)]
pub(crate) struct Applied {
    /// In the order of the deductions.
    pub(crate) outcomes: Vec<Outcome>,
    /// How long the commit itself took.
    pub(crate) commit_took: Duration,
}

/// What makes deductions.
#[derive(Debug)]
pub(crate) enum Debits {
    /// Called directly.
    Sqlite(SqliteDebits),
    /// Awaited.
    Postgres(PostgresDebits),
}
