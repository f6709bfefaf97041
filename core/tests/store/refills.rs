//! Refills: when they happen, exactly once, by whom, and what the audit log says of them.

use keyrack_core::Keyrack;
use keyrack_core::calendar::Calendar;
use keyrack_core::calendar::UnixMs;
use keyrack_core::clock::Clock;
use keyrack_core::credits::refill;
use keyrack_core::operations::apis::CreateApi;
use keyrack_core::operations::keys::{CreateKey, DeleteKey, GetKey, UpdateCredits, UpdateKey, VerifyKey};
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::{Database, Instance, on_both_engines};

on_both_engines!(
    a_balance_below_the_amount_becomes_the_amount_once_a_day,
    a_deduction_does_not_wait_for_the_scheduled_run,
    a_missed_monthly_refill_is_made_up_once,
    a_top_up_above_the_amount_and_an_unlimited_key_stay,
    setting_a_refill_or_a_balance_does_not_refill,
    processes_that_run_together_refill_once,
    a_clock_that_was_ahead_does_not_stop_refills,
    events_of_many_refills_are_written_in_portions,
    the_event_of_a_refill_names_the_key_as_people_know_it,
);

const DAY: i64 = 86_400_000;
/// 2026-01-15, noon.
const START: i64 = 20_468 * DAY + DAY / 2;

struct Scene {
    instance: Instance,
    clock: Clock,
    database: Database,
}

impl Scene {
    async fn new(database: Database) -> Scene {
        let clock = Clock::standing_at(UnixMs::new(START));
        let instance = database.set_up_at(clock.clone()).await;
        Scene { instance, clock, database }
    }

    async fn key(&self, credits: Value) -> (String, String) {
        let api = self.instance.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
        let body = json!({ "apiId": api["apiId"], "credits": credits });
        let key = self.instance.run::<CreateKey>(body).await.unwrap();
        (key["keyId"].as_str().unwrap().to_owned(), key["key"].as_str().unwrap().to_owned())
    }

    async fn verify(&self, key: &str, cost: i64) -> Value {
        let body = json!({ "key": key, "credits": { "cost": cost } });
        let answer = self.instance.run::<VerifyKey>(body).await.unwrap();
        json!([answer["code"], answer["credits"]])
    }

    async fn balance(&self, key_id: &str) -> i64 {
        let key = self.instance.run::<GetKey>(json!({ "keyId": key_id })).await.unwrap();
        key["credits"]["remaining"].as_i64().unwrap()
    }

    async fn settle(&self) -> usize {
        settle(&self.instance.keyrack).await
    }

    /// The amounts that the events of refills tell.
    async fn refill_events(&self) -> Vec<Value> {
        let targets = self.refill_targets().await;
        let amounts = |target: Value| {
            let mut meta = target["meta"].clone();
            let members = meta.as_object_mut().unwrap();
            members.retain(|name, _| name != "start" && name != "externalId");
            meta
        };
        targets.into_iter().map(amounts).collect()
    }

    async fn refill_targets(&self) -> Vec<Value> {
        let mut connection = self.instance.keyrack.store().read().await.unwrap();
        let rows =
            sqlx::query("SELECT actor, targets FROM audit_logs WHERE event = 'key.update' ORDER BY sequence")
                .fetch_all(&mut *connection)
                .await
                .unwrap();
        let read = |row: &sqlx::any::AnyRow| {
            let actor: Value = serde_json::from_str(&row.get::<String, _>("actor")).unwrap();
            let targets: Value = serde_json::from_str(&row.get::<String, _>("targets")).unwrap();
            (actor["id"] == "keyrefill").then(|| targets[0].clone())
        };
        rows.iter().filter_map(read).collect()
    }
}

async fn settle(keyrack: &Keyrack) -> usize {
    refill::settle_all(keyrack.state(), Calendar::at(keyrack.clock().now()), false).await.unwrap()
}

fn daily(remaining: i64, amount: i64) -> Value {
    json!({ "remaining": remaining, "refill": { "interval": "daily", "amount": amount } })
}

