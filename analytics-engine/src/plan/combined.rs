//! The rows of two queries combined.

use datafusion::common::Result;
use datafusion::logical_expr::{LogicalPlanBuilder, col};
use keyrack_core::analytics::sql::tree::{Combination, Query};

use super::ordering::numbered;
use super::{Planned, Planner};

impl Planner<'_> {
    /// The rows of two queries combined, under the names of the left.
    pub(super) fn combined(&self, combination: Combination, left: &Query, right: &Query) -> Result<Planned> {
        let (left, right) = (self.query(left)?, self.query(right)?);
        for (own, name) in right.columns.iter().zip(&left.columns) {
            self.weighs(name, self.weight_of(own).max(self.weight_of(name)));
        }
        // One has the names of the other.
        let renamed = right.columns.iter().zip(&left.columns).map(|(own, name)| col(own.as_str()).alias(name));
        let right = right.plan.clone().project(renamed)?;
        let columns = left.columns;
        let left = left.plan;
        let plan = match combination {
            Combination::UnionAll => left.union(right.build()?)?,
            Combination::UnionDistinct => left.union_distinct(right.build()?)?,
            Combination::ExceptDistinct => without(left, right, false)?,
            Combination::IntersectDistinct => common(left, right, false)?,
            // Equal rows are told apart by their number.
            Combination::ExceptAll | Combination::IntersectAll => {
                let name = self.fresh();
                let (left, right) = (numbered(left, &columns, &name)?, numbered(right, &columns, &name)?);
                let both = if combination == Combination::ExceptAll {
                    without(left, right, true)?
                } else {
                    common(left, right, true)?
                };
                both.project(columns.iter().map(|column| col(column.as_str())))?
            }
        };
        self.renamed(Planned { plan, columns })
    }
}

fn without(left: LogicalPlanBuilder, right: LogicalPlanBuilder, is_all: bool) -> Result<LogicalPlanBuilder> {
    Ok(LogicalPlanBuilder::new(LogicalPlanBuilder::except(left.build()?, right.build()?, is_all)?))
}

fn common(left: LogicalPlanBuilder, right: LogicalPlanBuilder, is_all: bool) -> Result<LogicalPlanBuilder> {
    Ok(LogicalPlanBuilder::new(LogicalPlanBuilder::intersect(left.build()?, right.build()?, is_all)?))
}
