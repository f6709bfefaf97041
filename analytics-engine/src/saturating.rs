//! `sum` of integers. One that there is no room for is the largest number, or the least: ClickHouse begins at the other end of
//! the integers then, and costs that nobody could pay would be less than nothing.
//!
//! Sums that are stored are added up likewise, so that a table says the same before and after its days are compacted.

use std::marker::PhantomData;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray as _, BooleanArray, PrimitiveArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, UInt64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

/// `sum` of an argument that is an `Int64` or a `UInt64`; NULL of nothing.
pub(crate) fn sum() -> Arc<AggregateUDF> {
    static SUM: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        Arc::new(AggregateUDF::new_from_impl(Sum { signature: Signature::any(1, Volatility::Immutable) }))
    });
    Arc::clone(&SUM)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sum {
    signature: Signature,
}

impl AggregateUDFImpl for Sum {
    fn name(&self) -> &'static str {
        "saturating_sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(if arguments == [DataType::UInt64] { DataType::UInt64 } else { DataType::Int64 })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(match args.return_field.data_type() {
            DataType::UInt64 => Box::new(One::<UInt64Type>::new()),
            _ => Box::new(One::<Int64Type>::new()),
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[sum]", args.name), args.return_type().clone(), true))])
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(match args.return_field.data_type() {
            DataType::UInt64 => Box::new(Groups::<UInt64Type>::new()),
            _ => Box::new(Groups::<Int64Type>::new()),
        })
    }
}

/// Integers that are summed.
trait Summed: ArrowPrimitiveType + std::fmt::Debug + Send + Sync {
    fn add(sum: Self::Native, value: Self::Native) -> Self::Native;
    fn wide(value: Self::Native) -> i128;
    fn narrow(value: i128) -> Self::Native;
}

macro_rules! summed {
    ($arrow:ty, $native:ty) => {
        impl Summed for $arrow {
            fn add(sum: $native, value: $native) -> $native {
                sum.saturating_add(value)
            }

            fn wide(value: $native) -> i128 {
                value.into()
            }

            fn narrow(value: i128) -> $native {
                let nearest = if value < 0 { <$native>::MIN } else { <$native>::MAX };
                value.try_into().unwrap_or(nearest)
            }
        }
    };
}

summed!(Int64Type, i64);
summed!(UInt64Type, u64);

/// Without groups, and over windows, which take values away again: the sum is wider than what it shows.
#[derive(Debug)]
struct One<T> {
    sum: i128,
    count: u64,
    of: PhantomData<T>,
}

impl<T> One<T> {
    fn new() -> Self {
        One { sum: 0, count: 0, of: PhantomData }
    }
}

impl<T: Summed> One<T> {
    fn total(values: &ArrayRef) -> (i128, u64) {
        let values = values.as_primitive::<T>();
        let sum = if values.null_count() == 0 {
            values.values().iter().map(|value| T::wide(*value)).sum()
        } else {
            values.iter().flatten().map(T::wide).sum()
        };
        (sum, (values.len() - values.null_count()) as u64)
    }
}

impl<T: Summed> Accumulator for One<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (sum, count) = Self::total(&values[0]);
        self.sum = self.sum.saturating_add(sum);
        self.count += count;
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = (self.count > 0).then(|| T::narrow(self.sum));
        ScalarValue::try_from_array(&PrimitiveArray::<T>::from_iter([sum]), 0)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (sum, count) = Self::total(&values[0]);
        self.sum = self.sum.saturating_sub(sum);
        self.count = self.count.saturating_sub(count);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}

/// Of many groups.
#[derive(Debug)]
struct Groups<T: Summed> {
    sums: Vec<T::Native>,
    /// Whether a group has any value.
    has_some: Vec<bool>,
}

impl<T: Summed> Groups<T> {
    fn new() -> Self {
        Groups { sums: Vec::new(), has_some: Vec::new() }
    }

    fn take(&mut self, emit_to: EmitTo) -> ArrayRef {
        let (sums, has_some) = (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.has_some));
        let nulls = has_some.contains(&false).then(|| has_some.into());
        Arc::new(PrimitiveArray::<T>::new(sums.into(), nulls))
    }
}

