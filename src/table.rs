//! Answers as people and other programs read them: lists as aligned columns, CSV or JSON, single things as lines of name
//! and value.
//!
//! Texts come from whoever named a key: on the way to people, what is more than to be seen is spelled out, and in CSV
//! nothing is a formula.

use std::io;

use serde_json::{Map, Value};

use crate::printable::line;

/// Characters of a cell for people; longer values end in `…`. CSV and JSON have them whole.
const WIDEST_CELL: usize = 48;
const GAP: &str = "  ";
/// What spreadsheets take for the beginning of a formula.
const BEGINS_FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// The data of an answer; empty when there is nothing to say.
pub(crate) fn render(data: &Value) -> String {
    match data {
        Value::Array(items) if items.iter().any(Value::is_object) => Table::of(items).aligned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join("\n"),
        Value::Object(members) => single(members),
        Value::Null => String::new(),
        other => text(other),
    }
}

/// Rows with columns.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    columns: Vec<String>,
    /// An object each.
    rows: &'a [Value],
}

impl<'a> Table<'a> {
    /// A table with a column per member that occurs, in the order in which they come.
    pub(crate) fn of(rows: &'a [Value]) -> Self {
        Table::with_columns(Vec::new(), rows)
    }

    /// A table with these columns first, which it has without rows too.
    pub(crate) fn with_columns(columns: Vec<String>, rows: &'a [Value]) -> Self {
        let mut table = Table { columns, rows };
        for name in rows.iter().filter_map(Value::as_object).flat_map(Map::keys) {
            if !table.columns.contains(name) {
                table.columns.push(name.clone());
            }
        }
        table
    }

    /// For people: a header and a line per row, columns of numbers to the right.
    pub(crate) fn aligned(&self) -> String {
        let header = self.columns.iter().map(|name| short(line(name).into_owned())).collect();
        let cell = |row: &Value, name: &String| row.get(name).map_or_else(String::new, |value| short(text(value)));
        let row = |row: &Value| self.columns.iter().map(|name| cell(row, name)).collect();
        let rows: Vec<Vec<String>> = std::iter::once(header).chain(self.rows.iter().map(row)).collect();
        let sides: Vec<Side> = self.columns.iter().map(|name| self.side(name)).collect();
        aligned(&rows, &sides)
    }

    /// To the right if there are numbers in it and, besides null, nothing else.
    fn side(&self, name: &str) -> Side {
        let mut values = self.rows.iter().filter_map(|row| row.get(name)).filter(|value| !value.is_null());
        match values.next() {
            Some(first) if first.is_number() && values.all(Value::is_number) => Side::Right,
            _ => Side::Left,
        }
    }

    /// As CSV (RFC 4180, lines end in `\n`) with a header: texts as they are, but with an apostrophe before what a
    /// spreadsheet would take for a formula; numbers as numbers, nothing for null, lists and objects as JSON.
    ///
    /// # Errors
    /// When it cannot be made, which no value can bring about.
    pub(crate) fn csv(&self) -> io::Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        if !self.columns.is_empty() {
            writer.write_record(self.columns.iter().map(|name| no_formula(name.clone())))?;
        }
        for row in self.rows {
            writer.write_record(self.columns.iter().map(|name| csv_cell(row.get(name))))?;
        }
        let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
        String::from_utf8(bytes).map_err(io::Error::other)
    }

    /// As a JSON array with a row per line.
    pub(crate) fn json(&self) -> String {
        let rows: Vec<String> = self.rows.iter().map(Value::to_string).collect();
        if rows.is_empty() { "[]".to_owned() } else { format!("[\n{}\n]", rows.join(",\n")) }
    }
}

fn csv_cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => no_formula(text.clone()),
        Some(other) => other.to_string(),
    }
}

fn no_formula(mut text: String) -> String {
    if text.starts_with(BEGINS_FORMULA) {
        text.insert(0, '\'');
    }
    text
}

fn single(members: &Map<String, Value>) -> String {
    let rows: Vec<Vec<String>> =
        members.iter().map(|(name, value)| vec![line(name).into_owned(), text(value)]).collect();
    aligned(&rows, &[])
}

/// Where cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Rows as lines; columns of which no side is said stand to the left.
fn aligned(rows: &[Vec<String>], sides: &[Side]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| length(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let row_line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let blanks = " ".repeat(width - length(cell));
            if sides.get(column) == Some(&Side::Right) { blanks + cell } else { cell.clone() + &blanks }
        });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    rows.iter().map(row_line).collect::<Vec<_>>().join("\n")
}

