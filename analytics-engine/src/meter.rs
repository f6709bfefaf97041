//! How much functions make of one batch of rows.
//!
//! What steps of a plan remember is charged to the query's memory; what expressions make of a batch is not, and a few lines can
//! make gigabytes of it: long constants, texts put together, arrays, in many columns. So each thread counts what kernels
//! have made since its step was given the batch that it works on, and a query that makes too much of one is ended. A step
//! whose input is kept as long as it runs, which DataFusion charges to nobody, has it charged here.

use std::cell::Cell;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::{Result, resources_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures_util::StreamExt as _;

use crate::step::{Step, Work};

/// Bytes that kernels may make of a batch.
pub(crate) const MOST: usize = 64 << 20;
/// What is smaller is not counted: a step may go on for long with one batch, and forget what it makes of parts of it.
pub(crate) const SMALL: usize = 1 << 20;

thread_local! {
    /// Bytes that were made of the current batch of the current step.
    static MADE: Cell<usize> = const { Cell::new(0) };
}

/// Counts what is about to be made.
///
/// # Errors
/// When it is too much of one batch.
pub(crate) fn count(bytes: usize) -> Result<()> {
    if bytes < SMALL {
        return Ok(());
    }
    let made = MADE.get().saturating_add(bytes);
    if made > MOST {
        return resources_err!("texts and arrays that grow beyond all bounds");
    }
    MADE.set(made);
    Ok(())
}

/// Bytes of what is in an array, as if it shared nothing with others.
pub(crate) fn bytes(array: &ArrayRef) -> usize {
    const VIEW: usize = size_of::<u128>();
    match array.data_type() {
        DataType::Utf8View => {
            let texts = array.as_string_view();
            VIEW * texts.len()
                + texts.lengths().filter(|length| *length > 12).map(|length| length as usize).sum::<usize>()
        }
        DataType::BinaryView => {
            let values = array.as_binary_view();
            VIEW * values.len()
                + values.lengths().filter(|length| *length > 12).map(|length| length as usize).sum::<usize>()
        }
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            let offsets = lists.value_offsets();
            let (first, last) = (offsets[0], offsets[lists.len()]);
            let place = |offset: i32| usize::try_from(offset).unwrap_or(0);
            size_of_val(offsets) + bytes(&lists.values().slice(place(first), place(last - first)))
        }
        DataType::Struct(_) => array.as_struct().columns().iter().map(bytes).sum(),
        other => other.primitive_width().unwrap_or(1) * array.len(),
    }
}

/// A step around whose work others count anew.
#[derive(Debug)]
pub(crate) struct Metered {
    /// Whether what it gives is charged to the query until it ends.
    is_kept: bool,
}

impl Metered {
    /// This step, and whoever reads from it, count what they make of each batch.
    pub(crate) fn step(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Step::around(input, Metered { is_kept: false })
    }

    /// The same, for somebody who keeps what this step gives.
    pub(crate) fn kept(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Step::around(input, Metered { is_kept: true })
    }
}

impl Work for Metered {
    const NAME: &'static str = "Metered";

    fn rows(
        &self,
        mut rows: SendableRecordBatchStream,
        context: &TaskContext,
    ) -> Result<SendableRecordBatchStream> {
        let kept = self.is_kept.then(|| MemoryConsumer::new("kept").register(context.memory_pool()));
        let schema = rows.schema();
        let metered = futures_util::stream::poll_fn(move |waker| {
            MADE.set(0);
            let polled = rows.poll_next_unpin(waker);
            MADE.set(0);
            polled.map(|batch| {
                let charge = |batch: &RecordBatch| match &kept {
                    Some(kept) => kept.try_grow(batch.columns().iter().map(bytes).sum()),
                    None => Ok(()),
                };
                batch.map(|batch| batch.and_then(|batch| charge(&batch).map(|()| batch)))
            })
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, metered)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};
    use datafusion::catalog::memory::{DataSourceExec, MemorySourceConfig};
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;

    use super::*;

    #[test]
    fn what_is_small_is_not_counted_and_too_much_is_refused() {
        MADE.set(0);
        assert!((0..1000).all(|_| count(SMALL - 1).is_ok()));
        assert!(count(MOST).is_ok() && count(SMALL).is_err());
        MADE.set(0);
        assert!(count(MOST + 1).is_err() && count(SMALL).is_ok());
    }

    #[tokio::test]
    async fn what_is_kept_is_charged_until_it_is_let_go() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1; 1000]));
        let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        let rows = MemorySourceConfig::try_new(&[vec![batch.clone(); 3]], batch.schema(), None).unwrap();
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(20_000));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool)).build_arc().unwrap();
        let context = Arc::new(TaskContext::default().with_runtime(runtime));
        let mut kept = Metered::kept(DataSourceExec::from_data_source(rows)).execute(0, context).unwrap();
        assert!(kept.next().await.unwrap().is_ok() && kept.next().await.unwrap().is_ok());
        assert_eq!(pool.reserved(), 16_000);
        assert!(kept.next().await.unwrap().is_err());
        drop(kept);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn bytes_are_those_of_the_values() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![Some("short"), None, Some("a longer text")]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        assert_eq!([bytes(&texts), bytes(&texts.slice(0, 1)), bytes(&numbers)], [48 + 13, 16, 24]);
    }
}
