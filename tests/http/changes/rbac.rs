//! Changes of identities, permissions and roles.

use keyrack_test_harness::Server;
use serde_json::{Value, json};

use super::scene::{Scene, id, limit};
use super::{Change, Due, Named, due};

const CONNECT: &str = "authorization.connect_role_and_permission";
const DISCONNECT: &str = "authorization.disconnect_role_and_permissions";

pub(super) async fn changes(server: &Server, operation: &'static str, tag: &str) -> Vec<Change> {
    let scene = Scene::made(server, tag).await;
    let (body, due) = if operation.starts_with("identities.") {
        of_identities(&scene, operation)
    } else if operation.contains("Role") {
        of_roles(&scene, operation)
    } else {
        of_permissions(&scene, operation)
    };
    vec![Change::new(operation, body, due).probed([scene.verification()])]
}

fn of_identities(scene: &Scene, operation: &str) -> (Value, Vec<Due>) {
    let (owner, new) = (scene.name("owner"), scene.name("new"));
    let identity = || id(&scene.identity);
    let [gone, kept] = scene.limits.each_ref().map(|limit| id(limit));
    match operation {
        "identities.createIdentity" => {
            let limit_of = |name| [Named::Answered("/identityId"), Named::LimitOf(new.clone(), name)];
            let body = json!({"externalId": new, "meta": {"a": 1}, "ratelimits": [limit("second", 5), limit("first", 5)]});
            let events = vec![
                due("identity.create", [Named::Answered("/identityId")]),
                due("ratelimit.create", limit_of("second")),
                due("ratelimit.create", limit_of("first")),
            ];
            (body, events)
        }
        "identities.updateIdentity" => {
            let limits = json!([limit("kept", 7), limit("new", 5)]);
            let events = vec![
                due("identity.update", [identity()]),
                due("ratelimit.delete", [identity(), gone]),
                due("ratelimit.update", [identity(), kept]),
                due("ratelimit.create", [identity(), Named::LimitOf(owner.clone(), "new")]),
            ];
            (json!({"identity": owner, "meta": {"a": 2}, "ratelimits": limits}), events)
        }
        "identities.deleteIdentity" => {
            let events = vec![
                due("identity.delete", [identity()]),
                due("ratelimit.delete", [identity(), gone]),
                due("ratelimit.delete", [identity(), kept]),
            ];
            (json!({"identity": owner}), events)
        }
        other => panic!("no change for {other}"),
    }
}

fn of_permissions(scene: &Scene, operation: &str) -> (Value, Vec<Due>) {
    let held = || id(&scene.held_permission);
    match operation {
        "permissions.createPermission" => {
            let body = json!({"name": "N", "slug": scene.name("new"), "description": "d"});
            (body, vec![due("permission.create", [Named::Answered("/permissionId")])])
        }
        "permissions.updatePermission" => {
            let body = json!({"permission": scene.held_permission, "name": "N", "slug": scene.name("renamed"),
                "description": "d"});
            (body, vec![due("permission.update", [held()])])
        }
        "permissions.deletePermission" => {
            (json!({"permission": scene.held_permission}), vec![due("permission.delete", [held()])])
        }
        other => panic!("no change for {other}"),
    }
}

fn of_roles(scene: &Scene, operation: &str) -> (Value, Vec<Due>) {
    let held = || id(&scene.held_role);
    let permission = |what: &str| Named::Permission(scene.name(what));
    match operation {
        "permissions.createRole" => {
            let role = || Named::Answered("/roleId");
            let slugs = ["x", "y", "held"].map(|what| scene.name(what));
            let body = json!({"name": scene.name("new"), "description": "d", "permissions": slugs});
            let events = vec![
                due("role.create", [role()]),
                due("permission.create", [permission("x")]),
                due("permission.create", [permission("y")]),
                due(CONNECT, [role(), permission("held")]),
                due(CONNECT, [role(), permission("x")]),
                due(CONNECT, [role(), permission("y")]),
            ];
            (body, events)
        }
        "permissions.setRolePermissions" => {
            let slugs = ["free", "x"].map(|what| scene.name(what));
            let events = vec![
                due("permission.create", [permission("x")]),
                due(DISCONNECT, [held(), permission("ofHeldRole")]),
                due(CONNECT, [held(), permission("free")]),
                due(CONNECT, [held(), permission("x")]),
            ];
            (json!({"role": scene.held_role, "permissions": slugs}), events)
        }
        "permissions.updateRole" => {
            let body = json!({"role": scene.held_role, "name": scene.name("renamed"), "description": "d"});
            (body, vec![due("role.update", [held()])])
        }
        "permissions.deleteRole" => (json!({"role": scene.held_role}), vec![due("role.delete", [held()])]),
        other => panic!("no change for {other}"),
    }
}
