//! Deleted identities: what stays of them, and what goes for good.

use keyrack_core::operations::apis::CreateApi;
use keyrack_core::operations::identities::{CreateIdentity, DeleteIdentity};
use keyrack_core::operations::keys::{CreateKey, GetKey};
use serde_json::json;
use sqlx::Row as _;

use crate::{Database, Instance, on_both_engines};

on_both_engines!(
    only_the_identity_deleted_last_is_kept_with_its_limits,
    a_key_stays_valid_when_its_identity_is_gone_for_good,
);

async fn ids(instance: &Instance, text: &'static str) -> Vec<String> {
    let mut connection = instance.keyrack.store().read().await.unwrap();
    let rows = sqlx::query(text).fetch_all(&mut *connection).await.unwrap();
    rows.iter().map(|row| row.get("id")).collect()
}

async fn create_and_delete(instance: &Instance) -> String {
    let limit = json!({ "name": "calls", "limit": 1, "duration": 1000, "autoApply": true });
    let body = json!({ "externalId": "customer", "ratelimits": [limit] });
    let created = instance.run::<CreateIdentity>(body).await.unwrap();
    instance.run::<DeleteIdentity>(json!({ "identity": "customer" })).await.unwrap();
    created["identityId"].as_str().unwrap().to_owned()
}

async fn only_the_identity_deleted_last_is_kept_with_its_limits(database: Database) {
    let instance = database.set_up().await;
    let mut last = String::new();
    for _ in 0..3 {
        last = create_and_delete(&instance).await;
    }
    assert_eq!(ids(&instance, "SELECT id FROM identities").await, [last.as_str()]);
    let owners = ids(&instance, "SELECT identity_id AS id FROM ratelimits").await;
    assert_eq!(owners, [last]);
}

async fn a_key_stays_valid_when_its_identity_is_gone_for_good(database: Database) {
    let instance = database.set_up().await;
    let api = instance.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let body = json!({ "apiId": api["apiId"], "externalId": "customer" });
    let key = instance.run::<CreateKey>(body).await.unwrap();
    instance.run::<DeleteIdentity>(json!({ "identity": "customer" })).await.unwrap();
    create_and_delete(&instance).await;
    let read = instance.run::<GetKey>(json!({ "keyId": key["keyId"] })).await.unwrap();
    assert!(read.get("identity").is_none(), "{read}");
}
