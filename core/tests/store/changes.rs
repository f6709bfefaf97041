//! Mutations: turns, audit, atomicity, and how other processes learn of them.

use std::time::{Duration, Instant};

use keyrack_core::audit::{Actor, Event, Target};
use keyrack_core::calendar::UnixMs;
use keyrack_core::changes::forgetting::forget_old;
use keyrack_core::clock::Clock;
use keyrack_core::operations::apis::{CreateApi, DeleteApi};
use keyrack_core::operations::keys::{CreateKey, DeleteKey, VerifyKey};
use keyrack_core::operations::workspace::{CreateWorkspace, UpdateWorkspace};
use keyrack_core::retention::Retention;
use keyrack_core::root_keys::NewRootKey;
use keyrack_core::setup;
use keyrack_core::store::audit_entry::Entry;
use keyrack_core::store::changes::{self, Since};
use keyrack_core::store::subject::Subject;
use keyrack_core::store::{Engine, apis, workspaces};
use serde_json::json;
use sqlx::Row as _;

use crate::{Database, Instance, count, on_both_engines};

on_both_engines!(
    a_change_leaves_an_audit_chain_that_can_be_recomputed,
    a_change_that_is_not_committed_leaves_nothing,
    changes_of_one_workspace_take_turns_and_count_up_without_gaps,
    another_process_follows_within_a_second,
    a_deleted_api_takes_its_keys_with_it_everywhere,
    a_key_that_another_process_removed_spends_nothing,
    changes_are_forgotten_after_an_hour,
    a_large_generation_is_forgotten_in_portions_and_tells_nobody_half_of_itself,
    more_changes_than_can_be_read_one_by_one_are_as_good_as_forgotten,
    who_waits_for_a_workspace_holds_no_connection,
    changes_that_lock_the_same_two_workspaces_in_opposite_order_both_succeed,
    a_process_that_was_away_for_longer_than_the_feed_goes_back_reads_everything_anew,
);

pub(crate) async fn chain(instance: &Instance) -> Vec<Entry> {
    let mut connection = instance.keyrack.store().read().await.unwrap();
    let rows = sqlx::query("SELECT * FROM audit_logs WHERE workspace_id = $1 ORDER BY sequence")
        .bind(instance.workspace_id.clone())
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    rows.iter()
        .map(|row| Entry {
            id: row.get("id"),
            workspace_id: row.get("workspace_id"),
            sequence: row.get("sequence"),
            time: row.get("time"),
            event: row.get("event"),
            description: row.get("description"),
            actor: row.get("actor"),
            targets: row.get("targets"),
            remote_ip: row.get("remote_ip"),
            user_agent: row.get("user_agent"),
            correlation_id: row.get("correlation_id"),
            previous_hash: row.get("previous_hash"),
            hash: row.get("hash"),
            changes: row.get("changes"),
            format: row.get("format"),
            unreadable: None,
        })
        .collect()
}

async fn a_change_leaves_an_audit_chain_that_can_be_recomputed(database: Database) {
    let instance = database.set_up().await;
    let api = instance.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let body = json!({ "apiId": api["apiId"], "permissions": ["a", "b"], "externalId": "user_1" });
    let key = instance.run::<CreateKey>(body).await.unwrap();

    let entries = chain(&instance).await;
    let events: Vec<&str> = entries.iter().map(|entry| entry.event.as_str()).collect();
    let expected = [
        "workspace.create",
        "rootKey.create",
        "api.create",
        "identity.create",
        "permission.create",
        "permission.create",
        "authorization.connect_permission_and_key",
        "authorization.connect_permission_and_key",
        "key.create",
    ];
    assert_eq!(events, expected);
    let mut previous = String::new();
    for (entry, sequence) in entries.iter().zip(1..) {
        assert_eq!((entry.sequence, &entry.previous_hash), (sequence, &previous));
        assert_eq!(Some(&entry.hash), entry.computed_hash().as_ref());
        previous = entry.hash.clone();
    }
    let of_the_key = &entries[3..];
    assert!(of_the_key[0].correlation_id.is_some());
    assert!(of_the_key.iter().all(|entry| entry.correlation_id == of_the_key[0].correlation_id));
    assert_eq!(entries[2].correlation_id, None, "a single event has none");
    let secret = key["key"].as_str().unwrap();
    assert!(entries.iter().all(|entry| !format!("{entry:?}").contains(secret)));
}

