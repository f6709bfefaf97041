//! Where the counts of rate limits live.

pub mod memory;
