//! Queries: `WITH`, set operations, and the bounds of what is built.

use sqlparser::ast::{Fetch, LimitClause, Query as Written, SetExpr, SetOperator, SetQuantifier, With};

use super::super::tree::{
    Body, Checked, Column, Combination, Expression, From, Kind, Named, Query, Select, Source,
};
use super::super::types::{Literal, Type};
use super::converting::{convert, supertype};
use super::{Asked, not_offered, refuse_any, refused};
use crate::error::Error;

/// How many expressions are built at most. Aliases stand for expressions, which are built wherever they are used.
const MOST_BUILT: usize = 20_000;
/// How deep expressions and queries are nested at most.
const DEEPEST: usize = 100;
/// How many times tables are read at most, each use of a named query counted.
const MOST_READS: usize = 64;

/// A statement while it is checked.
pub(super) struct Builder<'a> {
    pub(super) asked: &'a Asked,
    pub(super) named: Vec<Named>,
    /// The named queries that can be referred to, with lower-case names; the last of a name counts.
    pub(super) in_scope: Vec<(String, usize)>,
    /// How often each named query reads tables.
    weights: Vec<usize>,
    pub(super) reads: usize,
    pub(super) columns: usize,
    built: usize,
    depth: usize,
    /// How many lambdas are around what is being built.
    pub(super) lambdas: usize,
    /// Names that the queries around know: of columns and sources.
    pub(super) enclosing: Vec<Vec<String>>,
}

/// The limits of a select: `LIMIT` and `OFFSET`, and what stands behind a `LIMIT n BY`.
#[derive(Clone, Copy, Default)]
pub(super) struct Limits<'q> {
    pub(super) clause: Option<&'q LimitClause>,
    pub(super) fetch: Option<&'q Fetch>,
}

/// Builds the tree of a statement.
pub(super) fn build(statement: &Written, asked: &Asked) -> Result<Checked, Error> {
    let mut builder = Builder {
        asked,
        named: Vec::new(),
        in_scope: Vec::new(),
        weights: Vec::new(),
        reads: 0,
        columns: 0,
        built: 0,
        depth: 0,
        lambdas: 0,
        enclosing: Vec::new(),
    };
    let query = builder.query(statement)?;
    let checked = Checked { named: builder.named, query: clamped(query, asked.most_rows) };
    bound_constants(&checked)?;
    if let Some(state) = checked.query.columns.iter().find(|column| matches!(column.of, Type::State(_))) {
        return Err(refused(format!(
            "`{}` is a state, which is no value. Read it with `avgMerge(latency_avg)`, `quantilesTDigestMerge(0.75)(latency_p75)` or \
             `quantilesTDigestMerge(0.99)(latency_p99)`.",
            state.name.replace('`', "")
        )));
    }
    Ok(checked)
}

/// Refuses constants that no `Int64` holds beside values that are one: they would be other numbers there.
fn bound_constants(checked: &Checked) -> Result<(), Error> {
    let mut too_large = None;
    for expression in checked.selects().into_iter().flat_map(Select::expressions) {
        expression.each(|inner| {
            if let Kind::Convert(value) = &inner.kind
                && let Kind::Literal(Literal::UInt64(number)) = &value.kind
                && *inner.of.inner() == Type::Int64
            {
                too_large = Some(*number);
            }
        });
    }
    match too_large {
        None => Ok(()),
        Some(number) => Err(refused(format!(
            "The number {number} is too large for what it is used with, which is an `Int64`."
        ))),
    }
}

/// The query with at most so many rows.
fn clamped(mut query: Query, most_rows: u64) -> Query {
    if let Body::Select(select) = &mut query.body {
        select.limit = Some(select.limit.map_or(most_rows, |limit| limit.min(most_rows)));
        return query;
    }
    let mut outer = around(query, |_, column| column);
    if let Body::Select(select) = &mut outer.body {
        select.limit = Some(most_rows);
    }
    outer
}