async fn a_change_that_is_not_committed_leaves_nothing(database: Database) {
    let instance = database.set_up().await;
    let before = chain(&instance).await.len();
    let mut mutation = instance.keyrack.change_as(&instance.workspace_id, Actor::system("test")).await.unwrap();
    let api = apis::Api {
        id: "api_left".to_owned(),
        workspace_id: instance.workspace_id.clone(),
        name: "left".to_owned(),
        key_space_id: "ks_left".to_owned(),
        delete_protection: false,
        ip_whitelist: None,
        default_prefix: None,
        default_bytes: None,
        store_encrypted_keys: false,
        created_at: UnixMs::new(1),
    };
    apis::insert(mutation.connection(), &api).await.unwrap();
    mutation.record(Event::new("api.create", "Created").on(Target::new("api", &api.id)));
    mutation.touch(Subject::Api(api.id.clone()));
    drop(mutation);

    let mut connection = instance.keyrack.store().read().await.unwrap();
    assert_eq!(apis::find(&mut connection, &instance.workspace_id, &api.id).await.unwrap(), None);
    drop(connection);
    assert_eq!(chain(&instance).await.len(), before);
    assert!(instance.keyrack.resident().api(&api.id).is_none());
}

async fn changes_of_one_workspace_take_turns_and_count_up_without_gaps(database: Database) {
    let instance = database.set_up().await;
    let other = instance.other_process(&database).await;
    let mut connection = instance.keyrack.store().read().await.unwrap();
    let before = workspaces::find(&mut connection, &instance.workspace_id).await.unwrap().unwrap().generation;
    drop(connection);
    let creations = (0..20).map(|n| {
        let instance = if n % 2 == 0 { instance.clone() } else { other.clone() };
        tokio::spawn(async move { instance.run::<CreateApi>(json!({ "name": format!("api {n}") })).await })
    });
    for creation in creations.collect::<Vec<_>>() {
        creation.await.unwrap().unwrap();
    }
    let mut connection = instance.keyrack.store().read().await.unwrap();
    let after = workspaces::find(&mut connection, &instance.workspace_id).await.unwrap().unwrap().generation;
    assert_eq!(after - before, 20);
    let Since::Touched { generation, subjects } =
        changes::after(&mut connection, &instance.workspace_id, before).await.unwrap()
    else {
        panic!("the feed goes back that far");
    };
    assert_eq!((generation, subjects.len()), (after, 20));
    let rows = sqlx::query("SELECT DISTINCT generation FROM changes WHERE generation > $1")
        .bind(before)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    assert_eq!(rows.len(), 20);
}

/// Waits until `holds`, at most a second.
pub(crate) async fn within_a_second(holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(1), "not within a second");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn another_process_follows_within_a_second(database: Database) {
    let here = database.set_up().await;
    let there = here.other_process(&database).await;
    there.keyrack.start_background_work(Retention::default());
    let api = here.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let created = here.run::<CreateKey>(json!({ "apiId": api["apiId"] })).await.unwrap();
    let key = created["key"].as_str().unwrap();
    let sees = |instance: &Instance| instance.keyrack.resident().find(&instance.workspace_id, key).is_some();
    assert!(sees(&here), "the process that made the change sees it at once");
    within_a_second(|| sees(&there)).await;
    here.run::<DeleteKey>(json!({ "keyId": created["keyId"] })).await.unwrap();
    assert!(!sees(&here));
    within_a_second(|| !sees(&there)).await;
}

async fn a_deleted_api_takes_its_keys_with_it_everywhere(database: Database) {
    let here = database.set_up().await;
    let api = here.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let created = here.run::<CreateKey>(json!({ "apiId": api["apiId"] })).await.unwrap();
    let there = here.other_process(&database).await;
    there.keyrack.start_background_work(Retention::default());
    let key = created["key"].as_str().unwrap();
    let sees = |instance: &Instance| instance.keyrack.resident().find(&instance.workspace_id, key).is_some();
    assert!(sees(&here) && sees(&there));
    here.run::<DeleteApi>(json!({ "apiId": api["apiId"] })).await.unwrap();
    assert!(!sees(&here));
    within_a_second(|| !sees(&there)).await;
}

async fn a_key_that_another_process_removed_spends_nothing(database: Database) {
    let here = database.set_up().await;
    let api = here.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let body = json!({ "apiId": api["apiId"], "credits": { "remaining": 0 } });
    let created = here.run::<CreateKey>(body).await.unwrap();
    // A process that does not follow: it is asked before the change reaches it.
    let there = here.other_process(&database).await;
    let asked = json!({ "key": created["key"] });
    let verdict = async || there.run::<VerifyKey>(asked.clone()).await.unwrap()["code"].clone();
    assert_eq!(verdict().await, "USAGE_EXCEEDED");
    here.run::<DeleteKey>(json!({ "keyId": created["keyId"], "permanent": true })).await.unwrap();
    // What is known of a balance counts for a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(verdict().await, "NOT_FOUND");
}

