//! The engine's answers are those of ClickHouse: every statement of `tests/analytics/statements.sql`, over the events for
//! which `answers.py` recorded what chdb, which is ClickHouse in process, says.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keyrack_core::analytics::engine::{Engine as _, Lane, Limits, Rows};
use keyrack_core::analytics::event::{RatelimitRecord, Record, VerificationRecord};
use keyrack_core::analytics::sql::tables::Tables;
use keyrack_core::analytics::sql::{Asked, check};
use keyrack_core::calendar::UnixMs;
use serde_json::Value;

use crate::Embedded;
use crate::storage::{Settings, Warehouse};

const LIMITS: Limits =
    Limits { time: Duration::from_secs(60), memory_bytes: 1 << 30, answer_bytes: 16 << 20, lane: Lane::Questions };

fn recorded() -> Value {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/analytics/answers.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "latencies are few ms")]
fn microseconds(event: &Value) -> u64 {
    (event["latency"].as_f64().unwrap() * 1000.0).round() as u64
}

fn verification(event: &Value) -> Record<'_> {
    let text = |name: &str| event[name].as_str().unwrap();
    Record::Verification(VerificationRecord {
        request_id: text("request_id"),
        time: UnixMs::new(event["time"].as_i64().unwrap()),
        workspace_id: text("workspace_id"),
        api_id: text("api_id"),
        key_space_id: text("key_space_id"),
        key_id: text("key_id"),
        identity_id: text("identity_id"),
        external_id: text("external_id"),
        outcome: text("outcome"),
        tags: texts(&event["tags"]),
        spent_credits: event["spent_credits"].as_i64().unwrap(),
        latency_microseconds: microseconds(event),
        source: text("source"),
        app_id: text("app_id"),
        region: text("region"),
        refused_by: texts(&event["refused_by"]),
        root_key_id: text("root_key_id"),
    })
}

fn decision(event: &Value) -> Record<'_> {
    let text = |name: &str| event[name].as_str().unwrap();
    let number = |name: &str| event[name].as_i64().unwrap();
    Record::Ratelimit(RatelimitRecord {
        request_id: text("request_id"),
        time: UnixMs::new(number("time")),
        workspace_id: text("workspace_id"),
        namespace_id: text("namespace_id"),
        namespace: text("namespace"),
        identifier: text("identifier"),
        override_id: text("override_id"),
        passed: event["passed"].as_bool().unwrap(),
        limit: number("limit"),
        remaining: number("remaining"),
        reset_at: UnixMs::new(number("reset_at")),
        tokens: number("tokens"),
        latency_microseconds: microseconds(event),
        root_key_id: text("root_key_id"),
    })
}

fn append(warehouse: &Warehouse, recorded: &Value) {
    let positions = warehouse.positions();
    let mut appending = warehouse.appending().unwrap();
    for event in recorded["events"]["key_verifications_v1"].as_array().unwrap() {
        appending.add(&verification(event));
    }
    for event in recorded["events"]["ratelimits_v1"].as_array().unwrap() {
        appending.add(&decision(event));
    }
    appending.commit(positions).unwrap();
}

/// A statement with what ClickHouse answered.
struct Recorded<'a> {
    statement: &'a str,
    marks: Vec<&'a str>,
    rows: &'a [Value],
}

impl Recorded<'_> {
    fn is(&self, mark: &str) -> bool {
        self.marks.contains(&mark)
    }

    fn asked(&self, now: i64) -> Asked {
        Asked {
            operation: if self.is("@ratelimits") { Tables::Ratelimits } else { Tables::Verifications },
            workspace_id: "ws_own".to_owned(),
            narrowed: None,
            retention_days: 0,
            now: UnixMs::new(now),
            most_rows: 10_000_000,
            reports: false,
        }
    }

    /// What is different, if anything.
    async fn difference(&self, engine: &Embedded, now: i64) -> Option<String> {
        let checked = match check(self.statement, &self.asked(now)) {
            Ok(checked) => checked,
            Err(error) => return Some(format!("refused: {error}")),
        };
        let answer = match engine.query(&checked, LIMITS).await {
            Ok(answer) => answer,
            Err(failure) => return Some(format!("{failure:?}")),
        };
        let (mine, theirs) = (self.comparable(&answer), self.theirs());
        let is_same =
            mine.len() == theirs.len() && mine.iter().zip(&theirs).all(|(mine, theirs)| alike(mine, theirs));
        (!is_same).then(|| {
            let at = mine.iter().zip(&theirs).position(|(mine, theirs)| !alike(mine, theirs)).unwrap_or(0);
            format!(
                "{} rows instead of {}; row {at}:\n    {}\n    {}",
                mine.len(),
                theirs.len(),
                mine.get(at).map(Value::to_string).unwrap_or_default(),
                theirs.get(at).map(Value::to_string).unwrap_or_default()
            )
        })
    }

    fn sorts_arrays(&self) -> bool {
        self.statement.contains("groupArray") || self.statement.contains("groupUniqArray")
    }

    fn comparable(&self, answer: &Rows) -> Vec<Value> {
        let rows: Vec<Value> =
            answer.rows.iter().map(|row| plain(&Value::from(row.clone()), self.sorts_arrays(), false)).collect();
        self.in_order(rows)
    }

    fn theirs(&self) -> Vec<Value> {
        self.in_order(self.rows.iter().map(|row| plain(row, self.sorts_arrays(), false)).collect())
    }

    fn in_order(&self, mut rows: Vec<Value>) -> Vec<Value> {
        if !self.is("@ordered") {
            rows.sort_by_key(Value::to_string);
        }
        rows
    }
}

