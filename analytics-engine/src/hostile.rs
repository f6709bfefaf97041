//! Statements of those who want what is not theirs: rows of others, and the machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyrack_core::analytics::engine::{Engine as _, Failure, Lane, Limits, Rows};
use keyrack_core::analytics::event::{Record, VerificationRecord};
use keyrack_core::analytics::sql::tables::Tables;
use keyrack_core::analytics::sql::{Asked, check};
use keyrack_core::calendar::{DAY_MS, UnixMs};

use crate::Embedded;
use crate::fixture::{NOW, verification};
use crate::storage::{Settings, Stored, Warehouse, to_the_end};

const LIMITS: Limits = Limits {
    time: Duration::from_secs(30),
    memory_bytes: 256 << 20,
    answer_bytes: 4 << 20,
    lane: Lane::Questions,
};

/// A third of the events are a workspace's own, with a number as the external id; those of another one, of another API
/// and from before what is kept have none.
fn append(warehouse: &Warehouse, events: usize) {
    let positions = warehouse.positions();
    let mut appending = warehouse.appending().unwrap();
    for number in 0..events {
        let (workspace_id, key_space_id, external_id, age) = match number % 6 {
            0 | 1 => ("ws_own", "ks_own", "7", 0),
            2 | 3 => ("ws_other", "ks_other", "secret", 0),
            4 => ("ws_own", "ks_hidden", "hidden", 0),
            _ => ("ws_own", "ks_own", "gone", 20),
        };
        let (tag, request_id) = (format!("{external_id}!"), format!("req_{number:08}"));
        let time = NOW - age * DAY_MS - i64::try_from(number).unwrap();
        let tags = vec![&*tag];
        appending.add(&Record::Verification(VerificationRecord {
            workspace_id,
            key_space_id,
            external_id,
            tags,
            ..verification(&request_id, time)
        }));
    }
    appending.commit(positions).unwrap();
}

fn asked() -> Asked {
    Asked {
        operation: Tables::Verifications,
        workspace_id: "ws_own".to_owned(),
        narrowed: Some(vec!["ks_own".to_owned()]),
        retention_days: 10,
        now: UnixMs::new(NOW),
        most_rows: 10_000,
        reports: false,
    }
}

async fn ask(engine: &Embedded, statement: &str, limits: Limits) -> Result<Rows, Failure> {
    engine.query(&check(statement, &asked()).unwrap(), limits).await
}

/// Each fails if it is evaluated of a row that may not be seen, in a place of its own.
const TELLTALES: [&str; 8] = [
    "SELECT count() AS n FROM {table} WHERE toInt64(external_id) > 0",
    "SELECT count() AS n FROM {table} WHERE if(external_id != '7', 1 % (length(external_id) - length(external_id)), 1) > 0",
    "SELECT sum(toInt64(external_id)) > 0 AS n FROM {table}",
    "SELECT toInt64(external_id) AS k, count() > 0 AS n FROM {table} GROUP BY k",
    "SELECT toInt64(external_id) AS k FROM {table} ORDER BY k LIMIT 1",
    "SELECT count() > 0 AS n FROM (SELECT external_id AS e FROM {table}) WHERE toInt64(e) = 7",
    "SELECT count() > 0 AS n FROM {table} AS a INNER JOIN {table} AS b ON toInt64(a.external_id) = toInt64(b.external_id) \
     WHERE a.key_id != ''",
    "SELECT count() > 0 AS n FROM (SELECT arrayJoin(tags) AS tag FROM {table}) WHERE toInt64(substring(tag, 1, length(tag) - 1)) = 7",
];

const SOURCES: [&str; 5] = [
    "key_verifications_v1",
    "key_verifications_per_minute_v1",
    "key_verifications_per_hour_v1",
    "key_verifications_per_day_v1",
    "key_verifications_per_month_v1",
];

