//! What the pieces of the hot path cost, one by one.
//!
//! ```sh
//! cargo bench -p keyrack-core             # all
//! cargo bench -p keyrack-core -- counter  # some
//! ```

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use keyrack_core::analytics::event::{Event, Verification};
use keyrack_core::analytics::log::Log;
use keyrack_core::analytics::recorder::Recorder;
use keyrack_core::analytics::texts::Tags;
use keyrack_core::calendar::UnixMs;
use keyrack_core::caller::{Caller, Origin, Via};
use keyrack_core::catalogue::{self, Attempt, Operation};
use keyrack_core::clock::Clock;
use keyrack_core::ids::RequestId;
use keyrack_core::keys::secret;
use keyrack_core::keys::verdict::Verdict;
use keyrack_core::operations::apis::CreateApi;
use keyrack_core::operations::keys::{CreateKey, VerifyKey};
use keyrack_core::ratelimit::counters::memory::{CellKey, CellScope, Check, MemoryCounters};
use keyrack_core::ratelimit::override_rules::{OverrideRule, OverrideRules};
use keyrack_core::ratelimit::window::Window;
use keyrack_core::rbac::query::Query;
use keyrack_core::resident::FoundKey;
use keyrack_core::store::Location;
use keyrack_core::{Keyrack, setup};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const NOW: i64 = 1_785_628_812_345;
const MINUTE_MS: i64 = 60_000;

fn main() {
    divan::main();
}

