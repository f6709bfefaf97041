//! What is counted, in the text form that Prometheus reads: `/metrics`, on a listener of its own.
//!
//! This module counts requests; the rest is counted by core and only shown here. The numbers are atomics
//! that exist from the start, one per operation and status, so that a request allocates no label and takes
//! no lock. `prometheus-client` writes the text; its own histogram is behind a lock, so ours is core's.
//!
//! Label values are operations, statuses and outcomes: a bounded set. Workspaces and keys are no labels.

mod format;
mod page;
mod shown;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use foldhash::fast::RandomState;
use futures_util::FutureExt as _;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Either;
use keyrack_core::catalogue::{Operation, Visitor};
use keyrack_core::each;
use keyrack_core::keyrack::Keyrack;
use keyrack_core::measure::{Counter, Histogram};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tower::ServiceExt as _;

use crate::connections::ConnectionCounts;
use crate::envelope::AnswerBody;
use crate::hosts::Hosts;
use crate::paths::path_of;
use format::Format;
use shown::Shown;

/// The statuses that are counted each; any other is `other`.
const STATUSES: [(u16, &str); 19] = [
    (200, "200"),
    (202, "202"),
    (204, "204"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (406, "406"),
    (408, "408"),
    (409, "409"),
    (410, "410"),
    (412, "412"),
    (413, "413"),
    (415, "415"),
    (429, "429"),
    (CLIENT_GONE, "499"),
    (500, "500"),
    (503, "503"),
];
/// What is counted when the client is gone before it was answered.
const CLIENT_GONE: u16 = 499;

/// Requests that are no operation, by the beginning of their route.
const OTHER_ROUTES: [(&str, &str); 9] = [
    ("/mcp", "mcp"),
    ("/claim", "claim"),
    ("/docs", "docs"),
    ("/llms", "docs"),
    ("/reference", "docs"),
    ("/openapi.json", "docs"),
    ("/healthz", "health"),
    ("/readyz", "health"),
    ("/v2/liveness", "health"),
];
const UNKNOWN: &str = "unknown";

/// Requests of one operation.
#[derive(Debug)]
struct Requests {
    operation: &'static str,
    by_status: [Counter; STATUSES.len() + 1],
    durations: Histogram,
}

impl Requests {
    fn of(operation: &'static str) -> Self {
        Requests { operation, by_status: Default::default(), durations: Histogram::default() }
    }

    fn note(&self, status: u16, took: Duration) {
        let known = STATUSES.iter().position(|(known, _)| *known == status);
        self.by_status[known.unwrap_or(STATUSES.len())].add(1);
        self.durations.note(took);
    }

    fn statuses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = STATUSES.iter().map(|(_, name)| *name).chain(["other"]);
        names.zip(&self.by_status).map(|(name, counter)| (name, counter.value()))
    }
}

/// The requests of a server, by operation, and its connections.
#[derive(Debug)]
pub struct HttpMetrics {
    /// Of the listener of the API.
    pub connections: Arc<ConnectionCounts>,
    operations: Vec<Requests>,
    by_route: HashMap<String, usize, RandomState>,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        let (connections, by_route) = (Arc::default(), HashMap::default());
        let mut metrics = HttpMetrics { connections, operations: vec![Requests::of(UNKNOWN)], by_route };
        for (_, name) in OTHER_ROUTES {
            if !metrics.operations.iter().any(|known| known.operation == name) {
                metrics.operations.push(Requests::of(name));
            }
        }
        each(&mut metrics);
        metrics
    }
}

impl Visitor for HttpMetrics {
    fn operation<O: Operation>(&mut self) {
        self.by_route.insert(path_of(&O::ABOUT), self.operations.len());
        self.operations.push(Requests::of(O::ABOUT.name));
    }
}

impl HttpMetrics {
    /// Begins to measure a request to this route; `None` is a path that has none.
    pub(crate) fn begin(&self, route: Option<&str>) -> Measurement<'_> {
        let known = route.and_then(|route| self.by_route.get(route)).and_then(|at| self.operations.get(*at));
        let requests = known.unwrap_or_else(|| self.other(route));
        Measurement { requests, started: Instant::now(), status: CLIENT_GONE, took: None }
    }

    fn other(&self, route: Option<&str>) -> &Requests {
        let name = route.and_then(|route| OTHER_ROUTES.iter().find(|(beginning, _)| route.starts_with(beginning)));
        let name = name.map_or(UNKNOWN, |(_, name)| name);
        self.operations.iter().find(|known| known.operation == name).unwrap_or(&self.operations[0])
    }
}

/// A request in flight. Dropped without an answer, its client went away.
#[derive(Debug)]
pub(crate) struct Measurement<'a> {
    requests: &'a Requests,
    started: Instant,
    status: u16,
    took: Option<Duration>,
}

impl Measurement<'_> {
    /// Ends it; how long it took.
    pub(crate) fn answered(mut self, status: StatusCode) -> Duration {
        self.status = status.as_u16();
        *self.took.insert(self.started.elapsed())
    }
}

impl Drop for Measurement<'_> {
    fn drop(&mut self) {
        self.requests.note(self.status, self.took.unwrap_or_else(|| self.started.elapsed()));
    }
}

/// Answers every request of the listener for metrics: `/metrics`, and nothing else.
pub struct Metrics {
    router: Router,
    hosts: Hosts,
}

impl Metrics {
    /// The metrics of a Keyrack and of its server. Under another name than those of `hosts` they are not shown.
    pub fn new(keyrack: Keyrack, http: Arc<HttpMetrics>, hosts: Hosts) -> Self {
        let mut registry = Registry::with_prefix("keyrack");
        registry.register_collector(Box::new(Shown { keyrack, http }));
        Metrics { router: Router::new().route("/metrics", get(show)).with_state(Arc::new(registry)), hosts }
    }

    /// Answers a request.
    pub fn answer<B>(&self, request: Request<B>) -> impl Future<Output = Response<AnswerBody>> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let refusal = self.hosts.check(request.uri(), request.headers()).err();
        let answer = self.router.clone().oneshot(request.map(Body::new));
        async move {
            let response = match refusal {
                Some(refusal) => (StatusCode::FORBIDDEN, format!("{}\n", refusal.detail())).into_response(),
                None => answer.await.unwrap_or_else(|never| match never {}),
            };
            response.map(Either::Right)
        }
        .boxed()
    }
}

async fn show(State(registry): State<Arc<Registry>>, headers: HeaderMap) -> Response {
    let format = Format::wanted(headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok()));
    let mut text = String::new();
    match text::encode(&mut text, &registry) {
        Ok(()) => ([(CONTENT_TYPE, format.content_type())], format.of_openmetrics(text)).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
