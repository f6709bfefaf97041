//! `arrayFilter`: the elements of arrays for which a lambda is true.
//!
//! A lambda is evaluated of elements, as other expressions are of rows, and whatever columns it reads are copied for each
//! element. So it is evaluated of so many elements at a time that the copies stay small.

use std::cell::OnceCell;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, ListArray, UInt32Array, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat, filter, prep_null_mask_filter, take_arrays};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, internal_err};
use datafusion::functions_nested::array_filter::ArrayFilter;
use datafusion::logical_expr::expr::HigherOrderFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature,
    HigherOrderUDF, HigherOrderUDFImpl, LambdaArgument, LambdaParametersProgress, ValueOrLambda,
};

use super::PART_BYTES;
use crate::meter;

/// Elements of which a lambda is evaluated at a time: as many as there are rows in a batch.
const PART: usize = 8192;
/// Bytes of a text in an array of texts, which copies share, and of a place in one of arrays.
const VIEW: usize = size_of::<u128>();

/// The elements of an array for which a lambda is true.
pub(crate) fn filtered(array: Expr, lambda: Expr) -> Expr {
    static FILTER: LazyLock<Arc<HigherOrderUDF>> =
        LazyLock::new(|| Arc::new(HigherOrderUDF::new_from_impl(InParts { whole: ArrayFilter::new() })));
    Expr::HigherOrderFunction(HigherOrderFunction::new(Arc::clone(&FILTER), vec![array, lambda]))
}

/// DataFusion's function, but for how it is computed.
#[derive(Debug, PartialEq, Eq, Hash)]
struct InParts {
    whole: ArrayFilter,
}

impl HigherOrderUDFImpl for InParts {
    fn name(&self) -> &'static str {
        "array_filter_in_parts"
    }

    fn signature(&self) -> &HigherOrderSignature {
        self.whole.signature()
    }

    fn lambda_parameters(
        &self,
        step: usize,
        fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>],
    ) -> Result<LambdaParametersProgress> {
        self.whole.lambda_parameters(step, fields)
    }

    fn coerce_value_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.whole.coerce_value_types(types)
    }

    fn return_field_from_args(&self, arguments: HigherOrderReturnFieldArgs) -> Result<FieldRef> {
        self.whole.return_field_from_args(arguments)
    }

    fn invoke_with_args(&self, arguments: HigherOrderFunctionArgs) -> Result<ColumnarValue> {
        let [ValueOrLambda::Value(arrays), ValueOrLambda::Lambda(lambda)] = arguments.args.as_slice() else {
            return internal_err!("a filter of arrays with other arguments than its own");
        };
        let DataType::List(of) = arguments.return_type() else {
            return internal_err!("a filter of {}", arguments.return_type());
        };
        let filtered = Filtering { arrays, lambda, rows: arguments.number_rows, weights: OnceCell::new() };
        Ok(ColumnarValue::Array(Arc::new(filtered.all(of)?)))
    }
}

/// Arrays that are being filtered.
struct Filtering<'a> {
    arrays: &'a ColumnarValue,
    lambda: &'a LambdaArgument,
    rows: usize,
    /// Bytes of what the lambda reads of each row, which are copied for each element. They are known once it was evaluated.
    weights: OnceCell<Vec<usize>>,
}

