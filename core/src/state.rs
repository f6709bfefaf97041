//! The state that every change and every decision works with: the store, what of it is in memory, and how memory
//! learns of changes.
//!
//! It learns of them from the change feed: after each attempt to commit a change of this process, whatever became of
//! it, and several times a second for the changes of others. Only what a committed change made, when memory has all
//! that was before it, is taken as it is: reading it back would give the same. Success, a failed commit, an
//! unknown outcome, another process that was first, and a database that is another one than before are then the
//! same case: memory is brought up to what the database says.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::error::Error;
use crate::following::{Followed, Following, STALE_AFTER, UNKNOWN};
use crate::metrics::Metrics;
use crate::resident::{Made, Resident};
use crate::store::changes::{self, Since};
use crate::store::deadline::within;
use crate::store::subject::Subject;
use crate::store::{Connection, FEED_CONNECTIONS, Store, workspaces};

/// How long a look at the feed may take. What takes longer is a connection that leads nowhere.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to read what was touched, and which things those are: a role may have a million keys.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a change that was committed is read back before the next look at the feed has to make up for it.
const TRIES: u32 = 3;
/// How many workspaces are followed at a time: one connection of the feed stays free for the next look.
const AT_A_TIME: usize = FEED_CONNECTIONS as usize - 1;
/// How many of them may be at what takes long, so that the answers of others do not wait for it.
const LARGE_AT_A_TIME: usize = AT_A_TIME - 1;
/// From so many things on it may take long to read them.
const LARGE: usize = 1000;

/// The store, what of it is in memory, and how memory follows.
#[derive(Debug)]
pub struct State {
    pub(crate) store: Store,
    pub(crate) resident: Resident,
    pub(crate) following: Following,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    room: Semaphore,
    room_for_large: Semaphore,
}

impl State {
    /// Reads everything into memory.
    pub(crate) async fn load(store: Store, clock: Clock, stale_after: Option<Duration>) -> Result<State, Error> {
        // Generations first: what changes while the rest loads is read again.
        let generations = workspaces::generations(&mut *store.read().await?).await?;
        let resident = Resident::load(&store).await?;
        let following = Following::new(generations, stale_after.unwrap_or(STALE_AFTER));
        let metrics = Arc::new(Metrics::default());
        let (room, room_for_large) = (Semaphore::new(AT_A_TIME), Semaphore::new(LARGE_AT_A_TIME));
        Ok(State { store, resident, following, metrics, clock, room, room_for_large })
    }

    /// Whether memory may be older than the answers that are promised from it: the changes of other processes
    /// could not be read for a while, or in some workspace a change that is known of is not there yet.
    pub fn is_stale(&self) -> bool {
        self.following.is_stale() || self.following.is_stale_anywhere()
    }

    /// How long ago the changes of all processes were looked for; `None` before the first time.
    pub fn change_feed_age(&self) -> Option<Duration> {
        self.following.age()
    }

    /// Generations that the last look at the change feed found and that are not followed yet.
    pub fn generations_behind(&self) -> u64 {
        self.following.generations_behind.value()
    }

    /// How often the changes of other processes could not be read.
    pub fn change_feed_failures(&self) -> u64 {
        self.following.failures.value()
    }

    /// Brings memory up to what the database says of a workspace.
    pub(crate) async fn follow(&self, workspace_id: &str) -> Result<(), Error> {
        let followed = self.following.of(workspace_id);
        match self.follow_once(workspace_id, &followed).await? {
            Feed::Followed => Ok(()),
            Feed::OfNoUse => self.reload(&followed).await,
        }
    }

    async fn follow_once(&self, workspace_id: &str, followed: &Followed) -> Result<Feed, Error> {
        let _whole = self.following.whole.read().await;
        let _memory = followed.memory.lock().await;
        let mut room_for_large = None;
        loop {
            let room = self.room.acquire().await.map_err(Error::unexpected)?;
            let mut connection = self.store.feed().await?;
            let known = followed.known();
            let since = within(REFRESH_TIMEOUT, changes::after(&mut connection, workspace_id, known)).await;
            if room_for_large.is_none() && since.as_ref().is_ok_and(is_large) {
                // It waits for others like it, and not in the place of those that are soon done.
                drop((connection, room));
                room_for_large = Some(self.room_for_large.acquire().await.map_err(Error::unexpected)?);
                continue;
            }
            let outcome = match since {
                Ok(since) => self.take_in(&mut connection, followed, since).await,
                Err(error) => Err(error),
            };
            if outcome.is_err() {
                drop(connection.detach());
            }
            return outcome;
        }
    }

