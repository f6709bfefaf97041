//! Every change that can change the outcome of a verification, a limit or a root key: the very next request of the
//! same process sees it, and within a second so does another process on the same database.

mod keys;
mod limits;
mod rbac;
mod root_keys;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use keyrack_test_harness::{Answer, Client, Server, changing_operations};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::changes::Probe;
use crate::fixture::{NewKey, merged, new_key};
use crate::{keyrack, program};

/// How long another process may answer from before a change.
const PATIENCE: Duration = Duration::from_secs(1);

/// Operations after which nothing that was asked before is answered otherwise.
const WITHOUT_OUTCOME: [(&str, &str); 7] = [
    ("apis.createApi", "a new API has no keys"),
    ("identities.createIdentity", "a new identity owns no keys"),
    ("keys.verifyKey", "what it spends is no cached state: each deduction asks the database"),
    ("permissions.createPermission", "a new permission is held by nobody"),
    ("permissions.createRole", "a new role is held by nobody"),
    ("ratelimit.limit", "a namespace that is created on first use changes no limit"),
    ("ratelimit.multiLimit", "a namespace that is created on first use changes no limit"),
];

/// A change, and what depends on it.
struct Case {
    /// Which member or which way, where an operation has several.
    about: &'static str,
    operation: &'static str,
    body: Value,
    watched: Watched,
    after: Value,
}

/// The request whose answer changes.
enum Watched {
    /// It is known before, and then its answer has these members.
    Known(Probe, Value),
    /// It is about what the change makes and answers, at this place of its data.
    Made(&'static str, fn(&str) -> Probe),
}

fn case(about: &'static str, operation: &'static str, body: Value) -> Case {
    let watched = Watched::Made("", Probe::root_key);
    Case { about, operation, body, watched, after: Value::Null }
}

impl Case {
    /// The probe's answer has the members of `before`, and of `after` when the change is done; null is absent.
    fn turns(mut self, probe: Probe, before: Value, after: Value) -> Self {
        self.watched = Watched::Known(probe, before);
        self.after = after;
        self
    }

    /// The probe of what is answered has the members of `after`.
    fn makes(mut self, pointer: &'static str, probe: fn(&str) -> Probe, after: Value) -> Self {
        self.watched = Watched::Made(pointer, probe);
        self.after = after;
        self
    }

    fn name(&self) -> String {
        format!("{} {}", self.operation, self.about)
    }

    fn probe(&self, answer: &Answer) -> Probe {
        match &self.watched {
            Watched::Known(probe, _) => probe.clone(),
            Watched::Made(pointer, probe) => {
                let made = answer.data().pointer(pointer).and_then(Value::as_str);
                probe(made.unwrap_or_else(|| panic!("{}: no {pointer}", self.name())))
            }
        }
    }
}

/// The answer of a verification with this code.
fn code(code: &str) -> Value {
    json!({ "code": code })
}

/// Where cases are set up: an API, and names that no other case uses.
struct Stage<'a> {
    server: &'a Server,
    api: String,
    migration: String,
    used: u32,
}

impl Stage<'_> {
    fn name(&mut self, what: &str) -> String {
        self.used += 1;
        format!("{what}.{}", self.used)
    }

    async fn key(&self, members: Value) -> NewKey {
        new_key(self.server, &self.api, members).await
    }

    async fn call(&self, operation: &str, body: Value) -> Answer {
        self.server.call(operation, body).await.expect(200)
    }
}

/// Whether an answer has these members, at any depth; null stands for an absent one, an object for its members.
fn has(answer: &Value, due: &Value) -> bool {
    match due {
        Value::Object(members) => members.iter().all(|(name, due)| has(&answer[name.as_str()], due)),
        Value::Array(items) if !items.is_empty() => {
            answer.as_array().is_some_and(|all| all.len() == items.len())
                && items.iter().enumerate().all(|(at, due)| has(&answer[at], due))
        }
        other => answer == other,
    }
}

/// Waits for the other process, whose time began with the answer of the change.
async fn seen_by_other(other: Client, name: String, probe: Probe, due: Value, changed: Instant) {
    loop {
        let asked = Instant::now();
        let answer = probe.answer(&other).await;
        if has(&answer, &due) {
            return;
        }
        let late = asked - changed;
        assert!(late < PATIENCE, "{name}: after {late:?} the other process answers {answer}, not {due}");
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

async fn cases(server: &Server) -> Vec<Case> {
    let api = crate::fixture::new_api(server).await;
    let migration = crate::keys::migrate::new_migration(server, "sha256");
    let mut stage = Stage { server, api, migration, used: 0 };
    let mut all = keys::cases(&mut stage).await;
    all.extend(keys::links(&mut stage).await);
    all.extend(rbac::cases(&mut stage).await);
    all.extend(limits::cases(&mut stage).await);
    all.extend(root_keys::cases(&mut stage).await);
    all
}

#[tokio::test]
async fn a_change_counts_at_once_here_and_within_a_second_in_another_process() {
    let server = program().on_engine().await.start().await;
    let other = server.program().start().await;
    let cases = cases(&server).await;
    let mut watchers = JoinSet::new();
    for case in &cases {
        if let Watched::Known(probe, before) = &case.watched {
            let answer = probe.answer(&server).await;
            assert!(has(&answer, before), "{}: before the change {answer}, not {before}", case.name());
            assert!(!has(&answer, &case.after), "{}: nothing would change", case.name());
            let name = format!("before {}", case.name());
            seen_by_other(other.client(), name, probe.clone(), before.clone(), Instant::now()).await;
        }
    }
    for case in &cases {
        let done = server.call(case.operation, case.body.clone()).await;
        let changed = Instant::now();
        let probe = case.probe(&done.expect(200));
        let answer = probe.answer(&server).await;
        assert!(has(&answer, &case.after), "{}: the next request is answered {answer}", case.name());
        let watcher = seen_by_other(other.client(), case.name(), probe, case.after.clone(), changed);
        watchers.spawn(watcher);
    }
    watchers.join_all().await;
}

#[tokio::test]
async fn every_changing_operation_is_among_the_cases_or_has_a_reason() {
    let server = keyrack().await;
    let tried: BTreeSet<&str> = cases(&server).await.iter().map(|case| case.operation).collect();
    for operation in changing_operations(&server).await {
        let reason = WITHOUT_OUTCOME.iter().any(|(known, _)| *known == operation);
        assert!(tried.contains(operation) != reason, "{operation}: a case or a reason, one of them");
    }
}

/// A verification with these further members.
fn verification(key: &NewKey, members: Value) -> Probe {
    Probe::verification_with(merged(json!({"key": key.key, "credits": {"cost": 0}}), members))
}

/// A verification that asks for a permission.
fn asking(key: &NewKey, permission: &str) -> Probe {
    verification(key, json!({ "permissions": permission }))
}
