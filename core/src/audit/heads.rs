//! The hashes of newest entries, told to the server's own log.
//!
//! Who can write the database can write a whole new chain into it. A hash that was kept elsewhere shows it: logs
//! mostly are elsewhere, and `keyrack audit verify --expect` takes what is written here.

use std::collections::HashMap;
use std::time::Duration;

use crate::error::Error;
use crate::schedule::Job;
use crate::store::Store;
use crate::store::audit_logs::{self, Link};

/// The hash of an entry as it is kept: `WORKSPACE:SEQUENCE:HASH`.
pub fn text(workspace_id: &str, (sequence, hash): &Link) -> String {
    format!("{workspace_id}:{sequence}:{hash}")
}

/// Writes the newest hashes to the log: all at the start, and each hour those that are new.
#[derive(Debug)]
pub(crate) struct Heads {
    store: Store,
    written: HashMap<String, Link>,
}

impl Heads {
    pub(crate) fn new(store: Store) -> Self {
        Heads { store, written: HashMap::new() }
    }
}

impl Job for Heads {
    const NAME: &'static str = "audit_heads";
    const PERIOD: Duration = Duration::from_secs(60 * 60);

    async fn run(&mut self) -> Result<(), Error> {
        for (workspace_id, head) in audit_logs::noted_heads(&mut *self.store.read().await?).await? {
            if self.written.get(&workspace_id) != Some(&head) {
                write(&workspace_id, &head);
                self.written.insert(workspace_id, head);
            }
        }
        Ok(())
    }
}

/// Writes the newest hash of every workspace to the log.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn write_all(store: &Store) -> Result<(), Error> {
    for (workspace_id, head) in audit_logs::noted_heads(&mut *store.read().await?).await? {
        write(&workspace_id, &head);
    }
    Ok(())
}

fn write(workspace_id: &str, head: &Link) {
    tracing::info!(target: "keyrack::audit", head = text(workspace_id, head), "newest entry of an audit log");
}
