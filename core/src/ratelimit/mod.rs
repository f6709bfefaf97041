//! Rate limits: the sliding window (pure), override rules (pure), counters and the limiter over them.

pub mod counters;
pub mod override_rules;
pub mod window;
