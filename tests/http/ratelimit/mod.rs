//! Rate limits, their namespaces and overrides.

mod batches;
mod count;
mod exactness;
mod limit;
mod namespaces;
mod overrides;
