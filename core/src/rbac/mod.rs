//! Permissions of keys: the query language that a verification may ask with.

pub mod query;
