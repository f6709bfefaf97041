//! Running a statement within its limits, on threads of its own.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arrow::error::ArrowError;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::execution::cache::cache_manager::CacheManager;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream, replace_children_if_necessary};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner as _};
use datafusion::prelude::SessionConfig;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use keyrack_core::analytics::engine::{Engine, Failure, Lane, Limits, Rows, Standing};
use keyrack_core::analytics::log::Consumer;
use keyrack_core::analytics::sql::tables::Table;
use keyrack_core::analytics::sql::tree::{Checked, Query};
use keyrack_core::calendar::UnixMs;
use tokio::sync::Semaphore;

use crate::answers::Answer;
use crate::background;
use crate::following::{Around, Follower};
use crate::kernels::Among;
use crate::meter::Metered;
use crate::plan::subqueries::{self, Answer as Value, Wanted};
use crate::plan::{FillPlanner, Planner};
use crate::storage::{Fault, Snapshot, Warehouse};
use crate::tables::{self, SnapshotTables};

/// Bytes of stack of a thread that plans and runs statements: plans are gone through from level to level, and a statement may
/// nest as deep as the guard lets it. What is not used of it takes no memory.
const STACK_BYTES: usize = 64 << 20;
/// Statements of a lane at work at a time.
const AT_A_TIME: usize = 2;
/// Between two looks at all files.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Values of a subquery after `IN`, at most.
const MOST_VALUES: usize = 1_000_000;
/// Bytes of memory of these.
const MOST_VALUE_BYTES: usize = 128 << 20;

/// The engine in the program.
#[derive(Debug)]
pub struct Embedded {
    warehouse: Arc<Warehouse>,
    /// What brings events from the log; `None` where somebody else appends them.
    follower: Option<Arc<Follower>>,
    /// Begun with the first query.
    runtime: OnceLock<Running>,
    threads: usize,
    /// Held by statements until their work has ended, also by those that nobody waits for any more.
    questions: Arc<Semaphore>,
    /// The same for reports.
    reports: Arc<Semaphore>,
    /// When files were looked through the last time.
    looked: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Running {
    /// `None` once it is shut down.
    threads: Option<tokio::runtime::Runtime>,
    /// What is known of files, for all queries.
    cache: Arc<CacheManager>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be dropped by a task of another runtime, which must not wait.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

impl Embedded {
    /// An engine over what is stored in this warehouse, with so many threads.
    pub fn over(warehouse: Arc<Warehouse>, threads: usize) -> Self {
        Embedded {
            warehouse,
            follower: None,
            runtime: OnceLock::new(),
            threads: threads.max(1),
            questions: Arc::new(Semaphore::new(AT_A_TIME)),
            reports: Arc::new(Semaphore::new(AT_A_TIME)),
            looked: Mutex::default(),
        }
    }

    /// The same, which follows a log and keeps the warehouse in order.
    ///
    /// # Errors
    /// When the system has no threads for it.
    pub fn following(
        warehouse: Arc<Warehouse>,
        threads: usize,
        consumer: Consumer,
        around: Around,
    ) -> std::io::Result<Self> {
        let follower = Arc::new(Follower::new(consumer, warehouse.clone(), around));
        follower.start()?;
        Ok(Embedded::fed_by(warehouse, threads, follower))
    }

    /// The same, which has this follower read the log before each query, and knows nothing of its threads.
    pub(crate) fn fed_by(warehouse: Arc<Warehouse>, threads: usize, follower: Arc<Follower>) -> Self {
        Embedded { follower: Some(follower), ..Embedded::over(warehouse, threads) }
    }

    /// What is stored, with what the log has now.
    async fn snapshot(&self) -> Result<Arc<Snapshot>, Failure> {
        let (follower, warehouse) = (self.follower.clone(), self.warehouse.clone());
        let look = move || {
            follower.map_or(Ok(()), |follower| follower.catch_up())?;
            warehouse.snapshot()
        };
        let looked = tokio::task::spawn_blocking(look).await;
        let fault = |fault: Fault| Failure::Unavailable(Box::new(fault));
        looked.map_err(|ended| Failure::Unavailable(Box::new(ended)))?.map_err(fault)
    }

    fn running(&self) -> Result<&Running, Failure> {
        if let Some(running) = self.runtime.get() {
            return Ok(running);
        }
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.threads)
            .thread_name("keyrack-analytics")
            .thread_stack_size(STACK_BYTES)
            .on_thread_start(background::give_way)
            .enable_time()
            .build()
            .map_err(|error| Failure::Unavailable(Box::new(error)))?;
        let cache = RuntimeEnvBuilder::new().build().map_err(unavailable)?.cache_manager;
        Ok(self.runtime.get_or_init(|| Running { threads: Some(threads), cache }))
    }

    async fn answer(&self, statement: &Checked, limits: Limits) -> Result<Rows, Failure> {
        let running = self.running()?;
        let Some(threads) = &running.threads else { return Err(Failure::Timeout) };
        let environment = environment(&running.cache, limits)?;
        let answered = async {
            let snapshot = self.snapshot().await?;
            let closed = |closed| Failure::Unavailable(Box::new(closed));
            let lane = match limits.lane {
                Lane::Questions => &self.questions,
                Lane::Reports => &self.reports,
            };
            let room = lane.clone().acquire_owned().await.map_err(closed)?;
            let (statement, partitions, answer_bytes) = (statement.clone(), self.threads, limits.answer_bytes);
            let work = Work { statement, snapshot, environment, partitions, answer_bytes };
            let work = async move {
                let answer = work.run().await;
                drop(room);
                answer
            };
            // Whoever stops waiting stops the work.
            let mut running = AbortOnDrop(threads.spawn(work));
            (&mut running.0).await.unwrap_or_else(|ended| Err(Failure::Unavailable(Box::new(ended))))
        };
        let answer = tokio::time::timeout(limits.time, answered).await.unwrap_or(Err(Failure::Timeout));
        if matches!(answer, Err(Failure::Unavailable(_))) {
            self.look_for_damage();
        }
        answer
    }

    /// Looks beside other work for a file that cannot be read, at most once a minute: the next question goes without it.
    fn look_for_damage(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
            return;
        }
        *looked = Some(Instant::now());
        let warehouse = self.warehouse.clone();
        tokio::task::spawn_blocking(move || match warehouse.snapshot() {
            Ok(snapshot) => drop(warehouse.look_through(&snapshot)),
            Err(fault) => tracing::warn!(%fault, "stored events cannot be looked through"),
        });
    }
}

