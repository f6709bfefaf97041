//! The ledger: one writer that makes the deductions of this process in groups.
//!
//! It takes the deduction that waits longest and all that queued up behind it meanwhile, makes them in one
//! transaction, and answers when that is committed: acknowledged means committed. It never waits for a group
//! to fill; the last commit's duration fills the next group. The queue is bounded, so a database that does
//! not keep up refuses instead of filling memory, and beyond half of it each workspace has its share
//! ([`Shares`]). What must hold across processes is up to the database.
//!
//! It begins with the first deduction: a program that only reads has none.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot, watch};

use super::numbers::Numbers;
use crate::error::{Code, Error};
use crate::resident::Key;
use crate::shares::{Share, Shares};
use crate::store::Store;
use crate::store::debits::{Applied, Debit, Debits, Durability, Outcome, PostgresDebits};

/// Deductions that may wait at a time.
const QUEUE: usize = 8192;
/// Deductions per transaction, so that other writers get their turn.
const GROUP: usize = 1024;

/// Takes deductions and answers when they are committed.
#[derive(Debug)]
pub(crate) struct Ledger {
    store: Store,
    durability: Durability,
    numbers: Arc<Numbers>,
    /// What makes the deductions, until they begin. Whoever begins them holds it.
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

    fn busy_for(&self) -> Duration {
        match self.busy_since_ms.load(Ordering::Acquire) {
            IDLE => Duration::ZERO,
            since_ms => Duration::from_millis(self.now_ms().saturating_sub(since_ms)),
        }
    }

    fn new() -> Arc<Shared> {
        Arc::new(Shared { opened: Instant::now(), busy_since_ms: AtomicU64::new(IDLE) })
    }
}

/// A ledger that has begun.
#[derive(Debug)]
struct Running {
    queue: Queue,
    /// Has no sender any more when the writer has ended.
    ended: watch::Receiver<()>,
}

/// The sending end of the queue.
#[derive(Debug)]
struct Queue {
    messages: mpsc::Sender<Message>,
    shares: Arc<Shares>,
}

/// Why a deduction has no place in the queue.
#[derive(Debug, PartialEq, Eq)]
enum NoPlace {
    /// The queue is full, or the workspace has its share of it.
    Full,
    Closed,
}

#[derive(Debug)]
enum Message {
    Deduct(Debit, Waiter, Share),
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
    pub(crate) fn new(store: Store, durability: Durability, numbers: Arc<Numbers>) -> Self {
        let prepared = Mutex::new(Some(store.debits(durability)));
        Ledger { store, durability, numbers, prepared, shared: Shared::new(), running: OnceLock::new() }
    }

    /// Makes a deduction from the balance of `key` with others in a group.
    ///
    /// # Errors
    /// Those of the group, or 503 when the queue is full, or the workspace has its share of it, or the ledger was
    /// closed, or the system has no thread for it.
    pub(super) async fn deduct(&self, debit: Debit, key: Arc<Key>) -> Result<Outcome, Error> {
        let (answer, answered) = oneshot::channel();
        let queue = &self.running()?.queue;
        queue.put(debit, Waiter { key, answer }).map_err(|refused| {
            let reason = match refused {
                NoPlace::Full => "More deductions wait for the database than it keeps up with",
                NoPlace::Closed => "The server is stopping",
            };
            Error::new(Code::ServiceUnavailable, format!("{reason}; nothing was spent. Try again shortly."))
                .retry_after(1)
        })?;
        answered.await.unwrap_or_else(|_| Err(Error::unknown_outcome("the ledger ended")))
    }

    /// What takes deductions, which begins if it has not. Where that fails, the next one tries again.
    fn running(&self) -> Result<&Running, Error> {
        if let Some(running) = self.running.get() {
            return Ok(running);
        }
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        match self.running.get() {
            Some(running) => Ok(running),
            None => {
                let debits = prepared.take().unwrap_or_else(|| self.store.debits(self.durability));
                let running = self.start(debits)?;
                Ok(self.running.get_or_init(|| running))
            }
        }
    }

    /// How many deductions wait.
    pub(crate) fn waiting(&self) -> usize {
        self.running.get().map_or(0, |running| running.queue.waiting())
    }

    /// For how long the group takes that is made now; zero when none is.
    pub(crate) fn busy_for(&self) -> Duration {
        self.shared.busy_for()
    }

