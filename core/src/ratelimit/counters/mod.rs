//! Counters: where the admitted cost of every limit is kept.

mod fingerprint;
pub mod memory;
mod shard;
