//! States of aggregates that the tables keep, and what merges them.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray as _, BinaryViewArray, Float64Array, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type, Int64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use crate::storage::digest::Digest;

/// `avgMerge`: of states that are structs of a sum and a count.
pub(crate) fn average_merge() -> Arc<AggregateUDF> {
    static MERGE: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        Arc::new(AggregateUDF::new_from_impl(Merge { kind: Kind::Average, signature: any_one() }))
    });
    Arc::clone(&MERGE)
}

/// `quantilesTDigestMerge` at these levels: of stored digests.
pub(crate) fn digest_merge(levels: &[f64]) -> Arc<AggregateUDF> {
    let levels = levels.iter().map(|level| level.to_bits()).collect();
    Arc::new(AggregateUDF::new_from_impl(Merge { kind: Kind::Digest(levels), signature: any_one() }))
}

/// One digest of many: how aggregate tables merge them.
pub(crate) fn digest_union() -> Arc<AggregateUDF> {
    static UNION: LazyLock<Arc<AggregateUDF>> =
        LazyLock::new(|| Arc::new(AggregateUDF::new_from_impl(Merge { kind: Kind::Union, signature: any_one() })));
    Arc::clone(&UNION)
}

/// The states of averages, of sums and counts.
pub(crate) fn average_state(sums: &ArrayRef, counts: &ArrayRef) -> ArrayRef {
    let fields = match crate::values::average_state() {
        DataType::Struct(fields) => fields,
        _ => Fields::empty(),
    };
    Arc::new(StructArray::new(fields, vec![Arc::clone(sums), Arc::clone(counts)], None))
}

/// The digests of single latencies in ms.
pub(crate) fn digest_of(latencies: &ArrayRef) -> ArrayRef {
    let digest = |latency: f64| {
        let mut digest = Digest::default();
        digest.add(latency);
        digest.stored()
    };
    let digests = latencies.as_primitive::<Float64Type>().iter().map(|latency| latency.map(digest));
    Arc::new(digests.collect::<BinaryViewArray>())
}

fn any_one() -> Signature {
    Signature::any(1, Volatility::Immutable)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Merge {
    kind: Kind,
    signature: Signature,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Average,
    /// The levels, as the bits of doubles.
    Digest(Vec<u64>),
    /// All of them, as a state.
    Union,
}

fn levels_list() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)))
}

impl AggregateUDFImpl for Merge {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Average => "average_merge",
            Kind::Digest(_) => "digest_merge",
            Kind::Union => "digest_union",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Average => DataType::Float64,
            Kind::Digest(_) => levels_list(),
            Kind::Union => DataType::BinaryView,
        })
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(match &self.kind {
            Kind::Average => Box::<Average>::default(),
            Kind::Digest(levels) => {
                let levels = levels.iter().map(|bits| f64::from_bits(*bits)).collect();
                Box::new(Quantiles { levels: Some(levels), digest: Digest::default() })
            }
            Kind::Union => Box::new(Quantiles { levels: None, digest: Digest::default() }),
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |name: &str, of| Arc::new(Field::new(format!("{}[{name}]", args.name), of, true));
        Ok(match self.kind {
            Kind::Average => vec![field("sum", DataType::Float64), field("count", DataType::Int64)],
            Kind::Digest(_) | Kind::Union => vec![field("digest", DataType::BinaryView)],
        })
    }
}

#[derive(Debug, Default)]
struct Average {
    sum: f64,
    count: i64,
}

impl Average {
    fn add(&mut self, sums: &ArrayRef, counts: &ArrayRef) {
        self.sum += arrow::compute::sum(sums.as_primitive::<Float64Type>()).unwrap_or(0.0);
        self.count += arrow::compute::sum(counts.as_primitive::<Int64Type>()).unwrap_or(0);
    }
}

impl Accumulator for Average {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let states = values[0].as_struct();
        self.add(states.column(0), states.column(1));
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean of doubles is no more exact")]
    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(Some(self.sum / self.count as f64)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Float64(Some(self.sum)), ScalarValue::Int64(Some(self.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add(&states[0], &states[1]);
        Ok(())
    }
}

#[derive(Debug)]
struct Quantiles {
    /// Without any the digest itself is asked for.
    levels: Option<Vec<f64>>,
    digest: Digest,
}

impl Accumulator for Quantiles {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values[0].as_binary_view().iter().flatten().for_each(|stored| self.digest.merge_stored(stored));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let Some(levels) = &self.levels else { return Ok(ScalarValue::BinaryView(Some(self.digest.stored()))) };
        let values = levels.iter().map(|level| self.digest.quantile(*level).unwrap_or(f64::NAN));
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
        Ok(ScalarValue::List(Arc::new(SingleRowListArrayBuilder::new(values).build_list_array())))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.digest.bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::BinaryView(Some(self.digest.stored()))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}