impl<T: Summed> GroupsAccumulator for Groups<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.sums.resize(groups, T::default_value());
        self.has_some.resize(groups, false);
        let values = values[0].as_primitive::<T>();
        let mut add = |group: usize, value: T::Native| {
            self.sums[group] = T::add(self.sums[group], value);
            self.has_some[group] = true;
        };
        if filter.is_none() && values.null_count() == 0 {
            group_indices.iter().zip(values.values()).for_each(|(group, value)| add(*group, *value));
            return Ok(());
        }
        for (row, group) in group_indices.iter().enumerate() {
            if values.is_valid(row) && filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row)) {
                add(*group, values.value(row));
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], groups: usize) -> Result<()> {
        self.update_batch(states, group_indices, None, groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.take(emit_to))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.take(emit_to)])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<T>();
        let is_meant = |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        let state = |(row, value): (usize, Option<T::Native>)| value.filter(|_| is_meant(row));
        Ok(vec![Arc::new(PrimitiveArray::<T>::from_iter(values.iter().enumerate().map(state)))])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<T::Native>() + self.has_some.capacity()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, UInt64Array};

    use super::*;

    fn integers(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    #[test]
    fn a_sum_that_there_is_no_room_for_is_the_largest_number_or_the_least() {
        let sum = |values: &[i64]| {
            let mut one = One::<Int64Type>::new();
            for value in values {
                one.update_batch(&[integers(&[Some(*value), None])]).unwrap();
            }
            one.evaluate().unwrap()
        };
        assert_eq!(sum(&[]), ScalarValue::Int64(None));
        assert_eq!(sum(&[3, -5]), ScalarValue::Int64(Some(-2)));
        assert_eq!(sum(&[i64::MAX, 1, 7]), ScalarValue::Int64(Some(i64::MAX)));
        assert_eq!(sum(&[i64::MIN, -1]), ScalarValue::Int64(Some(i64::MIN)));
        assert_eq!(sum(&[i64::MAX, i64::MAX, -i64::MAX]), ScalarValue::Int64(Some(i64::MAX)));
        let mut unsigned = One::<UInt64Type>::new();
        unsigned.update_batch(&[Arc::new(UInt64Array::from(vec![u64::MAX, 1]))]).unwrap();
        assert_eq!(unsigned.evaluate().unwrap(), ScalarValue::UInt64(Some(u64::MAX)));
    }

    #[test]
    fn a_window_that_moves_on_forgets_what_was_too_much() {
        let mut one = One::<Int64Type>::new();
        one.update_batch(&[integers(&[Some(i64::MAX), Some(i64::MAX), Some(5)])]).unwrap();
        one.retract_batch(&[integers(&[Some(i64::MAX), Some(i64::MAX)])]).unwrap();
        assert_eq!(one.evaluate().unwrap(), ScalarValue::Int64(Some(5)));
        one.retract_batch(&[integers(&[Some(5), None])]).unwrap();
        assert_eq!(one.evaluate().unwrap(), ScalarValue::Int64(None));
    }

    #[test]
    fn groups_are_summed_apart_of_what_is_meant_and_merged() {
        let mut groups = Groups::<Int64Type>::new();
        let values = integers(&[Some(i64::MAX), Some(2), None, Some(9), Some(1)]);
        let filter = BooleanArray::from(vec![Some(true), Some(true), Some(true), Some(false), Some(true)]);
        groups.update_batch(&[Arc::clone(&values)], &[0, 1, 2, 1, 0], Some(&filter), 3).unwrap();
        let states = groups.convert_to_state(&[values], Some(&filter)).unwrap();
        assert_eq!(&states[0], &integers(&[Some(i64::MAX), Some(2), None, None, Some(1)]));
        groups.merge_batch(&states, &[1, 1, 1, 1, 3], 4).unwrap();
        let first = groups.evaluate(EmitTo::First(1)).unwrap();
        assert_eq!(&first, &integers(&[Some(i64::MAX)]));
        let rest = groups.state(EmitTo::All).unwrap();
        assert_eq!(&rest[0], &integers(&[Some(i64::MAX), None, Some(1)]));
    }
}
