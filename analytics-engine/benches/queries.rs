//! What questions cost over a folder of stored events, and what ClickHouse is asked to compare.
//!
//! ```sh
//! cargo bench -p keyrack-analytics-engine --bench storage -- 10000000 /tmp/events     # leaves them there
//! cargo bench -p keyrack-analytics-engine --bench queries -- /tmp/events > /tmp/asked
//! python3 analytics-engine/benches/compare.py /tmp/asked                              # after `pip install chdb-core`
//! ```
//!
//! Each line is JSON: the name of a question, the milliseconds of each time it was asked (the first is not counted), the rows
//! of its answer, and the same question printed for ClickHouse over the same Parquet files. It is asked by the workspace
//! with most events.

#![expect(clippy::print_stdout, reason = "it prints what compare.py reads")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyrack_analytics_engine::Embedded;
use keyrack_analytics_engine::storage::{Settings, Stored, Warehouse};
use keyrack_core::analytics::engine::{Engine as _, Lane, Limits};
use keyrack_core::analytics::sql::tables::{Table, Tables};
use keyrack_core::analytics::sql::tree::Checked;
use keyrack_core::analytics::sql::{Asked, check, clickhouse};

const LIMITS: Limits =
    Limits { time: Duration::from_secs(60), memory_bytes: 1 << 30, answer_bytes: 64 << 20, lane: Lane::Questions };
const TIMES: usize = 7;

/// Questions, by name. `{key}` is the key with most events, `{end}` the last event.
const QUESTIONS: [(&str, &str); 12] = [
    (
        "daily counts by outcome",
        "SELECT toStartOfDay(fromUnixTimestamp64Milli(time)) AS day, outcome, count() AS n FROM key_verifications_v1 \
         GROUP BY day, outcome ORDER BY day, outcome",
    ),
    (
        "top ten keys",
        "SELECT key_id, count() AS n FROM key_verifications_v1 GROUP BY key_id ORDER BY n DESC, key_id LIMIT 10",
    ),
    (
        "hours of one key",
        "SELECT toStartOfHour(fromUnixTimestamp64Milli(time)) AS hour, count() AS n FROM key_verifications_v1 \
         WHERE key_id = '{key}' GROUP BY hour ORDER BY hour",
    ),
    (
        "rate of errors by day",
        "SELECT toStartOfDay(fromUnixTimestamp64Milli(time)) AS day, countIf(outcome != 'VALID') / count() AS rate \
         FROM key_verifications_v1 GROUP BY day ORDER BY day",
    ),
    (
        "counts by tag",
        "SELECT arrayJoin(tags) AS tag, count() AS n FROM key_verifications_v1 GROUP BY tag ORDER BY n DESC, tag LIMIT 20",
    ),
    (
        "days of one API",
        "SELECT toStartOfDay(fromUnixTimestamp64Milli(time)) AS day, count() AS n FROM key_verifications_v1 \
         WHERE api_id = '{api}' GROUP BY day ORDER BY day",
    ),
    (
        "different keys and p95 by day",
        "SELECT toStartOfDay(fromUnixTimestamp64Milli(time)) AS day, uniq(key_id) AS keys, quantile(0.95)(latency) AS p95 \
         FROM key_verifications_v1 GROUP BY day ORDER BY day",
    ),
    (
        "last day by outcome",
        "SELECT outcome, count() AS n FROM key_verifications_v1 WHERE time >= {end} - 86400000 GROUP BY outcome \
         ORDER BY outcome",
    ),
    (
        "last fifty of one key",
        "SELECT * FROM key_verifications_v1 WHERE key_id = '{key}' ORDER BY time DESC, request_id LIMIT 50",
    ),
    (
        "days of one key, from sums",
        "SELECT time, SUM(count) AS n FROM key_verifications_per_day_v1 WHERE key_id = '{key}' GROUP BY time ORDER BY time",
    ),
    (
        "days by outcome, from sums",
        "SELECT time, outcome, SUM(count) AS n FROM key_verifications_per_day_v1 GROUP BY time, outcome ORDER BY time, outcome",
    ),
    (
        "top ten customers, from sums",
        "SELECT external_id, SUM(count) AS n FROM key_verifications_per_day_v1 GROUP BY external_id ORDER BY n DESC, \
         external_id LIMIT 10",
    ),
];

/// What a question is asked about.
struct Subject {
    workspace_id: String,
    key_id: String,
    api_id: String,
    end: i64,
}

fn checked(statement: &str, subject: &Subject) -> Checked {
    let statement = statement
        .replace("{key}", &subject.key_id)
        .replace("{api}", &subject.api_id)
        .replace("{end}", &subject.end.to_string());
    let asked = Asked {
        operation: Tables::Verifications,
        workspace_id: subject.workspace_id.clone(),
        narrowed: None,
        retention_days: 0,
        now: keyrack_core::calendar::UnixMs::new(subject.end),
        most_rows: 10_000_000,
        reports: false,
    };
    check(&statement, &asked).expect("a statement that can be checked")
}

/// The workspace with most events, of which little is known yet.
fn busiest(warehouse: &Warehouse) -> Subject {
    let snapshot = warehouse.snapshot().expect("a snapshot");
    let files = snapshot.files(Stored::Verifications);
    let heaviest = files.iter().filter_map(|file| file.heaviest().first());
    let (workspace_id, _) = heaviest.max_by_key(|(_, rows)| *rows).expect("files of events").clone();
    let end = files.iter().map(|file| file.last_time().get()).max().expect("files of events");
    Subject { workspace_id, key_id: String::new(), api_id: String::new(), end }
}

/// The files of a table, for ClickHouse.
fn files_of(folder: &Path, table: &Table) -> String {
    let name = if table.name.contains("_per_day_") { Stored::VerificationsPerDay } else { Stored::Verifications };
    format!("file('{}/{}-*.parquet', Parquet)", folder.display(), name.name())
}

#[tokio::main]
async fn main() {
    // Cargo adds `--bench`.
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).expect("a folder of events");
    let folder = Path::new(&folder);
    let warehouse = Arc::new(Warehouse::open(folder, Settings::default()).expect("stored events"));
    let engine = Embedded::over(warehouse.clone(), 2);
    let mut subject = busiest(&warehouse);
    for (member, column) in [("key", "key_id"), ("api", "api_id")] {
        let top = format!(
            "SELECT {column} AS a, count() AS n FROM key_verifications_v1 GROUP BY a ORDER BY n DESC LIMIT 1"
        );
        let rows = engine.query(&checked(&top, &subject), LIMITS).await.expect("an answer").rows;
        let id = rows[0][0].as_str().expect("an id").to_owned();
        if member == "key" { subject.key_id = id } else { subject.api_id = id }
    }
    for (name, question) in QUESTIONS {
        let statement = checked(question, &subject);
        let (mut took, mut rows) = (Vec::new(), 0);
        for _ in 0..=TIMES {
            let began = Instant::now();
            rows = engine.query(&statement, LIMITS).await.expect("an answer").rows.len();
            took.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        let printed = clickhouse::print(&statement, &|table| files_of(folder, table));
        println!("{}", serde_json::json!({"name": name, "ms": took[1..], "rows": rows, "clickhouse": printed}));
    }
}
