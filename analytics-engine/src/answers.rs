//! Rows of an answer as JSON.

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use keyrack_core::analytics::engine::Failure;
use keyrack_core::analytics::sql::types::Type;
use keyrack_core::calendar::UnixMs;
use serde_json::Value;

/// Bytes that a batch may have on top, for buffers that are larger than what is in them.
const SLACK_BYTES: usize = 4 << 20;

/// Rows that are taken in until they are too large.
#[derive(Debug)]
pub(crate) struct Answer {
    types: Vec<Type>,
    /// Bytes of what stands around each row: the names of its columns.
    row_bytes: usize,
    left_bytes: usize,
    pub(crate) rows: Vec<Vec<Value>>,
}

impl Answer {
    /// An answer with columns of these names and types, of so many bytes at most.
    pub(crate) fn of(columns: impl Iterator<Item = (String, Type)>, most_bytes: usize) -> Self {
        let (names, types): (Vec<String>, Vec<Type>) = columns.unzip();
        // `"name":` and a comma.
        let row_bytes = names.iter().map(|name| name.len() + 4).sum::<usize>() + 2;
        Answer { types, row_bytes, left_bytes: most_bytes, rows: Vec::new() }
    }

    /// Takes rows in.
    ///
    /// # Errors
    /// When the answer is too large with them.
    pub(crate) fn take(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        // Arrow takes no more than JSON, but for numbers of few digits.
        if batch.get_array_memory_size() / 8 > self.left_bytes + SLACK_BYTES {
            return Err(Failure::Answer);
        }
        for row in 0..batch.num_rows() {
            let values: Vec<Value> =
                self.types.iter().zip(batch.columns()).map(|(of, column)| value(column, row, of)).collect();
            let bytes = self.row_bytes + values.iter().map(size).sum::<usize>();
            self.left_bytes = self.left_bytes.checked_sub(bytes).ok_or(Failure::Answer)?;
            self.rows.push(values);
        }
        Ok(())
    }
}

/// About as many bytes as a value takes in JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Bool(_) => 5,
        Value::Number(number) => number.to_string().len(),
        Value::String(text) => text.len() + 2,
        Value::Array(values) => values.iter().map(|value| size(value) + 1).sum::<usize>() + 2,
        Value::Object(_) => 2,
    }
}

fn value(column: &ArrayRef, row: usize, of: &Type) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match (of.inner(), column.data_type()) {
        (Type::Date, _) => time(column.as_primitive::<Int64Type>().value(row).saturating_mul(86_400_000), false),
        (Type::DateTime, _) => time(column.as_primitive::<Int64Type>().value(row).saturating_mul(1000), false),
        (Type::DateTime64, _) => time(column.as_primitive::<Int64Type>().value(row), true),
        (Type::Array(inner), _) => {
            let elements = column.as_list::<i32>().value(row);
            (0..elements.len()).map(|element| value(&elements, element, inner)).collect()
        }
        (_, DataType::Boolean) => column.as_boolean().value(row).into(),
        (_, DataType::Int64) => column.as_primitive::<Int64Type>().value(row).into(),
        (_, DataType::UInt64) => column.as_primitive::<UInt64Type>().value(row).into(),
        (_, DataType::Float64) => column.as_primitive::<Float64Type>().value(row).into(),
        (_, DataType::Utf8View) => column.as_string_view().value(row).into(),
        _ => Value::Null,
    }
}

/// RFC 3339 in UTC, with milliseconds where the type has them.
fn time(ms: i64, with_ms: bool) -> Value {
    let text = UnixMs::new(ms).rfc3339();
    let whole =
        text.strip_suffix("Z").map(|text| text.split_once('.').map_or(text, |(whole, _)| whole).to_owned());
    let Some(whole) = whole else { return text.into() };
    if with_ms { format!("{whole}.{:03}Z", ms.rem_euclid(1000)) } else { format!("{whole}Z") }.into()
}
