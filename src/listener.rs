//! A listener: where it is, and how it takes connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyrack_http_api::connections::ConnectionCounts;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::connections::{Connections, Handler, LOOK_EVERY};

/// Connections that the system may have ready for us.
const BACKLOG: u32 = 1024;
/// Of what is on its way to a client, the system says that some was taken when a third was; with the megabytes that
/// it would choose, a slow reader would seem to take nothing for minutes.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;
/// How long to wait when no connection can be taken: others must go first.
const PAUSE: Duration = Duration::from_millis(100);
/// How often the log says so.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Listens at an address.
///
/// # Errors
/// When it is taken, or none of this machine's.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // An address can be used again at once after a stop.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // Connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes connections until `stop`. Those that are open stay so.
pub(crate) async fn accept(
    listener: TcpListener,
    handler: Arc<impl Handler>,
    connections: &Arc<Connections>,
    counts: &ConnectionCounts,
    stop: &CancellationToken,
) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    // A program that was stopped for a while knows nothing of connections in that time.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = looks.tick() => {
                connections.look();
                continue;
            }
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => connections.serve(stream, peer, handler.clone()).await,
            Err(error) => {
                counts.not_taken.add(1);
                if warned.is_none_or(|warned| warned.elapsed() > WARN_EVERY) {
                    warned = Some(Instant::now());
                    let failures = counts.not_taken.value();
                    tracing::warn!(%error, failures, "cannot take a connection");
                }
                // Out of file descriptors, most likely.
                connections.end_longest_idle();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