async fn a_balance_below_the_amount_becomes_the_amount_once_a_day(database: Database) {
    let scene = Scene::new(database).await;
    let (key_id, key) = scene.key(daily(2, 10)).await;
    assert_eq!(scene.settle().await, 0, "not on the day it was set");
    scene.clock.set(UnixMs::new(START + DAY));
    assert_eq!(scene.settle().await, 1);
    assert_eq!(scene.balance(&key_id).await, 10);
    scene.verify(&key, 4).await;
    assert_eq!(scene.settle().await, 0, "a second run of the day changes nothing");
    assert_eq!(scene.balance(&key_id).await, 6);
    let meta = json!({ "refill_amount": 10, "previous_remaining": 2, "new_remaining": 10 });
    assert_eq!(scene.refill_events().await, [meta]);
}

async fn a_deduction_does_not_wait_for_the_scheduled_run(database: Database) {
    let scene = Scene::new(database).await;
    let (_, key) = scene.key(daily(1, 10)).await;
    assert_eq!(scene.verify(&key, 1).await, json!(["VALID", 0]));
    assert_eq!(scene.verify(&key, 1).await, json!(["USAGE_EXCEEDED", 0]));
    scene.clock.set(UnixMs::new(START + DAY));
    assert_eq!(scene.verify(&key, 3).await, json!(["VALID", 7]));
    assert_eq!(scene.refill_events().await.len(), 0);
    scene.settle().await;
    let meta = json!({ "refill_amount": 10, "previous_remaining": 0, "new_remaining": 10 });
    assert_eq!(scene.refill_events().await, [meta], "its event comes with the next run");
    assert_eq!(scene.verify(&key, 0).await, json!(["VALID", 7]));
}

async fn a_missed_monthly_refill_is_made_up_once(database: Database) {
    let scene = Scene::new(database).await;
    let refill = json!({ "interval": "monthly", "amount": 5, "refillDay": 31 });
    let (key_id, _) = scene.key(json!({ "remaining": 0, "refill": refill })).await;
    scene.clock.set(UnixMs::new(START + 15 * DAY));
    assert_eq!(scene.settle().await, 0, "30 January is not the last day");
    // The server was down over the end of January: on 3 February the refill is made up.
    scene.clock.set(UnixMs::new(START + 19 * DAY));
    assert_eq!(scene.settle().await, 1);
    assert_eq!(scene.balance(&key_id).await, 5);
    let body = json!({ "keyId": key_id, "operation": "set", "value": 1 });
    scene.instance.run::<UpdateCredits>(body).await.unwrap();
    assert_eq!(scene.settle().await, 0);
    assert_eq!(scene.balance(&key_id).await, 1);
}

async fn a_top_up_above_the_amount_and_an_unlimited_key_stay(database: Database) {
    let scene = Scene::new(database).await;
    let (rich, _) = scene.key(daily(50, 10)).await;
    let (unlimited, key) = scene.key(json!({ "remaining": 1 })).await;
    let credits = json!({ "remaining": null, "refill": { "interval": "daily", "amount": 9 } });
    scene.instance.run::<UpdateKey>(json!({ "keyId": unlimited, "credits": credits })).await.unwrap();
    scene.clock.set(UnixMs::new(START + DAY));
    scene.settle().await;
    assert_eq!(scene.balance(&rich).await, 50);
    assert_eq!(scene.verify(&key, 7).await, json!(["VALID", null]), "never made limited");
    assert_eq!(scene.refill_events().await.len(), 0);
}

async fn setting_a_refill_or_a_balance_does_not_refill(database: Database) {
    let scene = Scene::new(database).await;
    let (key_id, key) = scene.key(json!({ "remaining": 3 })).await;
    scene.clock.set(UnixMs::new(START + 40 * DAY));
    let refill = json!({ "refill": { "interval": "daily", "amount": 100 } });
    scene.instance.run::<UpdateKey>(json!({ "keyId": key_id, "credits": refill })).await.unwrap();
    assert_eq!(scene.verify(&key, 1).await, json!(["VALID", 2]));
    scene.clock.set(UnixMs::new(START + 41 * DAY));
    // The refill of the new day comes before what is done to the balance that day.
    let body = json!({ "keyId": key_id, "operation": "decrement", "value": 30 });
    scene.instance.run::<UpdateCredits>(body).await.unwrap();
    assert_eq!(scene.verify(&key, 0).await, json!(["VALID", 70]));
    scene.settle().await;
    assert_eq!(scene.balance(&key_id).await, 70);
}

