//! The ledger: one writer that makes the deductions of this process in groups.
//!
//! It takes the deduction that waits longest and all that queued up behind it meanwhile, makes them in one
//! transaction, and answers when that is committed: acknowledged means committed. It never waits for a group
//! to fill; the last commit's duration fills the next group. The queue is bounded, so a database that does
//! not keep up refuses instead of filling memory. What must hold across processes is up to the database.
//!
//! It begins with the first deduction: a program that only reads has none.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{Code, Error};
use crate::metrics::Metrics;
use crate::resident::Key;
use crate::store::Store;
use crate::store::debits::{Applied, Debit, Debits, Durability, Outcome, PostgresDebits, SqliteDebits};

/// Deductions that may wait at a time.
const QUEUE: usize = 8192;
/// Deductions per transaction, so that other writers get their turn.
const GROUP: usize = 1024;

/// Takes deductions and answers when they are committed.
#[derive(Debug)]
pub(crate) struct Ledger {
    store: Store,
    durability: Durability,
    metrics: Arc<Metrics>,
    /// What makes the deductions, until they begin.
    prepared: Mutex<Option<Debits>>,
    shared: Arc<Shared>,
    running: OnceLock<Running>,
}

/// What others see of the one that writes.
#[derive(Debug)]
struct Shared {
    opened: Instant,
    /// When the group began that is made now, in ms since `opened`; [`IDLE`] when none is.
    busy_since_ms: AtomicU64,
}

const IDLE: u64 = u64::MAX;

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(IDLE - 1)
    }
}

/// A ledger that has begun.
#[derive(Debug)]
struct Running {
    queue: mpsc::Sender<Message>,
    /// Has no sender any more when the writer has ended.
    ended: watch::Receiver<()>,
}

#[derive(Debug)]
enum Message {
    Deduct(Debit, Waiter),
    /// Finish what was taken, and take no more.
    Stop,
}

/// Who waits for a deduction.
#[derive(Debug)]
struct Waiter {
    key: Arc<Key>,
    answer: oneshot::Sender<Result<Outcome, Error>>,
}

impl Ledger {
    pub(crate) fn new(store: Store, durability: Durability, metrics: Arc<Metrics>) -> Self {
        let prepared = Mutex::new(Some(store.debits(durability)));
        let shared = Arc::new(Shared { opened: Instant::now(), busy_since_ms: AtomicU64::new(IDLE) });
        Ledger { store, durability, metrics, prepared, shared, running: OnceLock::new() }
    }

    /// Makes a deduction from the balance of `key` with others in a group.
    ///
    /// # Errors
    /// Those of the group, or 503 when the queue is full or the ledger was closed.
    pub(super) async fn deduct(&self, debit: Debit, key: Arc<Key>) -> Result<Outcome, Error> {
        let (answer, answered) = oneshot::channel();
        let message = Message::Deduct(debit, Waiter { key, answer });
        self.running.get_or_init(|| self.start()).queue.try_send(message).map_err(|refused| {
            let reason = match refused {
                mpsc::error::TrySendError::Full(_) => {
                    "More deductions wait for the database than it keeps up with"
                }
                mpsc::error::TrySendError::Closed(_) => "The server is stopping",
            };
            Error::new(Code::ServiceUnavailable, format!("{reason}; nothing was spent. Try again shortly."))
                .retry_after(1)
        })?;
        answered.await.unwrap_or_else(|_| Err(Error::unknown_outcome("the ledger ended")))
    }

    /// How many deductions wait.
    pub(crate) fn waiting(&self) -> usize {
        self.running.get().map_or(0, |running| running.queue.max_capacity() - running.queue.capacity())
    }

    /// For how long the group takes that is made now; zero when none is.
    pub(crate) fn busy_for(&self) -> Duration {
        match self.shared.busy_since_ms.load(Ordering::Acquire) {
            IDLE => Duration::ZERO,
            since_ms => Duration::from_millis(self.shared.now_ms().saturating_sub(since_ms)),
        }
    }

    /// Makes and answers what was taken so far, and takes no more.
    pub(crate) async fn close(&self) {
        // One that never began begins with nothing, so that it does not begin later.
        let running = self.running.get_or_init(Running::over);
        // Fails when it has ended already.
        let _ = running.queue.send(Message::Stop).await;
        let mut ended = running.ended.clone();
        while ended.changed().await.is_ok() {}
        drop(self.take_prepared());
    }

