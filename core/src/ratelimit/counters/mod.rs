//! Counters: where the admitted cost of every limit is kept.

mod check;
#[cfg(test)]
mod exactness;
mod fingerprint;
pub mod memory;
pub mod saved;
mod shard;
