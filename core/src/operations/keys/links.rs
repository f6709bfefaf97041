//! What a key is linked to by name when it is created or changed: permissions, roles, an identity.
//!
//! Permissions and identities that do not exist yet come into being with the link; roles do not.

use serde_json::json;

use crate::audit::{Event, Target};
use crate::changes::{Mutation, Subject};
use crate::ids::{self, Kind};
use crate::operations::fields::{PermissionResponse, RoleResponse, distinct};
use crate::store::identities::{self, Identity};
use crate::store::keys;
use crate::store::permissions::{self, Permission};
use crate::store::roles::{self, Role};
use crate::{Code, Error};

/// The permissions with these slugs, in ascending order of slugs; those that do not exist are created
/// with the slug as their name.
pub(in crate::operations) async fn permissions_by_slug(
    mutation: &mut Mutation,
    slugs: Vec<String>,
) -> Result<Vec<Permission>, Error> {
    let (workspace_id, now) = (mutation.workspace_id().to_owned(), mutation.now());
    let mut slugs = distinct(slugs);
    slugs.sort_unstable();
    let mut found = permissions::find_by_slugs(mutation.connection(), &workspace_id, &slugs).await?;
    let known: std::collections::HashSet<String> =
        found.iter().map(|permission| permission.slug.clone()).collect();
    for slug in slugs.into_iter().filter(|slug| !known.contains(slug)) {
        let permission =
            Permission { id: ids::generate(Kind::Permission), name: slug.clone(), slug, description: None };
        permissions::insert(mutation.connection(), &workspace_id, &permission, now).await?;
        mutation.record(permission_created(&permission));
        found.push(permission);
    }
    found.sort_by(|one, other| one.slug.cmp(&other.slug));
    Ok(found)
}

/// The audit event of a new permission.
pub(in crate::operations) fn permission_created(permission: &Permission) -> Event {
    Event::new("permission.create", format!("Created permission {}", permission.id))
        .on(permission_target(permission))
}

/// A permission as the target of an event.
pub(in crate::operations) fn permission_target(permission: &Permission) -> Target {
    let mut meta = json!({ "name": permission.name, "slug": permission.slug });
    if let Some(description) = &permission.description {
        meta["description"] = description.as_str().into();
    }
    Target::new("permission", &permission.id).named(&permission.slug).with(meta)
}

