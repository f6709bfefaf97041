//! Removing the oldest entries of an audit log, so that what is left is still a chain.

use super::ROLE;
use crate::audit::{Actor, Entry};
use crate::changes::Mutation;
use crate::error::Error;
use crate::keyrack::Keyrack;
use crate::metrics::Removed;
use crate::schedule;
use crate::store::Connection;
use crate::store::audit_logs::{self, Link};

/// Entries that are looked at, and removed in one transaction at most.
const PORTION: i64 = 500;

/// Removes the entries of a workspace from before a Unix ms that nothing younger precedes.
pub(super) async fn remove(keyrack: &Keyrack, workspace_id: &str, before: i64, now: i64) -> Result<(), Error> {
    while due(&mut *keyrack.store().read().await?, workspace_id, before, now).await?.is_some() {
        let mut mutation = Mutation::begin_as(keyrack, workspace_id, Actor::system(ROLE)).await?;
        // Again, now that no other process can remove it.
        let Some(last) = due(mutation.connection(), workspace_id, before, now).await? else { return Ok(()) };
        let removed = audit_logs::remove_up_to(mutation.connection(), workspace_id, last).await?;
        mutation.commit().await?;
        keyrack.metrics().removed(Removed::AuditLogs, removed);
        schedule::give_way().await;
    }
    Ok(())
}

async fn due(
    connection: &mut Connection,
    workspace_id: &str,
    before: i64,
    now: i64,
) -> Result<Option<Link>, Error> {
    let first = audit_logs::after(connection, workspace_id, i64::MIN, 1).await?;
    if first.iter().all(|entry| is_young(entry, before, now)) {
        return Ok(None);
    }
    let oldest = audit_logs::after(connection, workspace_id, i64::MIN, PORTION).await?;
    Ok(last_due(&oldest, before, now))
}

/// The last entry that is due, of the oldest of a log in their order.
///
/// An entry from the future was written by a clock that was wrong: it is as old as the one after it.
fn last_due(oldest: &[Entry], before: i64, now: i64) -> Option<Link> {
    let due = oldest.iter().take_while(|entry| !is_young(entry, before, now));
    let last = due.filter(|entry| entry.time < before).last()?;
    Some((last.sequence, last.hash.clone()))
}

fn is_young(entry: &Entry, before: i64, now: i64) -> bool {
    (before..=now).contains(&entry.time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry((time, sequence): (i64, i64)) -> Entry {
        Entry {
            id: format!("log_{sequence}"),
            workspace_id: "ws_1".to_owned(),
            sequence,
            time,
            event: "key.create".to_owned(),
            description: "Created".to_owned(),
            actor: "{}".to_owned(),
            targets: "[]".to_owned(),
            remote_ip: None,
            user_agent: None,
            correlation_id: None,
            previous_hash: String::new(),
            hash: String::new(),
        }
    }

    #[test]
    fn only_a_beginning_is_due() {
        let last = |times: &[i64]| {
            let entries: Vec<Entry> = times.iter().copied().zip(1..).map(entry).collect();
            last_due(&entries, 100, 200).map(|(sequence, _)| sequence)
        };
        assert_eq!(last(&[]), None);
        assert_eq!(last(&[100, 101]), None);
        assert_eq!(last(&[98, 99, 100]), Some(2));
        assert_eq!(last(&[98, 150, 99]), Some(1), "what follows a younger one stays");
        assert_eq!(last(&[98, 999, 99, 150]), Some(3), "one from the future keeps nothing");
        assert_eq!(last(&[98, 999, 150]), Some(1), "and goes with the next one only");
    }
}
