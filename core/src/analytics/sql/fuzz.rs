//! Chance against the guard: statements from a grammar that is close to the dialect, and damaged ones of the shared list.

use std::time::{Duration, Instant};

use keyrack_test_harness::fuzz::{Chance, rounds};

use super::tables::{Table, Tables};
use super::tests::{asked, statements, stored};
use super::tree::Checked;
use super::{Asked, check, clickhouse, soundness};
use crate::error::Error;

/// How long a check may take in a build for tests.
const LONGEST: Duration = Duration::from_millis(200);

/// What a check says. One that takes too long is tried again: on a busy machine others may have had their turn in between.
fn in_time(text: &str, asked: &Asked) -> Result<Checked, Error> {
    for _ in 0..5 {
        let begun = Instant::now();
        let checked = check(text, asked);
        if begun.elapsed() < LONGEST {
            return checked;
        }
    }
    panic!("it takes longer than {LONGEST:?}: {text}");
}

/// Checks a text; whatever is accepted is isolated, printed the same each time, and each table of it has its filter.
fn check_text(text: &str, operation: Tables) -> bool {
    let asked = Asked {
        workspace_id: "ws_\\'own`".to_owned(),
        narrowed: Some(vec!["a'b\\".to_owned()]),
        retention_days: 30,
        ..asked(operation)
    };
    let checked = in_time(text, &asked);
    let checked = match checked {
        Ok(checked) => checked,
        Err(error) => {
            assert!(error.code().status() == 400 && !error.detail().contains("ws_\\'own`"), "{text}: {error}");
            return false;
        }
    };
    for read in checked.reads() {
        let filter = read.filter();
        assert!(filter.workspace_id == asked.workspace_id && filter.narrowed == asked.narrowed, "{text}");
        assert!(filter.earliest.is_some(), "{text}");
    }
    soundness::check(&checked, text);
    let printed = clickhouse::print(&checked, &stored);
    let again = check(text, &asked).map(|again| clickhouse::print(&again, &stored));
    assert_eq!(again.ok().as_ref(), Some(&printed), "{text}");
    let filter = "WHERE `workspace_id` = 'ws_\\\\\\'own`' AND `";
    assert_eq!(
        outside_texts(&printed).matches("FROM stored.").count(),
        checked.reads().len(),
        "{text}\n{printed}"
    );
    assert_eq!(printed.matches(filter).count(), checked.reads().len(), "{text}\n{printed}");
    true
}

/// A statement without its texts, which would end early if one were not escaped.
fn outside_texts(statement: &str) -> String {
    let mut outside = String::new();
    let mut letters = statement.chars();
    let mut quote = None;
    while let Some(letter) = letters.next() {
        match quote {
            None if matches!(letter, '\'' | '`') => quote = Some(letter),
            None => outside.push(letter),
            Some(_) if letter == '\\' => drop(letters.next()),
            Some(end) if end == letter => quote = None,
            Some(_) => {}
        }
    }
    assert_eq!(quote, None, "{statement}");
    outside
}

/// A grammar over chance.
struct Grammar<'c> {
    chance: &'c mut Chance,
    tables: Tables,
}

