//! Retention: what goes for good, when, and what stays.

use std::time::Duration;

use keyrack_core::Keyrack;
use keyrack_core::calendar::UnixMs;
use keyrack_core::caller::{Origin, Via};
use keyrack_core::clock::Clock;
use keyrack_core::keys::secret::Secret;
use keyrack_core::operations::apis::{CreateApi, DeleteApi};
use keyrack_core::operations::identities::{CreateIdentity, DeleteIdentity};
use keyrack_core::operations::keys::{CreateKey, DeleteKey, UpdateKey, VerifyKey};
use keyrack_core::operations::ratelimit::{DeleteNamespace, DeleteOverride, Limit, SetOverride};
use keyrack_core::operations::root_keys::{self, CreateKey as CreateRootKey};
use keyrack_core::retention::{self, BelievedTime, Retention};
use keyrack_core::setup;
use keyrack_core::store::Engine;
use serde_json::{Value, json};

use crate::changes::{chain, within_a_second};
use crate::following::execute;
use crate::{Database, Instance, count, on_both_engines};

on_both_engines!(
    what_was_deleted_goes_after_its_days_and_not_before,
    what_still_lives_keeps_working_without_what_went,
    a_retired_bootstrap_root_key_is_never_revived,
    keys_that_expired_are_deleted_for_good_by_the_system,
    processes_that_run_together_remove_each_thing_once,
    administration_goes_on_beside_a_long_removal,
    a_row_that_nothing_removes_ends_the_run,
    plaintexts_go_with_their_key_and_with_its_api,
    of_an_api_with_very_many_keys_the_plaintexts_go_in_portions,
    the_time_to_go_by_follows_a_clock_that_jumps_a_day_per_hour,
    processes_do_not_move_the_time_faster_together,
);

const DAY: i64 = 86_400_000;
const START: i64 = 20_468 * DAY;
const DELETED: Retention = Retention { deleted_days: Some(30), expired_days: None };
const EXPIRED: Retention = Retention { deleted_days: None, expired_days: Some(10) };

struct Scene {
    instance: Instance,
    clock: Clock,
    api: String,
}

impl Scene {
    async fn new(database: &Database) -> Scene {
        let clock = Clock::standing_at(UnixMs::new(START));
        let instance = database.set_up_at(clock.clone()).await;
        let api = new_api(&instance).await;
        Scene { instance, clock, api }
    }

    async fn key(&self, members: Value) -> (String, String) {
        let mut body = json!({ "apiId": self.api });
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let key = self.instance.run::<CreateKey>(body).await.unwrap();
        (key["keyId"].as_str().unwrap().to_owned(), key["key"].as_str().unwrap().to_owned())
    }

    async fn verify(&self, key: &str) -> Value {
        self.instance.run::<VerifyKey>(json!({ "key": key })).await.unwrap()["code"].clone()
    }

    /// Removes what is due so many ms after the start.
    async fn remove(&self, retention: Retention, later: i64) {
        self.clock.set(UnixMs::new(START + later));
        retention::remove(self.instance.keyrack.state(), retention, UnixMs::new(START + later)).await.unwrap();
    }

    /// Rows of each table that knows deleted rows.
    async fn rows(&self) -> Vec<(&'static str, i64)> {
        let mut rows = Vec::new();
        for table in ["apis", "identities", "keys", "ratelimit_namespaces", "ratelimit_overrides", "root_keys"] {
            rows.push((table, count(&self.instance, table).await));
        }
        rows
    }
}

async fn new_api(instance: &Instance) -> String {
    let api = instance.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    api["apiId"].as_str().unwrap().to_owned()
}

async fn limit(instance: &Instance, namespace: &str) -> Result<Value, keyrack_core::Error> {
    let body = json!({ "namespace": namespace, "identifier": "ada", "limit": 1, "duration": 60_000 });
    instance.run::<Limit>(body).await
}

