//! Values in another type, as `keyrack_core::analytics::sql::types` says.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, Float64Array, Int64Array, ListArray, StringViewArray,
    UInt64Array, new_null_array,
};
use arrow::datatypes::{Float64Type, Int64Type, UInt64Type};
use datafusion::common::{Result, exec_err, not_impl_err};
use jiff::civil::{Date, DateTime};
use keyrack_core::analytics::sql::types::Type;

use super::numbers::{INT64, whole, whole_unsigned, whole_within, with_sign, without_sign};
use super::times::{date, days};
use crate::values::{element, held_as};

const DAY: i64 = 86_400;

/// Values of one type in another.
pub(crate) fn convert(values: &ArrayRef, from: &Type, to: &Type) -> Result<ArrayRef> {
    let (from, to) = (from.inner(), to.inner());
    Ok(match (from, to) {
        (from, to) if from == to => Arc::clone(values),
        (Type::Null, to) => new_null_array(&held_as(to), values.len()),
        (Type::Array(inner), Type::Array(wanted)) => {
            let lists = values.as_list::<i32>();
            let converted = convert(lists.values(), inner, wanted)?;
            Arc::new(ListArray::new(element(wanted), lists.offsets().clone(), converted, lists.nulls().cloned()))
        }
        (Type::String, to) => read(values.as_string_view(), to)?,
        (from, Type::String) => write(values, from)?,
        (Type::Bool, to) => {
            let numbers: Int64Array = values.as_boolean().iter().map(|value| value.map(i64::from)).collect();
            convert(&(Arc::new(numbers) as ArrayRef), &Type::Int64, to)?
        }
        (from, to) if from.is_time() => from_time(values, from, to)?,
        (from, to) => from_number(values, from, to)?,
    })
}

fn from_number(values: &ArrayRef, from: &Type, to: &Type) -> Result<ArrayRef> {
    #[expect(clippy::cast_precision_loss, reason = "the nearest double is what is asked for")]
    Ok(match (from, to) {
        (Type::Int64, Type::UInt64) => without_sign(values),
        (Type::UInt64, Type::Int64) => with_sign(values),
        (Type::Int64, Type::Float64) => {
            Arc::new(values.as_primitive::<Int64Type>().unary::<_, Float64Type>(|value| value as f64))
        }
        (Type::UInt64, Type::Float64) => {
            Arc::new(values.as_primitive::<UInt64Type>().unary::<_, Float64Type>(|value| value as f64))
        }
        (Type::Float64, Type::Int64) => Arc::new(whole_within(values, INT64.0, INT64.1)?),
        (Type::Float64, Type::DateTime) => Arc::new(whole(values)),
        (Type::Float64, Type::UInt64) => Arc::new(whole_unsigned(values)),
        (Type::Float64, Type::DateTime64) => {
            let ms = values.as_primitive::<Float64Type>().unary::<_, Float64Type>(|seconds| seconds * 1000.0);
            Arc::new(whole(&(Arc::new(ms) as ArrayRef)))
        }
        (Type::Float64, Type::Bool) => {
            truths(values.as_primitive::<Float64Type>().iter(), |value| value != 0.0 && !value.is_nan())
        }
        (Type::Int64, Type::Bool) => truths(values.as_primitive::<Int64Type>().iter(), |value| value != 0),
        (Type::UInt64, Type::Bool) => truths(values.as_primitive::<UInt64Type>().iter(), |value| value != 0),
        (Type::Int64, Type::DateTime | Type::Date) => Arc::clone(values),
        (Type::Int64, Type::DateTime64) => scaled(values, |value| value.saturating_mul(1000)),
        (Type::UInt64, to) => from_number(&with_sign(values), &Type::Int64, to)?,
        (from, to) => return not_impl_err!("{from} to {to}"),
    })
}

fn from_time(values: &ArrayRef, from: &Type, to: &Type) -> Result<ArrayRef> {
    Ok(match (from, to) {
        (Type::Date, Type::DateTime) => scaled(values, |day| day.saturating_mul(DAY)),
        (Type::Date, Type::DateTime64) => scaled(values, |day| day.saturating_mul(DAY * 1000)),
        (Type::DateTime, Type::Date) => scaled(values, |second| second.div_euclid(DAY)),
        (Type::DateTime, Type::DateTime64) => scaled(values, |second| second.saturating_mul(1000)),
        (Type::DateTime64, Type::Date) => scaled(values, |ms| ms.div_euclid(DAY * 1000)),
        (Type::DateTime64, Type::DateTime | Type::Int64) => scaled(values, |ms| ms.div_euclid(1000)),
        (Type::DateTime64, Type::UInt64) => without_sign(&scaled(values, |ms| ms.div_euclid(1000))),
        #[expect(clippy::cast_precision_loss, reason = "the nearest double is what is asked for")]
        (Type::DateTime64, Type::Float64) => {
            Arc::new(values.as_primitive::<Int64Type>().unary::<_, Float64Type>(|ms| ms as f64 / 1000.0))
        }
        (_, to) => convert(values, &Type::Int64, to)?,
    })
}

fn scaled(values: &ArrayRef, scale: impl Fn(i64) -> i64) -> ArrayRef {
    Arc::new(values.as_primitive::<Int64Type>().unary::<_, Int64Type>(scale))
}

