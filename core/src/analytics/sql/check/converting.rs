//! Conversions: which type holds two others, and an expression in another type.

use super::super::functions::Comparison;
use super::super::tree::{Expression, Kind};
use super::super::types::{Literal, Type};
use super::{excerpt, refused};
use crate::error::Error;

impl Expression {
    /// A constant.
    pub(super) fn literal(literal: Literal) -> Expression {
        let of = literal.of();
        Expression { kind: Kind::Literal(literal), of }
    }

    /// Of a kind that is a question, NULL if one of its parts is.
    pub(super) fn question(kind: Kind, is_nullable: bool) -> Expression {
        Expression { kind, of: if is_nullable { Type::Bool.nullable() } else { Type::Bool } }
    }

    /// Whether ClickHouse shows it as 1 and 0 although it is true or false.
    pub(super) fn is_question(&self) -> bool {
        use super::super::functions::Function::{EndsWith, Has, HasAll, HasAny, StartsWith};
        match &self.kind {
            Kind::Comparison { .. }
            | Kind::Range { .. }
            | Kind::IsNull { .. }
            | Kind::Like { .. }
            | Kind::InList { .. }
            | Kind::InQuery { .. } => true,
            // One Bool among them makes the whole one; NULL is none.
            Kind::And(parts) | Kind::Or(parts) => {
                parts.iter().all(|part| part.is_question() || part.kind == Kind::Literal(Literal::Null))
            }
            Kind::Not(inner) => inner.is_question(),
            Kind::Function { function, .. } => {
                matches!(function, EndsWith | Has | HasAll | HasAny | StartsWith)
            }
            _ => false,
        }
    }

    /// As a value: questions are 1 or 0.
    pub(super) fn into_value(self) -> Expression {
        if self.is_question() { convert(self, &Type::UInt64) } else { self }
    }

    /// As a condition, if it can be one.
    pub(super) fn into_condition(self) -> Result<Expression, Error> {
        match (self.of.inner().clone(), self.kind) {
            (_, Kind::Convert(inner)) if inner.is_question() => Ok(*inner),
            (Type::Bool, kind) => Ok(Expression { kind, of: self.of }),
            (Type::Null, kind) => Ok(convert(Expression { kind, of: self.of }, &Type::Bool.nullable())),
            (inner @ (Type::Int64 | Type::UInt64 | Type::Float64), kind) => {
                let is_nullable = self.of.is_nullable();
                let zero = convert(Expression::literal(Literal::UInt64(0)), &inner);
                let value = Box::new(Expression { kind, of: self.of });
                let kind = Kind::Comparison { operator: Comparison::NotEqual, left: value, right: Box::new(zero) };
                Ok(Expression::question(kind, is_nullable))
            }
            (other, _) => Err(refused(format!(
                "A condition has to be true or false, not of type {other}. Compare it with something."
            ))),
        }
    }
}

/// The type that holds the values of both, if there is one.
pub(super) fn supertype(left: &Type, right: &Type) -> Option<Type> {
    if left == right {
        return Some(left.clone());
    }
    match (left, right) {
        (Type::Null, other) | (other, Type::Null) => {
            (!matches!(other, Type::Array(_) | Type::State(_) | Type::Interval(_)))
                .then(|| other.clone().nullable())
        }
        (Type::Nullable(_), _) | (_, Type::Nullable(_)) => {
            Some(supertype(left.inner(), right.inner())?.nullable()).filter(Type::is_nullable)
        }
        (Type::Array(left), Type::Array(right)) => match (&**left, &**right) {
            (Type::Null, other) | (other, Type::Null) => Some(Type::Array(Box::new(other.clone()))),
            (left, right) => Some(Type::Array(Box::new(supertype(left, right)?))),
        },
        (Type::Bool, number) | (number, Type::Bool) if number.is_number() => Some(number.clone()),
        (Type::Float64, other) | (other, Type::Float64) if other.is_integer() => Some(Type::Float64),
        (Type::Int64, Type::UInt64) | (Type::UInt64, Type::Int64) => Some(Type::Int64),
        (Type::DateTime64, Type::Date | Type::DateTime) | (Type::Date | Type::DateTime, Type::DateTime64) => {
            Some(Type::DateTime64)
        }
        (Type::DateTime, Type::Date) | (Type::Date, Type::DateTime) => Some(Type::DateTime),
        _ => None,
    }
}

