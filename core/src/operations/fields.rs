//! Request and response members that several operations share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::changes::Mutation;
use crate::error::Error;
use crate::ids::{self, IdentityId, Kind, PermissionId, RatelimitId, RoleId};
use crate::store::credits::{Credits, Refill};
use crate::store::identities::Identity;
use crate::store::permissions::{self, Permission};
use crate::store::ratelimits::{self, Owner, Ratelimit};
use crate::store::roles::Role;
use crate::store::{Connection, by_owner};
use crate::value::{Meta, Nullable};

/// Bytes of serialized metadata that a key may hold.
const MAX_KEY_META_BYTES: usize = 64 * 1024;
/// Bytes of serialized metadata that an identity may hold.
const MAX_IDENTITY_META_BYTES: usize = 1024 * 1024;

/// A limit for a key or an identity.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RatelimitRequest {
    /// Short, such as requests, and unique for its owner.
    #[schemars(length(min = 3, max = 128))]
    pub name: String,
    /// Cost admitted per window.
    #[schemars(range(min = 1))]
    pub limit: i64,
    /// Window in ms: 60000 a minute, 3600000 an hour, 86400000 a day.
    #[schemars(range(min = 1000))]
    pub duration: i64,
    /// true: every verification counts. false: only those that name this limit.
    #[schemars(extend("x-mark" = "assumed"))]
    pub auto_apply: bool,
}

/// A limit that a key or an identity owns.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RatelimitResponse {
    /// `rl_…`
    pub id: RatelimitId,
    /// Unique for its owner.
    pub name: String,
    /// Cost admitted per window.
    pub limit: i64,
    /// Window in ms.
    pub duration: i64,
    /// Whether every verification counts against it.
    pub auto_apply: bool,
}

impl From<Ratelimit> for RatelimitResponse {
    fn from(limit: Ratelimit) -> Self {
        RatelimitResponse {
            id: limit.id.into(),
            name: limit.name,
            limit: limit.limit,
            duration: limit.duration_ms,
            auto_apply: limit.auto_apply,
        }
    }
}

/// How often a balance is refilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the intervals are their names")]
pub enum Interval {
    Daily,
    Monthly,
}

/// A refill of credits at 00:00 UTC.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRefill {
    /// How often.
    pub interval: Interval,
    /// The balance is set to it if it is lower.
    #[schemars(range(min = 1, max = 9_223_372_036_854_775_807_i64))]
    pub amount: i64,
    /// Day of the month; required for monthly.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31))]
    pub refill_day: Option<i64>,
}

impl From<Refill> for KeyRefill {
    fn from(refill: Refill) -> Self {
        let interval = if refill.day.is_some() { Interval::Monthly } else { Interval::Daily };
        KeyRefill { interval, amount: refill.amount, refill_day: refill.day }
    }
}

/// Credits of a key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyCredits {
    /// The balance; null means unlimited.
    #[schemars(range(min = 0, max = 9_223_372_036_854_775_807_i64))]
    pub remaining: Nullable<i64>,
    /// How it is refilled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refill: Option<KeyRefill>,
}

impl KeyCredits {
    /// The credits as answered: nothing for an unlimited key.
    pub(super) fn of(credits: Credits) -> Option<KeyCredits> {
        credits.remaining.map(|_| KeyCredits::from(credits))
    }
}

/// All that is stored; a refill without a balance included.
impl From<Credits> for KeyCredits {
    fn from(credits: Credits) -> Self {
        KeyCredits { remaining: Nullable(credits.remaining), refill: credits.refill.map(KeyRefill::from) }
    }
}

/// An identity with its limits.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityResponse<L = RatelimitResponse> {
    /// `id_…`
    pub id: IdentityId,
    /// What your own system calls it.
    pub external_id: String,
    /// What you attached to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
    /// Limits that all its keys share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ratelimits: Vec<L>,
}

impl<L: From<Ratelimit>> IdentityResponse<L> {
    /// # Errors
    /// When its stored metadata cannot be read.
    pub(super) fn new(identity: Identity, ratelimits: Vec<Ratelimit>) -> Result<Self, Error> {
        Ok(IdentityResponse {
            meta: stored_meta(identity.meta.as_deref(), &identity.id)?,
            id: identity.id.into(),
            external_id: identity.external_id,
            ratelimits: ratelimits.into_iter().map(L::from).collect(),
        })
    }
}

/// A permission.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionResponse {
    /// `perm_…`
    pub id: PermissionId,
    /// For people.
    pub name: String,
    /// What verifications ask for.
    pub slug: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl From<Permission> for PermissionResponse {
    fn from(permission: Permission) -> Self {
        PermissionResponse {
            id: permission.id.into(),
            name: permission.name,
            slug: permission.slug,
            description: permission.description.filter(|text| !text.is_empty()),
        }
    }
}

/// A role with its permissions.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleResponse {
    /// `role_…`
    pub id: RoleId,
    /// Its name.
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What keys with this role hold, by slug.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<PermissionResponse>,
}

impl RoleResponse {
    /// Reads the permissions of these roles, in their order.
    pub(super) async fn read(connection: &mut Connection, roles: Vec<Role>) -> Result<Vec<RoleResponse>, Error> {
        let ids: Vec<&str> = roles.iter().map(|role| role.id.as_str()).collect();
        let mut permissions = by_owner(permissions::of_roles(connection, &ids).await?);
        let with_permissions = roles.into_iter().map(|role| RoleResponse {
            permissions: permissions.remove(&role.id).unwrap_or_default().into_iter().map(Into::into).collect(),
            id: role.id.into(),
            name: role.name,
            description: role.description.filter(|text| !text.is_empty()),
        });
        Ok(with_permissions.collect())
    }
}

