//! The guard as a whole: the statements that are shared with the oracle, attacks, isolation and chance.

use std::path::PathBuf;

use serde_json::json;

use super::tables::{Table, Tables};
use super::tree::{Checked, RowFilter};
use super::{Asked, check, clickhouse, soundness};
use crate::calendar::UnixMs;
use crate::error::{Code, Error};

/// A statement of the shared list.
pub(crate) struct Statement {
    pub(crate) about: String,
    pub(crate) marks: Vec<String>,
    pub(crate) text: String,
}

impl Statement {
    pub(crate) fn tables(&self) -> Tables {
        let is_ratelimits = self.marks.iter().any(|mark| mark == "@ratelimits");
        if is_ratelimits { Tables::Ratelimits } else { Tables::Verifications }
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/analytics")
}

/// The shared list.
pub(crate) fn statements() -> Vec<Statement> {
    let text = std::fs::read_to_string(folder().join("statements.sql")).unwrap();
    let blocks = text.split("\n\n").skip(1);
    let statement = |block: &str| {
        let (first, text) = block.trim().split_once('\n').unwrap();
        let words: Vec<&str> = first.trim_start_matches("-- ").split(' ').collect();
        let (marks, words): (Vec<&str>, Vec<&str>) = words.into_iter().partition(|word| word.starts_with('@'));
        Statement {
            about: words.join(" "),
            marks: marks.into_iter().map(str::to_owned).collect(),
            text: text.to_owned(),
        }
    };
    blocks.map(statement).collect()
}

/// 2026-11-29 12:34:56.789 UTC.
pub(crate) const NOW: UnixMs = UnixMs::new(1_795_955_696_789);

pub(crate) fn asked(operation: Tables) -> Asked {
    Asked {
        operation,
        workspace_id: "ws_own".to_owned(),
        narrowed: None,
        retention_days: 0,
        now: NOW,
        most_rows: 10_000_000,
        reports: false,
    }
}

fn verifications(text: &str) -> Result<Checked, Error> {
    check(text, &asked(Tables::Verifications))
}

pub(crate) fn stored(table: &Table) -> String {
    format!("stored.{}", table.name)
}

#[test]
fn every_shared_statement_is_printed_for_clickhouse_as_it_was() {
    let mut printed = Vec::new();
    let mut refused = Vec::new();
    for statement in statements() {
        match check(&statement.text, &asked(statement.tables())) {
            Ok(checked) => printed.push({
                soundness::check(&checked, &statement.text);
                json!({
                "about": statement.about,
                "marks": statement.marks,
                "statement": statement.text,
                "columns": checked.columns().iter().map(|column| json!([column.name, column.of.to_string()])).collect::<Vec<_>>(),
                "printed": clickhouse::print(&checked, &stored),
            })}),
            Err(error) => refused.push(format!("{}: {}", statement.text, error.detail())),
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    let tables: Vec<_> = [Tables::Verifications, Tables::Ratelimits]
        .into_iter()
        .flat_map(Table::all)
        .map(|table| {
            let columns = table.columns.iter().map(|column| json!([column.name, column.kind.of().to_string()]));
            json!({ "name": table.name, "columns": columns.collect::<Vec<_>>() })
        })
        .collect();
    let made = json!({ "now": NOW.get(), "tables": tables, "statements": printed });
    let made = serde_json::to_string_pretty(&made).unwrap() + "\n";
    let path = folder().join("clickhouse.json");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, &made).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(known == made, "read the difference, and accept it with INSTA_UPDATE=always");
}

#[test]
fn the_shared_list_has_enough_statements() {
    assert!(statements().len() >= 120, "{}", statements().len());
}

fn refusal(text: &str) -> (Code, String) {
    match verifications(text) {
        Ok(checked) => panic!("{text} was accepted: {}", clickhouse::print(&checked, &stored)),
        Err(error) => (error.code(), error.detail().to_owned()),
    }
}

#[track_caller]
fn refuses(code: Code, statements: &[&str]) {
    for text in statements {
        let (got, detail) = refusal(text);
        assert_eq!(got, code, "{text}: {detail}");
        assert!(!detail.contains("ws_own") && !detail.contains("stored."), "{text}: {detail}");
    }
}

#[track_caller]
fn says(text: &str, words: &str) {
    let (_, detail) = refusal(text);
    assert!(detail.contains(words), "{text}: {detail}");
}

#[test]
fn only_one_select_is_taken() {
    refuses(
        Code::InvalidAnalyticsQuery,
        &["", ";", "-- nothing", "SELEC 1", "SELECT 1 FROM", "SELECT 'a FROM t", "SELECT 1"],
    );
    refuses(
        Code::InvalidAnalyticsQuery,
        &[
            "SELECT count() FROM key_verifications_v1; SELECT count() FROM key_verifications_v1",
            "SELECT 1; DROP TABLE t",
        ],
    );
    assert!(verifications("SELECT count() FROM key_verifications_v1;").is_ok());
    refuses(
        Code::InvalidAnalyticsQueryType,
        &[
            "INSERT INTO key_verifications_v1 SELECT * FROM key_verifications_v1",
            "UPDATE key_verifications_v1 SET outcome = 'VALID'",
            "DELETE FROM key_verifications_v1",
            "ALTER TABLE key_verifications_v1 DROP COLUMN outcome",
            "CREATE TABLE t (a Int64)",
            "DROP TABLE key_verifications_v1",
            "TRUNCATE TABLE key_verifications_v1",
            "SHOW TABLES",
            "EXPLAIN SELECT count() FROM key_verifications_v1",
            "GRANT SELECT ON key_verifications_v1 TO someone",
            "SET max_memory_usage = 1",
            "USE system",
        ],
    );
}

#[test]
fn settings_are_refused_wherever_they_stand() {
    refuses(
        Code::InvalidAnalyticsQuery,
        &[
            "SELECT count() FROM key_verifications_v1 SETTINGS max_threads = 1",
            "SELECT * FROM (SELECT count() FROM key_verifications_v1 SETTINGS max_threads = 1)",
            "WITH a AS (SELECT 1 FROM key_verifications_v1 SETTINGS readonly = 0) SELECT * FROM a",
            "SELECT 1 FROM key_verifications_v1 UNION ALL (SELECT 1 FROM key_verifications_v1 SETTINGS readonly = 0)",
        ],
    );
}

#[test]
fn sizes_are_bounded() {
    let long = format!("SELECT count() FROM key_verifications_v1 WHERE key_id = '{}'", "é".repeat(8_192));
    says(&long, "bytes");
    let list =
        format!("SELECT count() FROM key_verifications_v1 WHERE spent_credits IN ({})", "1,".repeat(2_000) + "1");
    says(&list, "2000 parts");
    let columns = |count: usize| format!("SELECT {} FROM key_verifications_v1", vec!["key_id"; count].join(", "));
    assert!(verifications(&columns(64)).is_ok());
    says(&columns(65), "65 columns");
    says("SELECT * FROM (SELECT * FROM (SELECT * FROM (SELECT * FROM key_verifications_v1)))", "columns");
    says(
        &format!("SELECT {}1{} FROM key_verifications_v1", "(".repeat(200), ")".repeat(200)),
        "nested too deeply",
    );
    says(&format!("SELECT 1{} FROM key_verifications_v1", " + 1".repeat(900)), "chain");
    says(&format!("SELECT 1{} FROM key_verifications_v1", " IS NULL".repeat(300)), "chain");
    says(&format!("SELECT 1{} FROM key_verifications_v1", "::Int64".repeat(300)), "chain");
    says(
        &format!(
            "SELECT 1 FROM key_verifications_v1{}",
            " UNION ALL SELECT 1 FROM key_verifications_v1".repeat(100)
        ),
        "chain",
    );
    says(&format!("SELECT 1 FROM key_verifications_v1 WHERE 1=1{}", " AND 1=1".repeat(600)), "chain");
    assert!(
        verifications(&format!("SELECT 1 FROM key_verifications_v1 WHERE 1=1{}", " AND 1=1".repeat(400))).is_ok()
    );
}

#[test]
fn what_doubles_with_every_alias_or_name_is_bounded() {
    let aliases: Vec<_> = (1..40).map(|index| format!("a{} + a{} AS a{index}", index - 1, index - 1)).collect();
    says(&format!("SELECT latency AS a0, {} FROM key_verifications_v1", aliases.join(", ")), "aliases");
    let mut named = "WITH q0 AS (SELECT 1 AS x FROM key_verifications_v1)".to_owned();
    for index in 1..20 {
        let before = index - 1;
        named += &format!(", q{index} AS (SELECT a.x AS x FROM q{before} AS a CROSS JOIN q{before} AS b)");
    }
    says(&(named + " SELECT * FROM q19"), "reads tables more than");
}

#[test]
fn only_public_tables_of_the_operation_are_read() {
    refuses(
        Code::InvalidAnalyticsTable,
        &[
            "SELECT 1 FROM verifications",
            "SELECT 1 FROM ratelimits_v1",
            "SELECT 1 FROM KEY_VERIFICATIONS_V1",
            "SELECT 1 FROM system.tables",
            "SELECT 1 FROM information_schema.tables",
            "SELECT 1 FROM default.key_verifications_v1",
            "SELECT 1 FROM `default.key_verifications_v1`",
            "SELECT 1 FROM \"system\".\"one\"",
            "SELECT 1 FROM key_verifications_v1 WHERE key_id IN (SELECT name FROM system.users)",
            "SELECT (SELECT 1 FROM system.one) FROM key_verifications_v1",
            "SELECT 1 FROM key_verifications_v1 UNION ALL SELECT 1 FROM system.one",
            "WITH a AS (SELECT 1 FROM system.one) SELECT 1 FROM key_verifications_v1",
            "SELECT 1 FROM key_verifications_v1 AS a INNER JOIN system.one AS b ON a.key_id = b.dummy",
            "SELECT 1 FROM (SELECT 1 FROM (SELECT 1 FROM system.one))",
            "WITH key_verifications_v1 AS (SELECT 1) SELECT 1 FROM key_verifications_v1",
            "WITH Ratelimits_V1 AS (SELECT 1) SELECT 1 FROM key_verifications_v1",
            "SELECT 1 FROM (WITH inside AS (SELECT 1 FROM key_verifications_v1) SELECT 1 FROM inside) AS a, inside",
            "SELECT 1 FROM `key_verifications_v1; DROP TABLE x`",
        ],
    );
    says("SELECT 1 FROM ratelimits_v1", "analytics.getRatelimits");
    says("SELECT 1 FROM key_verification_v1", "Did you mean `key_verifications_v1`?");
}

#[test]
fn only_allowed_functions_are_called() {
    refuses(
        Code::InvalidAnalyticsFunction,
        &[
            "SELECT file('/etc/passwd') FROM key_verifications_v1",
            "SELECT * FROM file('/etc/passwd')",
            "SELECT * FROM url('http://localhost')",
            "SELECT * FROM remote('localhost', system.one)",
            "SELECT * FROM s3('x')",
            "SELECT * FROM mysql('x')",
            "SELECT * FROM executable('x')",
            "SELECT * FROM numbers(10)",
            "SELECT dictGet('a', 'b', 1) FROM key_verifications_v1",
            "SELECT quantileTDigestState(latency) FROM key_verifications_v1",
            "SELECT sleep(1) FROM key_verifications_v1",
            "SELECT hostName() FROM key_verifications_v1",
            "SELECT currentDatabase() FROM key_verifications_v1",
            "SELECT count() FROM key_verifications_v1 WHERE if(1 = 1, sleep(1), 0) = 0",
            "SELECT arrayFilter(x -> sleep(x) = 0, [1]) FROM key_verifications_v1",
            "SELECT quantile(rand())(latency) FROM key_verifications_v1",
            "SELECT count() FROM key_verifications_v1 ORDER BY reverse('a')",
            "SELECT row_number() OVER () FROM key_verifications_v1",
            "SELECT 1 FROM (SELECT system.version() FROM key_verifications_v1)",
        ],
    );
    says("SELECT lowerr(key_id) FROM key_verifications_v1", "Did you mean `lower`?");
}

#[test]
fn what_the_tree_cannot_say_is_refused_by_its_name() {
    let table = "FROM key_verifications_v1";
    for (text, words) in [
        (format!("SELECT count() {table} FORMAT JSON"), "FORMAT"),
        (format!("SELECT count() {table} GROUP BY outcome WITH TOTALS"), "WITH TOTALS"),
        (format!("SELECT count() {table} GROUP BY outcome WITH ROLLUP"), "WITH ROLLUP"),
        (format!("SELECT count() {table} GROUP BY ROLLUP(outcome)"), "ROLLUP"),
        (format!("SELECT count() {table} GROUP BY CUBE(outcome)"), "CUBE"),
        (format!("SELECT count() {table} GROUP BY ALL"), "GROUP BY ALL"),
        (format!("SELECT tag {table} ARRAY JOIN tags AS tag"), "arrayJoin"),
        (format!("SELECT count() {table} SAMPLE 0.1"), "SAMPLE"),
        (format!("SELECT count() {table} QUALIFY 1 = 1"), "QUALIFY"),
        (format!("SELECT TOP 5 key_id {table}"), "TOP"),
        (format!("SELECT DISTINCT ON (key_id) key_id {table}"), "LIMIT 1 BY"),
        (format!("SELECT * EXCEPT (key_id) {table}"), "EXCEPT"),
        (format!("SELECT key_id {table} UNION SELECT outcome {table}"), "UNION ALL"),
        (format!("SELECT key_id {table} UNION ALL SELECT outcome {table} ORDER BY 1"), "ORDER BY"),
        (format!("SELECT key_id {table} LIMIT -1"), "not negative"),
        (format!("SELECT key_id {table} LIMIT 2 BY key_id OFFSET 1"), "LIMIT n OFFSET m BY"),
        (format!("SELECT key_id {table} LIMIT (SELECT 1)"), "whole number"),
        (format!("SELECT key_id {table} FOR UPDATE"), "FOR UPDATE"),
        ("FROM key_verifications_v1 SELECT key_id".to_owned(), "before `SELECT`"),
        (format!("SELECT key_id INTO t {table}"), "INTO"),
        (format!("SELECT DIV(1, 2) {table}"), "not allowed"),
        (format!("SELECT 1 {table} AS a ASOF JOIN key_verifications_v1 AS b ON a.key_id = b.key_id"), "`"),
        (format!("SELECT 1 {table} AS a NATURAL JOIN key_verifications_v1 AS b"), "NATURAL"),
        ("WITH RECURSIVE a AS (SELECT 1 FROM key_verifications_v1) SELECT 1 FROM a".to_owned(), "RECURSIVE"),
        (format!("SELECT toIntervalDay(1) {table}"), "interval"),
        (format!("SELECT now64() + toIntervalMicrosecond(1) {table}"), "milliseconds"),
        (format!("SELECT formatDateTime(now(), '%M') {table}"), "minutes are %i"),
        (format!("SELECT key_id {table} WHERE time > 1 AND EXISTS (SELECT 1 {table})"), "EXISTS"),
    ] {
        says(&text, words);
    }
}

#[test]
fn a_refusal_helps_with_names_and_types() {
    for (text, words) in [
        ("SELECT outcom FROM key_verifications_v1", "Did you mean `outcome`?"),
        ("SELECT v.outcome FROM key_verifications_v1 AS w", "Nothing in `FROM` is called `v`"),
        ("SELECT outcome, count() FROM key_verifications_v1", "Add it to `GROUP BY`"),
        ("SELECT count(count()) FROM key_verifications_v1", "cannot stand in an aggregate"),
        ("SELECT count() AS n FROM key_verifications_v1 WHERE n > 1", "HAVING"),
        ("SELECT latency_avg FROM key_verifications_per_day_v1", "avgMerge"),
        ("SELECT sum(latency_avg) FROM key_verifications_per_day_v1", "`sum` takes a number"),
        ("SELECT outcome + 1 FROM key_verifications_v1", "takes two numbers"),
        ("SELECT count() FROM key_verifications_v1 WHERE outcome", "A condition has to be true or false"),
        ("SELECT count() FROM key_verifications_per_hour_v1 WHERE time > 1700000000", "looks like seconds"),
        ("SELECT count() FROM key_verifications_per_hour_v1 WHERE time > 'yesterday'", "is no time"),
        ("SELECT count() FROM key_verifications_v1 WHERE outcome IN (key_id)", "list of constants"),
        ("SELECT count() FROM key_verifications_v1 WHERE has(tags, 1)", "`has` takes"),
        (
            "SELECT count() FROM key_verifications_v1 AS a WHERE a.key_id IN (SELECT key_id FROM key_verifications_per_day_v1 AS b WHERE \
             b.key_id = a.key_id)",
            "belongs to the query outside",
        ),
        ("SELECT 1 AS a, 2 AS a FROM key_verifications_v1", "Two columns of the select are called `a`"),
    ] {
        says(text, words);
    }
}

#[test]
fn a_lower_bound_before_the_retention_is_refused() {
    let asked = Asked { retention_days: 30, ..asked(Tables::Verifications) };
    let table = "FROM key_verifications_per_day_v1";
    for condition in [
        "time >= '2026-10-01'",
        "time > now() - INTERVAL 31 DAY",
        "'2026-10-01 00:00:00' <= time",
        "TIME = '2026-01-01'",
        "outcome = 'VALID' AND (time >= toStartOfYear(now() - INTERVAL 1 YEAR) OR 1 = 0)",
        "time BETWEEN '2026-09-01' AND '2026-10-01'",
        "time >= 1767225600000",
        "time >= fromUnixTimestamp64Milli(0)",
        "time >= now() - INTERVAL 2 MONTH",
    ] {
        let refused = check(&format!("SELECT count() {table} WHERE {condition}"), &asked).unwrap_err();
        assert_eq!(refused.code(), Code::QueryRangeExceedsRetention, "{condition}: {}", refused.detail());
        assert!(
            refused.detail().contains("30 days") && refused.detail().contains("2026-10-30"),
            "{}",
            refused.detail()
        );
    }
    for condition in [
        "time >= now() - INTERVAL 30 DAY",
        "time <= '2020-01-01'",
        "time >= now() - toIntervalDay(300)",
        "NOT time >= '2020-01-01'",
        "external_id = '2020-01-01'",
    ] {
        let accepted = check(&format!("SELECT count() {table} WHERE {condition}"), &asked);
        assert!(accepted.is_ok(), "{condition}: {:?}", accepted.err());
    }
}

#[test]
fn every_read_has_the_row_filter_and_so_has_every_table_that_is_printed() {
    for statement in statements() {
        for narrowed in [None, Some(vec![]), Some(vec!["ks_1".to_owned(), "it's".to_owned()])] {
            let asked = Asked { narrowed: narrowed.clone(), retention_days: 20, ..asked(statement.tables()) };
            let Ok(checked) = check(&statement.text, &asked) else { continue };
            // 2026-11-09.
            let earliest = Some(UnixMs::new(1_794_182_400_000));
            let filter = RowFilter { workspace_id: "ws_own".to_owned(), narrowed, earliest };
            let reads = checked.reads();
            assert!(reads.iter().all(|read| *read.filter() == filter), "{}", statement.text);
            let printed = clickhouse::print(&checked, &stored);
            assert_eq!(printed.matches(" FROM stored.").count(), reads.len(), "{printed}");
            for (at, _) in printed.match_indices(" FROM stored.") {
                let rest = printed[at..].split_once(" WHERE ").unwrap().1;
                assert!(rest.starts_with("`workspace_id` = 'ws_own' AND "), "{printed}");
                let ends = rest.split_once(" AND `time` >= ").unwrap().0;
                let narrowing = ends.trim_start_matches("`workspace_id` = 'ws_own'");
                match &filter.narrowed {
                    None => assert_eq!(narrowing, "", "{printed}"),
                    Some(ids) if ids.is_empty() => assert_eq!(narrowing, " AND 0", "{printed}"),
                    Some(_) => assert!(narrowing.ends_with(" IN ('ks_1', 'it\\'s')"), "{printed}"),
                }
            }
        }
    }
}

#[test]
fn only_the_outermost_limit_is_clamped() {
    let asked = Asked { most_rows: 10, ..asked(Tables::Verifications) };
    let printed = |text: &str| clickhouse::print(&check(text, &asked).unwrap(), &stored);
    let table = "FROM key_verifications_v1";
    assert!(printed(&format!("SELECT key_id {table}")).ends_with(" LIMIT 10"));
    assert!(printed(&format!("SELECT key_id {table} LIMIT 5")).ends_with(" LIMIT 5"));
    assert!(printed(&format!("SELECT key_id {table} LIMIT 50 OFFSET 3")).ends_with(" LIMIT 10 OFFSET 3"));
    assert!(printed(&format!("SELECT key_id {table} UNION ALL SELECT key_id {table}")).ends_with(" LIMIT 10"));
    let inner = printed(&format!("SELECT count() FROM (SELECT key_id {table} LIMIT 50)"));
    assert!(inner.contains(" LIMIT 50)") && inner.ends_with(" LIMIT 10"), "{inner}");
}
