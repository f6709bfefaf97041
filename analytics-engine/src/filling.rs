//! Filling gaps in an order: a step of execution that reads rows in order and makes those between them.
//!
//! The key goes along a grid from `FROM`, or from the first row, in steps. Places of the grid where there is no row get one;
//! rows that are not on the grid stay and do not move it. What is made is made as it is asked for, a portion at a time:
//! a wide gap of small steps costs nothing that a limit behind it does not want.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int64Type, SchemaRef, UInt64Type};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ColumnarValue, ExecutionPlan};
use futures_util::StreamExt as _;
use keyrack_core::analytics::sql::types::{Type, Unit};

use crate::kernels::later;
use crate::step::{Step, Work};

/// Rows made at a time.
const PORTION: usize = 8192;

/// How gaps are filled.
#[derive(Debug)]
pub(crate) struct Filling {
    /// The column whose gaps are filled.
    pub(crate) key: usize,
    /// Columns before it in the order, which made rows have from those around them.
    pub(crate) kept: Vec<usize>,
    /// How far it is to the next place.
    pub(crate) step: StepOf,
    /// Whether the order goes down.
    pub(crate) descending: bool,
    /// What made rows have in all other columns.
    pub(crate) defaults: Vec<ScalarValue>,
}

/// How far it is from a place of the grid to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StepOf {
    /// In what the key is counted in.
    Length(i64),
    /// In months, of a time of this type.
    Months(i64, Type),
}

impl StepOf {
    fn next(&self, key: i64) -> Option<i64> {
        match self {
            StepOf::Length(length) => key.checked_add(*length),
            StepOf::Months(months, of) => {
                let (time, amount): (ArrayRef, ArrayRef) =
                    (Arc::new(Int64Array::from(vec![key])), Arc::new(Int64Array::from(vec![*months])));
                Some(later(&time, &amount, Unit::Month, of).ok()?.as_primitive::<Int64Type>().value(0))
            }
        }
    }
}

/// The value of a constant key; `None` for NULL.
pub(crate) fn value_of(constant: &dyn PhysicalExpr) -> Result<Option<i64>> {
    let nothing = RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()));
    let value = match constant.evaluate(&nothing)? {
        ColumnarValue::Scalar(value) => value,
        ColumnarValue::Array(values) if values.len() == 1 => ScalarValue::try_from_array(&values, 0)?,
        ColumnarValue::Array(_) => return internal_err!("a bound that is no constant"),
    };
    Ok(match value {
        ScalarValue::Int64(value) => value,
        ScalarValue::UInt64(value) => value.and_then(|value| i64::try_from(value).ok()),
        _ => None,
    })
}

/// The step of execution.
#[derive(Debug)]
pub(crate) struct Filled {
    filling: Arc<Filling>,
    from: Option<i64>,
    to: Option<i64>,
}

impl Filled {
    /// Of rows that come in order.
    pub(crate) fn of(
        input: Arc<dyn ExecutionPlan>,
        filling: Arc<Filling>,
        from: Option<i64>,
        to: Option<i64>,
    ) -> Arc<dyn ExecutionPlan> {
        Step::around(input, Filled { filling, from, to })
    }
}

impl Work for Filled {
    const NAME: &'static str = "Filled";
    const NEEDS_ORDER: bool = true;

    fn rows(&self, rows: SendableRecordBatchStream, _: &TaskContext) -> Result<SendableRecordBatchStream> {
        let schema = rows.schema();
        let state = Gaps {
            schema: Arc::clone(&schema),
            filling: Arc::clone(&self.filling),
            from: self.from,
            to: self.to,
            converter: kept_rows(&self.filling, &schema)?,
            group: None,
            place: None,
            waiting: VecDeque::new(),
            is_over: false,
        };
        let made = futures_util::stream::try_unfold((rows, state), |(mut rows, mut state)| async move {
            loop {
                if let Some(batch) = state.next_portion()? {
                    return Ok(Some((batch, (rows, state))));
                }
                if state.is_over {
                    return Ok(None);
                }
                match rows.next().await.transpose()? {
                    Some(batch) => state.take(&batch)?,
                    None => state.end(),
                }
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, made)))
    }
}

fn kept_rows(filling: &Filling, schema: &SchemaRef) -> Result<Option<RowConverter>> {
    if filling.kept.is_empty() {
        return Ok(None);
    }
    let fields = filling.kept.iter().map(|column| SortField::new(schema.field(*column).data_type().clone()));
    Ok(Some(RowConverter::new(fields.collect())?))
}

/// What comes next: rows that were there, or a stretch of the grid.
enum Piece {
    /// These rows of a batch.
    Rows(RecordBatch),
    /// Places from here on, until before `until` (to the end of the grid without it), beside this row's kept columns.
    Gap { from: i64, until: Option<i64>, beside: Option<RecordBatch> },
}

/// The gaps of rows that come in order.
struct Gaps {
    schema: SchemaRef,
    filling: Arc<Filling>,
    from: Option<i64>,
    to: Option<i64>,
    converter: Option<RowConverter>,
    /// The kept columns of the rows that come now, and one row that has them.
    group: Option<(Option<OwnedRow>, RecordBatch)>,
    /// The next place of the grid without a row; `None` before it begins, or when it is over.
    place: Option<i64>,
    waiting: VecDeque<Piece>,
    is_over: bool,
}

impl Gaps {
    fn is_before(&self, left: i64, right: i64) -> bool {
        if self.filling.descending { left > right } else { left < right }
    }

