//! Turns of those who must not work at the same time.
//!
//! Most stand in a line, first come first served; some go first, such as whoever ends what the line is for. Only the
//! head of the line asks for the turn, so whoever goes first waits for two others at most: the one whose turn it is,
//! and the head. Both ways hold a bounded number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// How many may wait in each of the two ways.
const MOST_WAITING: usize = 256;

/// In which way one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind all who came before.
    Line,
    /// Before all who stand in the line.
    First,
}

/// Turns to use something.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    line: Mutex<()>,
    turn: Arc<Mutex<T>>,
    /// In the line, and before it.
    waiting: [AtomicUsize; 2],
}

/// As many wait as may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Crowded;

/// A turn that was taken; it ends when this is dropped.
pub(crate) type Taken<T> = OwnedMutexGuard<T>;

impl<T> Turns<T> {
    /// Turns to use `what`.
    pub(crate) fn of(what: T) -> Self {
        Turns { line: Mutex::default(), turn: Arc::new(Mutex::new(what)), waiting: Default::default() }
    }

    /// Takes a turn, after those who are before this place.
    pub(crate) async fn take(&self, place: Place) -> Result<Taken<T>, Crowded> {
        let _waiting = Waiting::begin(&self.waiting[usize::from(place == Place::First)])?;
        let _head = match place {
            Place::Line => Some(self.line.lock().await),
            Place::First => None,
        };
        Ok(self.turn.clone().lock_owned().await)
    }

    /// Takes a turn before all in the line, on a thread that runs no tasks.
    pub(crate) fn take_blocking(&self) -> Taken<T> {
        self.turn.clone().blocking_lock_owned()
    }
}

/// One who waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Result<Self, Crowded> {
        let one = Waiting(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING { Ok(one) } else { Err(Crowded) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_goes_first_waits_for_two_and_the_line_keeps_its_order() {
        let turns = Arc::new(Turns::of(Vec::new()));
        let held = turns.take(Place::Line).await.unwrap();
        let mut tasks = Vec::new();
        for (name, place) in [(1, Place::Line), (2, Place::Line), (3, Place::Line), (9, Place::First)] {
            let turns = turns.clone();
            tasks.push(tokio::spawn(async move { turns.take(place).await.unwrap().push(name) }));
            // Each begins to wait before the next one comes.
            tokio::task::yield_now().await;
        }
        drop(held);
        futures_util::future::join_all(tasks).await;
        assert_eq!(*turns.take_now(), [1, 9, 2, 3]);
    }

    #[tokio::test]
    async fn a_bounded_number_waits_and_who_gives_up_makes_room() {
        let turns = Arc::new(Turns::of(()));
        let held = turns.take(Place::Line).await.unwrap();
        let waiting: Vec<_> = (0..MOST_WAITING)
            .map(|_| {
                let turns = turns.clone();
                tokio::spawn(async move { turns.take(Place::Line).await.map(drop) })
            })
            .collect();
        while turns.waiting[0].load(Ordering::Relaxed) < MOST_WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(turns.take(Place::Line).await.map(drop), Err(Crowded));
        waiting[7].abort();
        while turns.waiting[0].load(Ordering::Relaxed) == MOST_WAITING {
            tokio::task::yield_now().await;
        }
        let another = turns.take(Place::Line);
        drop(held);
        assert_eq!(another.await.map(drop), Ok(()));
        for (at, task) in waiting.into_iter().enumerate() {
            assert_eq!(task.await.is_ok(), at != 7);
        }
    }

    impl<T> Turns<T> {
        fn take_now(&self) -> tokio::sync::MutexGuard<'_, T> {
            self.turn.try_lock().unwrap()
        }
    }
}
