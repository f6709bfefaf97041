//! Comparisons, `BETWEEN` and `IN`: what is compared with what, and in which type.
//!
//! Times are compared as instants: an integer beside a time means Unix ms, and so does the `time` of raw tables. A text beside a time
//! is read as one.

use sqlparser::ast::{BinaryOperator, Expr};

use super::super::functions::{Comparison, Function};
use super::super::tree::{Expression, Kind, Query};
use super::super::types::{Literal, Type};
use super::constants;
use super::converting::{alike, convert, supertype};
use super::query::{Builder, around};
use super::scope::Scope;
use super::{excerpt, refused};
use crate::error::Error;

/// The comparison that an operator is.
pub(super) fn comparison(operator: &BinaryOperator) -> Option<Comparison> {
    Some(match operator {
        BinaryOperator::Eq => Comparison::Equal,
        BinaryOperator::NotEq => Comparison::NotEqual,
        BinaryOperator::Lt => Comparison::Less,
        BinaryOperator::LtEq => Comparison::LessOrEqual,
        BinaryOperator::Gt => Comparison::Greater,
        BinaryOperator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

impl Builder<'_> {
    /// A comparison of two values.
    pub(super) fn compare(
        &self,
        scope: &Scope<'_>,
        operator: Comparison,
        left: Expression,
        right: Expression,
    ) -> Result<Expression, Error> {
        let (left, right) = comparable(scope, left, right)?;
        let is_nullable = left.of.is_nullable() || right.of.is_nullable();
        let kind = Kind::Comparison { operator, left: Box::new(left), right: Box::new(right) };
        Ok(Expression::question(kind, is_nullable))
    }

    /// Whether two values are equal.
    pub(super) fn equal(
        &self,
        scope: &Scope<'_>,
        left: Expression,
        right: Expression,
    ) -> Result<Expression, Error> {
        self.compare(scope, Comparison::Equal, left, right)
    }

    /// `BETWEEN`.
    pub(super) fn range<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        value: &'q Expr,
        low: &'q Expr,
        high: &'q Expr,
        negated: bool,
    ) -> Result<Expression, Error> {
        let (value, low, high) = (self.value(scope, value)?, self.value(scope, low)?, self.value(scope, high)?);
        let (first, low) = comparable(scope, value.clone(), low)?;
        let (second, high) = comparable(scope, value, high)?;
        // The finer of both types; what is in the other follows.
        let of = if first.of == second.of { Some(first.of.clone()) } else { supertype(&first.of, &second.of) };
        let of = of.ok_or_else(|| refused("The bounds of `BETWEEN` are of types that have nothing in common."))?;
        let is_mixed =
            |bound: &Expression| bound.of.inner() != of.inner() && bound.of.is_integer() && of.is_integer();
        let (low, high) = (
            if is_mixed(&low) { low } else { convert(low, of.inner()) },
            if is_mixed(&high) { high } else { convert(high, of.inner()) },
        );
        let value = convert(first, of.inner());
        let is_nullable = [&value, &low, &high].iter().any(|part| part.of.is_nullable());
        let (value, low, high) = (Box::new(value), Box::new(low), Box::new(high));
        Ok(Expression::question(Kind::Range { value, low, high, negated }, is_nullable))
    }

    /// `IN` of a list.
    pub(super) fn in_list<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        value: Expression,
        written: &'q [Expr],
        negated: bool,
    ) -> Result<Expression, Error> {
        let written = match written {
            [Expr::Array(array)] => &array.elem[..],
            list => list,
        };
        let of = value.of.inner().clone();
        let mut list = Vec::with_capacity(written.len());
        for item in written {
            // Nothing of the select can be used in it.
            let mut nothing = Scope::new();
            let built = self.value(&mut nothing, item).map_err(|_| not_constant(item))?;
            let (looked_at, constant) = comparable(scope, value.clone(), built)?;
            match constant.kind {
                Kind::Literal(Literal::Null) => {}
                Kind::Literal(_) if looked_at.of.is_time() && *looked_at.of.inner() != of => {
                    return Err(refused(format!(
                        "{} is no {of}, so that nothing can be equal to it. Compare with `>=` and `<` instead.",
                        excerpt(item)
                    )));
                }
                Kind::Literal(literal) => list.extend(same_value(literal, &of)?),
                _ => return Err(not_constant(item)),
            }
        }
        let is_nullable = value.of.is_nullable();
        Ok(Expression::question(Kind::InList { value: Box::new(value), list, negated }, is_nullable))
    }

    /// `IN` of a subquery.
    pub(super) fn in_query(&self, value: Expression, query: Query, negated: bool) -> Result<Expression, Error> {
        let column = query.columns.first().ok_or_else(|| refused("The subquery of `IN` has no column."))?;
        let is_bool = |of: &Type| *of.inner() == Type::Bool;
        if column.of.is_time() != value.of.is_time()
            || (column.of.is_time() && column.of.inner() != value.of.inner())
            || is_bool(&column.of) != is_bool(&value.of)
        {
            return Err(refused(format!(
                "On the left of `IN` is a value of type {}, and the subquery gives {}. Convert one of them.",
                value.of, column.of
            )));
        }
        let of = supertype(value.of.inner(), column.of.inner());
        let of = of.ok_or_else(|| {
            refused(format!(
                "On the left of `IN` is a value of type {}, and the subquery gives {}. Convert one of them.",
                value.of, column.of
            ))
        })?;
        let value = convert(value, &of);
        let query = if *column.of.inner() == of { query } else { around(query, |_, column| convert(column, &of)) };
        let is_nullable = value.of.is_nullable();
        Ok(Expression::question(
            Kind::InQuery { value: Box::new(value), query: Box::new(query), negated },
            is_nullable,
        ))
    }
}

