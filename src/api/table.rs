//! Answers for people: lists as aligned columns, single things as lines of name and value.
//!
//! Texts come from whoever named a key: what is more than to be seen is spelled out.

use serde_json::{Map, Value};

use crate::printable::line;

/// Characters of a cell; longer values end in `…`. `--output json` has them whole.
const WIDEST_CELL: usize = 48;
const GAP: &str = "  ";

/// The data of an answer; empty when there is nothing to say.
pub(super) fn render(data: &Value) -> String {
    match data {
        Value::Array(items) if items.iter().any(Value::is_object) => list(items),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join("\n"),
        Value::Object(members) => single(members),
        Value::Null => String::new(),
        other => text(other),
    }
}

fn list(items: &[Value]) -> String {
    let mut columns: Vec<&str> = Vec::new();
    for name in items.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let header = columns.iter().map(|name| line(name).into_owned()).collect();
    let row = |item: &Value| columns.iter().map(|name| item.get(*name).map_or_else(String::new, short)).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(items.iter().map(row)).collect();
    aligned(&rows)
}

fn single(members: &Map<String, Value>) -> String {
    let rows: Vec<Vec<String>> =
        members.iter().map(|(name, value)| vec![line(name).into_owned(), text(value)]).collect();
    aligned(&rows)
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| length(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let row_line = |row: &Vec<String>| {
        let cells =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - length(cell))));
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

fn short(value: &Value) -> String {
    let text = text(value);
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
    fn a_single_thing_is_shown_whole() {
        let key = "k".repeat(100);
        let data = json!({ "keyId": "key_1", "key": key, "roles": ["a"] });
        assert_eq!(render(&data), format!("keyId  key_1\nkey    {key}\nroles  [\"a\"]"));
    }

    #[test]
    fn long_cells_are_shortened() {
        let table = render(&json!([{ "name": "x".repeat(49) }]));
        assert!(table.ends_with(&format!("{}…", "x".repeat(47))), "{table}");
    }

    #[test]
    fn nothing_reaches_the_terminal_as_a_command() {
        assert_eq!(render(&json!({ "name": "a\u{1b}[2J\nb\u{9b}c" })), "name  a\\u{1b}[2J\\u{a}b\\u{9b}c");
        assert_eq!(render(&json!([{ "a\u{202e}b": "c\u{200b}d" }])), "a\\u{202e}b\nc\\u{200b}d");
        assert_eq!(render(&json!([])), "");
        assert_eq!(render(&json!({})), "");
        assert_eq!(render(&json!(["a", 1])), "a\n1");
    }
}
