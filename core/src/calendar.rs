//! On which days balances are refilled.
//!
//! A refill is due at 00:00 UTC: daily, or monthly on its day, which short months clamp to their last day.
//! A [`Day`] is a number to the store, so that it can compare them.

use jiff::civil::Date;

const DAY_MS: i64 = 86_400_000;

/// A day of UTC, counted from 1970-01-01. It is no number of milliseconds, nor an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
    /// The day that a time in Unix ms falls on.
    pub fn of(unix_ms: i64) -> Day {
        Day(unix_ms.div_euclid(DAY_MS))
    }

    /// As the store keeps it: how many days after 1970-01-01 it is.
    pub fn number(self) -> i64 {
        self.0
    }

    fn plus(self, days: i64) -> Day {
        Day(self.0 + days)
    }

    fn date(self) -> Date {
        let seconds = self.0.saturating_mul(DAY_MS / 1000);
        let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        time.to_zoned_datetime(jiff::tz::TimeZone::UTC).date()
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
    /// The calendar of the UTC day that a time in Unix ms falls on.
    pub fn at(unix_ms: i64) -> Calendar {
        let today = Day::of(unix_ms);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        let date: Date = text.parse().unwrap();
        Day::of(date.to_zoned_datetime(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_millisecond())
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
            let calendar = Calendar::at(day(today).number() * DAY_MS + 12 * 3_600_000);
            assert_eq!(calendar.last_due(Some(refill_day)), day(due), "{refill_day} on {today}");
            assert_eq!(calendar.last_due(None), day(today));
        }
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        let midnight = day("2026-07-01").number() * DAY_MS;
        assert_eq!(Calendar::at(midnight - 1).today, day("2026-06-30"));
        assert_eq!(Calendar::at(midnight).today, day("2026-07-01"));
    }
}
