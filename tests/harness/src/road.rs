//! A road to PostgreSQL that can be slow, closed or swallow everything, or that breaks at a commit.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a [`Road`] does with what travels on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Everything passes.
    Flows,
    /// Everything passes, each piece this much later.
    Crawls(Duration),
    /// Open connections break, new ones are dropped.
    Stops,
    /// Nothing arrives and nothing breaks, as behind a switch without power. What was sent arrives when traffic
    /// flows again.
    Swallows,
    /// A connection breaks when a commit is sent, which does not arrive.
    BreaksBeforeCommit,
    /// A connection breaks when a commit was done, whose confirmation does not arrive.
    BreaksAfterCommit,
}

/// A road to PostgreSQL.
#[derive(Debug)]
pub struct Road {
    address: SocketAddr,
    traffic: watch::Sender<Traffic>,
    /// How often all connections were reset.
    resets: watch::Sender<u32>,
}

impl Road {
    /// A road to the server of this connection URL, and the URL that leads over it.
    pub async fn to(url: &str) -> (Self, String) {
        let (credentials, rest) = url.split_once('@').expect("postgres://user@host:port/name");
        let (target, name) = rest.split_once('/').expect("postgres://user@host:port/name");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (traffic, traffic_seen) = watch::channel(Traffic::Flows);
        let (resets, resets_seen) = watch::channel(0);
        let target = target.to_owned();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *traffic_seen.borrow() != Traffic::Stops {
                    let reset = reset(resets_seen.clone());
                    tokio::spawn(carry(near, target.clone(), traffic_seen.clone(), reset));
                }
            }
        });
        let road = Self { address, traffic, resets };
        let detour = format!("{credentials}@{}/{name}", road.address);
        (road, detour)
    }

    /// Changes what happens on the road from now on.
    pub fn set(&self, traffic: Traffic) {
        self.traffic.send(traffic).expect("the road exists");
    }

    /// Breaks all connections (RST at both ends); new ones are as the traffic is.
    pub fn reset(&self) {
        self.resets.send_modify(|resets| *resets += 1);
    }
}

/// Returns at the next reset.
async fn reset(mut resets: watch::Receiver<u32>) {
    resets.mark_unchanged();
    // An error is a road that exists no longer; its connections end by themselves.
    if resets.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Carries one connection; both ends are dropped when it returns.
async fn carry(
    mut near: TcpStream,
    target: String,
    mut state: watch::Receiver<Traffic>,
    reset: impl Future<Output = ()>,
) {
    let Ok(mut far) = TcpStream::connect(&target).await else {
        return;
    };
    for end in [&near, &far] {
        // Requests are small: waiting to fill packets would cost 40 ms each.
        end.set_nodelay(true).expect("a TCP socket has the option");
    }
    let mut reset = std::pin::pin!(reset);
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let traffic = *state.borrow_and_update();
        if traffic == Traffic::Stops {
            return;
        }
        let passes = traffic != Traffic::Swallows;
        let passed = tokio::select! {
            // A change of the traffic counts for what comes after it.
            biased;
            changed = state.changed() => changed.ok(),
            () = &mut reset => {
                // What has broken already needs no reset.
                let _ = (near.set_zero_linger(), far.set_zero_linger());
                None
            }
            read = near.read(&mut asked), if passes => {
                ask(&mut far, &asked[..read.unwrap_or(0)], traffic, &mut answered).await
            }
            read = far.read(&mut answered), if passes => {
                linger(traffic).await;
                pass(&mut near, &answered[..read.unwrap_or(0)]).await
            }
        };
        if passed.is_none() {
            return;
        }
    }
}

/// Waits as long as traffic that crawls takes.
async fn linger(traffic: Traffic) {
    if let Traffic::Crawls(delay) = traffic {
        tokio::time::sleep(delay).await;
    }
}

/// Passes a request on, unless the road breaks there.
async fn ask(far: &mut TcpStream, asked: &[u8], traffic: Traffic, answered: &mut [u8]) -> Option<()> {
    let commits = asked.windows(6).any(|window| window == b"COMMIT");
    match traffic {
        Traffic::BreaksBeforeCommit if commits => None,
        Traffic::BreaksAfterCommit if commits => {
            pass(far, asked).await?;
            // What the server answers says that it has done it; nobody hears that.
            let _confirmation = far.read(answered).await;
            None
        }
        traffic => {
            linger(traffic).await;
            pass(far, asked).await
        }
    }
}

/// Writes what was read; `None` at the end of a connection.
async fn pass(to: &mut TcpStream, read: &[u8]) -> Option<()> {
    if read.is_empty() {
        return None;
    }
    to.write_all(read).await.ok()
}
