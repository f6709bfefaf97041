//! What is stored against what was appended.

mod at_once;
mod blocks;
mod damaged;
mod killed;
mod model;
mod removed;
mod sorted;
mod taken_over;

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use keyrack_core::analytics::event::{RatelimitRecord, Record, VerificationRecord};
use keyrack_core::calendar::{DAY_MS, HOUR_MS, UnixMs};

use super::days::DayNumber;
use super::digest::Digest;
use super::reading::{PORTION, Reading};
use super::*;

/// 2024-02-28, a day before a leap day, at noon.
const BEGIN: i64 = 1_709_121_600_000;

/// An event as tests make them: everything follows from its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Fact {
    number: u64,
    time: i64,
}

const OUTCOMES: [&str; 3] = ["VALID", "RATE_LIMITED", "USAGE_EXCEEDED"];
const TAGS: [&[&str]; 3] = [&[], &["path=/v1/letters"], &["path=/v1/letters", "plan=free"]];

impl Fact {
    fn is_verification(&self) -> bool {
        !self.number.is_multiple_of(3)
    }

    fn request_id(&self) -> String {
        format!("req_{:016}", self.number)
    }

    fn workspace(&self) -> &'static str {
        ["ws_1", "ws_1", "ws_1", "ws_2"][(self.number / 7 % 4) as usize]
    }

    fn api(&self) -> &'static str {
        ["api_1", "api_2"][(self.number / 5 % 2) as usize]
    }

    fn key(&self) -> String {
        format!("key_of_a_certain_length_{}", self.number % 11)
    }

    fn outcome(&self) -> &'static str {
        OUTCOMES[(self.number % OUTCOMES.len() as u64) as usize]
    }

    fn tags(&self) -> &'static [&'static str] {
        TAGS[(self.number / 2 % TAGS.len() as u64) as usize]
    }

    fn refused_by(&self) -> Vec<&'static str> {
        if self.outcome() == "RATE_LIMITED" { vec!["per_minute", "per_day"] } else { vec![] }
    }

    fn passed(&self) -> bool {
        self.number.is_multiple_of(2)
    }

    fn cost(&self) -> i64 {
        (self.number % 4).cast_signed()
    }

    fn latency(&self) -> u64 {
        100 + self.number % 1000
    }

    fn append(&self, appending: &mut Appending<'_>) {
        let (request_id, key) = (self.request_id(), self.key());
        let record = if self.is_verification() {
            Record::Verification(VerificationRecord {
                request_id: &request_id,
                time: UnixMs::new(self.time),
                workspace_id: self.workspace(),
                api_id: self.api(),
                key_space_id: "ks_1",
                key_id: &key,
                identity_id: "",
                external_id: "",
                outcome: self.outcome(),
                tags: self.tags().to_vec(),
                spent_credits: self.cost(),
                latency_microseconds: self.latency(),
                source: "api",
                app_id: "",
                region: "",
                refused_by: self.refused_by(),
                root_key_id: "key_root",
            })
        } else {
            Record::Ratelimit(RatelimitRecord {
                request_id: &request_id,
                time: UnixMs::new(self.time),
                workspace_id: self.workspace(),
                namespace_id: self.api(),
                namespace: "mail",
                identifier: &key,
                override_id: "",
                passed: self.passed(),
                limit: 10,
                remaining: 3,
                reset_at: UnixMs::new(self.time),
                tokens: self.cost(),
                latency_microseconds: self.latency(),
                root_key_id: "key_root",
            })
        };
        appending.add(&record);
    }

    /// What its sum is told apart by, per hour or else by the bucket's name.
    fn sum_key(&self, bucket: &str) -> String {
        let workspace = self.workspace();
        let (api, outcome) = (self.api(), self.outcome());
        let refusal = if self.passed() { "PASSED" } else { "REFUSED" };
        match (self.is_verification(), bucket.contains('h')) {
            (true, true) => format!("{bucket} {workspace} {api} {outcome}"),
            (true, false) => format!("{bucket} {workspace} {} {api} {outcome} {:?}", self.key(), self.tags()),
            (false, true) => format!("{bucket} {workspace} {api} {refusal}"),
            (false, false) => format!("{bucket} {workspace} {api} {}", self.key()),
        }
    }

    fn total(&self) -> Total {
        let passed = i64::from(self.passed());
        let numbers = if self.is_verification() {
            [1, self.cost(), 0, 0]
        } else {
            [1, self.cost(), passed, passed * self.cost()]
        };
        Total { numbers, latency: self.latency(), values: 1, last_time: self.time }
    }
}

