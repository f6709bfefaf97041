//! The layer around the whole listener: request id, client address, `Host` check, panics, log line.
//!
//! A browser can be tricked into calling a server on the user's own machine under a name of the
//! attacker's (DNS rebinding); a `Host` that is not one of the listener's names is refused. A name is
//! needed for that trick, so literal addresses are let through where the listener is open to others.

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt as _;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use keyrack_core::caller::ClientAddress;
use keyrack_core::error::{Code, Error};
use keyrack_core::ids::RequestId;
use keyrack_core::keys::address_list::{AddressList, client_address};
use keyrack_core::traces::TraceSpan;
use tracing::Instrument as _;

use crate::envelope::REQUEST_ID;
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
    /// Names that a `Host` header may have, lower-case and without port, besides the loopback names.
    pub hosts: Vec<String>,
    /// Whether literal addresses may be named: true unless the listener is on loopback.
    pub literal_addresses: bool,
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
    let mut response = if guard.allows_host(request.uri(), request.headers()) {
        match AssertUnwindSafe(next.run(request).instrument(traced.clone()).instrument(span)).catch_unwind().await
        {
            Ok(response) => response,
            Err(_) => problem::response(&id, &guard.docs, &Error::unexpected("panicked")),
        }
    } else {
        problem::response(&id, &guard.docs, &unknown_host())
    };
    traces::answered(&traced, response.status());
    finish(&mut response, &id, measurement, &method, route.unwrap_or("-"));
    response
}

/// Counts and logs an answer, and gives it its request's id.
pub(crate) fn finish(
    response: &mut Response,
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

/// The refusal of a request that names a server that this is not.
pub(crate) fn unknown_host() -> Error {
    Error::new(
        Code::Forbidden,
        "The `Host` header names a server that this is not. Use the listener's address, or add the name to \
         KEYRACK_PUBLIC_URL or KEYRACK_ALLOWED_HOSTS.",
    )
}

impl Guard {
    /// Where the client is, behind trusted proxies.
    pub(crate) fn client_address(&self, peer: SocketAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let forwarded = headers.get_all(&FORWARDED_FOR);
        let hops = forwarded.iter().map(|value| value.to_str().unwrap_or("?"));
        client_address(peer.ip(), hops, &self.trusted_proxies)
    }

    /// Whether the request names a server that this is.
    pub(crate) fn allows_host(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (host, another) = (hosts.next(), hosts.next());
        let named = uri.host().or_else(|| host?.to_str().ok());
        another.is_none() && named.is_some_and(|named| self.allows(named))
    }

    /// Whether a `Host` such as `keys.example.com:8080` or `[::1]:8080` may be named.
    fn allows(&self, host: &str) -> bool {
        let name = without_port(host);
        if self.hosts.iter().any(|known| known == name) {
            return true;
        }
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        if let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return self.literal_addresses
                || address.is_loopback()
                || self.hosts.iter().any(|known| known == name);
        }
        name == "localhost" || self.hosts.iter().any(|known| known == name)
    }
}

fn without_port(host: &str) -> &str {
    if let Some(end) = host.rfind(']') {
        return &host[..=end];
    }
    match host.rsplit_once(':') {
        Some((name, _)) if !name.contains(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listeners_own_names_are_served() {
        let guard = |literal_addresses| Guard {
            hosts: vec!["keys.example.com".to_owned(), "192.0.2.7".to_owned()],
            literal_addresses,
            trusted_proxies: AddressList::default(),
            docs: String::new(),
            metrics: Arc::default(),
            follow_trace: None,
        };
        for (host, on_loopback, open) in [
            ("localhost", true, true),
            ("LOCALHOST:8080", true, true),
            ("127.0.0.1:8080", true, true),
            ("[::1]:8080", true, true),
            ("keys.example.com", true, true),
            ("Keys.Example.Com.:443", true, true),
            ("192.0.2.7:80", true, true),
            ("192.0.2.8:80", false, true),
            ("evil.example.com", false, false),
            ("localhost.evil.example.com", false, false),
            ("127.0.0.1.evil.example.com", false, false),
            ("", false, false),
        ] {
            assert_eq!(guard(false).allows(host), on_loopback, "{host} on loopback");
            assert_eq!(guard(true).allows(host), open, "{host} on an open listener");
        }
    }
}
