//! Checking the hash chain of the audit log.
//!
//! An entry that was changed has another hash; one that was taken out or put in breaks the sequence or the link of
//! the next. The place and hash of the newest entry are noted apart, in the same transaction: entries that were cut
//! off at the end, all of them even, are missed.
//!
//! Retention removes the oldest entries and notes place and hash of the last of them, in the same transaction, as
//! the chain's anchor: the rest must follow it without a gap. The anchor shows that the rest is what was written
//! after the entry with that hash. It does not show what the removed entries said, nor that retention removed them.
//!
//! Who can write the database can write another chain, its anchor and its notes: only a hash that was kept elsewhere
//! shows that. The server writes the newest hashes to its log (see [`super::heads`]), and a check compares those
//! that it is given while their entries, or an anchor in their place, are there.

use std::collections::BTreeMap;

use super::Entry;
use crate::calendar::UnixMs;
use crate::error::Error;
use crate::store::audit_logs::{self, Link};
use crate::store::{Connection, Store, facts};

/// Entries that are read at once.
const PORTION: i64 = 1000;

/// Hashes that somebody kept, by place.
pub type Expected = BTreeMap<i64, String>;

/// What a check of one workspace's chain found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    /// How many entries there are, up to the first broken one.
    pub entries: u64,
    /// Place and hash of the last entry that retention has removed.
    pub anchor: Option<Link>,
    /// Place and hash of the last entry that is right, or of the anchor.
    pub last: Option<Link>,
    /// The first fault.
    pub broken: Option<Broken>,
    expected: Expected,
}

/// What is not as the chain says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The place in the chain.
    pub sequence: i64,
    /// What is there, if anything is.
    pub found: Option<Found>,
    /// What is wrong, in words.
    pub reason: String,
}

/// An entry, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `log_…`
    pub id: String,
    /// Unix ms.
    pub time: UnixMs,
    /// Such as `key.create`.
    pub event: String,
}

/// A workspace, as the log and the table of workspaces name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// `ws_…`
    pub workspace_id: String,
    /// Whether it has a row in the table of workspaces.
    pub has_row: bool,
}

/// Every workspace that has a row or of whose log there is anything.
///
/// # Errors
/// When the store does not answer.
pub async fn workspaces(store: &Store) -> Result<Vec<Named>, Error> {
    let found = audit_logs::workspaces(&mut *store.read().await?).await?;
    Ok(found.into_iter().map(|(workspace_id, has_row)| Named { workspace_id, has_row }).collect())
}

/// Whether the database was set up: then it has a workspace.
///
/// # Errors
/// When the store does not answer.
pub async fn was_set_up(store: &Store) -> Result<bool, Error> {
    Ok(facts::find(&mut *store.read().await?, "set up").await?.is_some())
}

/// Checks the chain of a workspace from its first entry to its last, and that the hashes in `expected` are those of
/// their places. `progress` hears of every portion how many entries were checked so far.
///
/// # Errors
/// When the store does not answer.
pub async fn verify(
    store: &Store,
    workspace: &Named,
    expected: Expected,
    mut progress: impl FnMut(u64),
) -> Result<Chain, Error> {
    let workspace_id = &workspace.workspace_id;
    let mut connection = store.read().await?;
    let mut chain = Chain::anchored(audit_logs::anchor(&mut connection, workspace_id).await?);
    chain.expected = expected;
    chain.check_beginning(audit_logs::first(&mut connection, workspace_id).await?);
    while chain.broken.is_none() {
        let portion = audit_logs::after(&mut connection, workspace_id, chain.place(), PORTION).await?;
        // After the entries: retention may remove some of them while they are checked.
        chain.move_to(audit_logs::anchor(&mut connection, workspace_id).await?);
        if portion.is_empty() && chain.check_end(&mut connection, workspace_id).await? {
            break;
        }
        for entry in portion {
            if chain.broken.is_none() && !chain.is_before_anchor(&entry) {
                chain.append(entry);
            }
        }
        progress(chain.entries);
    }
    if chain.broken.is_none() {
        chain.check_unmet();
    }
    if chain.broken.is_none() && !workspace.has_row {
        chain.breaks(chain.next(), "the workspace itself is gone from the table of workspaces");
    }
    Ok(chain)
}

impl Chain {
    fn anchored(anchor: Option<Link>) -> Self {
        Chain { last: anchor.clone(), anchor, ..Chain::default() }
    }

    /// Goes on from the anchor if it is beyond what was checked.
    fn move_to(&mut self, anchor: Option<Link>) {
        if anchor.as_ref().is_some_and(|(sequence, _)| *sequence > self.place()) {
            self.last.clone_from(&anchor);
            self.anchor = anchor;
        }
    }

    fn place(&self) -> i64 {
        self.last.as_ref().map_or(0, |(sequence, _)| *sequence)
    }

    fn next(&self) -> i64 {
        self.place().saturating_add(1)
    }

    fn is_before_anchor(&self, entry: &Entry) -> bool {
        // Where one is whose place cannot be read is not known.
        let is_placed = entry.unreadable != Some("sequence");
        is_placed && self.anchor.as_ref().is_some_and(|(sequence, _)| entry.sequence <= *sequence)
    }

