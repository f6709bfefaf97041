//! Constants: numbers and times as they are written.

use super::super::types::{Literal, Type};
use super::refused;
use crate::error::Error;

/// Seconds that a `DateTime` of ClickHouse can hold end before this.
const DATE_TIME_END: i64 = 1 << 32;
/// Days that a `Date` can hold end before this.
const DATE_END: i64 = 1 << 16;

/// A number.
pub(super) fn number(digits: &str, is_negative: bool) -> Result<Literal, Error> {
    let digits = digits.replace('_', "");
    if digits.bytes().all(|digit| digit.is_ascii_digit())
        && let Ok(value) = digits.parse::<u64>()
    {
        if !is_negative || value == 0 {
            return Ok(Literal::UInt64(value));
        }
        if let Some(value) = 0_i64.checked_sub_unsigned(value) {
            return Ok(Literal::Int64(value));
        }
    }
    let value: f64 = digits.parse().map_err(|_| refused("A number of the query cannot be read."))?;
    if !value.is_finite() {
        return Err(refused("A number of the query is too large."));
    }
    Ok(Literal::Float64(if is_negative { -value } else { value }))
}

/// The time that a text says, in Unix ms: `Y-M-D`, `Y-M-D h:m:s`, or RFC 3339. Without an offset it is UTC.
pub(super) fn time(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.len() < 10
        || text.len() > 40
        || !text.is_ascii()
        || !text.starts_with(|first: char| first.is_ascii_digit())
    {
        return None;
    }
    if text.len() == 10 {
        let date: jiff::civil::Date = text.parse().ok()?;
        return Some(
            jiff::tz::TimeZone::UTC
                .to_timestamp(date.to_datetime(jiff::civil::Time::midnight()))
                .ok()?
                .as_millisecond(),
        );
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_millisecond());
    }
    if text.contains(['[', '+', 'Z', 'z']) || text.get(11..)?.contains('-') {
        return None;
    }
    let time: jiff::civil::DateTime = text.parse().ok()?;
    Some(jiff::tz::TimeZone::UTC.to_timestamp(time).ok()?.as_millisecond())
}

/// A time in Unix ms as a constant of this type, or of a finer one where it would not be the same time there.
pub(super) fn instant(ms: i64, of: &Type) -> Literal {
    let (day, second) = (ms.div_euclid(86_400_000), ms.div_euclid(1000));
    match of {
        Type::Date if day * 86_400_000 == ms && (0..DATE_END).contains(&day) => Literal::Date(day),
        Type::Date | Type::DateTime if second * 1000 == ms && (0..DATE_TIME_END).contains(&second) => {
            Literal::DateTime(second)
        }
        _ => Literal::DateTime64(ms),
    }
}
