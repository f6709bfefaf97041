//! Issuing keys: the one place that stores new keys with all that belongs to them, one or many at once.
//!
//! What keys name is found with one statement, what is new is added in one step, and nothing that was written is
//! read back. Permissions and identities that are named and do not exist come into being
//! with the keys; roles only where that is asked for.

use std::collections::BTreeSet;

use super::links::{create_identities, create_permissions, create_roles, permission_connected, role_connected};
use crate::audit::{Event, Target};
use crate::calendar::UnixMs;
use crate::changes::Mutation;
use crate::error::{Code, Error};
use crate::store::apis::Api;
use crate::store::credits::{self, Credits};
use crate::store::holdings::Holdings;
use crate::store::keys::{self, Key};
use crate::store::named::{self, Named, Wanted};
use crate::store::permissions::Permission;
use crate::store::ratelimits::{self, Owner, Ratelimit};
use crate::store::roles::Role;
use crate::store::rows::Rows;

/// A key to be issued.
#[derive(Debug)]
pub(crate) struct NewKey {
    /// `key_…`
    pub(crate) id: String,
    /// As it is stored.
    pub(crate) hash: String,
    /// The first characters, for people; empty for an imported key.
    pub(crate) start: String,
    /// The migration that it is imported with.
    pub(crate) migration_id: Option<String>,
    /// For people.
    pub(crate) name: Option<String>,
    /// Whom it belongs to.
    pub(crate) external_id: Option<String>,
    /// JSON object.
    pub(crate) meta: Option<String>,
    /// Whether it may be used.
    pub(crate) enabled: bool,
    /// Unix ms.
    pub(crate) expires_at: Option<UnixMs>,
    /// Balance and refill.
    pub(crate) credits: Credits,
    /// Limits of this key alone.
    pub(crate) ratelimits: Vec<Ratelimit>,
    /// Slugs, some perhaps more than once.
    pub(crate) permissions: Vec<String>,
    /// Names, some perhaps more than once.
    pub(crate) roles: Vec<String>,
}

impl NewKey {
    fn slugs(&self) -> BTreeSet<&str> {
        self.permissions.iter().map(String::as_str).collect()
    }

    fn role_names(&self) -> BTreeSet<&str> {
        self.roles.iter().map(String::as_str).collect()
    }

    fn held_permissions<'a>(&self, named: &'a Named) -> impl Iterator<Item = &'a Permission> {
        self.slugs().into_iter().filter_map(|slug| named.permissions.get(slug))
    }

    fn held_roles<'a>(&self, named: &'a Named) -> impl Iterator<Item = &'a Role> {
        self.role_names().into_iter().filter_map(|name| named.roles.get(name))
    }
}

/// What becomes of roles that are named and do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnknownRoles {
    /// The keys are refused.
    Refused,
    /// They are created, without permissions.
    Created,
}

/// Issues keys of an API with the commit, which [`Mutation::commit_unless_taken`] makes: some key may have one of their
/// hashes already.
///
/// # Errors
/// 404 when the API is gone, or for an unknown role that is not to be created; when the store does not answer.
pub(crate) async fn issue(
    mutation: &mut Mutation,
    api: &Api,
    new: &[NewKey],
    unknown_roles: UnknownRoles,
) -> Result<(), Error> {
    let mut rows = Rows::default();
    let named = find_or_create(mutation, &mut rows, api, new, unknown_roles).await?;
    let created_at = mutation.now();
    let stored: Vec<Key> = new.iter().map(|key| stored(key, api, &named, created_at)).collect();
    keys::insert(&mut rows, &stored).await?;
    let credits: Vec<_> = new.iter().map(|key| (key.id.as_str(), key.credits)).collect();
    let credits: Vec<_> = credits.into_iter().filter(|(_, credits)| *credits != Credits::default()).collect();
    credits::set_all(&mut rows, &credits, mutation.calendar().today).await?;
    add_ratelimits(&mut rows, new, &stored).await?;
    link(&mut rows, new, &named).await?;
    mutation.add_later(rows);
    for (key, stored) in new.iter().zip(stored) {
        record(mutation, key, api, &named);
        mutation.made_key(stored, holdings(key, &named));
    }
    Ok(())
}

