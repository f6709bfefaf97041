//! The tail: events that are in no file yet, in memory and in every snapshot.

use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use keyrack_core::analytics::event::{GapRecord, RatelimitRecord, Record, RefusalRecord, VerificationRecord};

use super::columns::Columns;
use super::manifest::Positions;
use super::schema::Stored;

const TABLES: usize = Stored::RAW.len();
/// Rows after which a batch is made of them.
const MOST_ROWS: usize = 1 << 16;
/// Rows below which a batch becomes one with the next.
const FEW_ROWS: usize = 1 << 12;

/// Batches per raw table.
pub(super) type Batches = [Vec<RecordBatch>; TABLES];

/// Events that are in no file yet.
#[derive(Debug)]
pub(super) struct Tail {
    columns: [Columns; TABLES],
    /// How many rows of `columns` count; what is beyond was added by somebody who has not said how far the log was read.
    confirmed: [usize; TABLES],
    batches: Batches,
    /// What is being written into files.
    leaving: Batches,
    /// Bytes of memory of `batches` and `leaving`.
    bytes: [usize; 2],
    /// How far the log was read.
    pub(super) positions: Positions,
    /// When the first row came that is not leaving.
    began: Option<Instant>,
}

impl Tail {
    /// An empty one: the files have everything up to these positions.
    pub(super) fn after(positions: Positions) -> Self {
        Tail {
            columns: Stored::RAW.map(Columns::of),
            confirmed: [0; TABLES],
            batches: Batches::default(),
            leaving: Batches::default(),
            bytes: [0; 2],
            positions,
            began: None,
        }
    }

    /// Adds an event.
    pub(super) fn add(&mut self, record: &Record<'_>) {
        match record {
            Record::Verification(record) => add_verification(&mut self.columns[0], record),
            Record::Ratelimit(record) => add_ratelimit(&mut self.columns[1], record),
            Record::Refusal(record) => add_refusal(&mut self.columns[2], record),
            Record::Gap(record) => add_gap(&mut self.columns[3], record),
        }
    }

    /// Lets count what was added: the log was read up to these positions.
    pub(super) fn confirm(&mut self, positions: Positions) -> Result<(), ArrowError> {
        self.positions = positions;
        self.confirmed = std::array::from_fn(|table| self.columns[table].rows());
        if self.confirmed.iter().any(|rows| *rows > 0) {
            self.began.get_or_insert_with(Instant::now);
        }
        if self.confirmed.iter().any(|rows| *rows >= MOST_ROWS) {
            self.freeze()?;
        }
        Ok(())
    }

    /// Makes batches of what counts, and forgets what does not.
    pub(super) fn freeze(&mut self) -> Result<(), ArrowError> {
        for (table, columns) in self.columns.iter_mut().enumerate() {
            if columns.rows() == 0 {
                continue;
            }
            let batch = columns.finish()?;
            let confirmed = std::mem::take(&mut self.confirmed[table]);
            let batch = if confirmed < batch.num_rows() { batch.slice(0, confirmed) } else { batch };
            push(&mut self.batches[table], batch)?;
        }
        self.bytes[0] = memory(&self.batches);
        Ok(())
    }

    /// Forgets what does not count.
    pub(super) fn roll_back(&mut self) {
        let is_confirmed = |(columns, confirmed): (&Columns, &usize)| columns.rows() == *confirmed;
        if !self.columns.iter().zip(&self.confirmed).all(is_confirmed)
            && let Err(error) = self.freeze()
        {
            tracing::error!(%error, "events do not fit together and are lost");
        }
    }

    /// Everything in batches, to be shown. What counts has to be frozen.
    pub(super) fn shown(&self) -> Batches {
        std::array::from_fn(|table| self.leaving[table].iter().chain(&self.batches[table]).cloned().collect())
    }

