//! What becomes of a permission or a role reaches every key that holds it, in every process.

use keyrack_core::operations::apis::CreateApi;
use keyrack_core::operations::keys::CreateKey;
use keyrack_core::operations::permissions::{
    CreateRole, DeletePermission, DeleteRole, SetRolePermissions, UpdatePermission, UpdateRole,
};
use keyrack_core::retention::Retention;
use serde_json::json;

use crate::changes::within_a_second;
use crate::{Database, Instance, on_both_engines};

on_both_engines!(
    a_deleted_permission_leaves_every_key_everywhere,
    a_deleted_role_leaves_every_key_everywhere,
    changes_of_roles_and_permissions_are_seen_everywhere,
);

/// More than one statement of the change feed takes.
const KEYS: usize = 230;

async fn keys(instance: &Instance, count: usize) -> Vec<String> {
    let api = instance.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    instance.run::<CreateRole>(json!({ "name": "admin", "permissions": ["in.role"] })).await.unwrap();
    let body = json!({ "apiId": api["apiId"], "permissions": ["direct"], "roles": ["admin"] });
    let mut keys = Vec::new();
    for _ in 0..count {
        let created = instance.run::<CreateKey>(body.clone()).await.unwrap();
        keys.push(created["key"].as_str().unwrap().to_owned());
    }
    keys
}

fn holds(instance: &Instance, key: &str, permission: &str) -> bool {
    let found = instance.keyrack.resident().find(&instance.workspace_id, key).unwrap();
    found.key.holds(permission)
}

fn roles(instance: &Instance, key: &str) -> Vec<String> {
    let found = instance.keyrack.resident().find(&instance.workspace_id, key).unwrap();
    found.key.access.roles.iter().map(|role| role.to_string()).collect()
}

async fn a_deleted_permission_leaves_every_key_everywhere(database: Database) {
    let here = database.set_up().await;
    let keys = keys(&here, KEYS).await;
    let there = here.other_process(&database).await;
    there.keyrack.start_background_work(Retention::default());
    for permission in ["direct", "in.role"] {
        assert!(keys.iter().all(|key| holds(&here, key, permission) && holds(&there, key, permission)));
        here.run::<DeletePermission>(json!({ "permission": permission })).await.unwrap();
        assert!(!keys.iter().any(|key| holds(&here, key, permission)), "{permission}");
        within_a_second(|| !keys.iter().any(|key| holds(&there, key, permission))).await;
    }
}

async fn a_deleted_role_leaves_every_key_everywhere(database: Database) {
    let here = database.set_up().await;
    let keys = keys(&here, KEYS).await;
    let there = here.other_process(&database).await;
    there.keyrack.start_background_work(Retention::default());
    here.run::<DeleteRole>(json!({ "role": "admin" })).await.unwrap();
    assert!(!keys.iter().any(|key| holds(&here, key, "in.role")));
    assert!(keys.iter().all(|key| holds(&here, key, "direct") && roles(&here, key).is_empty()));
    within_a_second(|| keys.iter().all(|key| roles(&there, key).is_empty() && !holds(&there, key, "in.role")))
        .await;
}

async fn changes_of_roles_and_permissions_are_seen_everywhere(database: Database) {
    let here = database.set_up().await;
    let keys = keys(&here, 3).await;
    let there = here.other_process(&database).await;
    there.keyrack.start_background_work(Retention::default());
    here.run::<SetRolePermissions>(json!({ "role": "admin", "permissions": ["new"] })).await.unwrap();
    here.run::<UpdatePermission>(json!({ "permission": "direct", "slug": "renamed" })).await.unwrap();
    here.run::<UpdateRole>(json!({ "role": "admin", "name": "owner" })).await.unwrap();
    let is_done = |instance: &Instance, key: &str| {
        let slugs = [("in.role", false), ("new", true), ("direct", false), ("renamed", true)];
        slugs.iter().all(|(slug, due)| holds(instance, key, slug) == *due) && roles(instance, key) == ["owner"]
    };
    assert!(keys.iter().all(|key| is_done(&here, key)));
    within_a_second(|| keys.iter().all(|key| is_done(&there, key))).await;
}
