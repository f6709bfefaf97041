//! Rate limits: the sliding window and override rules (pure), the counters, and throttles of workspaces.

pub mod counters;
pub mod override_rules;
pub mod throttle;
pub mod window;
