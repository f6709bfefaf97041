//! A road to PostgreSQL that can be closed, or that breaks at a commit.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a [`Road`] does with what travels on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Everything passes.
    Flows,
    /// Open connections break, new ones are dropped.
    Stops,
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
}

impl Road {
    /// A road to the server of this connection URL, and the URL that leads over it.
    pub async fn to(url: &str) -> (Self, String) {
        let (credentials, rest) = url.split_once('@').expect("postgres://user@host:port/name");
        let (target, name) = rest.split_once('/').expect("postgres://user@host:port/name");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (traffic, state) = watch::channel(Traffic::Flows);
        let target = target.to_owned();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *state.borrow() != Traffic::Stops {
                    tokio::spawn(carry(near, target.clone(), state.clone()));
                }
            }
        });
        let road = Self { address, traffic };
        let detour = format!("{credentials}@{}/{name}", road.address);
        (road, detour)
    }

    /// Changes what happens on the road from now on.
    pub fn set(&self, traffic: Traffic) {
        self.traffic.send(traffic).expect("the road exists");
    }
}

/// Carries one connection; both ends are dropped when it returns.
async fn carry(mut near: TcpStream, target: String, mut state: watch::Receiver<Traffic>) {
    let Ok(mut far) = TcpStream::connect(&target).await else {
        return;
    };
    for end in [&near, &far] {
        // Requests are small: waiting to fill packets would cost 40 ms each.
        end.set_nodelay(true).expect("a TCP socket has the option");
    }
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let passed = tokio::select! {
            read = near.read(&mut asked) => {
                let traffic = *state.borrow();
                ask(&mut far, &asked[..read.unwrap_or(0)], traffic, &mut answered).await
            }
            read = far.read(&mut answered) => pass(&mut near, &answered[..read.unwrap_or(0)]).await,
            () = stopped(&mut state) => None,
        };
        if passed.is_none() {
            return;
        }
    }
}

/// Returns when nothing may pass any more.
async fn stopped(state: &mut watch::Receiver<Traffic>) {
    // An error is a road that exists no longer.
    let _ = state.wait_for(|traffic| *traffic == Traffic::Stops).await;
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
        _ => pass(far, asked).await,
    }
}

/// Writes what was read; `None` at the end of a connection.
async fn pass(to: &mut TcpStream, read: &[u8]) -> Option<()> {
    if read.is_empty() {
        return None;
    }
    to.write_all(read).await.ok()
}
