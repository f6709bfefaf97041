//! What a key is linked to by name when it is created or changed: permissions, roles, an identity.
//!
//! Permissions and identities that do not exist yet come into being with the link; roles do not.

use std::collections::HashSet;
use std::hash::Hash;

use super::{locate, locate_for, recorded};
use crate::audit::{Event, Target};
use crate::authorization::{Conditional, Expression, OnDenied};
use crate::catalogue::Operation;
use crate::changes::Mutation;
use crate::ids::KeyId;
use crate::keys::issuing::unknown_role;
use crate::keys::links::{create_identities, create_permissions, permission_connected, role_connected};
pub(in crate::operations) use crate::keys::links::{
    gained, lost, permission_created, permission_target, role_target,
};
use crate::operations::fields::{PermissionResponse, RoleResponse, distinct};
use crate::reply::Reply;
use crate::store::identities;
use crate::store::keys;
use crate::store::permissions::{self, Permission};
use crate::store::roles::{self, Role};
use crate::store::rows::Rows;
use crate::store::subject::Subject;
use crate::{Caller, Code, Error, Keyrack};

/// What a request does with the permissions or roles that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The key gets them besides those that it has.
    Add,
    /// The key loses them.
    Remove,
    /// The key has them and no others.
    Set,
}

impl Change {
    /// What of the held the key loses, in their order.
    fn taken<T: Eq + Hash + Clone>(self, held: &[T], named: &[T]) -> Vec<T> {
        let named: HashSet<&T> = named.iter().collect();
        let goes = |one: &&T| match self {
            Change::Add => false,
            Change::Remove => named.contains(one),
            Change::Set => !named.contains(one),
        };
        held.iter().filter(goes).cloned().collect()
    }

    /// What of the named the key gets, in their order.
    fn given<T: Eq + Hash + Clone>(self, held: &[T], named: &[T]) -> Vec<T> {
        let held: HashSet<&T> = held.iter().collect();
        named.iter().filter(|one| self != Change::Remove && !held.contains(one)).cloned().collect()
    }
}

/// What naming a permission that does not exist yet needs besides.
pub(in crate::operations) const CREATE_PERMISSION: Conditional = Conditional {
    name: "create",
    when: "a requested permission slug does not exist and must be created",
    check: Expression::Any(&[
        Expression::Leg("unkey:v1:{workspaceId}:rbac/permissions/*#create_permission"),
        Expression::Leg("rbac.*.create_permission"),
    ]),
    on_denied: OnDenied::Forbidden,
};

/// Changes the permissions that a key holds itself, and answers them by slug. Those that it is given and that
/// do not exist yet are created, if the caller may.
///
/// # Errors
/// 404 `permission_not_found` that names the first unknown one of those to be removed.
pub(super) async fn change_permissions<O: Operation>(
    keyrack: &Keyrack,
    caller: &Caller,
    key_id: &KeyId,
    change: Change,
    slugs: Vec<String>,
) -> Result<Reply<Vec<PermissionResponse>>, Error> {
    let (authorized, ..) = locate_for::<O>(keyrack, caller, key_id).await?;
    let slugs = distinct(slugs);
    let mut mutation = keyrack.change(caller).await?;
    if change != Change::Remove {
        mutation.correlate();
    }
    let (key, _) = locate(keyrack, mutation.connection(), caller, key_id).await?;
    let known = permissions::find_by_slugs(mutation.connection(), caller.workspace_id(), &slugs).await?;
    if known.len() < slugs.len() {
        match change {
            Change::Add | Change::Set => caller.authorize_also(&O::ABOUT.rule, CREATE_PERMISSION.name, &[])?,
            Change::Remove => return Err(unknown_permission(&slugs, &known)),
        }
    }
    let held = permissions::of_key(mutation.connection(), &key.id).await?;
    let kept = if change == Change::Add { held.as_slice() } else { &[] };
    PERMISSIONS.check(kept.iter().map(|permission| permission.slug.as_str()), &slugs)?;
    let target = recorded::target(&mut mutation, &key).await?;
    disconnect_permissions(&mut mutation, &target, &change.taken(&held, &known)).await?;
    let named = with_new(&mut mutation, known, slugs).await?;
    connect_permissions(&mut mutation, &target, &change.given(&held, &named)).await?;
    let held = permissions::of_key(mutation.connection(), &key.id).await?;
    mutation.touch(Subject::Key(key.id));
    mutation.commit().await?;
    Ok(authorized.reply(held.into_iter().map(PermissionResponse::from).collect::<Vec<_>>()))
}

