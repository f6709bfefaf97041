//! Days and months as files have them.

use std::fmt;
use std::str::FromStr;

use keyrack_core::calendar::{Calendar, DAY_MS, Day, UnixMs};
use serde::{Deserialize, Serialize};

/// A day of UTC, as a number that files keep: days after 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DayNumber(i32);

impl DayNumber {
    /// The day that is so many after 1970-01-01.
    pub const fn new(number: i32) -> Self {
        DayNumber(number)
    }

    /// The day that a time falls on; the first or last of all for a time outside of them.
    pub fn of(time: UnixMs) -> Self {
        let number = Day::of(time).number();
        DayNumber(i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX }))
    }

    /// How many days after 1970-01-01 it is: as Arrow's dates are counted.
    pub const fn get(self) -> i32 {
        self.0
    }

    /// When it begins.
    pub const fn begin(self) -> UnixMs {
        UnixMs::new((self.0 as i64).saturating_mul(DAY_MS))
    }

    /// When it is over.
    pub const fn end(self) -> UnixMs {
        self.begin().plus(DAY_MS)
    }

    /// The day so many days earlier.
    #[must_use]
    pub const fn before(self, days: u32) -> Self {
        DayNumber(self.0.saturating_sub_unsigned(days))
    }

    /// The day so many days later.
    #[must_use]
    pub const fn after(self, days: u32) -> Self {
        DayNumber(self.0.saturating_add_unsigned(days))
    }

    /// The first day of its month.
    #[must_use]
    pub fn month(self) -> Self {
        let number = Calendar::at(self.begin()).month_start.number();
        DayNumber(i32::try_from(number).unwrap_or(self.0))
    }

    /// The first day of the month after its own.
    #[must_use]
    pub fn next_month(self) -> Self {
        let calendar = Calendar::at(self.begin());
        let number = calendar.month_start.number().saturating_add(calendar.month_days);
        DayNumber(i32::try_from(number).unwrap_or(i32::MAX))
    }
}

impl fmt::Display for DayNumber {
    /// As `2026-11-29`, from the days since 0000-03-01 (the algorithm `civil_from_days` of Howard Hinnant's
    /// [chrono-Compatible Low-Level Date Algorithms](https://howardhinnant.github.io/date_algorithms.html)).
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = i64::from(self.0) + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        write!(formatter, "{year:04}-{month:02}-{day:02}")
    }
}

/// Days one after the other, the last one included: those that a file may have rows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Days {
    /// The first one.
    pub first: DayNumber,
    /// The last one.
    pub last: DayNumber,
}

impl Days {
    /// The month of a day.
    pub fn month(day: DayNumber) -> Self {
        Days { first: day.month(), last: day.next_month().before(1) }
    }

    /// The quarter of its month that a day is in: seven days, or those that are left from the 22nd on.
    pub fn quarter(day: DayNumber) -> Self {
        let Days { first, last } = Self::month(day);
        let weeks = (day.0.abs_diff(first.0) / 7).min(3);
        let begin = first.after(7 * weeks);
        Days { first: begin, last: if weeks == 3 { last } else { begin.after(6) } }
    }

    /// From the first of all of these to the last.
    #[must_use]
    pub fn and(self, others: Days) -> Self {
        Days { first: self.first.min(others.first), last: self.last.max(others.last) }
    }

    /// Whether these have days in common.
    pub fn overlap(self, others: Days) -> bool {
        self.first <= others.last && others.first <= self.last
    }
}

impl From<DayNumber> for Days {
    fn from(day: DayNumber) -> Self {
        Days { first: day, last: day }
    }
}

impl fmt::Display for Days {
    /// As `2026-11-29`, or `2026-11-22_2026-11-30`, which may be part of a file's name.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.first)?;
        if self.last == self.first { Ok(()) } else { write!(formatter, "_{}", self.last) }
    }
}

impl FromStr for DayNumber {
    type Err = String;

    /// Reads `2026-11-29` and nothing else.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "it must be a day such as 2026-11-29".to_owned();
        let date: jiff::civil::Date = text.parse().map_err(|_| wrong())?;
        let since = date.duration_since(jiff::civil::date(1970, 1, 1));
        let day = DayNumber(i32::try_from(since.as_hours() / 24).map_err(|_| wrong())?);
        if day.to_string() == text { Ok(day) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_as_dates_and_belong_to_months() {
        for (number, date, month, next) in [
            (0, "1970-01-01", 0, 31),
            (-1, "1969-12-31", -31, 0),
            (19_782, "2024-02-29", 19_754, 19_783),
            (20_786, "2026-11-29", 20_758, 20_788),
            (20_787, "2026-11-30", 20_758, 20_788),
        ] {
            let day = DayNumber::new(number);
            let facts = (day.to_string(), day.month().get(), day.next_month().get());
            assert_eq!(facts, (date.to_owned(), month, next));
            assert_eq!([day.begin(), day.end().minus(1)].map(DayNumber::of), [day; 2]);
            assert_eq!(date.parse(), Ok(day));
        }
    }

    #[test]
    fn quarters_are_parts_of_months_and_have_each_day_once() {
        for number in 19_700..20_800 {
            let day = DayNumber::new(number);
            let (quarter, month) = (Days::quarter(day), Days::month(day));
            assert!(quarter.first <= day && day <= quarter.last, "{day}: {quarter}");
            assert!(month.first <= quarter.first && quarter.last <= month.last, "{day}: {quarter}");
            let length = quarter.last.get() - quarter.first.get() + 1;
            assert!((7..=10).contains(&length), "{day}: {quarter}");
            let next = Days::quarter(quarter.last.after(1));
            assert!(next.first == quarter.last.after(1) && !next.overlap(quarter), "{day}: {quarter}, {next}");
        }
        let last = Days::quarter(DayNumber::new(20_787));
        assert_eq!(last.to_string(), "2026-11-22_2026-11-30");
        assert_eq!(Days::from(last.last).to_string(), "2026-11-30");
        assert_eq!(Days::from(last.first).and(last.last.into()), last);
    }

    #[test]
    fn a_day_is_read_as_it_is_written_and_in_no_other_way() {
        for text in
            ["", "2026-11", "2026-11-31", "2026-1-1", "20261129", "2026-11-29T10:00", "yesterday", "-001-01-01"]
        {
            let error = text.parse::<DayNumber>().unwrap_err();
            assert!(error.contains("2026-11-29"), "{text}: {error}");
        }
    }
}
