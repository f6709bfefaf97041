//! Operators of numbers, of times, and of texts.

use sqlparser::ast::{BinaryOperator, Expr};

use super::super::functions::{Arithmetic, Function};
use super::super::tree::{Expression, Kind};
use super::super::types::{Literal, Type, Unit};
use super::comparing::comparison;
use super::converting::{alike, convert};
use super::query::Builder;
use super::scope::Scope;
use super::{excerpt, refused};
use crate::error::Error;

impl Builder<'_> {
    /// An operator between two expressions, `AND` and `OR` apart.
    pub(super) fn operator<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        left: &'q Expr,
        operator: &'q BinaryOperator,
        right: &'q Expr,
    ) -> Result<Expression, Error> {
        if let Some(comparison) = comparison(operator) {
            let (left, right) = (self.value(scope, left)?, self.value(scope, right)?);
            return self.compare(scope, comparison, left, right);
        }
        if *operator == BinaryOperator::StringConcat {
            let (left, right) = (self.value(scope, left)?, self.value(scope, right)?);
            return self.concatenation(vec![left, right]);
        }
        let arithmetic = match operator {
            BinaryOperator::Plus => Arithmetic::Add,
            BinaryOperator::Minus => Arithmetic::Subtract,
            BinaryOperator::Multiply => Arithmetic::Multiply,
            BinaryOperator::Divide => Arithmetic::Divide,
            BinaryOperator::Modulo => Arithmetic::Remainder,
            other => return Err(refused(format!("The operator {} is not offered here.", excerpt(other)))),
        };
        let (built_left, built_right) =
            (self.expression(scope, left)?.into_value(), self.expression(scope, right)?.into_value());
        let time = with_time(scope, arithmetic, built_left, built_right);
        match time {
            Handled::WithTime(result) => result,
            Handled::Not(built_left, built_right) => numbers(arithmetic, built_left, built_right),
        }
        .map_err(|error| match error {
            Refusal::Types => refused(format!(
                "{} {} {} is not offered: it takes two numbers, or a time and an interval.",
                excerpt(left),
                operator,
                excerpt(right)
            )),
            Refusal::Said(error) => error,
        })
    }

    /// The number with the other sign.
    pub(super) fn negated(&self, value: Expression, written: &Expr) -> Result<Expression, Error> {
        let zero = Expression::literal(Literal::Int64(0));
        match value.of.inner() {
            Type::Float64 => {
                let minus = Expression::literal(Literal::Float64(-1.0));
                numbers(Arithmetic::Multiply, value, minus).map_err(|_| not_a_number(written))
            }
            Type::Int64 | Type::UInt64 => {
                numbers(Arithmetic::Subtract, zero, value).map_err(|_| not_a_number(written))
            }
            _ => Err(not_a_number(written)),
        }
    }

    /// Texts, or what becomes one, one after the other.
    pub(super) fn concatenation(&self, values: Vec<Expression>) -> Result<Expression, Error> {
        let mut arguments = Vec::with_capacity(values.len());
        for value in values {
            if matches!(value.of, Type::Array(_) | Type::State(_)) {
                return Err(refused(format!("A value of type {} cannot be part of a text.", value.of)));
            }
            arguments.push(convert(value, &Type::String));
        }
        let is_nullable = arguments.iter().any(|argument| argument.of.is_nullable());
        let of = if is_nullable { Type::String.nullable() } else { Type::String };
        Ok(Expression { kind: Kind::Function { function: Function::Concat, arguments }, of })
    }
}

fn not_a_number(written: &Expr) -> Error {
    refused(format!("`-` takes a number, and {} is none.", excerpt(written)))
}

/// Why an operator is refused.
enum Refusal {
    /// The types.
    Types,
    /// What is said.
    Said(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Said(error)
    }
}

fn said(text: &str) -> Refusal {
    Refusal::Said(refused(text))
}

/// An operator of numbers. Their integers are all of 64 bits.
fn numbers(operator: Arithmetic, left: Expression, right: Expression) -> Result<Expression, Refusal> {
    let is_usable = |of: &Type| of.is_number() || matches!(of.inner(), Type::Bool | Type::Null);
    if !is_usable(&left.of) || !is_usable(&right.of) {
        return Err(Refusal::Types);
    }
    let number = |value: Expression| match value.of.inner() {
        Type::Bool => convert(value, &Type::UInt64),
        Type::Null => convert(value, &Type::Int64),
        _ => value,
    };
    let (left, right) = (number(left), number(right));
    let is_nullable = left.of.is_nullable() || right.of.is_nullable();
    let is_float =
        operator == Arithmetic::Divide || [&left, &right].iter().any(|it| *it.of.inner() == Type::Float64);
    let is_unsigned = [&left, &right].iter().all(|it| *it.of.inner() == Type::UInt64);
    let of = match operator {
        _ if is_float => Type::Float64,
        Arithmetic::Subtract => Type::Int64,
        Arithmetic::Remainder if *left.of.inner() == Type::UInt64 && !is_unsigned => Type::Int64,
        _ if is_unsigned => Type::UInt64,
        _ => Type::Int64,
    };
    let (left, right) = (Box::new(convert(left, &of)), Box::new(convert(right, &of)));
    let of = if is_nullable { of.nullable() } else { of };
    Ok(Expression { kind: Kind::Arithmetic { operator, left, right }, of })
}

/// What became of an operator.
enum Handled {
    /// A time takes part.
    WithTime(Result<Expression, Refusal>),
    /// None does.
    Not(Expression, Expression),
}

