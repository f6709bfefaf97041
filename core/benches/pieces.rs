//! What the pure pieces of the hot path cost, one by one.
//!
//! ```sh
//! cargo bench -p keyrack-core             # all
//! cargo bench -p keyrack-core -- counter  # some
//! ```

use std::hint::black_box;
use std::sync::atomic::{AtomicI64, Ordering};

use divan::Bencher;
use divan::counter::ItemsCount;
use keyrack_core::Keyrack;
use keyrack_core::clock::Clock;
use keyrack_core::keys::secret;
use keyrack_core::ratelimit::counters::memory::{CellKey, CellScope, Check, MemoryCounters};
use keyrack_core::ratelimit::override_rules::{OverrideRule, OverrideRules};
use keyrack_core::ratelimit::window::Window;
use keyrack_core::rbac::query::Query;
use keyrack_core::setup;
use keyrack_core::store::Location;

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

/// A Keyrack with nothing but its first root key, and that key.
fn first_start() -> (tempfile::TempDir, Keyrack, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (keyrack, root_key) = runtime.expect("a runtime").block_on(async {
        let location = Location::Sqlite(folder.path().join("keyrack.db"));
        let keyrack = Keyrack::open(&location, Clock::system()).await.expect("it opens");
        let kept = std::sync::Mutex::new(String::new());
        let keep = |root_key: &secret::Secret| {
            root_key.expose().clone_into(&mut kept.lock().expect("one thread"));
            Ok(())
        };
        setup::first_start(&keyrack, keep).await.expect("it is set up");
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
    bencher.bench(|| counters.check(black_box(&check("user_42", i64::MAX)), NOW));
}

#[divan::bench]
fn counter_that_is_full(bencher: Bencher<'_, '_>) {
    let counters = MemoryCounters::new();
    counters.check(&check("user_42", 1), NOW);
    bencher.bench(|| counters.check(black_box(&check("user_42", 1)), NOW));
}

/// With a cap of 100 000, so that most of these take the place of another.
#[divan::bench]
fn counter_that_is_new(bencher: Bencher<'_, '_>) {
    let (counters, next) = (MemoryCounters::with_room_for(100_000), AtomicI64::new(0));
    let name = || format!("user_{}", next.fetch_add(1, Ordering::Relaxed));
    bencher.with_inputs(name).bench_refs(|name| counters.check(&check(name, 100), NOW));
}

#[divan::bench(args = [1, 2, 8, 100])]
fn counters_all_or_nothing(bencher: Bencher<'_, '_>, size: usize) {
    let counters = MemoryCounters::new();
    let names: Vec<String> = (0..size).map(|number| format!("user_{number}")).collect();
    let checks: Vec<Check<'_>> = names.iter().map(|name| check(name, i64::MAX)).collect();
    bencher.counter(ItemsCount::new(size)).bench(|| counters.check_all(black_box(&checks), NOW));
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
        created_at: NOW,
    };
    let rules = OverrideRules::new((0..patterns).map(rule).collect());
    let identifier = format!("team_{:03}_somebody@example.com", patterns - 1);
    assert!(rules.find(&identifier).is_some());
    bencher.bench(|| rules.find(black_box(&identifier)).map(|rule| rule.limit));
}
