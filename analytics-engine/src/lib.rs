//! Analytics in the program itself: events of Keyrack in Parquet files, and DataFusion over them.
//!
//! [`storage`] keeps the events; `plan` makes plans of checked statements, `kernels` and `states` are the functions of the
//! dialect, `tables` gives the rows of the public tables, and `query` runs a plan within its limits.
//! [`Apart`] is what a data folder has at one moment, for exports beside a server; it and backups have a [`Place`] for that.

mod answers;
mod apart;
mod background;
#[cfg(test)]
mod depth;
mod fence;
mod filling;
#[cfg(test)]
mod fixture;
mod following;
#[cfg(test)]
mod gaps;
#[cfg(test)]
mod hostile;
mod kernels;
#[cfg(test)]
mod memory;
mod meter;
#[cfg(test)]
mod oracle;
mod place;
mod plan;
mod quantiles;
mod query;
mod saturating;
mod states;
mod step;
pub mod storage;
mod tables;
#[cfg(test)]
mod truth;
mod unique;
mod values;

pub use apart::{Apart, Export};
pub use following::Around;
pub use place::Place;
pub use query::Embedded;
