//! The keys in memory: by their hash for verifications, by their id for changes.
//!
//! A million keys are to take little memory, so what many keys have in common (their place, their sets of
//! permissions and roles) is shared, and ids lie in the entries themselves.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use serde_json::value::RawValue;

use super::counts::Tally;
use super::{ById, HasId, Ratelimit};
use crate::calendar::UnixMs;
use crate::keys::imported;
use crate::keys::secret::KeyHash;
use crate::resident::balance::KnownBalance;

/// Where a key belongs, which many keys have in common.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Its workspace.
    pub workspace_id: Arc<str>,
    /// Its API.
    pub api_id: Arc<str>,
    /// The migration that it was imported with, until it is first used.
    pub pending_migration_id: Option<Arc<str>>,
}

/// What a key holds, which many keys have in common.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// Slugs, direct and through roles, unique and sorted.
    pub permissions: Box<[Arc<str>]>,
    /// Role names, sorted.
    pub roles: Box<[Arc<str>]>,
}

/// The expiry of keys that have none.
pub const NEVER: UnixMs = UnixMs::new(i64::MAX);

/// A key with all that its verification needs but its balance, which the store decides on.
#[derive(Debug)]
pub struct Key {
    /// `key_…`
    pub id: CompactString,
    /// Where it belongs.
    pub place: Arc<Place>,
    /// For people.
    pub name: Option<CompactString>,
    /// The identity it was linked to, which may have been deleted since.
    pub identity_id: Option<Arc<str>>,
    /// JSON object; an empty one is absent.
    pub meta: Option<Box<RawValue>>,
    /// Whether it may be used.
    pub enabled: bool,
    /// Unix ms after which it is refused; [`NEVER`] when never. An `Option` would take twice the room.
    pub expires_at: UnixMs,
    /// What is known of its balance; `None` for an unlimited key.
    pub balance: Option<Box<KnownBalance>>,
    /// What it holds.
    pub access: Arc<Access>,
    /// By name.
    pub ratelimits: Box<[Ratelimit]>,
}

impl Key {
    /// Whether the key holds exactly this permission, itself or through a role.
    pub fn holds(&self, permission: &str) -> bool {
        self.access.permissions.binary_search_by(|slug| (**slug).cmp(permission)).is_ok()
    }

    /// Whether it was imported and not used yet.
    pub fn is_waiting(&self) -> bool {
        self.place.pending_migration_id.is_some()
    }
}

impl HasId for Key {
    fn id(&self) -> &str {
        &self.id
    }
}

/// What is read of a key, whichever way it is read.
pub(super) struct KeyRow<'a> {
    pub(super) id: &'a str,
    pub(super) workspace_id: &'a str,
    pub(super) api_id: &'a str,
    pub(super) hash: &'a str,
    pub(super) pending_migration_id: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) identity_id: Option<&'a str>,
    pub(super) meta: Option<Box<RawValue>>,
    pub(super) enabled: bool,
    pub(super) expires_at: Option<UnixMs>,
}

/// What belongs to a key besides its row.
pub(super) struct Belongings {
    /// Whether its balance, if it has one, is refilled.
    pub(super) has_refill: Option<bool>,
    pub(super) access: Arc<Access>,
    pub(super) ratelimits: Box<[Ratelimit]>,
}

/// Every live key of the instance.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) in_use: ById<Key>,
    /// Imported keys by the hash of their last part, until they are first used. They are apart, so that
    /// no ordinary verification can hit them.
    pub(super) waiting: ById<Key>,
    /// How many there are of each API.
    by_api: Tally,
}

impl Keys {
    /// Files a key under what it can be found by. What an importer sent may be any text: a key whose hash
    /// is none that we could compute is found by nothing.
    pub(super) fn insert(&self, row: KeyRow<'_>, belongings: Belongings, shared: &mut Sharing) {
        let key = Key {
            id: row.id.into(),
            place: shared.place(&row),
            name: row.name.map(CompactString::from),
            identity_id: row.identity_id.map(|id| shared.text(id)),
            meta: row.meta,
            enabled: row.enabled,
            expires_at: row.expires_at.unwrap_or(NEVER),
            balance: belongings.has_refill.map(|has_refill| KnownBalance::new(has_refill).into()),
            access: belongings.access,
            ratelimits: belongings.ratelimits,
        };
        if let Ok(hash) = KeyHash::from_base64(row.hash) {
            self.by_api.add(row.api_id, 1);
            let [replaced, previous] = self.in_use.insert(row.id, hash, key);
            self.count_out([replaced, previous, self.waiting.remove(row.id)]);
        } else if let Some(hash) = imported::long_token_hash(row.hash).filter(|_| key.is_waiting()) {
            self.by_api.add(row.api_id, 1);
            self.count_out(self.waiting.insert(row.id, hash, key));
        } else {
            self.remove(row.id);
        }
    }

    /// Makes room for that many keys at once: growing step by step leaves memory behind.
    pub(super) fn reserve(&self, count: usize) {
        self.in_use.reserve(count);
    }

    pub(super) fn remove(&self, id: &str) {
        self.count_out([self.in_use.remove(id), self.waiting.remove(id)]);
    }

    fn count_out(&self, gone: impl IntoIterator<Item = Option<Arc<Key>>>) {
        for key in gone.into_iter().flatten() {
            self.by_api.add(&key.place.api_id, -1);
        }
    }

    /// How many there are of an API.
    pub(super) fn of_api(&self, api_id: &str) -> i64 {
        self.by_api.of(api_id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_use.len() + self.waiting.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.in_use.len()
    }

    pub(super) fn ids(&self) -> Vec<String> {
        [self.in_use.ids(), self.waiting.ids()].concat()
    }
}

/// Shares what is equal between the keys of one load.
#[derive(Default)]
pub(super) struct Sharing {
    texts: HashSet<Arc<str>, RandomState>,
    accesses: HashSet<Arc<Access>, RandomState>,
    places: HashSet<Arc<Place>, RandomState>,
    last_place: Option<Arc<Place>>,
}

impl Sharing {
    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.texts.insert(new.clone());
        new
    }

    /// Permissions and roles, in any order and some perhaps more than once.
    pub(super) fn access(&mut self, permissions: Vec<Arc<str>>, roles: Vec<Arc<str>>) -> Arc<Access> {
        let set = |mut texts: Vec<Arc<str>>| {
            texts.sort_unstable();
            texts.dedup();
            texts.into_boxed_slice()
        };
        let access = Access { permissions: set(permissions), roles: set(roles) };
        shared(&mut self.accesses, access)
    }

    /// Keys of one place tend to follow each other.
    fn place(&mut self, row: &KeyRow<'_>) -> Arc<Place> {
        let is_here = |place: &&Arc<Place>| {
            *place.workspace_id == *row.workspace_id
                && *place.api_id == *row.api_id
                && place.pending_migration_id.as_deref() == row.pending_migration_id
        };
        if let Some(last) = self.last_place.as_ref().filter(is_here) {
            return last.clone();
        }
        let place = Place {
            workspace_id: self.text(row.workspace_id),
            api_id: self.text(row.api_id),
            pending_migration_id: row.pending_migration_id.map(|id| self.text(id)),
        };
        self.last_place.insert(shared(&mut self.places, place)).clone()
    }
}

/// The one that is equal and known already, or else this one.
fn shared<T: Eq + Hash>(known: &mut HashSet<Arc<T>, RandomState>, thing: T) -> Arc<T> {
    if let Some(known) = known.get(&thing) {
        return known.clone();
    }
    let new = Arc::new(thing);
    known.insert(new.clone());
    new
}
