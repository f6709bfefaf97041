//! `formatDateTime`.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, StringViewArray};
use arrow::datatypes::Int64Type;
use datafusion::common::Result;
use jiff::civil::Date;
use keyrack_core::analytics::sql::functions::FormatPiece;

use super::times::date;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Seconds since 1970 in this format.
pub(super) fn format(times: &ArrayRef, pieces: &[FormatPiece]) -> Result<ArrayRef> {
    let format = |time: i64| {
        let (day, second) = (date(time.div_euclid(86_400)), time.rem_euclid(86_400));
        let mut text = String::new();
        for piece in pieces {
            // Into memory: there is nothing that could fail.
            let _ = write_piece(&mut text, piece, day, second);
        }
        text
    };
    let texts = times.as_primitive::<Int64Type>().iter().map(|time| time.map(format));
    Ok(Arc::new(texts.collect::<StringViewArray>()))
}

fn write_piece(text: &mut String, piece: &FormatPiece, day: Date, second: i64) -> std::fmt::Result {
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let place = |number: i8| usize::try_from(number - 1).unwrap_or(0);
    match piece {
        FormatPiece::Text(piece) => text.write_str(piece),
        FormatPiece::Year => write!(text, "{:04}", day.year()),
        FormatPiece::ShortYear => write!(text, "{:02}", day.year().rem_euclid(100)),
        FormatPiece::Month => write!(text, "{:02}", day.month()),
        FormatPiece::Day => write!(text, "{:02}", day.day()),
        FormatPiece::PlainDay => write!(text, "{}", day.day()),
        FormatPiece::DayOfYear => write!(text, "{:03}", day.day_of_year()),
        FormatPiece::Weekday => write!(text, "{}", day.weekday().to_monday_one_offset()),
        FormatPiece::SundayWeekday => write!(text, "{}", day.weekday().to_sunday_zero_offset()),
        FormatPiece::WeekdayName => text.write_str(WEEKDAYS[place(day.weekday().to_monday_one_offset())]),
        FormatPiece::MonthName => text.write_str(MONTHS[place(day.month())]),
        FormatPiece::Quarter => write!(text, "{}", (day.month() - 1) / 3 + 1),
        FormatPiece::Hour => write!(text, "{hour:02}"),
        FormatPiece::TwelveHour => write!(text, "{:02}", (hour + 11) % 12 + 1),
        FormatPiece::HalfOfDay => text.write_str(if hour < 12 { "AM" } else { "PM" }),
        FormatPiece::Minute => write!(text, "{minute:02}"),
        FormatPiece::Second => write!(text, "{:02}", second % 60),
    }
}
