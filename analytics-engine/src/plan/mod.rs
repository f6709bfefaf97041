//! From a checked statement to a plan of DataFusion: node by node, as the checked tree says.
//!
//! Columns get names of their own (`c17`) wherever rows are made, so nothing is looked up by a name that somebody chose.
//! Subqueries that stand for values are answered before what needs them is planned ([`subqueries`]).

mod aggregates;
mod bounds;
mod combined;
mod expression;
mod fill;
mod ordering;
mod select;
mod sources;
pub(crate) mod subqueries;
mod weights;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, col};
use keyrack_core::analytics::sql::tree::{Body, Checked, Query, Read};

pub(crate) use self::bounds::Bounds;
pub(crate) use self::fill::FillPlanner;
use self::subqueries::Answer;

/// What is read of a public table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// The rows as they are documented: one of each combination of dimensions in the aggregate tables.
    Whole,
    /// In the aggregate tables, any rows whose sums are the same: nobody asks how many there are.
    Parts,
}

/// Where the rows of public tables come from.
pub(crate) trait Tables: Sync {
    /// A plan of the rows of a table that may be seen, with all its columns under their names. Rows of events beyond the
    /// bounds may be left out.
    fn read(&self, read: &Read, rows: Rows, bounds: Bounds) -> Result<LogicalPlan>;
}

/// Makes plans of the queries of one statement.
pub(crate) struct Planner<'a> {
    checked: &'a Checked,
    tables: &'a dyn Tables,
    /// By the address of the subquery in the tree, which lives as long as this.
    pub(crate) answers: HashMap<usize, Answer>,
    names: AtomicUsize,
    /// Of columns, by their names: see [`weights`].
    weights: Mutex<HashMap<String, u64>>,
    /// Bytes of all texts that were written out.
    constants: AtomicUsize,
}

/// A plan, with the names of its columns.
pub(crate) struct Planned {
    pub(crate) plan: LogicalPlanBuilder,
    pub(crate) columns: Vec<String>,
}

impl Planned {
    /// Its columns as expressions.
    fn all(&self) -> Vec<Expr> {
        self.columns.iter().map(|name| col(name.as_str())).collect()
    }
}

impl<'a> Planner<'a> {
    /// Plans of the queries of this statement over these tables.
    pub(crate) fn new(checked: &'a Checked, tables: &'a dyn Tables) -> Self {
        Planner {
            checked,
            tables,
            answers: HashMap::new(),
            names: AtomicUsize::new(0),
            weights: Mutex::default(),
            constants: AtomicUsize::new(0),
        }
    }

    /// The plan of a query, its columns in order under names of their own.
    pub(crate) fn query(&self, query: &Query) -> Result<Planned> {
        match &query.body {
            Body::Select(select) => self.select(select, query),
            Body::Combined { combination, left, right } => self.combined(*combination, left, right),
        }
    }

    /// The plan of the statement.
    pub(crate) fn statement(&self) -> Result<LogicalPlan> {
        self.query(&self.checked.query)?.plan.build()
    }

    /// A name that nothing has yet.
    fn fresh(&self) -> String {
        format!("c{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// The same rows under names of their own.
    fn renamed(&self, planned: Planned) -> Result<Planned> {
        let columns: Vec<String> = planned.columns.iter().map(|_| self.fresh()).collect();
        for (old, new) in planned.columns.iter().zip(&columns) {
            self.weighs(new, self.weight_of(old));
        }
        let renamed = planned.all().into_iter().zip(&columns).map(|(column, name)| column.alias(name));
        Ok(Planned { plan: planned.plan.clone().project(renamed)?, columns })
    }
}
