//! Entities: order, search, uniqueness, balances, removal.

use keyrack_core::calendar::Day;
use keyrack_core::calendar::UnixMs;
use keyrack_core::operations::apis::CreateApi;
use keyrack_core::operations::identities::CreateIdentity;
use keyrack_core::operations::keys::{CreateKey, DeleteKey, UpdateKey};
use keyrack_core::store::listing::Part;
use keyrack_core::store::{Only, apis, credits, identities, keys, namespaces, root_keys};
use serde_json::json;

use crate::{Database, Instance, on_both_engines};

on_both_engines!(
    ids_page_in_the_order_of_bytes,
    search_is_literal_and_ignores_case,
    a_search_ignores_the_case_of_all_letters_and_fills_its_pages,
    lists_of_more_ids_than_a_statement_takes_are_read_whole,
    a_balance_and_its_refill_are_set_apart,
    a_permanently_deleted_key_frees_its_hash_and_a_deleted_one_does_not,
    an_id_wins_over_a_name_with_the_same_text,
    metadata_keeps_integers_exact,
);

fn api(instance: &Instance, id: &str, name: &str) -> apis::Api {
    apis::Api {
        id: id.to_owned(),
        workspace_id: instance.workspace_id.clone(),
        name: name.to_owned(),
        key_space_id: format!("ks_{id}"),
        delete_protection: false,
        ip_whitelist: None,
        default_prefix: None,
        default_bytes: None,
        store_encrypted_keys: false,
        created_at: UnixMs::new(1),
    }
}

async fn add_apis(instance: &Instance, ids_and_names: &[(&str, &str)]) {
    let mut transaction = instance.keyrack.store().write().await.unwrap();
    for (id, name) in ids_and_names {
        apis::insert(&mut transaction, &api(instance, id, name)).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

fn part<'a>(instance: &'a Instance, cursor: &'a str, search: &'a str, count: i64) -> Part<'a> {
    Part { workspace_id: &instance.workspace_id, cursor, search, count }
}

async fn ids_page_in_the_order_of_bytes(database: Database) {
    let instance = database.set_up().await;
    add_apis(
        &instance,
        &[("api_b", "one"), ("api_B", "two"), ("api_a", "three"), ("api_1", "four"), ("api_Z", "five")],
    )
    .await;
    let mut connection = instance.keyrack.store().read().await.unwrap();
    let listed = apis::list(&mut connection, part(&instance, "", "", 100)).await.unwrap();
    let ids: Vec<_> = listed.rows.iter().map(|api| api.id.as_str()).collect();
    assert_eq!(ids, ["api_1", "api_B", "api_Z", "api_a", "api_b"]);
    let from = apis::list(&mut connection, part(&instance, "api_Z", "", 2)).await.unwrap();
    assert_eq!(from.rows.iter().map(|api| api.id.as_str()).collect::<Vec<_>>(), ["api_Z", "api_a"]);
}

async fn search_is_literal_and_ignores_case(database: Database) {
    let instance = database.set_up().await;
    add_apis(
        &instance,
        &[("api_1", "100% sure"), ("api_2", "100 sure"), ("api_3", "snake_case"), ("api_4", "back\\slash")],
    )
    .await;
    let mut connection = instance.keyrack.store().read().await.unwrap();
    for (search, expected) in
        [("100%", "api_1"), ("SNAKE_", "api_3"), ("k\\s", "api_4"), (" 0 sure ", "api_2"), ("API_4", "api_4")]
    {
        let found = apis::list(&mut connection, part(&instance, "", search, 100)).await.unwrap();
        let ids: Vec<_> = found.rows.iter().map(|api| api.id.as_str()).collect();
        assert_eq!(ids, [expected], "{search}");
    }
}

async fn a_search_ignores_the_case_of_all_letters_and_fills_its_pages(database: Database) {
    let instance = database.set_up().await;
    let pairs = [("api_1", "MÜLLER"), ("api_2", "Möller"), ("api_3", "Miller"), ("api_4", "bei müller")];
    add_apis(&instance, &pairs).await;
    let mut connection = instance.keyrack.store().read().await.unwrap();
    for (search, cursor, count, expected) in [
        ("Müller", "", 100, &["api_1", "api_4"][..]),
        ("mÜLL", "", 1, &["api_1"]),
        ("müller", "api_2", 1, &["api_4"]),
        ("möller", "", 2, &["api_2"]),
        ("ller", "", 3, &["api_1", "api_2", "api_3"]),
        ("mäller", "", 100, &[]),
    ] {
        let found = apis::list(&mut connection, part(&instance, cursor, search, count)).await.unwrap();
        assert_eq!(found.rows.iter().map(|api| api.id.as_str()).collect::<Vec<_>>(), expected, "{search}");
    }
}

