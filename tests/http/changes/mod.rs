//! For every operation that changes something, requests that change all that it can: what it must leave in the
//! audit log, and what answers depend on the thing that is changed.

mod atomicity;
mod audit_events;
mod disconnects;
mod invalidation;
mod keys;
mod limits;
mod rbac;
mod root_keys;
mod scene;

use keyrack_test_harness::{Answer, Client, Program, Server, changing_operations};
use serde_json::{Value, json};

use crate::fixture::WINDOW;
use crate::program;

/// What changes nothing that a transaction protects as a whole.
pub(crate) const NO_CHANGES: [(&str, &str); 1] = [(
    "keys.verifyKey",
    "spends credits in a statement of its own; see atomicity::a_failed_deduction_spends_nothing",
)];

/// A request that changes something, everything that it needs being there.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) operation: &'static str,
    pub(crate) body: Value,
    /// The events it writes, those of one event name in their order. Several groups where an operation does
    /// the same for several things, one after the other.
    pub(crate) due: Vec<Vec<Due>>,
    pub(crate) log: Log,
    /// Requests whose answers depend on what is changed.
    pub(crate) probes: Vec<Probe>,
}

impl Change {
    fn new(operation: &'static str, body: Value, due: Vec<Due>) -> Self {
        Change { operation, body, due: vec![due], log: Log::Own, probes: Vec::new() }
    }

    fn probed(mut self, probes: impl IntoIterator<Item = Probe>) -> Self {
        self.probes.extend(probes);
        self
    }
}

/// Whose audit log tells of a change.
#[derive(Debug)]
pub(crate) enum Log {
    /// That of the caller's workspace.
    Own,
    /// That of another workspace, which this client reads.
    Of(Client),
    /// That of a new workspace, which the answered root key reads.
    OfNew,
}

/// An event that is due: its name and its targets' ids, in order.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) event: &'static str,
    pub(crate) targets: Vec<Named>,
}

fn due(event: &'static str, targets: impl IntoIterator<Item = Named>) -> Due {
    Due { event, targets: targets.into_iter().collect() }
}

/// How the id of a target is known.
#[derive(Debug, Clone)]
pub(crate) enum Named {
    Id(String),
    /// A member of the answer's data, by its pointer.
    Answered(&'static str),
    /// The id of the root key whose secret is this member of the answer's data.
    AnsweredRootKey(&'static str),
    Permission(String),
    Role(String),
    Identity(String),
    Namespace(String),
    /// A rate limit by the external id of its identity and its name.
    LimitOf(String, &'static str),
}

impl Named {
    /// The id, after the change.
    pub(crate) async fn id(&self, client: &Client, answer: &Answer) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no id: {value}")).to_owned();
        let member = |pointer: &str| text(answer.data().pointer(pointer).expect("a member of the answer"));
        let read = async |operation: &str, body: Value| client.call(operation, body).await.expect(200);
        match self {
            Named::Id(id) => id.clone(),
            Named::Answered(pointer) => member(pointer),
            Named::AnsweredRootKey(pointer) => {
                let owner = client.with_key(&member(pointer));
                let overview = owner.call("workspace.getOverview", json!({})).await.expect(200);
                text(&overview.data()["rootKey"]["keyId"])
            }
            Named::Permission(slug) => {
                read("permissions.getPermission", json!({"permission": slug})).await.text_of("id")
            }
            Named::Role(name) => read("permissions.getRole", json!({"role": name})).await.text_of("id"),
            Named::Identity(external_id) => {
                read("identities.getIdentity", json!({"identity": external_id})).await.text_of("id")
            }
            Named::Namespace(name) => {
                let found = read("ratelimit.listNamespaces", json!({"search": name})).await;
                text(&found.data()[0]["id"])
            }
            Named::LimitOf(external_id, name) => {
                let identity = read("identities.getIdentity", json!({"identity": external_id})).await;
                let limits = identity.data()["ratelimits"].as_array().cloned().unwrap_or_default();
                let limit = limits.iter().find(|limit| limit["name"] == *name);
                text(&limit.unwrap_or_else(|| panic!("no limit {name}"))["id"])
            }
        }
    }
}

/// A request that changes nothing and whose answer depends on the state of one thing.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    /// Another root key than that of the asking client.
    root_key: Option<String>,
    operation: &'static str,
    body: Value,
}

impl Probe {
    /// A verification that costs nothing.
    pub(crate) fn verification(key: &str) -> Self {
        Probe::verification_with(json!({"key": key, "credits": {"cost": 0}}))
    }

    /// A verification with this body.
    pub(crate) fn verification_with(body: Value) -> Self {
        Probe { root_key: None, operation: "keys.verifyKey", body }
    }

    /// The same with another root key than that of the asking client.
    pub(crate) fn by(mut self, root_key: &str) -> Self {
        self.root_key = Some(root_key.to_owned());
        self
    }

    /// A check of a limit that costs nothing.
    pub(crate) fn limit(namespace: &str, identifier: &str) -> Self {
        let body =
            json!({"namespace": namespace, "identifier": identifier, "limit": 9, "duration": WINDOW, "cost": 0});
        Probe { root_key: None, operation: "ratelimit.limit", body }
    }

    /// A request with this root key.
    pub(crate) fn root_key(root_key: &str) -> Self {
        Probe { root_key: None, operation: "workspace.getOverview", body: json!({}) }.by(root_key)
    }

    /// The answer, without what differs from call to call or is counted by each process for itself.
    pub(crate) async fn answer(&self, client: &Client) -> Value {
        let client = self.root_key.as_ref().map_or_else(|| client.clone(), |key| client.with_key(key));
        let answer = client.call(self.operation, self.body.clone()).await;
        if answer.status != 200 {
            return json!({"status": answer.status, "code": answer.code()});
        }
        let mut data = answer.data().clone();
        for counted in ["counts", "remaining", "reset"] {
            data.as_object_mut().and_then(|members| members.remove(counted));
        }
        let limits = data.get_mut("ratelimits").and_then(Value::as_array_mut);
        for limit in limits.into_iter().flatten() {
            limit["remaining"] = Value::Null;
            limit["reset"] = Value::Null;
        }
        data
    }
}

/// The answers of all probes of a change.
pub(crate) async fn observed(client: &Client, change: &Change) -> Vec<Value> {
    let mut answers = Vec::new();
    for probe in &change.probes {
        answers.push(probe.answer(client).await);
    }
    answers
}

/// A program that can do all changes: with a master key, and behind a proxy that it trusts.
pub(crate) async fn able_program() -> Program {
    let program = program()
        .env("KEYRACK_MASTER_KEY", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")
        .env("KEYRACK_TRUSTED_PROXIES", "127.0.0.1");
    program.on_engine().await
}

/// At least one change for every changing operation of the catalogue, with all that they need.
pub(crate) async fn changes(server: &Server) -> Vec<Change> {
    let mut all = Vec::new();
    for (number, operation) in changing_operations(server).await.into_iter().enumerate() {
        if NO_CHANGES.iter().any(|(known, _)| *known == operation) {
            continue;
        }
        let tag = format!("tag{number}");
        let made = match operation.split_once('.').map(|(namespace, _)| namespace) {
            Some("apis" | "keys") => keys::changes(server, operation, &tag).await,
            Some("identities" | "permissions") => rbac::changes(server, operation, &tag).await,
            Some("ratelimit") => limits::changes(server, operation, &tag).await,
            _ => root_keys::changes(server, operation, &tag).await,
        };
        assert!(!made.is_empty() && made.iter().all(|change| change.operation == operation), "{operation}");
        all.extend(made);
    }
    all
}
