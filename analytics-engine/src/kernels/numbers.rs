//! Functions of numbers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, Float64Array, Int64Array, UInt64Array};
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use datafusion::common::{Result, exec_err, not_impl_err};
use keyrack_core::analytics::sql::functions::Comparison;

/// The least double that is an `Int64`, and the least that is too large.
pub(super) const INT64: (f64, f64) = (-9_223_372_036_854_775_808.0, 9_223_372_036_854_775_808.0);
/// The same of 32 bits.
pub(super) const INT32: (f64, f64) = (-2_147_483_648.0, 2_147_483_648.0);

/// Where a number is rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The nearest; of two the even one for doubles, the one away from 0 for integers.
    Nearest,
    /// The next that is not more.
    Down,
    /// The next that is not less.
    Up,
}

/// Two `Float64` compared as IEEE 754 says.
pub(super) fn compare(operator: Comparison, left: &ArrayRef, right: &ArrayRef) -> ArrayRef {
    let holds = |left: f64, right: f64| match operator {
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
        Comparison::Greater => left > right,
        Comparison::GreaterOrEqual => left >= right,
    };
    let pairs = left.as_primitive::<Float64Type>().iter().zip(right.as_primitive::<Float64Type>().iter());
    Arc::new(pairs.map(|(left, right)| Some(holds(left?, right?))).collect::<BooleanArray>())
}

/// NULL instead of NaN.
pub(super) fn nan_as_null(values: &ArrayRef) -> ArrayRef {
    let values = values.as_primitive::<Float64Type>();
    Arc::new(values.iter().map(|value| value.filter(|value| !value.is_nan())).collect::<Float64Array>())
}

/// Rounded to so many decimals; to tens, hundreds, … where they are negative.
pub(super) fn rounded(numbers: &ArrayRef, decimals: i8, way: Way) -> Result<ArrayRef> {
    Ok(match numbers.data_type() {
        DataType::Float64 => {
            let numbers = numbers.as_primitive::<Float64Type>();
            Arc::new(numbers.unary::<_, Float64Type>(|number| double(number, decimals, way)))
        }
        DataType::Int64 => {
            let numbers = numbers.as_primitive::<Int64Type>();
            // What is beyond the type keeps its lower bits, as elsewhere.
            #[expect(clippy::cast_possible_truncation, reason = "integers wrap around")]
            let round = |number| integer(i128::from(number), decimals, way) as i64;
            Arc::new(numbers.unary::<_, Int64Type>(round))
        }
        DataType::UInt64 => {
            let numbers = numbers.as_primitive::<UInt64Type>();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "integers wrap around")]
            let round = |number| integer(i128::from(number), decimals, way) as u64;
            Arc::new(numbers.unary::<_, UInt64Type>(round))
        }
        other => return not_impl_err!("rounding of {other}"),
    })
}

fn double(number: f64, decimals: i8, way: Way) -> f64 {
    let to_whole = |number: f64| match way {
        Way::Nearest => number.round_ties_even(),
        Way::Down => number.floor(),
        Way::Up => number.ceil(),
    };
    if !number.is_finite() {
        return number;
    }
    let scale = 10_f64.powi(i32::from(decimals.unsigned_abs()));
    let (scaled, unscale): (f64, fn(f64, f64) -> f64) = if decimals >= 0 {
        (number * scale, |whole, scale| whole / scale)
    } else {
        (number / scale, |whole, scale| whole * scale)
    };
    // So many decimals that there is nothing to round.
    if scaled.is_finite() { unscale(to_whole(scaled), scale) } else { number }
}

fn integer(number: i128, decimals: i8, way: Way) -> i128 {
    if decimals >= 0 {
        return number;
    }
    // A number of 64 bits has 20 digits at most.
    let unit = 10_i128.pow(u32::from(decimals.unsigned_abs()).min(21));
    let (below, rest) = (number.div_euclid(unit), number.rem_euclid(unit));
    let up = match way {
        Way::Down => false,
        Way::Up => rest > 0,
        Way::Nearest => rest * 2 > unit || (rest * 2 == unit && number > 0),
    };
    (below + i128::from(up)) * unit
}

