//! `uniq`: how many different values there are, exact up to [`MOST`] of them, and beyond that counted from a fair part.
//!
//! Values are known by 64 bits of their hash. When there are too many, only those stay whose hash begins with a zero bit, then
//! with two, and so on, and each stands for twice as many: the algorithm BJKST (Bar-Yossef, Jayram, Kumar, Sivakumar and
//! Trevisan, "Counting Distinct Elements in a Data Stream", 2002), which ClickHouse's `uniq` is, too. Beyond the bound the
//! standard error is 0.6 % at most.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BinaryViewArray, BinaryViewBuilder, BooleanArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::hash_utils::{HLL_RANDOM_STATE, create_hashes};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

/// Values up to which the count is exact, as ClickHouse's is.
const MOST: usize = 1 << 16;
/// Places of the smallest table.
const FEW: usize = 8;

/// `uniq` of one argument; what is NULL is no value.
pub(crate) fn unique() -> Arc<AggregateUDF> {
    static UNIQUE: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        Arc::new(AggregateUDF::new_from_impl(Unique { signature: Signature::any(1, Volatility::Immutable) }))
    });
    Arc::clone(&UNIQUE)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Unique {
    signature: Signature,
}

impl AggregateUDFImpl for Unique {
    fn name(&self) -> &'static str {
        "uniq"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::UInt64)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::<One>::default())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[hashes]", args.name), DataType::BinaryView, true))])
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::<Groups>::default())
    }
}

/// The values of a group, by their hashes.
#[derive(Debug, Default)]
struct Values {
    /// A table with open addressing, three quarters full at most. 0 is an empty place.
    places: Vec<u64>,
    count: usize,
    /// With how many zero bits the hashes begin that are kept.
    zeros: u32,
}

impl Values {
    fn add(&mut self, hash: u64) {
        if hash.leading_zeros() < self.zeros {
            return;
        }
        if (self.count + 1) * 4 > self.places.len() * 3 {
            let hashes = std::mem::take(&mut self.places);
            self.places = vec![0; (hashes.len() * 2).max(FEW)];
            hashes.into_iter().filter(|hash| *hash != 0).for_each(|hash| {
                self.put(hash);
            });
        }
        if self.put(hash.max(1)) {
            self.count += 1;
            if self.count > MOST {
                self.thin_out(self.zeros + 1);
            }
        }
    }

    /// Puts a hash into the table, which has room: whether it is new.
    fn put(&mut self, hash: u64) -> bool {
        let mask = self.places.len() - 1;
        let mut place = usize::try_from(hash & mask as u64).unwrap_or(0);
        while self.places[place] != 0 {
            if self.places[place] == hash {
                return false;
            }
            place = (place + 1) & mask;
        }
        self.places[place] = hash;
        true
    }

    /// Keeps only hashes that begin with so many zero bits.
    fn thin_out(&mut self, zeros: u32) {
        if zeros <= self.zeros {
            return;
        }
        self.zeros = zeros;
        let mut hashes = std::mem::take(&mut self.places);
        let places = hashes.len();
        hashes.retain(|hash| *hash != 0 && hash.leading_zeros() >= zeros);
        self.count = hashes.len();
        self.places = vec![0; places];
        hashes.into_iter().for_each(|hash| {
            self.put(hash);
        });
    }

    fn estimate(&self) -> u64 {
        (self.count as u64) << self.zeros
    }

    /// As [`Values::merge`] takes it: the zero bits, and the hashes.
    fn write(&self, into: &mut Vec<u8>) {
        into.clear();
        into.push(u8::try_from(self.zeros).unwrap_or(u8::MAX));
        self.places.iter().filter(|hash| **hash != 0).for_each(|hash| into.extend_from_slice(&hash.to_le_bytes()));
    }

    fn merge(&mut self, written: &[u8]) {
        let Some((zeros, hashes)) = written.split_first() else { return };
        self.thin_out(u32::from(*zeros));
        hashes.as_chunks().0.iter().for_each(|hash| self.add(u64::from_le_bytes(*hash)));
    }

    fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<u64>()
    }
}

/// Hashes of the values of an array.
fn hashes(values: &ArrayRef, hashes: &mut Vec<u64>) -> Result<()> {
    hashes.clear();
    hashes.resize(values.len(), 0);
    create_hashes([values], &HLL_RANDOM_STATE, hashes)?;
    Ok(())
}

