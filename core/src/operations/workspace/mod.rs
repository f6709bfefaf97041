//! The workspace of the caller.

mod get_overview;

pub use get_overview::GetOverview;
