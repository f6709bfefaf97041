//! When root keys were last used: noted in memory by every call, written to the store now and then.
//!
//! It takes no part in mutations: it locks no workspace and is in no change feed. What a kill loses is the
//! use of the last seconds.

use std::sync::atomic::{AtomicI64, Ordering};

use foldhash::quality::RandomState;
use papaya::HashMap;

/// Uses of one key that are nearer to each other than this are one, so that parallel calls do not fight
/// for the same memory.
const RESOLUTION_MS: i64 = 1000;

/// The last use of each root key that this process has seen.
#[derive(Debug, Default)]
pub(crate) struct LastUsed(HashMap<String, Use, RandomState>);

#[derive(Debug, Default)]
struct Use {
    at: AtomicI64,
    written: AtomicI64,
}

impl LastUsed {
    /// Notes a use at this Unix ms.
    pub(crate) fn note(&self, id: &str, now: i64) {
        let uses = self.0.pin();
        let known = match uses.get(id) {
            Some(known) => known,
            None => uses.get_or_insert_with(id.to_owned(), Use::default),
        };
        if known.at.load(Ordering::Relaxed) <= now.saturating_sub(RESOLUTION_MS) {
            known.at.store(now, Ordering::Relaxed);
        }
    }

    /// The last use in Unix ms; 0 when this process has seen none.
    pub(crate) fn of(&self, id: &str) -> i64 {
        self.0.pin().get(id).map_or(0, |known| known.at.load(Ordering::Relaxed))
    }

    /// The uses that are not written yet, by id: two processes that write them do not wait in a circle.
    pub(crate) fn unwritten(&self) -> Vec<(String, i64)> {
        let uses = self.0.pin();
        let at = |known: &Use| known.at.load(Ordering::Relaxed);
        let is_new = |known: &Use| at(known) > known.written.load(Ordering::Relaxed);
        let unwritten = uses.iter().filter(|(_, known)| is_new(known));
        let mut unwritten: Vec<_> = unwritten.map(|(id, known)| (id.clone(), at(known))).collect();
        unwritten.sort_unstable();
        unwritten
    }

    /// Notes that these uses are written.
    pub(crate) fn written(&self, uses: &[(String, i64)]) {
        let known = self.0.pin();
        for (id, at) in uses {
            if let Some(known) = known.get(id) {
                known.written.store(*at, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_written_in_one_order() {
        let uses = LastUsed::default();
        let ids: Vec<String> = (0..100).map(|n| format!("key_{n:02}")).collect();
        ids.iter().rev().for_each(|id| uses.note(id, 5000));
        let unwritten: Vec<String> = uses.unwritten().into_iter().map(|(id, _)| id).collect();
        assert_eq!(unwritten, ids);
    }

    #[test]
    fn a_use_is_written_once_and_stays_known() {
        let uses = LastUsed::default();
        assert_eq!(uses.of("key_1"), 0);
        uses.note("key_1", 5000);
        uses.note("key_1", 5999);
        assert_eq!(uses.unwritten(), [("key_1".to_owned(), 5000)]);
        uses.written(&[("key_1".to_owned(), 5000)]);
        assert!(uses.unwritten().is_empty());
        uses.note("key_1", 6000);
        assert_eq!((uses.of("key_1"), uses.unwritten().len()), (6000, 1));
    }
}
