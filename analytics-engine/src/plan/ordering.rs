//! The order of rows, what fills its gaps, and which of them are left out.

use datafusion::common::Result;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Expr, ExprFunctionExt as _, LogicalPlanBuilder, col, lit};
use keyrack_core::analytics::sql::tree::{Order, Query, Select};
use keyrack_core::analytics::sql::types::Type;

use super::Planner;
use super::expression::Scope;
use crate::kernels::{Kernel, Work};

impl Planner<'_> {
    /// A key of the order of a window.
    pub(super) fn sort(&self, order: &Order, scope: &Scope) -> Result<Sort> {
        Ok(sorted(order, self.expression(&order.by, scope)?))
    }

    /// Rows in their order, filled and cut; `order_keys` and `limit_keys` are the columns of what decides.
    pub(super) fn ordered(
        &self,
        mut rows: LogicalPlanBuilder,
        select: &Select,
        query: &Query,
        order_keys: &[String],
        limit_keys: &[String],
        outputs: &[String],
    ) -> Result<LogicalPlanBuilder> {
        let order: Vec<Sort> =
            select.order_by.iter().zip(order_keys).map(|(order, key)| sorted(order, col(key.as_str()))).collect();
        let fetch = select.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let skip = usize::try_from(select.offset).unwrap_or(usize::MAX);
        let is_filled = select.order_by.iter().any(|order| order.fill.is_some());
        if let Some(limit_by) = &select.limit_by {
            let kinds: Vec<Expr> = limit_keys.iter().map(|key| col(key.as_str())).collect();
            let mut number = row_number().partition_by(kinds);
            if !order.is_empty() {
                number = number.order_by(order.clone());
            }
            let number = number.build()?;
            let before: Vec<Expr> = rows.schema().columns().into_iter().map(Expr::Column).collect();
            let name = self.fresh();
            rows = rows.window([number.alias(&name)])?;
            let (from, to) = (limit_by.offset, limit_by.offset.saturating_add(limit_by.count));
            rows = rows.filter(col(name.as_str()).gt(lit(from)).and(col(name.as_str()).lt_eq(lit(to))))?;
            rows = rows.project(before)?;
        }
        if !order.is_empty() {
            rows = if is_filled || fetch.is_none() {
                rows.sort(order)?
            } else {
                rows.sort_with_limit(order, fetch.map(|fetch| fetch.saturating_add(skip)))?
            };
        }
        if is_filled {
            rows = self.filled(rows, select, query, outputs)?;
        }
        if fetch.is_some() || skip > 0 {
            rows = rows.limit(skip, fetch)?;
        }
        Ok(rows)
    }
}

/// NULL and NaN are one in an order, first or last.
fn sorted(order: &Order, key: Expr) -> Sort {
    let key = if *order.by.of.inner() == Type::Float64 {
        Kernel::call(Work::NanAsNull, vec![(key, order.by.of.clone())], order.by.of.clone().nullable())
    } else {
        key
    };
    key.sort(!order.descending, order.nulls_first)
}

/// A column that numbers rows that are equal in `columns`.
pub(super) fn numbered(rows: LogicalPlanBuilder, columns: &[String], name: &str) -> Result<LogicalPlanBuilder> {
    let number = row_number().partition_by(columns.iter().map(|column| col(column.as_str())).collect()).build()?;
    let before: Vec<Expr> = rows.schema().columns().into_iter().map(Expr::Column).collect();
    let rows = rows.window([number.alias(name)])?;
    rows.project(before.into_iter().chain([col(name)]))
}
