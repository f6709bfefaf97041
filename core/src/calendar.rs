//! Times, days, and on which of them balances are refilled.
//!
//! A refill is due at 00:00 UTC: daily, or monthly on its day, which short months clamp to their last day.
//! A [`Day`] is a number to the store, so that it can compare them.

use std::borrow::Cow;

use jiff::civil::Date;
use schemars::generate::Contract;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::schema::{MARK, TIME};

/// A second, in ms.
pub const SECOND_MS: i64 = 1000;
/// A minute, in ms.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// An hour, in ms.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// A day, in ms.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// A time: milliseconds since 1970-01-01 UTC. It is no duration, nor an amount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMs(i64);

impl UnixMs {
    /// 1970-01-01, before everything that Keyrack knows.
    pub const EPOCH: UnixMs = UnixMs(0);

    /// The latest expiry that a request may ask for, 2100-01-01, in Unix ms: a number, because schemas take one.
    pub const LATEST_EXPIRY: i64 = 4_102_444_800_000;

    /// A time by its number of ms.
    pub const fn new(ms: i64) -> UnixMs {
        UnixMs(ms)
    }

    /// How many ms after 1970-01-01 it is.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// So many ms later; the last of all times where there is none so late.
    #[must_use]
    pub const fn plus(self, ms: i64) -> UnixMs {
        UnixMs(self.0.saturating_add(ms))
    }

    /// So many ms earlier.
    #[must_use]
    pub const fn minus(self, ms: i64) -> UnixMs {
        UnixMs(self.0.saturating_sub(ms))
    }

    /// How many ms it is later than another time; negative where it is earlier.
    pub const fn since(self, earlier: UnixMs) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// RFC 3339 in UTC, for people. Its number is for everything else, so there is no `Display` that could be either.
    pub fn rfc3339(self) -> String {
        let time = jiff::Timestamp::from_millisecond(self.0);
        time.map_or_else(|_| format!("{} ms", self.0), |time| time.to_string())
    }
}

/// An integer; in a request one of 1970 or later.
impl JsonSchema for UnixMs {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "UnixMs".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = i64::json_schema(generator);
        schema.insert(MARK.to_owned(), TIME.into());
        if *generator.contract() == Contract::Deserialize {
            schema.insert("minimum".to_owned(), 0.into());
        }
        schema
    }
}

/// A day of UTC, counted from 1970-01-01. It is no number of milliseconds, nor an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
    /// The day that a time falls on.
    pub fn of(time: UnixMs) -> Day {
        Day(time.0.div_euclid(DAY_MS))
    }

    /// As the store keeps it: how many days after 1970-01-01 it is.
    pub fn number(self) -> i64 {
        self.0
    }

    /// Its first moment.
    pub fn start(self) -> UnixMs {
        UnixMs(self.0.saturating_mul(DAY_MS))
    }

    /// So many days later.
    pub fn plus(self, days: i64) -> Day {
        Day(self.0.saturating_add(days))
    }

    fn date(self) -> Date {
        let seconds = self.0.saturating_mul(DAY_MS / 1000);
        let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        time.to_zoned_datetime(jiff::tz::TimeZone::UTC).date()
    }
}

impl std::str::FromStr for Day {
    type Err = jiff::Error;

    /// `2026-11-29`
    fn from_str(text: &str) -> Result<Day, jiff::Error> {
        let date: Date = text.parse()?;
        let midnight = date.to_zoned_datetime(jiff::tz::TimeZone::UTC)?;
        Ok(Day::of(UnixMs(midnight.timestamp().as_millisecond())))
    }
}

/// A day, and what is needed to say on which day up to it a refill was due last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// The day itself.
    pub today: Day,
    /// The first day of its month.
    pub month_start: Day,
    /// How many days its month has.
    pub month_days: i64,
    /// Refill days up to this one have come this month: the day of the month, or 31 on the last.
    pub reached_day: i64,
    /// The first day of the month before.
    pub previous_start: Day,
    /// How many days the month before had.
    pub previous_days: i64,
}

impl Calendar {
    /// The calendar of the UTC day that a time falls on.
    pub fn at(time: UnixMs) -> Calendar {
        let today = Day::of(time);
        let date = today.date();
        let (day, month_days) = (i64::from(date.day()), i64::from(date.days_in_month()));
        let month_start = today.plus(1 - day);
        let previous_days = i64::from(month_start.plus(-1).date().days_in_month());
        Calendar {
            today,
            month_start,
            month_days,
            reached_day: if day == month_days { 31 } else { day },
            previous_start: month_start.plus(-previous_days),
            previous_days,
        }
    }

    /// The last day, today included, on which a refill was due; `None` means daily. The store has the same in
    /// SQL.
    pub fn last_due(&self, refill_day: Option<i64>) -> Day {
        match refill_day {
            None => self.today,
            Some(day) if day <= self.reached_day => self.month_start.plus(day.min(self.month_days) - 1),
            Some(day) => self.previous_start.plus(day.min(self.previous_days) - 1),
        }
    }

    /// The first day after this one on which a refill is due; `None` means daily.
    pub fn next_due(&self, refill_day: Option<i64>) -> Day {
        match refill_day {
            None => self.today.plus(1),
            Some(day) if day > self.reached_day => self.month_start.plus(day.min(self.month_days) - 1),
            Some(day) => {
                let next_start = self.month_start.plus(self.month_days);
                next_start.plus(day.min(i64::from(next_start.date().days_in_month())) - 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        let date: Date = text.parse().unwrap();
        Day::of(UnixMs(date.to_zoned_datetime(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_millisecond()))
    }

    #[test]
    fn a_monthly_refill_comes_on_its_day_or_on_the_last_of_a_short_month() {
        for (today, refill_day, due) in [
            ("2026-04-29", 31, "2026-03-31"),
            ("2026-04-30", 31, "2026-04-30"),
            ("2026-05-01", 31, "2026-04-30"),
            ("2026-05-31", 31, "2026-05-31"),
            ("2026-02-28", 30, "2026-02-28"),
            ("2028-02-28", 30, "2028-01-30"),
            ("2028-02-29", 30, "2028-02-29"),
            ("2026-03-15", 15, "2026-03-15"),
            ("2026-03-14", 15, "2026-02-15"),
            ("2026-01-01", 1, "2026-01-01"),
            ("2026-01-01", 2, "2025-12-02"),
        ] {
            let calendar = Calendar::at(UnixMs(day(today).number() * DAY_MS + 12 * HOUR_MS));
            assert_eq!(calendar.last_due(Some(refill_day)), day(due), "{refill_day} on {today}");
            assert_eq!(calendar.last_due(None), day(today));
        }
    }

    #[test]
    fn the_next_refill_is_on_the_first_later_day_that_is_the_last_due_of_itself() {
        for (from, days) in [("2026-11-20", 120), ("2028-01-25", 70)] {
            for today in (0..days).map(|later| day(from).plus(later)) {
                for refill_day in std::iter::once(None).chain((1..=31).map(Some)) {
                    let is_due = |day: &Day| Calendar::at(day.start()).last_due(refill_day) == *day;
                    let expected = (1..).map(|later| today.plus(later)).find(is_due);
                    let next = Calendar::at(today.start().plus(HOUR_MS)).next_due(refill_day);
                    assert_eq!(Some(next), expected, "{refill_day:?} after {today:?}");
                }
            }
        }
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        let midnight = UnixMs(day("2026-07-01").number() * DAY_MS);
        assert_eq!(Calendar::at(midnight.minus(1)).today, day("2026-06-30"));
        assert_eq!(Calendar::at(midnight).today, day("2026-07-01"));
    }
}