    /// Makes and answers what was taken so far, and takes no more.
    pub(crate) async fn close(&self) {
        // One that never began begins with nothing, so that it does not begin later.
        let running = {
            let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
            drop(prepared.take());
            self.running.get_or_init(Running::over)
        };
        // Fails when it has ended already.
        let _ = running.queue.messages.send(Message::Stop).await;
        let mut ended = running.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    fn start(&self, debits: Debits) -> Result<Running, Error> {
        let (queue, messages) = Queue::of(QUEUE);
        let (alive, ended) = watch::channel(());
        let (numbers, shared) = (self.numbers.clone(), self.shared.clone());
        let shares = queue.shares.clone();
        let writer = Writer { messages, shares, numbers, is_failing: false, shared, _alive: alive };
        match debits {
            Debits::Sqlite(mut debits) => {
                let thread = std::thread::Builder::new().name("credits".to_owned());
                thread.spawn(move || writer.run_blocking(|group| debits.apply(group))).map_err(|error| {
                    self.numbers.group_failures.add(1);
                    tracing::error!(%error, "there is no thread for deductions");
                    Error::new(
                        Code::ServiceUnavailable,
                        "The system has no thread for deductions; nothing was spent. Try again shortly.",
                    )
                    .retry_after(1)
                })?;
            }
            Debits::Postgres(debits) => {
                tokio::spawn(writer.run(debits));
            }
        }
        Ok(Running { queue, ended })
    }
}

impl Running {
    /// A ledger that has ended before it began.
    fn over() -> Running {
        Running { queue: Queue::of(1).0, ended: watch::channel(()).1 }
    }
}

impl Queue {
    /// A queue with this many places, and its receiving end.
    fn of(places: usize) -> (Queue, mpsc::Receiver<Message>) {
        let (messages, receiver) = mpsc::channel(places);
        (Queue { messages, shares: Arc::new(Shares::of(places)) }, receiver)
    }

    fn waiting(&self) -> usize {
        self.messages.max_capacity() - self.messages.capacity()
    }

    fn put(&self, debit: Debit, waiter: Waiter) -> Result<(), NoPlace> {
        let Some(share) = self.shares.take(&debit.workspace_id, self.waiting()) else {
            return Err(NoPlace::Full);
        };
        let (message, reason) = match self.messages.try_send(Message::Deduct(debit, waiter, share)) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Full(message)) => (message, NoPlace::Full),
            Err(mpsc::error::TrySendError::Closed(message)) => (message, NoPlace::Closed),
        };
        if let Message::Deduct(_, _, share) = message {
            self.shares.give_back(share);
        }
        Err(reason)
    }
}

/// The one that writes.
struct Writer {
    messages: mpsc::Receiver<Message>,
    shares: Arc<Shares>,
    numbers: Arc<Numbers>,
    is_failing: bool,
    shared: Arc<Shared>,
    _alive: watch::Sender<()>,
}

