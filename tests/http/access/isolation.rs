//! Workspaces know nothing of each other: whatever takes an id, a name or a slug answers for another workspace's
//! thing byte for byte as for a thing that does not exist.

use std::collections::BTreeSet;

use keyrack_test_harness::{Client, Server, listing_operations};
use serde_json::{Value, json};

use crate::fixture::{new_api, new_key, new_workspace, verify};
use crate::keyrack;
use crate::keys::migrate::new_migration_in;

/// Members of requests that name things.
const REFERENCES: [&str; 18] = [
    "apiId",
    "externalId",
    "identity",
    "key",
    "keyId",
    "keys",
    "keyspaces",
    "logId",
    "migrationId",
    "namespace",
    "permission",
    "permissions",
    "role",
    "roleId",
    "roles",
    "slug",
    "targetId",
    "workspaceId",
];

/// What naming in another workspace cannot be tried with here: (operation, member, why).
const EXCEPTIONS: [(&str, &str, &str); 2] = [
    ("workspace.updateWorkspace", "workspaceId", "operators administer all workspaces"),
    ("keys.migrateKeys", "keys", "a hash belongs to one key of the instance, and who knows it knows that key"),
];

/// Names of one of each thing.
#[derive(Debug, Clone)]
struct Things {
    workspace: String,
    api: String,
    key_id: String,
    key: String,
    key_space: String,
    identity: String,
    external_id: String,
    permission: String,
    slug: String,
    role: String,
    role_name: String,
    namespace: String,
    namespace_name: String,
    root_key: String,
    log: String,
    migration: String,
}

impl Things {
    /// One of each, made in the workspace of this client.
    async fn made(server: &Server, client: &Client, workspace: String) -> Things {
        let api = new_api(client).await;
        let (external_id, slug) = ("customerOfTheOther", "documentsOfTheOther.read");
        let (role_name, namespace_name) = ("roleOfTheOther", "namespaceOfTheOther");
        let key = new_key(client, &api, json!({"externalId": external_id})).await;
        let key_space = verify(client, &key, json!({})).await["keyspaceId"].as_str().expect("an id").to_owned();
        let call = async |operation: &str, body: Value| client.call(operation, body).await.expect(200);
        let identity = call("identities.getIdentity", json!({"identity": external_id})).await.text_of("id");
        let permission = call("permissions.createPermission", json!({"name": slug, "slug": slug})).await;
        let role = call("permissions.createRole", json!({"name": role_name})).await.text_of("roleId");
        let limit = json!({"namespace": namespace_name, "identifier": "user", "limit": 5, "duration": 60_000});
        call("ratelimit.limit", limit.clone()).await;
        call("ratelimit.setOverride", limit).await;
        let namespaces = call("ratelimit.listNamespaces", json!({})).await;
        let root_key = call("rootKeys.createKey", json!({"permissions": []})).await.text_of("keyId");
        let logs = call("audit.listLogs", json!({"limit": 1})).await;
        Things {
            migration: new_migration_in(server, &workspace),
            workspace,
            api,
            key_id: key.id,
            key: key.key,
            key_space,
            identity,
            external_id: external_id.to_owned(),
            permission: permission.text_of("permissionId"),
            slug: slug.to_owned(),
            role,
            role_name: role_name.to_owned(),
            namespace: namespaces.data()[0]["id"].as_str().expect("an id").to_owned(),
            namespace_name: namespace_name.to_owned(),
            root_key,
            log: logs.data()[0]["id"].as_str().expect("an id").to_owned(),
        }
    }

    /// Names of nothing, each as long as the other's and of the same form.
    fn unknown(like: &Things) -> Things {
        let unknown = |name: &str| {
            let turned = |letter: char| match letter {
                'A'..='Y' => char::from(letter as u8 + 1),
                other => other,
            };
            let (prefix, rest) = name.split_once('_').map_or(("", name), |(prefix, rest)| (prefix, rest));
            let turned: String = rest.chars().map(turned).collect();
            let turned = if turned == rest { rest.chars().rev().collect() } else { turned };
            if prefix.is_empty() { turned } else { format!("{prefix}_{turned}") }
        };
        Things {
            workspace: unknown(&like.workspace),
            api: unknown(&like.api),
            key_id: unknown(&like.key_id),
            key: unknown(&like.key),
            key_space: unknown(&like.key_space),
            identity: unknown(&like.identity),
            external_id: unknown(&like.external_id),
            permission: unknown(&like.permission),
            slug: unknown(&like.slug),
            role: unknown(&like.role),
            role_name: unknown(&like.role_name),
            namespace: unknown(&like.namespace),
            namespace_name: unknown(&like.namespace_name),
            root_key: unknown(&like.root_key),
            log: unknown(&like.log),
            migration: unknown(&like.migration),
        }
    }

