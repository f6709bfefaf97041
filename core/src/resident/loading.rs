//! Loading every key of the instance: at the start, and after having been away for too long.
//!
//! Rows are read one by one and kept by nobody: first what keys hold, as numbers; then the keys, which are
//! complete at once. Sets of permissions and roles are made once for all keys that hold the same.

use std::sync::Arc;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::keys::{Belongings, KeyRow, Keys, Numbered, Sharing};
use super::{Ratelimit, left_out};
use crate::error::Error;
use crate::store::Store;
use crate::store::scan::Row;

const PERMISSIONS: &str = "SELECT id, slug FROM permissions";
const ROLES: &str = "SELECT id, name FROM roles";
const PERMISSIONS_OF_ROLES: &str = "SELECT role_id, permission_id FROM role_permissions";
const PERMISSIONS_OF_KEYS: &str = "SELECT key_id, permission_id FROM key_permissions ORDER BY key_id";
const ROLES_OF_KEYS: &str = "SELECT key_id, role_id FROM key_roles ORDER BY key_id";
const LIMITS_OF_KEYS: &str = "SELECT key_id, id, name, limit_count, duration_ms, auto_apply FROM ratelimits \
                              WHERE key_id IS NOT NULL ORDER BY key_id, name";
const COUNT: &str = "SELECT COUNT(*) FROM keys";
const BALANCES: &str = "SELECT key_id, refill_amount, remaining FROM credits WHERE remaining IS NOT NULL";
const KEYS: &str = "SELECT k.id, k.workspace_id, k.api_id, k.hash, k.pending_migration_id, k.name, k.identity_id, \
                    k.meta, k.enabled, k.expires_at FROM keys k JOIN apis a ON a.id = k.api_id \
                    WHERE k.deleted_at IS NULL AND a.deleted_at IS NULL";

type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
type HashSet<T> = std::collections::HashSet<T, RandomState>;

/// Numbers of permissions or roles.
type Numbers = SmallVec<[u32; 2]>;

/// What was read so far.
struct Loading {
    keys: Arc<Keys>,
    shared: Sharing,
    permissions: Numbered,
    roles: Numbered,
    permissions_of_roles: HashMap<u32, Numbers>,
    held: HashMap<CompactString, Held>,
    limits: HashMap<CompactString, Vec<Ratelimit>>,
    /// Whether the balance is refilled.
    balances: HashMap<CompactString, bool>,
    /// Sets that were made already, by what is in them.
    sets: HashMap<Held, (Texts, Texts)>,
    found: HashSet<CompactString>,
    remembers_found: bool,
    /// First columns of rows that cannot be read. Of what belongs to a key they are the key's id: it must go
    /// with them, or it would be limited less than it should be.
    unreadable: HashSet<CompactString>,
}

type Texts = Arc<[Arc<str>]>;

/// What a key holds.
#[derive(Default, Clone, PartialEq, Eq, Hash)]
struct Held {
    permissions: Numbers,
    roles: Numbers,
}

/// Reads every live key into `keys`. `is_empty` says that there is none yet; else those that are no longer
/// live go.
pub(super) async fn load_keys(store: &Store, keys: &Arc<Keys>, is_empty: bool) -> Result<(), Error> {
    let mut loading = Loading {
        keys: keys.clone(),
        shared: Sharing::default(),
        permissions: Numbered::default(),
        roles: Numbered::default(),
        permissions_of_roles: HashMap::default(),
        held: HashMap::default(),
        limits: HashMap::default(),
        balances: HashMap::default(),
        sets: HashMap::default(),
        found: HashSet::default(),
        remembers_found: !is_empty,
        unreadable: HashSet::default(),
    };
    for (query, show) in Loading::STEPS {
        loading = store.scan(query, loading, show, Loading::left_out).await?;
    }
    if !is_empty {
        for id in keys.ids() {
            if !loading.found.contains(id.as_str()) {
                keys.remove(&id);
            }
        }
    }
    Ok(())
}

type Step = (&'static str, fn(&mut Loading, &Row<'_>) -> Result<(), Error>);

impl Loading {
    const STEPS: [Step; 9] = [
        (COUNT, Loading::count),
        (PERMISSIONS, Loading::permission),
        (ROLES, Loading::role),
        (PERMISSIONS_OF_ROLES, Loading::permission_of_role),
        (PERMISSIONS_OF_KEYS, Loading::permission_of_key),
        (ROLES_OF_KEYS, Loading::role_of_key),
        (LIMITS_OF_KEYS, Loading::limit),
        (BALANCES, Loading::balance),
        (KEYS, Loading::key),
    ];