/// The absolute value; of an integer a `UInt64`.
pub(super) fn absolute(numbers: &ArrayRef) -> Result<ArrayRef> {
    Ok(match numbers.data_type() {
        DataType::Float64 => Arc::new(numbers.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::abs)),
        DataType::Int64 => Arc::new(numbers.as_primitive::<Int64Type>().unary::<_, UInt64Type>(i64::unsigned_abs)),
        DataType::UInt64 => Arc::clone(numbers),
        other => return not_impl_err!("the absolute value of {other}"),
    })
}

/// The lower 32 bits with their sign.
pub(super) fn lower_int32(numbers: &ArrayRef) -> ArrayRef {
    #[expect(clippy::cast_possible_truncation, reason = "that is what it does")]
    let lower = |number: i64| i64::from(number as i32);
    Arc::new(numbers.as_primitive::<Int64Type>().unary::<_, Int64Type>(lower))
}

/// The same bits with a sign.
#[expect(clippy::cast_possible_wrap, reason = "integers wrap around")]
pub(super) fn with_sign(numbers: &ArrayRef) -> ArrayRef {
    Arc::new(numbers.as_primitive::<UInt64Type>().unary::<_, Int64Type>(|number| number as i64))
}

/// The same bits without a sign.
#[expect(clippy::cast_sign_loss, reason = "integers wrap around")]
pub(super) fn without_sign(numbers: &ArrayRef) -> ArrayRef {
    Arc::new(numbers.as_primitive::<Int64Type>().unary::<_, UInt64Type>(|number| number as u64))
}

/// Doubles without their fractions, between these two, the second excluded.
///
/// # Errors
/// For all others, NaN among them: ClickHouse refuses what is no number, and of what is too large it says what the processor
/// happens to make of it.
#[expect(clippy::cast_possible_truncation, reason = "it is within bounds")]
pub(super) fn whole_within(numbers: &ArrayRef, least: f64, beyond: f64) -> Result<Int64Array> {
    let whole = |number: f64| {
        if (least..beyond).contains(&number.trunc()) {
            Ok(number as i64)
        } else {
            exec_err!("{number:e} is beyond what an integer can be")
        }
    };
    numbers.as_primitive::<Float64Type>().iter().map(|number| number.map(whole).transpose()).collect()
}

/// Doubles without their fractions; what no `Int64` can be is the nearest.
#[expect(clippy::cast_possible_truncation, reason = "a cast of a double saturates")]
pub(super) fn whole(numbers: &ArrayRef) -> Int64Array {
    numbers.as_primitive::<Float64Type>().unary(|number| number as i64)
}

/// The same without a sign.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a double saturates")]
pub(super) fn whole_unsigned(numbers: &ArrayRef) -> UInt64Array {
    numbers.as_primitive::<Float64Type>().unary(|number| number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_integer_is_is_refused() {
        let within = |number: f64| {
            let numbers: ArrayRef = Arc::new(Float64Array::from(vec![Some(number), None]));
            whole_within(&numbers, INT64.0, INT64.1).map(|whole| whole.value(0)).ok()
        };
        assert_eq!([-1.9, 7.9, -9_223_372_036_854_775_808.0].map(within), [Some(-1), Some(7), Some(i64::MIN)]);
        assert_eq!([9_223_372_036_854_775_808.0, 1e30, -1e30, f64::NAN, f64::INFINITY].map(within), [None; 5]);
    }

    #[test]
    fn halves_of_doubles_go_to_the_even_neighbour_and_those_of_integers_away_from_zero() {
        let to = |number: f64, decimals| double(number, decimals, Way::Nearest);
        assert_eq!([to(0.5, 0), to(1.5, 0), to(2.5, 0), to(-1.5, 0)], [0.0, 2.0, 2.0, -2.0]);
        assert_eq!([to(1234.567, 2), to(1234.567, -2), to(1e300, 100)], [1234.57, 1200.0, 1e300]);
        assert!(to(f64::NAN, 1).is_nan());
        let whole = |number| [Way::Nearest, Way::Down, Way::Up].map(|way| integer(number, -1, way));
        assert_eq!(whole(15), [20, 10, 20]);
        assert_eq!(whole(-15), [-20, -20, -10]);
        assert_eq!(whole(-14), [-10, -20, -10]);
        assert_eq!(integer(i128::from(u64::MAX), -100, Way::Nearest), 0);
    }
}
