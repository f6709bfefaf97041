//! `ORDER BY` with `WITH FILL`, `LIMIT`, and `LIMIT n BY`.

use sqlparser::ast::{
    Expr, Fetch, LimitClause, Offset, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, OrderBySort, Value,
    WithFill,
};

use super::super::tree::{Expression, Fill, Kind, LimitBy, Order, Step};
use super::super::types::{Literal, Type, Unit};
use super::comparing::comparable;
use super::converting::convert;
use super::query::{Builder, Limits};
use super::scope::{Place, Scope};
use super::{constants, excerpt, not_offered, refused};
use crate::error::Error;

/// Which way a key goes, around an expression that stands for nothing yet.
pub(super) fn direction(key: &OrderByExpr) -> Result<Order, Error> {
    let OrderByExpr { expr: _, options: OrderByOptions { sort, nulls_first }, with_fill: _ } = key;
    let descending = match sort {
        None | Some(OrderBySort::Asc) => false,
        Some(OrderBySort::Desc) => true,
        Some(OrderBySort::Using(_)) => return Err(not_offered("`USING` in `ORDER BY`")),
    };
    let by = Expression::literal(Literal::Null);
    Ok(Order { by, descending, nulls_first: nulls_first.unwrap_or(false), fill: None })
}

impl Builder<'_> {
    /// The keys of an order. Those that are a column of the projection are references to it.
    pub(super) fn order_by<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: Option<&'q OrderBy>,
        projection: &[Expression],
    ) -> Result<Vec<Order>, Error> {
        let Some(OrderBy { kind, interpolate }) = written else { return Ok(Vec::new()) };
        if interpolate.is_some() {
            return Err(not_offered("`INTERPOLATE`"));
        }
        let OrderByKind::Expressions(keys) = kind else { return Err(not_offered("`ORDER BY ALL`")) };
        scope.place = Place { name: "`ORDER BY`", aggregates: true, windows: true, array_joins: false };
        let mut orders = Vec::with_capacity(keys.len());
        for key in keys {
            let by = self.key(scope, &key.expr, projection, "ORDER BY")?;
            if matches!(by.of, Type::Array(_) | Type::State(_)) {
                return Err(refused(format!("{} is of type {}, which has no order.", excerpt(&key.expr), by.of)));
            }
            let fill = match &key.with_fill {
                Some(fill) => {
                    Some(self.fill(scope, &by, fill, matches!(direction(key)?, Order { descending: true, .. }))?)
                }
                None => None,
            };
            orders.push(Order { by, fill, ..direction(key)? });
        }
        let fills = orders.iter().position(|order| order.fill.is_some());
        if fills.is_some_and(|first| orders.iter().skip(first).any(|order| order.fill.is_none())) {
            return Err(refused("After a key with `WITH FILL` only others with it can follow."));
        }
        Ok(orders)
    }

    /// A key of `ORDER BY` or `LIMIT BY`: the position of a column, a column, or an expression.
    fn key<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: &'q Expr,
        projection: &[Expression],
        clause: &str,
    ) -> Result<Expression, Error> {
        let built = match position(written) {
            Some(position) => {
                let index = usize::try_from(position).ok().and_then(|position| position.checked_sub(1));
                let found = index.and_then(|index| Some((index, projection.get(index)?)));
                let (index, column) = found.ok_or_else(|| no_position(clause, position, projection.len()))?;
                return Ok(Expression { kind: Kind::Output(index), of: column.of.clone() });
            }
            None => self.value(scope, written)?,
        };
        let same = projection.iter().position(|column| *column == built);
        Ok(match same {
            Some(index) => Expression { kind: Kind::Output(index), of: built.of },
            None => built,
        })
    }

    fn fill<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        by: &Expression,
        written: &'q WithFill,
        descending: bool,
    ) -> Result<Fill, Error> {
        let WithFill { from, to, step } = written;
        if !matches!(by.kind, Kind::Output(_)) || by.of.is_nullable() || !(by.of.is_time() || by.of.is_integer()) {
            return Err(refused(
                "`WITH FILL` goes with a column of the `SELECT` that is an integer or a time and never NULL.",
            ));
        }
        let from = self.fill_bound(scope, by, from.as_ref())?;
        let to = self.fill_bound(scope, by, to.as_ref())?;
        let step = match step {
            Some(step) => self.step(&by.of, step)?,
            None => step_of(&by.of, if descending { -1 } else { 1 })?,
        };
        let is_backwards = match step {
            Step::Number(number) | Step::Interval(number, _) => number < 0,
        };
        let is_zero = matches!(step, Step::Number(0) | Step::Interval(0, _));
        if is_zero || is_backwards != descending {
            return Err(refused(
                "The `STEP` of `WITH FILL` is positive in ascending and negative in descending order.",
            ));
        }
        Ok(Fill { from, to, step })
    }

    /// A constant of the key's type.
    fn fill_bound<'q>(
        &mut self,
        scope: &Scope<'q>,
        by: &Expression,
        written: Option<&'q Expr>,
    ) -> Result<Option<Expression>, Error> {
        let Some(written) = written else { return Ok(None) };
        let refusal =
            || refused(format!("{} has to be a constant of type {} for `WITH FILL`.", excerpt(written), by.of));
        let mut nothing = Scope::new();
        let value = self.value(&mut nothing, written).map_err(|_| refusal())?;
        if has_query(&value) {
            return Err(refusal());
        }
        let of = value.of.clone();
        if by.of.is_time() && value.of.is_time() {
            return Ok(Some(convert(value, &by.of)));
        }
        let (_, value) = comparable(scope, by.clone(), value).map_err(|_| refusal())?;
        if value.of.is_nullable()
            || (value.of.is_time() || value.of.is_integer()) && value.of.is_time() != by.of.is_time()
        {
            return Err(refusal());
        }
        if !value.of.is_time() && !of.is_integer() {
            return Err(refusal());
        }
        Ok(Some(convert(value, &by.of)))
    }

    fn step(&mut self, of: &Type, written: &Expr) -> Result<Step, Error> {
        let mut nothing = Scope::new();
        let built = self.expression(&mut nothing, written)?;
        let number = match &built.kind {
            Kind::Literal(Literal::Int64(number)) => Some(*number),
            Kind::Literal(Literal::UInt64(number)) => i64::try_from(*number).ok(),
            Kind::Arithmetic { .. } | Kind::Function { .. } => None,
            _ => None,
        };
        let number = number.filter(|number| number.unsigned_abs() <= 1 << 40);
        let number = number.ok_or_else(|| {
            refused("The `STEP` of `WITH FILL` is a constant: a whole number, or `INTERVAL 1 HOUR`.")
        })?;
        match built.of {
            Type::Interval(unit) => interval_step(of, number, unit),
            _ => step_of(of, number),
        }
    }

    /// `LIMIT`, `OFFSET`, and `LIMIT n BY`.
    pub(super) fn limits<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: Limits<'q>,
        projection: &[Expression],
    ) -> Result<(Option<LimitBy>, u64, Option<u64>), Error> {
        match written.clause {
            None => Ok((None, 0, None)),
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                Ok((None, number(offset)?, Some(number(limit)?)))
            }
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
                let offset =
                    offset.as_ref().map(|Offset { value, rows: _ }| number(value)).transpose()?.unwrap_or(0);
                if limit_by.is_empty() {
                    return Ok((None, offset, limit.as_ref().map(number).transpose()?));
                }
                scope.place = Place { name: "`LIMIT BY`", aggregates: true, windows: true, array_joins: false };
                let mut keys = Vec::with_capacity(limit_by.len());
                for written in limit_by {
                    keys.push(self.key(scope, written, projection, "LIMIT BY")?);
                }
                let (skipped, count) = match limit {
                    None => return Err(refused("`LIMIT BY` needs a number of rows.")),
                    // See [`super::limits`].
                    Some(Expr::Tuple(both)) if both.len() == 2 => (number(&both[0])?, number(&both[1])?),
                    Some(count) => (0, number(count)?),
                };
                if offset > 0 && written.fetch.is_none() {
                    return Err(refused(
                        "`OFFSET` alone cannot stand beside `LIMIT n BY`. Write `LIMIT n OFFSET m BY` to leave rows of each key out, or \
                         `LIMIT n BY … LIMIT m OFFSET o` to leave the first of all out.",
                    ));
                }
                let limit_by = LimitBy { keys, offset: skipped, count };
                Ok((Some(limit_by), offset, written.fetch.map(fetched).transpose()?))
            }
        }
    }
}