async fn nothing_is_told(warehouse: &Arc<Warehouse>, place: &str) {
    let engine = Embedded::over(warehouse.clone(), 2);
    for table in SOURCES {
        for telltale in TELLTALES {
            let statement = telltale.replace("{table}", table);
            let answer = ask(&engine, &statement, LIMITS).await;
            // The month began before what is kept: nothing of it is shown.
            let has_rows = table != "key_verifications_per_month_v1";
            let answer = answer.unwrap_or_else(|failure| panic!("{place}: {statement}: {failure:?}"));
            assert!(!has_rows || answer.rows[0][0] != 0, "{place}: {statement}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn no_statement_learns_by_failing_what_is_in_rows_that_it_may_not_see() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Arc::new(Warehouse::open(folder.path(), Settings::default()).unwrap());
    append(&warehouse, 1200);
    nothing_is_told(&warehouse, "in memory").await;
    warehouse.flush().unwrap();
    nothing_is_told(&warehouse, "in files").await;
    warehouse.compact(UnixMs::new(NOW + 3 * DAY_MS), &mut to_the_end).unwrap();
    nothing_is_told(&warehouse, "compacted").await;
}

/// Statements that would go on for hours.
fn endless() -> [String; 3] {
    // Equal arrays would be unfolded once.
    let numbers = |from: usize| (from..from + 100).map(|number| number.to_string()).collect::<Vec<_>>().join(", ");
    let unfolded = ["a", "b", "c", "d", "e"].into_iter().enumerate();
    let unfolded: Vec<String> =
        unfolded.map(|(from, name)| format!("arrayJoin([{}]) AS {name}", numbers(from))).collect();
    let unfolded = unfolded.join(", ");
    let itself = "key_verifications_v1 AS a INNER JOIN key_verifications_v1 AS b ON a.key_id = b.key_id \
                  INNER JOIN key_verifications_v1 AS c ON a.key_id = c.key_id";
    [
        format!("SELECT sum(a + b + c + d + e) AS n FROM (SELECT {unfolded} FROM key_verifications_v1)"),
        format!("SELECT sum(length(concat(a.request_id, b.request_id, c.request_id))) AS n FROM {itself}"),
        "SELECT count() AS n FROM (SELECT time AS t FROM key_verifications_v1 ORDER BY t WITH FILL FROM 0 TO 9000000000000 \
         STEP 1)"
            .to_owned(),
    ]
}

#[tokio::test]
async fn what_is_stopped_makes_room_for_others_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Arc::new(Warehouse::open(folder.path(), Settings::default()).unwrap());
    append(&warehouse, 6000);
    warehouse.flush().unwrap();
    let engine = Embedded::over(warehouse, 2);
    for statement in endless() {
        let short = Limits { time: Duration::from_secs(1), ..LIMITS };
        let (one, two) = tokio::join!(ask(&engine, &statement, short), ask(&engine, &statement, short));
        for outcome in [one, two] {
            assert!(matches!(outcome, Err(Failure::Timeout | Failure::Memory)), "{statement}: {outcome:?}");
        }
        let began = Instant::now();
        let next = ask(&engine, "SELECT count() AS n FROM key_verifications_v1", LIMITS).await;
        assert!(next.is_ok(), "{statement}: {next:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{statement}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn levels_that_build_on_each_other_are_refused_before_they_are_planned() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Arc::new(Warehouse::open(folder.path(), Settings::default()).unwrap());
    append(&warehouse, 60);
    let engine = Embedded::over(warehouse, 2);
    let nested = |inner: &str, step: &str, levels: usize| {
        let (open, close) = (format!("SELECT {step} AS x FROM (").repeat(levels), ")".repeat(levels));
        format!("{open}SELECT {inner} AS x FROM key_verifications_v1{close}")
    };
    for (rows, last) in [
        (nested("spent_credits", "x+x+x+x+x+x+x+x", 10), "SELECT count() AS n FROM ({}) WHERE x > 5"),
        (nested("spent_credits", "x+x", 22), "SELECT count() AS n FROM ({}) WHERE x > 5"),
        (nested("request_id", "concat(x,x)", 18), "SELECT sum(length(x)) AS n FROM ({})"),
        (nested("request_id", "concat(x,x,x,x,x,x,x,x,x,x)", 4), "SELECT sum(length(x)) AS n FROM ({})"),
    ] {
        let began = Instant::now();
        let answer = ask(&engine, &last.replace("{}", &rows), LIMITS).await;
        assert!(matches!(answer, Ok(_) | Err(Failure::Statement(_) | Failure::Memory)), "{answer:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_left_out_and_the_rest_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Arc::new(Warehouse::open(folder.path(), Settings::default()).unwrap());
    append(&warehouse, 600);
    warehouse.flush().unwrap();
    append(&warehouse, 60);
    warehouse.flush().unwrap();
    let engine = Embedded::over(warehouse.clone(), 2);
    let count = "SELECT toInt64(count()) AS n, sum(length(request_id)) > 0 AS is_read FROM key_verifications_v1";
    let whole = ask(&engine, count, LIMITS).await.unwrap();
    let snapshot = warehouse.snapshot().unwrap();
    let largest =
        snapshot.files(Stored::Verifications).iter().max_by_key(|file| (file.last_time(), file.rows())).unwrap();
    let mut bytes = std::fs::read(largest.path()).unwrap();
    let middle = bytes.len() / 3;
    bytes[8..middle].fill(0xff);
    std::fs::write(largest.path(), bytes).unwrap();
    drop(snapshot);
    // What is known of files is known to the engine that read them.
    let engine = Embedded::over(warehouse, 2);
    let began = Instant::now();
    let rest = loop {
        match ask(&engine, count, LIMITS).await {
            Ok(rows) => break rows,
            Err(Failure::Unavailable(_)) if began.elapsed() < Duration::from_secs(20) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(other) => panic!("{other:?}"),
        }
    };
    let number = |rows: &Rows| rows.rows[0][0].as_i64().unwrap();
    assert!(number(&rest) > 0 && number(&rest) < number(&whole), "{rest:?} of {whole:?}");
}
