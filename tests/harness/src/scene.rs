//! For every operation of the catalogue, a request that succeeds, and what it is about.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::{Client, Server};

/// Ids by the names that permission expressions have for them.
pub type Ids = BTreeMap<&'static str, String>;

/// Resources for one call of an operation, made anew for each call because some calls consume them.
#[derive(Debug)]
pub struct Scene {
    /// The ids of what was made, by the names that permission expressions have for them, such as `apiId`.
    pub ids: Ids,
    /// A request about them that is a success for a root key with full access.
    pub body: Value,
}

/// Makes what one call of an operation needs, with the server's own root key.
///
/// # Panics
/// For an operation that has no scene: each of the catalogue has one.
pub async fn scene(server: &Server, operation: &str) -> Scene {
    scene_in(server, server, operation).await
}

/// The same in the workspace of another root key, which has full access to it.
///
/// # Panics
/// As [`scene`].
pub async fn scene_in(server: &Server, client: &Client, operation: &str) -> Scene {
    let overview = client.call("workspace.getOverview", json!({})).await.expect(200);
    let workspace = text(&overview.data()["workspace"]["id"]);
    let api = client.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let key = client.call("keys.createKey", json!({"apiId": api})).await.expect(200);
    let (key_id, key) = (key.text_of("keyId"), key.text_of("key"));
    let verified = client.call("keys.verifyKey", json!({"key": key})).await.expect(200);
    let unique = api.replace("api_", "n");
    let mut ids = Ids::from([
        ("workspaceId", workspace),
        ("keySpaceId", verified.text_of("keyspaceId")),
        ("keyId", key_id.clone()),
        ("apiId", api.clone()),
    ]);
    let body = match operation {
        "apis.createApi" => json!({"name": "payments"}),
        "apis.getApi" | "apis.deleteApi" | "apis.listKeys" | "keys.createKey" => {
            json!({"apiId": api})
        }
        "apis.updateApi" => json!({"apiId": api, "name": "renamed"}),
        "keys.getKey" | "keys.updateKey" | "keys.deleteKey" => json!({"keyId": key_id}),
        "keys.updateCredits" => json!({"keyId": key_id, "operation": "set", "value": 5}),
        "keys.migrateKeys" => {
            let (migration, hash) = (new_migration(server, &ids["workspaceId"]), new_hash());
            json!({"apiId": api, "migrationId": migration, "keys": [{"hash": hash}]})
        }
        "keys.rerollKey" => json!({"keyId": key_id, "expiration": 0}),
        "keys.addPermissions" | "keys.removePermissions" | "keys.setPermissions" => {
            let slug = json!({"name": "n", "slug": unique});
            client.call("permissions.createPermission", slug).await.expect(200);
            json!({"keyId": key_id, "permissions": [unique]})
        }
        "keys.addRoles" | "keys.removeRoles" | "keys.setRoles" => {
            client.call("permissions.createRole", json!({"name": unique})).await.expect(200);
            json!({"keyId": key_id, "roles": [unique]})
        }
        "keys.verifyKey" | "keys.whoami" => json!({"key": key}),
        "permissions.createPermission" => json!({"name": "n", "slug": unique}),
        "permissions.createRole" => json!({"name": unique}),
        "identities.createIdentity" => json!({"externalId": unique}),
        "identities.getIdentity" => {
            ids.insert("identityId", new_identity(client, &unique).await);
            json!({"identity": unique})
        }
        "identities.deleteIdentity" | "identities.listIdentities" | "identities.updateIdentity" => {
            let id = new_identity(client, &unique).await;
            ids.insert("identityId", id.clone());
            // A page of this one alone.
            let list = json!({"cursor": id, "limit": 1});
            if operation == "identities.listIdentities" { list } else { json!({"identity": unique}) }
        }
        "permissions.deletePermission"
        | "permissions.getPermission"
        | "permissions.listPermissions"
        | "permissions.updatePermission" => {
            let body = json!({"name": "n", "slug": unique});
            let id = client.call("permissions.createPermission", body).await.expect(200).text_of("permissionId");
            ids.insert("permissionId", id.clone());
            if operation == "permissions.listPermissions" { json!({}) } else { json!({"permission": id}) }
        }
        "permissions.deleteRole"
        | "permissions.getRole"
        | "permissions.listRoles"
        | "permissions.setRolePermissions"
        | "permissions.updateRole" => {
            let id = client.call("permissions.createRole", json!({"name": unique})).await.expect(200);
            let id = id.text_of("roleId");
            ids.insert("roleId", id.clone());
            match operation {
                "permissions.listRoles" => json!({}),
                "permissions.setRolePermissions" => json!({"role": id, "permissions": []}),
                _ => json!({"role": id}),
            }
        }
        "rootKeys.createKey" => json!({"permissions": []}),
        "rootKeys.updateKey" | "rootKeys.rerollKey" | "rootKeys.deleteKey" => {
            let made = client.call("rootKeys.createKey", json!({"permissions": []})).await.expect(200);
            ids.insert("keyId", made.text_of("keyId"));
            match operation {
                "rootKeys.updateKey" => json!({"keyId": ids["keyId"], "name": "renamed"}),
                "rootKeys.rerollKey" => json!({"keyId": ids["keyId"], "expiration": null}),
                _ => json!({"keyId": ids["keyId"]}),
            }
        }
        "apis.listApis"
        | "audit.listLogs"
        | "ratelimit.listNamespaces"
        | "rootKeys.listKeys"
        | "workspace.getLimits"
        | "workspace.getOverview"
        | "workspace.getUsage"
        | "workspace.listWorkspaces" => json!({}),
        "workspace.createWorkspace" => json!({"name": unique}),
        "workspace.updateWorkspace" => json!({"workspaceId": ids["workspaceId"], "name": unique}),
        "docs.search" => json!({"query": "rate limit"}),
        "audit.getLog" => {
            let logs = client.call("audit.listLogs", json!({"limit": 1})).await.expect(200);
            json!({"logId": logs.data()[0]["id"]})
        }
        name if name.starts_with("ratelimit.") => ratelimit_scene(client, name, &unique, &mut ids).await,
        other => panic!("no scene for {other}"),
    };
    Scene { ids, body }
}