const COLUMNS: [&str; 12] = [
    "time",
    "key_id",
    "outcome",
    "tags",
    "count",
    "spent_credits",
    "latency",
    "passed",
    "limit",
    "identifier",
    "a",
    "latency_avg",
];
const FUNCTIONS: [&str; 38] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "any",
    "uniq",
    "uniqExact",
    "groupArray",
    "groupUniqArray",
    "median",
    "lower",
    "upper",
    "length",
    "trim",
    "toString",
    "toDate",
    "toDateTime",
    "toStartOfMinute",
    "toStartOfHour",
    "toStartOfDay",
    "toStartOfWeek",
    "toStartOfMonth",
    "toStartOfYear",
    "toInt32",
    "toInt64",
    "toFloat64",
    "abs",
    "round",
    "floor",
    "ceil",
    "arrayJoin",
    "avgMerge",
    "toUnixTimestamp64Milli",
    "toUnixTimestamp",
    "fromUnixTimestamp64Milli",
    "coalesce",
    "concat",
];
const PAIRS: [&str; 14] = [
    "startsWith",
    "endsWith",
    "has",
    "hasAny",
    "hasAll",
    "sumIf",
    "avgIf",
    "maxIf",
    "countIf",
    "coalesce",
    "concat",
    "substring",
    "round",
    "uniqIf",
];
const OPERATORS: [&str; 14] = ["+", "-", "*", "/", "%", "=", "!=", "<", ">=", "AND", "OR", "||", "LIKE", "IN"];
const CONSTANTS: [&str; 12] = [
    "1",
    "0",
    "-5",
    "2.5",
    "'a'",
    "'2026-11-20'",
    "NULL",
    "true",
    "18446744073709551615",
    "now()",
    "today()",
    "'it''s\\\\'",
];

impl Grammar<'_> {
    fn one(&mut self, of: &[&str]) -> String {
        (*self.chance.one(of)).to_owned()
    }

    fn table(&mut self) -> String {
        let tables: Vec<&str> = Table::all(self.tables).iter().map(|table| table.name).collect();
        self.one(&tables)
    }

    fn expression(&mut self, depth: usize) -> String {
        if depth == 0 || self.chance.once_in(3) {
            let is_column = self.chance.once_in(2);
            return if is_column { self.one(&COLUMNS) } else { self.one(&CONSTANTS) };
        }
        let depth = depth - 1;
        match self.chance.below(22) {
            0..=4 => format!("{}({})", self.one(&FUNCTIONS), self.expression(depth)),
            5..=8 => format!("({} {} {})", self.expression(depth), self.one(&OPERATORS), self.expression(depth)),
            9 => format!("if({}, {}, {})", self.expression(depth), self.expression(depth), self.expression(depth)),
            10 => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.expression(depth),
                self.expression(depth),
                self.expression(depth)
            ),
            11 => format!("{} IN ({}, {})", self.expression(depth), self.one(&CONSTANTS), self.one(&CONSTANTS)),
            12 => format!(
                "{} BETWEEN {} AND {}",
                self.expression(depth),
                self.expression(depth),
                self.expression(depth)
            ),
            13 => format!(
                "{} - INTERVAL {} {}",
                self.expression(depth),
                self.chance.below(40),
                self.one(&["DAY", "HOUR", "MONTH"])
            ),
            14 => format!(
                "arrayFilter(x -> {}, {})",
                self.expression(depth).replace("key_id", "x"),
                self.one(&["tags", "[1, 2]"])
            ),
            15 | 16 => {
                format!("{}({}, {})", self.one(&PAIRS), self.expression(depth), self.expression(depth))
            }
            17 => format!(
                "{}::{}",
                self.expression(depth),
                self.one(&["String", "Int64", "Float64", "Date", "DateTime"])
            ),
            18 => format!(
                "date_trunc('{}', {})",
                self.one(&["hour", "day", "week", "month"]),
                self.expression(depth)
            ),
            19 => format!("formatDateTime({}, '%Y-%m-%d %H:%i')", self.expression(depth)),
            20 => format!(
                "{}({}) OVER (PARTITION BY {} ORDER BY {})",
                self.one(&["sum", "count", "max", "avg"]),
                self.expression(depth),
                self.expression(depth),
                self.one(&["time", "key_id", "1"])
            ),
            _ if self.chance.once_in(2) => format!("{} IN ({})", self.expression(depth), self.select(depth)),
            _ => format!("({})", self.select(depth)),
        }
    }

    fn source(&mut self, depth: usize) -> String {
        match self.chance.below(4) {
            0 if depth > 0 => format!("({})", self.select(depth - 1)),
            1 if depth > 0 => {
                let on = self.one(&["key_id", "time", "outcome"]);
                format!(
                    "{} AS l {} JOIN {} AS r ON l.{on} = r.{on}",
                    self.table(),
                    self.one(&["INNER", "LEFT", "FULL"]),
                    self.table()
                )
            }
            _ => self.table(),
        }
    }

    fn select(&mut self, depth: usize) -> String {
        let columns = 1 + self.chance.below(3);
        let names = ["a", "b", "count", "time"];
        let columns: Vec<_> =
            (0..columns).map(|index| format!("{} AS {}", self.expression(depth), names[index])).collect();
        let mut text = format!("SELECT {} FROM {}", columns.join(", "), self.source(depth));
        if self.chance.once_in(3) {
            text += &format!(" WHERE {}", self.expression(depth));
        }
        if self.chance.once_in(3) {
            text += &format!(" GROUP BY {}", self.expression(depth.min(1)));
        }
        if self.chance.once_in(8) {
            text += &format!(" HAVING {}", self.expression(depth));
        }
        if self.chance.once_in(4) {
            text += &format!(" ORDER BY {}", self.one(&["1", "a DESC", "b", "time"]));
        }
        if self.chance.once_in(6) {
            text += if self.chance.once_in(3) { " LIMIT 2 BY a" } else { " LIMIT 5" };
        }
        if depth > 0 && self.chance.once_in(8) {
            text += &format!(" UNION ALL {}", self.select(depth - 1));
        }
        text
    }
}

