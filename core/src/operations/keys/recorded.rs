//! What the audit log says of a key: what it is known by, and what of it was changed.

use serde::Serialize;

use crate::Error;
use crate::audit::Target;
use crate::calendar::UnixMs;
use crate::changes::Mutation;
use crate::operations::fields::{KeyCredits, RatelimitResponse, stored_meta};
use crate::store::keys::Key;
use crate::store::{credits, identities, permissions, ratelimits, roles};
use crate::value::Meta;

/// A key as the target of an event, with whose it is: what is left to tell of it when it is deleted.
pub(super) async fn target(mutation: &mut Mutation, key: &Key) -> Result<Target, Error> {
    let external_id = external_id(mutation, key).await?;
    Ok(Target::key(&key.id, key.name.as_deref(), &key.start, external_id.as_deref()))
}

/// What the system of the key's owner calls them.
async fn external_id(mutation: &mut Mutation, key: &Key) -> Result<Option<String>, Error> {
    let Some(id) = &key.identity_id else { return Ok(None) };
    let found = identities::live(mutation.connection(), &[id]).await?;
    Ok(found.into_iter().next().map(|identity| identity.external_id))
}

/// What of a key a request changes besides its own fields: only that is read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Parts {
    pub(super) credits: bool,
    pub(super) ratelimits: bool,
    pub(super) permissions: bool,
    pub(super) roles: bool,
}

/// A key at one time, as its changes are told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Facts {
    name: Option<String>,
    external_id: Option<String>,
    /// Of which only names of members get into the log.
    meta: Option<Meta>,
    enabled: bool,
    expires: Option<UnixMs>,
    credits: Option<KeyCredits>,
    ratelimits: Option<Vec<RatelimitResponse>>,
    permissions: Option<Vec<String>>,
    roles: Option<Vec<String>>,
}

impl Facts {
    /// Reads them within a change.
    pub(super) async fn read(mutation: &mut Mutation, key: &Key, parts: Parts) -> Result<Facts, Error> {
        let external_id = external_id(mutation, key).await?;
        let connection = mutation.connection();
        let mut facts = Facts {
            name: key.name.clone(),
            external_id,
            // Damaged metadata can still be replaced.
            meta: stored_meta(key.meta.as_deref(), &key.id).unwrap_or_default(),
            enabled: key.enabled,
            expires: key.expires_at,
            credits: None,
            ratelimits: None,
            permissions: None,
            roles: None,
        };
        if parts.credits {
            facts.credits = Some(credits::find(connection, &key.id).await?.into());
        }
        if parts.ratelimits {
            let limits = ratelimits::of_keys(connection, &[&key.id]).await?;
            facts.ratelimits = Some(limits.into_iter().map(|(_, limit)| limit.into()).collect());
        }
        if parts.permissions {
            let held = permissions::of_key(connection, &key.id).await?;
            facts.permissions = Some(held.into_iter().map(|permission| permission.slug).collect());
        }
        if parts.roles {
            let held = roles::of_key(connection, &key.id).await?;
            facts.roles = Some(held.into_iter().map(|role| role.name).collect());
        }
        Ok(facts)
    }
}
