//! The judge of lower bounds: a query that asks for a time before the workspace's retention is refused, and told so.
//!
//! It looks at comparisons of `time` with what can be computed without reading anything, joined by `AND` and `OR`. What it
//! cannot judge passes: the row filter of every read cuts it anyway.

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, UnaryOperator, Value,
};

use super::Asked;
use super::constants;
use super::parts::filters;
use crate::calendar::{DAY_MS, UnixMs};
use crate::error::{Code, Error};

/// Refuses a lower bound before the retention.
pub(super) fn check(statement: &Query, asked: &Asked) -> Result<(), Error> {
    if asked.retention_days <= 0 {
        return Ok(());
    }
    let earliest = asked.now.minus(asked.retention_days.saturating_mul(DAY_MS));
    for filter in filters(statement) {
        if let Some(bound) = lowest(filter, asked.now).filter(|bound| *bound < earliest) {
            return Err(too_early(asked.retention_days, bound, earliest));
        }
    }
    Ok(())
}

fn too_early(days: i64, bound: UnixMs, earliest: UnixMs) -> Error {
    let day = |time: UnixMs| time.rfc3339().chars().take(10).collect::<String>();
    Error::new(
        Code::QueryRangeExceedsRetention,
        format!(
            "The query asks for events since {}, and this workspace keeps {days} days: the earliest is {}. Ask for a later `time`, or \
             leave the bound out to get all there is.",
            day(bound),
            day(earliest)
        ),
    )
}

/// The earliest of the lower bounds that a condition has.
fn lowest(condition: &Expr, now: UnixMs) -> Option<UnixMs> {
    let mut bounds = Vec::new();
    let mut waiting = vec![condition];
    while let Some(part) = waiting.pop() {
        match part {
            Expr::Nested(inner) => waiting.push(inner),
            Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                waiting.extend([&**left, &**right]);
            }
            Expr::BinaryOp { left, op: BinaryOperator::GtEq | BinaryOperator::Gt, right } if is_time(left) => {
                bounds.extend(instant(right, now, 0));
            }
            Expr::BinaryOp { left, op: BinaryOperator::LtEq | BinaryOperator::Lt, right } if is_time(right) => {
                bounds.extend(instant(left, now, 0));
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                bounds.extend(is_time(left).then(|| instant(right, now, 0)).flatten());
                bounds.extend(is_time(right).then(|| instant(left, now, 0)).flatten());
            }
            Expr::Between { expr, negated: false, low, high: _ } if is_time(expr) => {
                bounds.extend(instant(low, now, 0))
            }
            _ => {}
        }
    }
    bounds.into_iter().min()
}

fn is_time(written: &Expr) -> bool {
    match written {
        Expr::Identifier(name) => name.value.eq_ignore_ascii_case("time"),
        Expr::CompoundIdentifier(parts) => {
            parts.last().is_some_and(|name| name.value.eq_ignore_ascii_case("time"))
        }
        Expr::Nested(inner) => is_time(inner),
        _ => false,
    }
}

/// The time that an expression means, if that can be told.
fn instant(written: &Expr, now: UnixMs, depth: usize) -> Option<UnixMs> {
    if depth > 16 {
        return None;
    }
    match written {
        Expr::Nested(inner) => instant(inner, now, depth + 1),
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.replace('_', "").parse().ok().map(UnixMs::new),
            Value::SingleQuotedString(text) => constants::time(text).map(UnixMs::new),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(UnixMs::new(0_i64.checked_sub(integer(expr)?)?)),
        Expr::BinaryOp { left, op: op @ (BinaryOperator::Plus | BinaryOperator::Minus), right } => {
            let from = instant(left, now, depth + 1)?;
            let interval = length(right)?;
            Some(if *op == BinaryOperator::Plus { from.plus(interval) } else { from.minus(interval) })
        }
        Expr::Function(function) => called(function, now, depth + 1),
        _ => None,
    }
}

fn called(function: &Function, now: UnixMs, depth: usize) -> Option<UnixMs> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let arguments: Vec<&Expr> = list
        .args
        .iter()
        .filter_map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
            _ => None,
        })
        .collect();
    match function.name.to_string().to_lowercase().as_str() {
        "now" | "now64" => Some(now),
        "today" => Some(UnixMs::new(now.get().div_euclid(DAY_MS).saturating_mul(DAY_MS))),
        "fromunixtimestamp64milli" => integer(arguments.first()?).map(UnixMs::new),
        "date_trunc" => instant(arguments.get(1)?, now, depth),
        name if name.starts_with("tostartof")
            || matches!(
                name,
                "todate" | "todatetime" | "todatetime64" | "formatdatetime" | "tounixtimestamp64milli"
            ) =>
        {
            let argument = arguments.first()?;
            // A bare number is in seconds to these.
            if integer(argument).is_some() { None } else { instant(argument, now, depth) }
        }
        _ => None,
    }
}

fn integer(written: &Expr) -> Option<i64> {
    match written {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.replace('_', "").parse().ok(),
            Value::SingleQuotedString(text) => text.trim().parse().ok(),
            _ => None,
        },
        Expr::Nested(inner) => integer(inner),
        _ => None,
    }
}

/// How long an interval is, in ms: months have 30 days to it, and years 365.
fn length(written: &Expr) -> Option<i64> {
    use super::super::types::Unit;
    let Expr::Interval(interval) = written else { return None };
    let days = |count: i64| count * DAY_MS;
    let unit = match Unit::named(&interval.leading_field.as_ref()?.to_string())? {
        Unit::Second => 1000,
        Unit::Minute => 60_000,
        Unit::Hour => 3_600_000,
        Unit::Day => days(1),
        Unit::Week => days(7),
        Unit::Month => days(30),
        Unit::Year => days(365),
        Unit::Nanosecond | Unit::Microsecond | Unit::Millisecond | Unit::Quarter => return None,
    };
    integer(&interval.value)?.checked_mul(unit)
}
