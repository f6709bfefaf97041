//! Checking the hash chain of the audit log.
//!
//! An entry that was changed has another hash; one that was taken out or put in breaks the sequence or the
//! link of the next. What was cut off at the end leaves no trace in the log itself: whoever keeps the last
//! hash of an earlier check can tell.
//!
//! Retention removes the oldest entries and notes place and hash of the last of them, in the same transaction,
//! as the chain's anchor: the rest must follow it without a gap. The anchor shows that the rest is what was
//! written after the entry with that hash. It does not show what the removed entries said, nor that retention
//! removed them: who can write the database can move the anchor, too. Whoever kept a hash of an earlier check
//! can compare it while its entry, or the anchor at its place, is there.

use super::Entry;
use crate::error::Error;
use crate::store::Store;
use crate::store::audit_logs::{self, Link};

/// Entries that are read at once.
const PORTION: i64 = 1000;

/// What a check of one workspace's chain found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    /// How many entries there are, up to the first broken one.
    pub entries: u64,
    /// Place and hash of the last entry that retention has removed.
    pub anchor: Option<Link>,
    /// Place and hash of the last entry that is right, or of the anchor. Kept elsewhere, they show later
    /// whether the log was cut off.
    pub last: Option<Link>,
    /// The first entry that is not right.
    pub broken: Option<Broken>,
}

/// An entry that is not what the chain says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// `log_…`
    pub id: String,
    /// Its place in the chain.
    pub sequence: i64,
    /// Unix ms.
    pub time: i64,
    /// Such as `key.create`.
    pub event: String,
    /// What is wrong, in words.
    pub reason: String,
}

/// Checks the chain of a workspace from its first entry to its last. `progress` hears of every portion how
/// many entries were checked so far.
///
/// # Errors
/// When the store does not answer.
pub async fn verify(store: &Store, workspace_id: &str, mut progress: impl FnMut(u64)) -> Result<Chain, Error> {
    let mut connection = store.read().await?;
    let mut chain = Chain::anchored(audit_logs::anchor(&mut connection, workspace_id).await?);
    let oldest = audit_logs::after(&mut connection, workspace_id, i64::MIN, 1).await?.pop();
    if let Some(left) = oldest.filter(|oldest| chain.is_before_anchor(oldest)) {
        chain.broken = Some(Broken::new(left, "the chain's anchor says that retention removed it".to_owned()));
        return Ok(chain);
    }
    loop {
        let portion = audit_logs::after(&mut connection, workspace_id, chain.place(), PORTION).await?;
        if portion.is_empty() {
            return Ok(chain);
        }
        // After the entries: retention may remove some of them while they are checked.
        chain.move_to(audit_logs::anchor(&mut connection, workspace_id).await?);
        for entry in portion {
            if !chain.is_before_anchor(&entry) {
                chain.append(entry);
            }
            if chain.broken.is_some() {
                return Ok(chain);
            }
        }
        progress(chain.entries);
    }
}

impl Broken {
    fn new(entry: Entry, reason: String) -> Self {
        Broken { id: entry.id, sequence: entry.sequence, time: entry.time, event: entry.event, reason }
    }
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
        self.last.as_ref().map_or(i64::MIN, |(sequence, _)| *sequence)
    }

    fn is_before_anchor(&self, entry: &Entry) -> bool {
        self.anchor.as_ref().is_some_and(|(sequence, _)| entry.sequence <= *sequence)
    }

    fn append(&mut self, entry: Entry) {
        if let Some(reason) = self.fault(&entry) {
            self.broken = Some(Broken::new(entry, reason));
            return;
        }
        self.entries += 1;
        self.last = Some((entry.sequence, entry.hash));
    }

    fn fault(&self, entry: &Entry) -> Option<String> {
        if entry.hash != entry.computed_hash() {
            return Some("its content is not what its hash was made of".to_owned());
        }
        let (sequence, hash) = self.last.as_ref().map_or((0, ""), |(sequence, hash)| (*sequence, hash.as_str()));
        if entry.sequence != sequence + 1 {
            return Some(match sequence {
                0 => "it should be the first, and is not: what was before it is gone".to_owned(),
                _ => format!("it follows entry {sequence}: what was between them is gone"),
            });
        }
        (entry.previous_hash != hash).then(|| "it was not written after the entry before it".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: i64) -> Vec<Entry> {
        let mut previous_hash = String::new();
        let entry = |sequence| {
            let mut entry = Entry {
                id: format!("log_{sequence}"),
                workspace_id: "ws_1".to_owned(),
                sequence,
                time: sequence * 1000,
                event: "key.create".to_owned(),
                description: "Created".to_owned(),
                actor: "{}".to_owned(),
                targets: "[]".to_owned(),
                remote_ip: None,
                user_agent: None,
                correlation_id: None,
                previous_hash: previous_hash.clone(),
                hash: String::new(),
            };
            entry.hash = entry.computed_hash();
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
        forged[2].hash = forged[2].computed_hash();
        assert_eq!(broken(&forged), Some(4), "a new hash is not what the next entry follows");
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
}
