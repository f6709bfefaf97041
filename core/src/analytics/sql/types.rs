//! The types of the dialect, their constants, and what a conversion from one to another means.
//!
//! ClickHouse has integers of many widths; here all have 64 bits, so that `Int32` and `UInt8` are an [`Type::Int64`] or
//! [`Type::UInt64`] of the same value. All times are UTC.
//!
//! **Conversions** ([`super::tree::Kind::Convert`]), by the type they come from; a nullable one converts what it holds, and to
//! a nullable type the value stays as it is:
//!
//! - between integers: the same bits. Integers and `Float64`: the nearest; from `Float64` without its fraction, an
//!   error of what no `Int64` is (NaN, `1e30`), of which ClickHouse says what the processor makes of it.
//! - `Bool` to a number: 1 or 0. A number to `Bool`: whether it is not 0 (NaN is not).
//! - an integer or a `Float64` to `DateTime` or `DateTime64`: as **seconds** since 1970 (of a `Float64`, whole ms for `DateTime64`).
//!   What means milliseconds is written with [`super::functions::Function::FromUnixMs`].
//! - `Date`, `DateTime` and `DateTime64` between each other: the same instant, a day at its first moment; towards the coarser the fraction is
//!   dropped (of times before 1970 too: the day or second they are in). To an integer or a `Float64`: seconds, of `Date` days.
//! - `String` to a number, `Bool` or time: as it is read, an error if it cannot be. Times are `Y-M-D` and `Y-M-D h:m:s`, for
//!   `DateTime64` with up to three decimals of a second.
//! - anything to `String`: integers in decimal; `Float64` the shortest decimal text that reads back to it (`1`, `0.1`, `1e21`, `nan`,
//!   `inf`); `true` and `false`; `2026-11-01`, `2026-11-01 10:00:00`, `2026-11-01 10:00:00.000`.
//! - an array: each of its elements.

use std::fmt;

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    /// Of `NULL` alone, and of the elements of `[]`.
    Null,
    /// A truth value, shown as `true` and `false`. Comparisons have this type in the tree, and ClickHouse shows those as 1
    /// and 0: where one is a value and not a condition, it is converted to [`Type::UInt64`].
    Bool,
    /// A signed integer.
    Int64,
    /// An unsigned integer.
    UInt64,
    /// A double.
    Float64,
    /// Bytes, mostly UTF-8.
    String,
    /// A day.
    Date,
    /// A second.
    DateTime,
    /// A millisecond.
    DateTime64,
    /// A number of units of time. It stands only beside a time.
    Interval(Unit),
    /// Values of one type, none of them an array or an interval.
    Array(Box<Type>),
    /// A value of this type or NULL. Never of an array, a nullable or `Null`.
    Nullable(Box<Type>),
    /// The state of an aggregate, which only its merge reads.
    State(State),
}

/// A state that the aggregate tables keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Of `avg`.
    Average,
    /// Of `quantilesTDigest`. It holds the digest; the level is that of ClickHouse's column type.
    Quantile75,
    /// Likewise.
    Quantile99,
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they are named after what they are")]
pub enum Unit {
    Nanosecond,
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// NULL, of whatever type.
    Null,
    /// Of [`Type::Bool`].
    Bool(bool),
    /// Of [`Type::Int64`].
    Int64(i64),
    /// Of [`Type::UInt64`].
    UInt64(u64),
    /// Of [`Type::Float64`]; finite.
    Float64(f64),
    /// Of [`Type::String`].
    String(String),
    /// Of [`Type::Date`]: days since 1970-01-01.
    Date(i64),
    /// Of [`Type::DateTime`]: seconds since 1970-01-01.
    DateTime(i64),
    /// Of [`Type::DateTime64`]: milliseconds since 1970-01-01.
    DateTime64(i64),
    /// Of [`Type::Array`], but only as a [`Type::default_value`]: none.
    NoElements,
}

impl Type {
    /// This type, or NULL.
    #[must_use]
    pub fn nullable(self) -> Type {
        match self {
            Type::Nullable(_) | Type::Null | Type::Array(_) | Type::State(_) | Type::Interval(_) => self,
            other => Type::Nullable(Box::new(other)),
        }
    }

    /// Whether its values can be NULL.
    pub fn is_nullable(&self) -> bool {
        matches!(self, Type::Nullable(_) | Type::Null)
    }