/// One deleted thing of each kind, with all that may hang on it.
async fn delete_one_of_each(scene: &Scene) {
    let instance = &scene.instance;
    let everything = json!({
        "credits": { "remaining": 1 }, "permissions": ["a"], "externalId": "user",
        "ratelimits": [{ "name": "requests", "limit": 1, "duration": 1000, "autoApply": true }],
    });
    let (key_id, _) = scene.key(everything).await;
    instance.run::<DeleteKey>(json!({ "keyId": key_id })).await.unwrap();
    let api = new_api(instance).await;
    instance.run::<CreateKey>(json!({ "apiId": api })).await.unwrap();
    instance.run::<DeleteApi>(json!({ "apiId": api })).await.unwrap();
    let limits = json!([{ "name": "requests", "limit": 1, "duration": 1000, "autoApply": true }]);
    let body = json!({ "externalId": "gone", "ratelimits": limits });
    instance.run::<CreateIdentity>(body).await.unwrap();
    instance.run::<DeleteIdentity>(json!({ "identity": "gone" })).await.unwrap();
    for namespace in ["logins", "searches"] {
        limit(instance, namespace).await.unwrap();
        let body = json!({ "namespace": namespace, "identifier": "ada", "limit": 5, "duration": 60_000 });
        instance.run::<SetOverride>(body).await.unwrap();
    }
    let body = json!({ "namespace": "logins", "identifier": "ada" });
    instance.run::<DeleteOverride>(body).await.unwrap();
    instance.run::<DeleteNamespace>(json!({ "namespace": "searches" })).await.unwrap();
    let root_key = instance.run::<CreateRootKey>(json!({ "permissions": ["*"] })).await.unwrap();
    let body = json!({ "keyId": root_key["keyId"] });
    instance.run::<root_keys::DeleteKey>(body).await.unwrap();
}

async fn what_was_deleted_goes_after_its_days_and_not_before(database: Database) {
    let scene = Scene::new(&database).await;
    delete_one_of_each(&scene).await;
    let all = scene.rows().await;
    scene.remove(Retention::default(), 1000 * DAY).await;
    scene.remove(DELETED, 30 * DAY).await;
    assert_eq!(scene.rows().await, all, "nothing without a setting, nothing too early");
    scene.remove(DELETED, 30 * DAY + 1).await;
    let left = [
        ("apis", 1),
        ("identities", 1),
        ("keys", 0),
        ("ratelimit_namespaces", 1),
        ("ratelimit_overrides", 0),
        ("root_keys", 1),
    ];
    assert_eq!(scene.rows().await, left);
    let removed: Vec<_> = scene.instance.keyrack.metrics().rows_removed().filter(|(_, rows)| *rows > 0).collect();
    let expected =
        [("apis", 1), ("identities", 1), ("keys", 2), ("namespaces", 1), ("overrides", 2), ("root_keys", 1)];
    assert_eq!(removed, expected);
    for table in ["credits", "key_permissions", "ratelimits"] {
        assert_eq!(count(&scene.instance, table).await, 0, "{table}");
    }
}

async fn what_still_lives_keeps_working_without_what_went(database: Database) {
    let scene = Scene::new(&database).await;
    let (_, key) = scene.key(json!({ "externalId": "user" })).await;
    scene.instance.run::<DeleteIdentity>(json!({ "identity": "user" })).await.unwrap();
    delete_one_of_each(&scene).await;
    let there = scene.instance.other_process(&database).await;
    there.keyrack.start_background_work(Retention::default());
    assert_eq!(limit(&scene.instance, "searches").await.unwrap_err().code().status(), 410);
    let taken = there.keyrack.resident().namespace(&there.workspace_id, "searches");
    assert!(taken.is_some_and(|namespace| namespace.stored.deleted));

    scene.remove(DELETED, 31 * DAY).await;
    assert_eq!(scene.verify(&key).await, "VALID", "the key of an identity that went");
    let gone = || there.keyrack.resident().namespace(&there.workspace_id, "searches").is_none();
    within_a_second(gone).await;
    limit(&scene.instance, "searches").await.expect("its name is free again");
    let created = scene.instance.run::<CreateIdentity>(json!({ "externalId": "gone" })).await;
    assert!(created.is_ok(), "{created:?}");
    limit(&scene.instance, "logins").await.expect("a live namespace stays");
}

