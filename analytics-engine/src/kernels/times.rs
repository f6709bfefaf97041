//! Functions of times, which are days, seconds or milliseconds since 1970, in UTC.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Int64Array};
use arrow::datatypes::Int64Type;
use datafusion::common::{Result, exec_err, not_impl_err};
use jiff::civil::{Date, Weekday};
use jiff::{Span, ToSpan as _};
use keyrack_core::analytics::sql::functions::Period;
use keyrack_core::analytics::sql::types::{Type, Unit};

const DAY_SECONDS: i64 = 86_400;
const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// The day of this number; the nearest there is.
pub(super) fn date(days: i64) -> Date {
    // Beyond what a span of days can be there is no date either.
    let days = days.clamp(-7_000_000, 7_000_000);
    EPOCH.saturating_add(Span::new().days(days))
}

/// The number of a day.
pub(super) fn days(date: Date) -> i64 {
    i64::from((date - EPOCH).get_days())
}

/// Seconds since 1970 of a time of this type.
fn seconds(time: i64, of: &Type) -> i64 {
    match of.inner() {
        Type::Date => time.saturating_mul(DAY_SECONDS),
        Type::DateTime64 => time.div_euclid(1000),
        _ => time,
    }
}

/// A time of this type from seconds since 1970.
fn from_seconds(seconds: i64, of: &Type) -> i64 {
    match of.inner() {
        Type::Date => seconds.div_euclid(DAY_SECONDS),
        Type::DateTime64 => seconds.saturating_mul(1000),
        _ => seconds,
    }
}

/// The beginning of the period that a time is in.
pub(super) fn start_of(times: &ArrayRef, from: &Type, period: Period, of: &Type) -> Result<ArrayRef> {
    let times = times.as_primitive::<Int64Type>();
    let cut = |length: i64| -> ArrayRef {
        Arc::new(times.unary::<_, Int64Type>(|time| {
            let seconds = seconds(time, from);
            from_seconds(seconds - seconds.rem_euclid(length), of)
        }))
    };
    Ok(match period {
        Period::Second => cut(1),
        Period::Minute => cut(60),
        Period::Hour => cut(3600),
        Period::Day => cut(DAY_SECONDS),
        _ => {
            // Most times are in the same period as the one before.
            let mut known: Range<i64> = 0..0;
            let starts = times.iter().map(|time| {
                let day = seconds(time?, from).div_euclid(DAY_SECONDS);
                if !known.contains(&day) {
                    known = period_around(day, period);
                }
                Some(from_seconds(known.start.saturating_mul(DAY_SECONDS), of))
            });
            Arc::new(starts.collect::<Int64Array>())
        }
    })
}

/// The days of the week, month, quarter or year that a day is in.
fn period_around(day: i64, period: Period) -> Range<i64> {
    let date = date(day);
    let first = match period {
        Period::SundayWeek => return week(day, date.weekday().since(Weekday::Sunday)),
        Period::MondayWeek => return week(day, date.weekday().since(Weekday::Monday)),
        Period::Month => date.first_of_month(),
        Period::Quarter => Date::constant(date.year(), (date.month() - 1) / 3 * 3 + 1, 1),
        _ => date.first_of_year(),
    };
    let length = match period {
        Period::Month => 1.month(),
        Period::Quarter => 3.months(),
        _ => 1.year(),
    };
    days(first)..days(first.saturating_add(length)).max(day + 1)
}

fn week(day: i64, since_first: i8) -> Range<i64> {
    let first = day - i64::from(since_first);
    first..first + 7
}