/// A text as it is, anything else as compact JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => line(text).into_owned(),
        // JSON escapes the control characters of ASCII only.
        other => line(&other.to_string()).into_owned(),
    }
}

fn short(text: String) -> String {
    if length(&text) <= WIDEST_CELL {
        return text;
    }
    text.chars().take(WIDEST_CELL - 1).chain(['…']).collect()
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_has_a_column_per_member_that_occurs() {
        let data = json!([
            { "keyId": "key_1", "enabled": true },
            { "keyId": "key_22", "name": "Möbile", "credits": { "remaining": 0 } },
        ]);
        let expected = "keyId   enabled  name    credits\n\
                        key_1   true\n\
                        key_22           Möbile  {\"remaining\":0}";
        assert_eq!(render(&data), expected);
    }

    #[test]
    fn columns_of_numbers_stand_to_the_right() {
        let data = json!([
            { "n": 1, "mean": 0.5, "mixed": 1, "nothing": null },
            { "n": 1234, "mean": null, "mixed": "a", "nothing": null },
            { "n": -7, "mixed": 33 },
        ]);
        let expected = "   n  mean  mixed  nothing\n   \
                           1   0.5  1      null\n\
                        1234  null  a      null\n  \
                          -7        33";
        assert_eq!(render(&data), expected);
    }

    #[test]
    fn a_single_thing_is_shown_whole() {
        let key = "k".repeat(100);
        let data = json!({ "keyId": "key_1", "key": key, "roles": ["a"] });
        assert_eq!(render(&data), format!("keyId  key_1\nkey    {key}\nroles  [\"a\"]"));
    }

    #[test]
    fn long_cells_are_shortened() {
        let table = render(&json!([{ "name": "x".repeat(49) }]));
        assert!(table.ends_with(&format!("{}…", "x".repeat(47))), "{table}");
        let table = render(&json!([{ "y".repeat(49): 1 }]));
        assert!(table.starts_with(&format!("{}…\n", "y".repeat(47))), "{table}");
    }

    #[test]
    fn nothing_reaches_the_terminal_as_a_command() {
        assert_eq!(render(&json!({ "name": "a\u{1b}[2J\nb\u{9b}c" })), "name  a\\u{1b}[2J\\u{a}b\\u{9b}c");
        assert_eq!(render(&json!([{ "a\u{202e}b": "c\u{200b}d" }])), "a\\u{202e}b\nc\\u{200b}d");
        assert_eq!(render(&json!([])), "");
        assert_eq!(render(&json!({})), "");
        assert_eq!(render(&json!(["a", 1])), "a\n1");
    }

    #[test]
    fn csv_has_values_whole_and_no_formulas() {
        let rows = json!([
            { "=a": "=1+1", "text": "x".repeat(60), "n": -5 },
            { "=a": "@SUM(A1)", "text": "two \"words\", and\na line", "n": 0.25, "list": ["-1"] },
            { "=a": "+49", "text": "-", "n": null, "list": [] },
            { "=a": "\t=1", "text": "a=b", "n": 18_446_744_073_709_551_615_u64 },
        ]);
        let expected = format!(
            "'=a,text,n,list\n'=1+1,{},-5,\n'@SUM(A1),\"two \"\"words\"\", and\na line\",0.25,\"[\"\"-1\"\"]\"\n\
             '+49,'-,,[]\n'\t=1,a=b,18446744073709551615,\n",
            "x".repeat(60)
        );
        assert_eq!(Table::of(rows.as_array().unwrap()).csv().unwrap(), expected);
    }

    #[test]
    fn without_rows_there_is_what_a_script_can_read() {
        let columns = || vec!["outcome".to_owned(), "n".to_owned()];
        assert_eq!(Table::with_columns(columns(), &[]).csv().unwrap(), "outcome,n\n");
        assert_eq!(Table::with_columns(columns(), &[]).aligned(), "outcome  n");
        assert_eq!((Table::of(&[]).csv().unwrap().as_str(), Table::of(&[]).json().as_str()), ("", "[]"));
    }

    #[test]
    fn json_has_a_row_per_line_in_the_order_of_the_columns() {
        let rows = json!([{ "z": 1, "a": "\u{1b}" }, { "z": 2, "a": null }]);
        let text = Table::of(rows.as_array().unwrap()).json();
        assert_eq!(text, "[\n{\"z\":1,\"a\":\"\\u001b\"},\n{\"z\":2,\"a\":null}\n]");
    }
}
