//! Ways through a checked tree: the expressions of an expression, of a select, and every query.

use super::tree::{Aggregate, Body, Checked, Expression, From, Kind, Query, Read, Select};

impl Kind {
    /// Adds the expressions that it is made of; those of subqueries are not among them.
    pub fn inner_expressions<'t>(&'t self, into: &mut Vec<&'t Expression>) {
        match self {
            Kind::Literal(_)
            | Kind::Column { .. }
            | Kind::Element(_)
            | Kind::Key(_)
            | Kind::Aggregate(_)
            | Kind::Window(_)
            | Kind::Output(_)
            | Kind::Parameter(_)
            | Kind::Scalar(_) => {}
            Kind::Convert(inner) | Kind::Not(inner) => into.push(inner),
            Kind::IsNull { value, .. }
            | Kind::Like { value, .. }
            | Kind::InList { value, .. }
            | Kind::InQuery { value, .. } => into.push(value),
            Kind::Arithmetic { left, right, .. }
            | Kind::Elapsed { left, right }
            | Kind::Comparison { left, right, .. }
            | Kind::Later { time: left, amount: right, .. }
            | Kind::ArrayFilter { array: left, condition: right, .. } => into.extend([&**left, &**right]),
            Kind::Range { value, low, high, .. } => into.extend([&**value, &**low, &**high]),
            Kind::And(parts) | Kind::Or(parts) | Kind::Array(parts) | Kind::Function { arguments: parts, .. } => {
                into.extend(parts);
            }
            Kind::Case { branches, otherwise } => {
                into.extend(branches.iter().flat_map(|(condition, value)| [condition, value]));
                into.push(otherwise);
            }
        }
    }
}

impl Expression {
    /// Calls this for the expression and all that it is made of; those of subqueries are not among them.
    pub fn each<'t>(&'t self, mut seen: impl FnMut(&'t Expression)) {
        let mut waiting = vec![self];
        while let Some(expression) = waiting.pop() {
            seen(expression);
            expression.kind.inner_expressions(&mut waiting);
        }
    }
}

impl Aggregate {
    fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.argument.iter().chain(&self.condition)
    }
}

impl Select {
    /// Its own expressions, each whole, in no order that matters.
    pub fn expressions(&self) -> Vec<&Expression> {
        let mut all = Vec::new();
        for join in &self.joins {
            all.extend(join.equal.iter().flat_map(|(before, this)| [before, this]).chain(&join.condition));
        }
        all.extend(self.array_joins.iter().chain(&self.filter).chain(&self.projection));
        if let Some(grouping) = &self.grouping {
            all.extend(grouping.keys.iter().chain(grouping.aggregates.iter().flat_map(Aggregate::expressions)));
            all.extend(&grouping.having);
        }
        for window in &self.windows {
            all.extend(window.aggregate.expressions().chain(&window.partition_by));
            all.extend(window.order_by.iter().map(|order| &order.by));
        }
        for order in &self.order_by {
            all.push(&order.by);
            all.extend(order.fill.iter().flat_map(|fill| fill.from.iter().chain(&fill.to)));
        }
        all.extend(self.limit_by.iter().flat_map(|limit| &limit.keys));
        all
    }

    /// The queries right in it: in `FROM` and in its expressions.
    fn queries(&self) -> Vec<&Query> {
        let mut all = Vec::new();
        for source in &self.sources {
            if let From::Query(query) = &source.from {
                all.push(&**query);
            }
        }
        for expression in self.expressions() {
            expression.each(|inner| {
                if let Kind::Scalar(query) | Kind::InQuery { query, .. } = &inner.kind {
                    all.push(&**query);
                }
            });
        }
        all
    }
}

impl Checked {
    /// Every select of the statement, of whatever query.
    pub fn selects(&self) -> Vec<&Select> {
        let mut found = Vec::new();
        let mut waiting: Vec<&Query> = self.named.iter().map(|named| &named.query).collect();
        waiting.push(&self.query);
        while let Some(query) = waiting.pop() {
            match &query.body {
                Body::Select(select) => {
                    waiting.extend(select.queries());
                    found.push(&**select);
                }
                Body::Combined { left, right, .. } => waiting.extend([&**left, &**right]),
            }
        }
        found
    }

    /// Every read of a table.
    pub fn reads(&self) -> Vec<&Read> {
        let sources = self.selects().into_iter().flat_map(|select| &select.sources);
        sources
            .filter_map(|source| match &source.from {
                From::Table(read) => Some(read),
                From::Named(_) | From::Query(_) => None,
            })
            .collect()
    }
}
