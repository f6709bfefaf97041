//! The audit log: who changed what, in the same transaction as the change.
//!
//! Entries of a workspace form a hash chain in the order of its generations. The hash of an entry is the
//! lower-case hex SHA-256 of a JSON array, which the entry's format tells. Format 2:
//! `[2, previousHash, id, workspaceId, sequence, time, event, description, actor, targets, changes, remoteIp,
//! userAgent, correlationId]`; format 1, of Keyrack 0.1: the same without the number and `changes`. In it, actor,
//! targets and changes are their stored JSON texts and what is absent is null. The first entry's previous hash is
//! the empty text. Key material is in no field.

pub mod chain;
mod changes;
pub mod filing;
pub mod heads;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use self::changes::Changes;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::{self, Kind};
use crate::store::audit_logs::{self, Filed, Link};
use crate::store::rows::Rows;

/// The format of new entries.
const FORMAT: i64 = 2;

/// What happened, as an operation states it.
#[derive(Debug, Clone)]
pub struct Event {
    name: &'static str,
    description: String,
    targets: Vec<Target>,
    changes: Changes,
}

impl Event {
    /// An event such as `key.create`, with a sentence that names the ids.
    pub fn new(name: &'static str, description: impl Into<String>) -> Self {
        Event { name, description: description.into(), targets: Vec::new(), changes: Changes::default() }
    }

    /// Adds what it was done to; the primary thing first.
    #[must_use]
    pub fn on(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// Adds what was changed.
    #[must_use]
    pub fn changing(mut self, changes: Changes) -> Self {
        self.changes = changes;
        self
    }
}

/// What an event was done to.
#[derive(Debug, Clone, Serialize)]
pub struct Target {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Value>,
}

impl Target {
    /// A thing of a kind such as `key`, by its id.
    pub fn new(kind: &'static str, id: &str) -> Self {
        Target { kind, id: id.to_owned(), name: None, meta: None }
    }

    /// A key, by what people know it by: its name, its first characters, and whose it is.
    pub fn key(id: &str, name: Option<&str>, start: &str, external_id: Option<&str>) -> Self {
        let mut meta = serde_json::Map::new();
        if !start.is_empty() {
            meta.insert("start".to_owned(), start.into());
        }
        if let Some(external_id) = external_id {
            meta.insert("externalId".to_owned(), external_id.into());
        }
        let target = Target::new("key", id).named(name.unwrap_or(id));
        if meta.is_empty() { target } else { target.with(meta.into()) }
    }

    /// Adds its name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds facts about it to those that are there.
    #[must_use]
    pub fn with(mut self, meta: Value) -> Self {
        match (&mut self.meta, meta) {
            (Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
            (known, meta) => *known = Some(meta),
        }
        self
    }

    /// The id of the thing.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

/// Who did it, and from where.
#[derive(Debug, Clone)]
pub struct Actor {
    actor: Value,
    remote_ip: Option<String>,
    user_agent: Option<String>,
}

impl Actor {
    /// The root key of a caller.
    pub fn of(caller: &Caller) -> Self {
        let root_key = caller.root_key();
        let mut actor = json!({
            "type": "rootkey",
            "id": root_key.id,
            "name": root_key.name.as_deref().unwrap_or("root key"),
        });
        if let Some(via) = caller.origin().via.label() {
            actor["meta"] = json!({ "via": via });
        }
        Actor {
            actor,
            remote_ip: caller.origin().address.map(|address| address.to_string()),
            user_agent: caller.origin().user_agent().map(str::to_owned),
        }
    }

    /// The program itself, in a role such as `setup`.
    pub fn system(role: &str) -> Self {
        Actor { actor: json!({ "type": "system", "id": role }), remote_ip: None, user_agent: None }
    }
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
    pub time: i64,
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

/// The events of one request, by whom, as the next entries of a workspace's chain.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) workspace_id: &'a str,
    /// Unix ms.
    pub(crate) time: i64,
    pub(crate) actor: &'a Actor,
    pub(crate) events: Vec<Event>,
    /// Several events share one; a single one has one only if it is given.
    pub(crate) correlation_id: Option<String>,
}

impl Record<'_> {
    /// Appends the entries to the chain, whose head and whose lock the transaction has.
    pub(crate) async fn append(self, rows: &mut Rows, head: Option<Link>) -> Result<(), Error> {
        let workspace_id = self.workspace_id;
        let entries = self.entries(head.unwrap_or_default())?;
        let Some(last) = entries.last() else { return Ok(()) };
        let head = (last.sequence, last.hash.clone());
        audit_logs::insert(rows, &entries).await?;
        audit_logs::note_head(rows, workspace_id, &head).await
    }

    fn entries(self, (mut sequence, mut previous_hash): Link) -> Result<Vec<Entry>, Error> {
        let Record { workspace_id, time, actor, events, correlation_id } = self;
        let shared = || (events.len() > 1).then(|| ids::generate(Kind::AuditCorrelation));
        let correlation_id = correlation_id.or_else(shared);
        let mut entries = Vec::with_capacity(events.len());
        for event in events {
            sequence += 1;
            let mut entry = Entry {
                id: ids::generate(Kind::AuditLog),
                workspace_id: workspace_id.to_owned(),
                sequence,
                time,
                event: event.name.to_owned(),
                description: event.description,
                actor: actor.actor.to_string(),
                targets: serde_json::to_string(&event.targets).map_err(Error::unexpected)?,
                changes: event.changes.to_text(),
                remote_ip: actor.remote_ip.clone(),
                user_agent: actor.user_agent.clone(),
                correlation_id: correlation_id.clone(),
                previous_hash,
                hash: String::new(),
                format: FORMAT,
                unreadable: None,
            };
            entry.hash = entry.computed_hash().unwrap_or_default();
            previous_hash = entry.hash.clone();
            entries.push(entry);
        }
        Ok(entries)
    }
}

#[cfg(test)]
impl Entry {
    /// An entry at a place in the chain of `ws_1`, for tests.
    pub(crate) fn at(sequence: i64, time: i64, previous_hash: &str, format: i64) -> Entry {
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
        let mut entry = Entry::at(1, 1000, "", 1);
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