    fn all(&self) -> [&str; 16] {
        [
            &self.workspace,
            &self.api,
            &self.key_id,
            &self.key,
            &self.key_space,
            &self.identity,
            &self.external_id,
            &self.permission,
            &self.slug,
            &self.role,
            &self.role_name,
            &self.namespace,
            &self.namespace_name,
            &self.root_key,
            &self.log,
            &self.migration,
        ]
    }
}

/// What the asking workspace has itself, where a request needs it beside the other's thing.
#[derive(Debug)]
struct Own {
    workspace: String,
    api: String,
    key_id: String,
    key: String,
    role: String,
    /// Made offline, which takes its time: empty where no request is about it.
    migration: String,
}

impl Own {
    async fn made(client: &Client, workspace: String) -> Own {
        let api = new_api(client).await;
        let key = new_key(client, &api, json!({})).await;
        let role = client.call("permissions.createRole", json!({"name": "own"})).await.expect(200);
        Own {
            workspace,
            api,
            key_id: key.id,
            key: key.key,
            role: role.text_of("roleId"),
            migration: String::new(),
        }
    }
}

/// Requests that name a thing of `other`, everything else being right.
fn requests(own: &Own, other: &Things) -> Vec<(&'static str, Value)> {
    [key_requests(own, other), rbac_requests(own, other), other_requests(own, other)].concat()
}

fn key_requests(own: &Own, other: &Things) -> Vec<(&'static str, Value)> {
    let mut requests = vec![
        ("apis.getApi", json!({"apiId": other.api})),
        ("apis.updateApi", json!({"apiId": other.api, "name": "renamed"})),
        ("apis.deleteApi", json!({"apiId": other.api})),
        ("apis.listKeys", json!({"apiId": other.api})),
        ("apis.listKeys", json!({"apiId": own.api, "externalId": other.external_id})),
        ("keys.createKey", json!({"apiId": other.api})),
        ("keys.createKey", json!({"apiId": own.api, "externalId": other.external_id})),
        ("keys.createKey", json!({"apiId": own.api, "permissions": [other.slug]})),
        ("keys.createKey", json!({"apiId": own.api, "roles": [other.role_name]})),
        ("keys.getKey", json!({"keyId": other.key_id})),
        ("keys.updateKey", json!({"keyId": other.key_id, "name": "renamed"})),
        ("keys.updateKey", json!({"keyId": own.key_id, "externalId": other.external_id})),
        ("keys.updateKey", json!({"keyId": own.key_id, "permissions": [other.slug]})),
        ("keys.updateKey", json!({"keyId": own.key_id, "roles": [other.role_name]})),
        ("keys.updateCredits", json!({"keyId": other.key_id, "operation": "set", "value": 1})),
        ("keys.deleteKey", json!({"keyId": other.key_id})),
        ("keys.rerollKey", json!({"keyId": other.key_id, "expiration": 0})),
        ("keys.verifyKey", json!({"key": other.key})),
        ("keys.verifyKey", json!({"key": own.key, "keyspaces": [other.key_space]})),
        ("keys.verifyKey", json!({"key": own.key, "permissions": other.slug})),
        ("keys.verifyKey", json!({"key": own.key, "migrationId": other.migration})),
        ("keys.verifyKey", json!({"key": other.key, "migrationId": other.migration})),
        ("keys.migrateKeys", migration(&other.api, &own.migration)),
        ("keys.migrateKeys", migration(&own.api, &other.migration)),
        ("keys.whoami", json!({"key": other.key})),
        ("rootKeys.createKey", json!({"permissions": [urn(&other.workspace)]})),
        ("rootKeys.updateKey", json!({"keyId": other.root_key, "permissions": []})),
        ("rootKeys.updateKey", json!({"keyId": other.root_key, "permissions": [urn(&other.workspace)]})),
        ("rootKeys.rerollKey", json!({"keyId": other.root_key, "expiration": 0})),
        ("rootKeys.deleteKey", json!({"keyId": other.root_key})),
    ];
    for operation in ["keys.addPermissions", "keys.removePermissions", "keys.setPermissions"] {
        requests.push((operation, json!({"keyId": other.key_id, "permissions": ["own.slug"]})));
        requests.push((operation, json!({"keyId": own.key_id, "permissions": [other.slug]})));
        requests.push((operation, json!({"keyId": own.key_id, "permissions": [other.permission]})));
    }
    for operation in ["keys.addRoles", "keys.removeRoles", "keys.setRoles"] {
        requests.push((operation, json!({"keyId": other.key_id, "roles": ["own"]})));
        requests.push((operation, json!({"keyId": own.key_id, "roles": [other.role_name]})));
        requests.push((operation, json!({"keyId": own.key_id, "roles": [other.role]})));
    }
    requests
}

