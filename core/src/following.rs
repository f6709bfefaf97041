//! How well this process follows the changes of its workspaces: what memory knows of each, and since when it may
//! be behind.
//!
//! Every request asks whether memory may be older than what is promised. So nothing here is a lock to those who
//! ask: they load two numbers, and look at their workspace only when some workspace is behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio::sync::{Mutex, RwLock};

use crate::clock::Stopwatch;
use crate::measure::{Counter, Gauge};
use crate::turns::Turns;

/// How old the last look at others' changes may be, unless a setting says otherwise.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(10);

/// The generation of what was read by a reload that did not end: older than every other.
pub(crate) const UNKNOWN: i64 = -1;

const NEVER: u64 = u64::MAX;
/// Since when memory is behind that misses a change of this process: for too long already.
const LOST: u64 = 0;

/// How well this process follows changes.
#[derive(Debug)]
pub(crate) struct Following {
    workspaces: papaya::HashMap<String, Arc<Followed>, RandomState>,
    /// Held shared while a workspace is followed, alone while everything is read anew.
    pub(crate) whole: RwLock<()>,
    /// When the generations of all workspaces were read last, in ms since `opened`; [`NEVER`] before the
    /// background work began.
    looked_ms: AtomicU64,
    /// How many workspaces are behind.
    behind: AtomicUsize,
    is_reloading: AtomicBool,
    opened: Stopwatch,
    stale_after: Duration,
    /// Generations that the last look found and that are not followed yet.
    pub(crate) generations_behind: Gauge,
    /// How often the changes of other processes could not be read.
    pub(crate) failures: Counter,
}

/// What memory knows of a workspace.
#[derive(Debug)]
pub(crate) struct Followed {
    /// Held from before the feed is read until memory has what it says, so an older state never overwrites a
    /// newer.
    pub(crate) memory: Mutex<()>,
    /// The turn to change the workspace. Its row in the database is the lock; this keeps those who wait for it
    /// from holding a connection each, and lets workspaces take turns.
    pub(crate) turns: Turns<()>,
    /// Held by the one request that makes what many want at the same moment, such as the namespace of a first call;
    /// the others wait, find it made, and ask for no turn.
    pub(crate) making: Mutex<()>,
    /// The generation that memory has; changed under `memory` only.
    known: AtomicI64,
    /// Since when memory is known to be behind, in ms since the start; [`NEVER`] when it is not.
    behind_since_ms: AtomicU64,
}

impl Following {
    pub(crate) fn new(generations: Vec<(String, i64)>, stale_after: Duration) -> Self {
        let following = Following {
            workspaces: papaya::HashMap::default(),
            whole: RwLock::default(),
            looked_ms: AtomicU64::new(NEVER),
            behind: AtomicUsize::new(0),
            is_reloading: AtomicBool::new(false),
            opened: Stopwatch::start(),
            stale_after,
            generations_behind: Gauge::default(),
            failures: Counter::default(),
        };
        following.reloaded(generations);
        following
    }

    /// A workspace; one that nobody asked for before is known up to its beginning.
    pub(crate) fn of(&self, workspace_id: &str) -> Arc<Followed> {
        let workspaces = self.workspaces.pin();
        if let Some(known) = workspaces.get(workspace_id) {
            return known.clone();
        }
        workspaces.get_or_insert_with(workspace_id.to_owned(), || Arc::new(Followed::at(0))).clone()
    }

