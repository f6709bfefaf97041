//! The guard: from a text to a [`Checked`] tree, or to what is wrong with it.
//!
//! Checks are made in a fixed order and the first that fails is reported: size and syntax ([`text`]), what stands anywhere
//! in the statement ([`survey`]), lower bounds of time ([`retention`]), and last names and types, while the tree is built
//! ([`query`] and what it uses). Whatever the tree cannot say is refused by its name.

mod aggregates;
mod calls;
mod comparing;
mod constants;
mod converting;
mod expression;
mod grouping;
mod intervals;
mod limits;
mod literals;
mod names;
mod operators;
mod ordering;
mod parts;
mod query;
mod retention;
mod scope;
mod select;
mod sources;
mod survey;
mod text;
mod times;

pub(crate) use survey::MOST_COLUMNS;
pub(crate) use text::MOST_BYTES;

use super::tables::{Table, Tables};
use super::tree::{Checked, RowFilter};
use crate::calendar::{DAY_MS, Day, UnixMs};
use crate::error::{Code, Error};

/// Who asks, and what they may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The tables that there are.
    pub operation: Tables,
    /// The only workspace whose rows are seen.
    pub workspace_id: String,
    /// Where given, only these key spaces or namespaces are seen; with an empty list, nothing.
    pub narrowed: Option<Vec<String>>,
    /// For how many days the workspace keeps events; 0 for ever.
    pub retention_days: i64,
    /// What `now()` is.
    pub now: UnixMs,
    /// How many rows an answer has at most.
    pub most_rows: u64,
    /// Whether this server made the statement for a report of its own, which reads [`Table::inner`] as well.
    pub reports: bool,
}

impl Asked {
    /// The table of this name, if it may be read.
    fn table(&self, name: &str) -> Option<&'static Table> {
        let inner = || Table::inner(self.operation).iter().find(|table| table.name == name);
        self.reports.then(inner).flatten().or_else(|| Table::named(self.operation, name))
    }

    /// The first moment of the first day that is kept.
    fn earliest(&self) -> Option<UnixMs> {
        (self.retention_days > 0).then(|| {
            let ms = self.now.minus(self.retention_days.saturating_mul(DAY_MS));
            UnixMs::new(Day::of(ms).number().saturating_mul(DAY_MS))
        })
    }

    fn row_filter(&self) -> RowFilter {
        RowFilter {
            workspace_id: self.workspace_id.clone(),
            narrowed: self.narrowed.clone(),
            earliest: self.earliest(),
        }
    }
}

/// How large the stack is on which statements are checked. The parser goes 50 levels deep, and takes 5 MB for it where the
/// compiler optimises nothing: more than there is left on the stack of whoever asks.
const STACK_BYTES: usize = 16 << 20;

/// Checks a statement, on a thread that ends with it.
///
/// # Errors
/// `400` with what is wrong and what to write instead: [`Code::InvalidAnalyticsQuery`], [`Code::InvalidAnalyticsQueryType`],
/// [`Code::InvalidAnalyticsTable`], [`Code::InvalidAnalyticsFunction`] or [`Code::QueryRangeExceedsRetention`].
pub fn check(text: &str, asked: &Asked) -> Result<Checked, Error> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("analytics query".to_owned()).stack_size(STACK_BYTES);
        let checking = thread.spawn_scoped(scope, || checked(text, asked)).map_err(Error::unexpected)?;
        checking.join().map_err(|_| Error::unexpected("the check of an analytics query panicked"))?
    })
}

fn checked(text: &str, asked: &Asked) -> Result<Checked, Error> {
    // A report is as long as the names in it, and asks for what there is.
    if !asked.reports {
        text::bound(text)?;
    }
    let statement = text::read(text)?;
    survey::check(&statement, asked)?;
    if !asked.reports {
        retention::check(&statement, asked)?;
    }
    query::build(&statement, asked)
}

/// The refusal of a query, with what is wrong and what to do.
fn refused(detail: impl Into<String>) -> Error {
    Error::new(Code::InvalidAnalyticsQuery, detail)
}

/// The refusal of something that has a name and is not offered.
fn not_offered(what: &str) -> Error {
    refused(format!("{what} is not offered here. Leave it out, or say it in another way."))
}

/// Refuses the first of these that is there.
fn refuse_any(unknown: &[(bool, &str)]) -> Result<(), Error> {
    match unknown.iter().find(|(is_there, _)| *is_there) {
        Some((_, what)) => Err(not_offered(what)),
        None => Ok(()),
    }
}

/// A piece of the caller's query as an error shows it.
fn excerpt(piece: &impl std::fmt::Display) -> String {
    const LONGEST: usize = 80;
    let text = piece.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

/// Of these names, the one that is most like what was written.
fn nearest<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let lower = written.to_lowercase();
    let scored = names.map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), name));
    let best = scored.max_by(|left, right| left.0.total_cmp(&right.0))?;
    (best.0 > 0.8).then_some(best.1)
}