/// Without groups.
#[derive(Debug, Default)]
struct One {
    values: Values,
    hashes: Vec<u64>,
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        hashes(&values[0], &mut self.hashes)?;
        let nulls = values[0].logical_nulls();
        for (row, hash) in self.hashes.iter().enumerate() {
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                self.values.add(*hash);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::UInt64(Some(self.values.estimate())))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.bytes() + self.hashes.capacity() * size_of::<u64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut state = Vec::new();
        self.values.write(&mut state);
        Ok(vec![ScalarValue::BinaryView(Some(state))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        states[0].as_binary_view().iter().flatten().for_each(|state| self.values.merge(state));
        Ok(())
    }
}

/// Of many groups.
#[derive(Default)]
struct Groups {
    groups: Vec<Values>,
    /// Bytes of their tables.
    bytes: usize,
    hashes: Vec<u64>,
}

impl Groups {
    fn change(&mut self, group: usize, change: impl FnOnce(&mut Values)) {
        let group = &mut self.groups[group];
        let before = group.bytes();
        change(group);
        self.bytes = self.bytes.saturating_sub(before) + group.bytes();
    }

    fn make_room(&mut self, groups: usize) {
        if groups > self.groups.len() {
            self.groups.resize_with(groups, Values::default);
        }
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Values> {
        let taken = emit_to.take_needed(&mut self.groups);
        self.bytes = self.bytes.saturating_sub(taken.iter().map(Values::bytes).sum());
        taken
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.make_room(groups);
        let mut found = std::mem::take(&mut self.hashes);
        hashes(&values[0], &mut found)?;
        let nulls = values[0].logical_nulls();
        for (row, hash) in found.iter().enumerate() {
            if is_meant(row, nulls.as_ref(), filter) {
                self.change(group_indices[row], |values| values.add(*hash));
            }
        }
        self.hashes = found;
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], groups: usize) -> Result<()> {
        self.make_room(groups);
        for (state, group) in states[0].as_binary_view().iter().zip(group_indices) {
            if let Some(state) = state {
                self.change(*group, |values| values.merge(state));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let counts = self.take(emit_to).into_iter().map(|values| values.estimate());
        Ok(Arc::new(UInt64Array::from_iter_values(counts)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (mut states, mut state) = (BinaryViewBuilder::new(), Vec::new());
        for values in self.take(emit_to) {
            values.write(&mut state);
            states.append_value(&state);
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut found = Vec::new();
        hashes(&values[0], &mut found)?;
        let nulls = values[0].logical_nulls();
        let state = |(row, hash): (usize, &u64)| {
            let mut values = Values::default();
            if is_meant(row, nulls.as_ref(), filter) {
                values.add(*hash);
            }
            let mut state = Vec::with_capacity(1 + size_of::<u64>());
            values.write(&mut state);
            state
        };
        let states = BinaryViewArray::from_iter_values(found.iter().enumerate().map(state));
        Ok(vec![Arc::new(states)])
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Values>() + self.bytes + self.hashes.capacity() * size_of::<u64>()
    }
}

fn is_meant(row: usize, nulls: Option<&arrow::buffer::NullBuffer>, filter: Option<&BooleanArray>) -> bool {
    nulls.is_none_or(|nulls| nulls.is_valid(row))
        && filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    fn of(numbers: impl Iterator<Item = i64>) -> One {
        let mut one = One::default();
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
        one.update_batch(&[numbers]).unwrap();
        one
    }

    fn merged(one: &mut One, mut other: One) -> u64 {
        let state = other.state().unwrap().remove(0).to_array().unwrap();
        one.merge_batch(&[state]).unwrap();
        one.values.estimate()
    }

    #[test]
    fn the_count_is_exact_up_to_the_bound_also_when_parts_are_merged() {
        for count in [0, 1, 2, 7, 8, 9, 100, 1000, 40_000, 65_536] {
            assert_eq!(of((0..count).chain(0..count)).values.estimate(), count.unsigned_abs());
            let mut one = of(0..count / 2);
            assert_eq!(merged(&mut one, of(count / 3..count)), count.unsigned_abs());
        }
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    fn beyond_the_bound_it_is_off_by_less_than_two_percent() {
        for count in [65_537, 200_000, 1_000_000] {
            let mut one = of(0..count * 2 / 3);
            let found = merged(&mut one, of(count / 3..count)) as f64;
            assert!((found / count as f64 - 1.0).abs() < 0.02, "{found} of {count}");
        }
    }
}
