//! For every operation of the catalogue, a request that succeeds, and what it is about.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::reference::references;
use crate::{Client, Reference, Server, ended};

/// Ids by the names that permission expressions have for them.
pub type Ids = BTreeMap<&'static str, String>;

/// Resources for one call of an operation, made anew for each call because some calls consume them.
#[derive(Debug)]
pub struct Scene {
    /// The ids of what was made, by the names that permission expressions have for them, such as `apiId`.
    pub ids: Ids,
    /// The secret of the key or root key that `keyId` names.
    pub key: String,
    /// A request about them that is a success for a root key with full access.
    pub body: Value,
    /// Where the request names things, or could.
    pub refers: Vec<Reference>,
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
    let mut made = Made::new(client).await;
    let body = match operation.split_once('.') {
        Some(("analytics", action)) => made.analytics(client, action).await,
        Some(("apis", action)) => made.apis(action),
        Some(("keys", action)) => made.keys(server, client, action).await,
        Some(("identities", action)) => made.identities(client, action).await,
        Some(("permissions", action)) => made.permissions(client, action).await,
        Some(("rootKeys", action)) => made.root_keys(client, action).await,
        Some(("ratelimit", action)) => made.ratelimit(client, action).await,
        Some(("workspace", "createWorkspace")) => json!({"name": made.unique}),
        Some(("workspace", "updateWorkspace")) => {
            json!({"workspaceId": made.ids["workspaceId"], "name": made.unique})
        }
        Some(("audit", "getLog")) => {
            let logs = client.call("audit.listLogs", json!({"limit": 1})).await.expect(200);
            json!({"logId": logs.data()[0]["id"]})
        }
        Some(("docs", "search")) => json!({"query": "rate limit"}),
        Some(("audit" | "workspace", action)) if action.starts_with("get") || action.starts_with("list") => {
            json!({})
        }
        _ => panic!("no scene for {operation}"),
    };
    Scene { ids: made.ids, key: made.key, body, refers: references(operation) }
}

/// What every scene has: an API and a key of it.
struct Made {
    ids: Ids,
    /// The key itself.
    key: String,
    /// A name that nothing else has.
    unique: String,
}

impl Made {
    async fn new(client: &Client) -> Made {
        let overview = client.call("workspace.getOverview", json!({})).await.expect(200);
        let workspace = text(&overview.data()["workspace"]["id"]);
        let api = client.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
        let key = client.call("keys.createKey", json!({"apiId": api})).await.expect(200);
        let (key_id, key) = (key.text_of("keyId"), key.text_of("key"));
        let verified = client.call("keys.verifyKey", json!({"key": key})).await.expect(200);
        let unique = api.replace("api_", "n");
        let ids = Ids::from([
            ("workspaceId", workspace),
            ("keySpaceId", verified.text_of("keyspaceId")),
            ("keyId", key_id),
            ("apiId", api),
        ]);
        Made { ids, key, unique }
    }

    async fn analytics(&mut self, client: &Client, action: &str) -> Value {
        let api_id = self.ids["apiId"].clone();
        self.ids.insert("anyApiId", api_id);
        let limited = json!({"namespace": self.unique, "identifier": "ann", "limit": 5, "duration": 60_000});
        client.call("ratelimit.limit", limited).await.expect(200);
        let found = client.call("ratelimit.listNamespaces", json!({"search": self.unique})).await.expect(200);
        self.ids.insert("anyNamespaceId", text(&found.data()[0]["id"]));
        match action {
            "getRatelimits" => json!({"query": "SELECT count() AS n FROM ratelimits_v1"}),
            "getUsage" => json!({"by": "key"}),
            "listRatelimits" | "listVerifications" => json!({"limit": 5}),
            _ => json!({"query": "SELECT count() AS n FROM key_verifications_v1"}),
        }
    }

    fn apis(&self, action: &str) -> Value {
        match action {
            "createApi" => json!({"name": "payments"}),
            "listApis" => json!({}),
            "updateApi" => json!({"apiId": self.ids["apiId"], "name": "renamed"}),
            _ => json!({"apiId": self.ids["apiId"]}),
        }
    }

