//! What the program knows of analytics, as Markdown for guides: tables, functions and limits.

use crate::analytics::LIMITS;
use crate::analytics::quota::{EXECUTION_MS, QUERIES};
use crate::analytics::sql::functions;
use crate::analytics::sql::tables::{Grain, Table, TableColumn, Tables};
use crate::analytics::sql::{MOST_BYTES, MOST_COLUMNS};

const MIB: usize = 1 << 20;

/// The tables of both operations, and the columns that they have in common, once.
pub(super) fn tables() -> String {
    let mut text = String::new();
    for (tables, operation) in
        [(Tables::Verifications, "analytics.getVerifications"), (Tables::Ratelimits, "analytics.getRatelimits")]
    {
        text.push_str(&format!("Of `{operation}`:\n\n| table | what it holds | `time` |\n|---|---|---|\n"));
        for table in Table::all(tables) {
            let time = table.columns.iter().find(|column| column.name == "time");
            let time = time.map_or(String::new(), |time| format!("{} ({})", time.meaning, time.kind.of()));
            text.push_str(&row(&[&format!("`{}`", table.name), table.meaning, &time]));
        }
        let (raw, sums): (Vec<&Table>, Vec<&Table>) =
            Table::all(tables).iter().partition(|table| table.grain == Grain::Raw);
        for alike in [raw, sums] {
            text.push_str(&columns(&alike));
        }
    }
    text
}

/// The columns of tables, but for `time`; each with the tables that have it, where these are not all.
fn columns(tables: &[&Table]) -> String {
    let mut columns: Vec<&TableColumn> = Vec::new();
    for column in tables.iter().flat_map(|table| table.columns).filter(|column| column.name != "time") {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let names = |tables: &[&Table]| tables.iter().map(|table| format!("`{}`", table.name)).collect::<Vec<_>>();
    let mut text = format!("\nColumns of {}:\n\n| column | type | |\n|---|---|---|\n", names(tables).join(", "));
    for column in columns {
        let having: Vec<&Table> = tables.iter().copied().filter(|table| table.columns.contains(column)).collect();
        let only = if having.len() == tables.len() {
            String::new()
        } else {
            format!(" Only in {}.", names(&having).join(", "))
        };
        let meaning = format!("{}{only}", column.meaning);
        text.push_str(&row(&[&format!("`{}`", column.name), &format!("`{}`", column.kind.of()), &meaning]));
    }
    text.push('\n');
    text
}

/// The functions that may be called.
pub(super) fn functions() -> String {
    let list = |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let (aggregates, others): (Vec<&str>, Vec<&str>) =
        functions::names().partition(|name| functions::is_aggregate(name));
    format!(
        "These, spelled in any case, and no others. Of the values of one row:\n\n{}.\n\nOf many rows; those with `If` take a \
         condition as one more argument:\n\n{}.\n",
        list(others),
        list(aggregates)
    )
}

/// What a statement may take.
pub(super) fn limits() -> String {
    let rows = [
        ("a statement", format!("{MOST_BYTES} bytes; {MOST_COLUMNS} selected columns, subqueries included")),
        ("how long it may run", format!("{} seconds", LIMITS.time.as_secs())),
        ("memory for what it has to remember", format!("{} MiB", LIMITS.memory_bytes / MIB)),
        ("its answer", format!("{} MiB of JSON", LIMITS.answer_bytes / MIB)),
        (
            "statements of a workspace",
            format!("{QUERIES} an hour, {} seconds of work an hour, and one at a time", EXECUTION_MS / 1000),
        ),
    ];
    let rows: String = rows.iter().map(|(what, most)| row(&[what, most])).collect();
    format!("| what | at most |\n|---|---|\n{rows}")
}

fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_and_every_column_is_named_with_its_type() {
        let text = tables();
        for table in [Tables::Verifications, Tables::Ratelimits].into_iter().flat_map(Table::all) {
            assert!(text.contains(&format!("| `{}` | {} |", table.name, table.meaning)), "{}", table.name);
            for column in table.columns.iter().filter(|column| column.name != "time") {
                let line = format!("| `{}` | `{}` | {}", column.name, column.kind.of(), column.meaning);
                assert!(text.contains(&line), "{line}");
            }
        }
        assert!(!text.contains("Only in"), "{text}");
    }

    #[test]
    fn every_function_is_named_once() {
        let text = functions();
        for name in functions::names() {
            assert_eq!(text.matches(&format!("`{name}`")).count(), 1, "{name}");
        }
        assert!(
            text.find("`sumIf`") > text.find("Of many rows") && text.find("`lower`") < text.find("Of many rows")
        );
    }

    #[test]
    fn limits_are_those_that_are_kept() {
        let text = limits();
        for said in
            ["16384 bytes", "64 selected", "10 seconds", "1024 MiB", "4 MiB", "1000 an hour", "1800 seconds"]
        {
            assert!(text.contains(said), "{said}: {text}");
        }
    }
}
