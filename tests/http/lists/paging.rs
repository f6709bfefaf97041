//! Walks through every list while things come and go: what exists throughout is seen, and seen once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keyrack_test_harness::{Client, listing_operations};
use serde_json::{Value, json};

use crate::fixture::{WINDOW, merged, new_api, new_key};
use crate::keyrack;

/// A list: what is asked for besides the page, and how its items are made and removed.
#[derive(Debug, Clone)]
struct List {
    operation: &'static str,
    body: Value,
    /// The member of an item that identifies it.
    id: &'static str,
    items: Items,
}

#[derive(Debug, Clone)]
enum Items {
    Apis,
    /// Keys of this API.
    Keys(String),
    Identities,
    Permissions,
    Roles,
    Namespaces,
    /// Overrides in this namespace.
    Overrides(String),
    RootKeys,
    /// Never removed.
    Workspaces,
    /// Entries of the audit log: never removed, and newest first.
    Entries,
}

impl List {
    /// Makes an item and returns its id, or nothing where its maker is not told.
    async fn add(&self, client: &Client, name: &str) -> Option<String> {
        let (operation, body, id) = match &self.items {
            Items::Apis | Items::Entries => ("apis.createApi", json!({ "name": name }), "apiId"),
            Items::Keys(api) => ("keys.createKey", json!({ "apiId": api }), "keyId"),
            Items::Identities => ("identities.createIdentity", json!({ "externalId": name }), "identityId"),
            Items::Permissions => {
                ("permissions.createPermission", json!({"name": name, "slug": name}), "permissionId")
            }
            Items::Roles => ("permissions.createRole", json!({ "name": name }), "roleId"),
            Items::Namespaces => ("ratelimit.limit", check(name, "someone"), ""),
            Items::Overrides(namespace) => ("ratelimit.setOverride", check(namespace, name), "overrideId"),
            Items::RootKeys => ("rootKeys.createKey", json!({"name": name, "permissions": []}), "keyId"),
            Items::Workspaces => ("workspace.createWorkspace", json!({ "name": name }), "workspaceId"),
        };
        let answer = client.call(operation, body).await.expect(200);
        (!id.is_empty()).then(|| answer.text_of(id))
    }

    /// Removes an item by its id and the name it was made with; false where nothing can be removed.
    async fn remove(&self, client: &Client, id: Option<&str>, name: &str) -> bool {
        let (operation, body) = match &self.items {
            Items::Apis => ("apis.deleteApi", json!({ "apiId": id })),
            Items::Keys(_) => ("keys.deleteKey", json!({ "keyId": id })),
            Items::Identities => ("identities.deleteIdentity", json!({ "identity": id })),
            Items::Permissions => ("permissions.deletePermission", json!({ "permission": id })),
            Items::Roles => ("permissions.deleteRole", json!({ "role": id })),
            Items::Namespaces => ("ratelimit.deleteNamespace", json!({ "namespace": name })),
            Items::Overrides(namespace) => {
                ("ratelimit.deleteOverride", json!({"namespace": namespace, "identifier": name}))
            }
            Items::RootKeys => ("rootKeys.deleteKey", json!({ "keyId": id })),
            Items::Workspaces | Items::Entries => return false,
        };
        client.call(operation, body).await.expect(200);
        true
    }

    async fn page(&self, client: &Client, members: Value) -> (Vec<String>, Option<String>) {
        let answer = client.call(self.operation, merged(self.body.clone(), members)).await.expect(200);
        let items = answer.data().as_array().expect("a list");
        let ids = items.iter().map(|item| item[self.id].as_str().expect("an id").to_owned()).collect();
        let pagination = &answer.body["pagination"];
        let cursor = pagination["cursor"].as_str().map(str::to_owned);
        assert_eq!(pagination["hasMore"], cursor.is_some(), "{}", answer.text);
        (ids, cursor)
    }

    /// Every page, two items each, with a pause between two of them.
    async fn walk(&self, client: &Client, pause: impl AsyncFn()) -> Vec<String> {
        let (mut seen, mut cursor) = self.page(client, json!({"limit": 2})).await;
        while let Some(next) = cursor {
            pause().await;
            let (ids, after) = self.page(client, json!({"limit": 2, "cursor": next})).await;
            seen.extend(ids);
            assert!(seen.len() < 2000, "{} has no end", self.operation);
            cursor = after;
        }
        seen
    }

    /// Adds and removes until told to stop.
    async fn churn(self, client: Client, coming: Arc<Coming>, mut goes: Vec<(Option<String>, String)>) {
        while !coming.stop.load(Ordering::SeqCst) {
            let name = format!("new.{}", coming.added.load(Ordering::SeqCst));
            let id = self.add(&client, &name).await;
            if let Some((old_id, old_name)) = goes.pop() {
                self.remove(&client, old_id.as_deref(), &old_name).await;
            }
            // Every other new one goes again, at once.
            if coming.added.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                self.remove(&client, id.as_deref(), &name).await;
            }
        }
    }
}

