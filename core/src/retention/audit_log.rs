//! Removing the oldest entries of an audit log, so that what is left is still a chain.

use std::sync::Arc;

use super::ROLE;
use crate::audit::Actor;
use crate::calendar::UnixMs;
use crate::changes::Mutation;
use crate::error::Error;
use crate::metrics::Removed;
use crate::schedule;
use crate::state::State;
use crate::store::Connection;
use crate::store::audit_entry::Entry;
use crate::store::audit_logs;

/// Entries that are looked at, and removed in one transaction at most.
const PORTION: i64 = 500;

/// Removes the entries of a workspace from before a Unix ms that nothing younger precedes.
pub(super) async fn remove(
    state: &Arc<State>,
    workspace_id: &str,
    before: UnixMs,
    now: UnixMs,
) -> Result<(), Error> {
    while !due(&mut *state.store.read().await?, workspace_id, before, now).await?.is_empty() {
        let mut mutation = Mutation::begin_as(state, workspace_id, Actor::system(ROLE)).await?;
        // Again, now that no other process can remove it.
        let due = due(mutation.connection(), workspace_id, before, now).await?;
        if due.is_empty() {
            return Ok(());
        }
        let removed = audit_logs::remove(mutation.connection(), workspace_id, &due).await?;
        mutation.commit().await?;
        state.metrics.removed(Removed::AuditLogs, removed);
        schedule::give_way().await;
    }
    Ok(())
}

async fn due(
    connection: &mut Connection,
    workspace_id: &str,
    before: UnixMs,
    now: UnixMs,
) -> Result<Vec<Entry>, Error> {
    let first = audit_logs::after(connection, workspace_id, i64::MIN, 1).await?;
    if first.iter().all(|entry| is_young(entry, before, now)) {
        return Ok(Vec::new());
    }
    let mut oldest = audit_logs::after(connection, workspace_id, i64::MIN, PORTION).await?;
    oldest.truncate(count_due(&oldest, before, now));
    // How old it is, and what follows it, is not known: it stays until somebody has looked at it.
    if let Some((entry, column)) = oldest.iter().find_map(|entry| Some((entry, entry.unreadable?))) {
        let Entry { id, sequence, .. } = entry;
        return Err(Error::unexpected(format!(
            "entry {sequence} ({id}) of the audit log of {workspace_id} cannot be removed: its {column} cannot be read"
        )));
    }
    Ok(oldest)
}

/// How many entries are due, of the oldest of a log in their order.
///
/// An entry from the future was written by a clock that was wrong: it is as old as the one after it.
fn count_due(oldest: &[Entry], before: UnixMs, now: UnixMs) -> usize {
    let due = oldest.iter().take_while(|entry| !is_young(entry, before, now));
    due.enumerate().filter(|(_, entry)| entry.time < before).last().map_or(0, |(at, _)| at + 1)
}

fn is_young(entry: &Entry, before: UnixMs, now: UnixMs) -> bool {
    (before..=now).contains(&entry.time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry((time, sequence): (i64, i64)) -> Entry {
        Entry::at(sequence, UnixMs::new(time), "", 2)
    }

    #[test]
    fn only_a_beginning_is_due() {
        let due = |times: &[i64]| {
            let entries: Vec<Entry> = times.iter().copied().zip(1..).map(entry).collect();
            count_due(&entries, UnixMs::new(100), UnixMs::new(200))
        };
        assert_eq!(due(&[]), 0);
        assert_eq!(due(&[100, 101]), 0);
        assert_eq!(due(&[98, 99, 100]), 2);
        assert_eq!(due(&[98, 150, 99]), 1, "what follows a younger one stays");
        assert_eq!(due(&[98, 999, 99, 150]), 3, "one from the future keeps nothing");
        assert_eq!(due(&[98, 999, 150]), 1, "and goes with the next one only");
    }
}
