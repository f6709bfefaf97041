//! The lists of identities, permissions and roles: pages in the order of ids, and a search that is literal.

use std::collections::BTreeSet;

use keyrack_test_harness::Client;
use serde_json::{Value, json};

use crate::keyrack;

/// A list, and how one of its items is made, removed and read.
struct List {
    list: &'static str,
    create: &'static str,
    delete: &'static str,
    read: &'static str,
    /// The member that a new item's own name goes to.
    name: &'static str,
    /// The member that names an item.
    item: &'static str,
    id: &'static str,
}

const LISTS: [List; 3] = [
    List {
        list: "identities.listIdentities",
        create: "identities.createIdentity",
        delete: "identities.deleteIdentity",
        read: "identities.getIdentity",
        name: "externalId",
        item: "identity",
        id: "identityId",
    },
    List {
        list: "permissions.listPermissions",
        create: "permissions.createPermission",
        delete: "permissions.deletePermission",
        read: "permissions.getPermission",
        name: "slug",
        item: "permission",
        id: "permissionId",
    },
    List {
        list: "permissions.listRoles",
        create: "permissions.createRole",
        delete: "permissions.deleteRole",
        read: "permissions.getRole",
        name: "name",
        item: "role",
        id: "roleId",
    },
];

impl List {
    async fn add(&self, client: &Client, name: &str) -> String {
        let mut body = json!({});
        body[self.name] = json!(name);
        if self.name == "slug" {
            body["name"] = json!("Some");
        }
        client.call(self.create, body).await.expect(200).text_of(self.id)
    }

    async fn remove(&self, client: &Client, id: &str) {
        let mut body = json!({});
        body[self.item] = json!(id);
        client.call(self.delete, body).await.expect(200);
    }

    async fn ids(&self, client: &Client, members: Value) -> (Vec<String>, Value) {
        let answer = client.call(self.list, members).await.expect(200);
        let items = answer.data().as_array().expect("a list").clone();
        let ids = items.iter().map(|item| item["id"].as_str().expect("an id").to_owned());
        (ids.collect(), answer.body["pagination"].clone())
    }

    /// Every page from the beginning.
    async fn walk(&self, client: &Client, limit: u64) -> Vec<String> {
        let (mut seen, mut cursor) = (Vec::<String>::new(), String::new());
        loop {
            let (ids, pagination) = self.ids(client, json!({"limit": limit, "cursor": cursor})).await;
            seen.extend(ids);
            match pagination["cursor"].as_str() {
                Some(next) => {
                    assert!(cursor.as_str() < next, "{} goes back from {cursor} to {next}", self.list);
                    cursor = next.to_owned();
                }
                None => {
                    assert_eq!(pagination, json!({"hasMore": false}));
                    return seen;
                }
            }
            assert_eq!(pagination["hasMore"], true);
        }
    }
}

#[tokio::test]
async fn pages_come_by_id_and_the_cursor_is_the_first_item_of_the_next() {
    let server = keyrack().await;
    for list in LISTS {
        assert_eq!(list.ids(&server, json!({})).await, (vec![], json!({"hasMore": false})));
        let mut ids = BTreeSet::new();
        for n in 0..7 {
            ids.insert(list.add(&server, &format!("item.{n}")).await);
        }
        let ids: Vec<String> = ids.into_iter().collect();
        assert_eq!(list.walk(&server, 3).await, ids, "{}", list.list);
        let (page, pagination) = list.ids(&server, json!({"limit": 3})).await;
        assert_eq!((&page[..], &pagination), (&ids[..3], &json!({"hasMore": true, "cursor": ids[3]})));
        let (page, _) = list.ids(&server, json!({"limit": 7})).await;
        assert_eq!(page.len(), 7, "a page that is just full is the last one");
        let (page, _) = list.ids(&server, json!({"cursor": format!("{}!", ids[4])})).await;
        assert_eq!(page, ids[5..], "a cursor that no item has is a lower bound");
        assert_eq!(list.ids(&server, json!({"cursor": "zzz"})).await.0, [] as [&str; 0]);
    }
}

#[tokio::test]
async fn the_item_a_cursor_names_may_be_gone() {
    let server = keyrack().await;
    for list in LISTS {
        let mut ids = BTreeSet::new();
        for n in 0..4 {
            ids.insert(list.add(&server, &format!("item.{n}")).await);
        }
        let ids: Vec<String> = ids.into_iter().collect();
        list.remove(&server, &ids[2]).await;
        let (page, _) = list.ids(&server, json!({"cursor": ids[2]})).await;
        assert_eq!(page, ids[3..], "{}", list.list);
    }
}

#[tokio::test]
async fn a_search_is_trimmed_ignores_case_and_takes_nothing_for_a_wildcard() {
    let server = keyrack().await;
    for list in LISTS {
        let one = list.add(&server, "Docs_Read.One").await;
        let two = list.add(&server, "docsXread-two").await;
        let found = async |search: &str| list.ids(&server, json!({"search": search})).await.0;
        assert_eq!(found("  docs_read ").await, [one.as_str()], "{}", list.list);
        assert_eq!(found("READ-TWO").await, [two.as_str()]);
        assert_eq!(found(&two.to_uppercase()).await, [two.as_str()], "by id");
        assert_eq!(found("docs%read").await, [] as [&str; 0]);
        assert_eq!(found("docs\\_").await, [] as [&str; 0]);
        for blank in ["", "   "] {
            assert_eq!(found(blank).await.len(), 2);
        }
    }
}

#[tokio::test]
async fn the_search_looks_into_names_and_descriptions_whatever_their_letters() {
    let server = keyrack().await;
    let body = json!({"name": "Straße LESEN", "slug": "a.1", "description": "Für Ämter"});
    server.call("permissions.createPermission", body).await.expect(200);
    server.call("permissions.createPermission", json!({"name": "Other", "slug": "b.1"})).await.expect(200);
    server.call("permissions.createRole", json!({"name": "Prüfer", "description": "ÄMTER"})).await.expect(200);
    server.call("permissions.createRole", json!({"name": "Other"})).await.expect(200);
    for list in &LISTS[1..] {
        for search in ["ämter", "ÄMTER"] {
            assert_eq!(list.ids(&server, json!({"search": search})).await.0.len(), 1, "{} {search}", list.list);
        }
        assert_eq!(list.ids(&server, json!({"search": "amter"})).await.0.len(), 0);
    }
    assert_eq!(LISTS[1].ids(&server, json!({"search": "straße l"})).await.0.len(), 1);
    assert_eq!(LISTS[2].ids(&server, json!({"search": "PRÜ"})).await.0.len(), 1);
}

#[tokio::test]
async fn items_are_shown_as_they_are_read_one_by_one() {
    let server = keyrack().await;
    let limit = json!({"name": "calls", "limit": 5, "duration": 1000, "autoApply": true});
    let bodies = [
        json!({"externalId": "customer", "meta": {"a": 1}, "ratelimits": [limit]}),
        json!({"name": "n", "slug": "s", "description": "d"}),
        json!({"name": "r", "description": "d", "permissions": ["s", "a"]}),
    ];
    for (list, body) in LISTS.iter().zip(bodies) {
        let id = server.call(list.create, body).await.expect(200).text_of(list.id);
        let mut request = json!({});
        request[list.item] = json!(id);
        let read = server.call(list.read, request).await;
        let listed = server.call(list.list, json!({"search": id})).await.expect(200);
        assert_eq!(&listed.data()[0], read.expect(200).data(), "{}", list.list);
    }
}