async fn a_retired_bootstrap_root_key_is_never_revived(database: Database) {
    let scene = Scene::new(&database).await;
    let keyrack = &scene.instance.keyrack;
    let works = |text: &str| keyrack.authenticate(text, Origin::local(Via::Http)).is_ok();
    let bootstrap = async |text: &str| {
        setup::ensure_bootstrap_key(keyrack, &Secret::from_string(text.to_owned())).await.unwrap();
    };
    let (first, second, third) = ("f".repeat(32), "s".repeat(32), "t".repeat(32));
    bootstrap(&first).await;
    bootstrap(&second).await;
    // One whose value was replaced has an expiry, and is not deleted.
    let id = keyrack.authenticate(&second, Origin::local(Via::Http)).unwrap().root_key().id.clone();
    let body = json!({ "keyId": id, "expiration": 60_000 });
    scene.instance.run::<root_keys::RerollKey>(body).await.unwrap();
    scene.remove(Retention { deleted_days: Some(1), expired_days: Some(1) }, 400 * DAY).await;
    for (text, is_new) in [(&first, false), (&second, false), (&third, true)] {
        bootstrap(text).await;
        assert_eq!(works(text), is_new, "{text}");
    }
}

async fn keys_that_expired_are_deleted_for_good_by_the_system(database: Database) {
    let scene = Scene::new(&database).await;
    let instance = &scene.instance;
    let expiring = |days: i64| json!({ "expires": START + days * DAY });
    let (gone, text) = scene.key(expiring(1)).await;
    let (_, later) = scene.key(expiring(2)).await;
    let (extended, saved) = scene.key(expiring(1)).await;
    let (_, unlimited) = scene.key(json!({})).await;
    let body = json!({ "permissions": ["api.*.read_api"], "expires": START + DAY });
    let root_key = instance.run::<CreateRootKey>(body).await.unwrap();
    let there = instance.other_process(&database).await;
    there.keyrack.start_background_work(Retention::default());

    scene.remove(EXPIRED, 11 * DAY).await;
    assert_eq!(scene.verify(&text).await, "EXPIRED", "ten days are not over");
    instance.run::<UpdateKey>(json!({ "keyId": extended, "expires": START + 100 * DAY })).await.unwrap();
    scene.remove(EXPIRED, 11 * DAY + 1).await;
    let codes = [&text, &later, &saved, &unlimited].map(|key| scene.verify(key));
    let mut seen = Vec::new();
    for code in codes {
        seen.push(code.await);
    }
    assert_eq!(seen, ["NOT_FOUND", "EXPIRED", "VALID", "VALID"]);
    within_a_second(|| there.keyrack.resident().sizes().0[4] == ("keys", 3)).await;

    let entries = chain(instance).await;
    let [.., of_key, of_root_key] = &entries[..] else { panic!("{entries:?}") };
    let actor: Value = serde_json::from_str(&of_key.actor).unwrap();
    assert_eq!(actor, json!({ "type": "system", "id": "cleanup" }));
    assert_eq!((of_key.event.as_str(), of_root_key.event.as_str()), ("key.delete", "rootKey.delete"));
    assert_eq!(
        of_key.description,
        format!("Permanently deleted key {gone}, which expired at 2026-01-16T00:00:00Z")
    );
    assert!(of_root_key.targets.contains(root_key["keyId"].as_str().unwrap()), "{of_root_key:?}");
    let rows = scene.rows().await;
    scene.remove(EXPIRED, 11 * DAY + 2).await;
    assert_eq!((scene.rows().await, chain(instance).await.len()), (rows, entries.len()));
}

