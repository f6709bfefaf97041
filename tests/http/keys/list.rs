//! `keys.listKeys`: filters, orders, pages, bounds, and what one may not see.

use keyrack_test_harness::{Client, Database, Server};
use serde_json::{Value, json};

use crate::changes::able_program;
use crate::fixture::{
    NewKey, limited_client, merged, new_api, new_identity, new_key, new_workspace, now, read_key, update_key,
    verify, workspace_id,
};
use crate::keyrack;

async fn page(client: &Client, body: Value) -> (Vec<String>, Option<String>) {
    let answer = client.call("keys.listKeys", body).await.expect(200);
    let ids = answer.data().as_array().expect("a list").iter();
    let ids = ids.map(|key| key["keyId"].as_str().expect("an id").to_owned()).collect();
    (ids, answer.body["pagination"]["cursor"].as_str().map(str::to_owned))
}

/// Every key that a list has, read page by page, and how many pages that took.
async fn walk(client: &Client, body: Value) -> (Vec<String>, usize) {
    let (mut all, mut cursor) = page(client, body.clone()).await;
    let mut pages = 1;
    while let Some(next) = cursor {
        let (ids, after) = page(client, merged(body.clone(), json!({"cursor": next}))).await;
        all.extend(ids);
        pages += 1;
        assert!(pages < 100, "{body} has no end");
        cursor = after;
    }
    (all, pages)
}

fn ids(keys: &[&NewKey]) -> Vec<String> {
    keys.iter().map(|key| key.id.clone()).collect()
}

/// The ids that a list has, in any order.
async fn found(client: &Client, body: Value) -> Vec<String> {
    let mut found = walk(client, body).await.0;
    found.sort_unstable();
    found
}

