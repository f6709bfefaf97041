//! The rows of the public tables, from a snapshot of what is stored.
//!
//! The rows that a caller may see are chosen right where they are read, behind a [`Fence`], and files that cannot have such
//! rows are not even opened. Tables per minute and hour are computed from raw rows; those per day and month are what is stored
//! of them, and raw rows that are not counted there yet.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::memory::DataSourceExec;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, ScalarValue, project_schema};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::expr_fn::{max, sum};
use datafusion::logical_expr::{
    BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator, TableProviderFilterPushDown, TableType, cast,
    col, lit, when,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::union::UnionExec;
use keyrack_core::analytics::sql::functions::{Function, Period};
use keyrack_core::analytics::sql::tables::{Grain, Of, Role, Table, Tables as Whose};
use keyrack_core::analytics::sql::tree::{Read, RowFilter};
use keyrack_core::analytics::sql::types::Type;
use keyrack_core::calendar::UnixMs;

use crate::fence::Fence;
use crate::kernels::{Kernel, Work};
use crate::plan::{Bounds, Rows, Tables};
use crate::storage::{Snapshot, Stored, StoredFile};
use crate::{saturating, states};

/// A day in ms.
const DAY_MS: i64 = 86_400_000;
/// What is summed of latencies, beside the columns that everybody sees.
const LATENCY_SUM: &str = "latency_sum";
const LATENCY_DIGEST: &str = "latency_digest";

/// The tables of a snapshot.
#[derive(Debug)]
pub(crate) struct SnapshotTables {
    snapshot: Arc<Snapshot>,
}

impl SnapshotTables {
    /// Those of this snapshot, which has to be held while plans of them run.
    pub(crate) fn of(snapshot: Arc<Snapshot>) -> Self {
        SnapshotTables { snapshot }
    }
}

impl Tables for SnapshotTables {
    fn read(&self, read: &Read, rows: Rows, bounds: Bounds) -> Result<LogicalPlan> {
        let (table, filter) = (read.table(), read.filter());
        let reading = Reading { snapshot: &self.snapshot, table, filter, bounds };
        let plan = match table.grain {
            Grain::Raw => reading.raw(self.snapshot.files(reading.events()).to_vec())?,
            Grain::Minute | Grain::Hour | Grain::Day | Grain::Month => reading.summed(rows)?,
        };
        let columns = table.columns.iter().map(|column| shown(column.name, table.of));
        plan.project(columns.collect::<Result<Vec<_>>>()?)?.build()
    }
}

/// What is stored of a table: its sums, or the events that it is counted from.
pub(crate) fn stored(table: &Table) -> Stored {
    sums(table).unwrap_or_else(|| events(table))
}

/// The events that a table is about.
fn events(table: &Table) -> Stored {
    match (table.of, table.tables) {
        (Of::Gaps, _) => Stored::Gaps,
        (Of::Events | Of::Scopes, Whose::Verifications) => Stored::Verifications,
        (Of::Events | Of::Scopes, Whose::Ratelimits) => Stored::Ratelimits,
    }
}

/// The stored sums that have a table's rows, if there are any.
fn sums(table: &Table) -> Option<Stored> {
    match (table.tables, table.of, table.grain) {
        (Whose::Verifications, Of::Scopes, _) => Some(Stored::VerificationsPerHour),
        (Whose::Ratelimits, Of::Scopes, _) => Some(Stored::RatelimitsPerHour),
        (Whose::Verifications, _, Grain::Day) => Some(Stored::VerificationsPerDay),
        (Whose::Verifications, _, Grain::Month) => Some(Stored::VerificationsPerMonth),
        (Whose::Ratelimits, _, Grain::Day) => Some(Stored::RatelimitsPerDay),
        (Whose::Ratelimits, _, Grain::Month) => Some(Stored::RatelimitsPerMonth),
        _ => None,
    }
}

/// One read of a table.
struct Reading<'a> {
    snapshot: &'a Snapshot,
    table: &'static Table,
    filter: &'a RowFilter,
    bounds: Bounds,
}

