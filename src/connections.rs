//! The connections of a listener: each is served in a task of its own until its client leaves it, it did nothing
//! for too long, there are too many, or the program stops.
//!
//! A request pays for this with a few loads and stores in memory of its own connection; no timer belongs to a
//! request or to a connection. All of them are looked at once a second. What has to be done about a connection is
//! written down beside it, and its task is woken to do it.

mod body;
mod connection;
mod serving;
mod stream;
mod unread;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::{Request, Response};
use keyrack_http_api::connections::{ConnectionCounts, Ended};
use keyrack_http_api::metrics::Metrics;
use keyrack_http_api::{AnswerBody, Server};
use tokio::net::TcpStream;
use tokio::sync::Notify;

pub(crate) use body::RequestBody;
use connection::Connection;
use unread::Skipping;

/// How often [`Connections::look`] wants to be called.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the head of a request may take from its first byte, and the first one from the connection's beginning.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a new connection waits for one of the others to end or to have nothing to do.
const ROOM_LIMIT: Duration = Duration::from_secs(1);

/// What answers the requests of a listener.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers a request that came from `peer`.
    fn answer(
        &self,
        request: Request<RequestBody>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<AnswerBody>> + Send;
}

impl Handler for Server<RequestBody> {
    fn answer(
        &self,
        request: Request<RequestBody>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<AnswerBody>> + Send {
        Server::answer(self, request, peer)
    }
}

impl Handler for Metrics {
    fn answer(
        &self,
        request: Request<RequestBody>,
        _peer: SocketAddr,
    ) -> impl Future<Output = Response<AnswerBody>> + Send {
        Metrics::answer(self, request)
    }
}

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How many there may be.
    pub(crate) connections: usize,
    /// How long one may do nothing: neither send, nor take what is sent, nor wait for an answer.
    pub(crate) idle: Duration,
}

impl Limits {
    /// How many looks may find a connection doing nothing.
    fn idle_looks(&self) -> u32 {
        looks(self.idle)
    }

    /// How many looks may find a head incomplete.
    fn head_looks(&self) -> u32 {
        looks(self.idle.min(HEAD_LIMIT))
    }
}

fn looks(time: Duration) -> u32 {
    u32::try_from(time.as_secs() / LOOK_EVERY.as_secs()).unwrap_or(u32::MAX)
}

/// All connections of a listener that are open.
#[derive(Debug)]
pub(crate) struct Connections {
    limits: Limits,
    counts: Arc<ConnectionCounts>,
    skipping: Skipping,
    open: Mutex<Open>,
    one_ended: Notify,
    last_ended: Notify,
}

#[derive(Debug, Default)]
struct Open {
    by_number: HashMap<u64, Arc<Connection>>,
    taken: u64,
}

impl Open {
    fn end_longest_idle(&self) {
        let idle = self.by_number.iter().filter(|(_, connection)| connection.is_idle());
        if let Some((_, longest)) =
            idle.max_by_key(|(number, connection)| (connection.idle_rank(), Reverse(**number)))
        {
            longest.end(Ended::ForAnother);
        }
    }
}

impl Connections {
    /// None yet.
    pub(crate) fn new(limits: Limits, counts: Arc<ConnectionCounts>) -> Self {
        let (skipping, open) = (Skipping::default(), Mutex::default());
        Connections { limits, counts, skipping, open, one_ended: Notify::new(), last_ended: Notify::new() }
    }

    /// Serves a connection that came from `peer`, in a task of its own.
    ///
    /// Where there are as many as may be, the one that has had nothing to do for longest goes; where all are busy,
    /// the new one waits a moment for that to change and is then closed.
    pub(crate) async fn serve(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, handler: Arc<impl Handler>) {
        if tokio::time::timeout(ROOM_LIMIT, self.room()).await.is_err() {
            self.counts.refused.add(1);
            return;
        }
        let _ = stream.set_nodelay(true);
        let registered = self.register();
        self.counts.taken.add(1);
        tokio::spawn(async move { registered.connection.serve(&registered, stream, peer, handler).await });
    }

    /// Waits until there is room for one more.
    async fn room(&self) {
        while !self.make_room() {
            // What has nothing to do in a moment is not told to us.
            let _ = tokio::time::timeout(ROOM_LIMIT / 50, self.one_ended.notified()).await;
        }
    }

    /// Whether there is room for one more; if not, one that has nothing to do is about to end, if there is one.
    fn make_room(&self) -> bool {
        let open = self.open();
        if open.by_number.len() < self.limits.connections {
            return true;
        }
        if !open.by_number.values().any(|connection| connection.is_ending()) {
            open.end_longest_idle();
        }
        false
    }

    /// Ends the connection that has had nothing to do for longest, if one has nothing to do.
    pub(crate) fn end_longest_idle(&self) {
        self.open().end_longest_idle();
    }

    /// Ends the connections that do nothing for too long.
    pub(crate) fn look(&self) {
        for connection in self.open().by_number.values() {
            connection.look(&self.limits);
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
                connection.end_gently();
            }
        }
        ended.await;
    }

    fn register(self: &Arc<Self>) -> Registered {
        let mut open = self.open();
        open.taken += 1;
        let (connection, number) = (Arc::new(Connection::default()), open.taken);
        open.by_number.insert(number, connection.clone());
        self.counts.open.set(open.by_number.len() as u64);
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
        self.connections.counts.open.set(open.by_number.len() as u64);
        self.connections.one_ended.notify_one();
        if open.by_number.is_empty() {
            self.connections.last_ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(most: usize) -> Arc<Connections> {
        let limits = Limits { connections: most, idle: Duration::from_secs(120) };
        Arc::new(Connections::new(limits, Arc::default()))
    }

    #[tokio::test]
    async fn the_end_of_all_connections_is_that_of_the_last_one() {
        let connections = connections(2);
        connections.end_all().await;
        let open = [connections.register(), connections.register()];
        let ending = tokio::spawn({
            let connections = connections.clone();
            async move { connections.end_all().await }
        });
        for registered in open {
            tokio::task::yield_now().await;
            assert!(!ending.is_finished());
            assert!(registered.connection.is_to_end_gently());
        }
        ending.await.unwrap();
    }

    #[test]
    fn room_is_made_by_the_end_of_the_connection_that_was_idle_for_longest() {
        let connections = connections(3);
        let ended = |registered: &Registered| registered.connection.ending() == Some(Ended::ForAnother);
        let begin = |registered: &Registered| std::mem::forget(registered.connection.busy());
        let (used, unused, busy) = (connections.register(), connections.register(), connections.register());
        drop(used.connection.busy());
        begin(&busy);
        connections.look();
        assert!(!connections.make_room() && !connections.make_room());
        assert!(
            !used.connection.is_ending(),
            "one that never had a request goes before one that had, and goes alone"
        );
        assert!(ended(&unused));
        drop(unused);
        assert!(connections.make_room());
        let newer = connections.register();
        assert!(!connections.make_room());
        assert!(ended(&used) && !ended(&newer));
        drop(used);
        begin(&newer);
        let last = connections.register();
        begin(&last);
        assert!(!connections.make_room(), "all are busy");
        assert!(![&busy, &newer, &last].iter().any(|registered| registered.connection.is_ending()));
    }
}
