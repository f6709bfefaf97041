//! An entry of the audit log as it is answered.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::calendar::UnixMs;
use crate::ids::AuditLogId;
use crate::store::audit_entry::Entry;
use crate::value::Meta;

/// An entry of the audit log.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// `log_…`
    pub id: AuditLogId,
    /// Unix ms.
    pub time: UnixMs,
    /// What was done, such as key.create.
    pub event: String,
    /// Who did it.
    pub actor: Actor,
    /// The address it came from; empty when there was none.
    pub location: String,
    /// What it was done to, the primary thing first.
    pub targets: Vec<Target>,
    /// A sentence that names the ids.
    pub description: String,
    /// What was changed, member by member.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// What else is known of the request.
    #[serde(skip_serializing_if = "Context::is_empty")]
    pub meta: Context,
}

/// Who did something.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// rootkey, or system for the server itself.
    #[serde(rename = "type")]
    pub kind: String,
    /// The root key, or the part of the server.
    pub id: String,
    /// Its name at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `via`: mcp or cli, unless it was plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
}

/// What something was done to.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Such as key or api.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its name at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Facts about it at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
}

/// A member that was changed.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Such as credits.refill.amount.
    pub path: String,
    /// What it was; absent when it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it is since; absent when it is not there any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What else is known of a request.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// What the client calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// `cor_…`, shared by the entries of one request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

impl Context {
    fn is_empty(&self) -> bool {
        self.user_agent.is_none() && self.correlation_id.is_none()
    }
}

impl Actor {
    /// Who did what a damaged entry does not tell.
    fn unknown() -> Actor {
        Actor { kind: "unknown".to_owned(), id: "unknown".to_owned(), name: None, meta: None }
    }
}

impl From<Entry> for Log {
    /// One that is damaged is shown with what of it can be read, and says so: an audit log hides nothing, and one bad
    /// entry hides no others.
    fn from(entry: Entry) -> Log {
        let mut unreadable = entry.unreadable;
        let actor = parsed("actor", &entry.actor, &mut unreadable).unwrap_or_else(Actor::unknown);
        let targets = parsed("targets", &entry.targets, &mut unreadable).unwrap_or_default();
        let changes = entry.changes.and_then(|text| parsed("changes", &text, &mut unreadable)).unwrap_or_default();
        let description = match unreadable {
            Some(column) => {
                tracing::error!(id = entry.id, column, "an entry of the audit log is damaged");
                format!("This entry is damaged: its {column} cannot be read. {}", entry.description)
            }
            None => entry.description,
        };
        Log {
            id: entry.id.into(),
            time: entry.time,
            event: entry.event,
            actor,
            location: entry.remote_ip.unwrap_or_default(),
            targets,
            description,
            changes,
            meta: Context { user_agent: entry.user_agent, correlation_id: entry.correlation_id },
        }
    }
}

fn parsed<T: DeserializeOwned>(
    column: &'static str,
    text: &str,
    unreadable: &mut Option<&'static str>,
) -> Option<T> {
    let read = serde_json::from_str(text).ok();
    if read.is_none() {
        unreadable.get_or_insert(column);
    }
    read
}
