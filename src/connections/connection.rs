//! One connection: what is known of it, and its task.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering, fence};
use std::task::Waker;

use keyrack_http_api::connections::Ended;

use super::Limits;
use super::unread::Unread;

/// What is known of a connection. Flags are set by its own task; looks count.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// A request is being answered.
    is_busy: AtomicBool,
    /// A request was answered before.
    was_used: AtomicBool,
    /// Bytes came after the last head: the beginning of another, unless a request is being answered.
    has_bytes: AtomicBool,
    /// The client does not take what is written.
    is_blocked: AtomicBool,
    /// Something came or was taken since the last look.
    moved: AtomicBool,
    /// Looks in a row without a request.
    waiting: AtomicU32,
    /// Looks in a row without a request in which nothing moved.
    still: AtomicU32,
    /// Looks in a row that found a head that was not complete.
    incomplete: AtomicU32,
    /// Why it is to end now, as a number of [`Ended`]; [`GOES_ON`] if it is not.
    ended: AtomicU8,
    /// It is to end after the request that is being answered.
    is_to_end: AtomicBool,
    /// Its task, from the first time that it ran: always the same one.
    task: OnceLock<Waker>,
    pub(super) unread: Unread,
}

/// No reason to end: zero, so that it is the default.
const GOES_ON: u8 = 0;

impl Connection {
    /// Notes the task in which it is served, which is always the same one.
    pub(super) fn runs_as(&self, task: &Waker) {
        if self.task.get().is_none() {
            let _ = self.task.set(task.clone());
            // Either whoever ends it finds the task, or the task finds that it is to end.
            fence(Ordering::SeqCst);
        }
    }

    /// Notes that a request is being answered, until what it gives is dropped.
    pub(super) fn busy(&self) -> Busy<'_> {
        self.is_busy.store(true, Ordering::Relaxed);
        Busy(self)
    }

    /// Notes that bytes came.
    pub(super) fn came(&self) {
        self.has_bytes.store(true, Ordering::Relaxed);
        self.moved.store(true, Ordering::Relaxed);
    }

    /// Notes whether its client took what was written.
    pub(super) fn was_taken(&self, taken: bool) {
        self.is_blocked.store(!taken, Ordering::Relaxed);
        if taken {
            self.moved.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it has nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_busy.load(Ordering::Relaxed) && !self.is_blocked.load(Ordering::Relaxed)
    }

    /// Whether it is about to end.
    pub(super) fn is_ending(&self) -> bool {
        self.ended.load(Ordering::Relaxed) != GOES_ON
    }

    /// The greater, the sooner it goes for another: by the time without a request, then one that never had any.
    pub(super) fn idle_rank(&self) -> (u32, bool) {
        (self.waiting.load(Ordering::Relaxed), !self.was_used.load(Ordering::Relaxed))
    }

    /// Notes what it does, and ends it if it did nothing for too long. Nobody else counts.
    pub(super) fn look(&self, limits: &Limits) {
        if self.is_busy.load(Ordering::Relaxed) {
            return;
        }
        let count = |looks: &AtomicU32, goes_on: bool| {
            let count = if goes_on { looks.load(Ordering::Relaxed).saturating_add(1) } else { 0 };
            looks.store(count, Ordering::Relaxed);
            count
        };
        let is_blocked = self.is_blocked.load(Ordering::Relaxed);
        let waiting = count(&self.waiting, true);
        let still = count(&self.still, !self.moved.swap(false, Ordering::Relaxed));
        let incomplete = count(&self.incomplete, self.has_bytes.load(Ordering::Relaxed) && !is_blocked);
        let unused = if self.was_used.load(Ordering::Relaxed) { 0 } else { waiting };
        if still > limits.idle_looks() {
            self.end(if is_blocked { Ended::Stuck } else { Ended::Idle });
        } else if !is_blocked && incomplete.max(unused) > limits.head_looks() {
            self.end(Ended::HeadLate);
        }
    }

    /// Ends it now, unless a request comes first.
    pub(super) fn end(&self, why: Ended) {
        self.ended.store(why as u8, Ordering::Relaxed);
        self.wake();
    }

    /// Ends it after the request that is being answered, if any.
    pub(super) fn end_gently(&self) {
        self.is_to_end.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }

    pub(super) fn is_to_end_gently(&self) -> bool {
        self.is_to_end.load(Ordering::Acquire)
    }

    /// Why it ends now, if it does. Its own task asks, in which no request can begin meanwhile; one that began
    /// before, or a client that goes on taking an answer, keeps it.
    pub(super) fn ending(&self) -> Option<Ended> {
        let number = self.ended.load(Ordering::Relaxed);
        if number == GOES_ON {
            return None;
        }
        self.ended.store(GOES_ON, Ordering::Relaxed);
        let why = Ended::ALL.into_iter().find(|why| *why as u8 == number)?;
        let is_blocked = self.is_blocked.load(Ordering::Relaxed);
        let goes_on = self.is_busy.load(Ordering::Relaxed) || is_blocked != (why == Ended::Stuck);
        (!goes_on).then_some(why)
    }
}