/// The expression in another type, which holds its values. One that can be NULL stays so.
pub(super) fn convert(expression: Expression, to: &Type) -> Expression {
    let of = if expression.of.is_nullable() { to.clone().nullable() } else { to.clone() };
    if expression.of == of {
        return expression;
    }
    if let Kind::Literal(literal) = &expression.kind
        && let Some(literal) = literal_as(literal, of.inner())
    {
        // NULL has the type that is asked for; anything else that of its value, which may be the nullable one.
        return Expression { kind: Kind::Literal(literal), of };
    }
    Expression { kind: Kind::Convert(Box::new(expression)), of }
}

/// The constant in another type, if it is the same value there.
fn literal_as(literal: &Literal, to: &Type) -> Option<Literal> {
    Some(match (literal, to) {
        (Literal::Null, _) => Literal::Null,
        (same, to) if same.of() == *to => same.clone(),
        (Literal::UInt64(value), Type::Int64) => Literal::Int64(i64::try_from(*value).ok()?),
        (Literal::Int64(value), Type::UInt64) => Literal::UInt64(u64::try_from(*value).ok()?),
        #[expect(clippy::cast_precision_loss, reason = "what is not exact is left to a conversion")]
        (Literal::UInt64(value), Type::Float64) if *value < 1 << 53 => Literal::Float64(*value as f64),
        #[expect(clippy::cast_precision_loss, reason = "what is not exact is left to a conversion")]
        (Literal::Int64(value), Type::Float64) if value.unsigned_abs() < 1 << 53 => {
            Literal::Float64(*value as f64)
        }
        (Literal::Date(day), Type::DateTime) => Literal::DateTime(day.checked_mul(86_400)?),
        (Literal::Date(day), Type::DateTime64) => Literal::DateTime64(day.checked_mul(86_400_000)?),
        (Literal::DateTime(second), Type::DateTime64) => Literal::DateTime64(second.checked_mul(1000)?),
        _ => return None,
    })
}

/// Both in the type that holds both.
pub(super) fn alike(left: Expression, right: Expression) -> Result<(Expression, Expression), Error> {
    let of = supertype(&left.of, &right.of).ok_or_else(|| no_supertype(&left.of, &right.of))?;
    let inner = of.inner().clone();
    let each = |expression: Expression| {
        if expression.of == Type::Null { convert(expression, &of) } else { convert(expression, &inner) }
    };
    Ok((each(left), each(right)))
}

/// All in the type that holds all, which is given too.
pub(super) fn all_alike(expressions: Vec<Expression>) -> Result<(Vec<Expression>, Type), Error> {
    let mut of = Type::Null;
    let mut is_first = true;
    for expression in &expressions {
        let next = if is_first { Some(expression.of.clone()) } else { supertype(&of, &expression.of) };
        of = next.ok_or_else(|| no_supertype(&of, &expression.of))?;
        is_first = false;
    }
    let converted = expressions.into_iter().map(|expression| convert(expression, &of)).collect();
    Ok((converted, of))
}

/// The value of the first condition that holds; the last value where none does.
pub(super) fn branches(conditions: Vec<Expression>, values: Vec<Expression>) -> Result<Expression, Error> {
    let (mut values, of) = all_alike(values)?;
    let otherwise = Box::new(values.pop().unwrap_or_else(|| Expression::literal(Literal::Null)));
    Ok(Expression { kind: Kind::Case { branches: conditions.into_iter().zip(values).collect(), otherwise }, of })
}

fn no_supertype(left: &Type, right: &Type) -> Error {
    refused(format!(
        "A value of type {left} and one of type {right} have no type in common. Convert one of them, for example with \
         `toString` or `toInt64`."
    ))
}

/// The refusal of an argument of the wrong type.
pub(super) fn wrong_type(function: &str, wanted: &str, got: &Type, written: &impl std::fmt::Display) -> Error {
    refused(format!("{} takes {wanted}, and {} is of type {got}.", excerpt(&function), excerpt(written)))
}