    /// Rows that count.
    pub(super) fn rows(&self) -> usize {
        let rows = |batches: &Batches| batches.iter().flatten().map(RecordBatch::num_rows).sum::<usize>();
        rows(&self.leaving) + rows(&self.batches) + self.confirmed.iter().sum::<usize>()
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        self.bytes.iter().sum::<usize>() + self.columns.iter().map(Columns::memory).sum::<usize>()
    }

    /// When the oldest of its rows came.
    pub(super) fn began(&self) -> Option<Instant> {
        self.began
    }

    /// Gives what counts to be written. It is shown until it [is written](Tail::written) or [stays](Tail::stay).
    pub(super) fn leave(&mut self) -> Result<(Batches, Positions), ArrowError> {
        self.freeze()?;
        self.leaving = std::mem::take(&mut self.batches);
        self.bytes = [0, self.bytes[0]];
        self.began = None;
        Ok((self.leaving.clone(), self.positions.clone()))
    }

    /// What was to leave is in files.
    pub(super) fn written(&mut self) {
        self.leaving = Batches::default();
        self.bytes[1] = 0;
    }

    /// What was to leave could not be written.
    pub(super) fn stay(&mut self) {
        for (stays, came) in self.leaving.iter_mut().zip(&mut self.batches) {
            stays.append(came);
        }
        self.batches = std::mem::take(&mut self.leaving);
        self.bytes = [self.bytes.iter().sum(), 0];
        self.began.get_or_insert_with(Instant::now);
    }
}

/// Adds a batch. Small ones become one with their neighbour, so that many questions leave few.
fn push(batches: &mut Vec<RecordBatch>, batch: RecordBatch) -> Result<(), ArrowError> {
    if batch.num_rows() == 0 {
        return Ok(());
    }
    let last = batches.pop_if(|last| last.num_rows() < FEW_ROWS);
    let batch = match last {
        Some(last) => concat_batches(&last.schema(), [&last, &batch])?,
        None => batch,
    };
    batches.push(batch);
    Ok(())
}

fn memory(batches: &Batches) -> usize {
    batches.iter().flatten().map(RecordBatch::get_array_memory_size).sum()
}

fn add_verification(columns: &mut Columns, record: &VerificationRecord<'_>) {
    let mut row = columns.row();
    row.text(record.request_id).integer(record.time.get()).text(record.workspace_id).text(record.key_space_id);
    row.text(record.key_id).text(record.identity_id).text(record.external_id);
    row.text(record.region).text(record.source).text(record.app_id).text(record.outcome);
    row.texts(record.tags.iter().copied()).integer(record.spent_credits).float(ms(record.latency_microseconds));
    row.text(record.api_id).texts(record.refused_by.iter().copied()).text(record.root_key_id);
}

fn add_ratelimit(columns: &mut Columns, record: &RatelimitRecord<'_>) {
    let mut row = columns.row();
    row.text(record.request_id).integer(record.time.get()).text(record.workspace_id).text(record.namespace_id);
    row.text(record.identifier)
        .flag(record.passed)
        .float(ms(record.latency_microseconds))
        .text(record.override_id);
    row.unsigned(at_least_zero(record.limit)).unsigned(at_least_zero(record.remaining));
    row.integer(record.reset_at.get())
        .unsigned(at_least_zero(record.tokens))
        .text(record.namespace)
        .text(record.root_key_id);
}

fn add_refusal(columns: &mut Columns, record: &RefusalRecord<'_>) {
    let mut row = columns.row();
    row.text(record.request_id).integer(record.time.get()).text(record.workspace_id).text(record.root_key_id);
    row.text(record.reason).text(record.api_id).text(record.key_id).texts(record.tags.iter().copied());
}

fn add_gap(columns: &mut Columns, record: &GapRecord<'_>) {
    let mut row = columns.row();
    row.integer(record.first_time.get()).integer(record.last_time.get()).text(record.workspace_id);
    row.unsigned(record.events).text(record.reason);
}

#[expect(clippy::cast_precision_loss, reason = "285 years are 2^53 microseconds")]
fn ms(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}

fn at_least_zero(number: i64) -> Option<u64> {
    Some(u64::try_from(number).unwrap_or(0))
}
