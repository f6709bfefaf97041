//! An entry of the audit log as it is answered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
use crate::audit::Entry;
use crate::value::Meta;

/// An entry of the audit log.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// `log_…`
    pub(super) id: String,
    /// Unix ms.
    time: i64,
    /// What was done, such as key.create.
    event: String,
    /// Who did it.
    actor: Actor,
    /// The address it came from; empty when there was none.
    location: String,
    /// What it was done to, the primary thing first.
    targets: Vec<Target>,
    /// A sentence that names the ids.
    description: String,
    /// What was changed, member by member.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Change>,
    /// What else is known of the request.
    #[serde(skip_serializing_if = "Context::is_empty")]
    meta: Context,
}

/// Who did something.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Actor {
    /// rootkey, or system for the server itself.
    #[serde(rename = "type")]
    kind: String,
    /// The root key, or the part of the server.
    id: String,
    /// Its name at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// `via`: mcp or cli, unless it was plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Meta>,
}

/// What something was done to.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Target {
    /// Such as key or api.
    #[serde(rename = "type")]
    kind: String,
    /// Its id.
    id: String,
    /// Its name at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Facts about it at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Meta>,
}

/// A member that was changed.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Change {
    /// Such as credits.refill.amount.
    path: String,
    /// What it was; absent when it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    /// What it is since; absent when it is not there any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
}

/// What else is known of a request.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Context {
    /// What the client calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    /// `cor_…`, shared by the entries of one request.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
}

impl Context {
    fn is_empty(&self) -> bool {
        self.user_agent.is_none() && self.correlation_id.is_none()
    }
}

impl TryFrom<Entry> for Log {
    type Error = Error;

    fn try_from(entry: Entry) -> Result<Self, Error> {
        Ok(Log {
            actor: serde_json::from_str(&entry.actor).map_err(Error::unexpected)?,
            targets: serde_json::from_str(&entry.targets).map_err(Error::unexpected)?,
            changes: match &entry.changes {
                Some(text) => serde_json::from_str(text).map_err(Error::unexpected)?,
                None => Vec::new(),
            },
            id: entry.id,
            time: entry.time,
            event: entry.event,
            location: entry.remote_ip.unwrap_or_default(),
            description: entry.description,
            meta: Context { user_agent: entry.user_agent, correlation_id: entry.correlation_id },
        })
    }
}
