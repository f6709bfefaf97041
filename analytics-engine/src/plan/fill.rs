//! `WITH FILL`: rows that are made where an order has a gap, as a node of plans.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchemaRef, Result, internal_err, not_impl_err};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use keyrack_core::analytics::sql::tree::{Kind, Query, Select, Step};
use keyrack_core::analytics::sql::types::{Type, Unit};

use super::Planner;
use super::expression::Scope;
use crate::filling::{Filled, Filling, StepOf};
use crate::values::{constant, held_as};

impl Planner<'_> {
    /// Rows in order, filled.
    pub(super) fn filled(
        &self,
        rows: LogicalPlanBuilder,
        select: &Select,
        query: &Query,
        outputs: &[String],
    ) -> Result<LogicalPlanBuilder> {
        let mut fills =
            select.order_by.iter().enumerate().filter_map(|(at, order)| Some((at, order, order.fill.as_ref()?)));
        let (Some((at, order, fill)), None) = (fills.next(), fills.next()) else {
            return not_impl_err!("WITH FILL of several keys: fill one of them");
        };
        let place = |name: &str| rows.schema().index_of_column_by_name(None, name);
        let Kind::Output(key) = order.by.kind else { return internal_err!("a fill of what is no column") };
        // What is before it in the order: each of its values is filled on its own.
        let mut kept = Vec::new();
        for before in &select.order_by[..at] {
            let Kind::Output(index) = before.by.kind else {
                return not_impl_err!("WITH FILL after what is no column of the answer");
            };
            kept.extend(place(&outputs[index]));
        }
        let scope = Scope::default();
        let bound = |bound: &Option<_>| bound.as_ref().map(|one| self.expression(one, &scope)).transpose();
        let mut expressions = Vec::new();
        let (from, to) = (bound(&fill.from)?, bound(&fill.to)?);
        let has = [from.is_some(), to.is_some()];
        expressions.extend(from.into_iter().chain(to));
        let defaults = rows.schema().fields().iter().map(|field| {
            let output = outputs.iter().position(|name| name == field.name());
            let of = output.map_or(Type::Null, |output| query.columns[output].of.clone());
            let held = if output.is_some() { held_as(&of) } else { field.data_type().clone() };
            let literal = of.default_value().filter(|_| output.is_some());
            literal.map_or_else(|| held.try_into(), |literal| Ok(constant(&literal, &of)))
        });
        let filling = Filling {
            key: place(&outputs[key]).unwrap_or_default(),
            kept,
            step: step(&fill.step, &order.by.of),
            descending: order.descending,
            defaults: defaults.collect::<Result<_>>()?,
        };
        let node = Fill { input: rows.build()?, filling: Arc::new(filling), has, bounds: expressions };
        Ok(LogicalPlanBuilder::new(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
    }
}

fn step(step: &Step, of: &Type) -> StepOf {
    let (amount, unit) = match step {
        Step::Number(amount) => return StepOf::Length(*amount),
        Step::Interval(amount, unit) => (*amount, *unit),
    };
    let months = match unit {
        Unit::Month => Some(1),
        Unit::Quarter => Some(3),
        Unit::Year => Some(12),
        _ => None,
    };
    if let Some(months) = months {
        return StepOf::Months(amount.saturating_mul(months), of.clone());
    }
    let ms: i64 = match unit {
        Unit::Second => 1000,
        Unit::Minute => 60_000,
        Unit::Hour => 3_600_000,
        Unit::Day => 86_400_000,
        Unit::Week => 7 * 86_400_000,
        _ => 1,
    };
    let length = match of.inner() {
        Type::DateTime64 => ms,
        Type::Date => ms / 86_400_000,
        _ => ms / 1000,
    };
    StepOf::Length(amount.saturating_mul(length))
}

/// The node.
#[derive(Debug, Clone)]
struct Fill {
    input: LogicalPlan,
    filling: Arc<Filling>,
    /// Whether there is a `FROM` and a `TO`.
    has: [bool; 2],
    /// These.
    bounds: Vec<Expr>,
}

impl PartialEq for Fill {
    fn eq(&self, other: &Self) -> bool {
        self.input == other.input && Arc::ptr_eq(&self.filling, &other.filling) && self.bounds == other.bounds
    }
}

impl Eq for Fill {}

impl PartialOrd for Fill {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl Hash for Fill {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.bounds.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for Fill {
    fn name(&self) -> &'static str {
        "Fill"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.bounds.clone()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fill: column {}", self.filling.key)
    }

    fn with_exprs_and_inputs(&self, bounds: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Some(input) = inputs.pop() else { return internal_err!("a fill of nothing") };
        Ok(Fill { input, filling: Arc::clone(&self.filling), has: self.has, bounds })
    }
}

/// Makes the node something that runs.
#[derive(Debug)]
pub(crate) struct FillPlanner;

#[async_trait]
impl ExtensionPlanner for FillPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(fill), [input]) = (node.as_any().downcast_ref::<Fill>(), inputs) else { return Ok(None) };
        let mut bounds = fill.bounds.iter().map(|bound| {
            crate::filling::value_of(&*planner.create_physical_expr(
                bound,
                fill.input.schema(),
                session,
                context,
            )?)
        });
        let mut bound = |is_there: bool| if is_there { bounds.next().transpose() } else { Ok(None) };
        let (from, to) = (bound(fill.has[0])?.flatten(), bound(fill.has[1])?.flatten());
        Ok(Some(Filled::of(Arc::clone(input), Arc::clone(&fill.filling), from, to)))
    }
}
