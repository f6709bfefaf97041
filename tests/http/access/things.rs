//! One of each thing that requests refer to, by all its names.

use std::collections::BTreeMap;

use keyrack_test_harness::{Client, Kind, Name, Server};
use serde_json::{Value, json};

use crate::fixture::{NewKey, new_api, new_key, verify};
use crate::keys::migrate::new_migration_in;

/// Names of one of each thing.
#[derive(Debug, Clone)]
pub(super) struct Things(BTreeMap<(Kind, Name), String>);

impl Things {
    /// One of each, made in the workspace of this client.
    pub(super) async fn made(server: &Server, client: &Client, workspace: String) -> Things {
        let api = new_api(client).await;
        let (external_id, slug) = ("customerOfTheOther", "documentsOfTheOther.read");
        let (role_name, namespace_name) = ("roleOfTheOther", "namespaceOfTheOther");
        let members = json!({"externalId": external_id, "credits": {"remaining": 100}});
        let key = new_key(client, &api, members).await;
        let key_space = verify(client, &key, json!({})).await["keyspaceId"].as_str().expect("an id").to_owned();
        let call = async |operation: &str, body: Value| client.call(operation, body).await.expect(200);
        let identity = call("identities.getIdentity", json!({"identity": external_id})).await.text_of("id");
        let permission = call("permissions.createPermission", json!({"name": slug, "slug": slug})).await;
        let role = call("permissions.createRole", json!({"name": role_name})).await.text_of("roleId");
        let limit = json!({"namespace": namespace_name, "identifier": "i", "limit": 5, "duration": 60_000});
        call("ratelimit.limit", limit.clone()).await;
        call("ratelimit.setOverride", limit).await;
        let namespaces = call("ratelimit.listNamespaces", json!({})).await;
        let root_key = call("rootKeys.createKey", json!({"permissions": []})).await.text_of("keyId");
        let logs = call("audit.listLogs", json!({"limit": 1})).await;
        let first_id = |list: &Value| list[0]["id"].as_str().expect("an id").to_owned();
        Things::new(BTreeMap::from([
            ((Kind::Api, Name::Id), api),
            ((Kind::Identity, Name::ExternalId), external_id.to_owned()),
            ((Kind::Identity, Name::Id), identity),
            ((Kind::Key, Name::Id), key.id),
            ((Kind::Key, Name::Text), key.key),
            ((Kind::KeySpace, Name::Id), key_space),
            ((Kind::Log, Name::Id), first_id(logs.data())),
            ((Kind::Migration, Name::Id), new_migration_in(server, &workspace)),
            ((Kind::Namespace, Name::Id), first_id(namespaces.data())),
            ((Kind::Namespace, Name::Name), namespace_name.to_owned()),
            ((Kind::Permission, Name::Id), permission.text_of("permissionId")),
            ((Kind::Permission, Name::Slug), slug.to_owned()),
            ((Kind::Role, Name::Id), role),
            ((Kind::Role, Name::Name), role_name.to_owned()),
            ((Kind::RootKey, Name::Id), root_key),
            ((Kind::Workspace, Name::Id), workspace),
        ]))
    }

    fn new(mut names: BTreeMap<(Kind, Name), String>) -> Things {
        let grant = format!("unkey:v1:{}:rootKeys/*#read", names[&(Kind::Workspace, Name::Id)]);
        names.insert((Kind::Grant, Name::Text), grant);
        Things(names)
    }

    /// Names of nothing, each as long as these and of the same form.
    pub(super) fn unknown(&self) -> Things {
        Things::new(self.0.iter().map(|(of, name)| (*of, turned(name))).collect())
    }

    /// The name of this form that the thing of this kind has.
    pub(super) fn name(&self, kind: Kind, name: Name) -> &str {
        self.0.get(&(kind, name)).unwrap_or_else(|| panic!("no {kind:?} is made with this name: {name:?}"))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }

    /// What Keyrack made, and nobody else can have by chance.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|((_, name), _)| *name == Name::Id).map(|(_, id)| id.as_str())
    }

    pub(super) fn key(&self) -> NewKey {
        let name = |name| self.name(Kind::Key, name).to_owned();
        NewKey { id: name(Name::Id), key: name(Name::Text) }
    }
}

/// Another name of the same form, whose prefix is the same.
fn turned(name: &str) -> String {
    let next = |letter: char| match letter {
        'A'..='Y' => char::from(letter as u8 + 1),
        other => other,
    };
    let (prefix, rest) = name.split_once('_').map_or(("", name), |(prefix, rest)| (prefix, rest));
    let turned: String = rest.chars().map(next).collect();
    let turned = if turned == rest { rest.chars().rev().collect() } else { turned };
    if prefix.is_empty() { turned } else { format!("{prefix}_{turned}") }
}