/// A sum: how many, cost, how many passed, cost of those; latency in µs, of how many values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Total {
    numbers: [i64; 4],
    latency: u64,
    values: u64,
    last_time: i64,
}

impl Total {
    fn add(&mut self, other: Total) {
        self.numbers.iter_mut().zip(other.numbers).for_each(|(sum, number)| *sum += number);
        self.latency += other.latency;
        self.values += other.values;
        self.last_time = self.last_time.max(other.last_time);
    }
}

type Totals = BTreeMap<String, Total>;

/// The bucket of a time in a table of sums.
fn bucket(table: Stored, time: i64) -> String {
    let day = DayNumber::of(UnixMs::new(time));
    match table {
        Stored::VerificationsPerHour | Stored::RatelimitsPerHour => format!("{}h", time.div_euclid(HOUR_MS)),
        Stored::VerificationsPerMonth | Stored::RatelimitsPerMonth => day.month().to_string(),
        _ => day.to_string(),
    }
}

const SUMS: [Stored; 6] = [
    Stored::VerificationsPerDay,
    Stored::VerificationsPerMonth,
    Stored::VerificationsPerHour,
    Stored::RatelimitsPerDay,
    Stored::RatelimitsPerMonth,
    Stored::RatelimitsPerHour,
];

fn is_of_verifications(table: Stored) -> bool {
    table.name().starts_with("verifications")
}

/// What a table of sums should add up to.
fn expected<'a>(table: Stored, facts: impl IntoIterator<Item = &'a Fact>) -> Totals {
    let mut totals = Totals::new();
    for fact in facts.into_iter().filter(|fact| fact.is_verification() == is_of_verifications(table)) {
        totals.entry(fact.sum_key(&bucket(table, fact.time))).or_default().add(fact.total());
    }
    totals
}

/// What a table of sums does add up to, with what it does not count yet.
fn found(snapshot: &Snapshot, table: Stored) -> Totals {
    let mut totals = Totals::new();
    let uncounted = snapshot.uncounted(table);
    for batch in batches(snapshot.files(table)).chain(batches(uncounted.days)) {
        add_sums(table, &batch, &mut totals);
    }
    for batch in batches(uncounted.raw).chain(uncounted.tail.iter().cloned()) {
        let facts = facts_of(&batch);
        expected(table, &facts).into_iter().for_each(|(key, total)| totals.entry(key).or_default().add(total));
    }
    totals
}

fn batches<'a>(
    files: impl IntoIterator<Item = &'a std::sync::Arc<StoredFile>>,
) -> impl Iterator<Item = RecordBatch> {
    let read = |file: &std::sync::Arc<StoredFile>| -> Vec<RecordBatch> {
        Reading::of(file, PORTION).unwrap().map(Result::unwrap).collect()
    };
    files.into_iter().flat_map(read).collect::<Vec<_>>().into_iter()
}

fn add_sums(table: Stored, batch: &RecordBatch, totals: &mut Totals) {
    let text = |name: &str, row: usize| batch.column_by_name(name).unwrap().as_string_view().value(row).to_owned();
    let integer = |name: &str, row: usize| {
        batch.column_by_name(name).map_or(0, |column| column.as_primitive::<Int64Type>().value(row))
    };
    let is_per_hour = table.name().ends_with("hour");
    let times = super::writing::times(batch).unwrap();
    for row in 0..batch.num_rows() {
        let (bucket, workspace) = (bucket(table, times.value(row)), text("workspace_id", row));
        let key = match (is_of_verifications(table), is_per_hour) {
            (true, true) => format!("{bucket} {workspace} {} {}", text("api_id", row), text("outcome", row)),
            (true, false) => {
                let tags = batch.column_by_name("tags").unwrap().as_list::<i32>().value(row);
                let tags: Vec<_> = tags.as_string_view().iter().flatten().map(str::to_owned).collect();
                let (key, api) = (text("key_id", row), text("api_id", row));
                format!("{bucket} {workspace} {key} {api} {} {tags:?}", text("outcome", row))
            }
            (false, true) => {
                format!("{bucket} {workspace} {} {}", text("namespace_id", row), text("outcome", row))
            }
            (false, false) => {
                format!("{bucket} {workspace} {} {}", text("namespace_id", row), text("identifier", row))
            }
        };
        let numbers = if is_of_verifications(table) {
            [integer("count", row), integer("spent_credits", row), 0, 0]
        } else if is_per_hour {
            let (count, tokens) = (integer("count", row), integer("total_tokens", row));
            if text("outcome", row) == "PASSED" { [count, tokens, count, tokens] } else { [count, tokens, 0, 0] }
        } else {
            ["total", "total_tokens", "passed", "passed_tokens"].map(|name| integer(name, row))
        };
        let latency = batch.column_by_name("latency_sum").unwrap().as_primitive::<Float64Type>().value(row);
        let digest = batch.column_by_name("latency_digest").unwrap().as_binary_view().value(row);
        let total = Total {
            numbers,
            latency: (latency * 1000.0).round() as u64,
            values: Digest::read(digest).unwrap().count(),
            last_time: integer("last_time", row),
        };
        totals.entry(key).or_default().add(total);
    }
}

