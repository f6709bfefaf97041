//! What keys are linked to by name, as it comes into being with a link: permissions, roles and identities, each
//! with its audit event.

use serde_json::json;

use crate::audit::{Changes, Event, Target};
use crate::changes::Mutation;
use crate::error::Error;
use crate::ids::{self, Kind};
use crate::store::identities::{self, Identity};
use crate::store::permissions::{self, Permission};
use crate::store::roles::{self, Role};
use crate::store::rows::Rows;
use crate::store::subject::Subject;

/// New permissions, added to `rows`, each with its slug as its name.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn create_permissions(
    mutation: &mut Mutation,
    rows: &mut Rows,
    slugs: impl IntoIterator<Item = String>,
) -> Result<Vec<Permission>, Error> {
    let create = |slug: String| Permission {
        id: ids::generate(Kind::Permission),
        name: slug.clone(),
        slug,
        description: None,
    };
    let created: Vec<_> = slugs.into_iter().map(create).collect();
    let (workspace_id, now) = (mutation.workspace_id().to_owned(), mutation.now());
    permissions::insert(rows, &workspace_id, &created, now).await?;
    for permission in &created {
        mutation.record(permission_created(permission));
    }
    Ok(created)
}

/// New roles, added to `rows`, without permissions.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn create_roles(
    mutation: &mut Mutation,
    rows: &mut Rows,
    names: impl IntoIterator<Item = String>,
) -> Result<Vec<Role>, Error> {
    let create = |name| Role { id: ids::generate(Kind::Role), name, description: None };
    let created: Vec<_> = names.into_iter().map(create).collect();
    let (workspace_id, now) = (mutation.workspace_id().to_owned(), mutation.now());
    roles::insert(rows, &workspace_id, &created, now).await?;
    for role in &created {
        mutation.record(Event::new("role.create", format!("Created role {}", role.id)).on(role_target(role)));
        mutation.touch(Subject::Role(role.id.clone()));
    }
    Ok(created)
}

/// New identities for external ids that no live identity has, added to `rows`.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn create_identities(
    mutation: &mut Mutation,
    rows: &mut Rows,
    external_ids: impl IntoIterator<Item = String>,
) -> Result<Vec<Identity>, Error> {
    let (workspace_id, now) = (mutation.workspace_id().to_owned(), mutation.now());
    let create = |external_id| Identity {
        id: ids::generate(Kind::Identity),
        workspace_id: workspace_id.clone(),
        external_id,
        meta: None,
    };
    let created: Vec<_> = external_ids.into_iter().map(create).collect();
    identities::insert(rows, &created, now).await?;
    for identity in &created {
        let target = Target::new("identity", &identity.id).named(&identity.external_id);
        mutation.record(Event::new("identity.create", format!("Created identity {}", identity.id)).on(target));
        mutation.made_identity(identity.clone());
    }
    Ok(created)
}

/// The audit event of a new permission.
pub(crate) fn permission_created(permission: &Permission) -> Event {
    Event::new("permission.create", format!("Created permission {}", permission.id))
        .on(permission_target(permission))
}

/// The audit event of a permission that a key was given.
pub(crate) fn permission_connected(key: &Target, permission: &Permission) -> Event {
    let description = format!("Connected permission {} and key {}", permission.id, key.id());
    Event::new("authorization.connect_permission_and_key", description)
        .changing(gained("permissions", &permission.slug))
        .on(key.clone())
        .on(permission_target(permission))
}

/// The audit event of a role that a key was given.
pub(crate) fn role_connected(key: &Target, role: &Role) -> Event {
    let description = format!("Connected role {} and key {}", role.id, key.id());
    Event::new("authorization.connect_role_and_key", description)
        .changing(gained("roles", &role.name))
        .on(key.clone())
        .on(role_target(role))
}

/// That a list has one more.
pub(crate) fn gained(list: &str, item: &str) -> Changes {
    Changes::between(&(), &json!({ list: [item] }))
}

/// That a list has one less.
pub(crate) fn lost(list: &str, item: &str) -> Changes {
    Changes::between(&json!({ list: [item] }), &())
}

/// A permission as the target of an event.
pub(crate) fn permission_target(permission: &Permission) -> Target {
    let mut meta = json!({ "name": permission.name, "slug": permission.slug });
    if let Some(description) = &permission.description {
        meta["description"] = description.as_str().into();
    }
    Target::new("permission", &permission.id).named(&permission.slug).with(meta)
}

/// A role as the target of an event.
pub(crate) fn role_target(role: &Role) -> Target {
    let mut meta = json!({ "name": role.name });
    if let Some(description) = &role.description {
        meta["description"] = description.as_str().into();
    }
    Target::new("role", &role.id).named(&role.name).with(meta)
}