fn truths<T>(values: impl Iterator<Item = Option<T>>, is_true: impl Fn(T) -> bool) -> ArrayRef {
    Arc::new(values.map(|value| value.map(&is_true)).collect::<BooleanArray>())
}

fn read(texts: &StringViewArray, to: &Type) -> Result<ArrayRef> {
    fn each<T, A: FromIterator<Option<T>>>(
        texts: &StringViewArray,
        to: &Type,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<A> {
        let read = |text: &str| match read(text) {
            Some(value) => Ok(value),
            None => exec_err!("a text is no {to}"),
        };
        texts.iter().map(|text| text.map(read).transpose()).collect()
    }
    Ok(match to {
        Type::Int64 => Arc::new(each::<_, Int64Array>(texts, to, number::<i64>)?),
        Type::UInt64 => Arc::new(each::<_, UInt64Array>(texts, to, number::<u64>)?),
        Type::Float64 => Arc::new(each::<_, Float64Array>(texts, to, number::<f64>)?),
        Type::Bool => Arc::new(each::<_, BooleanArray>(texts, to, |text| match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        })?),
        Type::Date => Arc::new(each::<_, Int64Array>(texts, to, |text| Some(days(moment(text)?.date())))?),
        Type::DateTime => Arc::new(each::<_, Int64Array>(texts, to, |text| Some(ms_of(text)?.div_euclid(1000)))?),
        Type::DateTime64 => Arc::new(each::<_, Int64Array>(texts, to, ms_of)?),
        to => return not_impl_err!("a text to {to}"),
    })
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn ms_of(text: &str) -> Option<i64> {
    let moment = moment(text)?;
    let time = moment.time();
    let seconds = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    Some((days(moment.date()) * DAY + seconds) * 1000 + i64::from(time.millisecond()))
}

/// `Y-M-D` or `Y-M-D h:m:s`.
fn moment(text: &str) -> Option<DateTime> {
    match text.len() {
        10 => Some(text.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight())),
        _ => text.parse().ok(),
    }
}

fn write(values: &ArrayRef, from: &Type) -> Result<ArrayRef> {
    fn each<T, S: Display>(values: impl Iterator<Item = Option<T>>, write: impl Fn(T) -> S) -> ArrayRef {
        Arc::new(values.map(|value| value.map(|value| write(value).to_string())).collect::<StringViewArray>())
    }
    Ok(match from {
        Type::Bool => each(values.as_boolean().iter(), |value| value),
        Type::Int64 => each(values.as_primitive::<Int64Type>().iter(), |value| value),
        Type::UInt64 => each(values.as_primitive::<UInt64Type>().iter(), |value| value),
        Type::Float64 => each(values.as_primitive::<Float64Type>().iter(), shortest),
        Type::Date => each(values.as_primitive::<Int64Type>().iter(), date),
        Type::DateTime => each(values.as_primitive::<Int64Type>().iter(), second),
        Type::DateTime64 => each(values.as_primitive::<Int64Type>().iter(), |ms| {
            format!("{}.{:03}", second(ms.div_euclid(1000)), ms.rem_euclid(1000))
        }),
        from => return not_impl_err!("{from} to a text"),
    })
}

fn second(seconds: i64) -> String {
    let (day, rest) = (date(seconds.div_euclid(DAY)), seconds.rem_euclid(DAY));
    format!("{day} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

/// The shortest decimal text that reads back to a double, with an exponent below 1e-6 and from 1e21 on.
fn shortest(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    let size = value.abs();
    if size != 0.0 && size.is_finite() && !(1e-6..1e21).contains(&size) {
        return format!("{value:e}");
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_short_as_they_read_back() {
        let written = [0.1, 1.0, 1e20, 1e21, 1.5e-7, 0.000_001, -0.0, f64::INFINITY, f64::NAN].map(shortest);
        assert_eq!(
            written,
            ["0.1", "1", "100000000000000000000", "1e21", "1.5e-7", "0.000001", "-0", "inf", "nan"]
        );
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        let texts: ArrayRef =
            Arc::new(StringViewArray::from(vec!["2026-11-01 10:00:00.250", "1969-12-31 23:59:59"]));
        let times = convert(&texts, &Type::String, &Type::DateTime64).unwrap();
        assert_eq!(times.as_primitive::<Int64Type>().values(), &[1_793_527_200_250, -1000]);
        let back = convert(&times, &Type::DateTime64, &Type::String).unwrap();
        assert_eq!(back.as_string_view().value(1), "1969-12-31 23:59:59.000");
        let seconds = convert(&times, &Type::DateTime64, &Type::DateTime).unwrap();
        assert_eq!(
            convert(&seconds, &Type::DateTime, &Type::String).unwrap().as_string_view().value(0),
            "2026-11-01 10:00:00"
        );
        let days: ArrayRef = Arc::new(StringViewArray::from(vec!["2026-11-01"]));
        assert!(convert(&days, &Type::String, &Type::Date).is_ok());
        let wrong: ArrayRef = Arc::new(StringViewArray::from(vec!["yesterday"]));
        assert!(convert(&wrong, &Type::String, &Type::Date).is_err());
    }
}