    fn breaks(&mut self, sequence: i64, reason: impl Into<String>) {
        self.broken = Some(Broken { sequence, found: None, reason: reason.into() });
    }

    fn breaks_at(&mut self, entry: Entry, reason: impl Into<String>) {
        let sequence = if entry.unreadable == Some("sequence") { self.next() } else { entry.sequence };
        let found = Found { id: entry.id, time: entry.time, event: entry.event };
        self.broken = Some(Broken { sequence, found: Some(found), reason: reason.into() });
    }

    /// Looks at the anchor and at the oldest entry, wherever that is.
    fn check_beginning(&mut self, oldest: Option<Entry>) {
        if self.anchor.as_ref().is_some_and(|(sequence, _)| *sequence < 1) {
            self.breaks(self.place(), "the chain's anchor is before the first place");
        } else if let Some(entry) = oldest {
            if let Some(column) = entry.unreadable {
                self.breaks_at(entry, unreadable(column));
            } else if entry.sequence < 1 {
                self.breaks_at(entry, "no entry is written before the first place");
            } else if self.is_before_anchor(&entry) {
                self.breaks_at(entry, "the chain's anchor says that retention removed it");
            }
        }
    }

    fn append(&mut self, entry: Entry) {
        if let Some(reason) = self.fault(&entry) {
            self.breaks_at(entry, reason);
            return;
        }
        if self.expected.remove(&entry.sequence).is_some_and(|hash| hash != entry.hash) {
            self.breaks_at(entry, "its hash is not the one that was kept: the log was written anew");
            return;
        }
        self.entries += 1;
        self.last = Some((entry.sequence, entry.hash));
    }

    fn fault(&self, entry: &Entry) -> Option<String> {
        if let Some(column) = entry.unreadable {
            return Some(unreadable(column));
        }
        let Some(hash) = entry.computed_hash() else {
            return Some(format!("its format {} is none that this version of Keyrack knows", entry.format));
        };
        if entry.hash != hash {
            return Some("its content is not what its hash was made of".to_owned());
        }
        if entry.sequence != self.next() {
            return Some(match self.place() {
                0 => "it should be the first, and is not: what was before it is gone".to_owned(),
                sequence => format!("it follows entry {sequence}: what was between them is gone"),
            });
        }
        let previous_hash = self.last.as_ref().map_or("", |(_, hash)| hash.as_str());
        (entry.previous_hash != previous_hash).then(|| "it was not written after the entry before it".to_owned())
    }

    /// Compares the end with the note of the newest entry: whether there is no more to check.
    async fn check_end(&mut self, connection: &mut Connection, workspace_id: &str) -> Result<bool, Error> {
        // Read after the entries: what is noted then and was not among them was written meanwhile, or is gone.
        let head = audit_logs::noted_head(connection, workspace_id).await?;
        let is_ahead = head.as_ref().is_some_and(|(sequence, _)| *sequence > self.place());
        if is_ahead && !audit_logs::after(connection, workspace_id, self.place(), 1).await?.is_empty() {
            return Ok(false);
        }
        // Nor may retention have removed them meanwhile.
        let anchor = audit_logs::anchor(connection, workspace_id).await?;
        if is_ahead && anchor.as_ref().is_some_and(|(sequence, _)| *sequence > self.place()) {
            return Ok(false);
        }
        self.compare_end(head);
        Ok(true)
    }

    fn compare_end(&mut self, head: Option<Link>) {
        let next = self.next();
        match (&self.last, head) {
            (None, None) => self.breaks(next, "there is no entry, and no note that there ever was one"),
            (Some(_), None) => self.breaks(next, "the note of the newest entry is gone"),
            (_, Some((sequence, _))) if sequence >= next => {
                self.breaks(next, format!("entries were written up to {sequence}, and are gone from here on"));
            }
            (Some((place, hash)), Some((sequence, noted))) if sequence < *place || noted != *hash => {
                self.breaks(*place, "it is not the entry that was noted as the newest when it was written");
            }
            _ => {}
        }
    }

    /// Looks for hashes that somebody kept and that no entry was compared with.
    fn check_unmet(&mut self) {
        let (place, anchor) = (self.place(), self.anchor.clone());
        for (sequence, kept) in std::mem::take(&mut self.expected) {
            let reason = match &anchor {
                Some((at, hash)) if *at == sequence && *hash == kept => continue,
                Some((at, _)) if *at > sequence => {
                    "retention has removed it: its hash can be compared no more, only a newer one"
                }
                _ if sequence > place => "its hash was kept, and it is gone",
                _ => "its hash is not the one that was kept: the log was written anew",
            };
            self.breaks(sequence, reason);
            return;
        }
    }
}

