//! Times: intervals, and the functions that make, cut and show times.

use sqlparser::ast::{Expr, Interval, Value};

use super::super::functions::{FormatPiece, Function, Period};
use super::super::tree::{Expression, Kind};
use super::super::types::{Literal, Type, Unit};
use super::constants;
use super::converting::{convert, wrong_type};
use super::operators::from_unix_ms;
use super::query::Builder;
use super::scope::Scope;
use super::{excerpt, refused};
use crate::error::Error;

/// A call of a function of one argument.
pub(super) fn call(function: Function, argument: Expression, of: Type) -> Expression {
    let of = if argument.of.is_nullable() { of.nullable() } else { of };
    Expression { kind: Kind::Function { function, arguments: vec![argument] }, of }
}

/// What a cut time is of.
fn period(name: &str) -> Option<Period> {
    let periods = [
        ("second", Period::Second),
        ("minute", Period::Minute),
        ("hour", Period::Hour),
        ("day", Period::Day),
        ("week", Period::MondayWeek),
        ("month", Period::Month),
        ("quarter", Period::Quarter),
        ("year", Period::Year),
    ];
    periods.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, period)| period)
}

impl Builder<'_> {
    /// `INTERVAL 7 DAY`.
    pub(super) fn interval<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: &'q Interval,
    ) -> Result<Expression, Error> {
        let Interval { value, leading_field, leading_precision, last_field, fractional_seconds_precision } =
            written;
        if leading_precision.is_some() || last_field.is_some() || fractional_seconds_precision.is_some() {
            return Err(refused("An interval is a number and one unit, as in `INTERVAL 7 DAY`."));
        }
        let unit = leading_field.as_ref().and_then(|field| Unit::named(&field.to_string()));
        let unit = unit.ok_or_else(|| refused(format!("{} has no unit of time.", excerpt(written))))?;
        if let Expr::Value(value) = &**value
            && let Value::SingleQuotedString(text) = &value.value
        {
            let amount =
                text.trim().parse().map_err(|_| refused(format!("{} is no number.", excerpt(written))))?;
            return Ok(Expression { kind: Kind::Literal(Literal::Int64(amount)), of: Type::Interval(unit) });
        }
        let amount = self.integer(scope, value, "The number of an interval")?;
        Ok(Expression { kind: amount.kind, of: Type::Interval(unit) })
    }

    /// `toIntervalDay(7)`.
    pub(super) fn interval_of<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        unit: Unit,
        amount: &'q Expr,
    ) -> Result<Expression, Error> {
        let amount = self.integer(scope, amount, "The number of an interval")?;
        Ok(Expression { kind: amount.kind, of: Type::Interval(unit) })
    }

    /// A time, whatever it is written as.
    pub(super) fn time<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        function: &str,
        written: &'q Expr,
    ) -> Result<Expression, Error> {
        let value = self.value(scope, written)?;
        if scope.is_unix_ms(&value) {
            return Ok(from_unix_ms(value));
        }
        if let Kind::Literal(Literal::String(text)) = &value.kind
            && let Some(ms) = constants::time(text)
        {
            return Ok(Expression::literal(constants::instant(ms, &Type::DateTime)));
        }
        if value.of == Type::Null {
            return Ok(convert(value, &Type::DateTime.nullable()));
        }
        if value.of.is_time() { Ok(value) } else { Err(wrong_type(function, "a time", &value.of, written)) }
    }

    /// `toStartOfHour(time)` and its like.
    pub(super) fn start_of<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        function: &str,
        period: Period,
        written: &'q Expr,
    ) -> Result<Expression, Error> {
        let time = self.time(scope, function, written)?;
        if matches!(period, Period::Second | Period::Minute | Period::Hour) && *time.of.inner() == Type::Date {
            return Err(refused(format!("{} is a day; it has no hours or minutes to cut.", excerpt(written))));
        }
        let of = match period {
            Period::Second | Period::Minute | Period::Hour | Period::Day => Type::DateTime,
            Period::SundayWeek | Period::MondayWeek | Period::Month | Period::Quarter | Period::Year => Type::Date,
        };
        Ok(call(Function::StartOf(period), time, of))
    }

    /// `date_trunc('hour', time)`.
    pub(super) fn date_trunc<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        unit: &'q Expr,
        written: &'q Expr,
    ) -> Result<Expression, Error> {
        let unit = self.text_constant(scope, unit, "The unit of `date_trunc`")?;
        let period = period(&unit).ok_or_else(|| {
            refused("The unit of `date_trunc` is one of `second`, `minute`, `hour`, `day`, `week`, `month`, `quarter`, `year`.")
        })?;
        self.start_of(scope, "date_trunc", period, written)
    }

    /// `formatDateTime(time, '%Y-%m-%d')`.
    pub(super) fn format<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: &'q Expr,
        format: &'q Expr,
    ) -> Result<Expression, Error> {
        let time = self.time(scope, "formatDateTime", written)?;
        let pieces = pieces(&self.text_constant(scope, format, "The format of `formatDateTime`")?)?;
        let time = convert(time, &Type::DateTime);
        Ok(call(Function::FormatDateTime(pieces), time, Type::String))
    }

    /// A constant text.
    pub(super) fn text_constant<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: &'q Expr,
        what: &str,
    ) -> Result<String, Error> {
        match self.value(scope, written)?.kind {
            Kind::Literal(Literal::String(text)) => Ok(text),
            _ => Err(refused(format!("{what} is a constant text, and {} is none.", excerpt(written)))),
        }
    }

    /// A value in another type, as `toString`, `toDate` and the like make it.
    pub(super) fn conversion(
        &self,
        scope: &Scope<'_>,
        value: Expression,
        to: &Type,
        written: &Expr,
    ) -> Result<Expression, Error> {
        let is_to_time = to.is_time();
        let value = if is_to_time && scope.is_unix_ms(&value) { from_unix_ms(value) } else { value };
        if matches!(value.of, Type::Array(_) | Type::State(_)) {
            return Err(refused(format!(
                "{} is of type {}, which cannot be converted.",
                excerpt(written),
                value.of
            )));
        }
        if *to == Type::Date && value.of.is_number() {
            return Err(refused(format!(
                "`toDate` of a number is not clear: days, or seconds. Write `toDate(toDateTime({}))` for seconds.",
                written.to_string().replace('`', "")
            )));
        }
        if let Kind::Literal(Literal::String(text)) = &value.kind
            && is_to_time
        {
            let ms = constants::time(text).ok_or_else(|| {
                refused(format!(
                    "{} is no time. Write `'2026-11-01'` or `'2026-11-01 10:00:00'`.",
                    excerpt(written)
                ))
            })?;
            let literal = match to {
                Type::Date => constants::instant(ms.div_euclid(86_400_000) * 86_400_000, to),
                Type::DateTime => constants::instant(ms.div_euclid(1000) * 1000, to),
                _ => Literal::DateTime64(ms),
            };
            if literal.of() != *to {
                return Err(refused(format!("{} is outside of what {to} can hold.", excerpt(written))));
            }
            return Ok(Expression::literal(literal));
        }
        if is_to_time && *value.of.inner() == Type::Bool {
            return Err(refused(format!("{} is no time.", excerpt(written))));
        }
        Ok(convert(value, to))
    }
}

