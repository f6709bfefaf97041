//! How values of the dialect are held in Arrow's arrays.
//!
//! | type | array |
//! |---|---|
//! | `Bool` | Boolean |
//! | `Int64`, `UInt64`, `Float64` | the same |
//! | `String` | Utf8View |
//! | `Date`, `DateTime`, `DateTime64` | Int64: days, seconds, ms since 1970 |
//! | an array | List of what its elements are |
//! | the state of an average | Struct of `sum` (Float64) and `count` (Int64) |
//! | the state of a quantile | BinaryView, a stored `Digest` |
//!
//! Times are numbers, so cutting and comparing them is arithmetic, and what bounds `time` prunes files.

use std::sync::Arc;

use arrow::array::new_empty_array;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::ScalarValue;
use keyrack_core::analytics::sql::types::{Literal, State, Type};

/// The arrays that hold values of this type.
pub(crate) fn held_as(of: &Type) -> DataType {
    match of.inner() {
        Type::Null | Type::Bool => DataType::Boolean,
        Type::Int64 | Type::Date | Type::DateTime | Type::DateTime64 | Type::Interval(_) => DataType::Int64,
        Type::UInt64 => DataType::UInt64,
        Type::Float64 => DataType::Float64,
        Type::String => DataType::Utf8View,
        Type::Array(inner) => DataType::List(element(inner)),
        Type::State(State::Average) => average_state(),
        Type::State(State::Quantile75 | State::Quantile99) => DataType::BinaryView,
        // `inner` is never nullable.
        Type::Nullable(_) => DataType::Null,
    }
}

/// The field of a list's elements.
pub(crate) fn element(of: &Type) -> Arc<Field> {
    Arc::new(Field::new_list_field(held_as(of), true))
}

/// How the state of an average is held.
pub(crate) fn average_state() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("sum", DataType::Float64, true),
        Field::new("count", DataType::Int64, true),
    ]))
}

/// A constant of this type.
pub(crate) fn constant(value: &Literal, of: &Type) -> ScalarValue {
    match value {
        Literal::Null => ScalarValue::try_from(held_as(of)).unwrap_or(ScalarValue::Null),
        Literal::Bool(value) => ScalarValue::Boolean(Some(*value)),
        Literal::Int64(value) | Literal::Date(value) | Literal::DateTime(value) | Literal::DateTime64(value) => {
            ScalarValue::Int64(Some(*value))
        }
        Literal::UInt64(value) => ScalarValue::UInt64(Some(*value)),
        Literal::Float64(value) => ScalarValue::Float64(Some(*value)),
        Literal::String(value) => ScalarValue::Utf8View(Some(value.clone())),
        Literal::NoElements => {
            let inner = if let Type::Array(inner) = of.inner() { held_as(inner) } else { DataType::Boolean };
            ScalarValue::List(Arc::new(
                datafusion::common::utils::SingleRowListArrayBuilder::new(new_empty_array(&inner))
                    .build_list_array(),
            ))
        }
    }
}