/// A request that is being answered.
pub(super) struct Busy<'a>(&'a Connection);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let Busy(connection) = self;
        connection.waiting.store(0, Ordering::Relaxed);
        connection.incomplete.store(0, Ordering::Relaxed);
        connection.was_used.store(true, Ordering::Relaxed);
        connection.has_bytes.store(false, Ordering::Relaxed);
        connection.moved.store(true, Ordering::Relaxed);
        connection.is_busy.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: Limits = Limits { connections: 1, idle: Duration::from_secs(20) };

    /// Looks until it is to end: after how many, and why.
    fn ends(connection: &Connection, mut between: impl FnMut()) -> Option<(u32, Ended)> {
        (1..100).find_map(|looks| {
            between();
            connection.look(&LIMITS);
            Some((looks, connection.ending()?))
        })
    }

    fn used() -> Connection {
        let connection = Connection::default();
        drop(connection.busy());
        connection
    }

    #[test]
    fn a_connection_ends_when_it_does_nothing_for_too_long() {
        let (idle, head) = (LIMITS.idle_looks(), LIMITS.head_looks());
        assert_eq!((idle, head), (20, 10));
        assert_eq!(ends(&Connection::default(), || {}), Some((head + 1, Ended::HeadLate)), "no first request");
        let trickling = Connection::default();
        assert_eq!(ends(&trickling, || trickling.came()), Some((head + 1, Ended::HeadLate)));
        // The first look still sees the end of the request.
        assert_eq!(ends(&used(), || {}), Some((idle + 2, Ended::Idle)), "no other request");
        let half = used();
        half.came();
        assert_eq!(ends(&half, || {}), Some((head + 1, Ended::HeadLate)), "half of another head");
        let stuck = used();
        stuck.was_taken(false);
        assert_eq!(ends(&stuck, || {}), Some((idle + 2, Ended::Stuck)), "an answer that nobody takes");
    }

    #[test]
    fn a_connection_stays_as_long_as_something_goes_on() {
        let busy = used();
        let request = busy.busy();
        assert_eq!(ends(&busy, || {}), None, "a request is being answered");
        drop(request);
        let slow = used();
        let mut turn = 0;
        let take = || {
            turn += 1;
            slow.was_taken(turn % 15 == 0);
        };
        assert_eq!(ends(&slow, take), None, "the client takes a little now and then");
        let often = used();
        let ask_and_begin_another = || {
            drop(often.busy());
            often.came();
        };
        assert_eq!(ends(&often, ask_and_begin_another), None, "one request after the other");
    }

    #[test]
    fn what_comes_just_in_time_keeps_a_connection() {
        let connection = used();
        connection.end(Ended::Idle);
        let request = connection.busy();
        assert_eq!(connection.ending(), None);
        drop(request);
        assert_eq!(connection.ending(), None);
        connection.was_taken(false);
        connection.end(Ended::Stuck);
        connection.was_taken(true);
        assert_eq!(connection.ending(), None);
    }
}
