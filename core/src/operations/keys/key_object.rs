//! A key as it is read: by `keys.getKey`, `keys.whoami` and `apis.listKeys`.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::Error;
use crate::audit::Target;
use crate::calendar::{Calendar, UnixMs};
use crate::ids::KeyId;
use crate::keys::secret::{Recovered, Secret};
use crate::operations::fields::{IdentityResponse, KeyCredits, RatelimitResponse, stored_meta};
use crate::store::keys::{self, Key};
use crate::store::{Connection, by_owner, identities, ratelimits, refills};
use crate::value::Meta;

/// A key with all that belongs to it, without its secret. What is empty is absent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyObject {
    /// `key_…`
    pub key_id: KeyId,
    /// Its first characters, to recognise it by.
    pub start: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What you attached to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
    /// Unix ms.
    pub created_at: UnixMs,
    /// Unix ms of the last change of its own fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<UnixMs>,
    /// Unix ms of the last verification, up to some minutes late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<UnixMs>,
    /// Unix ms after which it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<UnixMs>,
    /// Slugs it holds, itself or through roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<String>,
    /// Names of its roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Its balance; absent when unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credits: Option<KeyCredits>,
    /// Whom it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityResponse>,
    /// The key itself, only for recoverable keys and on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plaintext: Option<Recovered>,
    /// Its own limits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ratelimits: Vec<RatelimitResponse>,
}

impl KeyObject {
    /// What a concise key has: what tells it from others, and whether it works.
    pub(crate) const CONCISE: &[&str] = &[
        "keyId",
        "start",
        "name",
        "enabled",
        "expires",
        "lastUsedAt",
        "credits",
        "identity.id",
        "identity.externalId",
    ];

    /// The key's id.
    pub fn id(&self) -> &str {
        &self.key_id
    }

    /// The key as the target of an event.
    pub(super) fn target(&self) -> Target {
        let external_id = self.identity.as_ref().map(|identity| identity.external_id.as_str());
        Target::key(&self.key_id, self.name.as_deref(), &self.start, external_id)
    }

    /// Shows the key's plaintext in it.
    pub(super) fn reveal(&mut self, secret: Secret) {
        self.plaintext = Some(Recovered(secret));
    }

    /// Reads all that belongs to these keys, in their order.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(in crate::operations) async fn read(
        connection: &mut Connection,
        mut rows: Vec<Key>,
        calendar: Calendar,
    ) -> Result<Vec<KeyObject>, Error> {
        show_due_refills(connection, &mut rows, calendar).await?;
        let ids: Vec<&str> = rows.iter().map(|key| key.id.as_str()).collect();
        let mut identity_ids: Vec<&str> = rows.iter().filter_map(|key| key.identity_id.as_deref()).collect();
        identity_ids.sort_unstable();
        identity_ids.dedup();
        let mut permissions = by_owner(keys::permission_slugs(connection, &ids).await?);
        let mut roles = by_owner(keys::role_names(connection, &ids).await?);
        let mut limits = by_owner(ratelimits::of_keys(connection, &ids).await?);
        let shared = by_owner(ratelimits::of_identities(connection, &identity_ids).await?);
        let identities: HashMap<String, IdentityResponse> = identities::live(connection, &identity_ids)
            .await?
            .into_iter()
            .map(|identity| {
                let limits = shared.get(&identity.id).cloned().unwrap_or_default();
                Ok((identity.id.clone(), IdentityResponse::new(identity, limits)?))
            })
            .collect::<Result<_, Error>>()?;
        let objects = rows.into_iter().map(|key| {
            Ok(KeyObject {
                identity: key.identity_id.as_ref().and_then(|id| identities.get(id).cloned()),
                permissions: sorted(permissions.remove(&key.id)),
                roles: sorted(roles.remove(&key.id)),
                ratelimits: limits.remove(&key.id).unwrap_or_default().into_iter().map(Into::into).collect(),
                credits: KeyCredits::of(key.credits),
                meta: stored_meta(key.meta.as_deref(), &key.id)?,
                key_id: key.id.into(),
                start: key.start,
                enabled: key.enabled,
                name: key.name,
                created_at: key.created_at,
                updated_at: key.updated_at,
                last_used_at: key.last_used_at,
                expires: key.expires_at.filter(|expires_at| *expires_at != UnixMs::EPOCH),
                plaintext: None,
            })
        });
        objects.collect()
    }
}

/// Shows what a deduction would find: a refill that is due counts, although nobody has settled it yet.
async fn show_due_refills(connection: &mut Connection, rows: &mut [Key], calendar: Calendar) -> Result<(), Error> {
    let refilled = rows.iter().filter(|key| key.credits.remaining.is_some() && key.credits.refill.is_some());
    let ids: Vec<String> = refilled.map(|key| key.id.clone()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let balances: HashMap<String, i64> =
        refills::balances(connection, &ids, calendar).await?.into_iter().collect();
    for key in rows {
        if let Some(balance) = balances.get(&key.id) {
            key.credits.remaining = Some(*balance);
        }
    }
    Ok(())
}

fn sorted(texts: Option<Vec<String>>) -> Vec<String> {
    let mut texts = texts.unwrap_or_default();
    texts.sort_unstable();
    texts.dedup();
    texts
}
