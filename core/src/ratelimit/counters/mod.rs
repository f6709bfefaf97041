//! Counters: where the admitted cost of every limit is kept.

mod accounts;
mod check;
mod decisions;
#[cfg(test)]
mod exactness;
mod fingerprint;
pub(crate) mod idle;
pub mod memory;
pub mod saved;
mod shard;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod tests;
mod unhashed;
