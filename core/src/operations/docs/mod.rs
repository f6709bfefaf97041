//! The built-in documentation.

mod search;

pub use search::Search;