    /// Takes rows in, which is to say the gaps before each of them.
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let keys = keys(batch.column(self.filling.key))?;
        let groups = self.converter.as_ref().map(|converter| {
            let columns: Vec<ArrayRef> =
                self.filling.kept.iter().map(|kept| Arc::clone(batch.column(*kept))).collect();
            converter.convert_columns(&columns)
        });
        let groups = groups.transpose()?;
        let mut begin = 0;
        for row in 0..batch.num_rows() {
            let group = groups.as_ref().map(|groups| groups.row(row).owned());
            if self.group.as_ref().is_none_or(|(known, _)| *known != group) {
                self.flush(batch, &mut begin, row);
                self.end_group();
                self.group = Some((group, batch.slice(row, 1)));
                self.place = self.from;
            }
            if keys.is_null(row) {
                continue;
            }
            let key = keys.value(row);
            let place = *self.place.get_or_insert(key);
            if self.is_before(place, key) {
                self.flush(batch, &mut begin, row);
                self.gap(Some(key));
            }
            if self.place == Some(key) {
                self.place = self.filling.step.next(key);
            }
        }
        self.flush(batch, &mut begin, batch.num_rows());
        Ok(())
    }

    fn flush(&mut self, batch: &RecordBatch, begin: &mut usize, end: usize) {
        if end > *begin {
            self.waiting.push_back(Piece::Rows(batch.slice(*begin, end - *begin)));
            *begin = end;
        }
    }

    /// The places before a key, or before the end of the grid.
    fn gap(&mut self, key: Option<i64>) {
        let Some(from) = self.place else { return };
        let until = match (key, self.to) {
            (Some(key), Some(to)) => Some(if self.is_before(to, key) { to } else { key }),
            (key, to) => key.or(to),
        };
        let Some(until) = until else { return };
        if !self.is_before(from, until) {
            return;
        }
        let beside = self.group.as_ref().map(|(_, row)| row.clone());
        self.waiting.push_back(Piece::Gap { from, until: Some(until), beside });
        // The grid goes on behind the gap.
        self.place = self.first_not_before(from, until);
    }

    fn first_not_before(&self, from: i64, until: i64) -> Option<i64> {
        if let StepOf::Length(length) = self.filling.step {
            let distance = i128::from(until) - i128::from(from);
            let length = i128::from(length);
            let steps = (distance + length - length.signum()) / length;
            return i64::try_from(i128::from(from) + steps.max(0) * length).ok();
        }
        let mut place = Some(from);
        while let Some(at) = place
            && self.is_before(at, until)
        {
            place = self.filling.step.next(at);
        }
        place
    }

    /// The rest of the grid of a group.
    fn end_group(&mut self) {
        if self.group.is_some() {
            self.gap(None);
        }
        self.place = None;
    }

    /// The end of all rows. Without any, the grid is made all the same.
    fn end(&mut self) {
        if self.group.is_none() && self.filling.kept.is_empty() {
            self.place = self.from;
            self.gap(None);
        }
        self.end_group();
        self.is_over = true;
    }

    /// What is to be given next, at most a portion.
    fn next_portion(&mut self) -> Result<Option<RecordBatch>> {
        let Some(piece) = self.waiting.pop_front() else { return Ok(None) };
        let (mut from, until, beside) = match piece {
            Piece::Rows(batch) => return Ok(Some(batch)),
            Piece::Gap { from, until, beside } => (Some(from), until, beside),
        };
        let mut places = Vec::new();
        while let Some(at) = from
            && until.is_none_or(|until| self.is_before(at, until))
            && places.len() < PORTION
        {
            places.push(at);
            from = self.filling.step.next(at);
        }
        if let Some(at) = from
            && until.is_none_or(|until| self.is_before(at, until))
        {
            self.waiting.push_front(Piece::Gap { from: at, until, beside: beside.clone() });
        }
        self.made(&places, beside.as_ref()).map(Some)
    }

    /// Rows at these places.
    fn made(&self, places: &[i64], beside: Option<&RecordBatch>) -> Result<RecordBatch> {
        let columns = self.schema.fields().iter().enumerate().map(|(column, field)| {
            if column == self.filling.key {
                return key_column(places, field.data_type());
            }
            match beside {
                Some(beside) if self.filling.kept.contains(&column) => {
                    let first = UInt32Array::from(vec![0; places.len()]);
                    Ok(take(beside.column(column), &first, None)?)
                }
                _ => self.filling.defaults[column].to_array_of_size(places.len()),
            }
        });
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns.collect::<Result<_>>()?)?)
    }
}

fn keys(column: &ArrayRef) -> Result<Int64Array> {
    match column.data_type() {
        DataType::Int64 => Ok(column.as_primitive::<Int64Type>().clone()),
        #[expect(clippy::cast_possible_wrap, reason = "filled integers beyond an Int64 are out of the question")]
        DataType::UInt64 => Ok(column.as_primitive::<UInt64Type>().unary(|key| key as i64)),
        other => internal_err!("a fill of {other}"),
    }
}

fn key_column(places: &[i64], of: &DataType) -> Result<ArrayRef> {
    Ok(match of {
        #[expect(clippy::cast_sign_loss, reason = "the same bits that were read")]
        DataType::UInt64 => {
            Arc::new(UInt64Array::from(places.iter().map(|place| *place as u64).collect::<Vec<_>>()))
        }
        _ => Arc::new(Int64Array::from(places.to_vec())),
    })
}
