//! Standalone rate limits: of anything that has a name, without a key.

mod limit;

pub use limit::Limit;