    /// Ms since `opened`, at least 1: see [`Following::lost`].
    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).map_or(NEVER - 1, |ms| ms.max(1))
    }

    /// Notes that the generations of all workspaces were read just now: the workspaces that are not where memory
    /// is, and by how many generations. One that is gone and was known counts as one.
    pub(crate) fn looked(&self, generations: &[(String, i64)]) -> Vec<(String, u64)> {
        let now_ms = self.now_ms();
        // A difference may be as old as the last look, which found none or began to count.
        let since_ms = match self.looked_ms.load(Ordering::Acquire) {
            NEVER => now_ms,
            looked_ms => looked_ms,
        };
        let mut differing = Vec::new();
        for (workspace_id, generation) in generations {
            let followed = self.of(workspace_id);
            let distance = followed.known().abs_diff(*generation);
            if distance > 0 {
                self.fell_behind(&followed, since_ms);
            }
            // One that is behind without a difference lost a change that did not happen: that is to be seen, too.
            if followed.is_behind() {
                differing.push((workspace_id.clone(), distance));
            }
        }
        let workspaces = self.workspaces.pin();
        if workspaces.len() > generations.len() {
            let there: std::collections::HashSet<&str> = generations.iter().map(|(id, _)| id.as_str()).collect();
            let gone = workspaces.iter().filter(|(id, followed)| {
                (followed.known() != 0 || followed.is_behind()) && !there.contains(id.as_str())
            });
            differing.extend(gone.map(|(id, _)| (id.clone(), 1)));
        }
        self.looked_ms.store(now_ms, Ordering::Release);
        differing
    }

    fn fell_behind(&self, followed: &Followed, since_ms: u64) {
        // Whoever was behind before stays behind since then.
        if followed.behind_since_ms.fetch_min(since_ms, Ordering::AcqRel) == NEVER {
            self.behind.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Notes that a change of a workspace is done and memory does not have it: from now on nothing is answered
    /// from memory there.
    pub(crate) fn lost(&self, followed: &Followed) {
        self.fell_behind(followed, LOST);
    }

    /// Notes that memory has all of a workspace up to a generation.
    pub(crate) fn caught_up(&self, followed: &Followed, generation: i64) {
        followed.known.store(generation, Ordering::Release);
        if followed.behind_since_ms.swap(NEVER, Ordering::AcqRel) != NEVER {
            self.behind.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Notes that everything is read anew: until that is done, an answer would be one from before.
    pub(crate) fn is_reloading(&self) {
        self.is_reloading.store(true, Ordering::Release);
    }

    /// Notes that memory has all of every workspace up to these generations.
    pub(crate) fn reloaded(&self, generations: Vec<(String, i64)>) {
        // What is gone by now is as if it had never been.
        for (_, followed) in &self.workspaces.pin() {
            self.caught_up(followed, 0);
        }
        for (workspace_id, generation) in generations {
            self.caught_up(&self.of(&workspace_id), generation);
        }
        self.is_reloading.store(false, Ordering::Release);
    }

    /// How long ago the generations of all workspaces were read; `None` before the first time.
    pub(crate) fn age(&self) -> Option<Duration> {
        let looked_ms = self.looked_ms.load(Ordering::Acquire);
        (looked_ms != NEVER).then(|| self.opened.elapsed().saturating_sub(Duration::from_millis(looked_ms)))
    }

    /// Whether memory may be older than what is promised, whatever the workspace.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_reloading.load(Ordering::Acquire) || self.age().is_some_and(|age| age > self.stale_after)
    }

    /// Whether memory may be older in a workspace than what is promised, because a change that is known of is
    /// not there yet.
    pub(crate) fn is_stale_in(&self, workspace_id: &str) -> bool {
        if self.behind.load(Ordering::Acquire) == 0 {
            return false;
        }
        let workspaces = self.workspaces.pin();
        workspaces.get(workspace_id).is_some_and(|followed| self.is_too_far_behind(followed))
    }

    /// Whether that is so in any workspace.
    pub(crate) fn is_stale_anywhere(&self) -> bool {
        self.behind.load(Ordering::Acquire) > 0
            && self.workspaces.pin().values().any(|followed| self.is_too_far_behind(followed))
    }

    fn is_too_far_behind(&self, followed: &Followed) -> bool {
        match followed.behind_since_ms.load(Ordering::Acquire) {
            NEVER => false,
            LOST => true,
            since_ms => {
                self.now_ms().saturating_sub(since_ms)
                    > u64::try_from(self.stale_after.as_millis()).unwrap_or(NEVER)
            }
        }
    }
}

impl Followed {
    fn at(generation: i64) -> Self {
        Followed {
            memory: Mutex::default(),
            turns: Turns::of(()),
            making: Mutex::default(),
            known: AtomicI64::new(generation),
            behind_since_ms: AtomicU64::new(NEVER),
        }
    }

    /// Notes that what memory has is from no generation: a reload has begun, and until one ends all is to be read.
    pub(crate) fn is_of_no_generation(&self) {
        self.known.store(UNKNOWN, Ordering::Release);
    }

    fn is_behind(&self) -> bool {
        self.behind_since_ms.load(Ordering::Acquire) != NEVER
    }

    /// The generation that memory has; [`UNKNOWN`] while everything has to be read anew.
    pub(crate) fn known(&self) -> i64 {
        self.known.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn following(stale_after: Duration) -> Following {
        Following::new(vec![("ws_a".to_owned(), 3), ("ws_b".to_owned(), 7)], stale_after)
    }

    fn look(following: &Following, a: i64, b: i64) -> Vec<(String, u64)> {
        let mut differing = following.looked(&[("ws_a".to_owned(), a), ("ws_b".to_owned(), b)]);
        differing.sort();
        differing
    }

    #[test]
    fn a_generation_that_went_on_or_back_is_a_difference_and_one_that_stands_is_none() {
        let following = following(STALE_AFTER);
        assert_eq!(look(&following, 3, 7), []);
        assert_eq!(look(&following, 5, 6), [("ws_a".to_owned(), 2), ("ws_b".to_owned(), 1)]);
        following.caught_up(&following.of("ws_a"), 5);
        assert_eq!(look(&following, 5, 6), [("ws_b".to_owned(), 1)]);
    }

    #[test]
    fn a_workspace_that_is_gone_is_a_difference_until_everything_was_read_anew() {
        let following = following(STALE_AFTER);
        let only_b = vec![("ws_b".to_owned(), 7)];
        assert_eq!(following.looked(&only_b), [("ws_a".to_owned(), 1)]);
        following.reloaded(only_b.clone());
        assert_eq!(following.looked(&only_b), []);
    }

    #[test]
    fn a_workspace_is_stale_when_it_was_behind_for_too_long_and_others_are_not() {
        let following = following(Duration::from_millis(50));
        look(&following, 4, 7);
        assert!(!following.is_stale_in("ws_a") && !following.is_stale_anywhere());
        std::thread::sleep(Duration::from_millis(60));
        look(&following, 4, 7);
        assert!(
            following.is_stale_in("ws_a") && following.is_stale_anywhere(),
            "it stays behind since the first look"
        );
        assert!(!following.is_stale_in("ws_b") && !following.is_stale());
        following.caught_up(&following.of("ws_a"), 4);
        assert!(!following.is_stale_in("ws_a") && !following.is_stale_anywhere());
    }

    #[test]
    fn what_a_look_finds_after_a_long_time_may_be_as_old_as_the_look_before() {
        let following = following(Duration::from_millis(50));
        look(&following, 3, 7);
        std::thread::sleep(Duration::from_millis(60));
        look(&following, 4, 7);
        assert!(!following.is_stale(), "it has just looked");
        assert!(following.is_stale_in("ws_a") && !following.is_stale_in("ws_b"));
    }

    #[test]
    fn a_change_of_this_process_that_was_not_read_back_makes_its_workspace_stale_at_once() {
        let following = following(STALE_AFTER);
        following.lost(&following.of("ws_a"));
        assert!(following.is_stale_in("ws_a") && !following.is_stale_in("ws_b"));
        following.caught_up(&following.of("ws_a"), 4);
        assert!(!following.is_stale_in("ws_a"));
    }

    #[test]
    fn a_change_that_was_lost_and_never_happened_is_looked_for_until_that_is_known() {
        let following = following(STALE_AFTER);
        following.lost(&following.of("ws_a"));
        following.lost(&following.of("ws_that_never_was"));
        assert_eq!(look(&following, 3, 7), [("ws_a".to_owned(), 0), ("ws_that_never_was".to_owned(), 1)]);
        following.caught_up(&following.of("ws_a"), 3);
        following.caught_up(&following.of("ws_that_never_was"), 0);
        assert_eq!(look(&following, 3, 7), []);
        assert!(!following.is_stale_anywhere());
    }

    #[test]
    fn a_reload_that_failed_is_begun_again_even_if_the_database_is_as_it_was() {
        let following = following(STALE_AFTER);
        following.of("ws_a").is_of_no_generation();
        following.is_reloading();
        assert_eq!(look(&following, 3, 7), [("ws_a".to_owned(), 4)]);
        assert!(following.is_stale());
    }

    #[test]
    fn who_has_not_looked_for_too_long_is_stale_and_who_never_looked_is_not() {
        let following = following(Duration::from_millis(20));
        assert!(!following.is_stale() && following.age().is_none());
        look(&following, 3, 7);
        assert!(!following.is_stale());
        std::thread::sleep(Duration::from_millis(30));
        assert!(following.is_stale());
    }
}