const HOUR: i64 = 60 * 60 * 1000;
const START: i64 = 500_000 * HOUR;

async fn changes_are_forgotten_after_an_hour(database: Database) {
    let clock = Clock::standing_at(UnixMs::new(START));
    let here = database.set_up_at(clock.clone()).await;
    let create = async || here.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    create().await;
    let old = count(&here, "changes").await;
    clock.set(UnixMs::new(START + HOUR));
    create().await;
    assert_eq!(forget_old(here.keyrack.state()).await.unwrap(), 0, "an hour is not over");
    clock.set(UnixMs::new(START + HOUR + 1));
    assert_eq!(forget_old(here.keyrack.state()).await.unwrap(), u64::try_from(old).unwrap());
    assert_eq!(count(&here, "changes").await, 1);
    assert_eq!(forget_old(here.keyrack.state()).await.unwrap(), 0);
    clock.set(UnixMs::new(0));
    create().await;
    assert_eq!(forget_old(here.keyrack.state()).await.unwrap(), 0, "a clock that went back forgets nothing");
}

/// Says that a generation of the workspace touched so many things at a Unix ms: the generation before.
async fn touch_many(instance: &Instance, things: i64, time: i64) -> i64 {
    let mut transaction = instance.keyrack.store().write().await.unwrap();
    let generation = workspaces::next_generation(&mut transaction, &instance.workspace_id).await.unwrap();
    sqlx::query(
        "INSERT INTO changes (workspace_id, generation, position, subject_kind, subject_id, time) \
         WITH RECURSIVE numbers (n) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < $3) \
         SELECT CAST($1 AS TEXT), CAST($2 AS BIGINT), n, 'key', 'key_' || n, CAST($4 AS BIGINT) FROM numbers",
    )
    .bind(instance.workspace_id.clone())
    .bind(generation)
    .bind(things - 1)
    .bind(time)
    .execute(&mut *transaction)
    .await
    .unwrap();
    transaction.commit().await.unwrap();
    generation - 1
}

async fn a_large_generation_is_forgotten_in_portions_and_tells_nobody_half_of_itself(database: Database) {
    let here = database.set_up().await;
    let known = touch_many(&here, 2500, 1).await;
    let (mut portions, mut transaction) = (Vec::new(), here.keyrack.store().write().await.unwrap());
    loop {
        let forgotten = changes::forget(&mut transaction, &here.workspace_id, UnixMs::new(2), 1000).await.unwrap();
        if forgotten == 0 {
            break;
        }
        portions.push(forgotten);
        let since = changes::after(&mut transaction, &here.workspace_id, known).await.unwrap();
        assert_eq!(since, Since::Forgotten);
    }
    let rest = changes::after(&mut transaction, &here.workspace_id, known + 1).await.unwrap();
    assert_eq!(rest, Since::Touched { generation: known + 1, subjects: Vec::new() });
    transaction.commit().await.unwrap();
    assert!(portions.iter().all(|portion| *portion <= 1000), "{portions:?}");
    assert!(portions.iter().sum::<u64>() >= 2500, "{portions:?}");
}

async fn more_changes_than_can_be_read_one_by_one_are_as_good_as_forgotten(database: Database) {
    let here = database.set_up().await;
    let most = i64::try_from(changes::MOST_SUBJECTS).unwrap();
    let known = touch_many(&here, most, 1).await;
    let mut connection = here.keyrack.store().read().await.unwrap();
    let Since::Touched { subjects, .. } =
        changes::after(&mut connection, &here.workspace_id, known).await.unwrap()
    else {
        panic!("so many are told");
    };
    assert_eq!(subjects.len(), changes::MOST_SUBJECTS);
    drop(connection);
    touch_many(&here, 1, 1).await;
    let mut connection = here.keyrack.store().read().await.unwrap();
    assert_eq!(changes::after(&mut connection, &here.workspace_id, known).await.unwrap(), Since::Forgotten);
}

