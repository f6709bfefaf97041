//! What stands behind the listener: a table of the hot operations first, then the router with everything else.
//!
//! A request of a hot operation passes no router and no layers; what it does pass (request id, `Host` check, client
//! address, measurement, deadline, boundary for panics) is the same code that all requests pass.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::{BoxError, Router};
use bytes::Bytes;
use foldhash::fast::RandomState;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::Either;
use keyrack_core::catalogue::{Operation, Visitor};
use keyrack_core::each;
use keyrack_core::error::Error;
use keyrack_core::ids::RequestId;
use keyrack_core::keyrack::Keyrack;
use tower::ServiceExt as _;
use tracing::{Instrument as _, Span};

use crate::envelope::AnswerBody;
use crate::guard::{self, Guard, Peer};
use crate::head::Head;
use crate::operations;
use crate::paths::path_of;
use crate::problem;
use crate::router::router;
use crate::state::{Settings, Shared};
use crate::traces;

/// Answers every request of a listener, with bodies of this type.
pub struct Server<B> {
    shared: Arc<Shared>,
    guard: Arc<Guard>,
    hot: HotRoutes<B>,
    router: Router,
}

/// What the bodies of requests are.
pub trait RequestBody: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static {}

impl<B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static> RequestBody for B {}

/// Hot operations by their paths.
struct HotRoutes<B>(HashMap<String, Answering<B>, RandomState>);

/// Answers a request for a path that came from an address. The future is in a box: those who poll it move it about.
type Answering<B> =
    for<'a> fn(&'a Server<B>, &'a str, Request<B>, SocketAddr) -> BoxFuture<'a, Response<AnswerBody>>;

impl<B: RequestBody> Visitor for HotRoutes<B> {
    fn operation<O: Operation>(&mut self) {
        if O::ABOUT.is_hot {
            let answering: Answering<B> =
                |server, path, request, peer| server.answer_hot::<O>(path, request, peer).boxed();
            self.0.insert(path_of(&O::ABOUT), answering);
        }
    }
}

impl<B: RequestBody> Server<B> {
    /// A server of the HTTP API and of `others`, routes of other faces on the same listener.
    pub fn new(keyrack: Keyrack, settings: &Settings, guard: Guard, others: Router) -> Self {
        let (shared, guard) = (Arc::new(Shared::new(keyrack, settings)), Arc::new(guard));
        let around = axum::middleware::from_fn_with_state(guard.clone(), guard::around);
        let router = router(shared.clone(), &settings.public_url).merge(others).layer(around);
        let mut hot = HotRoutes(HashMap::default());
        each(&mut hot);
        Server { shared, guard, hot, router }
    }

    /// Answers a request that came from `peer`.
    pub fn answer(&self, request: Request<B>, peer: SocketAddr) -> BoxFuture<'_, Response<AnswerBody>> {
        let hot = self.hot.0.get_key_value(request.uri().path()).filter(|_| request.method() == Method::POST);
        if let Some((path, answering)) = hot {
            return answering(self, path, request, peer);
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let answer = self.router.clone().oneshot(request);
        answer.map(|answer| answer.unwrap_or_else(|never| match never {}).map(Either::Right)).boxed()
    }

    /// Answers without a router. No async function takes the request, which it would keep twice.
    fn answer_hot<'a, O: Operation>(
        &'a self,
        path: &'a str,
        request: Request<B>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<AnswerBody>> + Send + 'a {
        let (parts, body) = request.into_parts();
        async move {
            let id = RequestId::new();
            let measurement = self.guard.metrics.begin(Some(path));
            let follow = self.guard.follow_trace;
            let span = traces::request_span(follow, &Span::none(), &id, Some(path), &parts.headers);
            let mut response = if let Err(refusal) = self.guard.hosts.check(&parts.uri, &parts.headers) {
                problem::response(&id, &self.guard.docs, &refusal)
            } else {
                let address = self.guard.client_address(peer, &parts.headers);
                let head = Head { id, headers: &parts.headers, address, span: &span };
                let answer = operations::answer::<O, B>(&self.shared, head, body);
                let outcome = if span.is_none() {
                    AssertUnwindSafe(answer).catch_unwind().await
                } else {
                    AssertUnwindSafe(answer.instrument(span.clone()).boxed()).catch_unwind().await
                };
                match outcome {
                    Ok(response) => response,
                    Err(_) => problem::response(&id, &self.guard.docs, &Error::unexpected("panicked")),
                }
            };
            traces::answered(&span, response.status());
            guard::finish(&mut response, &id, measurement, &parts.method, path);
            response.map(Either::Left)
        }
    }
}