impl Engine for Embedded {
    fn query<'a>(&'a self, statement: &'a Checked, limits: Limits) -> BoxFuture<'a, Result<Rows, Failure>> {
        Box::pin(self.answer(statement, limits))
    }

    fn kept_days(&self, table: &Table) -> Option<u32> {
        Some(self.warehouse.kept_days(tables::stored(table)))
    }

    fn recorded_since(&self) -> Option<UnixMs> {
        self.warehouse.recorded_since()
    }

    fn unreadable(&self, table: &Table, workspace_id: &str) -> Vec<(UnixMs, UnixMs)> {
        self.warehouse.unreadable(tables::stored(table), workspace_id)
    }

    fn standing(&self) -> Option<Standing> {
        self.follower.as_ref().map(|follower| follower.standing())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        let follower = self.follower.clone();
        Box::pin(async move {
            let Some(follower) = follower else { return };
            if let Err(error) = tokio::task::spawn_blocking(move || follower.stop()).await {
                tracing::warn!(%error, "the last events stay in the log until the next start");
            }
        })
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<Result<Rows, Failure>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What one query may use: memory of its own, no disk, and what all know of files.
fn environment(cache: &Arc<CacheManager>, limits: Limits) -> Result<Arc<RuntimeEnv>, Failure> {
    let mut environment = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(limits.memory_bytes)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build()
        .map_err(unavailable)?;
    environment.cache_manager = Arc::clone(cache);
    Ok(Arc::new(environment))
}

/// One statement at work.
struct Work {
    statement: Checked,
    snapshot: Arc<Snapshot>,
    environment: Arc<RuntimeEnv>,
    partitions: usize,
    answer_bytes: usize,
}

impl Work {
    async fn run(self) -> Result<Rows, Failure> {
        let session = session(Arc::clone(&self.environment), self.partitions);
        let tables = SnapshotTables::of(Arc::clone(&self.snapshot));
        let mut planner = Planner::new(&self.statement, &tables);
        for (query, wanted) in subqueries::of(&self.statement) {
            let value = value_of(&session, &planner, query, wanted).await?;
            planner.answers.insert(std::ptr::from_ref(query).addr(), value);
        }
        let plan = planner.statement().map_err(failed)?;
        drop(planner);
        let columns = self.statement.columns().iter().map(|column| (column.name.clone(), column.of.clone()));
        let mut answer = Answer::of(columns, self.answer_bytes);
        let mut rows = stream(&session, &plan).await?;
        while let Some(batch) = rows.next().await {
            answer.take(&batch.map_err(failed)?)?;
        }
        let columns = self.statement.columns().iter().map(|column| column.name.clone()).collect();
        Ok(Rows { columns, rows: answer.rows })
    }
}

async fn stream(
    session: &SessionState,
    plan: &LogicalPlan,
) -> Result<datafusion::execution::SendableRecordBatchStream, Failure> {
    let plan = session.optimize(plan).map_err(failed)?;
    let plan = session.query_planner().create_physical_plan(&plan, session).await.map_err(failed)?;
    let plan = interruptible(plan).map_err(failed)?;
    execute_stream(plan, Arc::new(TaskContext::from(session))).map_err(failed)
}

/// A plan whose steps give way to others, and so can be ended: those that make many rows of few do not on their own. What they
/// make and keep is counted.
fn interruptible(plan: Arc<dyn ExecutionPlan>) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
    let wrap = |step: Arc<dyn ExecutionPlan>| {
        // They have all of a partition in memory, if there is one at all.
        let keeps = matches!(step.name(), "WindowAggExec" | "BoundedWindowAggExec");
        let step = if keeps {
            let inputs = step.children().into_iter().map(|input| Metered::kept(Arc::clone(input))).collect();
            replace_children_if_necessary(step, inputs)?
        } else {
            step
        };
        let is_cooperative = step.name() == "CooperativeExec";
        Ok(Transformed::yes(Metered::step(if is_cooperative { step } else { cooperative(step) })))
    };
    plan.transform_up(wrap).map(|transformed| transformed.data)
}

fn cooperative(step: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(CooperativeExec::new(step))
}

/// What a subquery that stands for a value or a set comes to.
async fn value_of(
    session: &SessionState,
    planner: &Planner<'_>,
    query: &Query,
    wanted: Wanted,
) -> Result<Value, Failure> {
    let plan = planner.query(query).and_then(|planned| planned.plan.build()).map_err(failed)?;
    let held = plan.schema().field(0).data_type().clone();
    let mut rows = stream(session, &plan).await?;
    let (mut values, mut count, mut bytes) = (Vec::new(), 0, 0);
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(failed)?;
        count += batch.num_rows();
        bytes += batch.get_array_memory_size();
        if count > MOST_VALUES || bytes > MOST_VALUE_BYTES {
            return Err(Failure::Memory);
        }
        values.push(Arc::clone(batch.column(0)));
    }
    match wanted {
        Wanted::Set => Ok(Value::Set(Among::of(&values, &held).map_err(failed)?)),
        Wanted::Value if count > 1 => {
            Err(Failure::Statement("a subquery that stands for one value has several rows".to_owned()))
        }
        Wanted::Value => {
            let first = values.iter().find(|values| !values.is_empty());
            let value = first
                .map_or_else(|| ScalarValue::try_from(&held), |values| ScalarValue::try_from_array(values, 0));
            Ok(Value::Value(value.map_err(failed)?))
        }
    }
}