async fn processes_that_run_together_refill_once(database: Database) {
    let scene = Scene::new(database).await;
    let mut keys = Vec::new();
    for _ in 0..10 {
        keys.push(scene.key(daily(0, 10)).await.1);
    }
    scene.clock.set(UnixMs::new(START + DAY));
    let runs = (0..4).map(|_| {
        let (database, clock) = (scene.database.clone(), scene.clock.clone());
        tokio::spawn(async move { settle(&database.open_at(clock).await).await })
    });
    for (run, key) in runs.collect::<Vec<_>>().into_iter().zip(&keys) {
        assert_eq!(scene.verify(key, 1).await, json!(["VALID", 9]));
        run.await.unwrap();
    }
    scene.settle().await;
    assert_eq!(scene.refill_events().await.len(), 10);
}

async fn a_clock_that_was_ahead_does_not_stop_refills(database: Database) {
    let scene = Scene::new(database).await;
    let (key_id, key) = scene.key(daily(0, 10)).await;
    scene.clock.set(UnixMs::new(START + 400 * DAY));
    scene.settle().await;
    scene.verify(&key, 10).await;
    scene.clock.set(UnixMs::new(START + DAY));
    scene.settle().await;
    assert_eq!(scene.balance(&key_id).await, 0, "coming back refills nothing");
    scene.clock.set(UnixMs::new(START + 2 * DAY));
    scene.settle().await;
    assert_eq!(scene.balance(&key_id).await, 10);
}

async fn events_of_many_refills_are_written_in_portions(database: Database) {
    let scene = Scene::new(database).await;
    let (key_id, _) = scene.key(daily(1, 10)).await;
    let workspace_id = &scene.instance.workspace_id;
    let mut transaction = scene.instance.keyrack.store().write().await.unwrap();
    for day in 0..1_200_i64 {
        sqlx::query(
            "INSERT INTO unrecorded_refills (key_id, workspace_id, refilled_on, amount, previous, remaining) \
             VALUES ($1, $2, $3, 10, 1, 10)",
        )
        .bind(key_id.clone())
        .bind(workspace_id.clone())
        .bind(day)
        .execute(&mut *transaction)
        .await
        .unwrap();
    }
    transaction.commit().await.unwrap();
    let generation = async || {
        let mut connection = scene.instance.keyrack.store().read().await.unwrap();
        let row = sqlx::query("SELECT generation FROM workspaces WHERE id = $1").bind(workspace_id.clone());
        row.fetch_one(&mut *connection).await.unwrap().get::<i64, _>("generation")
    };
    let before = generation().await;
    assert_eq!(scene.settle().await, 1_200);
    assert_eq!(generation().await - before, 3, "a change each of at most 500");
    assert_eq!(scene.refill_events().await.len(), 1_200);
}

async fn the_event_of_a_refill_names_the_key_as_people_know_it(database: Database) {
    let scene = Scene::new(database).await;
    let api = scene.instance.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let mut due = Vec::new();
    for name in ["by the run", "by a deduction", "deleted", "removed"] {
        scene.clock.set(UnixMs::new(START));
        let body = json!({ "apiId": api["apiId"], "name": name, "externalId": "acme", "credits": daily(0, 10) });
        let key = scene.instance.run::<CreateKey>(body).await.unwrap();
        let (key_id, plaintext) = (key["keyId"].as_str().unwrap(), key["key"].as_str().unwrap());
        let start = scene.instance.run::<GetKey>(json!({ "keyId": key_id })).await.unwrap()["start"].clone();
        if name != "by the run" {
            scene.clock.set(UnixMs::new(START + DAY));
            assert_eq!(scene.verify(plaintext, 1).await, json!(["VALID", 9]));
        }
        let gone = match name {
            "deleted" => Some(json!({ "keyId": key_id })),
            "removed" => Some(json!({ "keyId": key_id, "permanent": true })),
            _ => None,
        };
        if let Some(body) = gone {
            scene.instance.run::<DeleteKey>(body).await.unwrap();
        }
        due.push((name, key_id.to_owned(), start));
    }
    scene.settle().await;
    let targets = scene.refill_targets().await;
    for (name, key_id, start) in due {
        let mut told = targets.iter().filter(|target| target["id"] == *key_id);
        if name == "removed" {
            // Its refill may go with the key; told, it is by the id alone.
            assert!(told.all(|target| target["name"] == *key_id), "{targets:?}");
            continue;
        }
        let told = told.next().unwrap_or_else(|| panic!("{name}: {targets:?}"));
        let (meta, name) = (&told["meta"], json!(name));
        assert_eq!((&told["name"], &meta["start"], &meta["externalId"]), (&name, &start, &json!("acme")));
        assert!(start.is_string(), "{told}");
    }
}
