//! Things that a credential finds by its hash, and a change by their id.

use std::sync::Arc;

use compact_str::CompactString;

use super::ConcurrentMap;
use crate::keys::secret::KeyHash;

/// Knows its own id.
pub(super) trait HasId {
    fn id(&self) -> &str;
}

/// Things that are looked up by hash and refreshed by id.
#[derive(Debug)]
pub(super) struct ById<T> {
    by_hash: ConcurrentMap<KeyHash, Arc<T>>,
    hashes: ConcurrentMap<CompactString, KeyHash>,
}

impl<T> Default for ById<T> {
    fn default() -> Self {
        ById { by_hash: ConcurrentMap::default(), hashes: ConcurrentMap::default() }
    }
}

impl<T: HasId> ById<T> {
    pub(super) fn get(&self, hash: &KeyHash) -> Option<Arc<T>> {
        self.by_hash.pin().get(hash).cloned()
    }

    pub(super) fn get_by_id(&self, id: &str) -> Option<Arc<T>> {
        let hash = self.hashes.pin().get(id).copied()?;
        self.get(&hash).filter(|thing| thing.id() == id)
    }

    /// Puts a thing in its place: what is not found any more since then.
    pub(super) fn insert(&self, id: &str, hash: KeyHash, thing: T) -> [Option<Arc<T>>; 2] {
        let previous = self.hashes.pin().insert(id.into(), hash).copied();
        let replaced = self.by_hash.pin().insert(hash, Arc::new(thing)).cloned();
        let previous = previous.filter(|previous| *previous != hash);
        [replaced, previous.and_then(|previous| self.forget(&previous, id))]
    }

    /// Forgets what is found by a hash, unless that is another thing by now.
    fn forget(&self, hash: &KeyHash, id: &str) -> Option<Arc<T>> {
        let things = self.by_hash.pin();
        let forgotten = things.remove_if(hash, |_, thing| thing.id() == id);
        forgotten.ok().flatten().map(|(_, thing)| thing.clone())
    }

    pub(super) fn reserve(&self, count: usize) {
        self.by_hash.pin().reserve(count);
        self.hashes.pin().reserve(count);
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    pub(super) fn all(&self) -> Vec<Arc<T>> {
        self.by_hash.pin().values().cloned().collect()
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.hashes.pin().keys().map(ToString::to_string).collect()
    }

    pub(super) fn remove(&self, id: &str) -> Option<Arc<T>> {
        let hash = self.hashes.pin().remove(id).copied()?;
        self.forget(&hash, id)
    }
}
