//! Rows on their way into Arrow: a builder per column of a table, filled from left to right.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewBuilder, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, ListBuilder,
    RecordBatch, StringViewBuilder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;

use super::schema::Stored;

/// Texts of which there are so many that to look for an equal one costs more than to keep it once more.
const MANY: [&str; 5] = ["request_id", "key_id", "identity_id", "external_id", "identifier"];

/// Rows of a table that are being collected.
#[derive(Debug)]
pub(super) struct Columns {
    table: Stored,
    columns: Vec<Column>,
    rows: usize,
}

#[derive(Debug)]
enum Column {
    Text(StringViewBuilder),
    Texts(ListBuilder<StringViewBuilder>),
    Integer(Int64Builder),
    Unsigned(UInt64Builder),
    Float(Float64Builder),
    Flag(BooleanBuilder),
    Date(Date32Builder),
    Bytes(BinaryViewBuilder),
}

/// A row of which the columns up to some are filled. A value of another type than the column's is left out, which
/// [`Columns::finish`] notices.
pub(super) struct Row<'a>(std::slice::IterMut<'a, Column>);

impl Columns {
    pub(super) fn of(table: Stored) -> Self {
        let columns = table.schema().fields().iter().map(|field| Column::of(field)).collect();
        Columns { table, columns, rows: 0 }
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Begins a row.
    pub(super) fn row(&mut self) -> Row<'_> {
        self.rows += 1;
        Row(self.columns.iter_mut())
    }

    /// Takes the rows.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        RecordBatch::try_new(self.table.schema().clone(), columns)
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        self.columns.iter().map(|column| column.memory(self.rows)).sum()
    }
}

impl Column {
    fn of(field: &Field) -> Self {
        match field.data_type() {
            DataType::Utf8View if MANY.contains(&field.name().as_str()) => Column::Text(StringViewBuilder::new()),
            DataType::Utf8View => Column::Text(shared()),
            DataType::List(_) => Column::Texts(ListBuilder::new(shared())),
            DataType::UInt64 => Column::Unsigned(UInt64Builder::new()),
            DataType::Float64 => Column::Float(Float64Builder::new()),
            DataType::Boolean => Column::Flag(BooleanBuilder::new()),
            DataType::Date32 => Column::Date(Date32Builder::new()),
            DataType::BinaryView => Column::Bytes(BinaryViewBuilder::new()),
            _ => Column::Integer(Int64Builder::new()),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Text(builder) => Arc::new(builder.finish()),
            Column::Texts(builder) => Arc::new(builder.finish()),
            Column::Integer(builder) => Arc::new(builder.finish()),
            Column::Unsigned(builder) => Arc::new(builder.finish()),
            Column::Float(builder) => Arc::new(builder.finish()),
            Column::Flag(builder) => Arc::new(builder.finish()),
            Column::Date(builder) => Arc::new(builder.finish()),
            Column::Bytes(builder) => Arc::new(builder.finish()),
        }
    }

    fn memory(&self, rows: usize) -> usize {
        match self {
            Column::Text(builder) => builder.allocated_size(),
            Column::Texts(builder) => builder.values_ref().allocated_size() + 4 * rows,
            Column::Bytes(builder) => builder.allocated_size(),
            _ => 8 * rows,
        }
    }
}

/// Texts of which equal ones are kept once.
fn shared() -> StringViewBuilder {
    StringViewBuilder::new().with_deduplicate_strings()
}

impl Row<'_> {
    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        if let Some(Column::Text(builder)) = self.0.next() {
            builder.append_value(value);
        }
        self
    }

    pub(super) fn texts<'b>(&mut self, values: impl IntoIterator<Item = &'b str>) -> &mut Self {
        if let Some(Column::Texts(builder)) = self.0.next() {
            values.into_iter().for_each(|value| builder.values().append_value(value));
            builder.append(true);
        }
        self
    }

    pub(super) fn integer(&mut self, value: i64) -> &mut Self {
        if let Some(Column::Integer(builder)) = self.0.next() {
            builder.append_value(value);
        }
        self
    }

    /// A number that is never below zero.
    pub(super) fn unsigned(&mut self, value: Option<u64>) -> &mut Self {
        if let Some(Column::Unsigned(builder)) = self.0.next() {
            builder.append_option(value);
        }
        self
    }

    pub(super) fn float(&mut self, value: f64) -> &mut Self {
        if let Some(Column::Float(builder)) = self.0.next() {
            builder.append_value(value);
        }
        self
    }

    pub(super) fn flag(&mut self, value: bool) -> &mut Self {
        if let Some(Column::Flag(builder)) = self.0.next() {
            builder.append_value(value);
        }
        self
    }

    pub(super) fn date(&mut self, days: i32) -> &mut Self {
        if let Some(Column::Date(builder)) = self.0.next() {
            builder.append_value(days);
        }
        self
    }

    pub(super) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        if let Some(Column::Bytes(builder)) = self.0.next() {
            builder.append_value(value);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_do_not_fit_are_noticed() {
        let mut columns = Columns::of(Stored::Gaps);
        columns.row().integer(1).integer(2).text("ws_1").unsigned(None).text("full");
        assert_eq!(columns.finish().unwrap().num_rows(), 1);
        columns.row().integer(1).text("ws_1").integer(2).unsigned(None).text("full");
        assert!(columns.finish().is_err());
        assert_eq!(columns.rows(), 0);
    }
}
