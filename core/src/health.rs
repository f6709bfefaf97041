//! Whether this process should get requests, and what is wrong with it: what readiness answers from.
//!
//! Whoever finds a reason notes it here, and takes it back when it is over; whoever asks reads what is known
//! and waits for nothing. A reason stands for something that requests fail of, in words that may be read by
//! anybody: no addresses, no paths, no names.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::credits::Credits;
use crate::error::{Error, WriteFault};
use crate::metrics::Metrics;
use crate::schedule::Job;
use crate::state::State;

/// How long the database may take for a sign of life.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// How long the database may take over a group of deductions.
const DEDUCTION_LIMIT: Duration = Duration::from_secs(20);
/// So many failures of a job in a row are more than bad luck.
const FAILURES: u64 = 3;

/// What may be wrong with a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It was told to stop.
    ShuttingDown,
    /// The database gives no sign of life.
    DatabaseAway,
    /// The database file was removed or replaced.
    DatabaseFileMoved,
    /// The last write failed because there is no room.
    DiskFull,
    /// The last write failed for another reason.
    WritesFail,
    /// Deductions of credits wait for the database for too long.
    CreditsHang,
    /// Work that is done beside requests fails, panics or hangs again and again.
    WorkFails,
    /// What it holds in memory may be older than is promised.
    Stale,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 8] = [
        Reason::ShuttingDown,
        Reason::DatabaseAway,
        Reason::DatabaseFileMoved,
        Reason::DiskFull,
        Reason::WritesFail,
        Reason::CreditsHang,
        Reason::WorkFails,
        Reason::Stale,
    ];

    /// Whether requests are better sent elsewhere. Otherwise it is only said: what fails everywhere for one bad row
    /// must not take every process away.
    pub fn is_against_work(self) -> bool {
        self != Reason::WorkFails
    }

    /// For programs: `database_away`.
    pub fn name(self) -> &'static str {
        match self {
            Reason::ShuttingDown => "shutting_down",
            Reason::DatabaseAway => "database_away",
            Reason::DatabaseFileMoved => "database_file_moved",
            Reason::DiskFull => "disk_full",
            Reason::WritesFail => "writes_fail",
            Reason::CreditsHang => "credits_hang",
            Reason::WorkFails => "work_fails",
            Reason::Stale => "stale",
        }
    }

    /// For people: what is wrong.
    pub fn message(self) -> &'static str {
        match self {
            Reason::ShuttingDown => "The server is shutting down.",
            Reason::DatabaseAway => "The database does not answer.",
            Reason::DatabaseFileMoved => "The database file was removed or replaced: nothing is written.",
            Reason::DiskFull => "The disk is full: nothing can be written to the database.",
            Reason::WritesFail => "The database cannot be written.",
            Reason::CreditsHang => "Credits cannot be spent: the database takes too long over them.",
            Reason::WorkFails => "Work beside requests, such as refills, failed again and again.",
            Reason::Stale => "The server is catching up with the changes of other processes.",
        }
    }

    /// For people: what they can do, unless it ends by itself.
    pub fn fix(self) -> Option<&'static str> {
        match self {
            Reason::ShuttingDown | Reason::Stale => None,
            Reason::DatabaseAway => {
                Some("See that it runs and can be reached. The server goes on by itself when it is back.")
            }
            Reason::DatabaseFileMoved => Some(
                "Put the file back where it was, and the server goes on. To go on with another one, stop the server first.",
            ),
            Reason::CreditsHang => Some(
                "See what keeps the database from answering: a lock, a disk that hangs. The server goes on by itself.",
            ),
            Reason::WorkFails => Some(
                "The server's log names the work and the cause. Requests are answered meanwhile; it is tried again.",
            ),
            Reason::DiskFull => Some("Make room on the disk of the database. The server goes on by itself."),
            Reason::WritesFail => Some(
                "The server's log names the cause: a lock of another program, permissions, a disk that is read-only, a \
                 standby. The server goes on by itself when it is gone.",
            ),
        }
    }
}

/// The reasons that are known, if any.
#[derive(Debug, Default)]
pub struct Health(Mutex<BTreeSet<Reason>>);

impl Health {
    /// Notes whether a reason holds. A change is logged.
    pub fn note(&self, reason: Reason, holds: bool) {
        let changed = if holds { self.lock().insert(reason) } else { self.lock().remove(&reason) };
        match (changed, holds) {
            // Nobody has to mend anything.
            (true, true) if reason == Reason::ShuttingDown => {
                tracing::info!(reason = reason.name(), "not ready: {}", reason.message());
            }
            (true, true) => tracing::error!(reason = reason.name(), "not ready: {}", reason.message()),
            (true, false) => tracing::info!(reason = reason.name(), "over: {}", reason.message()),
            (false, _) => {}
        }
    }

