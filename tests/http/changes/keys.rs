//! Changes of APIs and keys.

use keyrack_test_harness::{Server, sha256_base64};
use serde_json::{Value, json};

use super::scene::{Scene, id, limit};
use super::{Change, Due, Named, due};
use crate::keys::migrate::new_migration;

const CONNECT_PERMISSION: &str = "authorization.connect_permission_and_key";
const DISCONNECT_PERMISSION: &str = "authorization.disconnect_permission_and_key";
const CONNECT_ROLE: &str = "authorization.connect_role_and_key";
const DISCONNECT_ROLE: &str = "authorization.disconnect_role_and_key";

pub(super) async fn changes(server: &Server, operation: &'static str, tag: &str) -> Vec<Change> {
    let scene = Scene::made(server, tag).await;
    let one = |body: Value, due: Vec<Due>| vec![Change::new(operation, body, due).probed([scene.verification()])];
    match operation {
        "apis.createApi" => one(json!({"name": tag}), vec![due("api.create", [Named::Answered("/apiId")])]),
        "apis.updateApi" => {
            let body = json!({"apiId": scene.api, "name": scene.name("renamed"), "ipWhitelist": ["203.0.113.9"],
                "defaultPrefix": "new", "defaultBytes": 32, "deleteProtection": true, "storeEncryptedKeys": true});
            one(body, vec![due("api.update", [scene.api()])])
        }
        "apis.deleteApi" => one(json!({"apiId": scene.api}), vec![due("api.delete", [scene.api()])]),
        "keys.createKey" => one(whole_key(server, &scene).await, key_created(&scene)),
        "keys.updateKey" => one(whole_update(&scene), key_updated(&scene)),
        "keys.deleteKey" => {
            let body = json!({"keyId": scene.key.id});
            let other = Scene::made(server, &scene.name("forever")).await;
            let forever = json!({"keyId": other.key.id, "permanent": true});
            let forever = Change::new(operation, forever, vec![due("key.delete", [other.key()])]);
            let mut both = one(body, vec![due("key.delete", [scene.key()])]);
            both.push(forever.probed([other.verification()]));
            both
        }
        "keys.rerollKey" => {
            let body = json!({"keyId": scene.key.id, "expiration": 0});
            one(body, vec![due("key.reroll", [Named::Answered("/keyId"), scene.key(), scene.api()])])
        }
        "keys.updateCredits" => {
            let body = json!({"keyId": scene.key.id, "operation": "decrement", "value": 30});
            one(body, vec![due("key.update", [id(&scene.key_space), scene.key()])])
        }
        "keys.migrateKeys" => vec![migration(server, &scene)],
        _ => {
            let (body, due) = links(&scene, operation);
            one(body, due)
        }
    }
}

/// A key with everything, of which half is new.
async fn whole_key(server: &Server, scene: &Scene) -> Value {
    let stores = json!({"apiId": scene.api, "storeEncryptedKeys": true});
    server.call("apis.updateApi", stores).await.expect(200);
    json!({
        "apiId": scene.api, "name": "whole", "prefix": "p", "externalId": scene.name("new"), "meta": {"c": 1},
        "permissions": [scene.name("held"), scene.name("x"), scene.name("y")], "roles": [scene.name("heldRole")],
        "credits": {"remaining": 5, "refill": {"interval": "daily", "amount": 9}}, "recoverable": true,
        "ratelimits": [limit("own", 5)],
    })
}

fn key_created(scene: &Scene) -> Vec<Due> {
    let key = || Named::Answered("/keyId");
    let permission = |what: &str| Named::Permission(scene.name(what));
    vec![
        due("identity.create", [Named::Identity(scene.name("new"))]),
        due("permission.create", [permission("x")]),
        due("permission.create", [permission("y")]),
        due(CONNECT_PERMISSION, [key(), id(&scene.held_permission)]),
        due(CONNECT_PERMISSION, [key(), permission("x")]),
        due(CONNECT_PERMISSION, [key(), permission("y")]),
        due(CONNECT_ROLE, [key(), id(&scene.held_role)]),
        due("key.create", [key(), scene.api()]),
    ]
}

