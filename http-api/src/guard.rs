//! The layer around the whole listener: request id, client address, `Host` check, panics, log line.

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use keyrack_core::caller::ClientAddress;
use keyrack_core::error::Error;
use keyrack_core::ids::RequestId;
use keyrack_core::keys::address_list::{AddressList, client_address};
use keyrack_core::traces::TraceSpan;
use tracing::Instrument as _;

use crate::envelope::REQUEST_ID;
use crate::health;
use crate::hosts::Hosts;
use crate::metrics::{HttpMetrics, Measurement};
use crate::problem;
use crate::traces::{self, FollowTrace};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the other end of the connection; kept in the extensions of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What the guard needs to know.
#[derive(Debug)]
pub struct Guard {
    /// Names that a `Host` header may have.
    pub hosts: Hosts,
    /// Proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: AddressList,
    /// Address of the documentation, without a trailing slash.
    pub docs: String,
    /// Where requests are counted.
    pub metrics: Arc<HttpMetrics>,
    /// How spans of requests follow the traces of their callers; `None` when there are no traces.
    pub follow_trace: Option<FollowTrace>,
}

/// Runs around every request of the listener.
pub(crate) async fn around(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let id = RequestId::new();
    let method = request.method().clone();
    // Unknown paths are not logged: people paste keys everywhere.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    let measurement = guard.metrics.begin(route);
    let span = tracing::info_span!("request", request_id = %id);
    let traced = traces::request_span(guard.follow_trace, &span, &id, route, request.headers());
    let peer = request.extensions().get::<Peer>().copied();
    let address = peer.and_then(|peer| guard.client_address(peer.0, request.headers()));
    request.extensions_mut().insert(ClientAddress(address));
    request.extensions_mut().insert(id);
    request.extensions_mut().insert(TraceSpan(traced.clone()));
    // What asks for signs of life often names nobody, and learns nothing that a browser could be tricked for.
    let named = if route.is_some_and(|route| health::PATHS.contains(&route)) {
        Ok(())
    } else {
        guard.hosts.check(request.uri(), request.headers())
    };
    let mut response = match named {
        Ok(()) => {
            let answer = next.run(request).instrument(traced.clone()).instrument(span);
            AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
                problem::response(&id, &guard.docs, &Error::unexpected("panicked")).into_response()
            })
        }
        Err(refusal) => problem::response(&id, &guard.docs, &refusal).into_response(),
    };
    traces::answered(&traced, response.status());
    finish(&mut response, &id, measurement, &method, route.unwrap_or("-"));
    response
}

/// Counts and logs an answer, and gives it its request's id.
pub(crate) fn finish<B>(
    response: &mut Response<B>,
    id: &RequestId,
    measurement: Measurement<'_>,
    method: &Method,
    path: &str,
) {
    let status = response.status();
    let ms = measurement.answered(status).as_secs_f64() * 1000.0;
    tracing::debug!(request_id = %id, %method, path, status = status.as_u16(), ms, "answered");
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
}

impl Guard {
    /// Where the client is, behind trusted proxies.
    pub(crate) fn client_address(&self, peer: SocketAddr, headers: &HeaderMap) -> Option<IpAddr> {
        if self.trusted_proxies.is_empty() {
            return Some(peer.ip().to_canonical());
        }
        let forwarded = headers.get_all(&FORWARDED_FOR);
        let hops = forwarded.iter().map(|value| value.to_str().unwrap_or("?"));
        client_address(peer.ip(), hops, &self.trusted_proxies)
    }
}
