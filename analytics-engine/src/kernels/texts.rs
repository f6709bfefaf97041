//! Functions of texts. Texts are bytes to the dialect: what is cut within a character ends in U+FFFD, since Arrow's
//! texts are UTF-8.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, StringViewArray, UInt64Array};
use arrow::datatypes::Int64Type;
use datafusion::common::{Result, not_impl_err};
use keyrack_core::analytics::sql::functions::Function;

use crate::meter;

/// A function of texts.
pub(super) fn apply(function: &Function, arguments: &[ArrayRef]) -> Result<ArrayRef> {
    Ok(match (function, arguments) {
        (Function::Lower, [text]) => map(text, str::to_ascii_lowercase),
        (Function::Upper, [text]) => map(text, str::to_ascii_uppercase),
        (Function::Trim { leading, trailing }, [text]) => map(text, |text| {
            let text = if *leading { text.trim_start_matches(' ') } else { text };
            let text = if *trailing { text.trim_end_matches(' ') } else { text };
            text.to_owned()
        }),
        (Function::Length, [text]) => {
            let lengths = text.as_string_view().iter().map(|text| text.map(|text| text.len() as u64));
            Arc::new(lengths.collect::<UInt64Array>())
        }
        (Function::StartsWith, [text, other]) => compare(text, other, |text, other| text.starts_with(other)),
        (Function::EndsWith, [text, other]) => compare(text, other, |text, other| text.ends_with(other)),
        (Function::Concat, parts) => concat(parts)?,
        (Function::Substring, [text, from, rest @ ..]) => substring(text, from, rest.first()),
        (Function::JsonExtractString, [text, path @ ..]) => json_text(text, path),
        (function, _) => return not_impl_err!("{function:?}"),
    })
}

fn map(texts: &ArrayRef, change: impl Fn(&str) -> String) -> ArrayRef {
    Arc::new(texts.as_string_view().iter().map(|text| text.map(&change)).collect::<StringViewArray>())
}

fn compare(texts: &ArrayRef, others: &ArrayRef, holds: impl Fn(&str, &str) -> bool) -> ArrayRef {
    let pairs = texts.as_string_view().iter().zip(others.as_string_view().iter());
    Arc::new(pairs.map(|(text, other)| Some(holds(text?, other?))).collect::<BooleanArray>())
}

fn concat(parts: &[ArrayRef]) -> Result<ArrayRef> {
    let rows = parts.first().map_or(0, |part| part.len());
    let texts: Vec<&StringViewArray> = parts.iter().map(|part| part.as_string_view()).collect();
    // Before any of them is made.
    let bytes = |part: &StringViewArray| part.iter().flatten().map(str::len).sum::<usize>();
    meter::count(texts.iter().map(|part| bytes(part)).sum::<usize>())?;
    let whole = |row: usize| {
        texts.iter().all(|part| part.is_valid(row)).then(|| {
            texts.iter().fold(String::new(), |mut whole, part| {
                whole.push_str(part.value(row));
                whole
            })
        })
    };
    Ok(Arc::new((0..rows).map(whole).collect::<StringViewArray>()))
}

fn substring(texts: &ArrayRef, from: &ArrayRef, length: Option<&ArrayRef>) -> ArrayRef {
    let (texts, from) = (texts.as_string_view(), from.as_primitive::<Int64Type>());
    let length = length.map(|length| length.as_primitive::<Int64Type>());
    let part = |row: usize| {
        let is_null = texts.is_null(row) || from.is_null(row) || length.is_some_and(|length| length.is_null(row));
        (!is_null).then(|| {
            let bytes = texts.value(row).as_bytes();
            let part = bytes_between(bytes, from.value(row), length.map(|length| length.value(row)));
            String::from_utf8_lossy(part).into_owned()
        })
    };
    Arc::new((0..texts.len()).map(part).collect::<StringViewArray>())
}

/// Bytes from a place that counts from 1, from the end where negative; at most so many, without so many of the end where
/// negative.
fn bytes_between(bytes: &[u8], from: i64, length: Option<i64>) -> &[u8] {
    let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    if from == 0 {
        return &[];
    }
    // A place before the beginning takes from the length, too.
    let start = if from > 0 { from - 1 } else { size.saturating_add(from) };
    let end = match length {
        None => size,
        Some(length) if length >= 0 => start.saturating_add(length),
        Some(length) => size.saturating_add(length),
    };
    let place = |at: i64| usize::try_from(at.clamp(0, size)).unwrap_or(0);
    let (start, end) = (place(start), place(end));
    if start < end { &bytes[start..end] } else { &[] }
}

fn json_text(texts: &ArrayRef, path: &[ArrayRef]) -> ArrayRef {
    let path: Vec<&StringViewArray> = path.iter().map(|step| step.as_string_view()).collect();
    let found = |(row, text): (usize, Option<&str>)| {
        let read: serde_json::Value = serde_json::from_str(text?).unwrap_or_default();
        let mut value = &read;
        for step in &path {
            if step.is_null(row) {
                return None;
            }
            value = value.get(step.value(row)).unwrap_or(&serde_json::Value::Null);
        }
        Some(match value {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => text.clone(),
            // As JSON writes it.
            other => other.to_string(),
        })
    };
    Arc::new(texts.as_string_view().iter().enumerate().map(found).collect::<StringViewArray>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_text_counts_bytes_from_one() {
        let part = |from, length| std::str::from_utf8(bytes_between(b"hello", from, length)).unwrap();
        assert_eq!([part(2, None), part(2, Some(3)), part(-3, Some(2)), part(0, None)], ["ello", "ell", "ll", ""]);
        assert_eq!([part(2, Some(-1)), part(9, Some(2)), part(1, Some(i64::MAX))], ["ell", "", "hello"]);
        assert_eq!([part(-9, Some(6)), part(i64::MIN, None)], ["he", "hello"]);
    }
}
