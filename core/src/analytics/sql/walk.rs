//! Going through a checked tree.

use super::tree::{Expression, Kind, Select};

impl Select {
    /// Every expression of the select itself; those of subqueries it reads from are theirs.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let joins = self.joins.iter().flat_map(|join| {
            let sides = join.equal.iter().flat_map(|(left, right)| [left, right]);
            sides.chain(&join.condition)
        });
        let grouped = self.grouping.iter().flat_map(|grouping| {
            let computed = grouping.aggregates.iter().flat_map(|one| one.argument.iter().chain(&one.condition));
            grouping.keys.iter().chain(computed).chain(&grouping.having)
        });
        let windows = self.windows.iter().flat_map(|window| {
            let aggregate = window.aggregate.argument.iter().chain(&window.aggregate.condition);
            aggregate.chain(&window.partition_by).chain(window.order_by.iter().map(|order| &order.by))
        });
        let ordered = self.order_by.iter().flat_map(|order| {
            let fill = order.fill.iter().flat_map(|fill| fill.from.iter().chain(&fill.to));
            std::iter::once(&order.by).chain(fill)
        });
        joins
            .chain(&self.array_joins)
            .chain(&self.filter)
            .chain(grouped)
            .chain(windows)
            .chain(&self.projection)
            .chain(ordered)
            .chain(self.limit_by.iter().flat_map(|limit| &limit.keys))
    }
}

impl Expression {
    /// The expressions right inside this one. What is inside a subquery is not.
    pub fn children(&self) -> Vec<&Expression> {
        match &self.kind {
            Kind::Literal(_)
            | Kind::Column { .. }
            | Kind::Element(_)
            | Kind::Key(_)
            | Kind::Aggregate(_)
            | Kind::Window(_)
            | Kind::Output(_)
            | Kind::Parameter(_)
            | Kind::Scalar(_) => Vec::new(),
            Kind::Convert(value)
            | Kind::Not(value)
            | Kind::IsNull { value, .. }
            | Kind::Like { value, .. }
            | Kind::InList { value, .. }
            | Kind::InQuery { value, .. } => vec![value],
            Kind::Arithmetic { left, right, .. }
            | Kind::Elapsed { left, right }
            | Kind::Comparison { left, right, .. } => vec![left, right],
            Kind::Later { time, amount, .. } => vec![time, amount],
            Kind::Range { value, low, high, .. } => vec![value, low, high],
            Kind::And(all) | Kind::Or(all) | Kind::Array(all) | Kind::Function { arguments: all, .. } => {
                all.iter().collect()
            }
            Kind::Case { branches, otherwise } => {
                let branches = branches.iter().flat_map(|(condition, value)| [condition, value]);
                branches.chain([&**otherwise]).collect()
            }
            Kind::ArrayFilter { array, condition, .. } => vec![array, condition],
        }
    }
}
