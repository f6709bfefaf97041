//! The guard as a whole: the statements that are shared with the oracle, attacks, isolation and chance.

use std::path::PathBuf;

use serde_json::json;

use super::tables::{Table, Tables};
use super::tree::Checked;
use super::{Asked, check, clickhouse};
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
    }
}

fn verifications(text: &str) -> Result<Checked, Error> {
    check(text, &asked(Tables::Verifications))
}

fn stored(table: &Table) -> String {
    format!("stored.{}", table.name)
}

#[test]
fn every_shared_statement_is_printed_for_clickhouse_as_it_was() {
    let mut printed = Vec::new();
    let mut refused = Vec::new();
    for statement in statements() {
        match check(&statement.text, &asked(statement.tables())) {
            Ok(checked) => printed.push(json!({
                "about": statement.about,
                "marks": statement.marks,
                "statement": statement.text,
                "columns": checked.columns().iter().map(|column| json!([column.name, column.of.to_string()])).collect::<Vec<_>>(),
                "printed": clickhouse::print(&checked, &stored),
            })),
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