    /// What it is when it is not NULL.
    pub fn inner(&self) -> &Type {
        match self {
            Type::Nullable(inner) => inner,
            other => other,
        }
    }

    /// Whether it is a number.
    pub fn is_number(&self) -> bool {
        self.is_integer() || *self.inner() == Type::Float64
    }

    /// Whether it is an integer.
    pub fn is_integer(&self) -> bool {
        matches!(self.inner(), Type::Int64 | Type::UInt64)
    }

    /// Whether it is a point in time.
    pub fn is_time(&self) -> bool {
        matches!(self.inner(), Type::Date | Type::DateTime | Type::DateTime64)
    }

    /// What a missing value is: of an outer join, a filled row, an aggregate over nothing. None for what no column has.
    pub fn default_value(&self) -> Option<Literal> {
        Some(match self {
            Type::Null | Type::Nullable(_) => Literal::Null,
            Type::Bool => Literal::Bool(false),
            Type::Int64 => Literal::Int64(0),
            Type::UInt64 => Literal::UInt64(0),
            Type::Float64 => Literal::Float64(0.0),
            Type::String => Literal::String(String::new()),
            Type::Date => Literal::Date(0),
            Type::DateTime => Literal::DateTime(0),
            Type::DateTime64 => Literal::DateTime64(0),
            Type::Array(_) => Literal::NoElements,
            Type::Interval(_) | Type::State(_) => return None,
        })
    }
}

/// As ClickHouse writes it.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Null => f.write_str("Nullable(Nothing)"),
            Type::Bool => f.write_str("Bool"),
            Type::Int64 => f.write_str("Int64"),
            Type::UInt64 => f.write_str("UInt64"),
            Type::Float64 => f.write_str("Float64"),
            Type::String => f.write_str("String"),
            Type::Date => f.write_str("Date"),
            Type::DateTime => f.write_str("DateTime"),
            Type::DateTime64 => f.write_str("DateTime64(3)"),
            Type::Interval(unit) => write!(f, "Interval{}", unit.name()),
            Type::Array(inner) => write!(f, "Array({inner})"),
            Type::Nullable(inner) => write!(f, "Nullable({inner})"),
            Type::State(State::Average) => f.write_str("AggregateFunction(avg, Float64)"),
            Type::State(State::Quantile75) => f.write_str("AggregateFunction(quantilesTDigest(0.75), Float64)"),
            Type::State(State::Quantile99) => f.write_str("AggregateFunction(quantilesTDigest(0.99), Float64)"),
        }
    }
}

impl Unit {
    /// All, the smallest first.
    pub const ALL: [Unit; 11] = [
        Unit::Nanosecond,
        Unit::Microsecond,
        Unit::Millisecond,
        Unit::Second,
        Unit::Minute,
        Unit::Hour,
        Unit::Day,
        Unit::Week,
        Unit::Month,
        Unit::Quarter,
        Unit::Year,
    ];

    /// As ClickHouse writes it in the names of functions and types.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Nanosecond => "Nanosecond",
            Unit::Microsecond => "Microsecond",
            Unit::Millisecond => "Millisecond",
            Unit::Second => "Second",
            Unit::Minute => "Minute",
            Unit::Hour => "Hour",
            Unit::Day => "Day",
            Unit::Week => "Week",
            Unit::Month => "Month",
            Unit::Quarter => "Quarter",
            Unit::Year => "Year",
        }
    }

    /// The unit of this name in any case, singular or plural.
    pub fn named(name: &str) -> Option<Unit> {
        let singular = name.strip_suffix(['s', 'S']).unwrap_or(name);
        Unit::ALL.into_iter().find(|unit| unit.name().eq_ignore_ascii_case(singular))
    }
}

impl Literal {
    /// The type of its value.
    pub fn of(&self) -> Type {
        match self {
            Literal::Null => Type::Null,
            Literal::Bool(_) => Type::Bool,
            Literal::Int64(_) => Type::Int64,
            Literal::UInt64(_) => Type::UInt64,
            Literal::Float64(_) => Type::Float64,
            Literal::String(_) => Type::String,
            Literal::Date(_) => Type::Date,
            Literal::DateTime(_) => Type::DateTime,
            Literal::DateTime64(_) => Type::DateTime64,
            Literal::NoElements => Type::Array(Box::new(Type::Null)),
        }
    }
}