impl Reading<'_> {
    /// The table of the events that it is about.
    fn events(&self) -> Stored {
        events(self.table)
    }

    /// Events of these files and those of the tail.
    fn raw(&self, files: Vec<Arc<StoredFile>>) -> Result<LogicalPlanBuilder> {
        self.scan(self.events(), files, self.snapshot.tail(self.events()).to_vec())
    }

    fn scan(
        &self,
        stored: Stored,
        files: Vec<Arc<StoredFile>>,
        tail: Vec<arrow::array::RecordBatch>,
    ) -> Result<LogicalPlanBuilder> {
        let Bounds { to, from } = self.bounds;
        let from = from.max(self.filter.earliest.map(UnixMs::get));
        // A row of a day or month is at its beginning, and so may be before the bound that is within it.
        let length = stored.length_ms();
        let is_seen = |file: &Arc<StoredFile>| {
            self.owners().any(|owner| file.may_have(owner))
                && from.is_none_or(|from| file.last_time().get().saturating_add(length) >= from)
                && to.is_none_or(|to| file.first_time().get() <= to)
        };
        let files = files.into_iter().filter(is_seen).collect();
        let is_date = stored.schema().field_with_name("time")?.data_type() == &DataType::Date32;
        let bound = |ms: i64| {
            let days = i32::try_from(ms.div_euclid(DAY_MS)).unwrap_or(if ms < 0 { i32::MIN } else { i32::MAX });
            let bound = if is_date { ScalarValue::Date32(Some(days)) } else { ScalarValue::Int64(Some(ms)) };
            Expr::Literal(bound, None)
        };
        let owner = self.owners().map(|owner| col("workspace_id").eq(text(owner)));
        let mut seen: Vec<Expr> = owner.reduce(Expr::or).into_iter().collect();
        if let Some((narrowed, by)) = self.filter.narrowed.as_ref().zip(self.table.narrowed_by()) {
            let of_these = narrowed.iter().map(|id| text(id)).collect();
            seen.push(col(by).in_list(of_these, false));
        }
        seen.extend(self.filter.earliest.map(|earliest| col("time").gt_eq(bound(earliest.get()))));
        seen.extend(from.map(|from| col("time").gt_eq(bound(from.saturating_sub(length)))));
        seen.extend(to.map(|to| col("time").lt_eq(bound(to))));
        let seen = seen.into_iter().reduce(Expr::and).unwrap_or_else(|| lit(false));
        let scan = Scan { schema: Arc::clone(stored.schema()), files, tail, seen };
        LogicalPlanBuilder::scan(stored.name(), provider_as_source(Arc::new(scan)), None)
    }

    /// Whose rows are seen: the workspace's, and gaps that may be anybody's.
    fn owners(&self) -> impl Iterator<Item = &str> {
        let anybody = (self.table.of == Of::Gaps).then_some("");
        std::iter::once(self.filter.workspace_id.as_str()).chain(anybody)
    }

    /// Rows per minute, hour, day or month.
    fn summed(&self, rows: Rows) -> Result<LogicalPlanBuilder> {
        let mut parts = match sums(self.table) {
            None => self.parts_of_raw(self.snapshot.files(self.events()).to_vec())?,
            Some(stored) => {
                let uncounted = self.snapshot.uncounted(stored);
                let raw = self.parts_of_raw(uncounted.raw.into_iter().cloned().collect())?;
                let days = uncounted.days.into_iter().cloned().collect::<Vec<_>>();
                let mut parts =
                    raw.union(self.parts_of_sums(stored, self.snapshot.files(stored).to_vec())?.build()?)?;
                if !days.is_empty() {
                    parts = parts.union(self.parts_of_sums(per_day(stored), days)?.build()?)?;
                }
                parts
            }
        };
        // A month that began before what is kept is not shown, though days of it are kept.
        if let Some(earliest) = self.filter.earliest {
            let unit = if matches!(self.table.grain, Grain::Day | Grain::Month) { DAY_MS } else { 1000 };
            parts = parts.filter(col("time").gt_eq(lit(earliest.get().div_euclid(unit))))?;
        }
        if rows == Rows::Whole {
            parts = self.whole(parts)?;
        }
        let count = self.count();
        let average = Kernel::call(
            Work::AverageState,
            vec![(col(LATENCY_SUM), Type::Float64), (col(count), Type::Int64)],
            Type::State(keyrack_core::analytics::sql::types::State::Average),
        );
        let columns = self.table.columns.iter().map(|column| match column.name {
            "latency_avg" => average.clone().alias("latency_avg"),
            "latency_p75" | "latency_p99" => col(LATENCY_DIGEST).alias(column.name),
            name => col(name),
        });
        parts.project(columns)
    }

    /// The column that counts events.
    fn count(&self) -> &'static str {
        match self.table.tables {
            Whose::Verifications => "count",
            Whose::Ratelimits => "total",
        }
    }

    /// Its columns by which rows are told apart, `time` aside.
    fn dimensions(&self) -> impl Iterator<Item = &'static str> {
        self.columns(Role::Apart).filter(|name| *name != "time")
    }

    /// Its columns of this role.
    fn columns(&self, role: Role) -> impl Iterator<Item = &'static str> {
        let columns = self.table.columns.iter().filter(move |column| column.role == role);
        columns.map(|column| column.name)
    }

    /// Each event as a part of a row.
    fn parts_of_raw(&self, files: Vec<Arc<StoredFile>>) -> Result<LogicalPlanBuilder> {
        let one_if = |passed: Expr, value: Expr| when(passed, value).otherwise(lit(0_i64));
        let mut columns = vec![self.time(col("time"), &Type::DateTime64).alias("time")];
        columns.extend(self.dimensions().map(col));
        for name in self.columns(Role::Sum) {
            let tokens = || cast(col("tokens"), DataType::Int64);
            columns.push(match name {
                "count" | "total" => lit(1_i64).alias(name),
                "passed" => one_if(col("passed"), lit(1_i64))?.alias(name),
                "total_tokens" => tokens().alias(name),
                "passed_tokens" => one_if(col("passed"), tokens())?.alias(name),
                name => col(name),
            });
        }
        columns.extend(self.columns(Role::Latest).map(|name| col("time").alias(name)));
        columns.push(col("latency").alias(LATENCY_SUM));
        let state = Type::State(keyrack_core::analytics::sql::types::State::Quantile75);
        columns.push(
            Kernel::call(Work::DigestOf, vec![(col("latency"), Type::Float64)], state).alias(LATENCY_DIGEST),
        );
        self.raw(files)?.project(columns)
    }

    /// Stored sums, as parts of rows.
    fn parts_of_sums(&self, stored: Stored, files: Vec<Arc<StoredFile>>) -> Result<LogicalPlanBuilder> {
        let time = match self.table.of {
            Of::Scopes => self.time(col("time"), &Type::DateTime64),
            Of::Events | Of::Gaps => {
                self.time(cast(cast(col("time"), DataType::Int32), DataType::Int64), &Type::Date)
            }
        };
        let mut columns = vec![time.alias("time")];
        columns.extend(self.dimensions().map(col));
        for name in self.columns(Role::Sum) {
            columns.push(if stored == Stored::RatelimitsPerHour { of_outcomes(name)? } else { col(name) });
        }
        columns.extend(self.columns(Role::Latest).map(col));
        columns.extend([col(LATENCY_SUM), col(LATENCY_DIGEST)]);
        self.scan(stored, files, Vec::new())?.project(columns)
    }

    /// The beginning of the minute, hour, day or month of a time of this type.
    fn time(&self, time: Expr, of: &Type) -> Expr {
        let (period, made) = match self.table.grain {
            Grain::Raw | Grain::Minute => (Period::Minute, Type::DateTime),
            Grain::Hour => (Period::Hour, Type::DateTime),
            Grain::Day => (Period::Day, Type::Date),
            Grain::Month => (Period::Month, Type::Date),
        };
        Kernel::call(Work::Function(Function::StartOf(period)), vec![(time, of.clone())], made)
    }

    /// One row of each combination.
    fn whole(&self, parts: LogicalPlanBuilder) -> Result<LogicalPlanBuilder> {
        let keys = std::iter::once("time").chain(self.dimensions()).map(col);
        let counts = self.columns(Role::Sum).map(|name| saturating::sum().call(vec![col(name)]).alias(name));
        let sums = counts.chain([sum(col(LATENCY_SUM)).alias(LATENCY_SUM)]);
        let sums = sums.chain(self.columns(Role::Latest).map(|name| max(col(name)).alias(name)));
        let digest = states::digest_union().call(vec![col(LATENCY_DIGEST)]).alias(LATENCY_DIGEST);
        parts.aggregate(keys, sums.chain([digest]))
    }
}