/// On SQLite there is one turn to write, whatever the workspace.
async fn who_waits_for_a_workspace_holds_no_connection(database: Database) {
    let here = database.set_up().await;
    let made = here.run::<CreateWorkspace>(json!({ "name": "other" })).await.unwrap();
    let other = Instance { root_key: made["rootKey"].as_str().unwrap().to_owned(), ..here.clone() };
    if here.keyrack.store().engine() == Engine::Sqlite {
        return;
    }
    let actor = Actor::system("test");
    let slow = here.keyrack.change_as(&here.workspace_id, actor).await.unwrap();
    let waiting: Vec<_> = (0..16)
        .map(|n| {
            let (here, id) = (here.clone(), here.workspace_id.clone());
            tokio::spawn(async move {
                if n % 2 == 0 {
                    here.run::<UpdateWorkspace>(json!({ "workspaceId": id, "name": "renamed" })).await.map(drop)
                } else {
                    here.run::<CreateWorkspace>(json!({ "name": "another" })).await.map(drop)
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    other.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1), "it waited for {:?}", started.elapsed());
    slow.commit().await.unwrap();
    for task in waiting {
        task.await.unwrap().unwrap();
    }
}

async fn a_process_that_was_away_for_longer_than_the_feed_goes_back_reads_everything_anew(database: Database) {
    let clock = Clock::standing_at(UnixMs::new(START));
    let here = database.set_up_at(clock.clone()).await;
    let keys = async |count: usize| {
        let api = here.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
        let mut keys = Vec::new();
        for _ in 0..count {
            keys.push(here.run::<CreateKey>(json!({ "apiId": api["apiId"] })).await.unwrap());
        }
        (api, keys)
    };
    let ((_, of_kept), (lost_api, of_lost)) = (keys(2).await, keys(1).await);
    let there = here.other_process(&database).await;
    here.run::<DeleteKey>(json!({ "keyId": of_kept[0]["keyId"] })).await.unwrap();
    here.run::<DeleteApi>(json!({ "apiId": lost_api["apiId"] })).await.unwrap();
    let (_, of_new) = keys(1).await;
    clock.set(UnixMs::new(START + 2 * HOUR));
    assert!(forget_old(here.keyrack.state()).await.unwrap() > 0);
    assert_eq!(count(&here, "changes").await, 0, "nothing tells any more what changed");

    let sees = |key: &serde_json::Value| {
        let text = key["key"].as_str().unwrap();
        there.keyrack.resident().find(&there.workspace_id, text).is_some()
    };
    let known = || [&of_kept[0], &of_kept[1], &of_lost[0], &of_new[0]].map(sees);
    assert_eq!(known(), [true, true, true, false], "it was away");
    there.keyrack.start_background_work(Retention::default());
    within_a_second(|| known() == [false, true, false, true]).await;
    assert!(there.keyrack.resident().api(lost_api["apiId"].as_str().unwrap()).is_none());
    let (_, later) = keys(1).await;
    within_a_second(|| sees(&later[0])).await;
}

/// An operator of each of two workspaces renames the other one, in two processes: nothing but the order of their locks
/// keeps them from waiting for each other in a circle.
async fn changes_that_lock_the_same_two_workspaces_in_opposite_order_both_succeed(database: Database) {
    const TIMES: i64 = 25;
    let here = database.set_up().await;
    let made = here.run::<CreateWorkspace>(json!({ "name": "other" })).await.unwrap();
    let other = made["workspaceId"].as_str().unwrap().to_owned();
    let operator = NewRootKey { name: None, permissions: vec!["*".to_owned()], operator: true, expires_at: None };
    let (_, secret) = setup::create_root_key(&here.keyrack, &other, operator).await.unwrap();
    let there = Instance {
        keyrack: database.open().await,
        root_key: secret.expose().to_owned(),
        workspace_id: other.clone(),
    };
    let generations = async || {
        let mut connection = here.keyrack.store().read().await.unwrap();
        let mut all = workspaces::generations(&mut connection).await.unwrap();
        all.sort();
        all
    };
    let (before, began) = (generations().await, Instant::now());
    let renames = |instance: &Instance, workspace_id: &str| {
        let (instance, workspace_id) = (instance.clone(), workspace_id.to_owned());
        tokio::spawn(async move {
            for number in 0..TIMES {
                let body = json!({ "workspaceId": workspace_id, "name": format!("name {number}") });
                instance.run::<UpdateWorkspace>(body).await.unwrap();
            }
        })
    };
    let (one, two) = (renames(&here, &other), renames(&there, &here.workspace_id));
    one.await.unwrap();
    two.await.unwrap();
    for ((id, before), (_, after)) in before.into_iter().zip(generations().await) {
        assert_eq!(after - before, TIMES, "{id}: each change happened once");
    }
    assert!(began.elapsed() < Duration::from_secs(60), "they waited for each other: {:?}", began.elapsed());
}
