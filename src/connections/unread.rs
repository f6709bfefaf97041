//! What becomes of a request's body that was not read when the answer is there: most refusals need none.
//!
//! If the connection just ended, the client's next request on it would fail without a fault of its own, and one
//! that still sends might never see the answer. So a small rest is read on, without being kept, and the
//! connection goes on; otherwise the answer says that the connection ends, and what still comes is read for a
//! moment so that the answer arrives.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use keyrack_http_api::connections::ConnectionCounts;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The largest rest of a body that is read so that its connection can go on.
const MOST_BYTES: u64 = 256 * 1024;
/// How long a body is read on.
const READ_FOR: Duration = Duration::from_secs(1);
/// How many are read on at the same time; the connections of others end.
const AT_ONCE: usize = 256;

/// Where a connection finds the rest of a body.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// So that those who find nothing take no lock.
    is_there: AtomicBool,
    rest: Mutex<Option<Incoming>>,
}

impl Unread {
    pub(super) fn put(&self, rest: Incoming) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
        self.is_there.store(true, Ordering::Release);
    }

    pub(super) fn take(&self) -> Option<Incoming> {
        if !self.is_there.load(Ordering::Acquire) {
            return None;
        }
        self.is_there.store(false, Ordering::Relaxed);
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// How many bodies are read on, of all connections.
#[derive(Debug)]
pub(super) struct Skipping(Arc<Semaphore>);

impl Default for Skipping {
    fn default() -> Self {
        Skipping(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Skipping {
    /// Reads the rest of a body without keeping it: whether the connection can go on. `asks_first`: the client
    /// sends no body before it is told to, and that will not be.
    pub(super) async fn skip(&self, mut rest: Incoming, asks_first: bool, counts: &ConnectionCounts) -> bool {
        let Ok(permit) = self.0.clone().try_acquire_owned() else {
            counts.bodies_cut.add(1);
            return false;
        };
        let deadline = Instant::now() + READ_FOR;
        if !asks_first && rest.size_hint().lower() <= MOST_BYTES {
            match tokio::time::timeout_at(deadline, read_on(&mut rest, MOST_BYTES)).await {
                Ok(Some(true)) => {
                    counts.bodies_skipped.add(1);
                    return true;
                }
                Ok(None) => {}
                // It broke off, or does not come.
                Ok(Some(false)) | Err(_) => {
                    counts.bodies_cut.add(1);
                    return false;
                }
            }
        }
        counts.bodies_cut.add(1);
        // After the answer: its sender may read it only when everything was sent.
        tokio::spawn(async move {
            let _permit = permit;
            // The end of the wait is no fault.
            let _ = tokio::time::timeout_at(deadline, read_on(&mut rest, u64::MAX)).await;
        });
        false
    }
}

/// Reads a body without keeping it: whether it came to its end, `None` when it has more than `most` bytes.
async fn read_on(body: &mut Incoming, most: u64) -> Option<bool> {
    let mut body = pin!(body);
    let mut left = most;
    loop {
        match std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
            None => return Some(true),
            Some(Err(_)) => return Some(false),
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                left = left.checked_sub(bytes)?;
            }
        }
    }
}