/// A query of all columns of another, each made into something else.
pub(super) fn around(query: Query, mut made: impl FnMut(usize, Expression) -> Expression) -> Query {
    let columns = query.columns.clone();
    let refer = |(index, column): (usize, &Column)| {
        made(index, Expression { kind: Kind::Column { source: 0, column: index }, of: column.of.clone() })
    };
    let projection: Vec<_> = columns.iter().enumerate().map(refer).collect();
    let outer = columns.iter().zip(&projection).map(|(column, expression)| Column {
        name: column.name.clone(),
        of: expression.of.clone(),
        is_unix_ms: column.is_unix_ms,
    });
    let outer = outer.collect();
    let source = Source { from: From::Query(Box::new(query)), columns };
    Query { body: Body::Select(Box::new(Select::of(vec![source], projection))), columns: outer }
}

impl Select {
    /// A select of these that does nothing else.
    pub(super) fn of(sources: Vec<Source>, projection: Vec<Expression>) -> Select {
        Select {
            sources,
            joins: Vec::new(),
            array_joins: Vec::new(),
            filter: None,
            grouping: None,
            windows: Vec::new(),
            projection,
            distinct: false,
            order_by: Vec::new(),
            limit_by: None,
            offset: 0,
            limit: None,
        }
    }
}

impl Builder<'_> {
    /// Counts something that is built, and one step deeper; [`Builder::leave`] goes back.
    pub(super) fn enter(&mut self) -> Result<(), Error> {
        self.built += 1;
        self.depth += 1;
        if self.built > MOST_BUILT {
            return Err(refused(
                "The query is too large once its aliases are put in. Compute what they stand for in a subquery.",
            ));
        }
        if self.depth > DEEPEST {
            return Err(refused(format!(
                "The query is nested too deeply; at most {DEEPEST} levels are allowed. Give inner queries a name with `WITH`."
            )));
        }
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Counts reads of tables.
    pub(super) fn count_reads(&mut self, of: From) -> Result<From, Error> {
        self.reads += match &of {
            From::Table(_) => 1,
            From::Named(index) => self.weights.get(*index).copied().unwrap_or(1),
            From::Query(_) => 0,
        };
        if self.reads > MOST_READS {
            return Err(refused(format!(
                "The query reads tables more than {MOST_READS} times, each use of a query in `WITH` counted. Ask in parts."
            )));
        }
        Ok(of)
    }

    /// Builds a query; `WITH` names are known in it and in no other.
    pub(super) fn query(&mut self, written: &Written) -> Result<Query, Error> {
        self.enter()?;
        let known = self.in_scope.len();
        if let Some(with) = &written.with {
            self.with(with)?;
        }
        let query = self.body(written);
        self.in_scope.truncate(known);
        self.leave();
        query
    }

    fn with(&mut self, with: &With) -> Result<(), Error> {
        let With { with_token: _, recursive, cte_tables } = with;
        if *recursive {
            return Err(not_offered("`WITH RECURSIVE`"));
        }
        for named in cte_tables {
            if named.from.is_some() || named.materialized.is_some() {
                return Err(not_offered("`MATERIALIZED`"));
            }
            let alias = &named.alias;
            if !alias.columns.is_empty() || alias.at.is_some() {
                return Err(not_offered("A list of columns beside a name of `WITH`"));
            }
            let before = self.reads;
            let enclosing = std::mem::take(&mut self.enclosing);
            let query = self.query(&named.query)?;
            self.enclosing = enclosing;
            // What nobody uses is not read.
            self.weights.push(self.reads - before);
            self.reads = before;
            self.named.push(Named { name: alias.name.value.clone(), query });
            self.in_scope.push((alias.name.value.to_lowercase(), self.named.len() - 1));
        }
        Ok(())
    }

    fn body(&mut self, written: &Written) -> Result<Query, Error> {
        let Written {
            with: _,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings: _,
            format_clause,
            pipe_operators,
        } = written;
        let is_by =
            matches!(limit_clause, Some(LimitClause::LimitOffset { limit_by, .. }) if !limit_by.is_empty());
        let unknown = [
            (fetch.is_some() && !is_by, "`FETCH`"),
            (!locks.is_empty(), "`FOR UPDATE`"),
            (for_clause.is_some(), "`FOR`"),
            (format_clause.is_some(), "`FORMAT`"),
            (!pipe_operators.is_empty(), "A pipe"),
        ];
        refuse_any(&unknown)?;
        match &**body {
            SetExpr::Select(select) => {
                let limits = Limits { clause: limit_clause.as_ref(), fetch: fetch.as_ref() };
                self.select(select, order_by.as_ref(), limits)
            }
            SetExpr::Query(inner) if order_by.is_none() && limit_clause.is_none() => self.query(inner),
            SetExpr::Query(_) | SetExpr::SetOperation { .. } if order_by.is_some() || limit_clause.is_some() => {
                Err(refused(
                    "`ORDER BY` and `LIMIT` after several selects mean the last of them to ClickHouse and all of them elsewhere. \
                     Say which: `SELECT * FROM (… UNION ALL …) ORDER BY …`, or parentheses around the last select.",
                ))
            }
            other => self.combined(other),
        }
    }

    fn combined(&mut self, body: &SetExpr) -> Result<Query, Error> {
        self.enter()?;
        let query = match body {
            SetExpr::Select(select) => self.select(select, None, Limits::default()),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let combination = combination(*op, *set_quantifier)?;
                let left = self.combined(left)?;
                let right = self.combined(right)?;
                combine(combination, left, right)
            }
            SetExpr::Values(_) => Err(not_offered("`VALUES`")),
            SetExpr::Table(_) => Err(not_offered("`TABLE`")),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(not_offered("A change"))
            }
        };
        self.leave();
        query
    }
}