    /// Brings memory up to what the feed says.
    async fn take_in(
        &self,
        connection: &mut Connection,
        followed: &Followed,
        since: Since,
    ) -> Result<Feed, Error> {
        match since {
            Since::Touched { generation, subjects } => {
                within(REFRESH_TIMEOUT, self.resident.refresh(connection, &subjects)).await?;
                self.following.caught_up(followed, generation);
                Ok(Feed::Followed)
            }
            // A workspace that there never was.
            Since::Older if followed.known() == 0 => {
                self.following.caught_up(followed, 0);
                Ok(Feed::Followed)
            }
            Since::Older | Since::Forgotten => Ok(Feed::OfNoUse),
        }
    }

    /// Reads everything anew: this process was away for longer than the feed goes back, as a suspended machine
    /// is, or the database is another one than before.
    async fn reload(&self, found_by: &Followed) -> Result<(), Error> {
        let known = found_by.known();
        let _whole = self.following.whole.write().await;
        if ![known, UNKNOWN].contains(&found_by.known()) {
            // Somebody else has done it meanwhile.
            return Ok(());
        }
        tracing::warn!(
            "this process missed changes that the feed does not tell, or too many of them, or the database went back; \
             reading everything anew"
        );
        self.following.is_reloading();
        found_by.is_of_no_generation();
        // Generations first: what changes while the rest loads is read again.
        let mut connection = self.store.feed().await?;
        let generations = within(LOOK_TIMEOUT, workspaces::generations(&mut connection)).await?;
        drop(connection);
        self.resident.reload(&self.store).await?;
        self.following.reloaded(generations);
        Ok(())
    }

    /// Brings memory up to a change of this process, whatever became of it, before anybody is told. One that was
    /// committed and of which all is known, generation and what it made, is not read back.
    pub(crate) async fn follow_own(&self, workspace_id: &str, known: Option<(i64, Made)>) {
        if let Some((generation, made)) = known
            && self.take(workspace_id, generation, made).await
        {
            return;
        }
        for attempt in 1..=TRIES {
            match self.follow(workspace_id).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, attempt, "a change could not be read back"),
            }
        }
        // Until the feed is read again, an answer would be one from before the change.
        self.following.lost(&self.following.of(workspace_id));
    }

    /// Takes what the change with this generation made, if memory has everything before it.
    async fn take(&self, workspace_id: &str, generation: i64, made: Made) -> bool {
        let followed = self.following.of(workspace_id);
        let _whole = self.following.whole.read().await;
        let _memory = followed.memory.lock().await;
        let is_next = followed.known() == generation - 1 && self.resident.take(made).is_ok();
        if is_next {
            self.following.caught_up(&followed, generation);
        }
        is_next
    }

    /// The workspaces whose changes memory does not have yet.
    pub(crate) async fn look(&self) -> Result<Vec<String>, Error> {
        let mut connection = self.store.feed().await?;
        let generations = match within(LOOK_TIMEOUT, workspaces::generations(&mut connection)).await {
            Ok(generations) => generations,
            Err(error) => {
                drop(connection.detach());
                return Err(error);
            }
        };
        let behind = self.following.looked(&generations);
        self.following.generations_behind.set(behind.iter().map(|(_, distance)| distance).sum());
        Ok(behind.into_iter().map(|(workspace_id, _)| workspace_id).collect())
    }

    /// Brings memory up to what the database says of every workspace.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        for workspace_id in self.look().await? {
            self.follow(&workspace_id).await?;
        }
        Ok(())
    }
}

/// What a look at the feed came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feed {
    /// Memory has what it says.
    Followed,
    /// It does not say what memory needs.
    OfNoUse,
}

/// Whether it may take long to read what was touched: how many keys a role or a permission stands for, only the store
/// knows.
fn is_large(since: &Since) -> bool {
    let Since::Touched { subjects, .. } = since else { return false };
    subjects.len() >= LARGE
        || subjects.iter().any(|subject| matches!(subject, Subject::Role(_) | Subject::Permission(_)))
}
