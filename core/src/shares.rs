//! Shares of a bounded queue: no workspace takes all of it.
//!
//! While a queue is at most half full, nobody is asked anything: that costs one comparison. Beyond, a workspace
//! may have an eighth of the places that are still free, and of the last sixteenth of the queue only a place that is
//! its first, so that some are left for others however many are loud. What it put in before does not count: a burst
//! by one workspace alone is refused no sooner than has to be.
//!
//! Counting takes no lock: a workspace has two of some thousand counters, and takes the one that counts less.
//! Whoever meets a loud workspace in one of them still has the other.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU32, Ordering};

use foldhash::quality::RandomState;

/// Counters; a power of two that a [`Share`] can name.
const COUNTERS: usize = 1 << 12;
/// What part of the free places a counter may count: half of a workspace's eighth.
const PART: usize = 16;
/// What part of the queue is for those who have no place beyond its half yet.
const RESERVE: usize = 16;

/// Who has how many places in one queue.
#[derive(Debug)]
pub(crate) struct Shares {
    places: usize,
    counters: Box<[AtomicU32]>,
    /// Seeded, so that nobody can name a workspace whose counters are a victim's.
    hasher: RandomState,
}

/// A place in the queue; who takes it out of the queue gives it back.
#[derive(Debug)]
#[must_use]
pub(crate) struct Share(Option<u16>);

impl Shares {
    /// Shares of a queue with this many places.
    pub(crate) fn of(places: usize) -> Self {
        Shares {
            places,
            counters: (0..COUNTERS).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::default(),
        }
    }

    /// A place for something of this workspace, while so many wait; `None` when it has its share.
    pub(crate) fn take(&self, workspace_id: &str, waiting: usize) -> Option<Share> {
        if waiting <= self.places / 2 {
            return Some(Share(None));
        }
        let free = self.places.saturating_sub(waiting);
        let most = if free > self.places / RESERVE { free / PART } else { 0 };
        let hash = self.hasher.hash_one(workspace_id);
        let counter = self.emptier(counter(hash), counter(hash >> 32));
        let before = self.counters[usize::from(counter)].fetch_add(1, Ordering::Relaxed);
        let share = Share(Some(counter));
        if before as usize <= most {
            return Some(share);
        }
        self.give_back(share);
        None
    }

    /// Gives a place back, which is free again.
    pub(crate) fn give_back(&self, share: Share) {
        if let Share(Some(counter)) = share {
            self.counters[usize::from(counter)].fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn emptier(&self, one: u16, other: u16) -> u16 {
        let count = |counter: u16| self.counters[usize::from(counter)].load(Ordering::Relaxed);
        if count(other) < count(one) { other } else { one }
    }
}

/// The counter that the low bits of a hash name.
fn counter(hash: u64) -> u16 {
    u16::try_from(hash % COUNTERS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: usize = 8192;

    /// A queue that nobody empties.
    struct Queue {
        shares: Shares,
        taken: Vec<Share>,
    }

    impl Queue {
        fn new() -> Self {
            Queue { shares: Shares::of(PLACES), taken: Vec::new() }
        }

        /// How many of so many attempts of a workspace have a place.
        fn put(&mut self, workspace_id: &str, attempts: usize) -> usize {
            let before = self.taken.len();
            for _ in 0..attempts {
                if self.taken.len() < PLACES {
                    self.taken.extend(self.shares.take(workspace_id, self.taken.len()));
                }
            }
            self.taken.len() - before
        }
    }

    #[test]
    fn one_workspace_has_half_of_the_queue_and_an_eighth_of_the_rest() {
        let mut queue = Queue::new();
        let loud = queue.put("ws_loud", 10 * PLACES);
        // An eighth of what is free then: half a queue less what it took itself.
        let beyond = PLACES / 2 / 9;
        assert!((PLACES / 2 + beyond / 2..PLACES / 2 + beyond + 20).contains(&loud), "{loud}");
        assert_eq!(queue.put("ws_quiet", 150), 150);
    }

    #[test]
    fn a_hundred_loud_workspaces_leave_places_for_quiet_ones() {
        let mut queue = Queue::new();
        for round in 0..100 {
            for loud in 0..100 {
                queue.put(&format!("ws_loud_{loud}"), if round == 0 { PLACES } else { 100 });
            }
        }
        let quiet: usize = (0..50).map(|quiet| queue.put(&format!("ws_quiet_{quiet}"), 1)).sum();
        // Few, if any, meet loud ones in both of their counters.
        assert!(quiet > 45, "{quiet}; {} of {PLACES} places are taken", queue.taken.len());
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut queue = Queue::new();
        let first = queue.put("ws_1", 10 * PLACES);
        while let Some(share) = queue.taken.pop() {
            queue.shares.give_back(share);
        }
        assert!(queue.shares.counters.iter().all(|count| count.load(Ordering::Relaxed) == 0));
        assert_eq!(queue.put("ws_1", 10 * PLACES), first);
    }
}