fn fetched(fetch: &Fetch) -> Result<u64, Error> {
    let Fetch { with_ties, percent, quantity } = fetch;
    match quantity {
        Some(quantity) if !with_ties && !percent => number(quantity),
        _ => Err(not_offered("`FETCH` of anything but a number of rows")),
    }
}

/// The position of a column, if that is what is written.
pub(super) fn position(written: &Expr) -> Option<u64> {
    match written {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The refusal of a position.
pub(super) fn no_position(clause: &str, position: u64, columns: usize) -> Error {
    refused(format!("`{clause} {position}` names no column: the select has {columns}, counted from 1."))
}

fn number(written: &Expr) -> Result<u64, Error> {
    match written {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => match constants::number(digits, false)? {
                Literal::UInt64(number) => Ok(number.min(i64::MAX.unsigned_abs())),
                _ => Err(no_number(written)),
            },
            _ => Err(no_number(written)),
        },
        _ => Err(no_number(written)),
    }
}

fn no_number(written: &Expr) -> Error {
    refused(format!("`LIMIT` and `OFFSET` take a whole number that is not negative, not {}.", excerpt(written)))
}

fn step_of(of: &Type, number: i64) -> Result<Step, Error> {
    match of {
        Type::Date => Ok(Step::Interval(number, Unit::Day)),
        Type::DateTime => Ok(Step::Interval(number, Unit::Second)),
        Type::Int64 | Type::UInt64 => Ok(Step::Number(number)),
        other => Err(refused(format!(
            "The `STEP` of a column of type {other} is an interval, as in `INTERVAL 1 HOUR`."
        ))),
    }
}

fn interval_step(of: &Type, number: i64, unit: Unit) -> Result<Step, Error> {
    let finest = match of {
        Type::Date => Unit::Day,
        Type::DateTime => Unit::Second,
        Type::DateTime64 => Unit::Millisecond,
        other => return Err(refused(format!("The `STEP` of a column of type {other} is a number."))),
    };
    if unit < finest {
        return Err(refused(format!("A column of type {of} has no {}s to fill.", unit.name().to_lowercase())));
    }
    Ok(Step::Interval(number, unit))
}

fn has_query(expression: &Expression) -> bool {
    match &expression.kind {
        Kind::Scalar(_) | Kind::InQuery { .. } => true,
        Kind::Convert(inner) => has_query(inner),
        Kind::Arithmetic { left, right, .. } => has_query(left) || has_query(right),
        Kind::Later { time, amount, .. } => has_query(time) || has_query(amount),
        Kind::Function { arguments, .. } => arguments.iter().any(has_query),
        Kind::Literal(_) => false,
        _ => true,
    }
}
