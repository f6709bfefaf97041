//! The span of a request, for OpenTelemetry.
//!
//! It says what was asked of whom and how it ended, and nothing that came with the request.

use http::{HeaderMap, StatusCode};
use keyrack_core::ids::RequestId;
use keyrack_core::traces;
use tracing::Span;
use tracing::field::Empty;

/// Makes a span part of the trace that a request's headers name, if they name one.
pub type FollowTrace = fn(&HeaderMap, &Span);

/// The span of a request, part of the trace that its headers name; no span when there are no traces.
pub(crate) fn request_span(
    follow: Option<FollowTrace>,
    within: &Span,
    id: &RequestId,
    route: Option<&str>,
    headers: &HeaderMap,
) -> Span {
    let Some(follow) = follow else { return Span::none() };
    // Unknown paths are not named: people paste keys everywhere.
    let operation = route.map_or("unknown", |route| route.strip_prefix("/v2/").unwrap_or(route));
    let span = tracing::info_span!(
        target: traces::TARGET,
        parent: within,
        "request",
        otel.name = operation,
        otel.kind = "server",
        otel.status_code = Empty,
        operation,
        request_id = %id,
        root_key = Empty,
        status = Empty,
    );
    follow(headers, &span);
    span
}

/// Writes into the span how its request was answered.
pub(crate) fn answered(span: &Span, status: StatusCode) {
    span.record("status", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}