/// Every member of the key, to something else.
fn whole_update(scene: &Scene) -> Value {
    json!({
        "keyId": scene.key.id, "name": "renamed", "externalId": scene.name("new"), "meta": {"d": 1},
        "expires": 4_000_000_000_000_u64, "enabled": false, "ratelimits": [limit("other", 7)],
        "credits": {"remaining": 50, "refill": {"interval": "daily", "amount": 60}},
        "permissions": [scene.name("free"), scene.name("x"), scene.name("y")], "roles": [scene.name("freeRole")],
    })
}

fn key_updated(scene: &Scene) -> Vec<Due> {
    vec![
        due("identity.create", [Named::Identity(scene.name("new"))]),
        due("permission.create", [Named::Permission(scene.name("x"))]),
        due("permission.create", [Named::Permission(scene.name("y"))]),
        due("key.update", [scene.key(), scene.api()]),
    ]
}

/// Two keys, the second of which finds what the first has brought into being.
fn migration(server: &Server, scene: &Scene) -> Change {
    let key = |what: &str| {
        json!({
            "hash": sha256_base64(&scene.name(what)), "name": what, "externalId": scene.name("new"), "meta": {"e": 1},
            "permissions": [scene.name("held"), scene.name("x")], "roles": [scene.name("newRole")],
            "credits": {"remaining": 5}, "ratelimits": [limit("own", 5)],
        })
    };
    let migration = new_migration(server, "sha256");
    let body = json!({"migrationId": migration, "apiId": scene.api, "keys": [key("one"), key("two")]});
    let (x, role) = (Named::Permission(scene.name("x")), Named::Role(scene.name("newRole")));
    let created = |pointer: &'static str| {
        let key = || Named::Answered(pointer);
        vec![
            due(CONNECT_PERMISSION, [key(), id(&scene.held_permission)]),
            due(CONNECT_PERMISSION, [key(), x.clone()]),
            due(CONNECT_ROLE, [key(), role.clone()]),
            due("key.create", [key(), scene.api()]),
        ]
    };
    let first = vec![
        due("identity.create", [Named::Identity(scene.name("new"))]),
        due("permission.create", [x.clone()]),
        due("role.create", [role.clone()]),
    ];
    let mut change = Change::new("keys.migrateKeys", body, first).probed([scene.verification()]);
    change.due.extend(["/migrated/0/keyId", "/migrated/1/keyId"].map(created));
    change
}

/// Permissions and roles of a key given and taken: what is asked for, and the events it writes.
fn links(scene: &Scene, operation: &str) -> (Value, Vec<Due>) {
    let (held, free) = (scene.name("held"), scene.name("free"));
    let permissions = |slugs: &[&String]| json!({"keyId": scene.key.id, "permissions": slugs});
    let roles = |name: &str| json!({"keyId": scene.key.id, "roles": [scene.name(name)]});
    let created = |what: &str| due("permission.create", [Named::Permission(scene.name(what))]);
    let connected = |what: &str| due(CONNECT_PERMISSION, [scene.key(), Named::Permission(scene.name(what))]);
    let lost = due(DISCONNECT_PERMISSION, [scene.key(), id(&scene.held_permission)]);
    let given = due(CONNECT_ROLE, [scene.key(), id(&scene.free_role)]);
    let taken = due(DISCONNECT_ROLE, [scene.key(), id(&scene.held_role)]);
    let (x, y) = (scene.name("x"), scene.name("y"));
    let new = |connected: &dyn Fn(&str) -> Due| vec![connected("free"), connected("x"), connected("y")];
    match operation {
        "keys.addPermissions" => {
            let events = [vec![created("x"), created("y")], new(&connected)].concat();
            (permissions(&[&y, &x, &free, &held]), events)
        }
        "keys.setPermissions" => {
            let events = [vec![lost, created("x"), created("y")], new(&connected)].concat();
            (permissions(&[&y, &x, &free]), events)
        }
        "keys.removePermissions" => (permissions(&[&held]), vec![lost]),
        "keys.addRoles" => (roles("freeRole"), vec![given]),
        "keys.setRoles" => (roles("freeRole"), vec![taken, given]),
        "keys.removeRoles" => (roles("heldRole"), vec![taken]),
        other => panic!("no change for {other}"),
    }
}