/// The limits of a request, ready to be stored. Of several with one name the last counts.
pub(super) fn new_ratelimits(requested: Vec<RatelimitRequest>) -> Vec<Ratelimit> {
    let mut limits: Vec<Ratelimit> = Vec::with_capacity(requested.len());
    for request in requested {
        limits.retain(|known| known.name != request.name);
        limits.push(Ratelimit {
            id: ids::generate(Kind::Ratelimit),
            name: request.name,
            limit: request.limit,
            duration_ms: request.duration,
            auto_apply: request.auto_apply,
        });
    }
    limits
}

/// Stores limits for an owner that has none yet.
pub(super) async fn add_ratelimits(
    mutation: &mut Mutation,
    owner: &Owner,
    limits: &[Ratelimit],
) -> Result<(), Error> {
    let (workspace_id, now) = (mutation.workspace_id().to_owned(), mutation.now());
    let limits: Vec<_> = limits.iter().map(|limit| (owner, limit)).collect();
    ratelimits::insert(mutation.connection(), &workspace_id, &limits, now).await
}

/// What became of the limits of an owner that were replaced.
#[derive(Debug)]
pub(super) struct ReplacedRatelimits {
    pub(super) deleted: Vec<Ratelimit>,
    /// What was there, and what is there now.
    pub(super) updated: Vec<(Ratelimit, Ratelimit)>,
    pub(super) created: Vec<Ratelimit>,
}

/// Replaces the limits of an owner; a limit whose name stays keeps its id, and with it nothing of its count
/// is lost.
pub(super) async fn replace_ratelimits(
    mutation: &mut Mutation,
    owner: &Owner,
    requested: Vec<RatelimitRequest>,
) -> Result<ReplacedRatelimits, Error> {
    let stored = match owner {
        Owner::Key(id) => ratelimits::of_keys(mutation.connection(), &[id]).await?,
        Owner::Identity(id) => ratelimits::of_identities(mutation.connection(), &[id]).await?,
    };
    let mut wanted = new_ratelimits(requested);
    let (mut deleted, mut updated) = (Vec::new(), Vec::new());
    let now = mutation.now();
    for (_, known) in stored {
        match wanted.iter().position(|limit| limit.name == known.name) {
            Some(at) => {
                let limit = Ratelimit { id: known.id.clone(), ..wanted.remove(at) };
                ratelimits::update(mutation.connection(), &limit, now).await?;
                updated.push((known, limit));
            }
            None => {
                ratelimits::delete(mutation.connection(), &known.id).await?;
                deleted.push(known);
            }
        }
    }
    add_ratelimits(mutation, owner, &wanted).await?;
    Ok(ReplacedRatelimits { deleted, updated, created: wanted })
}

/// The metadata of the thing `id` as it is shown.
pub(super) fn stored_meta(text: Option<&str>, id: &str) -> Result<Option<Meta>, Error> {
    let meta = text.map(Meta::from_stored).transpose();
    meta.map(Option::flatten)
        .map_err(|_| Error::unexpected(format!("the stored metadata of {id} is no JSON object")))
}

/// A key's metadata as stored.
pub(super) fn key_meta(meta: &Meta) -> Result<String, Error> {
    key_meta_at(meta, "body")
}

/// The metadata, as stored, of a key that the request has at the place `at`.
pub(super) fn key_meta_at(meta: &Meta, at: &str) -> Result<String, Error> {
    checked_meta(meta, MAX_KEY_META_BYTES, at)
}

/// An identity's metadata as stored.
pub(super) fn identity_meta(meta: &Meta) -> Result<String, Error> {
    checked_meta(meta, MAX_IDENTITY_META_BYTES, "body")
}

fn checked_meta(meta: &Meta, most: usize, at: &str) -> Result<String, Error> {
    let text = meta.text();
    if text.len() <= most {
        return Ok(text.to_owned());
    }
    Err(Error::invalid(
        &format!("{at}.meta"),
        format!("the metadata is too large: {} serialized, at most {} are allowed", size(text.len()), size(most)),
        "Keep large values elsewhere and store a reference.",
    ))
}

/// Bytes for people: `1.0 MB`.
fn size(bytes: usize) -> String {
    let (unit, name) = if bytes >= 1 << 20 { (1 << 20, "MB") } else { (1 << 10, "KB") };
    format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
}

/// The distinct texts of a list, in their first order.
pub(super) fn distinct(texts: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    texts.into_iter().filter(|text| seen.insert(text.clone())).collect()
}

/// Characters of the prefixes of keys.
pub(super) const PREFIX_PATTERN: &str = "^[a-zA-Z0-9_]+$";
/// Characters of permission slugs.
pub(super) const SLUG_PATTERN: &str = r"^[a-zA-Z0-9_:\-\.\*]+$";

/// For members that are true unless sent.
pub(super) fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_limits_with_one_name_the_last_counts() {
        let request = |name: &str, limit| RatelimitRequest {
            name: name.to_owned(),
            limit,
            duration: 1000,
            auto_apply: false,
        };
        let limits = new_ratelimits(vec![request("a", 1), request("b", 2), request("a", 3)]);
        let named: Vec<_> = limits.iter().map(|limit| (limit.name.as_str(), limit.limit)).collect();
        assert_eq!(named, [("b", 2), ("a", 3)]);
    }

    #[test]
    fn metadata_has_a_size_limit_that_the_error_names() {
        let meta: Meta = serde_json::from_value(serde_json::json!({ "a": "x".repeat(70_000) })).unwrap();
        let error = key_meta(&meta).unwrap_err();
        assert!(error.detail().contains("68.3 KB serialized, at most 64.0 KB"), "{error}");
        assert!(identity_meta(&meta).is_ok());
    }
}