/// A value as both sides write it: ClickHouse writes times as `2026-11-29 10:00:00`.
fn plain(value: &Value, sorts: bool, is_inner: bool) -> Value {
    match value {
        Value::Array(values) => {
            let mut values: Vec<Value> = values.iter().map(|value| plain(value, sorts, true)).collect();
            if sorts && is_inner {
                values.sort_by_key(Value::to_string);
            }
            values.into()
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap();
            serde_json::json!(format!("{number:.9e}").parse::<f64>().unwrap())
        }
        Value::String(text) => time(text).unwrap_or_else(|| text.clone()).into(),
        other => other.clone(),
    }
}

/// RFC 3339 of what ClickHouse writes as a time or a day.
fn time(text: &str) -> Option<String> {
    let shape: String = text.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    match shape.as_str() {
        "0000-00-00" => Some(format!("{text}T00:00:00Z")),
        "0000-00-00 00:00:00" | "0000-00-00 00:00:00.000" => Some(format!("{}Z", text.replace(' ', "T"))),
        _ => None,
    }
}

fn alike(mine: &Value, theirs: &Value) -> bool {
    match (mine, theirs) {
        (Value::Array(mine), Value::Array(theirs)) => {
            mine.len() == theirs.len() && mine.iter().zip(theirs).all(|(mine, theirs)| alike(mine, theirs))
        }
        (Value::Number(mine), Value::Number(theirs)) => {
            let (mine, theirs) = (mine.as_f64().unwrap(), theirs.as_f64().unwrap());
            (mine - theirs).abs() <= 1e-7 * mine.abs().max(theirs.abs())
        }
        // Formatted times are texts to both.
        (Value::String(mine), Value::String(theirs)) => mine == theirs || time(mine).as_deref() == Some(theirs),
        (mine, theirs) => mine == theirs,
    }
}

/// Statements with more than one right answer: ClickHouse gave another one.
const OF_SEVERAL: [&str; 2] = ["if(any(passed), true, false)", "ORDER BY time, key_id, outcome, tags[1] LIMIT 2"];

#[tokio::test]
async fn every_statement_is_answered_as_clickhouse_answers_it_wherever_the_events_are() {
    let folder = tempfile::tempdir().unwrap();
    let recorded = recorded();
    let now = recorded["now"].as_i64().unwrap();
    let open = || Arc::new(Warehouse::open(folder.path(), Settings::default()).unwrap());
    let warehouse = open();
    append(&warehouse, &recorded);
    compare(&warehouse, &recorded, "in memory").await;
    warehouse.flush().unwrap();
    // Days and a month are over, and theirs are sums besides.
    let watch = &mut |_: &_| ControlFlow::Continue(());
    warehouse.compact(UnixMs::new(now + 40 * 86_400_000), watch).unwrap();
    drop(warehouse);
    compare(&open(), &recorded, "compacted, and opened again").await;
}

async fn compare(warehouse: &Arc<Warehouse>, recorded: &Value, place: &str) {
    let now = recorded["now"].as_i64().unwrap();
    let engine = Embedded::over(warehouse.clone(), 2);
    let answers: Vec<Recorded<'_>> = recorded["answers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| Recorded {
            statement: answer["statement"].as_str().unwrap(),
            marks: texts(&answer["marks"]),
            rows: answer["rows"].as_array().unwrap(),
        })
        .collect();
    let mut wrong = Vec::new();
    for answer in answers.iter().filter(|answer| !OF_SEVERAL.iter().any(|one| answer.statement.contains(one))) {
        if let Some(difference) = answer.difference(&engine, now).await {
            wrong.push(format!("{}\n  {difference}", answer.statement));
        }
    }
    assert!(wrong.is_empty(), "{place}: {} of {}:\n{}", wrong.len(), answers.len(), wrong.join("\n"));
}
