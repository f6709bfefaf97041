//! Operations on keys: the events they leave, and that keys of another workspace do not exist for them.

use keyrack_core::audit::Actor;
use keyrack_core::calendar::UnixMs;
use keyrack_core::clock::Clock;
use keyrack_core::keys::imported::Algorithm;
use keyrack_core::operations::apis::CreateApi;
use keyrack_core::operations::keys::{
    AddPermissions, AddRoles, CreateKey, MigrateKeys, RemovePermissions, RemoveRoles, RerollKey, SetPermissions,
    SetRoles, UpdateCredits, VerifyKey,
};
use keyrack_core::operations::permissions::CreateRole;
use keyrack_core::root_keys::NewRootKey;
use keyrack_core::setup;
use keyrack_core::store::subject::Subject;
use keyrack_core::store::workspaces;
use keyrack_core::{Code, Error};
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::{Database, Instance, on_both_engines};

on_both_engines!(
    each_change_of_permissions_and_roles_leaves_an_event_per_link,
    credits_and_rerolling_leave_one_event,
    a_key_rerolled_without_grace_is_refused_in_that_very_millisecond,
    an_import_leaves_the_events_of_all_it_makes_and_its_first_use_none,
    keys_of_another_workspace_read_as_keys_that_do_not_exist,
    migrations_of_another_workspace_do_not_exist,
);

/// An event of the audit log: its name, the types and ids of its targets, whether it is correlated.
type Seen = (String, Vec<(String, String)>, bool);

/// The events since the last call with this counter.
async fn events(instance: &Instance, after: &mut i64) -> Vec<Seen> {
    let mut connection = instance.keyrack.store().read().await.unwrap();
    let text = "SELECT sequence, event, targets, correlation_id FROM audit_logs \
                WHERE workspace_id = $1 AND sequence > $2 ORDER BY sequence";
    let query = sqlx::query(text).bind(instance.workspace_id.clone()).bind(*after);
    let rows = query.fetch_all(&mut *connection).await.unwrap();
    rows.iter()
        .map(|row| {
            *after = row.get("sequence");
            let targets: Vec<Value> = serde_json::from_str(&row.get::<String, _>("targets")).unwrap();
            let text = |target: &Value, member: &str| target[member].as_str().unwrap().to_owned();
            let targets = targets.iter().map(|target| (text(target, "type"), text(target, "id"))).collect();
            (row.get("event"), targets, row.get::<Option<String>, _>("correlation_id").is_some())
        })
        .collect()
}

fn names(events: &[Seen]) -> Vec<&str> {
    events.iter().map(|(name, ..)| name.as_str()).collect()
}

fn kinds(event: &Seen) -> Vec<&str> {
    event.1.iter().map(|(kind, _)| kind.as_str()).collect()
}

/// An API, a key with these members, and the counter of events after them.
async fn key_with(instance: &Instance, mut members: Value) -> (String, String, i64) {
    let api = instance.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    members["apiId"] = api["apiId"].clone();
    let key = instance.run::<CreateKey>(members).await.unwrap();
    let mut after = 0;
    events(instance, &mut after).await;
    (api["apiId"].as_str().unwrap().to_owned(), key["keyId"].as_str().unwrap().to_owned(), after)
}

const CONNECT_PERMISSION: &str = "authorization.connect_permission_and_key";
const DISCONNECT_PERMISSION: &str = "authorization.disconnect_permission_and_key";
const CONNECT_ROLE: &str = "authorization.connect_role_and_key";
const DISCONNECT_ROLE: &str = "authorization.disconnect_role_and_key";