/// The events of rows, whose every column is what it was.
fn facts_of(batch: &RecordBatch) -> Vec<Fact> {
    let text = |name: &str, row: usize| batch.column_by_name(name).unwrap().as_string_view().value(row).to_owned();
    let integer = |name: &str, row: usize| {
        let column = batch.column_by_name(name).unwrap();
        match column.data_type() {
            DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).cast_signed(),
            _ => column.as_primitive::<Int64Type>().value(row),
        }
    };
    let fact = |row: usize| {
        let number = text("request_id", row).strip_prefix("req_").unwrap().parse().unwrap();
        let fact = Fact { number, time: integer("time", row) };
        assert_eq!([text("workspace_id", row), text("root_key_id", row)], [fact.workspace(), "key_root"]);
        let latency = batch.column_by_name("latency").unwrap().as_primitive::<Float64Type>().value(row);
        assert_eq!((latency * 1000.0).round() as u64, fact.latency());
        if fact.is_verification() {
            assert_eq!([text("key_id", row), text("api_id", row)], [fact.key(), fact.api().to_owned()]);
            assert_eq!(
                (text("outcome", row).as_str(), integer("spent_credits", row)),
                (fact.outcome(), fact.cost())
            );
            let tags = batch.column_by_name("tags").unwrap().as_list::<i32>().value(row);
            assert!(tags.as_string_view().iter().flatten().eq(fact.tags().iter().copied()));
            let refused_by = batch.column_by_name("refused_by").unwrap().as_list::<i32>().value(row);
            assert!(refused_by.as_string_view().iter().flatten().eq(fact.refused_by()));
        } else {
            assert_eq!([text("identifier", row), text("namespace_id", row)], [fact.key(), fact.api().to_owned()]);
            assert_eq!((integer("tokens", row), integer("reset_at", row)), (fact.cost(), fact.time));
            let passed = batch.column_by_name("passed").unwrap().as_boolean().value(row);
            assert_eq!(passed, fact.passed());
        }
        fact
    };
    (0..batch.num_rows()).map(fact).collect()
}

/// The events of the raw tables, sorted.
fn facts(snapshot: &Snapshot) -> Vec<Fact> {
    let mut facts = Vec::new();
    for table in [Stored::Verifications, Stored::Ratelimits] {
        for batch in batches(snapshot.files(table)).chain(snapshot.tail(table).iter().cloned()) {
            facts.extend(facts_of(&batch));
        }
    }
    facts.sort();
    facts
}

/// Appends events: the log is a single file, and an event one byte of it.
fn append(warehouse: &Warehouse, facts: &[Fact]) {
    let passed = passed(warehouse) + facts.len() as u64;
    let mut appending = warehouse.appending().unwrap();
    facts.iter().for_each(|fact| fact.append(&mut appending));
    appending.commit(positions(passed)).unwrap();
}

fn positions(passed: u64) -> Positions {
    serde_json::from_value(serde_json::json!({ "log": passed })).unwrap()
}

/// How far the log was read.
fn passed(warehouse: &Warehouse) -> u64 {
    serde_json::to_value(warehouse.positions()).unwrap()["log"].as_u64().unwrap_or(0)
}

fn open(folder: &Path) -> Warehouse {
    Warehouse::open(folder, Settings::default()).unwrap()
}

/// So many days after the beginning.
fn day_after(days: i64) -> UnixMs {
    UnixMs::new(BEGIN + days * DAY_MS)
}

/// That all tables of sums have what they should.
fn assert_sums<'a>(snapshot: &Snapshot, facts: impl IntoIterator<Item = &'a Fact> + Clone) {
    for table in SUMS {
        assert_eq!(found(snapshot, table), expected(table, facts.clone()), "{table}");
    }
}