#[test]
fn a_statement_of_the_grammar_is_refused_or_isolated() {
    let (mut accepted, mut all) = (0, 0);
    for mut chance in rounds("analytics statements") {
        for tables in [Tables::Verifications, Tables::Ratelimits] {
            let depth = chance.below(4);
            let text = Grammar { chance: &mut chance, tables }.select(depth);
            accepted += usize::from(check_text(&text, tables));
            all += 1;
        }
    }
    assert!(accepted * 50 > all, "of {all} only {accepted} were accepted");
}

#[test]
fn a_damaged_statement_is_refused_or_isolated() {
    let statements = statements();
    for mut chance in rounds("damaged analytics statements") {
        let (first, second) = (chance.one(&statements), chance.one(&statements));
        let mut bytes = first.text.clone().into_bytes();
        if chance.once_in(3) {
            // A piece of another one.
            let from = chance.below(second.text.len());
            let piece = second.text.as_bytes()[from..].iter().take(60).copied();
            let at = chance.below(bytes.len());
            bytes.splice(at..at, piece);
        }
        chance.damage(&mut bytes);
        check_text(&String::from_utf8_lossy(&bytes), first.tables());
    }
}

#[test]
fn repeated_pieces_cost_a_bounded_time() {
    let pieces = [
        "(",
        ")",
        "[",
        "CASE ",
        "CASE WHEN ",
        "NOT ",
        "- ",
        "SELECT (",
        "(SELECT ",
        "1 + ",
        "x -> ",
        "(x, ",
        "f(",
        "IN (",
        "IN ((SELECT ",
        "BETWEEN 1 AND ",
        "a.",
        "::Int64",
        "INTERVAL ",
        "WITH a AS (",
        "UNION ALL (",
        "/* ",
        "'",
        "`",
        "AND ",
        "FROM (",
        "JOIN (",
        "CAST(",
        "arrayFilter(x -> ",
        "if(1, ",
        "{",
        "FILTER (",
        "OVER (",
        "IS NOT ",
    ];
    for mut chance in rounds("repeated pieces of statements") {
        let (first, second) = (chance.one(&pieces).to_string(), chance.one(&pieces).to_string());
        let piece = if chance.once_in(2) { first } else { first + &second };
        let times = 1 + chance.below(16_000 / piece.len());
        let text = format!("SELECT {}1 FROM key_verifications_v1", piece.repeat(times));
        check_text(&text, Tables::Verifications);
    }
}
