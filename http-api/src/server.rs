//! What stands behind the listener: the two hot operations first, then the router with everything else.
//!
//! A request of a hot operation passes no router, no layers and no timer; what it does pass (request id,
//! `Host` check, client address, measurement, deadline, boundary for panics) is the same code that all
//! requests pass.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Method, Request, Response};
use http_body_util::{Either, Full};
use keyrack_core::catalogue::Operation;
use keyrack_core::error::Error;
use keyrack_core::ids::RequestId;
use keyrack_core::keyrack::Keyrack;
use keyrack_core::operations::keys::VerifyKey;
use keyrack_core::operations::ratelimit::Limit;
use tower::ServiceExt as _;
use tracing::{Instrument as _, Span};

use crate::guard::{self, Guard, Peer};
use crate::operations::{self, Head};
use crate::problem;
use crate::router::{Settings, Shared, router};
use crate::traces;

const VERIFY_KEY: &str = "/v2/keys.verifyKey";
const LIMIT: &str = "/v2/ratelimit.limit";

/// The body of an answer: there as a whole, and in no box, or whatever a router gave.
pub type AnswerBody = Either<Full<Bytes>, Body>;

/// Answers every request of a listener.
pub struct Server {
    shared: Arc<Shared>,
    guard: Arc<Guard>,
    router: Router,
}

impl Server {
    /// A server of the HTTP API and of `others`, routes of other faces on the same listener.
    pub fn new(keyrack: Keyrack, settings: Settings, guard: Guard, others: Router) -> Self {
        let (shared, guard) = (Arc::new(Shared::new(keyrack, settings)), Arc::new(guard));
        let around = axum::middleware::from_fn_with_state(guard.clone(), guard::around);
        let router = router(shared.clone()).merge(others).layer(around);
        Server { shared, guard, router }
    }

    /// Answers a request that came from `peer`.
    pub fn answer<B>(
        &self,
        request: Request<B>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<AnswerBody>> + Send
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<axum::BoxError>,
    {
        // Futures are moved about by those who poll them, so those of hot operations are to be small: the other
        // one is in a box, and no async function takes a request, which it would keep twice.
        let of = |path| request.method() == Method::POST && request.uri().path() == path;
        if of(VERIFY_KEY) {
            self.answer_hot::<VerifyKey, B>(VERIFY_KEY, request, peer).left_future()
        } else if of(LIMIT) {
            self.answer_hot::<Limit, B>(LIMIT, request, peer).left_future().right_future()
        } else {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            let answer = self.router.clone().oneshot(request);
            let answer = answer.map(|answer| answer.unwrap_or_else(|never| match never {}).map(Either::Right));
            answer.boxed().right_future().right_future()
        }
    }

    fn answer_hot<O: Operation, B>(
        &self,
        path: &'static str,
        request: Request<B>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<AnswerBody>> + Send
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<axum::BoxError>,
    {
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
