//! The audit log: who changed what, in the same transaction as the change.
//!
//! Entries of a workspace form a hash chain in the order of its generations. The hash of an entry is the
//! lower-case hex SHA-256 of the JSON array
//! `[previousHash, id, workspaceId, sequence, time, event, description, actor, targets, remoteIp,
//! userAgent, correlationId]`, in which actor and targets are their stored JSON texts and what is
//! absent is null. The first entry's previous hash is the empty text. Key material is in no field.

pub mod chain;

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::caller::Caller;
use crate::error::Error;
use crate::ids::{self, Kind};
use crate::store::{Connection, audit_logs};

/// What happened, as an operation states it.
#[derive(Debug, Clone)]
pub struct Event {
    name: &'static str,
    description: String,
    targets: Vec<Target>,
}

impl Event {
    /// An event such as `key.create`, with a sentence that names the ids.
    pub fn new(name: &'static str, description: impl Into<String>) -> Self {
        Event { name, description: description.into(), targets: Vec::new() }
    }

    /// Adds what it was done to; the primary thing first.
    #[must_use]
    pub fn on(mut self, target: Target) -> Self {
        self.targets.push(target);
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

    /// Adds its name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds facts about it.
    #[must_use]
    pub fn with(mut self, meta: Value) -> Self {
        self.meta = Some(meta);
        self
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
            user_agent: caller.origin().user_agent.clone(),
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
}

impl Entry {
    /// The hash that this entry must have.
    pub fn computed_hash(&self) -> String {
        let text = json!([
            self.previous_hash,
            self.id,
            self.workspace_id,
            self.sequence,
            self.time,
            self.event,
            self.description,
            self.actor,
            self.targets,
            self.remote_ip,
            self.user_agent,
            self.correlation_id,
        ])
        .to_string();
        Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Appends the events of one request to the chain of its workspace, whose lock the transaction holds.
///
/// Several events share a correlation id; a single one has one only if `correlated`.
pub(crate) async fn append(
    connection: &mut Connection,
    workspace_id: &str,
    time: i64,
    actor: &Actor,
    events: Vec<Event>,
    correlated: bool,
) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let correlation_id = (correlated || events.len() > 1).then(|| ids::generate(Kind::AuditCorrelation));
    let mut entries = Vec::with_capacity(events.len());
    let (mut sequence, mut previous_hash) = audit_logs::head(connection, workspace_id).await?.unwrap_or_default();
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
            remote_ip: actor.remote_ip.clone(),
            user_agent: actor.user_agent.clone(),
            correlation_id: correlation_id.clone(),
            previous_hash,
            hash: String::new(),
        };
        entry.hash = entry.computed_hash();
        previous_hash = entry.hash.clone();
        entries.push(entry);
    }
    audit_logs::insert(connection, &entries).await
}