    /// The reasons that hold.
    pub(crate) fn reasons(&self) -> Vec<Reason> {
        self.lock().iter().copied().collect()
    }

    /// Notes whether the ledger gets on, where a group of deductions may take so long, and whether scheduled work does.
    pub(crate) fn note_work(&self, credits: &Credits, metrics: &Metrics, deduction_limit: Duration) {
        self.note(Reason::CreditsHang, credits.busy_for() > deduction_limit);
        let runs = metrics.scheduled_runs();
        self.note(Reason::WorkFails, runs.iter().any(|(_, runs)| runs.failures_in_a_row >= FAILURES));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Reason>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the database again and again.
pub(crate) struct Look {
    pub(crate) state: Arc<State>,
    pub(crate) credits: Arc<Credits>,
    pub(crate) health: Arc<Health>,
}

impl Job for Look {
    const NAME: &'static str = "health";
    const PERIOD: Duration = Duration::from_millis(500);

    async fn run(&mut self) -> Result<(), Error> {
        let (store, health) = (&self.state.store, &self.health);
        let answered = tokio::time::timeout(ANSWER_LIMIT, store.ping()).await;
        if store.is_closed() {
            return Ok(());
        }
        health.note(Reason::DatabaseAway, !matches!(answered, Ok(Ok(()))));
        health.note(Reason::DatabaseFileMoved, store.check_file().is_err());
        health.note_work(&self.credits, &self.state.metrics, DEDUCTION_LIMIT);
        if store.write_fault().is_some() {
            // Whoever sends requests elsewhere while this process is not ready sends no write that could tell that
            // they work again.
            if let Ok(Err(error)) = tokio::time::timeout(ANSWER_LIMIT, store.try_to_write()).await {
                store.note_failure(&error);
            }
        }
        let fault = store.write_fault();
        health.note(Reason::DiskFull, fault == Some(WriteFault::DiskFull));
        health.note(Reason::WritesFail, fault == Some(WriteFault::Other));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::clock::Clock;
    use crate::keyrack::Keyrack;
    use crate::schedule::Scheduler;
    use crate::store::Location;

    /// Panics and hangs by turns until it is told that all is well.
    struct Troubled {
        is_well: Arc<AtomicBool>,
        runs: u32,
    }

    impl Job for Troubled {
        const NAME: &'static str = "troubled";
        const PERIOD: Duration = Duration::from_millis(5);
        const LONGEST_RUN: Duration = Duration::from_millis(10);

        async fn run(&mut self) -> Result<(), Error> {
            self.runs += 1;
            match (self.is_well.load(Ordering::SeqCst), self.runs % 2) {
                (true, _) => Ok(()),
                (false, 0) => panic!("of the test"),
                (false, _) => std::future::pending().await,
            }
        }
    }

    #[tokio::test]
    async fn work_that_panics_and_hangs_again_and_again_is_told_until_it_gets_on() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("keyrack.db"));
        let keyrack = Keyrack::open(&location, Clock::system()).await.unwrap();
        let is_well = Arc::new(AtomicBool::new(false));
        Scheduler::of(keyrack.state()).start(Troubled { is_well: is_well.clone(), runs: 0 });
        let failed = || keyrack.metrics().scheduled_runs().first().map_or(0, |(_, runs)| runs.failures_in_a_row);
        let told = || {
            keyrack.health().note_work(keyrack.credits(), keyrack.metrics(), DEDUCTION_LIMIT);
            keyrack.reasons()
        };
        assert_eq!(told(), []);
        while failed() < FAILURES {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(told(), [Reason::WorkFails]);
        assert!(!Reason::WorkFails.is_against_work(), "requests are answered meanwhile");
        is_well.store(true, Ordering::SeqCst);
        while failed() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(told(), []);
        keyrack.close().await;
    }

    #[test]
    fn a_reason_holds_until_it_is_taken_back() {
        let health = Health::default();
        for reason in Reason::ALL {
            health.note(reason, true);
            health.note(reason, true);
        }
        assert_eq!(health.reasons(), Reason::ALL);
        for reason in Reason::ALL {
            health.note(reason, false);
        }
        assert!(health.reasons().is_empty());
    }
}
