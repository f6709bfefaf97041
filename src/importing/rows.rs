//! The rows of a file to import: JSON lines as `keys.migrateKeys` takes keys, or CSV with named columns.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use keyrack_core::json;
use serde_json::{Map, Value, json};

/// What the columns of a CSV file may be called, and what they hold.
pub(super) const COLUMNS: [(&str, &str); 13] = [
    ("hash", "the hash of the key; the only column that must be there"),
    ("name", "for people"),
    ("externalId", "whom it belongs to in your own system; an identity is made if it is new"),
    ("permissions", "slugs, with | between them; made if new"),
    ("roles", "names, with | between them; made if new, without permissions"),
    ("enabled", "true or false"),
    ("expires", "Unix ms, not past"),
    ("remaining", "credits it has; empty for unlimited"),
    ("refillInterval", "daily or monthly"),
    ("refillAmount", "credits after a refill"),
    ("refillDay", "day of the month"),
    ("meta", "a JSON object"),
    ("ratelimits", "a JSON list of {name, limit, duration, autoApply}"),
];

/// A row: its line in the file, and the key that it describes or why it describes none.
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) key: Result<Value, String>,
}

/// Opens a file whose name ends in `.csv`, `.jsonl` or `.ndjson`.
///
/// # Errors
/// Says why it cannot be read.
pub(super) fn open(path: &Path) -> Result<Box<dyn Iterator<Item = Result<Row, String>>>, String> {
    let file = File::open(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "jsonl" | "ndjson" => Ok(Box::new(json_lines(file))),
        "csv" => csv_rows(file),
        _ => Err(format!("{}: a file to import ends in .csv, .jsonl or .ndjson", path.display())),
    }
}

fn json_lines(file: File) -> impl Iterator<Item = Result<Row, String>> {
    let lines = BufReader::new(file).lines().zip(1..);
    lines.filter(|(text, _)| !text.as_ref().is_ok_and(|text| text.trim().is_empty())).map(|(text, line)| {
        let text = text.map_err(|error| format!("line {line} cannot be read: {error}"))?;
        let key = json::read(text.as_bytes()).map_err(|error| format!("is no JSON: {error}"));
        Ok(Row { line, key })
    })
}

fn csv_rows(file: File) -> Result<Box<dyn Iterator<Item = Result<Row, String>>>, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let header = reader.headers().map_err(|error| format!("its first line cannot be read: {error}"))?;
    // Spreadsheets put a mark before the first name.
    let names: Vec<String> = header.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
    if let Some(unknown) = names.iter().find(|name| !COLUMNS.iter().any(|(known, _)| known == name)) {
        let known = COLUMNS.map(|(name, _)| name).join(", ");
        return Err(format!("there is no column {unknown:?}; the columns are {known}"));
    }
    if !names.iter().any(|name| name == "hash") {
        return Err("the column hash is missing; the first line names the columns".to_owned());
    }
    Ok(Box::new(reader.into_records().map(move |record| match record {
        Ok(record) => {
            let line = record.position().map_or(0, csv::Position::line);
            let values = names.iter().map(String::as_str).zip(record.iter());
            Ok(Row { line, key: key(values.filter(|(_, value)| !value.is_empty())) })
        }
        Err(error) => match error.position().map(csv::Position::line) {
            Some(line) if !error.is_io_error() => Ok(Row { line, key: Err(error.to_string()) }),
            _ => Err(error.to_string()),
        },
    })))
}

/// A key from the columns of a row that hold something.
fn key<'a>(values: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Value, String> {
    let (mut key, mut credits, mut refill) = (Map::new(), Map::new(), Map::new());
    for (name, value) in values {
        let number = || value.parse::<i64>().map(Value::from).map_err(|_| format!("{name} is no whole number"));
        let list = || Value::from(value.split('|').map(str::trim).collect::<Vec<_>>());
        let json = || json::read(value.as_bytes()).map_err(|error| format!("{name} is no JSON: {error}"));
        match name {
            "permissions" | "roles" => drop(key.insert(name.to_owned(), list())),
            "enabled" => {
                let enabled = value.to_ascii_lowercase().parse::<bool>();
                key.insert(name.to_owned(), json!(enabled.map_err(|_| "enabled is neither true nor false")?));
            }
            "expires" => drop(key.insert(name.to_owned(), number()?)),
            "meta" | "ratelimits" => drop(key.insert(name.to_owned(), json()?)),
            "remaining" => drop(credits.insert(name.to_owned(), number()?)),
            "refillInterval" => drop(refill.insert("interval".to_owned(), value.into())),
            "refillAmount" => drop(refill.insert("amount".to_owned(), number()?)),
            "refillDay" => drop(refill.insert(name.to_owned(), number()?)),
            _ => drop(key.insert(name.to_owned(), value.into())),
        }
    }
    if !refill.is_empty() {
        credits.entry("remaining").or_insert(Value::Null);
        credits.insert("refill".to_owned(), refill.into());
    }
    if !credits.is_empty() {
        key.insert("credits".to_owned(), credits.into());
    }
    Ok(key.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_the_members_of_a_key() {
        let row = [
            ("hash", "abc"),
            ("permissions", "a.read | b"),
            ("enabled", "FALSE"),
            ("remaining", "5"),
            ("refillInterval", "daily"),
            ("refillAmount", "9"),
            ("meta", r#"{"plan":"pro"}"#),
        ];
        let due = json!({
            "hash": "abc", "permissions": ["a.read", "b"], "enabled": false, "meta": {"plan": "pro"},
            "credits": {"remaining": 5, "refill": {"interval": "daily", "amount": 9}},
        });
        assert_eq!(key(row.into_iter()), Ok(due));
        let reserved = [("hash", "abc"), ("meta", r#"{"$serde_json::private::RawValue":"{\"a\":1}"}"#)];
        let due = r#"{"hash":"abc","meta":{"$serde_json::private::RawValue":"{\"a\":1}"}}"#;
        assert_eq!(key(reserved.into_iter()).unwrap().to_string(), due, "every name is data");
        for wrong in [("expires", "soon"), ("enabled", "maybe"), ("meta", "{"), ("remaining", "1.5")] {
            assert!(key([wrong].into_iter()).unwrap_err().contains(wrong.0), "{wrong:?}");
        }
    }
}
