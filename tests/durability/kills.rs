//! SIGKILL at random moments under a mixed load, again and again on the same data: what was answered is
//! there, what was never asked is not, and what was on its way is there once or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use keyrack_test_harness::{Program, ROOT_KEY, Server};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::program;

const BALANCE: i64 = 1_000_000_000;
const SPENDERS: usize = 6;
/// How long a round waits at most until something was done.
const PATIENCE: Duration = Duration::from_secs(10);

/// A number that changes as it may: answered changes for sure, asked ones perhaps.
#[derive(Debug, Default)]
struct Tally {
    answered: AtomicI64,
    asked: AtomicI64,
}

impl Tally {
    /// Checks what is stored, which then is where the next round begins.
    fn check(&self, what: &str, stored: i64) {
        let (answered, asked) = (self.answered.load(Ordering::SeqCst), self.asked.load(Ordering::SeqCst));
        assert!(
            (answered..=asked).contains(&stored),
            "{what}: {answered} answered, {asked} asked, {stored} stored"
        );
        self.answered.store(stored, Ordering::SeqCst);
        self.asked.store(stored, Ordering::SeqCst);
    }
}

/// A key, and what has happened to its balance.
#[derive(Debug)]
struct Metered {
    id: String,
    key: String,
    spent: Tally,
    added: Tally,
}

/// What was done in all rounds.
#[derive(Debug)]
struct World {
    api: String,
    /// Spent by several clients at once; never added to.
    spent: Vec<Metered>,
    /// Added to by one client; never spent.
    topped_up: Metered,
    /// Renamed to `1`, `2`, … by one client.
    renamed: Metered,
    renames: Tally,
    /// Names of the keys that were made, answered for sure.
    creations: Tally,
}

/// What one round did, beyond tallies.
#[derive(Debug, Default)]
struct Round {
    /// Names of keys by id.
    created: BTreeMap<String, String>,
    /// Answered for sure.
    deleted: Vec<String>,
    /// Asked, and not answered.
    maybe_deleted: Option<String>,
}

/// Calls one server over a connection of its own until it is gone.
struct Caller {
    http: reqwest::Client,
    base: String,
}

impl Caller {
    fn of(base: &str) -> Self {
        Caller { http: keyrack_test_harness::http_client(), base: base.to_owned() }
    }

    /// `data` of the answer; `None` when the server went away.
    async fn call(&self, operation: &str, body: Value) -> Option<Value> {
        let request = self.http.post(format!("{}/v2/{operation}", self.base)).bearer_auth(ROOT_KEY).json(&body);
        let answer = request.send().await.ok()?;
        let status = answer.status();
        let body = answer.json::<Value>().await.ok()?;
        assert_eq!(status, 200, "{operation}: {body}");
        Some(body["data"].clone())
    }
}

async fn new_metered(server: &Server, api: &str) -> Metered {
    let body = json!({"apiId": api, "credits": {"remaining": BALANCE}});
    let made = server.call("keys.createKey", body).await.expect(200);
    let (id, key) = (made.text_of("keyId"), made.text_of("key"));
    Metered { id, key, spent: Tally::default(), added: Tally::default() }
}

impl World {
    async fn new(server: &Server) -> Arc<Self> {
        let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
        let spent = vec![new_metered(server, &api).await, new_metered(server, &api).await];
        let topped_up = new_metered(server, &api).await;
        let renamed = new_metered(server, &api).await;
        let (renames, creations) = (Tally::default(), Tally::default());
        Arc::new(World { api, spent, topped_up, renamed, renames, creations })
    }

    /// Verifies keys with costs of 1 to 3.
    async fn spend(self: Arc<Self>, caller: Caller, first: usize) {
        for n in first.. {
            let metered = &self.spent[n % self.spent.len()];
            let cost = 1 + i64::try_from(n % 3).expect("small");
            metered.spent.asked.fetch_add(cost, Ordering::SeqCst);
            let body = json!({"key": metered.key, "credits": {"cost": cost}});
            let Some(data) = caller.call("keys.verifyKey", body).await else { return };
            assert_eq!(data["code"], "VALID");
            metered.spent.answered.fetch_add(cost, Ordering::SeqCst);
        }
    }

