//! When root keys were last used: noted in memory by every call, written to the store now and then.
//!
//! It takes no part in mutations: it locks no workspace and is in no change feed. What a kill loses is the
//! use of the last seconds.

use std::sync::Arc;

use foldhash::quality::RandomState;
use papaya::HashMap;

use crate::last_use::LastUse;

/// The last use of each root key, by id.
#[derive(Debug, Default)]
pub(crate) struct RootKeyUses(HashMap<String, Arc<LastUse>, RandomState>);

impl RootKeyUses {
    /// The last use of a root key, which stays the same one however often the root key is read anew.
    pub(crate) fn of(&self, id: &str) -> Arc<LastUse> {
        let uses = self.0.pin();
        match uses.get(id) {
            Some(known) => known.clone(),
            None => uses.get_or_insert_with(id.to_owned(), Arc::default).clone(),
        }
    }

    /// The uses that are not written yet, by id: two processes that write them do not wait in a circle.
    pub(crate) fn unwritten(&self) -> Vec<(String, i64)> {
        let uses = self.0.pin();
        let unwritten = uses.iter().filter_map(|(id, known)| Some((id.clone(), known.unwritten()?)));
        let mut unwritten: Vec<_> = unwritten.collect();
        unwritten.sort_unstable();
        unwritten
    }

    /// Notes that these uses are written.
    pub(crate) fn written(&self, uses: &[(String, i64)]) {
        let known = self.0.pin();
        for (id, at) in uses {
            if let Some(known) = known.get(id) {
                known.is_written(*at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_written_in_one_order() {
        let uses = RootKeyUses::default();
        let ids: Vec<String> = (0..100).map(|n| format!("key_{n:02}")).collect();
        ids.iter().rev().for_each(|id| uses.of(id).note(5000));
        let unwritten: Vec<String> = uses.unwritten().into_iter().map(|(id, _)| id).collect();
        assert_eq!(unwritten, ids);
    }

    #[test]
    fn a_use_is_written_once_and_stays_known() {
        let uses = RootKeyUses::default();
        assert_eq!(uses.of("key_1").at(), 0);
        uses.of("key_1").note(5000);
        uses.of("key_1").note(5999);
        assert_eq!(uses.unwritten(), [("key_1".to_owned(), 5000)]);
        uses.written(&[("key_1".to_owned(), 5000)]);
        assert!(uses.unwritten().is_empty());
        uses.of("key_1").note(6000);
        assert_eq!((uses.of("key_1").at(), uses.unwritten().len()), (6000, 1));
    }
}