    fn count(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let count = usize::try_from(row.number(0)?).unwrap_or_default();
        self.keys.reserve(count);
        self.held.reserve(count);
        Ok(())
    }

    fn permission(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let slug = self.shared.text(row.text(1)?);
        self.permissions.insert(row.text(0)?, slug);
        Ok(())
    }

    fn role(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let name = self.shared.text(row.text(1)?);
        self.roles.insert(row.text(0)?, name);
        Ok(())
    }

    fn permission_of_role(&mut self, row: &Row<'_>) -> Result<(), Error> {
        if let (Some(role), Some(permission)) =
            (self.roles.number(row.text(0)?), self.permissions.number(row.text(1)?))
        {
            self.permissions_of_roles.entry(role).or_default().push(permission);
        }
        Ok(())
    }

    fn permission_of_key(&mut self, row: &Row<'_>) -> Result<(), Error> {
        if let Some(permission) = self.permissions.number(row.text(1)?) {
            self.held.entry(row.text(0)?.into()).or_default().permissions.push(permission);
        }
        Ok(())
    }

    fn role_of_key(&mut self, row: &Row<'_>) -> Result<(), Error> {
        if let Some(role) = self.roles.number(row.text(1)?) {
            self.held.entry(row.text(0)?.into()).or_default().roles.push(role);
        }
        Ok(())
    }

    fn limit(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let limit = Ratelimit {
            id: row.text(1)?.into(),
            name: self.shared.text(row.text(2)?),
            limit: row.number(3)?,
            duration_ms: row.number(4)?,
            auto_apply: row.number(5)? != 0,
        };
        self.limits.entry(row.text(0)?.into()).or_default().push(limit);
        Ok(())
    }

    fn balance(&mut self, row: &Row<'_>) -> Result<(), Error> {
        // The store decides on the balance; that it is a number is checked here.
        row.number(2)?;
        self.balances.insert(row.text(0)?.into(), row.number_or_null(1)?.is_some());
        Ok(())
    }

    fn key(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let row = KeyRow {
            id: row.text(0)?,
            workspace_id: row.text(1)?,
            api_id: row.text(2)?,
            hash: row.text(3)?,
            pending_migration_id: row.text_or_null(4)?,
            name: row.text_or_null(5)?,
            identity_id: row.text_or_null(6)?,
            meta: row.text_or_null(7)?,
            enabled: row.number(8)? != 0,
            expires_at: row.number_or_null(9)?,
        };
        if self.unreadable.contains(row.id) {
            return Err(Error::unexpected("something that belongs to it cannot be read"));
        }
        let (permissions, roles) = match self.held.remove(row.id) {
            Some(held) => self.sets(held),
            None => (self.shared.set(Vec::new()), self.shared.set(Vec::new())),
        };
        let belongings = Belongings {
            has_refill: self.balances.remove(row.id),
            permissions,
            roles,
            ratelimits: self.limits.remove(row.id).unwrap_or_default().into(),
        };
        if self.remembers_found {
            self.found.insert(row.id.into());
        }
        self.keys.insert(&row, belongings, &mut self.shared);
        Ok(())
    }

    fn left_out(&mut self, row: &Row<'_>, error: &Error) {
        let id = row.text(0).unwrap_or_default();
        left_out("key, or what belongs to one", id, error.cause().unwrap_or_default());
        self.unreadable.insert(id.into());
    }

    /// Slugs of all permissions, and names of the roles, of what a key holds.
    fn sets(&mut self, held: Held) -> (Texts, Texts) {
        if let Some(known) = self.sets.get(&held) {
            return known.clone();
        }
        let through_roles = held.roles.iter().filter_map(|role| self.permissions_of_roles.get(role)).flatten();
        let slugs = held.permissions.iter().chain(through_roles);
        let slugs: Vec<_> = slugs.filter_map(|permission| self.permissions.text(*permission)).cloned().collect();
        let names: Vec<_> = held.roles.iter().filter_map(|role| self.roles.text(*role)).cloned().collect();
        let sets = (self.shared.set(slugs), self.shared.set(names));
        self.sets.insert(held, sets.clone());
        sets
    }
}