async fn each_change_of_permissions_and_roles_leaves_an_event_per_link(database: Database) {
    let instance = database.set_up().await;
    for name in ["one", "two"] {
        instance.run::<CreateRole>(json!({ "name": name })).await.unwrap();
    }
    let (_, key, mut after) = key_with(&instance, json!({ "permissions": ["a"] })).await;
    let body = json!({ "keyId": key, "permissions": ["c", "b", "a"] });
    instance.run::<AddPermissions>(body.clone()).await.unwrap();
    let seen = events(&instance, &mut after).await;
    let due = ["permission.create", "permission.create", CONNECT_PERMISSION, CONNECT_PERMISSION];
    assert_eq!(names(&seen), due);
    assert_eq!(kinds(&seen[0]), ["permission"]);
    assert_eq!(kinds(&seen[2]), ["key", "permission"]);
    assert_eq!(seen[2].1[0].1, key);
    instance.run::<AddPermissions>(body).await.unwrap();
    assert_eq!(events(&instance, &mut after).await, []);

    let set = json!({ "keyId": key, "permissions": ["d", "b"] });
    instance.run::<SetPermissions>(set.clone()).await.unwrap();
    let due = [DISCONNECT_PERMISSION, DISCONNECT_PERMISSION, "permission.create", CONNECT_PERMISSION];
    assert_eq!(names(&events(&instance, &mut after).await), due);
    instance.run::<SetPermissions>(set).await.unwrap();
    assert_eq!(events(&instance, &mut after).await, []);

    instance.run::<RemovePermissions>(json!({ "keyId": key, "permissions": ["a", "b"] })).await.unwrap();
    let seen = events(&instance, &mut after).await;
    assert_eq!((names(&seen), seen[0].2), (vec![DISCONNECT_PERMISSION], false));
    instance.run::<SetPermissions>(json!({ "keyId": key, "permissions": [] })).await.unwrap();
    let seen = events(&instance, &mut after).await;
    assert_eq!((names(&seen), seen[0].2), (vec![DISCONNECT_PERMISSION], true), "always correlated");

    instance.run::<AddRoles>(json!({ "keyId": key, "roles": ["one", "one"] })).await.unwrap();
    let seen = events(&instance, &mut after).await;
    assert_eq!((names(&seen), kinds(&seen[0])), (vec![CONNECT_ROLE], vec!["key", "role"]));
    instance.run::<SetRoles>(json!({ "keyId": key, "roles": ["two"] })).await.unwrap();
    assert_eq!(names(&events(&instance, &mut after).await), [DISCONNECT_ROLE, CONNECT_ROLE]);
    for body in [json!({ "keyId": key, "roles": ["one"] }), json!({ "keyId": key, "roles": ["two"] })] {
        instance.run::<RemoveRoles>(body).await.unwrap();
    }
    assert_eq!(names(&events(&instance, &mut after).await), [DISCONNECT_ROLE], "only what was attached");
}

async fn credits_and_rerolling_leave_one_event(database: Database) {
    let instance = database.set_up().await;
    let (api, key, mut after) =
        key_with(&instance, json!({ "credits": { "remaining": 5 }, "permissions": ["a"] })).await;
    let body = json!({ "keyId": key, "operation": "increment", "value": 3 });
    instance.run::<UpdateCredits>(body).await.unwrap();
    let seen = events(&instance, &mut after).await;
    assert_eq!((names(&seen), kinds(&seen[0])), (vec!["key.update"], vec!["keySpace", "key"]));
    let body = json!({ "keyId": key, "operation": "increment" });
    assert_eq!(instance.run::<UpdateCredits>(body).await.unwrap_err().code(), Code::InvalidInput);
    assert_eq!(events(&instance, &mut after).await, []);

    let new = instance.run::<RerollKey>(json!({ "keyId": key, "expiration": 60_000 })).await.unwrap();
    let seen = events(&instance, &mut after).await;
    assert_eq!((names(&seen), kinds(&seen[0])), (vec!["key.reroll"], vec!["key", "key", "api"]));
    let ids: Vec<&str> = seen[0].1.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(ids, [new["keyId"].as_str().unwrap(), &key, &api]);
}

async fn a_key_rerolled_without_grace_is_refused_in_that_very_millisecond(database: Database) {
    let instance = database.set_up_at(Clock::standing_at(UnixMs::new(1_700_000_000_000))).await;
    let (_, key_id, _) = key_with(&instance, json!({})).await;
    let old = instance.run::<RerollKey>(json!({ "keyId": key_id, "expiration": null })).await.unwrap();
    let body = json!({ "key": old["key"] });
    assert_eq!(instance.run::<VerifyKey>(body.clone()).await.unwrap()["code"], "VALID");
    instance.run::<RerollKey>(json!({ "keyId": old["keyId"], "expiration": 0 })).await.unwrap();
    assert_eq!(instance.run::<VerifyKey>(body).await.unwrap()["code"], "EXPIRED");
}

async fn an_import_leaves_the_events_of_all_it_makes_and_its_first_use_none(database: Database) {
    let instance = database.set_up().await;
    let migration =
        setup::create_key_migration(&instance.keyrack, &instance.workspace_id, Algorithm::PrefixedApiKey)
            .await
            .unwrap();
    let (api, _, mut after) = key_with(&instance, json!({})).await;
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let body = json!({ "apiId": api, "migrationId": migration, "keys": [
        { "hash": hash, "name": "Mobile", "externalId": "ada", "permissions": ["a"], "roles": ["r"] },
        { "hash": hash.replace('b', "c"), "permissions": ["a"], "roles": ["r"] },
    ] });
    let answer = instance.run::<MigrateKeys>(body.clone()).await.unwrap();
    let seen = events(&instance, &mut after).await;
    let due = [
        "identity.create",
        "permission.create",
        "role.create",
        CONNECT_PERMISSION,
        CONNECT_ROLE,
        "key.create",
        CONNECT_PERMISSION,
        CONNECT_ROLE,
        "key.create",
    ];
    assert_eq!(names(&seen), due);
    assert_eq!(kinds(&seen[5]), ["key", "api"]);
    assert_eq!(json!(seen[5].1[0].1), answer["migrated"][0]["keyId"]);
    instance.run::<MigrateKeys>(body).await.unwrap();
    assert_eq!(events(&instance, &mut after).await, [], "every hash was known");
    // Another process sees both the migration and what the first use changed.
    let body = json!({ "key": "acme_short_abc", "migrationId": migration });
    assert_eq!(instance.run::<VerifyKey>(body).await.unwrap()["code"], "VALID");
    assert_eq!(events(&instance, &mut after).await, []);
    let other = instance.other_process(&database).await;
    let data = other.run::<VerifyKey>(json!({ "key": "acme_short_abc" })).await.unwrap();
    assert_eq!(data["code"], "VALID");
}