fn check<'a>(identifier: &'a str, limit: i64) -> Check<'a> {
    let scope = CellScope::Namespace("rlns_5vQ2mXk9LpRt7WcZ");
    Check {
        cell: CellKey { workspace: "ws_3nB8yHs4GdJf6TaE", scope, identifier, duration_ms: MINUTE_MS },
        limit,
        cost: 1,
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// A Keyrack with nothing but its first root key, and that key.
fn first_start() -> (tempfile::TempDir, Keyrack, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (keyrack, root_key) = runtime().block_on(async {
        let location = Location::Sqlite(folder.path().join("keyrack.db"));
        let keyrack = Keyrack::open(&location, Clock::system()).await.expect("it opens");
        let kept = std::sync::Mutex::new(String::new());
        let keep = |root_key: &secret::Secret| {
            root_key.expose().clone_into(&mut kept.lock().expect("one thread"));
            Ok(())
        };
        setup::first_start(&keyrack, None, keep).await.expect("it is set up");
        (keyrack, kept.into_inner().expect("one thread"))
    });
    (folder, keyrack, root_key)
}

#[divan::bench]
fn hash_a_key(bencher: Bencher<'_, '_>) {
    bencher.bench(|| secret::hash(black_box("keyrack_2wXk9LpRt7WcZ5vQ2mYk8MqSu6VbA4nC1dEfGh")));
}

#[divan::bench]
fn hash_and_look_up_a_root_key(bencher: Bencher<'_, '_>) {
    let (_folder, keyrack, root_key) = first_start();
    assert!(keyrack.resident().root_key(&secret::hash(&root_key)).is_some());
    bencher.bench(|| keyrack.resident().root_key(&secret::hash(black_box(&root_key))));
}

#[divan::bench]
fn decide_on_a_window(bencher: Bencher<'_, '_>) {
    let window = Window { sequence: NOW / MINUTE_MS, current: 40, previous: 70 };
    bencher.bench(|| black_box(window).decide(black_box(NOW), 100, MINUTE_MS, 1));
}

#[divan::bench]
fn counter_that_is_there(bencher: Bencher<'_, '_>) {
    let counters = MemoryCounters::new();
    bencher.bench(|| counters.check(black_box(&check("user_42", i64::MAX)), UnixMs::new(NOW)));
}

#[divan::bench]
fn counter_that_is_full(bencher: Bencher<'_, '_>) {
    let counters = MemoryCounters::new();
    counters.check(&check("user_42", 1), UnixMs::new(NOW));
    bencher.bench(|| counters.check(black_box(&check("user_42", 1)), UnixMs::new(NOW)));
}

/// With a cap of 100 000, so that most of these take the place of another.
#[divan::bench]
fn counter_that_is_new(bencher: Bencher<'_, '_>) {
    let (counters, next) = (MemoryCounters::with_room_for(100_000), AtomicI64::new(0));
    let name = || format!("user_{}", next.fetch_add(1, Ordering::Relaxed));
    bencher.with_inputs(name).bench_refs(|name| counters.check(&check(name, 100), UnixMs::new(NOW)));
}

#[divan::bench(args = [1, 2, 8, 100])]
fn counters_all_or_nothing(bencher: Bencher<'_, '_>, size: usize) {
    let counters = MemoryCounters::new();
    let names: Vec<String> = (0..size).map(|number| format!("user_{number}")).collect();
    let checks: Vec<Check<'_>> = names.iter().map(|name| check(name, i64::MAX)).collect();
    bencher.counter(ItemsCount::new(size)).bench(|| counters.check_all(black_box(&checks), UnixMs::new(NOW)));
}

#[divan::bench]
fn parse_and_evaluate_a_permission_query(bencher: Bencher<'_, '_>) {
    let held = ["documents.read", "documents.write", "billing.read"];
    bencher.bench(|| {
        let query = Query::parse(black_box("documents.read AND (documents.write OR admin)"));
        query.is_ok_and(|query| query.is_satisfied_by(|slug| held.contains(&slug)))
    });
}

/// The identifier that only the last of so many patterns matches.
#[divan::bench(args = [1, 10, 100])]
fn match_an_override(bencher: Bencher<'_, '_>, patterns: usize) {
    let rule = |number: usize| OverrideRule {
        id: format!("rlor_{number}").into(),
        pattern: format!("team_{number:03}_*@example.com").into(),
        limit: 10,
        duration_ms: MINUTE_MS,
        created_at: UnixMs::new(NOW),
    };
    let rules = OverrideRules::new((0..patterns).map(rule).collect());
    let identifier = format!("team_{:03}_somebody@example.com", patterns - 1);
    assert!(rules.find(&identifier).is_some());
    bencher.bench(|| rules.find(black_box(&identifier)).map(|rule| rule.limit));
}

/// A Keyrack with a key that has what keys usually have, and a request to verify it.
struct WithKey {
    _folder: tempfile::TempDir,
    keyrack: Keyrack,
    caller: Caller,
    found: FoundKey,
    body: Vec<u8>,
}

fn with_key() -> WithKey {
    let (folder, keyrack, root_key) = first_start();
    let caller = keyrack.authenticate(&root_key, Origin::local(Via::Http)).expect("it is the root key");
    let key = runtime().block_on(async {
        let api = catalogue::run::<CreateApi>(
            &keyrack,
            keyrack.renew(&caller).expect("it is live"),
            json!({"name": "bench"}),
        )
        .await;
        let api = json!(api.expect("an API").data);
        let limit = json!({"name": "requests", "limit": 1_000_000_000, "duration": MINUTE_MS, "autoApply": true});
        let request = json!({
            "apiId": api["apiId"],
            "name": "A key",
            "permissions": ["documents.read", "documents.write"],
            "ratelimits": [limit],
        });
        let key =
            catalogue::run::<CreateKey>(&keyrack, keyrack.renew(&caller).expect("it is live"), request).await;
        let key: Value = json!(key.expect("a key").data);
        key["key"].as_str().expect("a text").to_owned()
    });
    let found = keyrack.resident().find(caller.workspace_id(), &key).expect("it is there");
    let body = json!({"key": key, "permissions": "documents.read AND documents.write"}).to_string().into_bytes();
    WithKey { _folder: folder, keyrack, caller, found, body }
}

impl WithKey {
    /// Verifies the key.
    fn verify(&self) -> <VerifyKey as Operation>::Response {
        match catalogue::attempt::<VerifyKey>(&self.keyrack, &self.caller, black_box(&self.body)) {
            Attempt::Answered(Ok(reply)) => reply.data,
            _ => panic!("it is answered at once"),
        }
    }

    /// The event of a verification of the key.
    fn event(&self) -> Event {
        Event::Verification(Verification {
            request_id: self.caller.origin().request_id,
            time: UnixMs::new(NOW),
            root_key_id: self.caller.principal().id().into(),
            found: self.found.clone(),
            outcome: Verdict::Valid,
            refused_by: None,
            tags: Tags::default(),
            spent_credits: 0,
            latency: Duration::from_micros(10),
        })
    }
}

#[divan::bench]
fn name_a_request(bencher: Bencher<'_, '_>) {
    bencher.bench(RequestId::new);
}

#[divan::bench]
fn parse_a_request(bencher: Bencher<'_, '_>) {
    let with_key = with_key();
    let body = std::str::from_utf8(&with_key.body).expect("it is JSON");
    bencher.bench(|| VerifyKey::is_plain(black_box(body)));
}

/// From the body of a request to its answer: parse, look-up, permissions, limit, event.
#[divan::bench]
fn answer_a_verification(bencher: Bencher<'_, '_>) {
    let with_key = with_key();
    let recorder = with_key.keyrack.recorder();
    let make_room = || {
        if recorder.waiting() > 1000 {
            recorder.empty_ring(with_key.keyrack.clock());
        }
    };
    bencher.with_inputs(make_room).bench_values(|()| with_key.verify());
}

#[divan::bench]
fn write_an_answer(bencher: Bencher<'_, '_>) {
    let with_key = with_key();
    let response = with_key.verify();
    bencher.bench(|| serde_json::to_vec(black_box(&response)).is_ok());
}

const EVENTS: usize = 500;

/// What an event costs altogether: it is made, put into the ring, taken out of it, written and counted.
#[divan::bench]
fn record_an_event(bencher: Bencher<'_, '_>) {
    let (with_key, folder) = (with_key(), tempfile::tempdir().expect("a temporary folder"));
    let recorder = Arc::new(Recorder::default());
    recorder.write_to(Log::open(folder.path(), 1 << 30).expect("a log"));
    bencher.counter(ItemsCount::new(EVENTS)).bench(|| {
        for _ in 0..EVENTS {
            recorder.record(with_key.event());
        }
        recorder.empty_ring(with_key.keyrack.clock())
    });
}
