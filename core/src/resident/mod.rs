//! What a decision needs, in memory: every live workspace, root key, API, identity, key and namespace.
//!
//! It is loaded at start and kept right by the change feed. There is no miss path: what is not here does
//! not exist, and guessing costs one hash. Things refer to each other by id, so that a change of an API or
//! an identity is one entry, however many keys it has.
//!
//! A row that cannot be read, written by a newer program or restored from a damaged dump, is left out and
//! logged: what it describes is refused, and everything else goes on.

pub mod balance;
mod by_id;
mod counts;
mod found;
mod keys;
mod limits;
mod loading;
mod made;
mod reading;
mod unreadable;

use std::sync::Arc;

use compact_str::CompactString;
use foldhash::quality::RandomState;
use serde_json::value::RawValue;

use crate::calendar::UnixMs;
use crate::caller::RootKey;
use crate::error::Error;
use crate::keys::address_list::AddressList;
use crate::keys::secret::KeyHash;
use crate::ratelimit::override_rules::OverrideRules;
use crate::store::key_migrations::KeyMigration;
use crate::store::workspaces::Workspace;
use crate::store::{Store, apis, namespaces};
use by_id::{ById, HasId};
use counts::Counted;
pub use counts::Counts;
pub use found::FoundKey;
use keys::Keys;
pub use keys::{Access, Key, NEVER, Place};
pub(crate) use made::Made;

/// An API, with its address list read.
#[derive(Debug)]
pub struct Api {
    /// As stored.
    pub stored: apis::Api,
    /// Where its keys may be verified from; empty means anywhere.
    pub addresses: AddressList,
}

/// A limit that a key or an identity owns.
#[derive(Debug, Clone)]
pub struct Ratelimit {
    /// `rl_…`
    pub id: CompactString,
    /// Unique per owner.
    pub name: Arc<str>,
    /// Cost admitted per window.
    pub limit: i64,
    /// Length of the window in ms.
    pub duration_ms: i64,
    /// Whether every verification counts against it.
    pub auto_apply: bool,
}

/// An identity with its limits.
#[derive(Debug)]
pub struct Identity {
    /// `id_…`
    pub id: CompactString,
    /// Its workspace.
    pub workspace_id: Arc<str>,
    /// What the user's own system calls it.
    pub external_id: Box<str>,
    /// JSON object; an empty one is absent.
    pub meta: Option<Box<RawValue>>,
    /// By name.
    pub ratelimits: Box<[Ratelimit]>,
}

/// A namespace with its overrides.
#[derive(Debug)]
pub struct Namespace {
    /// As stored.
    pub stored: namespaces::Namespace,
    /// Ready to be matched.
    pub overrides: OverrideRules,
}

/// Names and hashes come from outside, so the maps are seeded: nobody can make entries crowd.
type ConcurrentMap<K, V> = papaya::HashMap<K, V, RandomState>;

impl HasId for RootKey {
    fn id(&self) -> &str {
        &self.id
    }
}

/// The resident state of the instance.
#[derive(Debug, Default)]
pub struct Resident {
    workspaces: ConcurrentMap<String, Arc<Workspace>>,
    root_keys: ById<RootKey>,
    apis: Counted<Api>,
    identities: Counted<Identity>,
    /// Those that are there and cannot be read.
    unreadable_identities: papaya::HashSet<CompactString, RandomState>,
    keys: Arc<Keys>,
    key_migrations: ConcurrentMap<String, Arc<KeyMigration>>,
    namespaces: Counted<Namespace>,
    namespace_names: ConcurrentMap<(String, String), String>,
}

impl Resident {
    /// Loads everything that is live.
    ///
    /// # Errors
    /// When the store does not answer, or holds what cannot be read.
    pub async fn load(store: &Store) -> Result<Resident, Error> {
        let resident = Resident::default();
        resident.reload(store).await?;
        Ok(resident)
    }

    /// A workspace.
    pub fn workspace(&self, id: &str) -> Option<Arc<Workspace>> {
        self.workspaces.pin().get(id).cloned()
    }