impl Filtering<'_> {
    fn all(&self, of: &FieldRef) -> Result<ListArray> {
        let (mut parts, mut lengths, mut valid) = (Vec::new(), Vec::with_capacity(self.rows), Vec::new());
        let (mut begin, mut uncounted) = (0, 0);
        while begin < self.rows {
            let end = self.end_of_part(begin)?;
            let arrays = self.arrays_of(begin, end)?;
            let arrays = arrays.as_list::<i32>();
            let (first, last) = (place(arrays, 0), place(arrays, arrays.len()));
            let elements = arrays.values().slice(first, last - first);
            let is_kept = self.is_kept(begin, arrays, &elements)?;
            for row in 0..arrays.len() {
                let (from, to) = (place(arrays, row) - first, place(arrays, row + 1) - first);
                lengths.push(is_kept.slice(from, to - from).true_count());
                valid.push(arrays.is_valid(row));
            }
            let kept = filter(&elements, &is_kept)?;
            // Copies of texts share them. Many small parts are a large one.
            uncounted += kept.len().saturating_mul(VIEW);
            if uncounted >= meter::SMALL {
                meter::count(std::mem::take(&mut uncounted))?;
            }
            parts.push(kept);
            begin = end;
        }
        let values = match parts.as_slice() {
            [] => new_empty_array(of.data_type()),
            [only] => Arc::clone(only),
            several => concat(&several.iter().map(|part| &**part).collect::<Vec<&dyn Array>>())?,
        };
        let nulls = valid.contains(&false).then(|| valid.into());
        Ok(ListArray::try_new(Arc::clone(of), OffsetBuffer::from_lengths(lengths), values, nulls)?)
    }

    /// The arrays of these rows. Those of a constant are made for no more rows than that.
    fn arrays_of(&self, begin: usize, end: usize) -> Result<ArrayRef> {
        match self.arrays {
            ColumnarValue::Array(arrays) => Ok(arrays.slice(begin, end - begin)),
            ColumnarValue::Scalar(array) => array.to_array_of_size(end - begin),
        }
    }

    /// Up to which row the elements are few enough to be looked at together; one row always is.
    fn end_of_part(&self, begin: usize) -> Result<usize> {
        let constant = match self.arrays {
            ColumnarValue::Array(_) => None,
            ColumnarValue::Scalar(array) => Some(array.to_array()?.as_list::<i32>().value_length_of(0)),
        };
        let length = |row: usize| match self.arrays {
            ColumnarValue::Array(arrays) => arrays.as_list::<i32>().value_length_of(row),
            ColumnarValue::Scalar(_) => constant.unwrap_or(0),
        };
        // What is copied is not known before the first row.
        let Some(weights) = self.weights.get().or((begin > 0).then_some(NONE)) else { return Ok(1) };
        let weight = |row: usize| weights.get(row).copied().unwrap_or(0);
        let (mut elements, mut bytes, mut end) = (0, 0, begin);
        while end < self.rows {
            elements += length(end);
            bytes += length(end).saturating_mul(weight(end));
            if end > begin && (elements > PART || bytes > PART_BYTES) {
                break;
            }
            end += 1;
        }
        Ok(end)
    }

    /// For which of the elements of arrays, the first of which is of this row, the lambda is true.
    fn is_kept(&self, begin: usize, arrays: &ListArray, elements: &ArrayRef) -> Result<BooleanArray> {
        let given = || Ok(Arc::clone(elements));
        let answer = self.lambda.evaluate(&[&given], |read| {
            let weights = self.weights.get_or_init(|| weights(read));
            let (mut rows, mut bytes) = (Vec::with_capacity(elements.len()), 0_usize);
            for row in 0..arrays.len() {
                let length = arrays.value_length_of(row);
                let of_batch = u32::try_from(begin + row).unwrap_or(u32::MAX);
                rows.extend(std::iter::repeat_n(of_batch, length));
                bytes = bytes.saturating_add(length.saturating_mul(weights[begin + row]));
            }
            if bytes > PART_BYTES {
                meter::count(bytes)?;
            }
            Ok(take_arrays(read, &UInt32Array::from(rows), None)?)
        })?;
        let answer = answer.into_array(elements.len())?;
        match answer.data_type() {
            // NULL is not true.
            DataType::Boolean if answer.null_count() > 0 => Ok(prep_null_mask_filter(answer.as_boolean())),
            DataType::Boolean => Ok(answer.as_boolean().clone()),
            other => internal_err!("a lambda that says {other}"),
        }
    }
}

/// Of a lambda that reads nothing of the row.
const NONE: &Vec<usize> = &Vec::new();

trait Lengths {
    /// How many elements the array of a row has.
    fn value_length_of(&self, row: usize) -> usize;
}