/// A column as the table has it: of gaps nobody may know how many events are missing, or whose they were.
fn shown(name: &'static str, of: Of) -> Result<Expr> {
    Ok(match (of, name) {
        (Of::Gaps, "events") => when(col(name).is_null().or(col("workspace_id").eq(text(""))), lit(0_u64))
            .otherwise(col(name))?
            .alias(name),
        _ => col(name),
    })
}

/// A sum of decisions on limits, of rows that have them by outcome.
fn of_outcomes(name: &'static str) -> Result<Expr> {
    let passed = |sum: &str| when(col("outcome").eq(text("PASSED")), col(sum)).otherwise(lit(0_i64));
    Ok(match name {
        "passed" => passed("count")?.alias(name),
        "passed_tokens" => passed("total_tokens")?.alias(name),
        "total" => col("count").alias(name),
        name => col(name),
    })
}

/// The table per day that one per month is made of.
fn per_day(stored: Stored) -> Stored {
    match stored {
        Stored::RatelimitsPerMonth => Stored::RatelimitsPerDay,
        _ => Stored::VerificationsPerDay,
    }
}

fn text(value: &str) -> Expr {
    Expr::Literal(ScalarValue::Utf8View(Some(value.to_owned())), None)
}

/// Files and batches of one table, and which of their rows may be seen.
#[derive(Debug)]
struct Scan {
    schema: SchemaRef,
    files: Vec<Arc<StoredFile>>,
    tail: Vec<arrow::array::RecordBatch>,
    /// Of columns and constants, so that it cannot fail.
    seen: Expr,
}