fn sorted(keys: &[&NewKey]) -> Vec<String> {
    let mut ids = ids(keys);
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn keys_of_all_apis_are_listed_newest_first_with_where_they_belong_and_what_they_hold() {
    let server = keyrack().await;
    let (api, other) = (new_api(&server).await, new_api(&server).await);
    server.call("permissions.createRole", json!({"name": "reader", "permissions": ["a", "c"]})).await.expect(200);
    let members = json!({"permissions": ["a", "b"], "roles": ["reader"], "name": "first"});
    let first = new_key(&server, &api, members).await;
    let second = new_key(&server, &other, json!({})).await;
    let answer = server.call("keys.listKeys", json!({})).await.expect(200);
    assert_eq!(page(&server, json!({})).await, (ids(&[&second, &first]), None));
    assert_eq!(page(&server, json!({"descending": false})).await, (ids(&[&first, &second]), None));
    assert_eq!(page(&server, json!({"apiId": api})).await, (ids(&[&first]), None));
    let space = verify(&server, &first, json!({})).await["keyspaceId"].clone();
    let grant = |slug: &str, direct: bool, roles: Value| json!({"slug": slug, "direct": direct, "roles": roles});
    let more = json!({
        "apiId": api, "keyspaceId": space, "recoverable": false, "waiting": false,
        "grants": [grant("a", true, json!(["reader"])), grant("b", true, json!([])), grant("c", false, json!(["reader"]))],
    });
    let mut due = merged(read_key(&server, &first).await, more);
    let mut shown = answer.data()[1].clone();
    for key in [&mut due, &mut shown] {
        key.as_object_mut().expect("an object").remove("lastUsedAt");
    }
    assert_eq!(shown, due);
}

/// Keys that differ in all that can be asked for.
struct Varied {
    plain: NewKey,
    ann: NewKey,
    reader: NewKey,
    direct: NewKey,
    disabled: NewKey,
    expired: NewKey,
    empty: NewKey,
    kept: NewKey,
    /// The id of the identity of `ann`.
    identity: String,
    /// When `ann` expires, and when `reader` does.
    soon: i64,
    later: i64,
}

impl Varied {
    async fn made(server: &Server) -> Varied {
        let api = new_api(server).await;
        server.call("apis.updateApi", json!({"apiId": api, "storeEncryptedKeys": true})).await.expect(200);
        let role = json!({"name": "reader", "permissions": ["docs.read"]});
        server.call("permissions.createRole", role).await.expect(200);
        let identity = new_identity(server, "ann@example.com", json!({})).await;
        let (soon, later) = (now() + 3_600_000, now() + 90_000_000);
        let key = async |members: Value| new_key(server, &api, members).await;
        Varied {
            plain: key(json!({"name": "Ämter Plain 100%"})).await,
            ann: key(json!({"externalId": "ann@example.com", "expires": soon, "prefix": "sk_live"})).await,
            reader: key(json!({"roles": ["reader"], "expires": later, "name": "mobile one"})).await,
            direct: key(json!({"permissions": ["docs.read"], "name": "MOBILE two"})).await,
            disabled: key(json!({"enabled": false, "expires": 1})).await,
            expired: key(json!({"expires": 2, "credits": {"remaining": 0}})).await,
            empty: key(json!({"credits": {"remaining": 0}})).await,
            kept: key(json!({"recoverable": true, "credits": {"remaining": 1}})).await,
            identity,
            soon,
            later,
        }
    }

    /// Filters, each with the keys that pass it.
    fn filters(&self, start: &str) -> Vec<(Value, Vec<&NewKey>)> {
        let Varied { plain, ann, reader, direct, disabled, expired, empty, kept, identity, soon, later } = self;
        vec![
            (json!({"status": "works"}), vec![plain, ann, reader, direct, kept]),
            (json!({"status": "disabled"}), vec![disabled]),
            (json!({"status": "expired"}), vec![expired]),
            (json!({"status": "noCredits"}), vec![empty]),
            (json!({"identity": "ann@example.com"}), vec![ann]),
            (json!({"identity": identity}), vec![ann]),
            (json!({"identity": "nobody"}), vec![]),
            (json!({"role": "reader"}), vec![reader]),
            (json!({"role": "nothing"}), vec![]),
            (json!({"permission": "docs.read"}), vec![reader, direct]),
            (json!({"permission": "docs.read", "search": "mobile t"}), vec![direct]),
            (json!({"recoverable": true}), vec![kept]),
            (json!({"recoverable": true, "status": "noCredits"}), vec![]),
            (json!({"waiting": true}), vec![]),
            (json!({"search": "mobile"}), vec![reader, direct]),
            (json!({"search": "äMTER"}), vec![plain]),
            (json!({"search": "obile"}), vec![]),
            (json!({"search": "%"}), vec![]),
            (json!({"search": "ann@"}), vec![ann]),
            (json!({"search": "ANN@"}), vec![]),
            (json!({"search": start}), vec![ann]),
            (json!({"search": ann.id}), vec![ann]),
            (json!({"search": ann.key}), vec![]),
            (json!({"expiresFrom": soon, "expiresBefore": later}), vec![ann]),
            (json!({"expiresFrom": soon}), vec![ann, reader]),
            (json!({"expiresBefore": 3}), vec![disabled, expired]),
            (json!({"createdFrom": now() + 60_000}), vec![]),
            (json!({"createdBefore": 1}), vec![]),
            (json!({"unusedSince": 1}), vec![]),
        ]
    }
}

#[tokio::test]
async fn each_filter_leaves_out_what_it_says_and_they_add_up() {
    let server = able_program().await.start().await;
    let keys = Varied::made(&server).await;
    let start = read_key(&server, &keys.ann).await["start"].as_str().expect("a text").to_owned();
    for (filter, due) in keys.filters(&start) {
        let due = sorted(&due);
        assert_eq!(found(&server, filter.clone()).await, due, "{filter}");
        assert_eq!(
            found(&server, merged(filter.clone(), json!({"limit": 1}))).await,
            due,
            "{filter}, page by page"
        );
        let turned = merged(filter.clone(), json!({"descending": false}));
        let mut turned = walk(&server, turned).await.0;
        turned.reverse();
        assert_eq!(turned, walk(&server, filter.clone()).await.0, "{filter}, the other way round");
    }
    update_key(&server, &keys.empty, json!({"credits": {"remaining": 4}})).await;
    assert_eq!(found(&server, json!({"status": "noCredits"})).await, Vec::<String>::new());
}

#[tokio::test]
async fn in_the_order_of_expiry_come_those_that_expire() {
    let server = able_program().await.start().await;
    let keys = Varied::made(&server).await;
    let by_expiry = json!({"order": "expires", "descending": false});
    let due = ids(&[&keys.disabled, &keys.expired, &keys.ann, &keys.reader]);
    assert_eq!(walk(&server, by_expiry.clone()).await.0, due);
    assert_eq!(walk(&server, merged(by_expiry.clone(), json!({"limit": 1}))).await.0, due);
    let later = walk(&server, merged(by_expiry, json!({"expiresFrom": keys.soon}))).await.0;
    assert_eq!(later, ids(&[&keys.ann, &keys.reader]));
}

#[tokio::test]
async fn a_key_counts_as_unused_since_it_was_made_or_used_last() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let (old, used, new) = (
        new_key(&server, &api, json!({})).await,
        new_key(&server, &api, json!({})).await,
        new_key(&server, &api, json!({})).await,
    );
    let mut database = Database::of(&server).await;
    for (key, created, last_used) in [(&old, 1000, "NULL"), (&used, 1000, "5000"), (&new, 9000, "NULL")] {
        let set =
            format!("UPDATE keys SET created_at = {created}, last_used_at = {last_used} WHERE id = '{}'", key.id);
        database.execute(&set).await;
    }
    for (since, due) in [(1000, vec![]), (1001, sorted(&[&old])), (5001, sorted(&[&old, &used]))] {
        assert_eq!(found(&server, json!({"unusedSince": since})).await, due, "{since}");
    }
    assert_eq!(walk(&server, json!({"createdFrom": 1000, "createdBefore": 1001})).await.0.len(), 2);
}

