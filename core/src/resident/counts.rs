//! How many things each workspace has: counted as they come and go, so that nobody has to count them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use compact_str::CompactString;

use super::{Api, ConcurrentMap, Identity, Namespace, Resident};
use crate::metrics::Sizes;

/// Numbers by an id; what has none has 0.
#[derive(Debug, Default)]
pub(super) struct Tally(ConcurrentMap<CompactString, AtomicI64>);

impl Tally {
    pub(super) fn add(&self, id: &str, amount: i64) {
        let numbers = self.0.pin();
        let number = match numbers.get(id) {
            Some(known) => known,
            None => numbers.get_or_insert_with(id.into(), AtomicI64::default),
        };
        number.fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn of(&self, id: &str) -> i64 {
        self.0.pin().get(id).map_or(0, |number| number.load(Ordering::Relaxed))
    }
}

/// Belongs to a workspace.
pub(super) trait Owned {
    fn workspace_id(&self) -> &str;

    /// Whether it counts.
    fn is_live(&self) -> bool {
        true
    }
}

impl Owned for Api {
    fn workspace_id(&self) -> &str {
        &self.stored.workspace_id
    }
}

impl Owned for Identity {
    fn workspace_id(&self) -> &str {
        &self.workspace_id
    }
}

impl Owned for Namespace {
    fn workspace_id(&self) -> &str {
        &self.stored.workspace_id
    }

    fn is_live(&self) -> bool {
        !self.stored.deleted
    }
}

/// Things by their id, counted by workspace.
#[derive(Debug)]
pub(super) struct Counted<T> {
    things: ConcurrentMap<CompactString, Arc<T>>,
    tally: Tally,
}

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Counted { things: ConcurrentMap::default(), tally: Tally::default() }
    }
}

impl<T: Owned> Counted<T> {
    pub(super) fn get(&self, id: &str) -> Option<Arc<T>> {
        self.look(id, Arc::clone)
    }

    pub(super) fn look<R>(&self, id: &str, look: impl FnOnce(&Arc<T>) -> R) -> Option<R> {
        self.things.pin().get(id).map(look)
    }

    pub(super) fn insert(&self, id: &str, thing: T) {
        let thing = Arc::new(thing);
        self.count(&thing, 1);
        if let Some(replaced) = self.things.pin().insert(id.into(), thing) {
            self.count(replaced, -1);
        }
    }

    pub(super) fn remove(&self, id: &str) -> Option<Arc<T>> {
        let removed = self.things.pin().remove(id).cloned()?;
        self.count(&removed, -1);
        Some(removed)
    }

    /// Shows each of them.
    pub(super) fn each(&self, mut show: impl FnMut(&T)) {
        self.things.pin().values().for_each(|thing| show(thing));
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.things.pin().keys().map(ToString::to_string).collect()
    }

    /// The sum of what `number` says of each live thing of a workspace.
    pub(super) fn sum(&self, workspace_id: &str, number: impl Fn(&str) -> i64) -> i64 {
        let things = self.things.pin();
        let own = things.iter().filter(|(_, thing)| thing.is_live() && thing.workspace_id() == workspace_id);
        own.map(|(id, _)| number(id)).sum()
    }

    /// How many live ones a workspace has.
    pub(super) fn of(&self, workspace_id: &str) -> i64 {
        self.tally.of(workspace_id)
    }

    pub(super) fn len(&self) -> usize {
        self.things.len()
    }

    pub(super) fn reserve(&self, count: usize) {
        self.things.pin().reserve(count);
    }

    fn count(&self, thing: &T, amount: i64) {
        if thing.is_live() {
            self.tally.add(thing.workspace_id(), amount);
        }
    }
}

/// How many live things of each kind a workspace has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the members are the kinds")]
pub struct Counts {
    pub apis: i64,
    /// Of live APIs.
    pub keys: i64,
    pub identities: i64,
    pub namespaces: i64,
}

impl Resident {
    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// How many of each there are.
    pub fn sizes(&self) -> Sizes {
        Sizes([
            ("workspaces", self.workspaces.len()),
            ("root_keys", self.root_keys.len()),
            ("apis", self.apis.len()),
            ("identities", self.identities.len()),
            ("keys", self.keys.len()),
            ("namespaces", self.namespaces.len()),
        ])
    }

    /// How many live keys an API has.
    pub fn keys_of_api(&self, api_id: &str) -> i64 {
        self.keys.of_api(api_id)
    }

    /// How many live things a workspace has.
    pub fn counts(&self, workspace_id: &str) -> Counts {
        Counts {
            apis: self.apis.of(workspace_id),
            keys: self.apis.sum(workspace_id, |api_id| self.keys.of_api(api_id)),
            identities: self.identities.of(workspace_id),
            namespaces: self.namespaces.of(workspace_id),
        }
    }
}
