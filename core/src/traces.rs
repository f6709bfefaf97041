//! Spans for OpenTelemetry.
//!
//! The program shows spans of the target [`TARGET`] to its exporter only: without one they are never made and cost a
//! load, and the log is the same with and without. Exporters take no events, so whatever is logged stays here.

/// The target of spans that are only for traces. They name operations, statuses and ids; never what was sent.
pub const TARGET: &str = "keyrack_traces";

/// The span of a request that came over HTTP; kept in the extensions of the request, for faces whose library runs
/// calls elsewhere. It is no span at all when there are no traces.
#[derive(Debug, Clone)]
pub struct TraceSpan(pub tracing::Span);
