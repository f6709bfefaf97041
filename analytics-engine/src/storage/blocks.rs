//! Blocks: the days whose files become one once they are over and done with.
//!
//! Of events it is a quarter of a month, so that what is too old is not kept for long beside what is not: removal takes
//! old rows out of such a file ([`retention`](super::retention)), for the few days in which it has both. Sums are small
//! and kept for long: theirs is the month, once it is over. No block is of two months, because sums of a day count for
//! one.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyrack_core::calendar::{HOUR_MS, UnixMs};

use super::days::Days;
use super::file::StoredFile;
use super::schema::MadeOf;

/// Files of about one size that become one.
pub(super) const SAME_SIZE: usize = 8;
/// Rows of a file, about, at most. Tests have more than theirs.
pub(super) const MOST_ROWS: u64 = if cfg!(test) { 1 << 13 } else { 1 << 24 };
/// How long after its end a day or month is over: what was decided at midnight is in the files by then.
pub(super) const GRACE_MS: i64 = HOUR_MS;
/// Part of a block's rows that has to be outside of its largest file before all are written once more.
const WORTH: u64 = 8;

/// The files of the first block that should become one.
pub(super) fn next(files: &[Arc<StoredFile>], now: UnixMs) -> Option<Vec<&Arc<StoredFile>>> {
    let mut blocks: BTreeMap<_, Vec<&Arc<StoredFile>>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.rows() < MOST_ROWS / 2) {
        if let Some(block) = block(file, now) {
            blocks.entry((block, file.table(), file.is_counted())).or_default().push(file);
        }
    }
    blocks.into_values().find(|files| is_worth_it(files))
}

/// The block of a file that nothing else is to be done with.
fn block(file: &StoredFile, now: UnixMs) -> Option<Days> {
    let is_over = |days: &Days| days.last.end().plus(GRACE_MS) <= now;
    let quarter = Days::quarter(file.day());
    let widest = match file.table().made_of() {
        MadeOf::Events if file.is_counted() => quarter,
        MadeOf::Raw(_) if file.is_counted() => {
            let month = Days::month(file.day());
            if is_over(&month) { month } else { quarter }
        }
        MadeOf::Raw(_) => quarter,
        MadeOf::Events | MadeOf::Days(_) => return None,
    };
    is_over(&widest).then_some(widest)
}

/// Whether these are better one: a few late events do not have a whole block written again.
fn is_worth_it(files: &[&Arc<StoredFile>]) -> bool {
    let all: u64 = files.iter().map(|file| file.rows()).sum();
    let largest = files.iter().map(|file| file.rows()).max().unwrap_or_default();
    files.len() >= SAME_SIZE || (files.len() > 1 && (all - largest) * WORTH >= largest)
}
