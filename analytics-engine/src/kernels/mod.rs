//! The functions of the dialect over arrays: one kind of DataFusion's functions, which does what a node of the checked
//! tree says.
//!
//! The tree says the types of what goes in and comes out, so nothing is guessed or coerced here.

mod arrays;
pub(crate) mod conversion;
mod formats;
mod numbers;
mod texts;
mod times;
pub(crate) use self::times::later;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use keyrack_core::analytics::sql::functions::{Comparison, Function};
use keyrack_core::analytics::sql::types::{Type, Unit};

pub(crate) use self::arrays::Among;
use crate::states;
use crate::values::held_as;

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
}

/// A function over arrays, of known types.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    work: Work,
    from: Vec<Type>,
    of: Type,
    signature: Signature,
}

impl Kernel {
    /// This work on these arguments, of these types, with a result of this type.
    pub(crate) fn call(work: Work, arguments: Vec<(Expr, Type)>, of: Type) -> Expr {
        let (arguments, from): (Vec<Expr>, Vec<Type>) = arguments.into_iter().unzip();
        let signature = Signature::any(arguments.len(), Volatility::Immutable);
        ScalarUDF::new_from_impl(Kernel { work, from, of, signature }).call(arguments)
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

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        self.work == other.work && self.from == other.from && self.of == other.of
    }
}

impl Eq for Kernel {}

impl Hash for Kernel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Kernels of one kind and type are few.
        std::mem::discriminant(&self.work).hash(state);
        self.of.hash(state);
    }
}

impl ScalarUDFImpl for Kernel {
    fn name(&self) -> &str {
        match &self.work {
            Work::Function(_) => "function",
            Work::Convert => "convert",
            Work::Compare(_) => "compare",
            Work::Later(_) => "later",
            Work::Among(_) => "among",
            Work::AverageState => "average_state",
            Work::DigestOf => "digest_of",
            Work::NanAsNull => "nan_as_null",
        }
    }

    /// Expressions are told apart by their names in places: equal names must mean equal work.
    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        let mut name = format!("{:?}:{}", self.work, self.of);
        for argument in arguments {
            name.push(',');
            name.push_str(&argument.schema_name().to_string());
        }
        Ok(name)
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
        let arrays: Vec<ArrayRef> =
            arguments.args.into_iter().map(|argument| argument.into_array(rows)).collect::<Result<_>>()?;
        let made = self.apply(&arrays)?;
        Ok(if are_constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&made, 0)?)
        } else {
            ColumnarValue::Array(made)
        })
    }
}