/// How many of a kind of thing a key may hold itself, whatever ways it gets them: as many as one request may name.
struct Most {
    things: &'static str,
    number: usize,
    fix: &'static str,
}

const PERMISSIONS: Most = Most {
    things: "permissions",
    number: 1000,
    fix: "Remove some of its permissions first, or put them into a role.",
};
const ROLES: Most =
    Most { things: "roles", number: 100, fix: "Remove some of its roles first, or make one role of several." };

impl Most {
    /// Checks how many a key has that keeps these and is given others.
    fn check<'a>(&self, kept: impl Iterator<Item = &'a str>, given: &'a [String]) -> Result<(), Error> {
        let Most { things, number: most, fix } = self;
        let number = kept.chain(given.iter().map(String::as_str)).collect::<HashSet<_>>().len();
        if number <= *most {
            return Ok(());
        }
        let message = format!("must leave the key with at most {most} {things}; it would have {number}");
        Err(Error::invalid(&format!("body.{things}"), message, *fix))
    }
}

/// Changes the roles of a key, and answers them by name. Those that are named must exist.
///
/// # Errors
/// 404 `role_not_found` that names the first unknown one.
pub(super) async fn change_roles<O: Operation>(
    keyrack: &Keyrack,
    caller: &Caller,
    key_id: &KeyId,
    change: Change,
    names: Vec<String>,
) -> Result<Reply<Vec<RoleResponse>>, Error> {
    let (authorized, ..) = locate_for::<O>(keyrack, caller, key_id).await?;
    let mut mutation = keyrack.change(caller).await?;
    if change == Change::Set {
        mutation.correlate();
    }
    let (key, _) = locate(keyrack, mutation.connection(), caller, key_id).await?;
    let held = roles::of_key(mutation.connection(), &key.id).await?;
    let kept = if change == Change::Add { held.as_slice() } else { &[] };
    ROLES.check(kept.iter().map(|role| role.name.as_str()), &names)?;
    let named = roles_by_name(&mut mutation, names).await?;
    let target = recorded::target(&mut mutation, &key).await?;
    disconnect_roles(&mut mutation, &target, &change.taken(&held, &named)).await?;
    connect_roles(&mut mutation, &target, &change.given(&held, &named)).await?;
    let held = roles::of_key(mutation.connection(), &key.id).await?;
    let answer = RoleResponse::read(mutation.connection(), held).await?;
    mutation.touch(Subject::Key(key.id));
    mutation.commit().await?;
    Ok(authorized.reply(answer))
}

/// The permissions with these slugs, by slug; those that do not exist are created with the slug as their name.
pub(in crate::operations) async fn permissions_by_slug(
    mutation: &mut Mutation,
    slugs: Vec<String>,
) -> Result<Vec<Permission>, Error> {
    let (workspace_id, slugs) = (mutation.workspace_id().to_owned(), distinct(slugs));
    let known = permissions::find_by_slugs(mutation.connection(), &workspace_id, &slugs).await?;
    with_new(mutation, known, slugs).await
}

/// The permissions that were found and new ones for the other slugs, by slug.
async fn with_new(
    mutation: &mut Mutation,
    mut found: Vec<Permission>,
    mut slugs: Vec<String>,
) -> Result<Vec<Permission>, Error> {
    slugs.sort_unstable();
    let known: HashSet<&str> = found.iter().map(|permission| permission.slug.as_str()).collect();
    slugs.retain(|slug| !known.contains(slug.as_str()));
    let mut rows = Rows::default();
    found.extend(create_permissions(mutation, &mut rows, slugs).await?);
    rows.add(mutation.connection()).await?;
    found.sort_by(|one, other| one.slug.cmp(&other.slug));
    Ok(found)
}