/// The pieces of a format.
fn pieces(format: &str) -> Result<Vec<FormatPiece>, Error> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let code = letters.next();
        if code == Some('%') {
            text.push('%');
            continue;
        }
        let made = code.and_then(of_code).ok_or_else(|| {
            let code = code.map(|code| format!("%{code}")).unwrap_or_else(|| "%".to_owned());
            refused(format!(
                "The format has {}, which is not offered. There are %Y %y %m %d %e %j %u %w %a %b %Q %H %I %p %i %S %F %T %R and \
                 %%; minutes are %i.",
                excerpt(&code.replace('`', ""))
            ))
        })?;
        if !text.is_empty() {
            pieces.push(FormatPiece::Text(std::mem::take(&mut text)));
        }
        pieces.extend(made);
    }
    if !text.is_empty() {
        pieces.push(FormatPiece::Text(text));
    }
    Ok(pieces)
}

/// What a letter after `%` stands for.
fn of_code(code: char) -> Option<Vec<FormatPiece>> {
    use FormatPiece as P;
    let between = |sign: &str| P::Text(sign.to_owned());
    Some(match code {
        'F' => vec![P::Year, between("-"), P::Month, between("-"), P::Day],
        'T' => vec![P::Hour, between(":"), P::Minute, between(":"), P::Second],
        'R' => vec![P::Hour, between(":"), P::Minute],
        _ => vec![P::ALL.into_iter().find(|(known, _)| *known == code)?.1],
    })
}
