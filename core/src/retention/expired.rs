//! Removing keys and root keys that expired long enough ago, as if somebody deleted them for good.

use std::sync::Arc;

use super::{PORTION, ROLE};
use crate::audit::{Actor, Event, Target};
use crate::calendar::UnixMs;
use crate::changes::Mutation;
use crate::error::Error;
use crate::metrics::Removed;
use crate::root_keys::root_key_target;
use crate::schedule;
use crate::state::State;
use crate::store::subject::Subject;
use crate::store::{keys, root_keys};

/// Removes the keys of a workspace that expired before a Unix ms.
pub(super) async fn remove(state: &Arc<State>, workspace_id: &str, before: UnixMs) -> Result<(), Error> {
    while is_due(state, workspace_id, before).await? {
        let mut mutation = Mutation::begin_as(state, workspace_id, Actor::system(ROLE)).await?;
        mutation.correlate();
        let keys = remove_keys(&mut mutation, before).await?;
        let root_keys = remove_root_keys(&mut mutation, before).await?;
        if keys == 0 && root_keys == 0 {
            // As in `deleted`.
            return Ok(());
        }
        mutation.commit().await?;
        state.metrics.removed(Removed::ExpiredKeys, keys);
        state.metrics.removed(Removed::ExpiredRootKeys, root_keys);
        schedule::give_way().await;
    }
    Ok(())
}

async fn is_due(state: &Arc<State>, workspace_id: &str, before: UnixMs) -> Result<bool, Error> {
    let mut connection = state.store.read().await?;
    Ok(!keys::expired(&mut connection, workspace_id, before, 1).await?.is_empty()
        || !root_keys::expired(&mut connection, workspace_id, before, 1).await?.is_empty())
}

async fn remove_keys(mutation: &mut Mutation, before: UnixMs) -> Result<u64, Error> {
    let workspace_id = mutation.workspace_id().to_owned();
    let expired = keys::expired(mutation.connection(), &workspace_id, before, PORTION).await?;
    let ids: Vec<String> = expired.iter().map(|key| key.id.clone()).collect();
    let removed = keys::purge(mutation.connection(), &ids).await?;
    for key in expired {
        let (id, at, known) = (key.id, key.expired_at.rfc3339(), key.known_as);
        let event = Event::new("key.delete", format!("Permanently deleted key {id}, which expired at {at}"));
        mutation.record(event.on(Target::key(
            &id,
            known.name.as_deref(),
            &known.start,
            known.external_id.as_deref(),
        )));
        mutation.touch(Subject::Key(id));
    }
    Ok(removed)
}

async fn remove_root_keys(mutation: &mut Mutation, before: UnixMs) -> Result<u64, Error> {
    let workspace_id = mutation.workspace_id().to_owned();
    let expired = root_keys::expired(mutation.connection(), &workspace_id, before, PORTION).await?;
    let ids: Vec<String> = expired.iter().map(|key| key.id.clone()).collect();
    let removed = root_keys::purge(mutation.connection(), &ids).await?;
    for key in expired {
        let at = key.expires_at.map(UnixMs::rfc3339).unwrap_or_default();
        let description = format!("Permanently deleted root key {}, which expired at {at}", key.id);
        mutation.record(Event::new("rootKey.delete", description).on(root_key_target(&key)));
        mutation.touch(Subject::RootKey(key.id));
    }
    Ok(removed)
}
