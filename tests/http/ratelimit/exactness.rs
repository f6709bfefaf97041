//! Limits on real time: several connections at once, across the ends of windows of a second or two.
//!
//! When exactly the server decided lies between sending and receiving, on the same clock. That is enough for
//! both directions: what passed fits the formula even if everything in doubt is counted in its favour, and
//! what was denied does not fit even if everything in doubt is counted against it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keyrack_test_harness::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::keyrack;

const CONNECTIONS: u64 = 6;
const RUN: Duration = Duration::from_millis(4_200);

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since.as_millis()).expect("it is before the year 292 million")
}

/// A limit under test.
#[derive(Debug, Clone, Copy)]
struct Limit {
    identifier: &'static str,
    limit: i64,
    duration: i64,
}

impl Limit {
    fn check(&self, cost: i64) -> Value {
        json!({"namespace": "mail", "identifier": self.identifier, "limit": self.limit,
               "duration": self.duration, "cost": cost})
    }
}

/// What one request asked of one limit, and when.
#[derive(Debug, Clone, Copy)]
struct Seen {
    sent: i64,
    received: i64,
    cost: i64,
    /// The end of the window that the server decided in.
    reset: i64,
    /// What it said about this limit.
    passed: bool,
    /// Whether it was counted: in a batch only if the others passed too.
    counted: bool,
}

/// One request's answers, one per limit.
type Answered = Vec<Seen>;

/// Asks over several connections at once, with costs of 1 to 3, until the time is up. One limit is asked
/// alone, several all or nothing.
async fn ask_for_a_while(client: &Client, limits: &'static [Limit]) -> Vec<Answered> {
    let (mut tasks, started) = (JoinSet::new(), Instant::now());
    for lane in 0..CONNECTIONS {
        let client = client.clone();
        tasks.spawn(async move {
            let mut answered = Vec::new();
            for turn in 0_u64.. {
                if started.elapsed() > RUN {
                    break;
                }
                answered.push(ask(&client, limits, i64::try_from((lane + turn) % 3).expect("small") + 1).await);
                tokio::time::sleep(Duration::from_millis(3 + (lane * 7 + turn * 5) % 11)).await;
            }
            answered
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

async fn ask(client: &Client, limits: &[Limit], cost: i64) -> Answered {
    let sent = now_ms();
    let (answer, verdict) = match limits {
        [one] => (client.call("ratelimit.limit", one.check(cost)).await.expect(200), "success"),
        _ => {
            let checks: Vec<Value> = limits.iter().map(|limit| limit.check(cost)).collect();
            (client.call("ratelimit.multiLimit", json!(checks)).await.expect(200), "passed")
        }
    };
    let received = now_ms();
    let data = answer.data();
    let counted = data[verdict] == true;
    let each = data.get("limits").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![data.clone()]);
    let seen = |one: &Value| {
        let reset = one["reset"].as_i64().expect("a time");
        Seen { sent, received, cost, reset, passed: one[verdict] == true, counted }
    };
    each.iter().map(seen).collect()
}

/// What was admitted in the window that ends at `reset`, of those that `which` accepts.
fn admitted(all: &[Seen], reset: i64, which: impl Fn(&Seen) -> bool) -> i64 {
    all.iter().filter(|seen| seen.counted && seen.reset == reset && which(seen)).map(|seen| seen.cost).sum()
}

/// How much of the window before still weighs, at an instant that is moved into the window if it is outside.
fn weight(all: &[Seen], one: &Seen, at: i64, duration: i64) -> i64 {
    let left = one.reset - at.clamp(one.reset - duration, one.reset - 1);
    admitted(all, one.reset - duration, |_| true) * left / duration
}

/// The least that can have been used when `one` was decided, with its own cost.
fn least(all: &[Seen], one: &Seen, duration: i64) -> i64 {
    let before = admitted(all, one.reset, |other| other.received < one.sent);
    before + weight(all, one, one.received, duration) + one.cost
}

/// The most that can have been used when `one` was refused, with its own cost.
fn most(all: &[Seen], one: &Seen, duration: i64) -> i64 {
    let before = admitted(all, one.reset, |other| other.sent <= one.received);
    before + weight(all, one, one.sent, duration) + one.cost
}

/// Holds one limit's answers against the formula; says how many passed and how many did not.
fn assert_exact(limit: Limit, all: &[Seen]) -> (usize, usize) {
    for one in all {
        let Limit { limit: most_allowed, duration, .. } = limit;
        let total = admitted(all, one.reset, |_| true);
        assert!(total <= most_allowed, "{total} admitted in one window of {limit:?}");
        if one.passed {
            let used = least(all, one, duration);
            assert!(used <= most_allowed, "{limit:?} let {one:?} pass with at least {used} used");
        } else {
            let used = most(all, one, duration);
            assert!(used > most_allowed, "{limit:?} refused {one:?} with at most {used} used");
        }
    }
    let windows = all.iter().map(|one| one.reset).collect::<std::collections::BTreeSet<_>>();
    assert!(windows.len() >= 3, "the run did not cross the ends of windows: {windows:?}");
    let passed = all.iter().filter(|one| one.passed).count();
    (passed, all.len() - passed)
}

#[tokio::test]
async fn single_checks_follow_the_formula_across_windows() {
    const LIMITS: &[Limit] = &[Limit { identifier: "single", limit: 60, duration: 1_000 }];
    let server = keyrack().await;
    ask(&server, LIMITS, 0).await;
    let answered = ask_for_a_while(&server, LIMITS).await;
    let (passed, refused) = assert_exact(LIMITS[0], &answered.concat());
    assert!(passed > 30 && refused > 30, "{passed} passed, {refused} refused: the limit was never in play");
}

#[tokio::test]
async fn all_or_nothing_follows_the_formula_across_windows() {
    const LIMITS: &[Limit] = &[
        Limit { identifier: "short", limit: 60, duration: 1_000 },
        Limit { identifier: "long", limit: 80, duration: 1_400 },
    ];
    let server = keyrack().await;
    ask(&server, LIMITS, 0).await;
    let answered = ask_for_a_while(&server, LIMITS).await;
    for (place, limit) in LIMITS.iter().enumerate() {
        let seen: Vec<Seen> = answered.iter().map(|one| one[place]).collect();
        let (passed, refused) = assert_exact(*limit, &seen);
        assert!(passed > 30 && refused > 5, "{limit:?}: {passed} passed, {refused} refused");
    }
    for one in &answered {
        assert_eq!(one[0].counted, one[0].passed && one[1].passed, "{one:?}");
    }
}
