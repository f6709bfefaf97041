//! What statements take of memory that want as much as they can get: the limit, and what a few batches of rows take besides.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use keyrack_core::analytics::engine::{Engine as _, Failure, Lane, Limits};
use keyrack_core::analytics::event::{Record, VerificationRecord};
use keyrack_core::analytics::sql::tables::Tables;
use keyrack_core::analytics::sql::{Asked, check};
use keyrack_core::calendar::UnixMs;

use crate::Embedded;
use crate::fixture::{NOW, verification};
use crate::storage::{Settings, Warehouse};

const EVENTS: usize = 24_000;
const MIB: u64 = 1 << 20;
const LIMIT: u64 = 16 * MIB;
/// Beyond the limit: two threads, each with what may be made of a batch, the batch before, and what the allocator keeps.
const BESIDES: u64 = 320 * MIB;

/// Some would go on for hours, and take what they take at once.
fn limits(what: &str) -> Limits {
    let seconds = if what.starts_with("endless") { 4 } else { 60 };
    Limits {
        time: Duration::from_secs(seconds),
        memory_bytes: 16 << 20,
        answer_bytes: 4 << 20,
        lane: Lane::Questions,
    }
}

/// Wide rows: each has a kilobyte of texts of its own.
fn append(warehouse: &Warehouse) {
    let positions = warehouse.positions();
    let mut appending = warehouse.appending().unwrap();
    for number in 0..EVENTS {
        let request_id = format!("req_{number:060}");
        let tags: Vec<String> = (0..8).map(|tag| format!("{tag}={number:0110}")).collect();
        appending.add(&Record::Verification(VerificationRecord {
            external_id: &request_id,
            tags: tags.iter().map(String::as_str).collect(),
            ..verification(&request_id, NOW - i64::try_from(number).unwrap())
        }));
    }
    appending.commit(positions).unwrap();
}

fn many(count: usize, separator: &str, each: impl Fn(usize) -> String) -> String {
    (0..count).map(each).collect::<Vec<_>>().join(separator)
}

/// Columns of this kind, all of which somebody reads.
fn columns(count: usize, inner: &str, each: impl Fn(usize) -> String) -> String {
    let (made, read) = (
        many(count, ", ", |at| format!("{} AS c{at}", each(at))),
        many(count, " + ", |at| format!("sum(length(c{at}))")),
    );
    format!("SELECT {read} AS n FROM (SELECT {made} FROM {inner})")
}

/// What is wanted, and whether it may be answered.
#[expect(clippy::too_many_lines, reason = "a list")]
fn statements() -> Vec<(&'static str, String)> {
    let table = "key_verifications_v1";
    let long = "x".repeat(6000);
    let growing = format!(
        "(SELECT concat({}) AS w FROM (SELECT concat({}) AS v FROM {table}))",
        many(12, ", ", |_| "v".to_owned()),
        many(4, ", ", |_| "request_id".to_owned()),
    );
    let numbers = many(1200, ", ", |number| format!("'{number:04}'"));
    vec![
        ("texts put together in many columns", columns(28, &growing, |at| format!("concat(w, w, '{at}')"))),
        (
            "a long constant under many names",
            columns(28, table, |at| if at == 0 { format!("'{long}'") } else { "c0".to_owned() }),
        ),
        (
            "long formats",
            columns(28, table, |at| {
                format!(
                    "formatDateTime(toDateTime(time + {at}), '%Y{}')",
                    if at == 0 { "x".repeat(400) } else { "y".repeat(300) }
                )
            }),
        ),
        (
            "long arrays",
            columns(24, table, |at| {
                format!("[{}]", many(24, ", ", |one| format!("spent_credits + {}", one + at)))
            }),
        ),
        (
            "a long array under many names",
            columns(12, table, |at| {
                if at == 0 { format!("[{}]", many(900, ", ", |_| "key_id".to_owned())) } else { "c0".to_owned() }
            }),
        ),
        (
            "arrays that a lambda reads for each of their elements",
            format!(
                "SELECT sum(length(f)) AS n FROM (SELECT arrayFilter(x -> x != external_id AND length(a) > 1, a) AS f FROM \
                 (SELECT [{}] AS a, external_id FROM {table} LIMIT 24000))",
                many(100, ", ", |_| "request_id".to_owned())
            ),
        ),
        (
            "a long constant array, filtered by each row",
            format!("SELECT sum(length(arrayFilter(x -> x != external_id, [{numbers}]))) AS n FROM {table}"),
        ),
        ("a long constant array", format!("SELECT countIf(hasAny(tags, [{numbers}])) AS n FROM {table}")),
        (
            "endless: a long constant array, unfolded twice",
            format!(
                "SELECT count() AS n FROM (SELECT arrayJoin([{}]) AS a, arrayJoin([{}]) AS b, request_id FROM {table}) WHERE a = b",
                many(400, ", ", |one| one.to_string()),
                many(400, ", ", |one| (one + 1).to_string())
            ),
        ),
        (
            "too much: all rows in one array",
            format!("SELECT length(groupArray(request_id)) AS n, length(groupArray(tags[2])) AS m FROM {table}"),
        ),
        (
            "too much: all rows in a window",
            format!(
                "SELECT max(n) AS n FROM (SELECT sum(length(external_id)) OVER () AS n, request_id AS r, tags AS t FROM {table}) WHERE length(t) + length(r) > 0"
            ),
        ),
        (
            "too much: all rows in windows, in order",
            format!(
                "SELECT max(n) AS n FROM (SELECT sum(length(external_id)) OVER (PARTITION BY outcome ORDER BY request_id) AS n, tags AS t FROM {table}) \
             WHERE length(t) > 0"
            ),
        ),
        (
            "too much: all rows as groups",
            format!(
                "SELECT count() AS n FROM (SELECT request_id, tags, external_id FROM {table} GROUP BY request_id, tags, external_id)"
            ),
        ),
        (
            "endless: all rows with all",
            format!(
                "SELECT sum(length(concat(a.request_id, b.request_id))) AS n FROM {table} AS a INNER JOIN {table} AS b ON a.key_id = b.key_id"
            ),
        ),
    ]
}

