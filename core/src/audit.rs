//! The audit log: who changed what, in the same transaction as the change.
//!
//! Entries of a workspace form a hash chain in the order of its generations; [`Entry`] says how its hashes are made.
//! Key material is in no field.

pub mod chain;
mod changes;
pub mod filing;
pub mod heads;

use serde::Serialize;
use serde_json::{Value, json};

pub use self::changes::Changes;
use crate::calendar::UnixMs;
use crate::caller::{Caller, Origin};
use crate::error::Error;
use crate::ids::{self, Kind};
use crate::store::apis::Api;
use crate::store::audit_entry::{Entry, FORMAT};
use crate::store::audit_logs::{self, Link};
use crate::store::rows::Rows;

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

    /// An API.
    pub fn api(api: &Api) -> Self {
        Target::new("api", &api.id).named(&api.name)
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

    /// The same on behalf of somebody without a root key, who came from there.
    #[must_use]
    pub fn for_somebody_at(self, origin: &Origin) -> Self {
        Actor {
            remote_ip: origin.address.map(|address| address.to_string()),
            user_agent: origin.user_agent().map(str::to_owned),
            ..self
        }
    }
}

/// The events of one request, by whom, as the next entries of a workspace's chain.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) workspace_id: &'a str,
    /// Unix ms.
    pub(crate) time: UnixMs,
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
