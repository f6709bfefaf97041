//! Root keys: issuing them, and what the audit log says of them.

pub mod presets;

use serde_json::json;

use crate::audit::{Changes, Event, Target};
use crate::calendar::UnixMs;
use crate::changes::Mutation;
use crate::error::Error;
use crate::ids::{self, Kind};
use crate::keys::secret::{self, KeyHash, Secret};
use crate::store::root_keys::{self, RootKey};
use crate::store::subject::Subject;

/// What a new root key may do.
#[derive(Debug, Clone)]
pub struct NewRootKey {
    /// For people.
    pub name: Option<String>,
    /// Permission texts, valid in the workspace.
    pub permissions: Vec<String>,
    /// Whether it may administer workspaces.
    pub operator: bool,
    /// Unix ms.
    pub expires_at: Option<UnixMs>,
}

/// Makes a root key within a change: its id and its secret, which is stored nowhere.
///
/// # Errors
/// When the store does not answer.
pub async fn add_root_key(mutation: &mut Mutation, new: NewRootKey) -> Result<(String, Secret), Error> {
    let (key, secret) = issue_root_key(mutation, new).await?;
    mutation.record(root_key_created(&key));
    Ok((key.id, secret))
}

/// The same without the event, for changes that are more than that.
pub(crate) async fn issue_root_key(mutation: &mut Mutation, new: NewRootKey) -> Result<(RootKey, Secret), Error> {
    let generated = secret::generate_root_key().map_err(Error::unexpected)?;
    let key = insert_root_key(mutation, &generated.secret, generated.hash, new, false).await?;
    Ok((key, generated.secret))
}

/// A root key as a target of audit events.
pub(crate) fn root_key_target(key: &RootKey) -> Target {
    let target = Target::new("rootKey", &key.id);
    match &key.name {
        Some(name) => target.named(name),
        None => target,
    }
}

/// What in two states of a root key differs, as the audit log says it; before it is made and after it is deleted it has
/// none.
pub(crate) fn root_key_changes(before: Option<&RootKey>, after: Option<&RootKey>) -> Changes {
    let view = |key: &RootKey| {
        json!({
            "name": key.name, "enabled": key.enabled, "operator": key.operator, "permissions": key.permissions,
            "expires": key.expires_at,
        })
    };
    Changes::between(&before.map(view), &after.map(view))
}

/// Stores a root key with this secret.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn insert_root_key(
    mutation: &mut Mutation,
    secret: &Secret,
    hash: KeyHash,
    new: NewRootKey,
    bootstrap: bool,
) -> Result<RootKey, Error> {
    // A bootstrap key is its owner's text: nothing of it is worth showing.
    let shown = |part: &str| if bootstrap { String::new() } else { part.to_owned() };
    let key = RootKey {
        id: ids::generate(Kind::RootKey),
        workspace_id: mutation.workspace_id().to_owned(),
        hash: hash.to_base64(),
        start: shown(secret::root_key_start(secret.expose())),
        ending: shown(secret::root_key_end(secret.expose())),
        name: new.name,
        permissions: new.permissions,
        operator: new.operator,
        bootstrap,
        enabled: true,
        expires_at: new.expires_at,
    };
    let now = mutation.now();
    root_keys::insert(mutation.connection(), &key, now).await?;
    mutation.touch(Subject::RootKey(key.id.clone()));
    Ok(key)
}

/// The audit event of a new root key.
pub(crate) fn root_key_created(key: &RootKey) -> Event {
    let event = Event::new("rootKey.create", format!("Created root key {}", key.id));
    event.on(root_key_target(key)).changing(root_key_changes(None, Some(key)))
}
