//! A list looks at a bounded number of rows per request: of those nobody may see, and of those a search passes over.

use std::collections::BTreeSet;

use keyrack_test_harness::{Client, listing_operations};
use serde_json::{Value, json};

use crate::fixture::{limited_client, new_api, new_identity, workspace_id};
use crate::keyrack;

/// Lists of which this file shows that a request looks at a bounded number of rows.
const SHOWN: [&str; 8] = [
    "apis.listApis",
    "apis.listKeys",
    "identities.listIdentities",
    "keys.listKeys",
    "permissions.listPermissions",
    "permissions.listRoles",
    "ratelimit.listNamespaces",
    "rootKeys.listKeys",
];

/// Lists that pass over no row, and why, or where the same is shown.
const ELSEWHERE: [(&str, &str); 5] = [
    ("analytics.listRatelimits", "the tests of analytics read events page by page"),
    ("analytics.listVerifications", "the tests of analytics read events page by page"),
    ("audit.listLogs", "the tests of the store's search count the entries that are read"),
    ("ratelimit.listOverrides", "who may read one may read all of the namespace, and nothing is searched for"),
    ("workspace.listWorkspaces", "operators see all, and nothing is searched for"),
];

#[tokio::test]
async fn every_list_is_bounded() {
    let mut named: Vec<_> = SHOWN.into_iter().chain(ELSEWHERE.map(|(name, _)| name)).collect();
    named.sort_unstable();
    let mut all = listing_operations(&keyrack().await).await;
    all.sort_unstable();
    assert_eq!(named, all);
}

/// Reads a list to its end; returns the ids found, and how many pages it took.
async fn walk(client: &Client, operation: &str, mut body: Value, id: &str) -> (BTreeSet<String>, usize) {
    let (mut found, mut pages) = (BTreeSet::new(), 0);
    loop {
        let page = client.call(operation, body.clone()).await.expect(200);
        pages += 1;
        assert!(pages < 50, "{operation} has no end");
        for item in page.data().as_array().expect("a list") {
            assert!(found.insert(item[id].as_str().expect("an id").to_owned()), "{operation} repeats {item}");
        }
        let pagination = &page.body["pagination"];
        assert_eq!(pagination["hasMore"].as_bool(), Some(pagination["cursor"].is_string()), "{}", page.text);
        match pagination["cursor"].as_str() {
            Some(cursor) => body["cursor"] = cursor.into(),
            None => return (found, pages),
        }
    }
}

/// Many things, some at once.
async fn many(client: &Client, operation: &'static str, bodies: Vec<Value>) {
    for chunk in bodies.chunks(25) {
        let calls = chunk.iter().map(|body| client.call(operation, body.clone()));
        for answer in futures_util::future::join_all(calls).await {
            answer.expect(200);
        }
    }
}

#[tokio::test]
async fn who_may_see_few_of_many_apis_reads_short_pages_and_finds_them_all() {
    let server = keyrack().await;
    many(&server, "apis.createApi", (0..1200).map(|n| json!({ "name": format!("api {n}") })).collect()).await;
    let (all, _) = walk(&server, "apis.listApis", json!({}), "id").await;
    let mine: Vec<String> = all.iter().step_by(300).cloned().collect();
    let grants: Vec<String> = mine.iter().map(|id| format!("api.{id}.read_api")).collect();
    let few = limited_client(&server, &grants.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (found, pages) = walk(&few, "apis.listApis", json!({ "limit": 100 }), "id").await;
    assert_eq!(found, mine.into_iter().collect());
    assert_eq!(pages, 2, "a request looks at 1000 rows");
    let nobody = limited_client(&server, &[]).await;
    assert_eq!(walk(&nobody, "apis.listApis", json!({}), "id").await, (BTreeSet::new(), 1));
    let (searched, pages) = walk(&server, "apis.listApis", json!({ "search": "api 119" }), "id").await;
    assert_eq!((searched.len(), pages), (11, 2));
}

#[tokio::test]
async fn who_may_see_few_of_many_root_keys_reads_short_pages_and_finds_them_all() {
    let server = keyrack().await;
    many(&server, "rootKeys.createKey", vec![json!({ "permissions": [] }); 1100]).await;
    let (all, _) = walk(&server, "rootKeys.listKeys", json!({}), "keyId").await;
    let workspace = workspace_id(&server).await;
    let mine: Vec<String> = all.iter().step_by(500).cloned().collect();
    let grants: Vec<String> = mine.iter().map(|id| format!("unkey:v1:{workspace}:rootKeys/{id}#read")).collect();
    let few = limited_client(&server, &grants.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (found, pages) = walk(&few, "rootKeys.listKeys", json!({}), "keyId").await;
    assert_eq!((found, pages), (mine.into_iter().collect(), 2));
    let nobody = limited_client(&server, &[]).await;
    assert_eq!(walk(&nobody, "rootKeys.listKeys", json!({}), "keyId").await, (BTreeSet::new(), 1));
}

#[tokio::test]
async fn a_search_passes_over_a_bounded_number_and_goes_on_where_it_ended() {
    let server = keyrack().await;
    let named = |n: usize| format!("{}_{n}", if n.is_multiple_of(400) { "wanted" } else { "other" });
    let identities = (0..1300).map(|n| json!({ "externalId": named(n) })).collect();
    many(&server, "identities.createIdentity", identities).await;
    let permissions = (0..1300).map(|n| json!({ "name": "some", "slug": named(n) })).collect();
    many(&server, "permissions.createPermission", permissions).await;
    many(&server, "permissions.createRole", (0..1300).map(|n| json!({ "name": named(n) })).collect()).await;
    let limit = |n| json!({ "namespace": named(n), "identifier": "i", "limit": 1, "duration": 60_000 });
    many(&server, "ratelimit.limit", (0..1300).map(limit).collect()).await;
    for operation in [
        "identities.listIdentities",
        "permissions.listPermissions",
        "permissions.listRoles",
        "ratelimit.listNamespaces",
    ] {
        let (found, pages) = walk(&server, operation, json!({ "search": "WANTED" }), "id").await;
        assert_eq!((found.len(), pages), (4, 2), "{operation}");
        let (found, pages) = walk(&server, operation, json!({ "search": "wanted", "limit": 1 }), "id").await;
        assert_eq!(found.len(), 4, "{operation}");
        assert!((4..=6).contains(&pages), "{operation}: {pages} pages");
    }
}

#[tokio::test]
async fn the_keys_of_an_identity_are_looked_for_among_its_own() {
    let server = keyrack().await;
    let (full, other) = (new_api(&server).await, new_api(&server).await);
    new_identity(&server, "somebody", json!({})).await;
    let key = |api: &str| json!({ "apiId": api, "externalId": "somebody" });
    many(&server, "keys.createKey", vec![key(&full); 1050]).await;
    many(&server, "keys.createKey", vec![key(&other); 3]).await;
    let asked = json!({ "apiId": other, "externalId": "somebody" });
    let (found, pages) = walk(&server, "apis.listKeys", asked, "keyId").await;
    assert_eq!((found.len(), pages), (3, 2));
}
