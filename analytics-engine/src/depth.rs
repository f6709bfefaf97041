//! Statements as deep and as wide as the guard lets them be end neither the process nor the patience of others.

use std::sync::Arc;
use std::time::Duration;

use keyrack_core::analytics::engine::{Engine as _, Failure, Lane, Limits};
use keyrack_core::analytics::sql::tables::Tables;
use keyrack_core::analytics::sql::{Asked, check};
use keyrack_core::calendar::UnixMs;

use crate::Embedded;
use crate::storage::{Settings, Warehouse};

const LIMITS: Limits =
    Limits { time: Duration::from_secs(2), memory_bytes: 64 << 20, answer_bytes: 4 << 20, lane: Lane::Questions };

/// A shape of statements, by how deep or wide it is.
type Shape = (&'static str, fn(usize) -> String);

const SHAPES: [Shape; 12] = [
    ("parentheses", |n| format!("SELECT {}1{} AS a FROM key_verifications_v1", "(".repeat(n), ")".repeat(n))),
    ("sums", |n| format!("SELECT time{} AS a FROM key_verifications_v1", " + 1".repeat(n))),
    ("signs", |n| format!("SELECT {}time AS a FROM key_verifications_v1", "- ".repeat(n))),
    ("calls", |n| format!("SELECT {}outcome{} AS a FROM key_verifications_v1", "lower(".repeat(n), ")".repeat(n))),
    ("negations", |n| format!("SELECT 1 AS a FROM key_verifications_v1 WHERE {}has(tags, 'x')", "NOT ".repeat(n))),
    ("alternatives", |n| {
        format!("SELECT 1 AS a FROM key_verifications_v1 WHERE outcome = 'a'{}", " OR key_id = 'b'".repeat(n))
    }),
    ("branches", |n| {
        let (open, close) = ("if(time > 1, time, ".repeat(n), ")".repeat(n));
        format!("SELECT {open}1{close} AS a FROM key_verifications_v1")
    }),
    ("subqueries", |n| {
        let (open, close) = ("SELECT * FROM (".repeat(n), ")".repeat(n));
        format!("{open}SELECT time FROM key_verifications_v1{close}")
    }),
    ("sets", |n| {
        let (open, close) = ("SELECT time FROM key_verifications_v1 WHERE time IN (".repeat(n), ")".repeat(n));
        format!("{open}SELECT time FROM key_verifications_v1{close}")
    }),
    ("unions", |n| {
        format!(
            "SELECT time FROM key_verifications_v1{}",
            " UNION ALL SELECT time FROM key_verifications_v1".repeat(n)
        )
    }),
    ("joins", |n| {
        let joins = (0..n).map(|at| format!(" JOIN key_verifications_v1 AS t{at} ON t{at}.time = t.time"));
        format!("SELECT count() AS a FROM key_verifications_v1 AS t{}", joins.collect::<String>())
    }),
    ("names", |n| {
        let names = (0..n).map(|at| format!(", w{} AS (SELECT * FROM w{at})", at + 1)).collect::<String>();
        format!("WITH w0 AS (SELECT time FROM key_verifications_v1){names} SELECT count() AS a FROM w{n}")
    }),
];

#[tokio::test]
async fn statements_as_deep_as_the_guard_lets_them_be_are_answered_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Arc::new(Warehouse::open(folder.path(), Settings::default()).unwrap());
    let engine = Embedded::over(warehouse, 2);
    for (shape, statement) in SHAPES {
        let mut accepted = 0;
        for depth in [1, 8, 60, 95, 490] {
            let asked = Asked {
                operation: Tables::Verifications,
                workspace_id: "ws_1".to_owned(),
                narrowed: None,
                retention_days: 0,
                now: UnixMs::new(1_795_955_696_789),
                most_rows: 1000,
                reports: false,
            };
            let Ok(checked) = check(&statement(depth), &asked) else { continue };
            accepted = depth;
            match engine.query(&checked, LIMITS).await {
                Ok(_) | Err(Failure::Timeout | Failure::Memory) => {}
                Err(other) => panic!("{shape} {depth}: {other:?}"),
            }
        }
        assert!(accepted >= 8, "{shape}: no statement of any depth is one");
    }
}