    fn take_prepared(&self) -> Option<Debits> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn start(&self) -> Running {
        let (queue, messages) = mpsc::channel(QUEUE);
        let (alive, ended) = watch::channel(());
        let (metrics, shared) = (self.metrics.clone(), self.shared.clone());
        let writer = Writer { messages, metrics, is_failing: false, shared, _alive: alive };
        match self.take_prepared().unwrap_or_else(|| self.store.debits(self.durability)) {
            Debits::Sqlite(debits) => {
                let thread = std::thread::Builder::new().name("credits".to_owned());
                if let Err(error) = thread.spawn(move || writer.run_blocking(debits)) {
                    tracing::error!(%error, "there is no thread for deductions: all are refused");
                }
            }
            Debits::Postgres(debits) => {
                tokio::spawn(writer.run(debits));
            }
        }
        Running { queue, ended }
    }
}

impl Running {
    /// A ledger that has ended before it began.
    fn over() -> Running {
        Running { queue: mpsc::channel(1).0, ended: watch::channel(()).1 }
    }
}

/// The one that writes.
struct Writer {
    messages: mpsc::Receiver<Message>,
    metrics: Arc<Metrics>,
    is_failing: bool,
    shared: Arc<Shared>,
    _alive: watch::Sender<()>,
}

impl Writer {
    /// Makes deductions on a thread of its own until there can be no more.
    fn run_blocking(mut self, mut debits: SqliteDebits) {
        let mut messages = Vec::new();
        while self.messages.blocking_recv_many(&mut messages, GROUP) > 0 {
            let step = AssertUnwindSafe(|| {
                let (group, waiters) = self.group(&mut messages);
                self.began();
                let applied = debits.apply(&group);
                self.answer(&group, waiters, applied);
            });
            let outcome = std::panic::catch_unwind(step);
            self.ended(outcome, &mut messages);
        }
    }

    /// The same as a task.
    async fn run(mut self, mut debits: PostgresDebits) {
        let mut messages = Vec::new();
        while self.messages.recv_many(&mut messages, GROUP).await > 0 {
            let step = AssertUnwindSafe(async {
                let (group, waiters) = self.group(&mut messages);
                self.began();
                let applied = debits.apply(&group).await;
                self.answer(&group, waiters, applied);
            });
            let outcome = step.catch_unwind().await;
            self.ended(outcome, &mut messages);
        }
    }

    fn began(&self) {
        self.shared.busy_since_ms.store(self.shared.now_ms(), Ordering::Release);
    }

    /// After a group. Those who waited for one that panicked are told that its outcome is not known.
    fn ended(&mut self, step: std::thread::Result<()>, messages: &mut Vec<Message>) {
        self.shared.busy_since_ms.store(IDLE, Ordering::Release);
        if step.is_err() {
            messages.clear();
            self.metrics.credit_group_failures.add(1);
            tracing::error!("the ledger panicked over a group of deductions and goes on with the next");
        }
    }

    fn group(&mut self, messages: &mut Vec<Message>) -> (Vec<Debit>, Vec<Waiter>) {
        let deductions = messages.drain(..).filter_map(|message| match message {
            Message::Deduct(debit, waiter) => Some((debit, waiter)),
            Message::Stop => {
                // What is in the queue still comes.
                self.messages.close();
                None
            }
        });
        deductions.unzip()
    }

    fn answer(&mut self, group: &[Debit], waiters: Vec<Waiter>, applied: Result<Applied, Error>) {
        match applied {
            Ok(applied) => {
                self.metrics.credit_groups.note(group.len() as u64);
                self.metrics.credit_commits.note(applied.commit_took);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("credits can be spent again");
                }
                for ((debit, waiter), outcome) in group.iter().zip(waiters).zip(applied.outcomes) {
                    self.note(debit, &waiter.key, outcome);
                    // Fails when the client is gone; the deduction stands.
                    let _ = waiter.answer.send(Ok(outcome));
                }
            }
            Err(error) => {
                self.metrics.credit_group_failures.add(1);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(%error, "credits cannot be spent: every verification that costs some answers so");
                }
                for waiter in waiters {
                    waiter.key.balance.as_deref().inspect(|known| known.forget());
                    let _ = waiter.answer.send(Err(error.clone()));
                }
            }
        }
    }

    /// Counts an outcome, and keeps what it tells of the balance: here, where the order is that of the commits.
    fn note(&self, debit: &Debit, key: &Key, outcome: Outcome) {
        let Some(known) = key.balance.as_deref() else { return };
        let settled_on = debit.refill.map(|calendar| calendar.today);
        match outcome {
            Outcome::Made(balance) => {
                self.metrics.credits_spent.add(debit.cost.unsigned_abs());
                known.deducted(balance, settled_on);
            }
            Outcome::Refused(balance) => {
                self.metrics.credits_refused.add(debit.cost.unsigned_abs());
                known.deducted(balance, settled_on);
            }
            Outcome::Unlimited | Outcome::NoBalance => known.forget(),
        }
    }
}
