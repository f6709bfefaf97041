//! The SQL of analytics: ClickHouse's `SELECT` over the public tables, checked before anything runs it.
//!
//! A text becomes a [`tree::Checked`]: resolved, typed, within bounds, and with the rows that the caller may see written
//! into every read of a table. Whoever runs a query is given that tree and never the text. Nothing here knows a
//! store or an engine, or what time it is but from who asks.

mod check;
pub mod clickhouse;
pub mod functions;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod soundness;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod types;
mod walk;

pub use check::{Asked, check};
pub(crate) use check::{MOST_BYTES, MOST_COLUMNS};