impl Lengths for ListArray {
    fn value_length_of(&self, row: usize) -> usize {
        usize::try_from(self.value_length(row)).unwrap_or(0)
    }
}

/// Where the elements of the array of a row begin.
fn place(arrays: &ListArray, row: usize) -> usize {
    usize::try_from(arrays.value_offsets()[row]).unwrap_or(0)
}

/// How many bytes a copy of each row of these columns has.
fn weights(columns: &[ArrayRef]) -> Vec<usize> {
    let rows = columns.first().map_or(0, |column| column.len());
    (0..rows).map(|row| columns.iter().map(|column| weight(column, row)).sum()).collect()
}

fn weight(column: &ArrayRef, row: usize) -> usize {
    match column.data_type() {
        DataType::List(of) => {
            let lists = column.as_list::<i32>();
            let (from, to) = (place(lists, row), place(lists, row + 1));
            match of.data_type().primitive_width() {
                Some(width) => (to - from) * width,
                None => (from..to).map(|at| weight(lists.values(), at)).sum(),
            }
        }
        other => other.primitive_width().unwrap_or(VIEW),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{Field, Int64Type};
    use datafusion::common::{DFSchema, ScalarValue};
    use datafusion::execution::context::SessionContext;
    use datafusion::logical_expr::expr::LambdaVariable;
    use datafusion::logical_expr::{col, lambda};

    use super::*;

    /// `arrayFilter(x -> x > least, array)`.
    fn greater(array: Expr, batch: &RecordBatch) -> Result<ArrayRef> {
        let field = Arc::new(Field::new("x", DataType::Int64, true));
        let x = Expr::LambdaVariable(LambdaVariable::new("x".to_owned(), Some(field)));
        let schema = DFSchema::try_from(batch.schema())?;
        let filter = filtered(array, lambda(["x"], x.gt(col("least"))));
        let filter = SessionContext::new().create_physical_expr(filter, &schema)?;
        filter.evaluate(batch)?.into_array(batch.num_rows())
    }

    fn batch(arrays: Vec<Option<Vec<Option<i64>>>>, least: Vec<i64>) -> RecordBatch {
        let arrays: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(arrays));
        let least: ArrayRef = Arc::new(Int64Array::from(least));
        RecordBatch::try_from_iter([("array", arrays), ("least", least)]).unwrap()
    }

    fn shown(filtered: &ArrayRef) -> Vec<Option<Vec<i64>>> {
        let lists = filtered.as_list::<i32>();
        let integers = |list: ArrayRef| list.as_primitive::<Int64Type>().iter().flatten().collect();
        lists.iter().map(|list| list.map(integers)).collect()
    }

    #[test]
    fn elements_stay_for_which_the_lambda_is_true_in_slices_and_parts_too() {
        let long = |row: i64| Some((0..row % 9000).map(Some).collect::<Vec<_>>());
        let arrays = vec![Some(vec![]), Some(vec![Some(1), None, Some(3)]), None, long(8191), long(8999), long(7)];
        let whole = batch(arrays, vec![0, 1, 0, 8189, 8997, 5]);
        let expected = [Some(vec![]), Some(vec![3]), None, Some(vec![8190]), Some(vec![8998]), Some(vec![6])];
        assert_eq!(shown(&greater(col("array"), &whole).unwrap()), expected);
        assert_eq!(shown(&greater(col("array"), &whole.slice(1, 4)).unwrap()), expected[1..5]);
        assert!(shown(&greater(col("array"), &whole.slice(0, 0)).unwrap()).is_empty());
    }

    #[test]
    fn a_constant_array_is_filtered_for_each_row() {
        let one = ListArray::from_iter_primitive::<Int64Type, _, _>([Some((0..5000).map(Some))]);
        let constant = Expr::Literal(ScalarValue::List(Arc::new(one)), None);
        let rows = batch(vec![None; 3], vec![4998, 5000, 4997]);
        let expected = [Some(vec![4999]), Some(vec![]), Some(vec![4998, 4999])];
        assert_eq!(shown(&greater(constant, &rows).unwrap()), expected);
    }
}