#[tokio::test]
async fn pages_are_exact_where_many_keys_have_the_same_time() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let mut all = Vec::new();
    for _ in 0..23 {
        all.push(new_key(&server, &api, json!({"expires": 4_000_000_000_000_i64, "name": "same"})).await.id);
    }
    let mut database = Database::of(&server).await;
    database.execute("UPDATE keys SET created_at = 1000").await;
    all.sort_unstable();
    for filter in [json!({}), json!({"apiId": api}), json!({"order": "expires"}), json!({"search": "same"})] {
        for limit in [1, 5, 22, 23] {
            let body = merged(filter.clone(), json!({"limit": limit, "descending": false}));
            assert_eq!(walk(&server, body.clone()).await, (all.clone(), 23_usize.div_ceil(limit)), "{body}");
            let mut turned = walk(&server, merged(body, json!({"descending": true}))).await.0;
            turned.reverse();
            assert_eq!(turned, all);
        }
    }
    for cursor in ["key_1", "x.key_1", "."] {
        server.call("keys.listKeys", json!({"cursor": cursor})).await.expect(400);
    }
}

#[tokio::test]
async fn keys_of_apis_that_one_may_not_read_are_left_out() {
    let server = keyrack().await;
    let (mine, other) = (new_api(&server).await, new_api(&server).await);
    let (seen, hidden) = (
        new_key(&server, &mine, json!({"name": "a"})).await,
        new_key(&server, &other, json!({"name": "a"})).await,
    );
    let space = verify(&server, &seen, json!({})).await["keyspaceId"].as_str().expect("an id").to_owned();
    let workspace = workspace_id(&server).await;
    let tuples = [format!("api.{mine}.read_key"), format!("api.{mine}.read_api")];
    let urns = [
        format!("unkey:v1:{workspace}:keyspaces/{space}/keys/*#read_key"),
        format!("unkey:v1:{workspace}:keyspaces/{space}#read_keyspace"),
    ];
    for grants in [&tuples, &urns] {
        let narrow = limited_client(&server, &[&grants[0], &grants[1]]).await;
        for body in [json!({}), json!({"search": "a"}), json!({"apiId": mine}), json!({"order": "created"})] {
            assert_eq!(page(&narrow, body).await, (ids(&[&seen]), None));
        }
        assert_eq!(page(&narrow, json!({"search": hidden.id})).await, (vec![], None));
        let unknown = narrow.call("keys.listKeys", json!({"apiId": "api_unknown"})).await;
        let unknown = unknown.expect_error(404, "unkey/data/api_not_found");
        let refused = narrow.call("keys.listKeys", json!({"apiId": other})).await;
        assert_eq!(refused.expect(404).detail(), unknown.detail());
        let half = limited_client(&server, &[&grants[0]]).await;
        half.call("keys.listKeys", json!({})).await.expect(403);
    }
    let (_, foreign) = new_workspace(&server, "foreign").await;
    assert_eq!(page(&foreign, json!({})).await, (vec![], None));
    assert_eq!(page(&foreign, json!({"search": seen.id})).await, (vec![], None));
    server.call("apis.deleteApi", json!({"apiId": other})).await.expect(200);
    server.call("keys.deleteKey", json!({"keyId": seen.id})).await.expect(200);
    assert_eq!(page(&server, json!({})).await, (vec![], None), "what is deleted is listed no more");
}