    async fn keys(&self, server: &Server, client: &Client, action: &str) -> Value {
        let (key_id, unique) = (&self.ids["keyId"], &self.unique);
        match action {
            "createKey" => json!({"apiId": self.ids["apiId"]}),
            "updateKey" => json!({"keyId": key_id, "name": "renamed"}),
            "updateCredits" => json!({"keyId": key_id, "operation": "set", "value": 5}),
            "migrateKeys" => {
                let (migration, hash) = (new_migration(server, &self.ids["workspaceId"]), new_hash());
                json!({"apiId": self.ids["apiId"], "migrationId": migration, "keys": [{"hash": hash}]})
            }
            "rerollKey" => json!({"keyId": key_id, "expiration": 0}),
            "addPermissions" | "removePermissions" | "setPermissions" => {
                new_permission(client, unique).await;
                json!({"keyId": key_id, "permissions": [unique]})
            }
            "addRoles" | "removeRoles" | "setRoles" => {
                new_role(client, unique).await;
                json!({"keyId": key_id, "roles": [unique]})
            }
            "listKeys" => json!({"apiId": self.ids["apiId"]}),
            "verifyKey" | "whoami" => json!({"key": self.key}),
            _ => json!({"keyId": key_id}),
        }
    }

    async fn identities(&mut self, client: &Client, action: &str) -> Value {
        if action == "createIdentity" {
            return json!({"externalId": self.unique});
        }
        let id = new_identity(client, &self.unique).await;
        self.ids.insert("identityId", id.clone());
        match action {
            // A page of this one alone.
            "listIdentities" => json!({"cursor": id, "limit": 1}),
            "updateIdentity" => json!({"identity": self.unique, "meta": {}}),
            _ => json!({"identity": self.unique}),
        }
    }

    async fn permissions(&mut self, client: &Client, action: &str) -> Value {
        match action {
            "createPermission" => json!({"name": "n", "slug": self.unique}),
            "createRole" => json!({"name": self.unique}),
            "deletePermission" | "getPermission" | "listPermissions" | "updatePermission" => {
                let id = new_permission(client, &self.unique).await;
                self.ids.insert("permissionId", id.clone());
                match action {
                    "listPermissions" => json!({}),
                    "updatePermission" => json!({"permission": id, "name": "renamed"}),
                    _ => json!({"permission": id}),
                }
            }
            _ => {
                let id = new_role(client, &self.unique).await;
                self.ids.insert("roleId", id.clone());
                match action {
                    "listRoles" => json!({}),
                    "setRolePermissions" => json!({"role": id, "permissions": []}),
                    "updateRole" => json!({"role": id, "name": format!("{}renamed", self.unique)}),
                    _ => json!({"role": id}),
                }
            }
        }
    }

    async fn root_keys(&mut self, client: &Client, action: &str) -> Value {
        match action {
            "createKey" => return json!({"permissions": []}),
            "listKeys" => return json!({}),
            _ => {}
        }
        let made = client.call("rootKeys.createKey", json!({"permissions": []})).await.expect(200);
        self.ids.insert("keyId", made.text_of("keyId"));
        self.key = made.text_of("key");
        match action {
            "updateKey" => json!({"keyId": self.ids["keyId"], "name": "renamed"}),
            "rerollKey" => json!({"keyId": self.ids["keyId"], "expiration": null}),
            _ => json!({"keyId": self.ids["keyId"]}),
        }
    }

    /// A namespace with an override, and a request that is about them.
    async fn ratelimit(&mut self, client: &Client, action: &str) -> Value {
        let name = &self.unique;
        if action == "createNamespace" {
            return json!({"name": name});
        }
        let check = json!({"namespace": name, "identifier": "i", "limit": 9, "duration": 60_000});
        client.call("ratelimit.limit", check.clone()).await.expect(200);
        let set = client.call("ratelimit.setOverride", check.clone()).await.expect(200);
        let found = client.call("ratelimit.listNamespaces", json!({"search": name})).await.expect(200);
        self.ids.insert("namespaceId", text(&found.data()[0]["id"]));
        self.ids.insert("overrideId", set.text_of("overrideId"));
        match action {
            "listNamespaces" => json!({}),
            "multiLimit" => json!([check]),
            "getCount" | "limit" | "setOverride" => check,
            "getOverride" | "deleteOverride" => json!({"namespace": name, "identifier": "i"}),
            _ => json!({"namespace": name}),
        }
    }
}

async fn new_permission(client: &Client, slug: &str) -> String {
    let made = client.call("permissions.createPermission", json!({"name": "n", "slug": slug})).await;
    made.expect(200).text_of("permissionId")
}

async fn new_role(client: &Client, name: &str) -> String {
    client.call("permissions.createRole", json!({"name": name})).await.expect(200).text_of("roleId")
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
    let done = ended(&mut server.program().command(&line));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("an id").trim().to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