/// What comes while a list is walked.
#[derive(Debug, Default)]
struct Coming {
    added: AtomicUsize,
    stop: AtomicBool,
}

impl Coming {
    /// Waits until one more has come.
    async fn next(&self) {
        let before = self.added.load(Ordering::SeqCst);
        let started = Instant::now();
        while self.added.load(Ordering::SeqCst) == before {
            assert!(started.elapsed() < Duration::from_secs(30), "nothing is added any more, {before} so far");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn check(namespace: &str, identifier: &str) -> Value {
    json!({"namespace": namespace, "identifier": identifier, "limit": 5, "duration": WINDOW})
}

async fn lists(client: &Client) -> Vec<List> {
    let api = new_api(client).await;
    new_key(client, &api, json!({})).await;
    client.call("ratelimit.limit", check("overrides", "someone")).await.expect(200);
    let list = |operation, id, items| List { operation, body: json!({}), id, items };
    let keys = json!({ "apiId": api });
    let overrides = json!({"namespace": "overrides"});
    vec![
        list("apis.listApis", "id", Items::Apis),
        List { body: keys.clone(), ..list("apis.listKeys", "keyId", Items::Keys(api.clone())) },
        List { body: keys.clone(), ..list("keys.listKeys", "keyId", Items::Keys(api.clone())) },
        List {
            body: merged(keys, json!({"descending": false})),
            ..list("keys.listKeys", "keyId", Items::Keys(api))
        },
        list("identities.listIdentities", "id", Items::Identities),
        list("permissions.listPermissions", "id", Items::Permissions),
        list("permissions.listRoles", "id", Items::Roles),
        list("ratelimit.listNamespaces", "id", Items::Namespaces),
        List {
            body: overrides,
            ..list("ratelimit.listOverrides", "overrideId", Items::Overrides("overrides".into()))
        },
        list("rootKeys.listKeys", "keyId", Items::RootKeys),
        list("workspace.listWorkspaces", "id", Items::Workspaces),
        list("audit.listLogs", "id", Items::Entries),
    ]
}

/// Fills a list with what stays and what goes, walks it while it changes, and compares.
async fn assert_walk_is_whole(client: &Client, list: &List) {
    let mut goes = Vec::new();
    for n in 0..15 {
        let name = format!("old.{n}");
        let id = list.add(client, &name).await;
        if n % 3 == 0 && !matches!(list.items, Items::Workspaces | Items::Entries) {
            goes.push((id, name));
        }
    }
    let mut stays: BTreeSet<String> = list.walk(client, async || ()).await.into_iter().collect();
    let all = stays.len();
    for (id, name) in &goes {
        let found = list.page(client, json!({"limit": 100})).await.0;
        match id {
            Some(id) => assert!(found.contains(id) && stays.remove(id), "{}: {id} is not listed", list.operation),
            // Listed by an id that its maker was not told.
            None => {
                let searched = list.page(client, json!({ "search": name })).await.0;
                stays.retain(|id| !searched.contains(id));
            }
        }
    }
    assert!(stays.len() >= 10 && stays.len() + goes.len() <= all, "{}: {} of {all}", list.operation, stays.len());
    let coming = Arc::new(Coming::default());
    let churn = tokio::spawn(list.clone().churn(client.clone(), coming.clone(), goes));
    let seen = list.walk(client, async || coming.next().await).await;
    coming.stop.store(true, Ordering::SeqCst);
    churn.await.expect("the other client goes on");
    let unique: BTreeSet<String> = seen.iter().cloned().collect();
    assert_eq!(unique.len(), seen.len(), "{}: something came twice: {seen:?}", list.operation);
    let missed: Vec<&String> = stays.difference(&unique).collect();
    assert!(missed.is_empty(), "{}: missed {missed:?}", list.operation);
}

#[tokio::test]
async fn a_walk_sees_everything_that_exists_throughout_once() {
    let server = keyrack().await;
    let lists = lists(&server).await;
    let covered: BTreeSet<&str> = lists.iter().map(|list| list.operation).collect();
    let mut all: BTreeSet<&str> = listing_operations(&server).await.into_iter().collect();
    // Events neither go nor come in between; the tests of analytics walk through them.
    all.retain(|list| !list.starts_with("analytics."));
    assert_eq!(covered, all, "every list of the catalogue");
    for list in lists {
        assert_walk_is_whole(&server, &list).await;
    }
}
