//! What is stored of events: Parquet files of one folder, and the events that are in none yet.
//!
//! ```text
//! log ── Appending ──> tail ── flush ──> small files ── compact ──> a few per day, sorted
//!                        │                  │              └──> sums per day and hour ──> per month
//!                        └── Snapshot <─────┴── manifest: which files there are, how far the log was read
//! ```
//!
//! [`Warehouse`] is all of it; [`Snapshot`] is what a query reads. A file is written once and never changed; what it is
//! replaced by is named in the same moment, and it stays for as long as a snapshot has it.

mod blocks;
mod columns;
mod compaction;
mod days;
pub mod digest;
mod export;
mod fault;
mod file;
mod flushing;
mod folder;
mod inspection;
mod looking;
mod manifest;
mod missing;
mod moment;
mod progress;
mod reading;
mod repair;
mod retention;
mod room;
mod schema;
mod settings;
mod snapshot;
mod sums;
mod tail;
mod warehouse;
mod writing;

pub use compaction::Compacted;
pub use days::DayNumber;
pub use export::{Exported, Wanted};
pub use fault::Fault;
pub use file::StoredFile;
pub use inspection::{Inspected, inspect};
pub use manifest::Positions;
pub use moment::link_moment;
pub use progress::{Progress, Watch, to_the_end};
pub use retention::{Removed, Shorter};
pub use room::REMOVED;
pub use schema::{MadeOf, Stored};
pub use settings::{Kept, Retention, Settings};
pub use snapshot::{Damage, Snapshot, Uncounted};
pub use warehouse::{Appending, FOLDER, Warehouse};

#[cfg(test)]
mod tests;
