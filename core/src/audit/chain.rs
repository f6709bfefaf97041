//! Checking the hash chain of the audit log.
//!
//! An entry that was changed has another hash; one that was taken out or put in breaks the sequence or the
//! link of the next. What was cut off at the end leaves no trace in the log itself: whoever keeps the last
//! hash of an earlier check can tell.

use super::Entry;
use crate::error::Error;
use crate::store::Store;
use crate::store::audit_logs;
use crate::store::workspaces::Workspace;

/// Entries that are read at once.
const PORTION: i64 = 1000;

/// What a check of one workspace's chain found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    /// How many entries there are, up to the first broken one.
    pub entries: u64,
    /// The place of the first entry: 1 unless retention removed older ones.
    pub first: Option<i64>,
    /// Place and hash of the last entry that is right. Kept elsewhere, they show later whether the log was
    /// cut off.
    pub last: Option<(i64, String)>,
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
pub async fn verify(store: &Store, workspace: &Workspace, mut progress: impl FnMut(u64)) -> Result<Chain, Error> {
    let mut chain = Chain::default();
    let mut connection = store.read().await?;
    loop {
        let after = chain.last.as_ref().map_or(i64::MIN, |(sequence, _)| *sequence);
        let portion = audit_logs::after(&mut connection, &workspace.id, after, PORTION).await?;
        if portion.is_empty() {
            return Ok(chain);
        }
        for entry in portion {
            chain.append(entry, workspace.audit_retention_days.is_some());
            if chain.broken.is_some() {
                return Ok(chain);
            }
        }
        progress(chain.entries);
    }
}

impl Chain {
    fn append(&mut self, entry: Entry, may_begin_late: bool) {
        if let Some(reason) = self.fault(&entry, may_begin_late) {
            self.broken = Some(Broken {
                id: entry.id,
                sequence: entry.sequence,
                time: entry.time,
                event: entry.event,
                reason,
            });
            return;
        }
        self.entries += 1;
        self.first.get_or_insert(entry.sequence);
        self.last = Some((entry.sequence, entry.hash));
    }

    fn fault(&self, entry: &Entry, may_begin_late: bool) -> Option<String> {
        if entry.hash != entry.computed_hash() {
            return Some("its content is not what its hash was made of".to_owned());
        }
        let (sequence, hash) = match &self.last {
            Some((sequence, hash)) => (*sequence, hash.as_str()),
            None if may_begin_late && entry.sequence > 1 => return None,
            None => (0, ""),
        };
        if entry.sequence != sequence + 1 {
            return Some(format!("it follows entry {sequence}: what was between them is gone"));
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
    fn broken(entries: &[Entry], may_begin_late: bool) -> Option<i64> {
        let mut chain = Chain::default();
        for entry in entries {
            if chain.broken.is_none() {
                chain.append(entry.clone(), may_begin_late);
            }
        }
        chain.broken.map(|broken| broken.sequence)
    }

    #[test]
    fn an_untouched_chain_holds() {
        assert_eq!(broken(&entries(5), false), None);
        assert_eq!(broken(&[], false), None);
    }

    #[test]
    fn what_is_changed_taken_out_or_exchanged_is_found() {
        let mut changed = entries(5);
        changed[2].actor = r#"{"id":"another"}"#.to_owned();
        assert_eq!(broken(&changed, false), Some(3));
        let mut forged = changed.clone();
        forged[2].hash = forged[2].computed_hash();
        assert_eq!(broken(&forged, false), Some(4), "a new hash is not what the next entry follows");
        let mut without = entries(5);
        without.remove(1);
        assert_eq!(broken(&without, false), Some(3));
        let mut exchanged = entries(5);
        exchanged.swap(1, 2);
        assert_eq!(broken(&exchanged, false), Some(3));
    }

    #[test]
    fn only_retention_explains_a_missing_beginning() {
        let rest = &entries(5)[2..];
        assert_eq!((broken(rest, true), broken(rest, false)), (None, Some(3)));
    }
}