    /// Adds credits and renames.
    async fn update(self: Arc<Self>, caller: Caller) {
        loop {
            self.topped_up.added.asked.fetch_add(5, Ordering::SeqCst);
            let body = json!({"keyId": self.topped_up.id, "operation": "increment", "value": 5});
            if caller.call("keys.updateCredits", body).await.is_none() {
                return;
            }
            self.topped_up.added.answered.fetch_add(5, Ordering::SeqCst);
            let name = self.renames.asked.fetch_add(1, Ordering::SeqCst) + 1;
            let body = json!({"keyId": self.renamed.id, "name": name.to_string()});
            if caller.call("keys.updateKey", body).await.is_none() {
                return;
            }
            self.renames.answered.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Creates keys, and deletes every second one.
    async fn create_and_delete(self: Arc<Self>, caller: Caller) -> Round {
        let mut round = Round::default();
        loop {
            let name = format!("key {}", self.creations.asked.fetch_add(1, Ordering::SeqCst) + 1);
            let body = json!({"apiId": self.api, "name": name});
            let Some(data) = caller.call("keys.createKey", body).await else { return round };
            self.creations.answered.fetch_add(1, Ordering::SeqCst);
            let id = data["keyId"].as_str().expect("an id").to_owned();
            if round.created.len().is_multiple_of(2) {
                round.created.insert(id, name);
                continue;
            }
            round.maybe_deleted = Some(id.clone());
            if caller.call("keys.deleteKey", json!({"keyId": id})).await.is_none() {
                return round;
            }
            round.deleted.extend(round.maybe_deleted.take());
        }
    }

    /// Runs the load on a server until so many keys were made, and then for a while, and kills it in the middle.
    async fn round(self: &Arc<Self>, server: &mut Server, creations: i64, lasts: Duration) -> Round {
        let mut tasks = JoinSet::new();
        for n in 0..SPENDERS {
            tasks.spawn(self.clone().spend(Caller::of(server.base()), n));
        }
        tasks.spawn(self.clone().update(Caller::of(server.base())));
        let maker = tokio::spawn(self.clone().create_and_delete(Caller::of(server.base())));
        let due = self.creations.answered.load(Ordering::SeqCst) + creations;
        let started = Instant::now();
        while self.creations.answered.load(Ordering::SeqCst) < due && started.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(lasts).await;
        server.kill();
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no caller fails");
        }
        maker.await.expect("no caller fails")
    }

    async fn check(&self, server: &Server, round: &Round) {
        for metered in &self.spent {
            metered.spent.check("credits spent", BALANCE - balance(server, metered).await);
        }
        self.topped_up.added.check("credits added", balance(server, &self.topped_up).await - BALANCE);
        let name = read(server, &self.renamed.id).await["name"].as_str().map_or(Ok(0), str::parse);
        self.renames.check("renames", name.expect("a number"));
        for (id, name) in &round.created {
            assert_eq!(read(server, id).await["name"], *name);
        }
        for id in &round.deleted {
            server.call("keys.getKey", json!({"keyId": id})).await.expect(404);
        }
        if let Some(id) = &round.maybe_deleted {
            let status = server.call("keys.getKey", json!({"keyId": id})).await.status;
            assert!([200, 404].contains(&status), "{status}");
        }
    }
}

async fn read(server: &Server, key_id: &str) -> Value {
    server.call("keys.getKey", json!({"keyId": key_id})).await.expect(200).data().clone()
}

async fn balance(server: &Server, metered: &Metered) -> i64 {
    read(server, &metered.id).await["credits"]["remaining"].as_i64().expect("a number")
}

/// The names of all keys of the API.
async fn names(server: &Server, api: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let mut body = json!({"apiId": api, "limit": 100});
        if !cursor.is_null() {
            body["cursor"] = cursor.clone();
        }
        let page = server.call("apis.listKeys", body).await.expect(200);
        let keys = page.data().as_array().expect("a list");
        names.extend(keys.iter().filter_map(|key| key["name"].as_str().map(str::to_owned)));
        let next = page.body["pagination"]["cursor"].clone();
        if next.is_null() {
            return names;
        }
        assert!(cursor.as_str() < next.as_str(), "pages go back from {cursor} to {next}");
        cursor = next;
    }
}

async fn survives_kills(program: Program, kills: usize) {
    let random = RandomState::new();
    let mut server = program.start().await;
    let world = World::new(&server).await;
    let (mut kept, mut uncertain) = (BTreeSet::new(), 0);
    for n in 0..kills {
        // Some are killed in their first requests, others after they have done something of everything.
        let creations = if n % 4 == 0 { 2 } else { 0 };
        let lasts = Duration::from_millis(random.hash_one(n) % 150);
        let round = world.round(&mut server, creations, lasts).await;
        server = program.start().await;
        world.check(&server, &round).await;
        kept.extend(round.created.into_values());
        // At most one creation and one deletion are on their way when the server goes.
        uncertain += 2;
    }
    let spent: i64 = world.spent.iter().map(|metered| metered.spent.answered.load(Ordering::SeqCst)).sum();
    let due = i64::try_from(kills).expect("small") * 5;
    assert!(spent > due && kept.len() >= kills / 4, "little was done: {spent} spent, {} made", kept.len());
    let names = names(&server, &world.api).await;
    let unique: BTreeSet<String> = names.iter().filter(|name| name.starts_with("key ")).cloned().collect();
    assert_eq!(unique.len() + 1, names.len(), "a key was made twice, and one is renamed: {names:?}");
    assert!(kept.is_subset(&unique), "{:?} are lost", kept.difference(&unique));
    assert!(unique.len() <= kept.len() + uncertain, "{} keys, {} answered", unique.len(), kept.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_nothing_that_was_answered_and_do_nothing_twice() {
    survives_kills(program(), 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_do_fifty_with_normal_durability() {
    survives_kills(program().env("KEYRACK_CREDITS_DURABILITY", "normal"), 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_do_ten_with_normal_durability_on_postgres() {
    survives_kills(program().env("KEYRACK_CREDITS_DURABILITY", "normal").on_postgres().await, 10).await;
}
