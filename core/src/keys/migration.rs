//! Imported keys at their first verification: found by the last part of their text, and known by the whole of it from
//! then on (see [`imported`](super::imported)).

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::caller::Caller;
use crate::changes::Mutation;
use crate::error::Error;
use crate::keys::imported::{Algorithm, PrefixedKey, start_of};
use crate::keys::secret::{self, KeyHash};
use crate::resident::{FoundKey, Key, Resident};
use crate::state::State;
use crate::store::keys;
use crate::store::subject::Subject;

/// Finds a key that waits for its first verification, by its last part. It must have been imported with
/// the migration that the request names, in the caller's workspace.
///
/// # Errors
/// 400 for a key that has not the parts that the migration's algorithm needs.
pub fn find_waiting(
    resident: &Resident,
    workspace_id: &str,
    key: &str,
    migration_id: &str,
) -> Result<Option<FoundKey>, Error> {
    let migration = resident.key_migration(migration_id);
    let Some(migration) = migration.filter(|migration| migration.workspace_id == workspace_id) else {
        return Ok(None);
    };
    if Algorithm::named(&migration.algorithm) != Some(Algorithm::PrefixedApiKey) {
        return Ok(None);
    }
    if resident.key(&secret::hash(key)).is_some() {
        return Ok(None);
    }
    let Some(parts) = PrefixedKey::parse(key) else {
        return Err(Error::invalid(
            "body.key",
            "a key of this migration has the form <prefix>_<short token>_<long token>",
            "Send the whole key, or leave `migrationId` out.",
        ));
    };
    let waiting = resident.waiting_key(&KeyHash::from_bytes(Sha256::digest(parts.long).into()));
    let waiting = waiting.filter(|key| key.place.pending_migration_id.as_deref() == Some(migration_id));
    Ok(waiting.and_then(|key| resident.complete(workspace_id, key)))
}

/// Ends the migration of a key that was just found by its text: from now on it is known by the hash of
/// the whole text and shows its first characters. `false` when the text is reserved, as that of a
/// deleted key is, or became another key's meanwhile; the key then stays as it was.
///
/// # Errors
/// When the store does not answer.
pub async fn settle(state: &Arc<State>, caller: &Caller, found: &Arc<Key>, text: &str) -> Result<bool, Error> {
    let mut mutation = Mutation::begin_in(state, caller, &found.place.workspace_id).await?;
    let Some(stored) = keys::find(mutation.connection(), &found.id).await? else { return Ok(false) };
    if stored.pending_migration_id.is_none() {
        // Another verification was faster.
        return Ok(stored.hash == secret::hash(text).to_base64());
    }
    let hash = secret::hash(text).to_base64();
    let start = if stored.hash == hash {
        start_of(text)
    } else {
        if keys::is_hash_of_any(mutation.connection(), &hash).await? {
            return Ok(false);
        }
        PrefixedKey::parse(text).map_or_else(|| start_of(text), |parts| parts.start())
    };
    let now = mutation.now();
    keys::settle(mutation.connection(), &stored.id, &hash, &start, now).await?;
    mutation.touch(Subject::Key(stored.id));
    mutation.commit().await?;
    Ok(true)
}
