//! Subqueries that stand for values: a set after `IN`, or one value. They refer to nothing outside, so they are
//! answered first, the inner before the outer, and the plan of what needs them has their values as constants.

use datafusion::common::ScalarValue;
use keyrack_core::analytics::sql::tree::{Body, Checked, Expression, From, Kind, Query, Select};

use crate::kernels::Among;

/// What a subquery came to.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// The values of `IN`.
    Set(Among),
    /// The value of a scalar subquery.
    Value(ScalarValue),
}

/// What a subquery is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A set.
    Set,
    /// One value.
    Value,
}

/// All subqueries of a statement that stand for values, the inner before the outer.
pub(crate) fn of(checked: &Checked) -> Vec<(&Query, Wanted)> {
    let mut found = Vec::new();
    for named in &checked.named {
        in_query(&named.query, &mut found);
    }
    in_query(&checked.query, &mut found);
    found
}

fn in_query<'a>(query: &'a Query, found: &mut Vec<(&'a Query, Wanted)>) {
    match &query.body {
        Body::Select(select) => in_select(select, found),
        Body::Combined { left, right, .. } => {
            in_query(left, found);
            in_query(right, found);
        }
    }
}

fn in_select<'a>(select: &'a Select, found: &mut Vec<(&'a Query, Wanted)>) {
    for source in &select.sources {
        if let From::Query(query) = &source.from {
            in_query(query, found);
        }
    }
    for expression in select.expressions() {
        in_expression(expression, found);
    }
}

fn in_expression<'a>(expression: &'a Expression, found: &mut Vec<(&'a Query, Wanted)>) {
    let mut inner = Vec::new();
    expression.kind.inner_expressions(&mut inner);
    inner.into_iter().for_each(|inner| in_expression(inner, found));
    let (query, wanted) = match &expression.kind {
        Kind::InQuery { query, .. } => (query, Wanted::Set),
        Kind::Scalar(query) => (query, Wanted::Value),
        _ => return,
    };
    in_query(query, found);
    found.push((query, wanted));
}