/// Very many keys of an API, every `every`th with this name, put into the database as they would be after years.
async fn very_many(server: &Server, api: &str, count: usize, every: usize) {
    let mut database = Database::of(server).await;
    let rows = |from: usize, to: usize| -> String {
        let row = |n: usize| {
            let name = if n.is_multiple_of(every) { "wanted" } else { "other" };
            format!(
                "('key_many{n:06}', (SELECT workspace_id FROM apis WHERE id = '{api}'), '{api}', 'hash{n}', 'sk_{n}', '{name}', {n})"
            )
        };
        (from..to).map(row).collect::<Vec<_>>().join(", ")
    };
    for from in (0..count).step_by(1000) {
        let rows = rows(from, count.min(from + 1000));
        let insert = "INSERT INTO keys (id, workspace_id, api_id, hash, start, name, created_at) VALUES";
        database.execute(&format!("{insert} {rows}")).await;
    }
}

#[tokio::test]
async fn a_request_looks_at_a_bounded_number_of_keys_and_says_where_to_read_on() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    very_many(&server, &api, 7000, 1000).await;
    let status = json!({"status": "disabled"});
    assert_eq!(
        walk(&server, status).await,
        (vec![], 3),
        "no index knows which are disabled: 3000 are looked at at a time"
    );
    let wanted: Vec<String> = (0..7).map(|n| format!("key_many{:06}", n * 1000)).rev().collect();
    assert_eq!(walk(&server, json!({"search": "WANT"})).await, (wanted.clone(), 1), "an index knows the names");
    let (few, pages) = walk(&server, json!({"search": "want", "limit": 2})).await;
    assert_eq!((few, pages), (wanted, 4));
    let (others, _) = walk(&server, json!({"search": "other", "limit": 100})).await;
    assert_eq!(others.len(), 6993, "too many for that index are found in their order");
    assert!(others.is_sorted_by(|one, next| one > next), "newest first");
    let (all, pages) = walk(&server, json!({"limit": 100})).await;
    assert_eq!((all.len(), pages), (7000, 70));
    let narrow = limited_client(&server, &["api.api_other.read_key", "api.api_other.read_api"]).await;
    assert_eq!(walk(&narrow, json!({})).await, (vec![], 3), "what one may not see is looked at in portions, too");
}
