//! What is shown of a key besides the key object: its API, and what it holds through which role.

use std::collections::{BTreeMap, HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::KeyObject;
use crate::ids::ApiId;
use crate::store::keys::{self, Key};
use crate::store::{Connection, by_owner, encrypted_keys};
use crate::{Error, Keyrack};

/// What is answered of a key on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Expand {
    Api,
    Grants,
}

impl Expand {
    /// All of it.
    pub(super) const ALL: [Expand; 2] = [Expand::Api, Expand::Grants];
}

/// A key, with more of it on request.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExpandedKey {
    /// The key.
    #[serde(flatten)]
    pub key: KeyObject,
    /// Where it belongs.
    #[serde(flatten)]
    pub belonging: Option<Belonging>,
    /// What it holds, by slug; with `grants`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<Grant>>,
}

/// Where a key belongs, and how it came into being; with `api`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Belonging {
    /// `api_…`, its API.
    pub api_id: ApiId,
    /// `ks_…`, the key space of that.
    pub keyspace_id: String,
    /// Whether its plaintext is stored.
    pub recoverable: bool,
    /// Whether it was imported and not used yet.
    pub waiting: bool,
}

/// A permission that a key holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The slug of the permission.
    pub slug: String,
    /// Whether the key holds it itself.
    pub direct: bool,
    /// Names of its roles that have it.
    pub roles: Vec<String>,
}

/// Reads what is asked for of these keys, in their order. A key whose API is gone by now is left out of it.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn read(
    keyrack: &Keyrack,
    connection: &mut Connection,
    rows: Vec<Key>,
    expand: &[Expand],
) -> Result<Vec<ExpandedKey>, Error> {
    let calendar = crate::calendar::Calendar::at(keyrack.clock().now());
    let ids: Vec<&str> = rows.iter().map(|key| key.id.as_str()).collect();
    let mut grants = match expand.contains(&Expand::Grants) {
        true => Some(grants_of(connection, &ids).await?),
        false => None,
    };
    let mut belongings = match expand.contains(&Expand::Api) {
        true => belongings_of(keyrack, connection, &rows).await?,
        false => HashMap::new(),
    };
    let objects = KeyObject::read(connection, rows, calendar).await?;
    let expanded = objects.into_iter().map(|key| ExpandedKey {
        belonging: belongings.remove(key.id()),
        grants: grants.as_mut().map(|grants| grants.remove(key.id()).unwrap_or_default()),
        key,
    });
    Ok(expanded.collect())
}

async fn belongings_of(
    keyrack: &Keyrack,
    connection: &mut Connection,
    rows: &[Key],
) -> Result<HashMap<String, Belonging>, Error> {
    let ids: Vec<&str> = rows.iter().map(|key| key.id.as_str()).collect();
    let recoverable: HashSet<String> = encrypted_keys::stored(connection, &ids).await?.into_iter().collect();
    let belonging = |key: &Key| {
        let key_space = |api: &std::sync::Arc<crate::resident::Api>| api.stored.key_space_id.clone();
        let belonging = Belonging {
            keyspace_id: keyrack.resident().look_at_api(&key.api_id, key_space)?,
            api_id: key.api_id.clone().into(),
            recoverable: recoverable.contains(&key.id),
            waiting: key.pending_migration_id.is_some(),
        };
        Some((key.id.clone(), belonging))
    };
    Ok(rows.iter().filter_map(belonging).collect())
}

async fn grants_of(connection: &mut Connection, ids: &[&str]) -> Result<HashMap<String, Vec<Grant>>, Error> {
    let direct = by_owner(keys::direct_permission_slugs(connection, ids).await?);
    let through_roles = by_owner(keys::role_permission_slugs(connection, ids).await?);
    let mut grants: HashMap<String, BTreeMap<String, Grant>> = HashMap::new();
    let grant = |slug: &str| Grant { slug: slug.to_owned(), direct: false, roles: Vec::new() };
    for (key_id, slugs) in direct {
        let of_key = grants.entry(key_id).or_default();
        for slug in slugs {
            of_key.entry(slug.clone()).or_insert_with(|| grant(&slug)).direct = true;
        }
    }
    for (key_id, pairs) in through_roles {
        let of_key = grants.entry(key_id).or_default();
        for (role, slug) in pairs {
            of_key.entry(slug.clone()).or_insert_with(|| grant(&slug)).roles.push(role);
        }
    }
    let sorted = grants.into_iter().map(|(key_id, grants)| {
        let mut grants: Vec<Grant> = grants.into_values().collect();
        grants.iter_mut().for_each(|grant| grant.roles.sort_unstable());
        (key_id, grants)
    });
    Ok(sorted.collect())
}
