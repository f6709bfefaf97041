//! Lists: pages, searches, bounds.

mod bounded;
mod paging;
mod search;