/// What the keys name, and what of it had to be created.
async fn find_or_create(
    mutation: &mut Mutation,
    rows: &mut Rows,
    api: &Api,
    new: &[NewKey],
    unknown_roles: UnknownRoles,
) -> Result<Named, Error> {
    let wanted = Wanted {
        external_ids: new.iter().filter_map(|key| key.external_id.as_deref()).collect(),
        slugs: new.iter().flat_map(NewKey::slugs).collect(),
        roles: new.iter().flat_map(NewKey::role_names).collect(),
    };
    let workspace_id = mutation.workspace_id().to_owned();
    let mut named = named::find(mutation.connection(), &workspace_id, &api.id, &wanted).await?;
    if !named.has_api {
        // It may have gone while the request waited for the workspace's lock.
        return Err(Error::not_found(Code::ApiNotFound));
    }
    let unknown = |names: BTreeSet<&str>, is_known: &dyn Fn(&str) -> bool| -> Vec<String> {
        names.into_iter().filter(|name| !is_known(name)).map(str::to_owned).collect()
    };
    if unknown_roles == UnknownRoles::Refused
        && let Some(role) = new.iter().flat_map(|key| &key.roles).find(|name| !named.roles.contains_key(*name))
    {
        return Err(unknown_role(role));
    }
    let roles = unknown(wanted.roles, &|name| named.roles.contains_key(name));
    let external_ids = unknown(wanted.external_ids, &|id| named.identities.contains_key(id));
    let slugs = unknown(wanted.slugs, &|slug| named.permissions.contains_key(slug));
    for identity in create_identities(mutation, rows, external_ids).await? {
        named.identities.insert(identity.external_id, identity.id);
    }
    for permission in create_permissions(mutation, rows, slugs).await? {
        named.permissions.insert(permission.slug.clone(), permission);
    }
    for role in create_roles(mutation, rows, roles).await? {
        named.roles.insert(role.name.clone(), role);
    }
    Ok(named)
}

/// The refusal of a role that does not exist.
pub(crate) fn unknown_role(name: &str) -> Error {
    Error::new(
        Code::RoleNotFound,
        format!("There is no role \"{name}\". Create it with `permissions.createRole` first."),
    )
}

fn stored(new: &NewKey, api: &Api, named: &Named, created_at: UnixMs) -> Key {
    let identity_id = new.external_id.as_ref().and_then(|external_id| named.identities.get(external_id));
    Key {
        id: new.id.clone(),
        workspace_id: api.workspace_id.clone(),
        api_id: api.id.clone(),
        hash: new.hash.clone(),
        start: new.start.clone(),
        pending_migration_id: new.migration_id.clone(),
        name: new.name.clone(),
        identity_id: identity_id.cloned(),
        meta: new.meta.clone(),
        enabled: new.enabled,
        expires_at: new.expires_at,
        last_used_at: None,
        created_at,
        updated_at: None,
        credits: new.credits,
    }
}

async fn add_ratelimits(rows: &mut Rows, new: &[NewKey], stored: &[Key]) -> Result<(), Error> {
    let owners: Vec<_> = new.iter().map(|key| Owner::Key(key.id.clone())).collect();
    let mut limits = Vec::new();
    for (owner, key) in owners.iter().zip(new) {
        limits.extend(key.ratelimits.iter().map(|limit| (owner, limit)));
    }
    let Some(Key { workspace_id, created_at, .. }) = stored.first() else { return Ok(()) };
    ratelimits::insert(rows, workspace_id, &limits, *created_at).await
}

async fn link(rows: &mut Rows, new: &[NewKey], named: &Named) -> Result<(), Error> {
    let (mut permissions, mut roles) = (Vec::new(), Vec::new());
    for key in new {
        permissions.extend(key.held_permissions(named).map(|held| (key.id.as_str(), held.id.as_str())));
        roles.extend(key.held_roles(named).map(|held| (key.id.as_str(), held.id.as_str())));
    }
    keys::link_permissions(&mut *rows, &permissions).await?;
    keys::link_roles(rows, &roles).await
}

/// What a new key holds, as it would be read.
fn holdings(key: &NewKey, named: &Named) -> Holdings {
    let mut permissions: Vec<_> = key.held_permissions(named).map(|held| held.slug.clone()).collect();
    let mut roles = Vec::new();
    for role in key.held_roles(named) {
        permissions.extend(named.held.get(&role.id).into_iter().flatten().cloned());
        roles.push(role.name.clone());
    }
    let mut ratelimits = key.ratelimits.clone();
    ratelimits.sort_by(|one, other| one.name.cmp(&other.name));
    Holdings { permissions, roles, ratelimits }
}

fn record(mutation: &mut Mutation, key: &NewKey, api: &Api, named: &Named) {
    let target = Target::key(&key.id, key.name.as_deref(), &key.start, key.external_id.as_deref());
    for permission in key.held_permissions(named) {
        mutation.record(permission_connected(&target, permission));
    }
    for role in key.held_roles(named) {
        mutation.record(role_connected(&target, role));
    }
    let done = if key.migration_id.is_some() { "Imported" } else { "Created" };
    mutation.record(
        Event::new("key.create", format!("{done} key {} of API {}", key.id, api.id))
            .on(target)
            .on(Target::api(api)),
    );
}