fn session(environment: Arc<RuntimeEnv>, partitions: usize) -> SessionState {
    let mut config = SessionConfig::new().with_target_partitions(partitions).with_information_schema(false);
    config.options_mut().execution.parquet.pushdown_filters = true;
    config.options_mut().execution.parquet.reorder_filters = true;
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(environment)
        .with_query_planner(Arc::new(WithFill))
        .build()
}

/// DataFusion's planner, which knows `WITH FILL` besides.
#[derive(Debug)]
struct WithFill;

#[async_trait::async_trait]
impl QueryPlanner for WithFill {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(FillPlanner)]);
        planner.create_physical_plan(plan, session).await
    }
}

fn unavailable(error: DataFusionError) -> Failure {
    Failure::Unavailable(Box::new(error))
}

/// What a caller may know of an error.
fn failed(error: DataFusionError) -> Failure {
    let told = match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => return Failure::Memory,
        DataFusionError::NotImplemented(what) => format!("this is not supported: {what}"),
        DataFusionError::Execution(what) => what.clone(),
        DataFusionError::ArrowError(error, _) => match &**error {
            ArrowError::DivideByZero => "a division by zero".to_owned(),
            ArrowError::ComputeError(what) => what.clone(),
            _ => return Failure::Unavailable(error.to_string().into()),
        },
        _ => return Failure::Unavailable(Box::new(error)),
    };
    Failure::Statement(told)
}
