//! Functions of arrays, and whether a value is in a set.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, ListArray, UInt64Array, make_comparator, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortOptions, interleave, take};
use arrow::datatypes::Int64Type;
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::{Result, internal_err};
use keyrack_core::analytics::sql::types::Type;

use crate::meter;
use crate::values::{constant, element as element_field, held_as};

/// An array for each row, of its values.
pub(super) fn array_of(elements: &[ArrayRef], of: &Type) -> Result<ArrayRef> {
    let (rows, each) = (elements.first().map_or(0, |first| first.len()), elements.len());
    // The places of elements, and the elements themselves, which share texts.
    meter::count(rows.saturating_mul(each).saturating_mul(2 * size_of::<(usize, usize)>()))?;
    let places: Vec<(usize, usize)> = (0..rows).flat_map(|row| (0..each).map(move |at| (at, row))).collect();
    let values = interleave(&elements.iter().map(|one| &**one).collect::<Vec<&dyn Array>>(), &places)?;
    let Type::Array(inner) = of.inner() else { return internal_err!("an array of type {of}") };
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(each, rows));
    Ok(Arc::new(ListArray::try_new(element_field(inner), offsets, values, None)?))
}

/// How many elements each array has.
pub(super) fn length(arrays: &ArrayRef) -> ArrayRef {
    let arrays = arrays.as_list::<i32>();
    Arc::new(arrays.iter().map(|array| array.map(|array| array.len() as u64)).collect::<UInt64Array>())
}

/// Whether an array has an element. A NULL is equal to a NULL.
pub(super) fn has(arrays: &ArrayRef, elements: &ArrayRef) -> Result<ArrayRef> {
    let arrays = arrays.as_list::<i32>();
    let equal = make_comparator(arrays.values(), elements, SortOptions::default())?;
    let holds = |row: usize| places(arrays, row).any(|place| equal(place, row).is_eq());
    Ok(Arc::new(by_row(arrays.len(), |row| arrays.is_valid(row).then(|| holds(row)))))
}

/// Whether two arrays have an element in common.
pub(super) fn has_any(arrays: &ArrayRef, others: &ArrayRef) -> Result<ArrayRef> {
    compare(arrays, others, |found, mut wanted| wanted.any(found))
}

/// Whether an array has all elements of the other.
pub(super) fn has_all(arrays: &ArrayRef, others: &ArrayRef) -> Result<ArrayRef> {
    compare(arrays, others, |found, mut wanted| wanted.all(found))
}

/// Asks for each row with what says whether a place of the other's elements is in the array, and these places.
fn compare(
    arrays: &ArrayRef,
    others: &ArrayRef,
    ask: impl Fn(&dyn Fn(usize) -> bool, std::ops::Range<usize>) -> bool,
) -> Result<ArrayRef> {
    let (arrays, others) = (arrays.as_list::<i32>(), others.as_list::<i32>());
    let equal = make_comparator(arrays.values(), others.values(), SortOptions::default())?;
    let holds = |row: usize| {
        let is_in = |wanted: usize| places(arrays, row).any(|place| equal(place, wanted).is_eq());
        ask(&is_in, places(others, row))
    };
    Ok(Arc::new(by_row(arrays.len(), |row| (arrays.is_valid(row) && others.is_valid(row)).then(|| holds(row)))))
}

fn by_row(rows: usize, value: impl Fn(usize) -> Option<bool>) -> BooleanArray {
    (0..rows).map(value).collect()
}

/// Where the elements of the array of a row are.
fn places(arrays: &ListArray, row: usize) -> std::ops::Range<usize> {
    let place = |at: usize| usize::try_from(arrays.value_offsets()[at]).unwrap_or(0);
    place(row)..place(row + 1)
}

/// The element at a place that counts from 1, from the end where negative; the default of the type where there is none.
pub(super) fn element(arrays: &ArrayRef, at: &ArrayRef, of: &Type) -> Result<ArrayRef> {
    let (arrays, at) = (arrays.as_list::<i32>(), at.as_primitive::<Int64Type>());
    let default = of.default_value().map(|default| constant(&default, of).to_array()).transpose()?;
    let default = default.unwrap_or_else(|| new_null_array(&held_as(of), 1));
    // The default stands behind all elements.
    let values = arrow::compute::concat(&[arrays.values(), &default])?;
    let none = arrays.values().len() as u64;
    let place = |row: usize| {
        if arrays.is_null(row) || at.is_null(row) {
            return None;
        }
        let places = places(arrays, row);
        let at = at.value(row);
        let from_start = usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX);
        let is_there = at != 0 && from_start <= places.len();
        let place = if at > 0 { places.start + from_start - 1 } else { places.end.wrapping_sub(from_start) };
        Some(if is_there { place as u64 } else { none })
    };
    let chosen: UInt64Array = (0..arrays.len()).map(place).collect();
    Ok(take(&values, &chosen, None)?)
}

/// A set of values, in which others are looked for.
#[derive(Clone)]
pub(crate) struct Among {
    converter: Arc<RowConverter>,
    values: Arc<std::collections::HashSet<OwnedRow>>,
}

impl Among {
    /// The values of these arrays, which have one type. NULLs are left out.
    ///
    /// # Errors
    /// When values of the type cannot be told apart.
    pub(crate) fn of(arrays: &[ArrayRef], held: &arrow::datatypes::DataType) -> Result<Self> {
        let converter = RowConverter::new(vec![SortField::new(held.clone())])?;
        let mut values = std::collections::HashSet::new();
        for array in arrays {
            let rows = converter.convert_columns(&[Arc::clone(array)])?;
            values.extend((0..array.len()).filter(|row| array.is_valid(*row)).map(|row| rows.row(row).owned()));
        }
        Ok(Among { converter: Arc::new(converter), values: Arc::new(values) })
    }

    pub(super) fn apply(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let rows = self.converter.convert_columns(&[Arc::clone(values)])?;
        let is_in = |row: usize| self.values.contains(&rows.row(row).owned());
        Ok(Arc::new(by_row(values.len(), |row| values.is_valid(row).then(|| is_in(row)))))
    }
}

/// By where it is: no two sets are shown alike.
impl fmt::Debug for Among {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Among({:p})", Arc::as_ptr(&self.values))
    }
}

impl PartialEq for Among {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.values, &other.values)
    }
}
