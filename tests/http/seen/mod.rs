//! What those see who watch over a server: logs, metrics, traces, events.

mod events;
mod logs;
pub(crate) mod metrics;
mod traces;