/// An operator of times, if it is one.
fn with_time(scope: &Scope<'_>, operator: Arithmetic, left: Expression, right: Expression) -> Handled {
    let is_interval = |it: &Expression| matches!(it.of, Type::Interval(_));
    if is_interval(&left) || is_interval(&right) {
        return Handled::WithTime(with_interval(scope, operator, left, right));
    }
    if !left.of.is_time() && !right.of.is_time() {
        return Handled::Not(left, right);
    }
    let is_sum = matches!(operator, Arithmetic::Add | Arithmetic::Subtract);
    if !is_sum {
        return Handled::WithTime(Err(Refusal::Types));
    }
    Handled::WithTime(match (left.of.is_time(), right.of.is_time()) {
        (true, true) if operator == Arithmetic::Subtract => elapsed(left, right),
        (true, false) if scope.is_unix_ms(&right) => Err(said(MIXED)),
        (false, true) if scope.is_unix_ms(&left) => Err(said(MIXED)),
        (true, false) if right.of.is_integer() => plain_units(operator, left, right),
        (false, true) if left.of.is_integer() && operator == Arithmetic::Add => plain_units(operator, right, left),
        _ => Err(Refusal::Types),
    })
}

const MIXED: &str = "`time` is in Unix ms here. To compute with another time, write `fromUnixTimestamp64Milli(time)`, or \
                     `toUnixTimestamp64Milli(…)` for the other.";

/// How much later one time is than another.
fn elapsed(left: Expression, right: Expression) -> Result<Expression, Refusal> {
    let (left, right) = alike(left, right)?;
    if *left.of.inner() == Type::DateTime64 {
        return Err(said(
            "A difference of times with milliseconds is not offered. Subtract their `toUnixTimestamp64Milli(…)`.",
        ));
    }
    let is_nullable = left.of.is_nullable() || right.of.is_nullable();
    let of = if is_nullable { Type::Int64.nullable() } else { Type::Int64 };
    Ok(Expression { kind: Kind::Elapsed { left: Box::new(left), right: Box::new(right) }, of })
}

/// A time and an integer: days of a `Date`, seconds of a `DateTime`.
fn plain_units(operator: Arithmetic, time: Expression, amount: Expression) -> Result<Expression, Refusal> {
    let unit = match time.of.inner() {
        Type::Date => Unit::Day,
        Type::DateTime => Unit::Second,
        _ => {
            return Err(said(
                "To a time with milliseconds an interval can be added, as in `+ INTERVAL 1 SECOND`.",
            ));
        }
    };
    later(operator, time, amount, unit)
}

fn with_interval(
    scope: &Scope<'_>,
    operator: Arithmetic,
    left: Expression,
    right: Expression,
) -> Result<Expression, Refusal> {
    let (time, interval) = match (&left.of, &right.of, operator) {
        (Type::Interval(_), Type::Interval(_), _) => {
            return Err(said("Intervals cannot be added to each other. Add each to the time."));
        }
        (_, Type::Interval(_), Arithmetic::Add | Arithmetic::Subtract) => (left, right),
        (Type::Interval(_), _, Arithmetic::Add) => (right, left),
        _ => return Err(Refusal::Types),
    };
    let Type::Interval(unit) = interval.of else { return Err(Refusal::Types) };
    let time = if scope.is_unix_ms(&time) { from_unix_ms(time) } else { time };
    let amount = Expression { kind: interval.kind, of: Type::Int64 };
    later(operator, time, amount, unit)
}

/// The time that a number of Unix ms means.
pub(super) fn from_unix_ms(ms: Expression) -> Expression {
    let ms = convert(ms, &Type::Int64);
    let of = if ms.of.is_nullable() { Type::DateTime64.nullable() } else { Type::DateTime64 };
    Expression { kind: Kind::Function { function: Function::FromUnixMs, arguments: vec![ms] }, of }
}

/// A time that is so many units later, or earlier where it is subtracted.
fn later(operator: Arithmetic, time: Expression, amount: Expression, unit: Unit) -> Result<Expression, Refusal> {
    if !time.of.is_time() {
        return Err(said(
            "An interval can be added to a `Date`, `DateTime` or `DateTime64`. Of a text make one with `toDateTime('…')`.",
        ));
    }
    let finest = match unit {
        Unit::Nanosecond | Unit::Microsecond => {
            return Err(said("Times have milliseconds here. Nothing finer can be added to them."));
        }
        Unit::Millisecond => Type::DateTime64,
        Unit::Second | Unit::Minute | Unit::Hour if *time.of.inner() == Type::Date => Type::DateTime,
        _ => time.of.inner().clone(),
    };
    let time = convert(time, &finest);
    let amount = convert(amount, &Type::Int64);
    let amount = match (operator, &amount.kind) {
        (Arithmetic::Subtract, Kind::Literal(Literal::Int64(number))) => {
            Expression::literal(Literal::Int64(number.checked_neg().ok_or(Refusal::Types)?))
        }
        (Arithmetic::Subtract, _) => {
            numbers(Arithmetic::Subtract, Expression::literal(Literal::Int64(0)), amount)?
        }
        _ => amount,
    };
    let is_nullable = time.of.is_nullable() || amount.of.is_nullable();
    let of = if is_nullable { finest.nullable() } else { finest };
    Ok(Expression { kind: Kind::Later { time: Box::new(time), amount: Box::new(amount), unit }, of })
}
