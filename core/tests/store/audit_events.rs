//! Which events each change of identities, permissions and roles writes, in order and with their targets.

use keyrack_core::operations::identities::{CreateIdentity, DeleteIdentity, UpdateIdentity};
use keyrack_core::operations::permissions::{
    CreatePermission, CreateRole, DeletePermission, DeleteRole, SetRolePermissions, UpdatePermission, UpdateRole,
};
use serde_json::{Value, json};

use crate::changes::chain;
use crate::{Database, Instance, on_both_engines};

on_both_engines!(
    identities_and_their_limits,
    permissions,
    roles_and_their_permissions,
    a_refused_change_writes_no_event,
);

/// The last `count` events: names with the types of their targets. They share a correlation id if `correlated`.
async fn last(instance: &Instance, count: usize, correlated: bool) -> Vec<String> {
    let entries = chain(instance).await;
    let entries = &entries[entries.len() - count..];
    let first = entries.first().and_then(|entry| entry.correlation_id.clone());
    assert_eq!(first.is_some(), correlated, "{entries:?}");
    assert!(entries.iter().all(|entry| entry.correlation_id == first), "{entries:?}");
    let line = |event: &str, targets: &str| {
        let targets: Vec<Value> = serde_json::from_str(targets).unwrap();
        let kinds: Vec<&str> = targets.iter().map(|target| target["type"].as_str().unwrap()).collect();
        format!("{event} {}", kinds.join("+"))
    };
    entries.iter().map(|entry| line(&entry.event, &entry.targets)).collect()
}

fn limit(name: &str, limit: u64) -> Value {
    json!({ "name": name, "limit": limit, "duration": 1000, "autoApply": false })
}

async fn identities_and_their_limits(database: Database) {
    let instance = database.set_up().await;
    let body = json!({ "externalId": "customer", "ratelimits": [limit("gone", 1), limit("kept", 1)] });
    instance.run::<CreateIdentity>(body).await.unwrap();
    let created = last(&instance, 3, true).await;
    assert_eq!(
        created,
        ["identity.create identity", "ratelimit.create identity+ratelimit", "ratelimit.create identity+ratelimit"]
    );
    let body = json!({ "identity": "customer", "ratelimits": [limit("new", 1), limit("kept", 1)] });
    instance.run::<UpdateIdentity>(body).await.unwrap();
    assert_eq!(
        last(&instance, 4, true).await,
        [
            "identity.update identity",
            "ratelimit.delete identity+ratelimit",
            "ratelimit.update identity+ratelimit",
            "ratelimit.create identity+ratelimit"
        ]
    );
    instance.run::<UpdateIdentity>(json!({ "identity": "customer" })).await.unwrap();
    assert_eq!(last(&instance, 1, true).await, ["identity.update identity"]);
    instance.run::<DeleteIdentity>(json!({ "identity": "customer" })).await.unwrap();
    assert_eq!(
        last(&instance, 3, true).await,
        ["identity.delete identity", "ratelimit.delete identity+ratelimit", "ratelimit.delete identity+ratelimit"]
    );
}

async fn permissions(database: Database) {
    let instance = database.set_up().await;
    instance.run::<CreatePermission>(json!({ "name": "n", "slug": "s" })).await.unwrap();
    assert_eq!(last(&instance, 1, false).await, ["permission.create permission"]);
    instance.run::<UpdatePermission>(json!({ "permission": "s", "slug": "t" })).await.unwrap();
    assert_eq!(last(&instance, 1, false).await, ["permission.update permission"]);
    let events = chain(&instance).await.len();
    instance.run::<UpdatePermission>(json!({ "permission": "t" })).await.unwrap();
    assert_eq!(chain(&instance).await.len(), events, "nothing to change is no event");
    instance.run::<DeletePermission>(json!({ "permission": "t" })).await.unwrap();
    assert_eq!(last(&instance, 1, false).await, ["permission.delete permission"]);
}

async fn roles_and_their_permissions(database: Database) {
    let instance = database.set_up().await;
    instance.run::<CreateRole>(json!({ "name": "r", "permissions": ["a", "b"] })).await.unwrap();
    assert_eq!(
        last(&instance, 5, true).await,
        [
            "role.create role",
            "permission.create permission",
            "permission.create permission",
            "authorization.connect_role_and_permission role+permission",
            "authorization.connect_role_and_permission role+permission"
        ]
    );
    instance.run::<SetRolePermissions>(json!({ "role": "r", "permissions": ["c", "b"] })).await.unwrap();
    assert_eq!(
        last(&instance, 3, true).await,
        [
            "permission.create permission",
            "authorization.disconnect_role_and_permissions role+permission",
            "authorization.connect_role_and_permission role+permission"
        ]
    );
    let events = chain(&instance).await.len();
    instance.run::<SetRolePermissions>(json!({ "role": "r", "permissions": ["b", "c", "b"] })).await.unwrap();
    assert_eq!(chain(&instance).await.len(), events, "the same set again is no event");
    instance.run::<SetRolePermissions>(json!({ "role": "r", "permissions": ["b"] })).await.unwrap();
    let events = last(&instance, 1, true).await;
    assert_eq!(events, ["authorization.disconnect_role_and_permissions role+permission"]);
    instance.run::<UpdateRole>(json!({ "role": "r", "description": "d" })).await.unwrap();
    assert_eq!(last(&instance, 1, false).await, ["role.update role"]);
    instance.run::<DeleteRole>(json!({ "role": "r" })).await.unwrap();
    assert_eq!(last(&instance, 1, false).await, ["role.delete role"]);
}

async fn a_refused_change_writes_no_event(database: Database) {
    let instance = database.set_up().await;
    for slug in ["a", "b"] {
        instance.run::<CreatePermission>(json!({ "name": "n", "slug": slug })).await.unwrap();
    }
    let events = chain(&instance).await.len();
    instance.run::<UpdatePermission>(json!({ "permission": "a", "slug": "b" })).await.unwrap_err();
    instance.run::<SetRolePermissions>(json!({ "role": "nope", "permissions": ["new"] })).await.unwrap_err();
    instance.run::<DeleteRole>(json!({ "role": "nope" })).await.unwrap_err();
    instance.run::<DeletePermission>(json!({ "permission": "nope" })).await.unwrap_err();
    instance.run::<UpdateIdentity>(json!({ "identity": "nope" })).await.unwrap_err();
    assert_eq!(chain(&instance).await.len(), events);
    let body = json!({ "name": "n", "slug": "new" });
    instance.run::<CreatePermission>(body).await.unwrap();
}
