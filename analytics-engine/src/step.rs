//! A step of a plan around another one, whose rows it passes on in their order, looked at or with more between them.

use std::fmt::{self, Debug};
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{Distribution, OrderingRequirements, PhysicalExpr};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, InputDistributionRequirements,
    PlanProperties,
};

/// What a step does.
pub(crate) trait Work: Debug + Send + Sync + 'static {
    /// What the step is called.
    const NAME: &'static str;
    /// Whether it needs all rows in one stream, and in the order that they have.
    const NEEDS_ORDER: bool = false;

    /// The rows that it makes of those of a partition.
    fn rows(&self, rows: SendableRecordBatchStream, context: &TaskContext) -> Result<SendableRecordBatchStream>;
}

/// The step. What is known of the rows that come holds for those that go.
#[derive(Debug)]
pub(crate) struct Step<W> {
    input: Arc<dyn ExecutionPlan>,
    work: Arc<W>,
}

impl<W: Work> Step<W> {
    /// This work, around a plan.
    pub(crate) fn around(input: Arc<dyn ExecutionPlan>, work: W) -> Arc<dyn ExecutionPlan> {
        Arc::new(Step { input, work: Arc::new(work) })
    }
}

impl<W: Work> DisplayAs for Step<W> {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(W::NAME)
    }
}

impl<W: Work> ExecutionPlan for Step<W> {
    fn name(&self) -> &'static str {
        W::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let wanted =
            if W::NEEDS_ORDER { Distribution::SinglePartition } else { Distribution::UnspecifiedDistribution };
        InputDistributionRequirements::new(vec![wanted])
    }

    // Without it the order would be thought to be of no use.
    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let ordering = self.input.output_ordering().filter(|_| W::NEEDS_ORDER);
        vec![ordering.map(|ordering| OrderingRequirements::from(ordering.clone()))]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.pop() else { return internal_err!("{} around nothing", W::NAME) };
        Ok(Arc::new(Step { input, work: Arc::clone(&self.work) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, Arc::clone(&context))?;
        self.work.rows(rows, &context)
    }
}
