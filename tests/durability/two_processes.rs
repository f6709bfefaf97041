//! Two `keyrack serve` on one database: what one changes, the other knows within a second.

use std::time::{Duration, Instant};

use keyrack_test_harness::{Client, Program, Server};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{database, program};

const PATIENCE: Duration = Duration::from_secs(1);

/// Two processes that share one database.
struct Pair {
    one: Server,
    two: Server,
    api: String,
}

impl Pair {
    async fn of(program: Program) -> Self {
        let one = program.start().await;
        let two = program.start().await;
        let api = one.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
        Self { one, two, api }
    }

    async fn new_key(&self, members: Value) -> (String, String) {
        let mut body = json!({"apiId": self.api});
        body.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
        let answer = self.one.call("keys.createKey", body).await.expect(200);
        (answer.text_of("keyId"), answer.text_of("key"))
    }

    /// Waits until the other process gives this code, a second at most. It may refuse to answer before.
    async fn other_says(&self, key: &str, code: &str) {
        let started = Instant::now();
        loop {
            let answer = self.two.call("keys.verifyKey", json!({"key": key})).await;
            let said = match answer.status {
                503 => json!("503"),
                _ => answer.expect(200).data()["code"].clone(),
            };
            if said == code {
                return;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "after {PATIENCE:?} the other process still says {said}, not {code}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn code_of(client: &Client, key: &str) -> Value {
    client.call("keys.verifyKey", json!({"key": key})).await.expect(200).data()["code"].clone()
}

async fn changes_travel(pair: Pair) {
    let (id, key) = pair.new_key(json!({})).await;
    pair.other_says(&key, "VALID").await;
    pair.one.call("keys.updateKey", json!({"keyId": id, "enabled": false})).await.expect(200);
    pair.other_says(&key, "DISABLED").await;
    pair.one.call("keys.updateKey", json!({"keyId": id, "enabled": true, "expires": 1})).await.expect(200);
    pair.other_says(&key, "EXPIRED").await;
    pair.one.call("keys.updateKey", json!({"keyId": id, "expires": null})).await.expect(200);
    pair.other_says(&key, "VALID").await;
    pair.one.call("keys.deleteKey", json!({"keyId": id})).await.expect(200);
    pair.other_says(&key, "NOT_FOUND").await;
    let (_, orphan) = pair.new_key(json!({})).await;
    pair.other_says(&orphan, "VALID").await;
    pair.one.call("apis.deleteApi", json!({"apiId": pair.api})).await.expect(200);
    pair.other_says(&orphan, "NOT_FOUND").await;
}

#[tokio::test]
async fn a_key_disabled_or_deleted_in_one_process_is_refused_by_the_other_on_sqlite() {
    changes_travel(Pair::of(program()).await).await;
}

#[tokio::test]
async fn a_key_disabled_or_deleted_in_one_process_is_refused_by_the_other_on_postgres() {
    changes_travel(Pair::of(program().on_postgres().await).await).await;
}

#[tokio::test]
async fn a_new_root_key_and_a_new_address_list_reach_the_other_process() {
    let pair = Pair::of(program()).await;
    let (_, key) = pair.new_key(json!({})).await;
    pair.other_says(&key, "VALID").await;
    let body = json!({"apiId": pair.api, "ipWhitelist": ["203.0.113.9"]});
    pair.one.call("apis.updateApi", body).await.expect(200);
    pair.other_says(&key, "FORBIDDEN").await;
    let made = pair.one.call("rootKeys.createKey", json!({"permissions": ["*"]})).await.expect(200);
    let client = pair.two.with_key(&made.text_of("key"));
    let started = Instant::now();
    while client.call("workspace.getOverview", json!({})).await.status != 200 {
        assert!(started.elapsed() < PATIENCE, "the other process does not know the root key");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One process is suspended, as on a closed laptop, for longer than the change feed goes back.
async fn a_suspended_process_catches_up(pair: Pair) {
    let (id, deleted) = pair.new_key(json!({})).await;
    let (_, kept) = pair.new_key(json!({})).await;
    pair.other_says(&kept, "VALID").await;
    pair.two.signal("STOP");
    pair.one.call("keys.deleteKey", json!({"keyId": id})).await.expect(200);
    let (_, made) = pair.new_key(json!({})).await;
    let mut connection = database(&pair.one).await;
    // What the program does with changes that are an hour old.
    for text in ["UPDATE workspaces SET forgotten_generation = generation", "DELETE FROM changes"] {
        sqlx::query(text).execute(&mut connection).await.expect("the database can be changed");
    }
    pair.two.signal("CONT");
    pair.other_says(&deleted, "NOT_FOUND").await;
    pair.other_says(&made, "VALID").await;
    pair.other_says(&kept, "VALID").await;
    assert!(pair.two.log().contains("reading everything anew"), "{}", pair.two.log());
}

#[tokio::test]
async fn a_process_suspended_for_longer_than_the_change_feed_goes_back_misses_nothing_on_sqlite() {
    a_suspended_process_catches_up(Pair::of(program()).await).await;
}

#[tokio::test]
async fn a_process_suspended_for_longer_than_the_change_feed_goes_back_misses_nothing_on_postgres() {
    a_suspended_process_catches_up(Pair::of(program().on_postgres().await).await).await;
}

async fn credits_are_shared(pair: Pair) {
    let (id, key) = pair.new_key(json!({"credits": {"remaining": 60}})).await;
    pair.other_says(&key, "VALID").await;
    let spent_waiting = 60 - balance(&pair, &id).await;
    let mut tasks = JoinSet::new();
    for n in 0..120 {
        let client = if n % 2 == 0 { pair.one.client() } else { pair.two.client() };
        let key = key.clone();
        tasks.spawn(async move { code_of(&client, &key).await });
    }
    let codes = tasks.join_all().await;
    let valid = codes.iter().filter(|code| **code == "VALID").count();
    assert_eq!(i64::try_from(valid).expect("small"), 60 - spent_waiting);
    assert_eq!(balance(&pair, &id).await, 0);
}

async fn balance(pair: &Pair, id: &str) -> i64 {
    let read = pair.two.call("keys.getKey", json!({"keyId": id})).await.expect(200);
    read.data()["credits"]["remaining"].as_i64().expect("a number")
}

#[tokio::test]
async fn two_processes_never_spend_a_credit_twice_on_sqlite() {
    credits_are_shared(Pair::of(program()).await).await;
}

#[tokio::test]
async fn two_processes_never_spend_a_credit_twice_on_postgres() {
    credits_are_shared(Pair::of(program().on_postgres().await).await).await;
}

/// Verifies the same key in both processes with mixed costs, while both change keys and one adds credits.
async fn spending_beside_changes_adds_up(pair: Pair) {
    let (id, key) = pair.new_key(json!({"credits": {"remaining": 500}})).await;
    let (_, other_key) = pair.new_key(json!({"credits": {"remaining": 100_000}})).await;
    pair.other_says(&key, "VALID").await;
    pair.other_says(&other_key, "VALID").await;
    let start = balance(&pair, &id).await;
    let mut tasks = JoinSet::new();
    for n in 0..16_i64 {
        let client = if n % 2 == 0 { pair.one.client() } else { pair.two.client() };
        let (key, other_key) = (key.clone(), other_key.clone());
        tasks.spawn(async move {
            let mut spent = 0;
            for step in 0..12 {
                let cost = 1 + (n + step) % 5;
                let body = json!({"key": key, "credits": {"cost": cost}});
                let answer = client.call("keys.verifyKey", body).await.expect(200);
                let valid = answer.data()["valid"] == true;
                assert!(valid || answer.data()["code"] == "USAGE_EXCEEDED", "{}", answer.text);
                assert!(answer.data()["credits"].as_i64().is_some_and(|left| left >= 0), "{}", answer.text);
                spent += if valid { cost } else { 0 };
                client.call("keys.verifyKey", json!({"key": other_key})).await.expect(200);
            }
            spent
        });
    }
    for n in 0..4 {
        let client = if n % 2 == 0 { pair.one.client() } else { pair.two.client() };
        let (api, id) = (pair.api.clone(), id.clone());
        tasks.spawn(async move {
            for _ in 0..5 {
                client.call("keys.createKey", json!({"apiId": api})).await.expect(200);
            }
            let body = json!({"keyId": id, "operation": "increment", "value": 10});
            client.call("keys.updateCredits", body).await.expect(200);
            -10
        });
    }
    let spent: i64 = tasks.join_all().await.into_iter().sum();
    assert_eq!(balance(&pair, &id).await, start - spent);
}

#[tokio::test]
async fn what_two_processes_spend_beside_changes_of_both_adds_up_on_sqlite() {
    spending_beside_changes_adds_up(Pair::of(program()).await).await;
}

#[tokio::test]
async fn what_two_processes_spend_beside_changes_of_both_adds_up_on_postgres() {
    spending_beside_changes_adds_up(Pair::of(program().on_postgres().await).await).await;
}

#[tokio::test]
async fn two_processes_may_write_at_the_same_time() {
    let pair = Pair::of(program()).await;
    let mut tasks = JoinSet::new();
    for n in 0..40 {
        let client = if n % 2 == 0 { pair.one.client() } else { pair.two.client() };
        let body = json!({"apiId": pair.api, "externalId": "shared", "permissions": ["made.once"]});
        tasks.spawn(async move { client.call("keys.createKey", body).await.status });
    }
    let statuses = tasks.join_all().await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let started = Instant::now();
    loop {
        let overview = pair.two.call("workspace.getOverview", json!({})).await.expect(200);
        let counts = &overview.data()["counts"];
        if (&counts["keys"], &counts["identities"], &counts["permissions"]) == (&json!(40), &json!(1), &json!(1)) {
            return;
        }
        // The last changes may be those of the other process.
        assert!(started.elapsed() < PATIENCE, "{counts}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