fn unreadable(column: &str) -> String {
    format!("its {column} cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: i64) -> Vec<Entry> {
        let mut previous_hash = String::new();
        let entry = |sequence| {
            // A chain that was begun by Keyrack 0.1 goes on in the newer format.
            let entry = Entry::at(
                sequence,
                UnixMs::new(sequence * 1000),
                &previous_hash,
                if sequence < 3 { 1 } else { 2 },
            );
            previous_hash.clone_from(&entry.hash);
            entry
        };
        (1..=count).map(entry).collect()
    }

    /// The place of the first broken entry, if any.
    fn broken(entries: &[Entry]) -> Option<i64> {
        broken_after(None, entries)
    }

    fn broken_after(anchor: Option<Link>, entries: &[Entry]) -> Option<i64> {
        let mut chain = Chain::anchored(anchor);
        for entry in entries {
            if chain.broken.is_none() {
                chain.append(entry.clone());
            }
        }
        chain.broken.map(|broken| broken.sequence)
    }

    #[test]
    fn an_untouched_chain_holds() {
        assert_eq!(broken(&entries(5)), None);
        assert_eq!(broken(&[]), None);
    }

    #[test]
    fn what_is_changed_taken_out_or_exchanged_is_found() {
        let mut changed = entries(5);
        changed[2].actor = r#"{"id":"another"}"#.to_owned();
        assert_eq!(broken(&changed), Some(3));
        let mut forged = changed.clone();
        forged[2].hash = forged[2].computed_hash().unwrap();
        assert_eq!(broken(&forged), Some(4), "a new hash is not what the next entry follows");
        for format in [1, 3] {
            let mut other = entries(5);
            other[3].format = format;
            assert_eq!(broken(&other), Some(4), "format {format}");
        }
        let mut explained = entries(5);
        explained[3].changes = Some("[]".to_owned());
        assert_eq!(broken(&explained), Some(4));
        let mut without = entries(5);
        without.remove(1);
        assert_eq!(broken(&without), Some(3));
        let mut exchanged = entries(5);
        exchanged.swap(1, 2);
        assert_eq!(broken(&exchanged), Some(3));
    }

    #[test]
    fn only_the_anchor_explains_a_missing_beginning() {
        let entries = entries(5);
        let (rest, link) = (&entries[2..], |at: usize| Some((entries[at].sequence, entries[at].hash.clone())));
        assert_eq!(broken(rest), Some(3));
        assert_eq!(broken_after(link(1), rest), None);
        assert_eq!(broken_after(link(0), rest), Some(3), "entry 2 is gone and the anchor does not say so");
        assert_eq!(broken_after(Some((2, "another".to_owned())), rest), Some(3));
        assert_eq!(broken_after(link(4), &[]), None);
    }

    #[test]
    fn a_check_goes_on_behind_what_retention_removes_meanwhile() {
        let entries = entries(5);
        let mut chain = Chain::default();
        chain.append(entries[0].clone());
        chain.move_to(Some((3, entries[2].hash.clone())));
        chain.append(entries[3].clone());
        chain.move_to(Some((1, entries[0].hash.clone())));
        chain.append(entries[4].clone());
        assert_eq!((chain.broken.clone(), chain.entries, chain.place()), (None, 3, 5));
    }

    #[test]
    fn the_end_is_compared_with_what_was_noted_when_it_was_written() {
        let entries = entries(3);
        let link = |at: usize| Some((entries[at].sequence, entries[at].hash.clone()));
        let end = |count: usize, head: Option<Link>| {
            let mut chain = Chain::default();
            entries[..count].iter().for_each(|entry| chain.append(entry.clone()));
            chain.compare_end(head);
            chain.broken.map(|broken| broken.sequence)
        };
        assert_eq!(end(3, link(2)), None);
        assert_eq!(end(2, link(2)), Some(3), "the tail is cut off");
        assert_eq!(end(0, link(2)), Some(1), "all are gone");
        assert_eq!(end(0, None), Some(1), "the note too");
        assert_eq!(end(3, None), Some(4));
        assert_eq!(end(3, link(1)), Some(3), "one was put behind the end");
        assert_eq!(end(3, Some((3, "another".to_owned()))), Some(3), "it was made anew");
    }

    #[test]
    fn a_hash_that_was_kept_is_that_of_its_entry_or_of_the_anchor() {
        let entries = entries(5);
        let check = |anchor: usize, kept: i64, hash: &str| {
            let anchor = entries[..anchor].last().map(|last| (last.sequence, last.hash.clone()));
            let mut chain = Chain::anchored(anchor);
            chain.expected = Expected::from([(kept, hash.to_owned())]);
            for entry in &entries {
                if chain.broken.is_none() && !chain.is_before_anchor(entry) {
                    chain.append(entry.clone());
                }
            }
            if chain.broken.is_none() {
                chain.check_unmet();
            }
            chain.broken.is_none()
        };
        let hash = |sequence: usize| entries[sequence - 1].hash.as_str();
        assert!(check(0, 4, hash(4)) && check(2, 4, hash(4)) && check(2, 2, hash(2)));
        assert!(!check(0, 4, hash(3)) && !check(2, 2, hash(1)) && !check(0, 6, hash(5)));
        assert!(!check(2, 1, hash(1)), "what retention removed can be compared no more");
    }
}
