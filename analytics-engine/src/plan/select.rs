//! A select, in the order of its members.

use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col};
use keyrack_core::analytics::sql::tree::{Grouping, Kind, Query, Select};

use super::expression::Scope;
use super::{Planned, Planner, aggregates, sources};

impl Planner<'_> {
    /// The rows of a select.
    pub(super) fn select(&self, select: &Select, query: &Query) -> Result<Planned> {
        let mut scope = Scope::default();
        let mut rows = self.sources(select, sources::rows_of(select), &mut scope)?;
        rows = self.unfolded(rows, &select.array_joins, &mut scope)?;
        if let Some(filter) = &select.filter {
            self.weight(filter, &scope)?;
            rows = rows.filter(self.expression(filter, &scope)?)?;
        }
        if let Some(grouping) = &select.grouping {
            rows = self.grouped(rows, grouping, &mut scope)?;
        }
        rows = self.windowed(rows, select, &mut scope)?;
        self.projected(rows, select, query, &mut scope)
    }

    fn grouped(
        &self,
        rows: LogicalPlanBuilder,
        grouping: &Grouping,
        scope: &mut Scope,
    ) -> Result<LogicalPlanBuilder> {
        let keys: Vec<(Expr, String)> =
            self.all(&grouping.keys, scope)?.into_iter().map(|key| (key, self.fresh())).collect();
        for (key, (_, name)) in grouping.keys.iter().zip(&keys) {
            self.weighs(name, self.weight(key, scope)?);
        }
        let mut computed = Vec::new();
        for aggregate in &grouping.aggregates {
            for part in aggregate.argument.iter().chain(&aggregate.condition) {
                self.weight(part, scope)?;
            }
            computed.push((self.aggregate(aggregate, scope)?, self.fresh()));
        }
        let named = |pairs: &[(Expr, String)]| -> Vec<Expr> {
            pairs.iter().map(|(value, name)| value.clone().alias(name)).collect()
        };
        let rows = if keys.is_empty() && computed.is_empty() {
            // One group of which nothing is asked.
            let any = datafusion::functions_aggregate::expr_fn::count(datafusion::logical_expr::lit(1_i64));
            rows.aggregate(Vec::<Expr>::new(), [any])?
        } else {
            rows.aggregate(named(&keys), named(&computed))?
        };
        scope.keys = keys.into_iter().map(|(_, name)| name).collect();
        let valued = grouping
            .aggregates
            .iter()
            .zip(&computed)
            .map(|(aggregate, (_, name))| aggregates::valued(aggregate, col(name.as_str())).alias(name));
        let columns = scope.keys.iter().map(|name| col(name.as_str())).chain(valued);
        let rows = if keys_and_values(grouping) { rows.project(columns)? } else { rows };
        scope.aggregates = computed.into_iter().map(|(_, name)| name).collect();
        match &grouping.having {
            Some(having) => {
                self.weight(having, scope)?;
                rows.filter(self.expression(having, scope)?)
            }
            None => Ok(rows),
        }
    }

    fn windowed(
        &self,
        rows: LogicalPlanBuilder,
        select: &Select,
        scope: &mut Scope,
    ) -> Result<LogicalPlanBuilder> {
        if select.windows.is_empty() {
            return Ok(rows);
        }
        let calls =
            select.windows.iter().map(|window| self.window(window, scope)).collect::<Result<Vec<Expr>>>()?;
        let before: Vec<Expr> = rows.schema().columns().into_iter().map(Expr::Column).collect();
        // DataFusion wants them bare and gives them names of its own; equal ones are one.
        let computed: Vec<Expr> =
            calls.iter().map(|call| Expr::Column(Column::from_name(call.schema_name().to_string()))).collect();
        let mut different = calls;
        different.sort_by_key(|call| call.schema_name().to_string());
        different.dedup();
        let rows = LogicalPlanBuilder::new(LogicalPlanBuilder::window_plan(rows.build()?, different)?);
        scope.windows = select.windows.iter().map(|_| self.fresh()).collect();
        let valued = select
            .windows
            .iter()
            .zip(computed)
            .zip(&scope.windows)
            .map(|((window, computed), name)| aggregates::valued(&window.aggregate, computed).alias(name));
        rows.project(before.into_iter().chain(valued))
    }

    fn projected(
        &self,
        rows: LogicalPlanBuilder,
        select: &Select,
        query: &Query,
        scope: &mut Scope,
    ) -> Result<Planned> {
        let outputs: Vec<String> = select.projection.iter().map(|_| self.fresh()).collect();
        for (value, name) in select.projection.iter().zip(&outputs) {
            self.weighs(name, self.weight(value, scope)?);
        }
        let mut columns: Vec<Expr> = self.all(&select.projection, scope)?;
        columns = columns.into_iter().zip(&outputs).map(|(value, name)| value.alias(name)).collect();
        scope.outputs.clone_from(&outputs);
        // What the order needs and nobody sees.
        let keys = select
            .order_by
            .iter()
            .map(|order| &order.by)
            .chain(select.limit_by.iter().flat_map(|limit| &limit.keys));
        let mut hidden = Vec::new();
        for key in keys {
            let Kind::Output(index) = key.kind else {
                let name = self.fresh();
                columns.push(self.expression(key, scope)?.alias(&name));
                hidden.push(name);
                continue;
            };
            hidden.push(outputs[index].clone());
        }
        let mut rows = rows.project(columns)?;
        if select.distinct {
            rows = rows.distinct()?;
        }
        let (order_keys, limit_keys) = hidden.split_at(select.order_by.len());
        rows = self.ordered(rows, select, query, order_keys, limit_keys, &outputs)?;
        if hidden.iter().any(|name| !outputs.contains(name)) {
            rows = rows.project(outputs.iter().map(|name| col(name.as_str())))?;
        }
        Ok(Planned { plan: rows, columns: outputs })
    }
}

fn keys_and_values(grouping: &Grouping) -> bool {
    !grouping.keys.is_empty() || !grouping.aggregates.is_empty()
}