/// Bytes of memory of this process: now, or at most since it was asked to begin anew.
fn resident(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap_or(0) * 1024
}

/// Asks all, one after the other, and says what each took.
#[tokio::test]
#[ignore = "the other test starts it"]
async fn child() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Arc::new(Warehouse::open(folder.path(), Settings::default()).unwrap());
    append(&warehouse);
    warehouse.flush().unwrap();
    let engine = Embedded::over(warehouse, 2);
    let asked = Asked {
        operation: Tables::Verifications,
        workspace_id: "ws_own".to_owned(),
        narrowed: None,
        retention_days: 0,
        now: UnixMs::new(NOW),
        most_rows: 10_000,
        reports: false,
    };
    let mut said = String::new();
    for (what, statement) in statements() {
        let checked = check(&statement, &asked).unwrap_or_else(|error| panic!("{what}: {error}"));
        // Linux: the most begins anew.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let before = resident("VmRSS:");
        let answer = engine.query(&checked, limits(what)).await;
        let outcome = match answer {
            Ok(_) => "answered".to_owned(),
            Err(Failure::Memory) => "memory".to_owned(),
            Err(Failure::Timeout) => "timeout".to_owned(),
            Err(Failure::Statement(_)) => "refused".to_owned(),
            Err(other) => format!("{other:?}"),
        };
        writeln!(said, "took\t{what}\t{}\t{outcome}", resident("VmHWM:").saturating_sub(before)).unwrap();
    }
    #[expect(clippy::print_stdout, reason = "the other test reads it")]
    {
        println!("\n{said}");
    }
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "memory is measured as Linux does")]
fn no_statement_takes_much_more_memory_than_it_may() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::child", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
    let took: Vec<Vec<&str>> =
        said.lines().filter(|line| line.starts_with("took\t")).map(|line| line.split('\t').collect()).collect();
    assert_eq!(took.len(), statements().len(), "{said}");
    let is_right = |took: &&Vec<&str>| {
        let bytes: u64 = took[2].parse().unwrap();
        let outcomes: &[&str] = match took[1].split(':').next() {
            Some("endless") => &["memory", "timeout"],
            Some("too much") => &["memory"],
            _ => &["answered", "memory", "refused"],
        };
        bytes < LIMIT + BESIDES && outcomes.contains(&took[3])
    };
    let wrong: Vec<_> = took.iter().filter(|took| !is_right(took)).collect();
    assert!(wrong.is_empty(), "{wrong:#?} of {said}");
}