/// A namespace with an override, and a request that is about them.
async fn ratelimit_scene(client: &Client, operation: &str, name: &str, ids: &mut Ids) -> Value {
    let check = json!({"namespace": name, "identifier": "i", "limit": 9, "duration": 60_000});
    client.call("ratelimit.limit", check.clone()).await.expect(200);
    let set = client.call("ratelimit.setOverride", check.clone()).await.expect(200);
    let found = client.call("ratelimit.listNamespaces", json!({"search": name})).await.expect(200);
    ids.insert("namespaceId", text(&found.data()[0]["id"]));
    ids.insert("overrideId", set.text_of("overrideId"));
    match operation {
        "ratelimit.multiLimit" => json!([check]),
        "ratelimit.limit" | "ratelimit.setOverride" => check,
        "ratelimit.getOverride" | "ratelimit.deleteOverride" => json!({"namespace": name, "identifier": "i"}),
        _ => json!({"namespace": name}),
    }
}

async fn new_identity(client: &Client, external_id: &str) -> String {
    let made = client.call("identities.createIdentity", json!({"externalId": external_id})).await;
    made.expect(200).text_of("identityId")
}

/// A SHA-256 in hexadecimal that no other key has.
fn new_hash() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:064x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A migration of keys that are stored as SHA-256, made by the command line.
fn new_migration(server: &Server, workspace: &str) -> String {
    let line = ["migration", "create", "--algorithm", "sha256", "--workspace", workspace];
    let done = server.program().command(&line).output();
    let done = done.expect("the command runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("an id").trim().to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
