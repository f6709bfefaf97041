//! Memory is what the database says, whatever became of a commit, whoever was first, and whichever database it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use keyrack_core::audit::Actor;
use keyrack_core::caller::{Origin, Via};
use keyrack_core::clock::Clock;
use keyrack_core::keyrack::Options;
use keyrack_core::keys::imported::Algorithm;
use keyrack_core::keys::secret::hash;
use keyrack_core::operations::apis::CreateApi;
use keyrack_core::operations::identities::CreateIdentity;
use keyrack_core::operations::keys::{CreateKey, DeleteKey, MigrateKeys, UpdateKey, VerifyKey};
use keyrack_core::operations::permissions::{CreateRole, SetRolePermissions};
use keyrack_core::operations::ratelimit::Limit;
use keyrack_core::operations::workspace::CreateWorkspace;
use keyrack_core::retention::Retention;
use keyrack_core::{Code, Keyrack, setup};
use serde_json::{Value, json};

use crate::changes::within_a_second;
use crate::{Database, Instance, on_both_engines};

on_both_engines!(
    after_a_commit_that_failed_the_change_of_another_process_is_not_skipped,
    an_answer_rests_on_what_other_processes_did_before_it,
    a_namespace_that_another_process_made_a_moment_ago_is_found,
    a_generation_that_went_back_is_noticed,
    a_workspace_that_is_gone_is_forgotten,
    while_many_keys_of_some_workspaces_are_read_again_others_change,
    migrations_of_keys_that_are_gone_are_forgotten,
    what_a_change_makes_is_in_memory_as_it_would_be_read,
);

