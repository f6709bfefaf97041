//! Records of earlier formats, as they were: what is read of them becomes records of today.
//!
//! Nothing here changes: the bytes of these formats are on people's disks.

use serde::Deserialize;

use crate::analytics::event::{self, Entry, SOURCE};
use crate::calendar::UnixMs;

/// An event of `keyrack events 1` and `keyrack events 2`. In the second, the number of bytes that were cut follows.
#[derive(Debug, Deserialize)]
pub(super) enum Record<'a> {
    #[serde(borrow)]
    Verification(VerificationRecord<'a>),
    #[serde(borrow)]
    Ratelimit(RatelimitRecord<'a>),
}

#[derive(Debug, Deserialize)]
pub(super) struct VerificationRecord<'a> {
    request_id: &'a str,
    time: UnixMs,
    workspace_id: &'a str,
    api_id: &'a str,
    key_space_id: &'a str,
    key_id: &'a str,
    identity_id: &'a str,
    external_id: &'a str,
    outcome: &'a str,
    #[serde(borrow)]
    tags: Vec<&'a str>,
    spent_credits: i64,
    latency_microseconds: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct RatelimitRecord<'a> {
    request_id: &'a str,
    time: UnixMs,
    workspace_id: &'a str,
    namespace_id: &'a str,
    namespace: &'a str,
    identifier: &'a str,
    override_id: &'a str,
    passed: bool,
    limit: i64,
    remaining: i64,
    reset_at: UnixMs,
    tokens: i64,
    latency_microseconds: u64,
}

impl<'a> Record<'a> {
    /// The same today. What was not kept then is empty.
    pub(super) fn entry(self, cut_bytes: u64) -> Entry<'a> {
        let record = match self {
            Record::Verification(record) => event::Record::Verification(record.today()),
            Record::Ratelimit(record) => event::Record::Ratelimit(record.today()),
        };
        Entry { record, cut_bytes }
    }
}

impl<'a> VerificationRecord<'a> {
    fn today(self) -> event::VerificationRecord<'a> {
        event::VerificationRecord {
            request_id: self.request_id,
            time: self.time,
            workspace_id: self.workspace_id,
            api_id: self.api_id,
            key_space_id: self.key_space_id,
            key_id: self.key_id,
            identity_id: self.identity_id,
            external_id: self.external_id,
            outcome: self.outcome,
            tags: self.tags,
            spent_credits: self.spent_credits,
            latency_microseconds: self.latency_microseconds,
            source: SOURCE,
            app_id: "",
            region: "",
            refused_by: Vec::new(),
            root_key_id: "",
        }
    }
}

impl<'a> RatelimitRecord<'a> {
    fn today(self) -> event::RatelimitRecord<'a> {
        event::RatelimitRecord {
            request_id: self.request_id,
            time: self.time,
            workspace_id: self.workspace_id,
            namespace_id: self.namespace_id,
            namespace: self.namespace,
            identifier: self.identifier,
            override_id: self.override_id,
            passed: self.passed,
            limit: self.limit,
            remaining: self.remaining,
            reset_at: self.reset_at,
            tokens: self.tokens,
            latency_microseconds: self.latency_microseconds,
            root_key_id: "",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use serde_json::{Value, json};

    use crate::analytics::log;

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
    }

    /// What a file holds, as `keyrack events --log` prints it.
    fn printed(path: &Path) -> Vec<Value> {
        let mut printed = Vec::new();
        let is_torn = log::read(path, |entry| {
            printed.push(json!(entry));
            Ok(())
        });
        assert!(!is_torn.unwrap());
        printed
    }

    /// Members that the first two formats do not have.
    fn today(mut then: Value) -> Value {
        if let Some(Value::Object(verification)) = then.get_mut("verification") {
            let new =
                [("source", json!("api")), ("appId", json!("")), ("region", json!("")), ("refusedBy", json!([]))];
            verification.extend(new.map(|(name, value)| (name.to_owned(), value)));
        }
        for kind in then.as_object_mut().unwrap().values_mut().filter_map(Value::as_object_mut) {
            kind.insert("rootKeyId".to_owned(), json!(""));
        }
        then
    }

    #[test]
    fn what_0_1_0_wrote_is_read_as_it_was_printed() {
        for engine in ["sqlite", "postgres"] {
            let folder = fixtures().join("0.1.0");
            let text = fs::read_to_string(folder.join(format!("{engine}.events.jsonl"))).unwrap();
            let then = text.lines().map(|line| today(serde_json::from_str(line).unwrap()));
            let files = log::files(&folder.join(engine).join("events")).unwrap();
            let now: Vec<Value> = files.iter().flat_map(|(path, _)| printed(path)).collect();
            assert_eq!(now, then.collect::<Vec<_>>());
            assert!(now.len() > 30);
        }
    }

    #[test]
    fn the_second_format_is_read_with_what_was_cut() {
        let verification = |outcome: &str, tags: Value, spent: i64| {
            json!({"verification": {
                "requestId": "req_M5x5RCwKfhQFuZ3g", "time": 1_773_576_000_000_i64, "workspaceId": "ws_1e7UVaQ4Nv8yTq1ZbW",
                "apiId": "api_1e7UVaQ4Nv8yTq1ZbX", "keySpaceId": "ks_1e7UVaQ4Nv8yTq1ZbY",
                "keyId": "key_1e7UVaQ4Nv8yTq1ZbZ", "identityId": "id_1e7UVaQ4Nv8yTq1Zba", "externalId": "customer_7",
                "outcome": outcome, "tags": tags, "spentCredits": spent, "latencyMicroseconds": 1906,
            }})
        };
        let ratelimit = json!({"ratelimit": {
            "requestId": "req_1", "time": 1_773_576_000_000_i64, "workspaceId": "ws_1", "namespaceId": "rlns_1",
            "namespace": "emails", "identifier": "🗝", "overrideId": "", "passed": true, "limit": 10,
            "remaining": i64::MAX, "resetAt": 1_773_576_000_001_i64, "tokens": 0, "latencyMicroseconds": 3,
        }, "cutBytes": 4});
        let mut disabled = today(verification("DISABLED", json!([]), 0));
        disabled["cutBytes"] = json!(953);
        let mut limited = today(ratelimit);
        limited["cutBytes"] = json!(4);
        let valid = today(verification("VALID", json!(["a", "b=1"]), 3));
        assert_eq!(printed(&fixtures().join("events/format-2.events")), [valid, limited, disabled]);
    }
}