/// Times that are so many units later.
pub(crate) fn later(times: &ArrayRef, amounts: &ArrayRef, unit: Unit, of: &Type) -> Result<ArrayRef> {
    let months = match unit {
        Unit::Month => Some(1),
        Unit::Quarter => Some(3),
        Unit::Year => Some(12),
        _ => None,
    };
    // The length of the unit in the type's own.
    let unit_of = |ms: i64| match of.inner() {
        Type::DateTime64 => ms,
        Type::Date => ms / (DAY_SECONDS * 1000),
        _ => ms / 1000,
    };
    let length = match unit {
        Unit::Millisecond => 1,
        Unit::Second => 1000,
        Unit::Minute => 60_000,
        Unit::Hour => 3_600_000,
        Unit::Day => DAY_SECONDS * 1000,
        Unit::Week => 7 * DAY_SECONDS * 1000,
        Unit::Month | Unit::Quarter | Unit::Year => 0,
        Unit::Nanosecond | Unit::Microsecond => return not_impl_err!("times to the {}", unit.name()),
    };
    let length = unit_of(length);
    if length == 0 && months.is_none() {
        return not_impl_err!("a {of} with a {}", unit.name());
    }
    let pairs = times.as_primitive::<Int64Type>().iter().zip(amounts.as_primitive::<Int64Type>().iter());
    let made = pairs.map(|pair| {
        let (Some(time), Some(amount)) = pair else { return Ok(None) };
        let made = match months {
            Some(months) => amount.checked_mul(months).and_then(|months| months_later(time, months, of)),
            None => amount.checked_mul(length).and_then(|length| time.checked_add(length)),
        };
        made.map_or_else(|| exec_err!("a time that is too far away"), |made| Ok(Some(made)))
    });
    Ok(Arc::new(made.collect::<Result<Int64Array>>()?))
}

/// So many months later, at the same time of the day; on the last day of a month that is too short.
fn months_later(time: i64, months: i64, of: &Type) -> Option<i64> {
    let day_length = match of.inner() {
        Type::Date => 1,
        Type::DateTime64 => DAY_SECONDS * 1000,
        _ => DAY_SECONDS,
    };
    let (day, rest) = (time.div_euclid(day_length), time.rem_euclid(day_length));
    let later = date(day).checked_add(Span::new().try_months(months).ok()?).ok()?;
    days(later).checked_mul(day_length)?.checked_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    fn day(text: &str) -> i64 {
        days(text.parse().unwrap())
    }

    #[test]
    fn a_time_is_cut_to_the_beginning_of_its_period() {
        let noon = day("2026-03-15") * DAY_SECONDS + 43_261;
        let cut = |period| {
            let cut = start_of(&ints(&[noon]), &Type::DateTime, period, &Type::Date).unwrap();
            date(cut.as_primitive::<Int64Type>().value(0)).to_string()
        };
        let periods =
            [Period::Day, Period::SundayWeek, Period::MondayWeek, Period::Month, Period::Quarter, Period::Year];
        let cut = periods.map(cut);
        assert_eq!(cut, ["2026-03-15", "2026-03-15", "2026-03-09", "2026-03-01", "2026-01-01", "2026-01-01"]);
        let minute = start_of(&ints(&[noon * 1000 + 999, -1]), &Type::DateTime64, Period::Minute, &Type::DateTime);
        assert_eq!(*minute.unwrap(), *ints(&[noon - 1, -60]));
    }

    #[test]
    fn a_month_later_is_the_same_day_or_the_last_one() {
        let months = |from: &str, amount| {
            let later = later(&ints(&[day(from)]), &ints(&[amount]), Unit::Month, &Type::Date).unwrap();
            date(later.as_primitive::<Int64Type>().value(0)).to_string()
        };
        assert_eq!(months("2026-01-31", 1), "2026-02-28");
        assert_eq!(months("2028-02-29", -12), "2027-02-28");
        assert_eq!(months("2026-11-05", 3), "2027-02-05");
        let far = later(&ints(&[0]), &ints(&[i64::MAX]), Unit::Week, &Type::DateTime);
        assert!(far.is_err(), "{far:?}");
    }

    #[test]
    fn every_day_is_in_the_period_around_it() {
        for number in (-800_000..1_000_000).step_by(997) {
            for period in [Period::SundayWeek, Period::MondayWeek, Period::Month, Period::Quarter, Period::Year] {
                assert!(period_around(number, period).contains(&number), "{number} {period:?}");
            }
        }
    }
}
