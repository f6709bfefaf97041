//! The functions and operators of the dialect: what each means, and its name in ClickHouse.
//!
//! Only these can be called. Texts are bytes to them, as to ClickHouse: lengths and places count bytes, and only the
//! letters of ASCII have another case.

use super::types::Unit;

/// A function of the values of one row. Where a result is a question, its type is `Bool`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Function {
    /// `lower(String)`: A to Z only.
    Lower,
    /// `upper(String)`: a to z only.
    Upper,
    /// `substring(String, Int64[, Int64])`: from a place that counts from 1 (from the end where negative; nothing at 0), at most so
    /// many bytes (without so many of the end where negative).
    Substring,
    /// `concat(String, …)`, at least one.
    Concat,
    /// `length(String)`: bytes, as `UInt64`.
    Length,
    /// `length(Array)`: elements, as `UInt64`.
    ArrayLength,
    /// `trim(String)`: without spaces (U+0020 only) at these ends.
    Trim {
        /// At the beginning.
        leading: bool,
        /// At the end.
        trailing: bool,
    },
    /// `startsWith(String, String)`.
    StartsWith,
    /// `endsWith(String, String)`.
    EndsWith,
    /// `JSONExtractString(String, String…)`: the text at this path of members in a JSON text, of what is no
    /// text its JSON; empty where there is nothing.
    JsonExtractString,
    /// `round(number)`: to so many decimals; a half of a `Float64` to the even neighbour, of an integer away from 0. Of the
    /// type of its argument.
    Round {
        /// Decimals; negative for tens, hundreds, ….
        decimals: i8,
    },
    /// `floor(number)`: likewise, towards less.
    Floor {
        /// Decimals.
        decimals: i8,
    },
    /// `ceil(number)`: likewise, towards more.
    Ceil {
        /// Decimals.
        decimals: i8,
    },
    /// `abs(number)`: `UInt64` of an integer.
    Abs,
    /// `coalesce(T, …)`: the first that is not NULL. Only the last can be of a type that is not nullable.
    Coalesce,
    /// `toInt32(Int64)`: the lower 32 bits, with their sign.
    LowerInt32,
    /// `has(Array(T), T)`. A NULL is equal to a NULL.
    Has,
    /// `hasAny(Array(T), Array(T))`: whether an element is in both. A NULL is equal to a NULL.
    HasAny,
    /// `hasAll(Array(T), Array(T))`: whether all of the second are in the first. A NULL is equal to a NULL.
    HasAll,
    /// `array[Int64]`: counted from 1, from the end where negative; the default of the type (see
    /// [`super::types::Type::default_value`]) where there is none.
    ArrayElement,
    /// `toStartOf…(time)`: the beginning of the minute, hour or day as `DateTime`, of what is longer as `Date`.
    StartOf(Period),
    /// `formatDateTime(DateTime, format)`.
    FormatDateTime(Vec<FormatPiece>),
    /// `fromUnixTimestamp64Milli(Int64)`: the `DateTime64` so many ms after 1970.
    FromUnixMs,
    /// `toUnixTimestamp64Milli(DateTime64)`: ms since 1970, as `Int64`.
    ToUnixMs,
    /// `toUnixTimestamp(DateTime)`: seconds since 1970, as `UInt64`.
    ToUnixSeconds,
}

/// What a time is cut to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// `date_trunc('second', …)`, of a `DateTime` or `DateTime64`.
    Second,
    /// Of a `DateTime` or `DateTime64`.
    Minute,
    /// Of a `DateTime` or `DateTime64`.
    Hour,
    /// Of any time.
    Day,
    /// A week that begins on Sunday, which is what `toStartOfWeek(t)` means.
    SundayWeek,
    /// A week that begins on Monday: `toStartOfWeek(t, 1)` and `date_trunc('week', t)`.
    MondayWeek,
    /// A month.
    Month,
    /// A quarter.
    Quarter,
    /// A year.
    Year,
}

/// A piece of a format of `formatDateTime`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatPiece {
    /// As it stands.
    Text(String),
    /// `%Y`: four digits.
    Year,
    /// `%y`: the last two digits.
    ShortYear,
    /// `%m`: 01 to 12.
    Month,
    /// `%d`: 01 to 31.
    Day,
    /// `%e`: the day, 1 to 31.
    PlainDay,
    /// `%j`: the day of the year, 001 to 366.
    DayOfYear,
    /// `%u`: Monday is 1, Sunday 7.
    Weekday,
    /// `%w`: Sunday is 0, Saturday 6.
    SundayWeekday,
    /// `%a`: `Mon`.
    WeekdayName,
    /// `%b`: `Jan`.
    MonthName,
    /// `%Q`: the quarter, 1 to 4.
    Quarter,
    /// `%H`: 00 to 23.
    Hour,
    /// `%I`: 01 to 12.
    TwelveHour,
    /// `%p`: `AM` or `PM`.
    HalfOfDay,
    /// `%i`: 00 to 59.
    Minute,
    /// `%S`: 00 to 59.
    Second,
}