impl Writer {
    /// Makes deductions on a thread of its own until there can be no more, each group with `apply`.
    fn run_blocking(mut self, mut apply: impl FnMut(&[Debit]) -> Result<Applied, Error>) {
        let mut messages = Vec::new();
        while self.messages.blocking_recv_many(&mut messages, GROUP) > 0 {
            let step = AssertUnwindSafe(|| {
                let (group, waiters) = self.group(&mut messages);
                self.began();
                let applied = apply(&group);
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
            self.numbers.group_failures.add(1);
            tracing::error!("the ledger panicked over a group of deductions and goes on with the next");
        }
    }

    fn group(&mut self, messages: &mut Vec<Message>) -> (Vec<Debit>, Vec<Waiter>) {
        let deductions = messages.drain(..).filter_map(|message| match message {
            Message::Deduct(debit, waiter, share) => {
                self.shares.give_back(share);
                Some((debit, waiter))
            }
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
                self.numbers.groups.note(group.len() as u64);
                self.numbers.commits.note(applied.commit_took);
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
                self.numbers.group_failures.add(1);
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
                self.numbers.spent.add(debit.cost.unsigned_abs());
                known.deducted(balance, settled_on);
            }
            Outcome::Refused(balance) => {
                self.numbers.refused.add(debit.cost.unsigned_abs());
                known.deducted(balance, settled_on);
            }
            Outcome::Unlimited | Outcome::NoBalance => known.forget(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::health::Reason;
    use crate::keyrack::Keyrack;
    use crate::resident::{Access, NEVER, Place};
    use crate::store::Location;

    fn key(workspace_id: &str) -> Arc<Key> {
        let place =
            Place { workspace_id: workspace_id.into(), api_id: "api_1".into(), pending_migration_id: None };
        let access = Access { permissions: Box::default(), roles: Box::default() };
        Arc::new(Key {
            id: "key_1".into(),
            place: Arc::new(place),
            name: None,
            identity_id: None,
            meta: None,
            enabled: true,
            expires_at: NEVER,
            balance: None,
            access: Arc::new(access),
            ratelimits: Box::default(),
        })
    }

    /// How many of so many deductions of a workspace have a place.
    fn put(queue: &Queue, workspace_id: &str, deductions: usize) -> usize {
        let key = key(workspace_id);
        let put = |_: &usize| {
            let workspace_id = key.place.workspace_id.clone();
            let debit = Debit { workspace_id, key_id: key.id.clone(), cost: 1, refill: None };
            queue.put(debit, Waiter { key: key.clone(), answer: oneshot::channel().0 }).is_ok()
        };
        (0..deductions).filter(put).count()
    }

    #[test]
    fn a_flood_of_deductions_of_one_workspace_leaves_room_for_those_of_others() {
        let (queue, mut messages) = Queue::of(QUEUE);
        let loud = put(&queue, "ws_loud", 2 * QUEUE);
        assert!((QUEUE / 2..QUEUE * 6 / 10).contains(&loud), "{loud} of {QUEUE}");
        assert_eq!(put(&queue, "ws_quiet", 150), 150);
        assert_eq!(put(&queue, "ws_loud", 1000), 0, "it has its share");
        // Whoever takes them out gives their places back.
        while let Ok(message) = messages.try_recv() {
            let Message::Deduct(_, _, share) = message else { panic!("nobody stops it") };
            queue.shares.give_back(share);
        }
        assert_eq!(queue.waiting(), 0);
        assert_eq!(put(&queue, "ws_loud", 2 * QUEUE), loud);
    }

    #[test]
    fn what_a_closed_queue_refuses_takes_no_share() {
        let (queue, messages) = Queue::of(QUEUE);
        put(&queue, "ws_1", QUEUE);
        drop(messages);
        assert_eq!(put(&queue, "ws_2", QUEUE), 0);
    }

    /// Asks for a deduction: where its answer comes.
    fn ask(queue: &Queue) -> oneshot::Receiver<Result<Outcome, Error>> {
        let (key, (answer, answered)) = (key("ws_1"), oneshot::channel());
        let workspace_id = key.place.workspace_id.clone();
        let debit = Debit { workspace_id, key_id: key.id.clone(), cost: 1, refill: None };
        queue.put(debit, Waiter { key, answer }).unwrap();
        answered
    }

    #[test]
    fn a_group_that_panics_is_counted_and_told_and_one_that_hangs_is_seen_while_the_ledger_goes_on() {
        let (queue, messages) = Queue::of(QUEUE);
        let (alive, ended) = watch::channel(());
        let (numbers, shared) = (Arc::new(Numbers::default()), Shared::new());
        let writer = Writer {
            messages,
            shares: queue.shares.clone(),
            numbers: numbers.clone(),
            is_failing: false,
            shared: shared.clone(),
            _alive: alive,
        };
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let mut groups = 0;
        let thread = std::thread::spawn(move || {
            writer.run_blocking(|group| {
                groups += 1;
                assert_ne!(groups, 1, "of the test");
                wait.recv().unwrap();
                Ok(Applied { outcomes: vec![Outcome::Made(5); group.len()], commit_took: Duration::ZERO })
            });
        });
        let told = ask(&queue).blocking_recv().map_err(|_| ());
        assert!(told.is_err(), "nobody knows what became of it: {told:?}");
        // They are told while the thread is still on its way out of the panic.
        while numbers.group_failures.value() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut answered = ask(&queue);
        while shared.busy_for() < Duration::from_millis(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(numbers.group_failures.value(), 1);
        assert!(answered.try_recv().is_err(), "it hangs");
        go_on.send(()).unwrap();
        assert_eq!(answered.blocking_recv().unwrap().unwrap(), Outcome::Made(5));
        drop(queue);
        thread.join().unwrap();
        assert_eq!(shared.busy_for(), Duration::ZERO);
        assert!(ended.has_changed().is_err(), "it has ended");
    }

    #[tokio::test]
    async fn deductions_that_hang_are_a_reason_not_to_be_ready_until_they_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyrack.db");
        let keyrack = Keyrack::open(&Location::Sqlite(path.clone()), Clock::system()).await.unwrap();
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let (asking, key) = (keyrack.clone(), key("ws_1"));
        let workspace_id = key.place.workspace_id.clone();
        let debit = Debit { workspace_id, key_id: key.id.clone(), cost: 1, refill: None };
        let waiting = tokio::spawn(async move { asking.credits().ledger.deduct(debit, key).await });
        let limit = Duration::from_millis(50);
        let hangs = || {
            keyrack.health().note_work(keyrack.credits(), keyrack.metrics(), limit);
            keyrack.reasons().contains(&Reason::CreditsHang)
        };
        assert!(!hangs());
        while keyrack.credits().busy_for() <= limit {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(hangs());
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), Outcome::NoBalance);
        // The one that writes answers before it notes that it is done.
        while keyrack.credits().busy_for() > Duration::ZERO {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!hangs());
        keyrack.close().await;
    }
}