fn migration(api: &str, migration: &str) -> Value {
    json!({"apiId": api, "migrationId": migration, "keys": [{"hash": "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="}]})
}

fn urn(workspace: &str) -> String {
    format!("unkey:v1:{workspace}:rootKeys/*#read")
}

fn rbac_requests(own: &Own, other: &Things) -> Vec<(&'static str, Value)> {
    let mut requests = vec![
        ("identities.createIdentity", json!({"externalId": other.external_id})),
        ("permissions.createPermission", json!({"name": other.slug, "slug": other.slug})),
        ("permissions.createRole", json!({"name": other.role_name, "permissions": [other.slug]})),
        ("permissions.setRolePermissions", json!({"role": own.role, "permissions": [other.slug]})),
    ];
    for identity in [&other.identity, &other.external_id] {
        requests.push(("identities.getIdentity", json!({"identity": identity})));
        requests.push(("identities.updateIdentity", json!({"identity": identity, "meta": {}})));
        requests.push(("identities.deleteIdentity", json!({"identity": identity})));
    }
    for permission in [&other.permission, &other.slug] {
        let update = json!({"permission": permission, "name": "renamed", "slug": other.slug});
        requests.push(("permissions.getPermission", json!({"permission": permission})));
        requests.push(("permissions.updatePermission", update));
        requests.push(("permissions.deletePermission", json!({"permission": permission})));
    }
    for role in [&other.role, &other.role_name] {
        requests.push(("permissions.getRole", json!({"role": role})));
        requests.push(("permissions.updateRole", json!({"role": role, "name": "renamed"})));
        requests.push(("permissions.deleteRole", json!({"role": role})));
        requests.push(("permissions.setRolePermissions", json!({"role": role, "permissions": []})));
        requests.push(("permissions.setRolePermissions", json!({"roleId": role, "permissions": []})));
    }
    requests
}

fn other_requests(_: &Own, other: &Things) -> Vec<(&'static str, Value)> {
    let mut requests = vec![
        ("audit.getLog", json!({"logId": other.log})),
        ("audit.listLogs", json!({"targetId": other.api})),
        ("audit.listLogs", json!({"cursor": other.log, "event": "key.create"})),
    ];
    for namespace in [&other.namespace, &other.namespace_name] {
        let limit = json!({"namespace": namespace, "identifier": "user", "limit": 5, "duration": 60_000});
        requests.push(("ratelimit.limit", limit.clone()));
        requests.push(("ratelimit.multiLimit", json!([limit])));
        requests.push(("ratelimit.setOverride", limit));
        for operation in ["ratelimit.getOverride", "ratelimit.deleteOverride"] {
            requests.push((operation, json!({"namespace": namespace, "identifier": "user"})));
        }
        for operation in ["ratelimit.listOverrides", "ratelimit.deleteNamespace"] {
            requests.push((operation, json!({"namespace": namespace})));
        }
        requests.push(("ratelimit.createNamespace", json!({"name": namespace})));
    }
    requests
}

/// What a workspace that has just been made answers, without what differs from call to call: the request id,
/// its own names, the names that were sent, and in successes what is generated.
async fn answer_of_a_new_workspace(server: &Server, number: usize, other: &Things) -> (u16, String) {
    let (workspace, client) = new_workspace(server, "asking").await;
    let mut own = Own::made(&client, workspace).await;
    if requests(&own, other)[number].0 == "keys.migrateKeys" {
        own.migration = new_migration_in(server, &own.workspace);
    }
    let (operation, body) = requests(&own, other).swap_remove(number);
    let answer = client.call(operation, body).await;
    let named = other.all().into_iter().map(|name| (name, "<sent>"));
    let owned = [&own.workspace, &own.api, &own.key_id, &own.key, &own.role].map(|name| (name.as_str(), "<own>"));
    let mut text = answer.text.replace(answer.request_id(), "<request>");
    for (name, mark) in named.chain(owned) {
        text = text.replace(name, mark);
    }
    let text = if answer.status == 200 { without_generated(&text) } else { text };
    (answer.status, text)
}

