//! What is counted of the connections of a listener.

use keyrack_core::measure::{Counter, Gauge};

/// Why the server ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// No request came for too long.
    Idle = 1,
    /// The head of a request took too long, or the first request did.
    HeadLate = 2,
    /// The client took nothing of an answer for too long.
    Stuck = 3,
    /// There were as many connections as may be, and it had nothing to do.
    ForAnother = 4,
}

impl Ended {
    /// Every reason.
    pub const ALL: [Ended; 4] = [Ended::Idle, Ended::HeadLate, Ended::Stuck, Ended::ForAnother];

    /// For logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Ended::Idle => "idle",
            Ended::HeadLate => "head_late",
            Ended::Stuck => "stuck",
            Ended::ForAnother => "for_another",
        }
    }
}

/// The counts of a listener.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    /// Connections that are open.
    pub open: Gauge,
    /// Connections that were taken.
    pub taken: Counter,
    /// Connections that were closed at once, because all others were busy.
    pub refused: Counter,
    /// How often the system did not give one.
    pub not_taken: Counter,
    /// Bodies that nobody wanted and that were read all the same, so that their connections went on.
    pub bodies_skipped: Counter,
    /// Bodies that nobody wanted and with which their connections ended.
    pub bodies_cut: Counter,
    by_end: [Counter; Ended::ALL.len()],
}

impl ConnectionCounts {
    /// Counts a connection that the server ended.
    pub fn ended(&self, why: Ended) {
        self.by_end[why as usize - 1].add(1);
    }

    /// Each reason to end a connection, with how often there was one.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Ended::ALL.into_iter().map(|why| (why.name(), self.by_end[why as usize - 1].value()))
    }
}