/// A function of many rows. NULLs are left out by all of them; NaN is a value.
#[derive(Debug, Clone, PartialEq)]
pub enum AggregateFunction {
    /// `count`: rows, or values that are not NULL, as `UInt64`.
    Count,
    /// `sum`: of its argument's type, integers wrap around; 0 of nothing, NULL of nothing where nullable.
    Sum,
    /// `avg`: a `Float64`; NaN of nothing, NULL of nothing where nullable.
    Average,
    /// `min` of anything but arrays; the default of the type of nothing, NULL where nullable.
    Minimum,
    /// `max`, likewise.
    Maximum,
    /// `any`: a value of any of the rows, likewise.
    Any,
    /// `groupArray`: all values, in any order.
    GroupArray,
    /// `groupUniqArray`: each value once, in any order.
    GroupUniqueArray,
    /// `uniq`: about how many different values, as `UInt64`.
    ApproximateUnique,
    /// `uniqExact`: how many different values, as `UInt64`.
    ExactUnique,
    /// `quantile(level)` of numbers: about the value that this part of them is below, interpolated between neighbours, as `Float64`; NaN of
    /// nothing.
    Quantile(f64),
    /// `avgMerge` of [`super::types::State::Average`]: a `Float64`, NaN of nothing.
    AverageMerge,
    /// `quantilesTDigestMerge(level, …)` of a digest: an array of one `Float64` for each level.
    QuantilesTDigestMerge(Vec<f64>),
}

/// An operator of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`, always of two `Float64`: by 0 it is infinite, 0 by 0 is NaN.
    Divide,
    /// `%`, with the sign of the left operand; by integer 0 an error.
    Remainder,
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are named after what they ask")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Period {
    /// The unit, and the name of its `toStartOf…`.
    pub fn unit(self) -> Unit {
        match self {
            Period::Second => Unit::Second,
            Period::Minute => Unit::Minute,
            Period::Hour => Unit::Hour,
            Period::Day => Unit::Day,
            Period::SundayWeek | Period::MondayWeek => Unit::Week,
            Period::Month => Unit::Month,
            Period::Quarter => Unit::Quarter,
            Period::Year => Unit::Year,
        }
    }
}

impl FormatPiece {
    /// Each piece that has a code of its own, with the letter after `%`.
    pub const ALL: [(char, FormatPiece); 16] = [
        ('Y', FormatPiece::Year),
        ('y', FormatPiece::ShortYear),
        ('m', FormatPiece::Month),
        ('d', FormatPiece::Day),
        ('e', FormatPiece::PlainDay),
        ('j', FormatPiece::DayOfYear),
        ('u', FormatPiece::Weekday),
        ('w', FormatPiece::SundayWeekday),
        ('a', FormatPiece::WeekdayName),
        ('b', FormatPiece::MonthName),
        ('Q', FormatPiece::Quarter),
        ('H', FormatPiece::Hour),
        ('I', FormatPiece::TwelveHour),
        ('p', FormatPiece::HalfOfDay),
        ('i', FormatPiece::Minute),
        ('S', FormatPiece::Second),
    ];
}

/// What can be called, as ClickHouse spells it. Aggregates have an `-If` form besides; see [`canonical`].
const NAMES: &[&str] = &[
    "abs",
    "any",
    "arrayFilter",
    "arrayJoin",
    "avg",
    "avgMerge",
    "ceil",
    "coalesce",
    "concat",
    "count",
    "date_trunc",
    "endsWith",
    "floor",
    "formatDateTime",
    "fromUnixTimestamp64Milli",
    "groupArray",
    "groupUniqArray",
    "has",
    "hasAll",
    "hasAny",
    "if",
    "JSONExtractString",
    "length",
    "lower",
    "max",
    "median",
    "min",
    "now",
    "now64",
    "quantile",
    "quantilesTDigestMerge",
    "round",
    "startsWith",
    "substring",
    "sum",
    "toDate",
    "toDateTime",
    "toDateTime64",
    "today",
    "toFloat64",
    "toInt32",
    "toInt64",
    "toIntervalDay",
    "toIntervalHour",
    "toIntervalMicrosecond",
    "toIntervalMillisecond",
    "toIntervalMinute",
    "toIntervalMonth",
    "toIntervalNanosecond",
    "toIntervalQuarter",
    "toIntervalSecond",
    "toIntervalWeek",
    "toIntervalYear",
    "toStartOfDay",
    "toStartOfHour",
    "toStartOfMinute",
    "toStartOfMonth",
    "toStartOfQuarter",
    "toStartOfWeek",
    "toStartOfYear",
    "toString",
    "toUnixTimestamp",
    "toUnixTimestamp64Milli",
    "trim",
    "uniq",
    "uniqExact",
    "upper",
];

/// The aggregates that have an `-If` form, which takes a condition as one more argument.
const CONDITIONAL: &[&str] = &[
    "anyIf",
    "avgIf",
    "countIf",
    "groupArrayIf",
    "groupUniqArrayIf",
    "maxIf",
    "medianIf",
    "minIf",
    "quantileIf",
    "sumIf",
    "uniqExactIf",
    "uniqIf",
];

/// All names of functions.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    NAMES.iter().chain(CONDITIONAL).copied()
}

/// A function's name as ClickHouse spells it, from any spelling.
pub fn canonical(name: &str) -> Option<&'static str> {
    names().find(|known| known.eq_ignore_ascii_case(name))
}

/// Whether a canonical name is an aggregate's.
pub fn is_aggregate(name: &str) -> bool {
    let has_conditional = |base: &str| CONDITIONAL.iter().any(|known| known.strip_suffix("If") == Some(base));
    CONDITIONAL.contains(&name) || has_conditional(name) || matches!(name, "avgMerge" | "quantilesTDigestMerge")
}
