//! Removing what was deleted long enough ago.
//!
//! Whoever deleted it is in the audit log; that its row goes as well is no event. Only namespaces are still known
//! in memory when they are deleted, so only they are in the change feed.

use std::sync::Arc;

use super::{PORTION, ROLE};
use crate::audit::Actor;
use crate::calendar::UnixMs;
use crate::changes::Mutation;
use crate::error::Error;
use crate::metrics::Removed;
use crate::schedule;
use crate::state::State;
use crate::store::subject::Subject;
use crate::store::{keys, tombstones};

/// Removes what was deleted in a workspace before a Unix ms.
pub(super) async fn remove(state: &Arc<State>, workspace_id: &str, before: UnixMs) -> Result<(), Error> {
    while tombstones::any(&mut *state.store.read().await?, workspace_id, before).await? {
        let mut mutation = Mutation::begin_as(state, workspace_id, Actor::system(ROLE)).await?;
        let Portion { removed, unlinked } = remove_portion(&mut mutation, before).await?;
        if unlinked == 0 && removed.iter().all(|(_, rows)| *rows == 0) {
            // Another process was first, or something keeps a row that no step removes: the next run looks again.
            return Ok(());
        }
        mutation.commit().await?;
        for (kind, rows) in removed {
            state.metrics.removed(kind, rows);
        }
        schedule::give_way().await;
    }
    Ok(())
}

/// What one transaction did.
struct Portion {
    /// Rows by kind.
    removed: [(Removed, u64); 6],
    /// Keys that were taken from identities, which go once they have none.
    unlinked: u64,
}

/// What refers to something goes before it.
async fn remove_portion(mutation: &mut Mutation, before: UnixMs) -> Result<Portion, Error> {
    let workspace = mutation.workspace_id().to_owned();
    let connection = mutation.connection();
    let keys = tombstones::keys(connection, &workspace, before, PORTION).await?;
    let keys = keys::purge(connection, &keys).await?;
    let unlinked = tombstones::unlink_identities(connection, &workspace, before, PORTION).await?;
    let identities = tombstones::remove_identities(connection, &workspace, before, PORTION).await?;
    let apis = tombstones::remove_apis(connection, &workspace, before, PORTION).await?;
    let overrides = tombstones::remove_overrides(connection, &workspace, before, PORTION).await?;
    let root_keys = tombstones::remove_root_keys(connection, &workspace, before, PORTION).await?;
    let namespaces = tombstones::remove_namespaces(connection, &workspace, before, PORTION).await?;
    let removed = [
        (Removed::Keys, keys),
        (Removed::Identities, identities),
        (Removed::Apis, apis),
        (Removed::Overrides, overrides),
        (Removed::RootKeys, root_keys),
        (Removed::Namespaces, namespaces.len() as u64),
    ];
    for id in namespaces {
        mutation.touch(Subject::Namespace(id));
    }
    Ok(Portion { removed, unlinked })
}