    /// The workspaces that keep logs and events for a limited number of days only, with that number.
    pub fn log_retentions(&self) -> Vec<(String, i64)> {
        let workspaces = self.workspaces.pin();
        workspaces.iter().filter_map(|(id, workspace)| Some((id.clone(), workspace.log_retention_days?))).collect()
    }

    /// What `look` sees of a workspace. Every request asks, so nothing is shared that all would have to count.
    pub fn look_at_workspace<T>(&self, id: &str, look: impl FnOnce(&Workspace) -> T) -> Option<T> {
        self.workspaces.pin().get(id).map(|workspace| look(workspace))
    }

    /// A root key by the hash of its text.
    pub fn root_key(&self, hash: &KeyHash) -> Option<Arc<RootKey>> {
        self.root_keys.get(hash)
    }

    /// The same by its id.
    pub fn root_key_by_id(&self, id: &str) -> Option<Arc<RootKey>> {
        self.root_keys.get_by_id(id)
    }

    /// The uses of root keys that are not written yet, in Unix ms by id: two processes that write them do not wait in a
    /// circle.
    pub(crate) fn unwritten_uses(&self) -> Vec<(String, UnixMs)> {
        let keys = self.root_keys.all().into_iter();
        let mut unwritten: Vec<_> =
            keys.filter_map(|key| Some((key.id.clone(), key.last_use.unwritten()?))).collect();
        unwritten.sort_unstable();
        unwritten
    }

    /// Notes that these uses are written.
    pub(crate) fn uses_are_written(&self, uses: &[(String, UnixMs)]) {
        for (id, at) in uses {
            if let Some(key) = self.root_keys.get_by_id(id) {
                key.last_use.is_written(*at);
            }
        }
    }

    /// A live API.
    pub fn api(&self, id: &str) -> Option<Arc<Api>> {
        self.look_at_api(id, Arc::clone)
    }

    /// What `look` sees of a live API. Every verification asks: see [`Resident::look_at_workspace`].
    pub fn look_at_api<T>(&self, id: &str, look: impl FnOnce(&Arc<Api>) -> T) -> Option<T> {
        self.apis.look(id, look)
    }

    /// A live identity.
    pub fn identity(&self, id: &str) -> Option<Arc<Identity>> {
        self.identities.get(id)
    }

    /// Whether there is an identity that could not be read.
    pub fn is_unreadable_identity(&self, id: &str) -> bool {
        self.unreadable_identities.pin().contains(id)
    }

    /// A live key by the hash of its text. Its API may have been deleted meanwhile.
    pub fn key(&self, hash: &KeyHash) -> Option<Arc<Key>> {
        self.keys.in_use.get(hash)
    }

    /// A live key by its id, one that waits for its first use included.
    pub fn key_by_id(&self, id: &str) -> Option<Arc<Key>> {
        self.keys.in_use.get_by_id(id).or_else(|| self.keys.waiting.get_by_id(id))
    }

    /// A live key that was imported and not used yet, by the hash of its last part.
    pub fn waiting_key(&self, long_token: &KeyHash) -> Option<Arc<Key>> {
        self.keys.waiting.get(long_token)
    }

    /// A migration of keys.
    pub fn key_migration(&self, id: &str) -> Option<Arc<KeyMigration>> {
        self.key_migrations.pin().get(id).cloned()
    }

    /// A namespace of a workspace by its id or name, deleted ones included; an id wins.
    pub fn namespace(&self, workspace_id: &str, id_or_name: &str) -> Option<Arc<Namespace>> {
        let of_workspace = |id: &str| {
            let found = self.namespaces.get(id);
            found.filter(|namespace| namespace.stored.workspace_id == workspace_id)
        };
        of_workspace(id_or_name).or_else(|| {
            let name = (workspace_id.to_owned(), id_or_name.to_owned());
            let id = self.namespace_names.pin().get(&name).cloned();
            id.and_then(|id| of_workspace(&id))
        })
    }
}