pub(crate) async fn execute(instance: &Instance, statements: &[&'static str]) {
    let mut transaction = instance.keyrack.store().write().await.unwrap();
    for statement in statements {
        sqlx::query(*statement).execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

async fn new_key(instance: &Instance) -> Value {
    let api = instance.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    instance.run::<CreateKey>(json!({ "apiId": api["apiId"] })).await.unwrap()
}

async fn code(instance: &Instance, key: &Value) -> Value {
    instance.run::<VerifyKey>(json!({ "key": key["key"] })).await.unwrap()["code"].clone()
}

fn sees(instance: &Instance, key: &Value) -> bool {
    let text = key["key"].as_str().unwrap();
    instance.keyrack.resident().find(&instance.workspace_id, text).is_some()
}

async fn after_a_commit_that_failed_the_change_of_another_process_is_not_skipped(database: Database) {
    let here = database.set_up().await;
    let key = new_key(&here).await;
    execute(
        &here,
        &[
            "CREATE TABLE _nothing (id TEXT PRIMARY KEY)",
            "CREATE TABLE _dangling (id TEXT REFERENCES _nothing (id) DEFERRABLE INITIALLY DEFERRED)",
        ],
    )
    .await;
    let there = here.other_process(&database).await;
    let actor = Actor::system("test");
    let mut failing = there.keyrack.change_as(&there.workspace_id, actor).await.unwrap();
    // A row that refers to nothing is found out by the commit.
    sqlx::query("INSERT INTO _dangling VALUES ('x')").execute(failing.connection()).await.unwrap();
    failing.commit().await.unwrap_err();

    // The number that the failed change would have had.
    here.run::<DeleteKey>(json!({ "keyId": key["keyId"] })).await.unwrap();
    there.keyrack.start_background_work(Retention::default());
    within_a_second(|| !sees(&there, &key)).await;
}

async fn an_answer_rests_on_what_other_processes_did_before_it(database: Database) {
    let here = database.set_up().await;
    // A process that does not follow: it is asked before the changes of the other reach it.
    let there = here.other_process(&database).await;
    let api = here.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let limits = json!([{ "name": "requests", "limit": 1, "duration": 60_000, "autoApply": true }]);
    let identity = json!({ "externalId": "user_1", "ratelimits": limits });
    here.run::<CreateIdentity>(identity).await.unwrap();
    let key = there.run::<CreateKey>(json!({ "apiId": api["apiId"], "externalId": "user_1" })).await.unwrap();
    assert_eq!(code(&there, &key).await, "VALID");
    assert_eq!(code(&there, &key).await, "RATE_LIMITED", "by the limit of the identity");
}

async fn a_namespace_that_another_process_made_a_moment_ago_is_found(database: Database) {
    let here = database.set_up().await;
    let there = here.other_process(&database).await;
    let body = json!({ "namespace": "requests", "identifier": "user_1", "limit": 5, "duration": 60_000 });
    here.run::<Limit>(body.clone()).await.unwrap();
    there.run::<Limit>(body).await.unwrap();
    assert_eq!(crate::count(&here, "ratelimit_namespaces").await, 1);
}

async fn a_generation_that_went_back_is_noticed(database: Database) {
    let here = database.set_up().await;
    let (first, second) = (new_key(&here).await, new_key(&here).await);
    let there = here.other_process(&database).await;
    // As after a dump that was restored under running servers, or a replica that was promoted too early.
    execute(&here, &["UPDATE workspaces SET generation = generation - 2", "DELETE FROM changes"]).await;
    here.run::<UpdateKey>(json!({ "keyId": first["keyId"], "enabled": false })).await.unwrap();
    assert_eq!(code(&here, &first).await, "DISABLED", "the answering process itself");
    there.keyrack.start_background_work(Retention::default());
    within_a_second(|| {
        let found = there.keyrack.resident().find(&there.workspace_id, first["key"].as_str().unwrap());
        !there.keyrack.state().is_stale() && !found.unwrap().key.enabled
    })
    .await;
    assert_eq!(code(&there, &second).await, "VALID");
}

async fn a_workspace_that_is_gone_is_forgotten(database: Database) {
    let here = database.set_up().await;
    let made = here.run::<CreateWorkspace>(json!({ "name": "staging" })).await.unwrap();
    let root_key = made["rootKey"].as_str().unwrap();
    let there = here.other_process(&database).await;
    there.keyrack.authenticate(root_key, Origin::local(Via::Http)).unwrap();
    // Nothing in the program removes a workspace: this is a database from before there was one.
    execute(
        &here,
        &[
            "DELETE FROM changes WHERE workspace_id IN (SELECT id FROM workspaces WHERE name = 'staging')",
            "DELETE FROM audit_logs WHERE workspace_id IN (SELECT id FROM workspaces WHERE name = 'staging')",
            "DELETE FROM root_keys WHERE workspace_id IN (SELECT id FROM workspaces WHERE name = 'staging')",
            "DELETE FROM workspaces WHERE name = 'staging'",
        ],
    )
    .await;
    there.keyrack.start_background_work(Retention::default());
    within_a_second(|| there.keyrack.authenticate(root_key, Origin::local(Via::Http)).is_err()).await;
}

/// A workspace with a role that very many keys have.
async fn with_a_large_role(operator: &Instance, name: &str) -> Instance {
    let made = operator.run::<CreateWorkspace>(json!({ "name": name })).await.unwrap();
    let instance = Instance { root_key: made["rootKey"].as_str().unwrap().to_owned(), ..operator.clone() };
    instance.run::<CreateRole>(json!({ "name": "admin" })).await.unwrap();
    let api = instance.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let key = instance.run::<CreateKey>(json!({ "apiId": api["apiId"], "roles": ["admin"] })).await.unwrap();
    let mut transaction = instance.keyrack.store().write().await.unwrap();
    for text in [
        "INSERT INTO keys (id, workspace_id, api_id, hash, start, created_at) \
         WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 4000) \
         SELECT id || '_' || n, workspace_id, api_id, hash || n, start, created_at FROM keys, numbers WHERE id = $1",
        "INSERT INTO key_roles (key_id, role_id) SELECT k.id, r.role_id FROM keys k, key_roles r \
         WHERE r.key_id = $1 AND k.id LIKE $1 || '\\_%' ESCAPE '\\'",
    ] {
        let query = sqlx::query(text).bind(key["keyId"].as_str().unwrap().to_owned());
        query.execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
    instance
}

async fn while_many_keys_of_some_workspaces_are_read_again_others_change(database: Database) {
    let here = database.set_up().await;
    let mut large = Vec::new();
    for name in ["one", "two", "three", "four"] {
        large.push(with_a_large_role(&here, name).await);
    }
    let api = here.run::<CreateApi>(json!({ "name": "orders" })).await.unwrap();

    let (is_done, meanwhile) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let creations = tokio::spawn({
        let (is_done, meanwhile) = (is_done.clone(), meanwhile.clone());
        async move {
            while !is_done.load(Ordering::SeqCst) {
                here.run::<CreateKey>(json!({ "apiId": api["apiId"] })).await.unwrap();
                if !is_done.load(Ordering::SeqCst) {
                    meanwhile.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    });
    let changes = large.into_iter().map(|instance| {
        tokio::spawn(async move {
            let role = json!({ "role": "admin", "permissions": ["documents.read"] });
            instance.run::<SetRolePermissions>(role).await.unwrap();
        })
    });
    let changes: Vec<_> = changes.collect();
    // The first of them is done long before the last.
    for change in changes {
        change.await.unwrap();
    }
    is_done.store(true, Ordering::SeqCst);
    creations.await.unwrap();
    let meanwhile = meanwhile.load(Ordering::SeqCst);
    assert!(meanwhile >= 3, "only {meanwhile} keys of another workspace could be created");
}

async fn migrations_of_keys_that_are_gone_are_forgotten(database: Database) {
    let here = database.set_up().await;
    let kept = setup::create_key_migration(&here.keyrack, &here.workspace_id, Algorithm::Sha256).await.unwrap();
    let gone = setup::create_key_migration(&here.keyrack, &here.workspace_id, Algorithm::Sha256).await.unwrap();
    let knows = |id: &str| here.keyrack.resident().key_migration(id).is_some();
    assert!(knows(&kept) && knows(&gone));
    // As a dump that was restored has it.
    let mut transaction = here.keyrack.store().write().await.unwrap();
    let query = sqlx::query("DELETE FROM key_migrations WHERE id = $1").bind(gone.clone());
    query.execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    here.keyrack.resident().reload(here.keyrack.store()).await.unwrap();
    assert!(knows(&kept) && !knows(&gone));
}

/// On SQLite: PostgreSQL knows a prepared table under any name, and `tests/durability` has it away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_cannot_read_the_feed_answers_nobody_after_a_while_and_catches_up() {
    let database = Database::sqlite();
    let here = database.set_up().await;
    let (kept, deleted) = (new_key(&here).await, new_key(&here).await);
    let options = Options { stale_after: Some(Duration::from_millis(500)), ..Options::default() };
    let keyrack = Keyrack::open_with(&database.location, Clock::system(), options).await.unwrap();
    let there = Instance { keyrack, ..here.clone() };
    there.keyrack.start_background_work(Retention::default());
    assert_eq!(code(&there, &kept).await, "VALID");
    execute(&here, &["ALTER TABLE workspaces RENAME TO workspaces_elsewhere"]).await;
    within_a_second(|| there.keyrack.state().is_stale()).await;
    let refused = there.run::<VerifyKey>(json!({ "key": kept["key"] })).await.unwrap_err();
    assert_eq!(refused.code(), Code::ServiceUnavailable);
    execute(&here, &["ALTER TABLE workspaces_elsewhere RENAME TO workspaces"]).await;
    here.run::<DeleteKey>(json!({ "keyId": deleted["keyId"] })).await.unwrap();
    within_a_second(|| !sees(&there, &deleted) && !there.keyrack.state().is_stale()).await;
    assert_eq!(code(&there, &kept).await, "VALID");
}

/// Keys and an identity that were never read back are what a start would read.
async fn what_a_change_makes_is_in_memory_as_it_would_be_read(database: Database) {
    let here = database.set_up().await;
    let migration =
        setup::create_key_migration(&here.keyrack, &here.workspace_id, Algorithm::Sha256).await.unwrap();
    let api = here.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let role = json!({ "name": "editor", "permissions": ["doc.write", "doc.read"] });
    here.run::<CreateRole>(role).await.unwrap();
    let limits = json!([{ "name": "tokens", "limit": 7, "duration": 60_000, "autoApply": true },
                        { "name": "requests", "limit": 5, "duration": 1000, "autoApply": false }]);
    let everything = json!({
        "apiId": api["apiId"], "name": "Mobile app", "externalId": "user_1", "meta": { "plan": "team" },
        "permissions": ["mail.send", "doc.read"], "roles": ["editor"], "ratelimits": limits.clone(), "enabled": false,
        "expires": 4_102_444_800_000_i64, "credits": { "remaining": 3, "refill": { "interval": "daily", "amount": 3 } },
    });
    let mut hashes = Vec::new();
    // The second time all that is named is there already.
    for members in [everything.clone(), everything, json!({ "apiId": api["apiId"] })] {
        let key = here.run::<CreateKey>(members).await.unwrap();
        hashes.push(hash(key["key"].as_str().unwrap()));
    }
    let imported = hash("imported_1");
    let keys = json!([{ "hash": imported.to_base64(), "externalId": "user_2", "permissions": ["new.one"],
                        "roles": ["new role"], "ratelimits": limits, "meta": {} }]);
    let body = json!({ "migrationId": migration, "apiId": api["apiId"], "keys": keys });
    here.run::<MigrateKeys>(body).await.unwrap();
    hashes.push(imported);
    let seen = || {
        let resident = here.keyrack.resident();
        let keys = hashes.iter().map(|one| resident.key(one).or_else(|| resident.waiting_key(one)).unwrap());
        let owner = |id: &str| resident.identity(id).map(|identity| format!("{identity:#?}"));
        keys.map(|key| (format!("{key:#?}"), key.identity_id.as_deref().and_then(owner))).collect::<Vec<_>>()
    };
    let made = seen();
    assert_eq!(made.iter().filter(|(_, owner)| owner.is_some()).count(), 3);
    here.keyrack.resident().reload(here.keyrack.store()).await.unwrap();
    assert_eq!(made, seen());
}
