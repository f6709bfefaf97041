//! The connections of the listener: each is served in a task of its own until its client leaves it, it was idle
//! for too long, or the program stops.
//!
//! A request pays for this with a few loads and stores in memory of its own connection. What has to be done
//! about a connection is written down beside it, and its task is woken to do it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use keyrack_http_api::Server;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// How often [`Connections::end_idle`] wants to be called.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(15);
/// After how many looks that find it without a request a connection is ended: two minutes and a little, because
/// clients that pool connections keep them idle for long. While its client takes an answer it has none.
const LOOKS: u32 = 8;

/// All connections that are open.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Mutex<Open>,
    last_ended: Notify,
}

#[derive(Debug, Default)]
struct Open {
    by_number: HashMap<u64, Arc<Connection>>,
    taken: u64,
}

/// What is known of a connection.
#[derive(Debug, Default)]
struct Connection {
    /// Whether a request is being answered.
    is_busy: AtomicBool,
    /// How many looks in a row found it waiting for a request.
    waiting: AtomicU32,
    /// Whether it is to end after the request that is being answered.
    is_to_end: AtomicBool,
    task: AtomicWaker,
}

impl Connections {
    /// Serves a connection that came from `peer`, in a task of its own.
    pub(crate) fn serve(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, server: Arc<Server>) {
        let _ = stream.set_nodelay(true);
        let registered = self.register();
        tokio::spawn(async move { registered.connection.serve(stream, peer, server).await });
    }

    /// Ends the connections that wait for a request for too long.
    pub(crate) fn end_idle(&self) {
        for connection in self.open().by_number.values() {
            connection.look();
        }
    }

    /// Ends all connections as soon as their requests are answered, and waits for the last one.
    pub(crate) async fn end_all(&self) {
        let ended = self.last_ended.notified();
        {
            let open = self.open();
            if open.by_number.is_empty() {
                return;
            }
            for connection in open.by_number.values() {
                connection.is_to_end.store(true, Ordering::Release);
                connection.task.wake();
            }
        }
        ended.await;
    }

    fn register(self: &Arc<Self>) -> Registered {
        let mut open = self.open();
        open.taken += 1;
        let (connection, number) = (Arc::new(Connection::default()), open.taken);
        open.by_number.insert(number, connection.clone());
        Registered { connections: self.clone(), number, connection }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection as long as it is open.
#[derive(Debug)]
struct Registered {
    connections: Arc<Connections>,
    number: u64,
    connection: Arc<Connection>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.by_number.remove(&self.number);
        if open.by_number.is_empty() {
            self.connections.last_ended.notify_waiters();
        }
    }
}

impl Connection {
    /// Serves it until it ends.
    async fn serve(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, server: Arc<Server>) {
        // One count of users per request, and that in memory of this connection.
        let served = Arc::new((server, self.clone()));
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let served = served.clone();
            async move {
                let (server, connection) = &*served;
                let _busy = connection.busy();
                Ok::<_, Infallible>(server.answer(request, peer).await)
            }
        });
        let mut http = http1::Builder::new();
        // Head and body of an answer go into one buffer, which stays with the connection: most answers are small,
        // and then that costs less than to name two.
        http.writev(false);
        let mut requests = pin!(http.serve_connection(TokioIo::new(stream), service));
        let mut is_ending = false;
        let served = std::future::poll_fn(|context| {
            self.task.register(context.waker());
            if self.is_idle() {
                tracing::debug!("a connection was idle for too long");
                return Poll::Ready(Ok(()));
            }
            if !is_ending && self.is_to_end.load(Ordering::Acquire) {
                is_ending = true;
                requests.as_mut().graceful_shutdown();
            }
            requests.as_mut().poll(context)
        });
        if let Err(error) = served.await {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    /// Notes that a request is being answered, until what it gives is dropped.
    fn busy(&self) -> Busy<'_> {
        self.is_busy.store(true, Ordering::Relaxed);
        Busy(self)
    }

    /// Whether it was found waiting too often. Its own task asks, in which no request can begin meanwhile.
    fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > LOOKS && !self.is_busy.load(Ordering::Relaxed)
    }

    /// Notes whether it waits, and wakes its task if that was too often.
    fn look(&self) {
        if !self.is_busy.load(Ordering::Relaxed) {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        }
        if self.is_idle() {
            self.task.wake();
        }
    }
}

/// A request that is being answered.
struct Busy<'a>(&'a Connection);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.waiting.store(0, Ordering::Relaxed);
        self.0.is_busy.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_idle_when_it_waited_for_too_many_looks_in_a_row() {
        let connection = Connection::default();
        for _ in 0..LOOKS {
            connection.look();
            assert!(!connection.is_idle());
        }
        connection.look();
        assert!(connection.is_idle());
        let busy = connection.busy();
        assert!(!connection.is_idle(), "a request came just in time");
        connection.look();
        assert!(!connection.is_idle());
        drop(busy);
        connection.look();
        assert!(!connection.is_idle(), "it waits from the beginning");
    }

    #[tokio::test]
    async fn the_end_of_all_connections_is_that_of_the_last_one() {
        let connections = Arc::new(Connections::default());
        connections.end_all().await;
        let open = [connections.register(), connections.register()];
        let ending = tokio::spawn({
            let connections = connections.clone();
            async move { connections.end_all().await }
        });
        for registered in open {
            tokio::task::yield_now().await;
            assert!(!ending.is_finished());
            assert!(registered.connection.is_to_end.load(Ordering::Relaxed));
        }
        ending.await.unwrap();
    }
}
