//! The functions of the dialect over arrays: one kind of DataFusion's functions, which does what a node of the checked
//! tree says.
//!
//! The tree says the types of what goes in and comes out, so nothing is guessed or coerced here.

mod arrays;
pub(crate) mod conversion;
mod filtering;
mod formats;
mod numbers;
mod texts;
mod times;
pub(crate) use self::times::later;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use keyrack_core::analytics::sql::functions::{Comparison, Function};
use keyrack_core::analytics::sql::types::{Type, Unit};

pub(crate) use self::arrays::Among;
pub(crate) use self::filtering::filtered;
use crate::values::held_as;
use crate::{meter, states};

/// Bytes of the copies of constant arrays at a time.
const PART_BYTES: usize = 4 << 20;

/// What a kernel does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Work {
    /// A function of the dialect.
    Function(Function),
    /// The value in another type.
    Convert,
    /// Two `Float64` compared as IEEE 754 says, which Arrow's order does not.
    Compare(Comparison),
    /// A time so many units later.
    Later(Unit),
    /// Whether a value is one of a set; false for what is not there, NULL for NULL.
    Among(Among),
    /// The state of an average, of a sum and a count.
    AverageState,
    /// The digest of one latency in ms.
    DigestOf,
    /// NULL instead of NaN: for orders, where they are one.
    NanAsNull,
    /// An array of values, one or more.
    Array,
    /// An integer of 32 bits from a double.
    DoubleToInt32,
}

/// A function over arrays, of known types.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    work: Work,
    name: String,
    from: Vec<Type>,
    of: Type,
    signature: Signature,
}

impl Kernel {
    /// This work on these arguments, of these types, with a result of this type.
    pub(crate) fn call(work: Work, arguments: Vec<(Expr, Type)>, of: Type) -> Expr {
        let (arguments, from): (Vec<Expr>, Vec<Type>) = arguments.into_iter().unzip();
        let signature = Signature::any(arguments.len(), Volatility::Immutable);
        let name = format!("{work:?} {from:?} {of:?}");
        ScalarUDF::new_from_impl(Kernel { work, name, from, of, signature }).call(arguments)
    }

    /// Applies it to so many rows at a time that constant arrays, which each of them gets a copy of, stay small.
    fn apply_in_parts(&self, arguments: &[ColumnarValue], rows: usize) -> Result<ArrayRef> {
        let constant = |argument: &ColumnarValue| match argument {
            ColumnarValue::Scalar(value @ ScalarValue::List(_)) => Some(value.to_array()),
            _ => None,
        };
        let constants = arguments.iter().filter_map(constant).collect::<Result<Vec<ArrayRef>>>()?;
        let per_row = constants.iter().map(meter::bytes).sum::<usize>();
        let part = (PART_BYTES / per_row.max(1)).clamp(1, rows.max(1));
        let apply = |from: usize| {
            let of_part = |argument: &ColumnarValue| expanded(argument, from, part.min(rows - from));
            self.apply(&arguments.iter().map(of_part).collect::<Result<Vec<ArrayRef>>>()?)
        };
        let made = if part >= rows {
            apply(0)?
        } else {
            let parts = (0..rows).step_by(part).map(apply).collect::<Result<Vec<ArrayRef>>>()?;
            concat(&parts.iter().map(|part| &**part).collect::<Vec<&dyn Array>>())?
        };
        // Others are small, share what they have, or were counted before they were made.
        if matches!(made.data_type(), DataType::Utf8View) && self.work != Work::Function(Function::Concat) {
            meter::count(meter::bytes(&made))?;
        }
        Ok(made)
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        match (&self.work, arguments) {
            (Work::Convert, [value]) => conversion::convert(value, &self.from[0], &self.of),
            (Work::Compare(operator), [left, right]) => Ok(numbers::compare(*operator, left, right)),
            (Work::Later(unit), [time, amount]) => times::later(time, amount, *unit, &self.of),
            (Work::Among(among), [value]) => among.apply(value),
            (Work::AverageState, [sum, count]) => Ok(states::average_state(sum, count)),
            (Work::DigestOf, [latency]) => Ok(states::digest_of(latency)),
            (Work::NanAsNull, [value]) => Ok(numbers::nan_as_null(value)),
            (Work::DoubleToInt32, [value]) => {
                Ok(Arc::new(numbers::whole_within(value, numbers::INT32.0, numbers::INT32.1)?))
            }
            (Work::Array, elements) => arrays::array_of(elements, &self.of),
            (Work::Function(function), arguments) => self.apply_function(function, arguments),
            _ => datafusion::common::internal_err!("a kernel with other arguments than its own"),
        }
    }

    fn apply_function(&self, function: &Function, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        match (function, arguments) {
            (Function::Has, [array, element]) => arrays::has(array, element),
            (Function::HasAny, [array, others]) => arrays::has_any(array, others),
            (Function::HasAll, [array, others]) => arrays::has_all(array, others),
            (Function::ArrayElement, [array, place]) => arrays::element(array, place, &self.of),
            (Function::ArrayLength, [array]) => Ok(arrays::length(array)),
            (Function::StartOf(period), [time]) => times::start_of(time, &self.from[0], *period, &self.of),
            (Function::FormatDateTime(pieces), [time]) => formats::format(time, pieces),
            (Function::FromUnixMs | Function::ToUnixMs, [time]) => Ok(Arc::clone(time)),
            (Function::ToUnixSeconds, [time]) => conversion::convert(time, &Type::Int64, &Type::UInt64),
            (Function::Round { decimals }, [number]) => numbers::rounded(number, *decimals, numbers::Way::Nearest),
            (Function::Floor { decimals }, [number]) => numbers::rounded(number, *decimals, numbers::Way::Down),
            (Function::Ceil { decimals }, [number]) => numbers::rounded(number, *decimals, numbers::Way::Up),
            (Function::Abs, [number]) => numbers::absolute(number),
            (Function::LowerInt32, [number]) => Ok(numbers::lower_int32(number)),
            (function, arguments) => texts::apply(function, arguments),
        }
    }
}

/// An argument for some of the rows. Copies of a text share it.
fn expanded(argument: &ColumnarValue, from: usize, rows: usize) -> Result<ArrayRef> {
    match argument {
        ColumnarValue::Array(values) => Ok(values.slice(from, rows)),
        ColumnarValue::Scalar(value @ ScalarValue::Utf8View(Some(_))) => {
            Ok(take(&value.to_array()?, &UInt32Array::from(vec![0; rows]), None)?)
        }
        ColumnarValue::Scalar(value) => value.to_array_of_size(rows),
    }
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.work == other.work
    }
}

impl Eq for Kernel {}

impl Hash for Kernel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Kernel {
    // DataFusion tells functions apart by their names in places: equal names mean equal work.
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(held_as(&self.of))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let are_constant = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if are_constant { 1 } else { arguments.number_rows };
        let made = self.apply_in_parts(&arguments.args, rows)?;
        Ok(if are_constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&made, 0)?)
        } else {
            ColumnarValue::Array(made)
        })
    }
}
