//! What a select reads: its sources, their joins, and arrays that are unfolded.

use datafusion::common::{Column as Name, Result, UnnestOptions};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlanBuilder, col, lit, when};
use keyrack_core::analytics::sql::functions::{AggregateFunction, Arithmetic};
use keyrack_core::analytics::sql::tables::{Grain, Role};
use keyrack_core::analytics::sql::tree::{Aggregate, Column, Expression, From, JoinKind, Kind, Select, Source};
use keyrack_core::analytics::sql::types::Literal;

use super::expression::Scope;
use super::{Planned, Planner, Rows};
use crate::values::constant;

impl Planner<'_> {
    /// The rows of all sources, joined; the scope knows their columns.
    pub(super) fn sources(&self, select: &Select, rows: Rows, scope: &mut Scope) -> Result<LogicalPlanBuilder> {
        if select.sources.is_empty() {
            return Ok(LogicalPlanBuilder::empty(true));
        }
        let Planned { plan: mut joined, columns } = self.source(select, 0, rows)?;
        scope.sources.push(columns);
        for at in 0..select.joins.len() {
            joined = self.join(joined, select, at, scope)?;
        }
        Ok(joined)
    }

    fn source(&self, select: &Select, at: usize, rows: Rows) -> Result<Planned> {
        let source = &select.sources[at];
        let planned = match &source.from {
            From::Table(read) => {
                let plan = LogicalPlanBuilder::new(self.tables.read(read, rows, self.bounds(select, at))?);
                let columns = source.columns.iter().map(|column| column.name.clone()).collect();
                Planned { plan, columns }
            }
            From::Named(index) => self.query(&self.checked.named[*index].query)?,
            From::Query(query) => self.query(query)?,
        };
        self.renamed(planned)
    }

    fn join(
        &self,
        left: LogicalPlanBuilder,
        select: &Select,
        at: usize,
        scope: &mut Scope,
    ) -> Result<LogicalPlanBuilder> {
        let join = &select.joins[at];
        let right = self.source(select, at + 1, Rows::Whole)?;
        scope.sources.push(right.columns);
        let of_side = |expressions: &mut dyn Iterator<Item = &Expression>| -> Result<Vec<Expr>> {
            expressions.map(|expression| self.expression(expression, scope)).collect()
        };
        let left_keys = of_side(&mut join.equal.iter().map(|(left, _)| left))?;
        let right_keys = of_side(&mut join.equal.iter().map(|(_, right)| right))?;
        for part in join.equal.iter().flat_map(|(left, right)| [left, right]).chain(&join.condition) {
            self.weight(part, scope)?;
        }
        let condition = join.condition.as_ref().map(|one| self.expression(one, scope)).transpose()?;
        // What is true in each row of a side tells rows that were there from those that the join fills up.
        let (left_there, right_there) = (self.fresh(), self.fresh());
        let (left, right) = (marked(left, &left_there)?, marked(right.plan, &right_there)?.build()?);
        let kind = match join.kind {
            JoinKind::Inner | JoinKind::Cross => JoinType::Inner,
            JoinKind::Left => JoinType::Left,
            JoinKind::Right => JoinType::Right,
            JoinKind::Full => JoinType::Full,
        };
        let joined = match (left_keys.is_empty(), condition) {
            (true, None) => left.cross_join(right)?,
            (true, condition) => left.join_on(right, kind, condition)?,
            (false, condition) => left.join_with_expr_keys(right, kind, (left_keys, right_keys), condition)?,
        };
        let fills = |right: bool| match join.kind {
            JoinKind::Inner | JoinKind::Cross => false,
            JoinKind::Left => right,
            JoinKind::Right => !right,
            JoinKind::Full => true,
        };
        let sources = select.sources.iter().zip(&scope.sources).enumerate().take(at + 2);
        let columns = sources.flat_map(|(number, (source, names))| {
            let is_right = number == at + 1;
            let there = if is_right { &right_there } else { &left_there };
            let there = fills(is_right).then_some(there);
            source.columns.iter().zip(names).map(move |(column, name)| filled(column, name, there))
        });
        joined.project(columns.collect::<Result<Vec<Expr>>>()?)
    }

    /// Each row once for each combination of the elements of the arrays.
    pub(super) fn unfolded(
        &self,
        rows: LogicalPlanBuilder,
        arrays: &[Expression],
        scope: &mut Scope,
    ) -> Result<LogicalPlanBuilder> {
        let mut unfolded = rows;
        for array in arrays {
            let name = self.fresh();
            self.weight(array, scope)?;
            let array = self.expression(array, scope)?.alias(&name);
            unfolded = with_column(unfolded, array)?;
            let options = UnnestOptions::new().with_preserve_nulls(false);
            unfolded = unfolded.unnest_column_with_options(Name::from_name(&name), options)?;
            scope.elements.push(name);
        }
        Ok(unfolded)
    }
}

