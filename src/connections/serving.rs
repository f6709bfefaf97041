//! Serving a connection: its requests one after the other, until it ends or is ended.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, EXPECT, HeaderValue};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::RequestBody;
use super::connection::Connection;
use super::stream::Noted;
use super::{Handler, Registered};

/// Room for a head, and for what is read of a body at once.
const BUFFER_BYTES: usize = 64 * 1024;

impl Connection {
    /// Serves it until it ends.
    pub(super) async fn serve(
        self: &Arc<Self>,
        registered: &Registered,
        stream: TcpStream,
        peer: SocketAddr,
        handler: Arc<impl Handler>,
    ) {
        // One count of users per request, and that in memory of this connection; one more for a body.
        let served = Arc::new((handler, self.clone(), registered.connections.clone()));
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let served = served.clone();
            let asks_first = request.headers().contains_key(EXPECT);
            let request = request.map(|body| RequestBody::new(body, &served.1));
            async move {
                let (handler, connection, connections) = &*served;
                let _busy = connection.busy();
                let mut response = handler.answer(request, peer).await;
                if let Some(rest) = connection.unread.take() {
                    let read = connections.skipping.skip(rest, asks_first, &connections.counts);
                    if !Box::pin(read).await {
                        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut http = http1::Builder::new();
        // Head and body of an answer go into one buffer, which stays with the connection: most answers are small,
        // and then that costs less than to name two.
        http.writev(false).max_buf_size(BUFFER_BYTES);
        let stream = TokioIo::new(Noted::new(stream, self.clone()));
        let mut requests = pin!(http.serve_connection(stream, service));
        let mut is_ending = false;
        let served = std::future::poll_fn(|context| {
            self.runs_as(context.waker());
            if let Some(ended) = self.ending() {
                registered.connections.counts.ended(ended);
                tracing::debug!(%peer, reason = ended.name(), "a connection was ended");
                return Poll::Ready(Ok(()));
            }
            if !is_ending && self.is_to_end_gently() {
                is_ending = true;
                requests.as_mut().graceful_shutdown();
            }
            requests.as_mut().poll(context)
        });
        if let Err(error) = served.await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