/// A role as the target of an event.
pub(in crate::operations) fn role_target(role: &Role) -> Target {
    let mut meta = json!({ "name": role.name });
    if let Some(description) = &role.description {
        meta["description"] = description.as_str().into();
    }
    Target::new("role", &role.id).named(&role.name).with(meta)
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
        return Err(Error::new(
            Code::RoleNotFound,
            format!("There is no role \"{unknown}\". Create it with `permissions.createRole` first."),
        ));
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// The roles with these names, by name; those that do not exist are created without permissions.
pub(super) async fn roles_by_name_or_new(mutation: &mut Mutation, names: Vec<String>) -> Result<Vec<Role>, Error> {
    let (workspace_id, now) = (mutation.workspace_id().to_owned(), mutation.now());
    let names = distinct(names);
    let mut found = roles::find_by_names(mutation.connection(), &workspace_id, &names).await?;
    for name in names {
        if found.iter().any(|role| role.name == name) {
            continue;
        }
        let role = Role { id: ids::generate(Kind::Role), name, description: None };
        roles::insert(mutation.connection(), &workspace_id, &role, now).await?;
        mutation.record(Event::new("role.create", format!("Created role {}", role.id)).on(role_target(&role)));
        mutation.touch(Subject::Role(role.id.clone()));
        found.push(role);
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// The id of the live identity with this external id, which comes into being if there is none.
pub(super) async fn identity_by_external_id(
    mutation: &mut Mutation,
    external_id: String,
) -> Result<String, Error> {
    let (workspace_id, now) = (mutation.workspace_id().to_owned(), mutation.now());
    let known = identities::find_by_external_id(mutation.connection(), &workspace_id, &external_id).await?;
    if let Some(identity) = known {
        return Ok(identity.id);
    }
    let identity = Identity { id: ids::generate(Kind::Identity), workspace_id, external_id, meta: None };
    identities::insert(mutation.connection(), &identity, now).await?;
    mutation.record(
        Event::new("identity.create", format!("Created identity {}", identity.id)).on(Target::new(
            "identity",
            &identity.id,
        )
        .named(&identity.external_id)),
    );
    mutation.touch(Subject::Identity(identity.id.clone()));
    Ok(identity.id)
}

/// Gives a key permissions that it does not hold yet, with an event for each.
pub(super) async fn connect_permissions(
    mutation: &mut Mutation,
    key_id: &str,
    permissions: &[Permission],
) -> Result<(), Error> {
    let ids = permissions.iter().map(|permission| permission.id.as_str());
    keys::link_permissions(mutation.connection(), key_id, ids).await?;
    for permission in permissions {
        let description = format!("Connected permission {} and key {key_id}", permission.id);
        let event = Event::new("authorization.connect_permission_and_key", description);
        mutation.record(event.on(Target::new("key", key_id)).on(permission_target(permission)));
    }
    Ok(())
}

/// Takes permissions from a key that holds them, with an event for each.
pub(super) async fn disconnect_permissions(
    mutation: &mut Mutation,
    key_id: &str,
    permissions: &[Permission],
) -> Result<(), Error> {
    for permission in permissions {
        keys::unlink_permission(mutation.connection(), key_id, &permission.id).await?;
        let description = format!("Disconnected permission {} and key {key_id}", permission.id);
        let event = Event::new("authorization.disconnect_permission_and_key", description);
        mutation.record(event.on(Target::new("key", key_id)).on(permission_target(permission)));
    }
    Ok(())
}

/// Gives a key roles that it does not have yet, with an event for each.
pub(super) async fn connect_roles(mutation: &mut Mutation, key_id: &str, roles: &[Role]) -> Result<(), Error> {
    keys::link_roles(mutation.connection(), key_id, roles.iter().map(|role| role.id.as_str())).await?;
    for role in roles {
        let description = format!("Connected role {} and key {key_id}", role.id);
        let event = Event::new("authorization.connect_role_and_key", description);
        mutation.record(event.on(Target::new("key", key_id)).on(role_target(role)));
    }
    Ok(())
}

/// Takes roles from a key that has them, with an event for each.
pub(super) async fn disconnect_roles(mutation: &mut Mutation, key_id: &str, roles: &[Role]) -> Result<(), Error> {
    for role in roles {
        keys::unlink_role(mutation.connection(), key_id, &role.id).await?;
        let description = format!("Disconnected role {} and key {key_id}", role.id);
        let event = Event::new("authorization.disconnect_role_and_key", description);
        mutation.record(event.on(Target::new("key", key_id)).on(role_target(role)));
    }
    Ok(())
}

/// The permissions that a key holds itself, by slug, as answered.
pub(super) async fn answered_permissions(
    mutation: &mut Mutation,
    key_id: &str,
) -> Result<Vec<PermissionResponse>, Error> {
    let held = permissions::of_key(mutation.connection(), key_id).await?;
    Ok(held.into_iter().map(PermissionResponse::from).collect())
}

/// The roles of a key, by name, as answered.
pub(super) async fn answered_roles(mutation: &mut Mutation, key_id: &str) -> Result<Vec<RoleResponse>, Error> {
    let held = roles::of_key(mutation.connection(), key_id).await?;
    RoleResponse::read(mutation.connection(), held).await
}

/// What of `all` is not in `others`.
pub(super) fn without<T: PartialEq + Clone>(all: &[T], others: &[T]) -> Vec<T> {
    all.iter().filter(|one| !others.contains(one)).cloned().collect()
}
