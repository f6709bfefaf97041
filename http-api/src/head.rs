//! A request without its body.

use std::net::IpAddr;

use http::HeaderMap;
use keyrack_core::ids::RequestId;
use tracing::Span;

/// A request without its body.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) id: RequestId,
    pub(crate) headers: &'a HeaderMap,
    /// The client's address.
    pub(crate) address: Option<IpAddr>,
    /// The span of the request, if there are traces.
    pub(crate) span: &'a Span,
}