/// The same instance as a root key of a second workspace sees it.
async fn second_workspace(instance: &Instance) -> Instance {
    let mut transaction = instance.keyrack.store().write().await.unwrap();
    workspaces::insert(&mut transaction, "ws_second", "second", UnixMs::new(2)).await.unwrap();
    transaction.commit().await.unwrap();
    let actor = Actor::system("test");
    let mut mutation = instance.keyrack.change_as("ws_second", actor).await.unwrap();
    mutation.touch(Subject::Workspace("ws_second".to_owned()));
    mutation.commit().await.unwrap();
    let new = NewRootKey { name: None, permissions: vec!["*".to_owned()], operator: false, expires_at: None };
    let (_, secret) = setup::create_root_key(&instance.keyrack, "ws_second", new).await.unwrap();
    Instance {
        root_key: secret.expose().to_owned(),
        workspace_id: "ws_second".to_owned(),
        keyrack: instance.keyrack.clone(),
    }
}

fn said(outcome: Result<Value, Error>) -> String {
    outcome.unwrap_err().to_string()
}

async fn keys_of_another_workspace_read_as_keys_that_do_not_exist(database: Database) {
    let instance = database.set_up().await;
    let (_, foreign, mut after) = key_with(&instance, json!({ "permissions": ["a"] })).await;
    let stranger = second_workspace(&instance).await;
    let mut answers = Vec::new();
    for id in [foreign.as_str(), "key_unknown"] {
        let permissions = json!({ "keyId": id, "permissions": ["a"] });
        let roles = json!({ "keyId": id, "roles": ["r"] });
        answers.push([
            said(stranger.run::<UpdateCredits>(json!({ "keyId": id, "operation": "set", "value": 1 })).await),
            said(stranger.run::<RerollKey>(json!({ "keyId": id, "expiration": 0 })).await),
            said(stranger.run::<AddPermissions>(permissions.clone()).await),
            said(stranger.run::<SetPermissions>(permissions.clone()).await),
            said(stranger.run::<RemovePermissions>(permissions).await),
            said(stranger.run::<AddRoles>(roles.clone()).await),
            said(stranger.run::<SetRoles>(roles.clone()).await),
            said(stranger.run::<RemoveRoles>(roles).await),
        ]);
    }
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].iter().all(|text| text.starts_with(Code::KeyNotFound.path())), "{answers:?}");
    assert_eq!(events(&instance, &mut after).await, []);
}

async fn migrations_of_another_workspace_do_not_exist(database: Database) {
    let instance = database.set_up().await;
    let stranger = second_workspace(&instance).await;
    let create = async |of: &Instance| {
        setup::create_key_migration(&of.keyrack, &of.workspace_id, Algorithm::PrefixedApiKey).await.unwrap()
    };
    let (own, foreign) = (create(&stranger).await, create(&instance).await);
    let (foreign_api, ..) = key_with(&instance, json!({})).await;
    let (api, ..) = key_with(&stranger, json!({})).await;
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let body =
        |migration: &str, api: &str| json!({ "apiId": api, "migrationId": migration, "keys": [{ "hash": hash }] });
    for migration in [&foreign, "mig_unknown"] {
        let refused = stranger.run::<MigrateKeys>(body(migration, &api)).await.unwrap_err();
        assert_eq!(refused.code(), Code::MigrationNotFound);
    }
    for api in [&foreign_api, "api_unknown"] {
        let refused = stranger.run::<MigrateKeys>(body(&own, api)).await.unwrap_err();
        assert_eq!(refused.code(), Code::ApiNotFound);
    }
    instance.run::<MigrateKeys>(body(&foreign, &foreign_api)).await.unwrap();
    for migration in [&own, &foreign] {
        let body = json!({ "key": "acme_short_abc", "migrationId": migration });
        assert_eq!(stranger.run::<VerifyKey>(body).await.unwrap()["code"], "NOT_FOUND", "{migration}");
    }
    let failed = stranger.run::<MigrateKeys>(body(&own, &api)).await.unwrap();
    assert_eq!((&failed["migrated"], &failed["failed"]), (&json!([]), &json!([hash])), "unique in the instance");
    assert_eq!(failed["failures"][0]["reason"], "another key has this hash already", "nothing of the other's key");
}