async fn lists_of_more_ids_than_a_statement_takes_are_read_whole(database: Database) {
    let instance = database.set_up().await;
    let names: Vec<String> = (0..1200).map(|n| format!("api_{n:04}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "some")).collect();
    add_apis(&instance, &pairs).await;
    let ids: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut connection = instance.keyrack.store().read().await.unwrap();
    assert_eq!(apis::live(&mut connection, Only::Ids(&ids)).await.unwrap().len(), 1200);
    assert_eq!(apis::live(&mut connection, Only::Ids(&[])).await.unwrap().len(), 0);
    assert_eq!(apis::live(&mut connection, Only::All).await.unwrap().len(), 1200);
}

async fn key_with(instance: &Instance, mut body: serde_json::Value) -> (String, String) {
    let api = instance.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    body["apiId"] = api["apiId"].clone();
    let key = instance.run::<CreateKey>(body).await.unwrap();
    (key["keyId"].as_str().unwrap().to_owned(), key["key"].as_str().unwrap().to_owned())
}

async fn a_balance_and_its_refill_are_set_apart(database: Database) {
    let instance = database.set_up().await;
    let (key_id, _) = key_with(&instance, json!({ "credits": { "remaining": 10 } })).await;
    let refill = credits::Refill { amount: 5, day: Some(31) };
    let mut transaction = instance.keyrack.store().write().await.unwrap();
    assert!(credits::decrement(&mut transaction, &key_id, 4).await.unwrap());
    credits::set_refill(&mut transaction, &key_id, Some(refill), Day::of(UnixMs::new(0))).await.unwrap();
    transaction.commit().await.unwrap();
    let mut connection = instance.keyrack.store().read().await.unwrap();
    let key = keys::find(&mut connection, &key_id).await.unwrap().unwrap();
    assert_eq!(key.credits, credits::Credits { remaining: Some(6), refill: Some(refill) });
}

async fn a_permanently_deleted_key_frees_its_hash_and_a_deleted_one_does_not(database: Database) {
    let instance = database.set_up().await;
    let everything = json!({
        "credits": { "remaining": 1 }, "permissions": ["a"], "externalId": "user",
        "ratelimits": [{ "name": "requests", "limit": 1, "duration": 1000, "autoApply": true }],
    });
    for (permanent, taken) in [(false, true), (true, false)] {
        let (key_id, _) = key_with(&instance, everything.clone()).await;
        let mut connection = instance.keyrack.store().read().await.unwrap();
        let hash = keys::find(&mut connection, &key_id).await.unwrap().unwrap().hash;
        drop(connection);
        instance.run::<DeleteKey>(json!({ "keyId": key_id, "permanent": permanent })).await.unwrap();
        let mut connection = instance.keyrack.store().read().await.unwrap();
        assert_eq!(keys::find(&mut connection, &key_id).await.unwrap(), None);
        assert_eq!(keys::hash_is_taken(&mut connection, &hash).await.unwrap(), taken, "permanent: {permanent}");
    }
}

async fn an_id_wins_over_a_name_with_the_same_text(database: Database) {
    let instance = database.set_up().await;
    let first = instance.run::<CreateIdentity>(json!({ "externalId": "first" })).await.unwrap();
    let id = first["identityId"].as_str().unwrap();
    instance.run::<CreateIdentity>(json!({ "externalId": id })).await.unwrap();
    let mut transaction = instance.keyrack.store().write().await.unwrap();
    let found = identities::find(&mut transaction, &instance.workspace_id, id).await.unwrap().unwrap();
    assert_eq!(found.external_id, "first");
    for (namespace_id, name) in [("rlns_1", "logins"), ("rlns_2", "rlns_1")] {
        let namespace = namespaces::Namespace {
            id: namespace_id.to_owned(),
            workspace_id: instance.workspace_id.clone(),
            name: name.to_owned(),
            deleted: false,
        };
        namespaces::insert(&mut transaction, &namespace, UnixMs::new(1)).await.unwrap();
    }
    let found = namespaces::find(&mut transaction, &instance.workspace_id, "rlns_1").await.unwrap().unwrap();
    assert_eq!(found.name, "logins");
    assert!(root_keys::owner_of_hash(&mut transaction, "no such hash").await.unwrap().is_none());
}

async fn metadata_keeps_integers_exact(database: Database) {
    let instance = database.set_up().await;
    let (key_id, _) = key_with(&instance, json!({ "meta": { "big": 9_007_199_254_740_993_i64 } })).await;
    let read = async || {
        let mut connection = instance.keyrack.store().read().await.unwrap();
        keys::find(&mut connection, &key_id).await.unwrap().unwrap().meta
    };
    assert_eq!(read().await.as_deref(), Some(r#"{"big":9007199254740993}"#));
    instance.run::<UpdateKey>(json!({ "keyId": key_id, "meta": null })).await.unwrap();
    assert_eq!(read().await, None);
}