fn not_constant(item: &Expr) -> Error {
    refused(format!(
        "{} in the list of `IN` is no constant. Compare with `=` and `OR`, or use a subquery.",
        excerpt(item)
    ))
}

/// The constant in the type of what is looked at; none where no value of that type is equal to it.
fn same_value(literal: Literal, of: &Type) -> Result<Option<Literal>, Error> {
    let from = Expression::literal(literal);
    let is_integer = from.of.is_integer();
    let other = from.of.clone();
    match convert(from, of).kind {
        Kind::Literal(literal) if literal.of() == *of => Ok(Some(literal)),
        _ if is_integer && matches!(of, Type::Int64 | Type::UInt64) => Ok(None),
        _ => Err(refused(format!("A constant of type {other} in the list of `IN` cannot be compared with {of}."))),
    }
}

/// Both in types that can be compared.
pub(super) fn comparable(
    scope: &Scope<'_>,
    left: Expression,
    right: Expression,
) -> Result<(Expression, Expression), Error> {
    let (left_ms, right_ms) = (scope.is_unix_ms(&left), scope.is_unix_ms(&right));
    if left.of.is_time() && right.of.is_time() {
        return alike(left, right);
    }
    if is_instant(&left, left_ms) && is_beside(&right, left_ms) {
        return beside(left, right, right_ms);
    }
    if is_instant(&right, right_ms) && is_beside(&left, right_ms) {
        let (right, left) = beside(right, left, left_ms)?;
        return Ok((left, right));
    }
    if matches!(left.of, Type::Array(_) | Type::State(_)) || matches!(right.of, Type::State(_)) {
        return Err(refused(format!("A value of type {} cannot be compared.", left.of)));
    }
    if left.of.is_integer() && right.of.is_integer() {
        return Ok(integers(left, right));
    }
    alike(left, right)
}

fn is_instant(expression: &Expression, is_unix_ms: bool) -> bool {
    expression.of.is_time() || is_unix_ms
}

/// Whether it means a time because it stands beside one.
fn is_beside(expression: &Expression, beside_ms: bool) -> bool {
    let is_text = matches!(expression.kind, Kind::Literal(Literal::String(_)));
    is_text || expression.of.is_time() || (!beside_ms && expression.of.is_integer())
}

/// A time and something that means one.
fn beside(time: Expression, other: Expression, other_ms: bool) -> Result<(Expression, Expression), Error> {
    if let Kind::Literal(Literal::String(text)) = &other.kind {
        let ms = constants::time(text).ok_or_else(|| {
            refused(format!(
                "{} is no time. Write `'2026-11-01'` or `'2026-11-01 10:00:00'`.",
                excerpt(&text.replace('`', ""))
            ))
        })?;
        return Ok(beside_instant(time, ms));
    }
    if other.of.is_time() {
        // The time is the `time` of a raw table.
        return Ok((time, unix_ms(other)));
    }
    let literal = match &other.kind {
        Kind::Literal(Literal::UInt64(value)) => i64::try_from(*value).ok(),
        Kind::Literal(Literal::Int64(value)) => Some(*value),
        _ => None,
    };
    if let Some(ms) = literal.filter(|_| !other_ms) {
        if (100_000_000..100_000_000_000).contains(&ms) {
            return Err(refused(format!(
                "An integer beside a time is in milliseconds, and {ms} looks like seconds. Write `toDateTime({ms})`."
            )));
        }
        if (0..=253_402_300_799_999).contains(&ms) {
            return Ok(beside_instant(time, ms));
        }
    }
    let other = convert(other, &Type::Int64);
    Ok((unix_ms(time), other))
}

/// A time and a constant one, in a type that holds both.
fn beside_instant(time: Expression, ms: i64) -> (Expression, Expression) {
    if !time.of.is_time() {
        return (time, Expression::literal(Literal::Int64(ms)));
    }
    let literal = constants::instant(ms, time.of.inner());
    let of = literal.of();
    let is_finer = supertype(time.of.inner(), &of).as_ref() == Some(&of);
    let time = if is_finer { convert(time, &of) } else { time };
    let inner = time.of.inner().clone();
    (time, convert(Expression::literal(literal), &inner))
}

/// A time in Unix ms.
pub(super) fn unix_ms(time: Expression) -> Expression {
    let time = convert(time, &Type::DateTime64);
    if let Kind::Literal(Literal::DateTime64(ms)) = time.kind {
        return Expression::literal(Literal::Int64(ms));
    }
    let of = if time.of.is_nullable() { Type::Int64.nullable() } else { Type::Int64 };
    Expression { kind: Kind::Function { function: Function::ToUnixMs, arguments: vec![time] }, of }
}

/// Integers of both kinds are compared as numbers; constants take the type of what they stand beside.
fn integers(left: Expression, right: Expression) -> (Expression, Expression) {
    let adapted = |constant: Expression, of: &Type| match convert(constant.clone(), of.inner()) {
        Expression { kind: Kind::Literal(literal), of } => Expression { kind: Kind::Literal(literal), of },
        _ => constant,
    };
    match (&left.kind, &right.kind) {
        (_, Kind::Literal(_)) => {
            let of = left.of.clone();
            (left, adapted(right, &of))
        }
        (Kind::Literal(_), _) => {
            let of = right.of.clone();
            (adapted(left, &of), right)
        }
        _ => (left, right),
    }
}
