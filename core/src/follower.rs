//! Following the changes that other processes make on the same database.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::error::Error;
use crate::schedule;
use crate::state::State;

/// How often their changes are looked for.
const POLL: Duration = Duration::from_millis(250);

/// Follows the changes of other processes on the same database until the program ends.
pub(crate) async fn follow(state: Arc<State>) {
    let looking = state.clone();
    let look = move || {
        let state = looking.clone();
        async move { state.look().await }
    };
    follow_by(state, look).await;
}

/// The same, where `look` tells the workspaces whose changes memory does not have. One that fails or panics is counted,
/// and the next look comes as if nothing had been.
async fn follow_by<L>(state: Arc<State>, look: impl Fn() -> L)
where
    L: Future<Output = Result<Vec<String>, Error>>,
{
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    // Those that take long keep nobody from looking, nor other workspaces from being followed.
    let (mut running, mut followed) = (HashSet::new(), JoinSet::new());
    loop {
        ticks.tick().await;
        let mut outcomes = Vec::new();
        while let Some(done) = followed.try_join_next() {
            let (workspace_id, outcome) =
                done.unwrap_or_else(|ended| (String::new(), Err(Error::unexpected(ended))));
            running.remove(&workspace_id);
            outcomes.push(outcome);
        }
        match schedule::caught(look()).await {
            Ok(behind) => {
                for workspace_id in behind {
                    if running.insert(workspace_id.clone()) {
                        let state = state.clone();
                        followed.spawn(async move {
                            let outcome = schedule::caught(state.follow(&workspace_id)).await;
                            (workspace_id, outcome)
                        });
                    }
                }
                outcomes.push(Ok(()));
            }
            Err(error) => outcomes.push(Err(error)),
        }
        if state.store.is_closed() {
            return;
        }
        let failed = outcomes.into_iter().find_map(Result::err);
        if failing && failed.is_none() {
            tracing::info!("following the changes of other processes again");
        }
        if let Some(error) = &failed {
            state.following.failures.add(1);
            if !failing {
                tracing::warn!(%error, cause = error.cause(), "the changes of other processes cannot be read; trying again");
            }
        }
        failing = failed.is_some();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::clock::Clock;
    use crate::keyrack::Keyrack;
    use crate::store::Location;

    #[tokio::test]
    async fn a_look_at_the_changes_that_panics_or_fails_is_counted_and_the_next_one_comes() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("keyrack.db"));
        let keyrack = Keyrack::open(&location, Clock::system()).await.unwrap();
        let (state, looks) = (keyrack.state().clone(), Arc::new(AtomicU32::new(0)));
        let (looking, counted) = (state.clone(), looks.clone());
        let look = move || {
            let (state, number) = (looking.clone(), counted.fetch_add(1, Ordering::SeqCst));
            async move {
                match number {
                    0 => panic!("of the test"),
                    1 => Err(Error::database_unavailable("of the test")),
                    _ => state.look().await,
                }
            }
        };
        assert_eq!(state.following.age(), None);
        let following = tokio::spawn(follow_by(state.clone(), look));
        while looks.load(Ordering::SeqCst) < 4 {
            tokio::time::sleep(POLL).await;
        }
        assert_eq!(keyrack.state().change_feed_failures(), 2);
        assert!(state.following.age().is_some() && !keyrack.state().is_stale());
        keyrack.close().await;
        following.await.unwrap();
    }
}