fn combination(operator: SetOperator, quantifier: SetQuantifier) -> Result<Combination, Error> {
    Ok(match (operator, quantifier) {
        (SetOperator::Union, SetQuantifier::All) => Combination::UnionAll,
        (SetOperator::Union, SetQuantifier::Distinct) => Combination::UnionDistinct,
        (SetOperator::Union, SetQuantifier::None) => {
            return Err(refused(
                "`UNION` alone is not clear. Write `UNION ALL`, or `UNION DISTINCT` to have equal rows once.",
            ));
        }
        (SetOperator::Except, SetQuantifier::All | SetQuantifier::None) => Combination::ExceptAll,
        (SetOperator::Except, SetQuantifier::Distinct) => Combination::ExceptDistinct,
        (SetOperator::Intersect, SetQuantifier::All | SetQuantifier::None) => Combination::IntersectAll,
        (SetOperator::Intersect, SetQuantifier::Distinct) => Combination::IntersectDistinct,
        (SetOperator::Minus, _) => return Err(not_offered("`MINUS`")),
        (_, SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName) => {
            return Err(not_offered("`BY NAME`"));
        }
    })
}

fn combine(combination: Combination, left: Query, right: Query) -> Result<Query, Error> {
    if left.columns.len() != right.columns.len() {
        let (left, right) = (left.columns.len(), right.columns.len());
        return Err(refused(format!(
            "The selects that are combined have {left} and {right} columns. Give them equally many."
        )));
    }
    let mut types = Vec::new();
    for (left, right) in left.columns.iter().zip(&right.columns) {
        let of = supertype(&left.of, &right.of).ok_or_else(|| {
            refused(format!(
                "The selects that are combined have a column of {} and of {}, which no type holds both of. Convert one, for \
                 example with `toString`.",
                left.of, right.of
            ))
        })?;
        types.push(of);
    }
    let (left, right) = (converted(left, &types), converted(right, &types));
    let mut columns = left.columns.clone();
    for (column, other) in columns.iter_mut().zip(&right.columns) {
        column.is_unix_ms &= other.is_unix_ms;
    }
    Ok(Query { body: Body::Combined { combination, left: Box::new(left), right: Box::new(right) }, columns })
}

/// The query with columns of these types.
fn converted(query: Query, types: &[Type]) -> Query {
    if query.columns.iter().map(|column| &column.of).eq(types) {
        return query;
    }
    around(query, |index, column| match types.get(index) {
        Some(of) => convert(column, of),
        None => column,
    })
}