/// Adds keys that were deleted at the start.
async fn add_deleted_keys(scene: &Scene, count: usize) {
    let mut transaction = scene.instance.keyrack.store().write().await.unwrap();
    for n in 0..count {
        let text = "INSERT INTO keys (id, workspace_id, api_id, hash, start, created_at, deleted_at) \
                    VALUES ($1, $2, $3, $1, '', 1, $4)";
        sqlx::query(text)
            .bind(format!("key_deleted{n}"))
            .bind(scene.instance.workspace_id.clone())
            .bind(scene.api.clone())
            .bind(START)
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
}

async fn processes_that_run_together_remove_each_thing_once(database: Database) {
    let scene = Scene::new(&database).await;
    add_deleted_keys(&scene, 500).await;
    for _ in 0..20 {
        scene.key(json!({ "expires": START + 1 })).await;
    }
    let both = Retention { deleted_days: Some(1), expired_days: Some(1) };
    let runs = (0..4).map(|_| {
        let (database, clock) = (database.clone(), scene.clock.clone());
        tokio::spawn(async move {
            let keyrack = database.open_at(clock).await;
            retention::remove(keyrack.state(), both, UnixMs::new(START + 2 * DAY)).await.unwrap();
            removed(&keyrack, "keys") + removed(&keyrack, "expired_keys")
        })
    });
    let mut total = 0;
    for run in runs.collect::<Vec<_>>() {
        total += run.await.unwrap();
    }
    assert_eq!(total, 520);
    assert_eq!(count(&scene.instance, "keys").await, 0);
    let deletions = chain(&scene.instance).await.iter().filter(|entry| entry.event == "key.delete").count();
    assert_eq!(deletions, 20);
}

fn removed(keyrack: &Keyrack, kind: &str) -> u64 {
    keyrack.metrics().rows_removed().find(|(known, _)| *known == kind).unwrap().1
}

async fn administration_goes_on_beside_a_long_removal(database: Database) {
    let scene = Scene::new(&database).await;
    add_deleted_keys(&scene, 4000).await;
    let (_, key) = scene.key(json!({ "credits": { "remaining": 1_000_000 } })).await;
    let keyrack = scene.instance.keyrack.clone();
    let removal =
        tokio::spawn(
            async move { retention::remove(keyrack.state(), DELETED, UnixMs::new(START + 31 * DAY)).await },
        );
    let mut done = 0;
    while !removal.is_finished() {
        scene.key(json!({})).await;
        assert_eq!(scene.verify(&key).await, "VALID");
        done += 1;
    }
    removal.await.unwrap().unwrap();
    assert!(done >= 10, "{done} keys were created while twenty portions were removed");
    assert_eq!(count(&scene.instance, "keys").await, done + 1);
}

async fn a_row_that_nothing_removes_ends_the_run(database: Database) {
    let scene = Scene::new(&database).await;
    add_deleted_keys(&scene, 1).await;
    let statements: &[&'static str] = match scene.instance.keyrack.store().engine() {
        Engine::Sqlite => &["CREATE TRIGGER keep BEFORE DELETE ON keys BEGIN SELECT RAISE(IGNORE); END"],
        Engine::Postgres => &["CREATE RULE keep AS ON DELETE TO keys DO INSTEAD NOTHING"],
    };
    execute(&scene.instance, statements).await;
    let before = chain(&scene.instance).await.len();
    let run = scene.remove(DELETED, 31 * DAY);
    tokio::time::timeout(Duration::from_secs(10), run).await.expect("the run ends");
    assert_eq!((count(&scene.instance, "keys").await, removed(&scene.instance.keyrack, "keys")), (1, 0));
    assert_eq!(chain(&scene.instance).await.len(), before);
}

/// Gives every key of the instance a plaintext, as far as the store can tell.
async fn add_plaintexts(scene: &Scene) {
    execute(
        &scene.instance,
        &[
            "INSERT INTO data_keys (id, workspace_id, master_key_id, sealed, created_at) \
             SELECT 'dek_' || id, id, 'mk', '', 1 FROM workspaces",
            "INSERT INTO encrypted_keys (key_id, data_key_id, sealed, created_at) \
             SELECT id, 'dek_' || workspace_id, '', 1 FROM keys",
        ],
    )
    .await;
}

async fn plaintexts_go_with_their_key_and_with_its_api(database: Database) {
    let scene = Scene::new(&database).await;
    let (deleted, purged) = (scene.key(json!({})).await.0, scene.key(json!({})).await.0);
    let (_, _) = (scene.key(json!({})).await, scene.key(json!({})).await);
    add_plaintexts(&scene).await;
    let left = async || count(&scene.instance, "encrypted_keys").await;
    assert_eq!(left().await, 4);
    scene.instance.run::<DeleteKey>(json!({ "keyId": deleted })).await.unwrap();
    assert_eq!(left().await, 3);
    scene.instance.run::<DeleteKey>(json!({ "keyId": purged, "permanent": true })).await.unwrap();
    assert_eq!(left().await, 2);
    scene.instance.run::<DeleteApi>(json!({ "apiId": scene.api })).await.unwrap();
    assert_eq!(left().await, 0);
}

async fn of_an_api_with_very_many_keys_the_plaintexts_go_in_portions(database: Database) {
    let scene = Scene::new(&database).await;
    add_deleted_keys(&scene, 2500).await;
    execute(&scene.instance, &["UPDATE keys SET deleted_at = NULL"]).await;
    let other_api = new_api(&scene.instance).await;
    scene.instance.run::<CreateKey>(json!({ "apiId": other_api })).await.unwrap();
    add_plaintexts(&scene).await;
    scene.instance.run::<DeleteApi>(json!({ "apiId": scene.api })).await.unwrap();
    assert_eq!(count(&scene.instance, "encrypted_keys").await, 1501);
    retention::remove_plaintexts(scene.instance.keyrack.state()).await.unwrap();
    assert_eq!(count(&scene.instance, "encrypted_keys").await, 1, "that of the other API");
    let left = "apis WHERE deleted_at IS NOT NULL AND store_encrypted_keys = 1";
    assert_eq!(count(&scene.instance, left).await, 0, "nothing is looked for again");
}

const TEN_MINUTES: i64 = 10 * 60 * 1000;
const STEP: i64 = 4 * 60 * 60 * 1000;

async fn the_time_to_go_by_follows_a_clock_that_jumps_a_day_per_hour(database: Database) {
    let Scene { instance, clock, .. } = Scene::new(&database).await;
    let mut time = BelievedTime::default();
    assert_eq!(time.advance(instance.keyrack.state()).await.unwrap(), None, "nothing goes before a time is known");
    let at = async |time: &mut BelievedTime, later: i64| {
        clock.set(UnixMs::new(START + later));
        time.advance(instance.keyrack.state()).await.unwrap().unwrap().get() - START
    };
    assert_eq!(at(&mut time, TEN_MINUTES).await, TEN_MINUTES);
    assert_eq!(at(&mut time, 5000 * DAY).await, TEN_MINUTES + STEP, "a jump ahead");
    assert_eq!(at(&mut time, 5000 * DAY).await, TEN_MINUTES + 2 * STEP);
    let mut restarted = BelievedTime::default();
    assert_eq!(at(&mut restarted, 5000 * DAY).await, TEN_MINUTES + 2 * STEP, "a start moves nothing");
    assert_eq!(at(&mut restarted, 2 * TEN_MINUTES).await, 2 * TEN_MINUTES, "put right");
    assert_eq!(at(&mut restarted, -5000 * DAY).await, -5000 * DAY, "a jump back removes nothing");
    assert_eq!(at(&mut restarted, 3 * TEN_MINUTES).await, 3 * TEN_MINUTES, "and is soon forgotten");
}

async fn processes_do_not_move_the_time_faster_together(database: Database) {
    let Scene { instance, clock, .. } = Scene::new(&database).await;
    let mut times: Vec<BelievedTime> = (0..4).map(|_| BelievedTime::default()).collect();
    for time in &mut times {
        time.advance(instance.keyrack.state()).await.unwrap();
    }
    clock.set(UnixMs::new(START + 5000 * DAY));
    for period in 1..=3 {
        let mut believed = 0;
        for time in &mut times {
            believed = time.advance(instance.keyrack.state()).await.unwrap().unwrap().get();
        }
        assert!(believed - START <= period * STEP, "{} steps in {period} periods", (believed - START) / STEP);
    }
}
