//! Retention of the audit log: what goes, and how the rest is still a chain.

use keyrack_core::audit::chain::{self, Chain, Expected, Named};
use keyrack_core::audit::{Actor, Event};
use keyrack_core::calendar::UnixMs;
use keyrack_core::clock::Clock;
use keyrack_core::operations::apis::CreateApi;
use keyrack_core::operations::workspace::UpdateWorkspace;
use keyrack_core::retention::{self, Retention};
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::{Database, Instance, count, on_both_engines};

on_both_engines!(
    old_entries_go_and_the_rest_follows_the_anchor,
    a_log_of_which_nothing_is_left_goes_on_where_it_was,
    a_log_that_does_not_follow_its_anchor_is_broken,
    a_check_beside_a_removal_finds_a_whole_log,
);

const DAY: i64 = 86_400_000;
const START: i64 = 20_468 * DAY;

struct Scene {
    instance: Instance,
    clock: Clock,
}

impl Scene {
    async fn new(database: &Database, days: Value) -> Scene {
        let clock = Clock::standing_at(UnixMs::new(START));
        let instance = database.set_up_at(clock.clone()).await;
        let body = json!({ "workspaceId": instance.workspace_id, "auditRetentionDays": days });
        instance.run::<UpdateWorkspace>(body).await.unwrap();
        Scene { instance, clock }
    }

    async fn entries_at(&self, later: i64, count: usize) {
        self.clock.set(UnixMs::new(START + later));
        for _ in 0..count {
            self.instance.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
        }
    }

    async fn remove(&self, later: i64) {
        self.clock.set(UnixMs::new(START + later));
        retention::remove(self.instance.keyrack.state(), Retention::default(), UnixMs::new(START + later))
            .await
            .unwrap();
    }

    async fn check(&self) -> Chain {
        self.check_with(|_| ()).await
    }

    async fn check_with(&self, progress: impl FnMut(u64)) -> Chain {
        let named = Named { workspace_id: self.instance.workspace_id.clone(), has_row: true };
        chain::verify(self.instance.keyrack.store(), &named, Expected::new(), progress).await.unwrap()
    }

    /// The place of the entry that is not right, if any.
    async fn broken(&self) -> Option<i64> {
        self.check().await.broken.map(|broken| broken.sequence)
    }

    async fn tamper(&self, statement: &'static str) {
        let mut transaction = self.instance.keyrack.store().write().await.unwrap();
        sqlx::query(statement).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

/// Where the chain begins and ends, as the check sees it: the anchor's place, the number of entries, the last place.
fn extent(chain: &Chain) -> (i64, u64, i64) {
    assert_eq!(chain.broken, None);
    let place = |link: &Option<(i64, String)>| link.as_ref().map_or(0, |(sequence, _)| *sequence);
    (place(&chain.anchor), chain.entries, place(&chain.last))
}

async fn old_entries_go_and_the_rest_follows_the_anchor(database: Database) {
    let scene = Scene::new(&database, json!(10)).await;
    scene.entries_at(DAY, 4).await;
    scene.entries_at(2 * DAY, 2).await;
    assert_eq!(extent(&scene.check().await), (0, 9, 9));
    scene.remove(10 * DAY).await;
    assert_eq!(extent(&scene.check().await), (0, 9, 9), "nothing too early");
    let fourth = scene.check().await;
    scene.remove(11 * DAY).await;
    assert_eq!(extent(&scene.check().await), (3, 6, 9));
    scene.remove(12 * DAY).await;
    assert_eq!(extent(&scene.check().await), (7, 2, 9));
    scene.entries_at(12 * DAY, 1).await;
    let whole = scene.check().await;
    assert_eq!(extent(&whole), (7, 3, 10));
    assert_ne!(whole.last, fourth.last);
    let removed = scene.instance.keyrack.metrics().rows_removed().find(|(kind, _)| *kind == "audit_logs");
    assert_eq!(removed, Some(("audit_logs", 7)));
    let filed = "SELECT COUNT(*) AS total FROM audit_targets t JOIN audit_logs l ON l.sequence = t.sequence";
    let mut connection = scene.instance.keyrack.store().read().await.unwrap();
    let row = sqlx::query(filed).fetch_one(&mut *connection).await.unwrap();
    assert_eq!(
        row.get::<i64, _>("total"),
        count(&scene.instance, "audit_targets").await,
        "what they were found by"
    );
}

async fn a_log_of_which_nothing_is_left_goes_on_where_it_was(database: Database) {
    let scene = Scene::new(&database, json!(10)).await;
    let before = scene.check().await;
    scene.remove(100 * DAY).await;
    let emptied = scene.check().await;
    assert_eq!(extent(&emptied), (3, 0, 3));
    assert_eq!(emptied.last, before.last, "who kept the last hash still finds it");
    scene.entries_at(100 * DAY, 2).await;
    assert_eq!(extent(&scene.check().await), (3, 2, 5));
    scene.remove(200 * DAY).await;
    assert_eq!(extent(&scene.check().await), (5, 0, 5));
}

async fn a_log_that_does_not_follow_its_anchor_is_broken(database: Database) {
    let scene = Scene::new(&database, json!(10)).await;
    scene.entries_at(DAY, 4).await;
    scene.tamper("DELETE FROM audit_logs WHERE sequence = 1").await;
    assert_eq!(scene.broken().await, Some(2), "a setting alone explains no missing beginning");
    scene.remove(11 * DAY).await;
    assert_eq!(scene.broken().await, None);
    scene.tamper("UPDATE audit_anchors SET sequence = 5").await;
    assert_eq!(scene.broken().await, Some(4), "what the anchor says is gone is there");
    scene.tamper("UPDATE audit_anchors SET sequence = 3, hash = 'another'").await;
    assert_eq!(scene.broken().await, Some(4));
    scene.tamper("DELETE FROM audit_anchors").await;
    assert_eq!(scene.broken().await, Some(4));
}

async fn a_check_beside_a_removal_finds_a_whole_log(database: Database) {
    let scene = Scene::new(&database, json!(10)).await;
    let keyrack = &scene.instance.keyrack;
    for day in 1..=3 {
        scene.clock.set(UnixMs::new(START + day * DAY));
        let actor = Actor::system("test");
        let mut mutation = keyrack.change_as(&scene.instance.workspace_id, actor).await.unwrap();
        (0..1000).for_each(|n| mutation.record(Event::new("key.create", format!("Created key {n}"))));
        mutation.commit().await.unwrap();
    }
    let mut checked = Vec::new();
    // After the first portion, all entries of the first two days go, those that come next among them.
    let progress = |entries| {
        checked.push(entries);
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(scene.remove(13 * DAY)));
    };
    let chain = scene.check_with(progress).await;
    assert_eq!(checked, [1000, 2000]);
    assert_eq!(extent(&chain), (2003, 2000, 3003));
    assert_eq!(extent(&scene.check().await), (2003, 1000, 3003));
}
