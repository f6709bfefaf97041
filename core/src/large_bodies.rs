//! Bodies of requests that are larger than most: how many bytes of them are there at one time, and who reads them.
//!
//! A body of [`LARGE`] bytes is nothing to count. One that becomes larger waits, before more of it is taken from its
//! connection, for room; and it is read by a thread of its own, because that takes long enough to keep others waiting.
//! Room is in lanes, of which each workspace has one: a client that asks for room and then sends nothing holds up
//! nobody but the few workspaces in its lane, and them no longer than a request may take.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::quality::RandomState;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// Bytes beyond which a body is large.
pub const LARGE: usize = 64 * 1024;
/// Bytes of large bodies that a lane has room for.
const LANE: usize = 8 * 1024 * 1024;
const LANES: usize = 8;
/// Bytes of large bodies that are read at one time.
const READING: usize = 8 * 1024 * 1024;

/// The room for large bodies. A permit is a byte.
#[derive(Debug)]
pub struct LargeBodies {
    lanes: [Arc<Semaphore>; LANES],
    reading: Arc<Semaphore>,
    hasher: RandomState,
}

/// Room that a body has until this is dropped.
#[derive(Debug)]
pub struct Room(#[expect(dead_code, reason = "held, and given back when it is dropped")] OwnedSemaphorePermit);

impl Default for LargeBodies {
    fn default() -> Self {
        LargeBodies {
            lanes: std::array::from_fn(|_| Arc::new(Semaphore::new(LANE))),
            reading: Arc::new(Semaphore::new(READING)),
            // Ids of workspaces are random, but nobody else needs to know who shares a lane.
            hasher: RandomState::default(),
        }
    }
}

impl LargeBodies {
    /// Waits for room for a body of a workspace's caller.
    async fn room(&self, workspace_id: &str, bytes: usize) -> Option<Room> {
        let lane = usize::try_from(self.hasher.hash_one(workspace_id) % LANES as u64).ok()?;
        let permits = u32::try_from(bytes.clamp(1, LANE)).ok()?;
        // It fails when there are no lanes any more.
        self.lanes.get(lane)?.clone().acquire_many_owned(permits).await.ok().map(Room)
    }

    /// Takes a body, piece by piece. Once it is large it has room for `bytes`, which it may need as a whole, or waits
    /// for that before it takes more.
    ///
    /// # Errors
    /// What ended the body before its end.
    pub async fn take<P: AsRef<[u8]>, E>(
        &self,
        workspace_id: &str,
        bytes: usize,
        mut pieces: impl Stream<Item = Result<P, E>> + Unpin,
    ) -> Result<(Vec<u8>, Option<Room>), E> {
        let (mut taken, mut room) = (Vec::new(), None);
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            if room.is_none() && taken.len() + piece.as_ref().len() > LARGE {
                room = self.room(workspace_id, bytes).await;
            }
            taken.extend_from_slice(piece.as_ref());
        }
        Ok((taken, room))
    }

    /// Does what a large body of so many bytes needs, in a thread of its own, when it is within what may be read at
    /// one time. It goes on when nobody waits for it any more, and counts until it is done.
    ///
    /// # Errors
    /// When it panicked.
    pub async fn read<T: Send + 'static>(
        &self,
        bytes: usize,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let permits = u32::try_from(bytes.clamp(1, READING)).map_err(Error::unexpected)?;
        let within = self.reading.clone().acquire_many_owned(permits).await.map_err(Error::unexpected)?;
        let work = move || {
            let read = read();
            drop(within);
            read
        };
        tokio::task::spawn_blocking(work).await.map_err(Error::unexpected)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::Future;

    use futures_util::stream;

    use super::*;

    fn pieces(count: usize) -> impl Stream<Item = Result<Vec<u8>, Infallible>> + Unpin {
        stream::iter((0..count).map(|_| Ok(vec![b' '; 32 * 1024])))
    }

    async fn ends<T>(work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(std::time::Duration::from_millis(50), work).await.ok()
    }

    #[tokio::test]
    async fn a_body_takes_no_more_than_the_first_part_until_there_is_room() {
        let bodies = LargeBodies::default();
        let (small, room) = bodies.take("ws_1", LANE, pieces(2)).await.unwrap();
        assert!(small.len() == LARGE && room.is_none());
        let (large, room) = bodies.take("ws_1", LANE, pieces(3)).await.unwrap();
        assert!(large.len() > LARGE && room.is_some());
        let mut rest = pieces(9);
        assert!(ends(bodies.take("ws_1", 1, &mut rest)).await.is_none(), "the lane is full");
        assert_eq!(rest.count().await, 6, "a piece waits, and the rest was not taken");
        assert!(ends(bodies.take("ws_1", LANE, pieces(2))).await.is_some(), "small ones need no room");
        drop(room);
        assert!(ends(bodies.take("ws_1", LANE, pieces(3))).await.is_some());
    }

    #[tokio::test]
    async fn who_waits_for_room_holds_up_no_other_lane() {
        let bodies = LargeBodies::default();
        let held = bodies.room("ws_1", usize::MAX).await;
        let mut went_on = 0;
        for other in 0..64 {
            went_on += usize::from(ends(bodies.room(&format!("ws_other{other}"), 1)).await.is_some());
        }
        assert!(held.is_some() && went_on > 32, "{went_on} of 64");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_counts_until_it_is_done() {
        let bodies = LargeBodies::default();
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        assert!(ends(bodies.read(usize::MAX, move || wait.recv())).await.is_none());
        assert!(ends(bodies.read(1, || ())).await.is_none(), "its bytes are still being read");
        go_on.send(()).unwrap();
        bodies.read(1, || ()).await.unwrap();
        assert!(bodies.read(1, || panic!("a fault of ours")).await.is_err());
        bodies.read(READING, || ()).await.unwrap();
    }
}