/// Ids, secrets and times are runs of letters and digits that no word of an answer is as long as.
fn without_generated(text: &str) -> String {
    let is_generated = |run: &str| {
        let is_number = run.chars().all(|letter| letter.is_ascii_digit());
        run.len() >= if is_number { 10 } else { 16 }
    };
    let mut kept = String::new();
    for part in text.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric()) {
        let run = part.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
        kept.push_str(if is_generated(run) { "*" } else { run });
        kept.push_str(&part[run.len()..]);
    }
    kept
}

async fn offered(server: &Server) -> Value {
    server.get("/openapi.json").await.expect(200).body["paths"].clone()
}

#[tokio::test]
async fn another_workspaces_thing_is_a_thing_that_does_not_exist() {
    let server = keyrack().await;
    let offered = offered(&server).await;
    let (workspace, client) = new_workspace(&server, "the other").await;
    let others = Things::made(&server, &client, workspace).await;
    let nothing = Things::unknown(&others);
    let own = Own::made(&client, String::new()).await;
    let mut differences = Vec::new();
    for (number, (operation, body)) in requests(&own, &others).into_iter().enumerate() {
        if offered.get(format!("/v2/{operation}")).is_none() {
            continue;
        }
        let foreign = answer_of_a_new_workspace(&server, number, &others).await;
        let unknown = answer_of_a_new_workspace(&server, number, &nothing).await;
        // Some ids are in the form of a permission's name, which anything may be given; nothing else is a 400.
        if foreign != unknown || (foreign.0 == 400 && !body.to_string().contains("unkey:v1:")) {
            differences.push(format!("{operation} {body}\n  foreign {foreign:?}\n  unknown {unknown:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    client.call("keys.getKey", json!({"keyId": others.key_id})).await.expect(200);
    client
        .call("ratelimit.getOverride", json!({"namespace": others.namespace, "identifier": "user"}))
        .await
        .expect(200);
}

#[tokio::test]
async fn every_operation_that_names_a_thing_is_tried() {
    let server = keyrack().await;
    let (workspace, client) = new_workspace(&server, "the other").await;
    let others = Things::made(&server, &client, workspace).await;
    let own = Own::made(&client, String::new()).await;
    let members = |value: &Value| -> Vec<String> {
        value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let mut tried: BTreeSet<(String, String)> = BTreeSet::new();
    for (operation, body) in requests(&own, &others) {
        let body = if body.is_array() { &body[0] } else { &body };
        tried.extend(members(body).into_iter().map(|member| (operation.to_owned(), member)));
    }
    tried.extend(EXCEPTIONS.map(|(operation, member, _)| (operation.to_owned(), member.to_owned())));
    let mut missing = Vec::new();
    for (path, described) in offered(&server).await.as_object().expect("paths") {
        let schema = &described["post"]["requestBody"]["content"]["application/json"]["schema"];
        let schema = if schema["items"].is_object() { &schema["items"] } else { schema };
        for member in members(&schema["properties"]) {
            let place = (path.replace("/v2/", ""), member);
            if REFERENCES.contains(&place.1.as_str()) && !tried.contains(&place) {
                missing.push(place);
            }
        }
    }
    assert!(missing.is_empty(), "not tried with another workspace's: {missing:?}");
}

#[tokio::test]
async fn lists_show_nothing_of_another_workspace() {
    let server = keyrack().await;
    let (workspace, client) = new_workspace(&server, "the other").await;
    let others = Things::made(&server, &client, workspace).await;
    let (workspace, client) = new_workspace(&server, "asking").await;
    let own = Own::made(&client, workspace).await;
    let limit = json!({"namespace": "own", "identifier": "user", "limit": 5, "duration": 60_000});
    client.call("ratelimit.limit", limit.clone()).await.expect(200);
    client.call("ratelimit.setOverride", limit).await.expect(200);
    client.call("identities.createIdentity", json!({"externalId": "own"})).await.expect(200);
    client.call("permissions.createPermission", json!({"name": "own", "slug": "own"})).await.expect(200);
    for operation in listing_operations(&server).await {
        let body = match operation {
            "apis.listKeys" => json!({"apiId": own.api}),
            "ratelimit.listOverrides" => json!({"namespace": "own"}),
            // Operators administer all workspaces; this root key is none.
            "workspace.listWorkspaces" => {
                client.call(operation, json!({})).await.expect(403);
                continue;
            }
            _ => json!({}),
        };
        let listed = client.call(operation, body).await.expect(200);
        assert!(listed.data().as_array().is_some_and(|items| !items.is_empty()), "{operation} shows nothing");
        for name in others.all() {
            assert!(!listed.text.contains(name), "{operation} shows the other's {name}: {}", listed.text);
        }
    }
}