#[async_trait]
impl TableProvider for Scan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Those that cannot fail choose what is read of a file; rows are looked at again above. Others stay behind the fence.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let supports = |filter: &&Expr| match cannot_fail(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(supports).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.files.is_empty() && self.tail.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        }
        let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
        let wanted = filters.iter().filter(|filter| cannot_fail(filter)).cloned();
        let seen = wanted.fold(self.seen.clone(), Expr::and);
        // What is answered, and what it is chosen by.
        let mut columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let answered = columns.len();
        for column in seen.column_refs() {
            let index = self.schema.index_of(&column.name)?;
            if !columns.contains(&index) {
                columns.push(index);
            }
        }
        let rows = self.rows(session, &columns, session.create_physical_expr(seen.clone(), &schema)?)?;
        let read = DFSchema::try_from(rows.schema())?;
        let chosen = FilterExecBuilder::new(session.create_physical_expr(seen, &read)?, rows);
        let chosen = chosen.apply_projection(Some((0..answered).collect()))?.build()?;
        Ok(Fence::around(Arc::new(chosen)))
    }
}

/// Whether a condition is of columns and constants alone, compared.
fn cannot_fail(filter: &Expr) -> bool {
    let is_plain = |one: &Expr| matches!(one, Expr::Column(_) | Expr::Literal(..));
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            cannot_fail(left) && cannot_fail(right)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            op.supports_propagation() && is_plain(left) && is_plain(right)
        }
        Expr::InList(list) => is_plain(&list.expr) && list.list.iter().all(is_plain),
        _ => false,
    }
}

impl Scan {
    /// These columns of the rows that are stored; files are read as far as they may have such as `seen` chooses.
    fn rows(
        &self,
        session: &dyn Session,
        columns: &[usize],
        seen: Arc<dyn PhysicalExpr>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (here, environment) = (ObjectStoreUrl::local_filesystem(), session.runtime_env());
        let known = environment.cache_manager.get_file_metadata_cache();
        let reading = CachedParquetFileReaderFactory::new(environment.object_store(&here)?, known);
        let source = ParquetSource::new(Arc::clone(&self.schema)).with_predicate(seen);
        let source = source.with_parquet_file_reader_factory(Arc::new(reading));
        let source = Arc::new(source.with_pushdown_filters(true).with_reorder_filters(true));
        let files = FileScanConfigBuilder::new(here, source)
            .with_file_groups(self.groups(session.config().target_partitions()))
            .with_projection_indices(Some(columns.to_vec()))?
            .build();
        let files: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(files);
        if self.tail.is_empty() {
            return Ok(files);
        }
        let tail = MemorySourceConfig::try_new(
            std::slice::from_ref(&self.tail),
            Arc::clone(&self.schema),
            Some(columns.to_vec()),
        )?;
        let tail = DataSourceExec::from_data_source(tail);
        if self.files.is_empty() { Ok(tail) } else { UnionExec::try_new(vec![files, tail]) }
    }

    /// Its files in so many groups of about one size.
    fn groups(&self, most: usize) -> Vec<FileGroup> {
        let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); most.max(1)];
        for file in &self.files {
            let path = file.path().to_string_lossy().into_owned();
            if let Some((bytes, files)) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
                files.push(PartitionedFile::new(path, file.bytes()));
                *bytes += file.bytes();
            }
        }
        groups.into_iter().map(|(_, files)| FileGroup::new(files)).filter(|group| !group.is_empty()).collect()
    }
}
