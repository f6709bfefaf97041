//! What questions without SQL cost over a folder of stored events.
//!
//! ```sh
//! cargo bench -p keyrack-analytics-engine --bench storage -- 10000000 /tmp/events     # leaves them there
//! cargo bench -p keyrack-analytics-engine --bench reports -- /tmp/events
//! ```
//!
//! They are asked by the workspace with most events, at the time of the last one; each so many times, the first of which is not
//! counted.

#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use keyrack_analytics_engine::Embedded;
use keyrack_analytics_engine::storage::{Settings, Stored, Warehouse};
use keyrack_core::analytics::reports::events::{Listed, Wanted};
use keyrack_core::analytics::reports::measures::Order;
use keyrack_core::analytics::reports::usage::{Bucket, By, Filters, Groups, Question};
use keyrack_core::analytics::reports::{Reader, Values};
use keyrack_core::analytics::sql::tables::Tables;
use keyrack_core::calendar::{DAY_MS, UnixMs};
use keyrack_core::clock::Clock;
use keyrack_core::keyrack::Keyrack;
use keyrack_core::store::Location;

const TIMES: usize = 40;

/// As much of a verification as a page shows.
struct Shown(UnixMs, String);

impl Listed for Shown {
    const OF: Tables = Tables::Verifications;
    const TABLE: &'static str = "key_verifications_v1";
    const COLUMNS: &'static str =
        "api_id, key_id, identity_id, external_id, outcome, refused_by, tags, spent_credits, latency, root_key_id";
    const ORDER: &'static str = "key_id, outcome, latency";

    fn read(time: UnixMs, request_id: String, _: Values) -> Self {
        Shown(time, request_id)
    }

    fn place(&self) -> (UnixMs, &str) {
        (self.0, &self.1)
    }
}

/// The workspace with most events, and the time of the last one.
fn reader(warehouse: &Warehouse) -> Reader {
    let snapshot = warehouse.snapshot().expect("a snapshot");
    let files = snapshot.files(Stored::Verifications);
    let heaviest = files.iter().filter_map(|file| file.heaviest().first());
    let (workspace_id, _) = heaviest.max_by_key(|(_, rows)| *rows).expect("files of events").clone();
    let now = files.iter().map(|file| file.last_time()).max().expect("files of events");
    let of = Tables::Verifications;
    Reader { of, workspace_id, scopes: None, key_spaces: None, retention_days: 0, now }
}

fn question(now: UnixMs, days: i64, bucket: Bucket) -> Question {
    let (start, end) = (bucket.around(now.minus(days * DAY_MS)).0, bucket.around(now).1);
    Question { start, end, bucket, filters: Filters::default(), outcomes: Vec::new(), groups: None }
}

fn groups(by: By) -> Option<Groups> {
    Some(Groups { by, order: Order::Total, limit: 10, series: false })
}

async fn usage(keyrack: &Keyrack, reader: &Reader, question: &Question) -> usize {
    let reporting = keyrack.analytics().report(reader).await.expect("a turn");
    let usage = reporting.usage(question).await.expect("an answer");
    usage.series.len() + usage.groups.len()
}

async fn last_fifty(keyrack: &Keyrack, reader: &Reader, filters: &Filters) -> usize {
    let wanted = Wanted::of(filters).page(None, 50);
    let reporting = keyrack.analytics().report(reader).await.expect("a turn");
    reporting.newest::<Shown>(&wanted).await.expect("an answer").0.len()
}

/// Does something so many times, and prints how long it took.
async fn times(name: &str, work: impl AsyncFn() -> usize) {
    let (mut took, mut rows) = (Vec::new(), 0);
    for _ in 0..=TIMES {
        let began = Instant::now();
        rows = work().await;
        took.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let first = took.remove(0);
    took.sort_by(f64::total_cmp);
    let (median, p95) = (took[TIMES / 2], took[TIMES * 95 / 100]);
    println!("| {name} | {rows} | {median:.1} | {p95:.1} | {first:.1} |");
}

#[tokio::main]
async fn main() {
    // Cargo adds `--bench`.
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).expect("a folder of events");
    let warehouse = Arc::new(Warehouse::open(Path::new(&folder), Settings::default()).expect("stored events"));
    let reader = reader(&warehouse);
    let home = tempfile::tempdir().expect("a temporary folder");
    let location = Location::Sqlite(home.path().join("keyrack.db"));
    let keyrack = Keyrack::open(&location, Clock::standing_at(reader.now)).await.expect("a database");
    keyrack.analytics().answer_with(Arc::new(Embedded::over(warehouse, 2)));
    let top = Question { groups: groups(By::Key), ..question(reader.now, 7, Bucket::Day) };
    let reporting = keyrack.analytics().report(&reader).await.expect("a turn");
    let key_id = reporting.usage(&top).await.expect("an answer").groups.remove(0).id;
    drop(reporting);
    let of_key = Filters { key_id: Some(key_id), ..Filters::default() };

    println!("| report | rows | median ms | p95 ms | first ms |\n|---|---|---|---|---|");
    let week = question(reader.now, 7, Bucket::Day);
    times("usage of 7 days", || usage(&keyrack, &reader, &week)).await;
    let hours = question(reader.now, 30, Bucket::Hour);
    times("usage of 30 days by hour", || usage(&keyrack, &reader, &hours)).await;
    let page = Question { filters: of_key.clone(), ..question(reader.now, 30, Bucket::Day) };
    times("a key's page: 30 days and its last 50 verifications", async || {
        usage(&keyrack, &reader, &page).await + last_fifty(&keyrack, &reader, &of_key).await
    })
    .await;
    times("a key's 30 days alone", || usage(&keyrack, &reader, &page)).await;
    times("a key's last 50 verifications alone", || last_fifty(&keyrack, &reader, &of_key)).await;
    let all = Filters::default();
    times("last 50 verifications of all", || last_fifty(&keyrack, &reader, &all)).await;
    times("top ten keys of 7 days", || usage(&keyrack, &reader, &top)).await;
    let customers = Question { groups: groups(By::Identity), ..question(reader.now, 30, Bucket::Day) };
    times("top ten customers of 30 days", || usage(&keyrack, &reader, &customers)).await;
    let tags = Question { groups: groups(By::Tag), ..question(reader.now, 7, Bucket::Day) };
    times("top ten tags of 7 days", || usage(&keyrack, &reader, &tags)).await;
    keyrack.close().await;
}
