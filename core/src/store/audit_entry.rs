//! An entry of the audit log, and its hash.
//!
//! Entries of a workspace form a hash chain in the order of its generations. The hash of an entry is the
//! lower-case hex SHA-256 of a JSON array, which the entry's format tells. Format 2:
//! `[2, previousHash, id, workspaceId, sequence, time, event, description, actor, targets, changes, remoteIp,
//! userAgent, correlationId]`; format 1, of Keyrack 0.1: the same without the number and `changes`. In it, actor,
//! targets and changes are their stored JSON texts and what is absent is null. The first entry's previous hash is
//! the empty text. Key material is in no field.

use std::fmt::Write as _;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::calendar::UnixMs;

/// The format of new entries.
pub(crate) const FORMAT: i64 = 2;

/// By what an entry is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filed {
    /// Its workspace.
    pub workspace_id: String,
    /// Unix ms.
    pub time: UnixMs,
    /// Its place in the chain.
    pub sequence: i64,
    /// Who did it.
    pub actor_id: String,
    /// What it was done to.
    pub target_ids: Vec<String>,
}

/// An entry as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `log_…`
    pub id: String,
    /// Its workspace.
    pub workspace_id: String,
    /// Its place in the chain of its workspace, from 1.
    pub sequence: i64,
    /// Unix ms.
    pub time: UnixMs,
    /// Such as `key.create`.
    pub event: String,
    /// A sentence that names the ids.
    pub description: String,
    /// JSON text `{type, id, name?, meta?}`.
    pub actor: String,
    /// JSON text `[{type, id, name?, meta?}]`.
    pub targets: String,
    /// JSON text `[{path, before?, after?}]`.
    pub changes: Option<String>,
    /// The client's address.
    pub remote_ip: Option<String>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// `cor_…`, shared by the entries of one request.
    pub correlation_id: Option<String>,
    /// Hash of the entry before.
    pub previous_hash: String,
    /// Hash of this entry.
    pub hash: String,
    /// How the hash was made.
    pub format: i64,
    /// The first column that holds nothing that can be read, if there is one; its field is empty then.
    pub unreadable: Option<&'static str>,
}

impl Entry {
    /// The hash that this entry must have; `None` when this program does not know its format.
    pub fn computed_hash(&self) -> Option<String> {
        let text = match self.format {
            1 => serde_json::to_string(&(
                &self.previous_hash,
                &self.id,
                &self.workspace_id,
                self.sequence,
                self.time,
                &self.event,
                &self.description,
                &self.actor,
                &self.targets,
                &self.remote_ip,
                &self.user_agent,
                &self.correlation_id,
            )),
            FORMAT => serde_json::to_string(&(
                self.format,
                &self.previous_hash,
                &self.id,
                &self.workspace_id,
                self.sequence,
                self.time,
                &self.event,
                &self.description,
                &self.actor,
                &self.targets,
                &self.changes,
                &self.remote_ip,
                &self.user_agent,
                &self.correlation_id,
            )),
            _ => return None,
        };
        // Texts and numbers can always be written.
        let digest = Sha256::digest(text.ok()?.as_bytes());
        let mut hash = String::with_capacity(2 * digest.len());
        for byte in digest {
            let _ = write!(hash, "{byte:02x}");
        }
        Some(hash)
    }

    /// By what the entry is found.
    pub(crate) fn filed(&self) -> Filed {
        /// What alone is read of an actor or a target.
        #[derive(Default, Deserialize)]
        struct Known {
            #[serde(default)]
            id: String,
        }
        let actor: Known = serde_json::from_str(&self.actor).unwrap_or_default();
        let targets: Vec<Known> = serde_json::from_str(&self.targets).unwrap_or_default();
        Filed {
            workspace_id: self.workspace_id.clone(),
            time: self.time,
            sequence: self.sequence,
            actor_id: actor.id,
            target_ids: targets.into_iter().map(|target| target.id).collect(),
        }
    }
}

#[cfg(test)]
impl Entry {
    /// An entry at a place in the chain of `ws_1`, for tests.
    pub(crate) fn at(sequence: i64, time: UnixMs, previous_hash: &str, format: i64) -> Entry {
        let mut entry = Entry {
            id: format!("log_{sequence}"),
            workspace_id: "ws_1".to_owned(),
            sequence,
            time,
            event: "key.create".to_owned(),
            description: "Created".to_owned(),
            actor: "{}".to_owned(),
            targets: "[]".to_owned(),
            changes: None,
            remote_ip: None,
            user_agent: None,
            correlation_id: None,
            previous_hash: previous_hash.to_owned(),
            hash: String::new(),
            format,
            unreadable: None,
        };
        entry.hash = entry.computed_hash().unwrap_or_default();
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by another program from what the top of this file says.
    #[test]
    fn a_hash_is_made_as_its_format_says() {
        let mut entry = Entry::at(1, UnixMs::new(1000), "", 1);
        entry.description = "Created „k“".to_owned();
        entry.actor = r#"{"id":"setup","type":"system"}"#.to_owned();
        entry.targets = r#"[{"type":"key","id":"key_1"}]"#.to_owned();
        entry.user_agent = Some("curl/8".to_owned());
        entry.correlation_id = Some("cor_1".to_owned());
        let old = "f4679f4369ca5406909dffb322616432c34a6093f2f56a63c29b3e216404960c";
        assert_eq!(entry.computed_hash().as_deref(), Some(old));
        entry.changes = Some(r#"[{"path":"name","after":"a"}]"#.to_owned());
        entry.format = 2;
        let new = "fe3118ee95a398fb4452e977873a181432c8e01bb3b3f5d38a5f40e10cb14ebd";
        assert_eq!(entry.computed_hash().as_deref(), Some(new));
        entry.format = 3;
        assert_eq!(entry.computed_hash(), None);
    }
}