/// The refusal of slugs of which not all are known.
fn unknown_permission(slugs: &[String], known: &[Permission]) -> Error {
    let unknown = slugs.iter().find(|slug| !known.iter().any(|known| known.slug == **slug));
    let unknown = unknown.map_or("", String::as_str);
    Error::new(Code::PermissionNotFound, format!("There is no permission with the slug \"{unknown}\"."))
}

/// The roles with these names, by name. They must exist.
///
/// # Errors
/// 404 `role_not_found` that names the first unknown one.
pub(super) async fn roles_by_name(mutation: &mut Mutation, names: Vec<String>) -> Result<Vec<Role>, Error> {
    let names = distinct(names);
    let workspace_id = mutation.workspace_id().to_owned();
    let mut found = roles::find_by_names(mutation.connection(), &workspace_id, &names).await?;
    if let Some(unknown) = names.iter().find(|name| !found.iter().any(|role| role.name == **name)) {
        return Err(unknown_role(unknown));
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// The id of the live identity with this external id, which comes into being if there is none.
pub(super) async fn identity_by_external_id(
    mutation: &mut Mutation,
    external_id: String,
) -> Result<String, Error> {
    let workspace_id = mutation.workspace_id().to_owned();
    let known = identities::find_by_external_id(mutation.connection(), &workspace_id, &external_id).await?;
    if let Some(identity) = known {
        return Ok(identity.id);
    }
    let mut rows = Rows::default();
    let created = create_identities(mutation, &mut rows, [external_id]).await?.pop();
    rows.add(mutation.connection()).await?;
    created.map(|identity| identity.id).ok_or_else(|| Error::unexpected("no identity came into being"))
}

/// Gives a key permissions that it does not hold yet, with an event for each.
async fn connect_permissions(
    mutation: &mut Mutation,
    key: &Target,
    permissions: &[Permission],
) -> Result<(), Error> {
    let links: Vec<_> = permissions.iter().map(|permission| (key.id(), permission.id.as_str())).collect();
    keys::link_permissions(mutation.connection(), &links).await?;
    for permission in permissions {
        mutation.record(permission_connected(key, permission));
    }
    Ok(())
}

/// Takes permissions from a key that holds them, with an event for each.
async fn disconnect_permissions(
    mutation: &mut Mutation,
    key: &Target,
    permissions: &[Permission],
) -> Result<(), Error> {
    let ids: Vec<_> = permissions.iter().map(|permission| permission.id.as_str()).collect();
    keys::unlink_permissions(mutation.connection(), key.id(), &ids).await?;
    for permission in permissions {
        let description = format!("Disconnected permission {} and key {}", permission.id, key.id());
        let event = Event::new("authorization.disconnect_permission_and_key", description)
            .changing(lost("permissions", &permission.slug));
        mutation.record(event.on(key.clone()).on(permission_target(permission)));
    }
    Ok(())
}

/// Gives a key roles that it does not have yet, with an event for each.
async fn connect_roles(mutation: &mut Mutation, key: &Target, roles: &[Role]) -> Result<(), Error> {
    let links: Vec<_> = roles.iter().map(|role| (key.id(), role.id.as_str())).collect();
    keys::link_roles(mutation.connection(), &links).await?;
    for role in roles {
        mutation.record(role_connected(key, role));
    }
    Ok(())
}

/// Takes roles from a key that has them, with an event for each.
async fn disconnect_roles(mutation: &mut Mutation, key: &Target, roles: &[Role]) -> Result<(), Error> {
    let ids: Vec<_> = roles.iter().map(|role| role.id.as_str()).collect();
    keys::unlink_roles(mutation.connection(), key.id(), &ids).await?;
    for role in roles {
        let description = format!("Disconnected role {} and key {}", role.id, key.id());
        let event =
            Event::new("authorization.disconnect_role_and_key", description).changing(lost("roles", &role.name));
        mutation.record(event.on(key.clone()).on(role_target(role)));
    }
    Ok(())
}
