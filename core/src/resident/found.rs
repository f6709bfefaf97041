//! A key as a verification finds it, with what it belongs to.

use std::sync::Arc;

use compact_str::CompactString;

use super::{Api, Identity, Key, Ratelimit, Resident};
use crate::keys::secret;

/// A key that exists, with what it belongs to.
#[derive(Debug, Clone)]
pub struct FoundKey {
    /// The key.
    pub key: Arc<Key>,
    /// The key space of its API, which is live. Copied: to share it would be to count its users, which all
    /// verifications of a moment would do in one place.
    pub key_space_id: CompactString,
    /// Its API, only when that has an address list.
    pub restricted_by: Option<Arc<Api>>,
    /// Its identity, if that is live.
    pub identity: Option<Arc<Identity>>,
}

impl Resident {
    /// Finds a key of a workspace by its text. A key of another workspace or of a deleted API does not exist.
    pub fn find(&self, workspace_id: &str, key: &str) -> Option<FoundKey> {
        self.complete(workspace_id, self.key(&secret::hash(key))?)
    }

    /// A key that was found, with what it belongs to, under the same conditions as [`Resident::find`].
    pub(crate) fn complete(&self, workspace_id: &str, key: Arc<Key>) -> Option<FoundKey> {
        if *key.place.workspace_id != *workspace_id {
            return None;
        }
        let (key_space_id, restricted_by) = self.look_at_api(&key.place.api_id, |api| {
            (CompactString::from(&api.stored.key_space_id), (!api.addresses.is_empty()).then(|| api.clone()))
        })?;
        let identity = key.identity_id.as_deref().and_then(|id| self.identity(id));
        // Without its identity's limits a key would be limited less than it should be.
        let misses = |id: &Arc<str>| identity.is_none() && self.is_unreadable_identity(id);
        if key.identity_id.as_ref().is_some_and(misses) {
            return None;
        }
        Some(FoundKey { key, key_space_id, restricted_by, identity })
    }
}

impl FoundKey {
    /// The limits of a key and of its identity, with whose count they are. A limit of the key hides the
    /// identity's limit of the same name completely.
    pub fn limits(&self) -> impl Iterator<Item = (&Ratelimit, &str)> {
        let own = self.key.ratelimits.iter().map(|limit| (limit, &*self.key.id));
        own.chain(self.shared_limits())
    }

    /// The limits of the key's identity that no limit of the key hides.
    pub fn shared_limits(&self) -> impl Iterator<Item = (&Ratelimit, &str)> {
        let hidden = |name: &str| self.key.ratelimits.iter().any(|limit| *limit.name == *name);
        self.identity.iter().flat_map(move |identity| {
            identity
                .ratelimits
                .iter()
                .filter(move |limit| !hidden(&limit.name))
                .map(move |limit| (limit, &*identity.id))
        })
    }
}