/// A column after a join: where its side was not there, the default of its type.
fn filled(column: &Column, name: &str, there: Option<&String>) -> Result<Expr> {
    let value = col(name);
    let (Some(there), Some(default)) = (there, column.of.default_value()) else { return Ok(value) };
    if column.of.is_nullable() {
        return Ok(value);
    }
    let default = Expr::Literal(constant(&default, &column.of), None);
    Ok(when(col(there.as_str()).is_null(), default).otherwise(value)?.alias(name))
}

/// The same rows with a column more, which is true.
fn marked(rows: LogicalPlanBuilder, name: &str) -> Result<LogicalPlanBuilder> {
    with_column(rows, lit(true).alias(name))
}

/// The same rows with a column more.
pub(super) fn with_column(rows: LogicalPlanBuilder, column: Expr) -> Result<LogicalPlanBuilder> {
    let columns: Vec<Expr> = rows.schema().columns().into_iter().map(Expr::Column).collect();
    rows.project(columns.into_iter().chain([column]))
}

/// What a select wants of an aggregate table: parts of its rows do where only sums of them are asked for.
pub(super) fn rows_of(select: &Select) -> Rows {
    let [Source { from: From::Table(read), .. }] = select.sources.as_slice() else { return Rows::Whole };
    let Some(grouping) = select.grouping.as_ref().filter(|_| read.table().grain != Grain::Raw) else {
        return Rows::Whole;
    };
    let is_sum = |column: usize| matches!(read.table().columns[column].role, Role::Sum | Role::State);
    let tells_apart = |expression: &Expression| !any(expression, &|one| is_of(one, &is_sum));
    let sums = |aggregate: &Aggregate| {
        let argument = aggregate.argument.as_ref();
        let is_conditioned = aggregate.condition.iter().all(tells_apart);
        is_conditioned
            && match aggregate.function {
                AggregateFunction::Sum if !aggregate.distinct => {
                    argument.is_some_and(|one| is_linear(one, &is_sum))
                }
                AggregateFunction::AverageMerge | AggregateFunction::QuantilesTDigestMerge(_) => true,
                AggregateFunction::Minimum
                | AggregateFunction::Maximum
                | AggregateFunction::Any
                | AggregateFunction::GroupUniqueArray
                | AggregateFunction::ApproximateUnique
                | AggregateFunction::ExactUnique => argument.is_some_and(tells_apart),
                AggregateFunction::Count | AggregateFunction::GroupArray => {
                    aggregate.distinct && argument.is_some_and(tells_apart)
                }
                AggregateFunction::Sum | AggregateFunction::Average | AggregateFunction::Quantile(_) => false,
            }
    };
    let before = select.filter.iter().chain(&select.array_joins).chain(&grouping.keys).all(tells_apart);
    if before && grouping.aggregates.iter().all(sums) { Rows::Parts } else { Rows::Whole }
}

fn is_of(expression: &Expression, is_sum: &dyn Fn(usize) -> bool) -> bool {
    matches!(expression.kind, Kind::Column { column, .. } if is_sum(column))
}

fn any(expression: &Expression, holds: &dyn Fn(&Expression) -> bool) -> bool {
    let mut found = false;
    expression.each(|one| found |= holds(one));
    found
}

/// Whether a sum of this over parts of a row is the same as over the row.
fn is_linear(expression: &Expression, is_sum: &dyn Fn(usize) -> bool) -> bool {
    let tells_apart = |one: &Expression| !any(one, &|one| is_of(one, is_sum));
    let is_zero = |one: &Expression| {
        matches!(one.kind, Kind::Literal(Literal::Int64(0) | Literal::UInt64(0) | Literal::Null))
    };
    match &expression.kind {
        Kind::Column { column, .. } => is_sum(*column),
        Kind::Convert(value) => value.of.is_integer() && expression.of.is_number() && is_linear(value, is_sum),
        Kind::Arithmetic { operator: Arithmetic::Add | Arithmetic::Subtract, left, right } => {
            is_linear(left, is_sum) && is_linear(right, is_sum)
        }
        Kind::Arithmetic { operator: Arithmetic::Multiply, left, right } => {
            (is_linear(left, is_sum) && tells_apart(right)) || (is_linear(right, is_sum) && tells_apart(left))
        }
        Kind::Case { branches, otherwise } => {
            let adds = |one: &Expression| is_linear(one, is_sum) || is_zero_converted(one, &is_zero);
            branches.iter().all(|(condition, value)| tells_apart(condition) && adds(value)) && adds(otherwise)
        }
        _ => false,
    }
}

fn is_zero_converted(expression: &Expression, is_zero: &dyn Fn(&Expression) -> bool) -> bool {
    match &expression.kind {
        Kind::Convert(value) => is_zero_converted(value, is_zero),
        _ => is_zero(expression),
    }
}
