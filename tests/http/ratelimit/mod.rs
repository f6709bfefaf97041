//! Rate limits, their namespaces and overrides.

mod batches;
mod exactness;
mod limit;
mod namespaces;
mod overrides;
