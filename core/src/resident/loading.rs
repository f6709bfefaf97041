//! Loading every identity and key of the instance: at the start, and after having been away for too long.
//!
//! Rows are read one by one and kept by nobody. What keys hold is read first, as a number of a set per key; then
//! the keys, which are complete at once, by one thread per core. Sets of permissions and roles are made once for
//! all keys that hold the same.

use std::sync::Arc;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::keys::{Access, Belongings, KeyRow, Keys, Sharing};
use super::limits::check_limit;
use super::unreadable::read_meta;
use super::{Identity, Ratelimit};
use crate::calendar::UnixMs;
use crate::error::Error;
use crate::store::Store;
use crate::store::readable::left_out;
use crate::store::scan::{Collector, Row};

const PERMISSIONS: &str = "SELECT id, slug FROM permissions";
const ROLES: &str = "SELECT id, name FROM roles";
const PERMISSIONS_OF_ROLES: &str = "SELECT role_id, permission_id FROM role_permissions ORDER BY role_id";
const PERMISSIONS_OF_KEYS: &str = "SELECT key_id, permission_id FROM key_permissions ORDER BY key_id";
const ROLES_OF_KEYS: &str = "SELECT key_id, role_id FROM key_roles ORDER BY key_id";
const LIMITS_OF_KEYS: &str = "SELECT key_id, id, name, limit_count, duration_ms, auto_apply FROM ratelimits \
                              WHERE key_id IS NOT NULL ORDER BY key_id, name";
const LIMITS_OF_IDENTITIES: &str = "SELECT identity_id, id, name, limit_count, duration_ms, auto_apply \
                                    FROM ratelimits WHERE identity_id IS NOT NULL ORDER BY identity_id, name";
const BALANCES: &str = "SELECT key_id, refill_amount, remaining FROM credits WHERE remaining IS NOT NULL";
const IDENTITIES: &str = "SELECT id, external_id, meta, workspace_id FROM identities WHERE deleted_at IS NULL";
const COUNT: &str = "SELECT COUNT(*) FROM keys";
const KEYS: &str = "SELECT k.id, k.workspace_id, k.api_id, k.hash, k.pending_migration_id, k.name, k.identity_id, \
                    k.meta, k.enabled, k.expires_at FROM keys k JOIN apis a ON a.id = k.api_id \
                    WHERE k.deleted_at IS NULL AND a.deleted_at IS NULL";

type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
type HashSet<T> = std::collections::HashSet<T, RandomState>;

/// Reads every live identity, with its limits; and the ids of those that cannot be read.
pub(super) async fn load_identities(store: &Store) -> Result<(Vec<Identity>, Vec<CompactString>), Error> {
    let limits =
        scan(store, "limit of an identity", LIMITS_OF_IDENTITIES, Limits::default(), Limits::take).await?;
    let identities = Identities { limits, read: Vec::new() };
    let identities = scan(store, "identity", IDENTITIES, identities, Identities::take).await?;
    Ok((identities.found.read, identities.unreadable.into_iter().collect()))
}

/// Reads every live key into `keys`; those that are there and no longer live go.
pub(super) async fn load_keys(store: &Store, keys: &Arc<Keys>) -> Result<(), Error> {
    let is_start = keys.is_empty();
    let holdings = Arc::new(Holdings::load(store, keys).await?);
    let mut portions = tokio::task::JoinSet::new();
    for condition in store.parts("keys", "k").await? {
        let (store, query) = (store.clone(), format!("{KEYS} AND {condition}"));
        let portion = Portion::new(keys.clone(), holdings.clone(), !is_start);
        portions.spawn(async move { scan(&store, "key", query, portion, Portion::take).await });
    }
    let mut outcomes = Vec::new();
    while let Some(outcome) = portions.join_next().await {
        outcomes.push(outcome.map_err(Error::unexpected).flatten());
    }
    // Looked at when all have ended: a scan goes on when nobody waits for it.
    let mut live = HashSet::default();
    for outcome in outcomes {
        live.extend(outcome?.found.live);
    }
    if !is_start {
        for id in keys.ids() {
            if !live.contains(id.as_str()) {
                keys.remove(&id);
            }
        }
    }
    Ok(())
}

/// What a scan finds, and the first columns of the rows that it cannot read. Of what belongs to a key or an
/// identity these are its id: it must go with them, or it would be limited less than it should be.
struct Scanned<F> {
    kind: &'static str,
    found: F,
    unreadable: HashSet<CompactString>,
    take: fn(&mut F, &Row<'_>) -> Result<(), Error>,
}

impl<F: Send + 'static> Collector for Scanned<F> {
    fn take(&mut self, row: &Row<'_>) -> Result<(), Error> {
        (self.take)(&mut self.found, row)
    }

    fn left_out(&mut self, row: &Row<'_>, error: &Error) {
        let id = row.text(0).unwrap_or_default();
        left_out(self.kind, id, error.cause().unwrap_or_default());
        self.unreadable.insert(id.into());
    }
}

async fn scan<F: Send + 'static>(
    store: &Store,
    kind: &'static str,
    query: impl Into<String>,
    found: F,
    take: fn(&mut F, &Row<'_>) -> Result<(), Error>,
) -> Result<Scanned<F>, Error> {
    store.scan(query.into(), Scanned { kind, found, unreadable: HashSet::default(), take }).await
}

/// Things that many hold, by number: what one holds is then a few numbers.
#[derive(Default)]
struct Numbered {
    names: Vec<Arc<str>>,
    numbers: HashMap<CompactString, u32>,
}

impl Numbered {
    /// Of an id and what is shown of it.
    fn take(&mut self, row: &Row<'_>) -> Result<(), Error> {
        // Both are read before either is kept: a number without a name would be that of the next row too.
        let (id, name) = (row.text(0)?, row.text(1)?);
        self.numbers.insert(id.into(), u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.names.push(name.into());
        Ok(())
    }

    fn name(&self, number: u32) -> Option<Arc<str>> {
        self.names.get(number as usize).cloned()
    }
}

/// Numbers of permissions or roles.
type Numbers = SmallVec<[u32; 4]>;

/// The sets of things that holders hold, each set once.
struct Held {
    things: Arc<Numbered>,
    sets: Vec<Numbers>,
    by_set: HashMap<Numbers, u32>,
    by_holder: HashMap<CompactString, u32>,
    /// Rows come in the order of their holders: this is the one at hand.
    at_hand: (CompactString, Numbers),
}

impl Held {
    fn new(things: &Arc<Numbered>) -> Self {
        Held {
            things: things.clone(),
            sets: Vec::new(),
            by_set: HashMap::default(),
            by_holder: HashMap::default(),
            at_hand: (CompactString::default(), Numbers::new()),
        }
    }

    /// Of a holder and a thing.
    fn take(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let (holder, thing) = (row.text(0)?, row.text(1)?);
        if self.at_hand.0 != holder {
            self.put_down();
            self.at_hand.0 = holder.into();
        }
        if let Some(number) = self.things.numbers.get(thing) {
            self.at_hand.1.push(*number);
        }
        Ok(())
    }

    /// Notes what the holder at hand holds.
    fn put_down(&mut self) {
        let (holder, mut numbers) = std::mem::take(&mut self.at_hand);
        if numbers.is_empty() {
            return;
        }
        numbers.sort_unstable();
        let next = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        let set = match self.by_set.get(&numbers) {
            Some(known) => *known,
            None => {
                self.sets.push(numbers.clone());
                self.by_set.insert(numbers, next);
                next
            }
        };
        self.by_holder.insert(holder, set);
    }

    /// The number of the set of a holder; `None` for one that holds nothing.
    fn set_of(&self, holder: &str) -> Option<u32> {
        self.by_holder.get(holder).copied()
    }

    fn members(&self, set: Option<u32>) -> &[u32] {
        set.and_then(|set| self.sets.get(set as usize)).map_or(&[], |numbers| numbers)
    }
}

async fn load_held(
    store: &Store,
    kind: &'static str,
    query: &str,
    things: &Arc<Numbered>,
) -> Result<Scanned<Held>, Error> {
    let mut held = scan(store, kind, query, Held::new(things), Held::take).await?;
    held.found.put_down();
    Ok(held)
}

/// A flag that is stored as 0 or 1.
fn flag(number: i64) -> Result<bool, Error> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::unexpected("a flag is 0 or 1")),
    }
}

/// Limits by their owner.
#[derive(Default)]
struct Limits {
    by_owner: HashMap<CompactString, Vec<Ratelimit>>,
    names: Sharing,
}

impl Limits {
    fn take(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let (limit, duration_ms) = (row.number(3)?, row.number(4)?);
        check_limit(limit, duration_ms)?;
        let limit = Ratelimit {
            id: row.text(1)?.into(),
            name: self.names.text(row.text(2)?),
            limit,
            duration_ms,
            auto_apply: flag(row.number(5)?)?,
        };
        self.by_owner.entry(row.text(0)?.into()).or_default().push(limit);
        Ok(())
    }

    fn of(&self, owner: &str) -> Box<[Ratelimit]> {
        self.by_owner.get(owner).map_or_else(Box::default, |limits| limits.as_slice().into())
    }
}

struct Identities {
    limits: Scanned<Limits>,
    read: Vec<Identity>,
}

impl Identities {
    fn take(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let id = row.text(0)?;
        if self.limits.unreadable.contains(id) {
            return Err(Error::unexpected("one of its limits cannot be read"));
        }
        self.read.push(Identity {
            id: id.into(),
            workspace_id: self.limits.found.names.text(row.text(3)?),
            external_id: row.text(1)?.into(),
            meta: read_meta(row.text_or_null(2)?)?,
            ratelimits: self.limits.found.of(id),
        });
        Ok(())
    }
}

/// Keys with a balance, and whether it is refilled.
#[derive(Default)]
struct Balances(HashMap<CompactString, bool>);

impl Balances {
    fn take(&mut self, row: &Row<'_>) -> Result<(), Error> {
        // The store decides on the balance; that it is a number is checked here.
        row.number(2)?;
        self.0.insert(row.text(0)?.into(), row.number_or_null(1)?.is_some());
        Ok(())
    }
}

/// What keys hold, by key.
struct Holdings {
    /// By the number of the role.
    permissions_of_roles: Vec<Numbers>,
    permissions: Held,
    roles: Held,
    limits: Limits,
    balances: Balances,
    unreadable: HashSet<CompactString>,
}

impl Holdings {
    async fn load(store: &Store, keys: &Arc<Keys>) -> Result<Holdings, Error> {
        let permissions = scan(store, "permission", PERMISSIONS, Numbered::default(), Numbered::take).await?;
        let roles = scan(store, "role", ROLES, Numbered::default(), Numbered::take).await?;
        let (permissions, roles) = (Arc::new(permissions.found), Arc::new(roles.found));
        let make_room = |keys: &mut Arc<Keys>, row: &Row<'_>| {
            keys.reserve(usize::try_from(row.number(0)?).unwrap_or_default());
            Ok(())
        };
        let (permissions_of_roles, permissions, roles, limits, balances, _) = tokio::try_join!(
            load_held(store, "permission of a role", PERMISSIONS_OF_ROLES, &permissions),
            load_held(store, "permission of a key", PERMISSIONS_OF_KEYS, &permissions),
            load_held(store, "role of a key", ROLES_OF_KEYS, &roles),
            scan(store, "limit of a key", LIMITS_OF_KEYS, Limits::default(), Limits::take),
            scan(store, "balance of a key", BALANCES, Balances::default(), Balances::take),
            scan(store, "number of keys", COUNT, keys.clone(), make_room),
        )?;
        let unreadable = [permissions.unreadable, roles.unreadable, limits.unreadable, balances.unreadable]
            .into_iter()
            .flatten();
        let mut by_role = vec![Numbers::new(); roles.found.things.names.len()];
        for (id, number) in &roles.found.things.numbers {
            let held = permissions_of_roles.found.set_of(id);
            by_role[*number as usize] = permissions_of_roles.found.members(held).into();
        }
        Ok(Holdings {
            permissions_of_roles: by_role,
            unreadable: unreadable.collect(),
            permissions: permissions.found,
            roles: roles.found,
            limits: limits.found,
            balances: balances.found,
        })
    }
}

/// A part of the keys, on their way into memory.
struct Portion {
    keys: Arc<Keys>,
    holdings: Arc<Holdings>,
    shared: Sharing,
    /// By the sets of permissions and roles that make it.
    accesses: HashMap<(Option<u32>, Option<u32>), Arc<Access>>,
    /// The keys that are live, where that is of interest.
    live: HashSet<CompactString>,
    remembers_live: bool,
}

impl Portion {
    fn new(keys: Arc<Keys>, holdings: Arc<Holdings>, remembers_live: bool) -> Self {
        let (accesses, live) = (HashMap::default(), HashSet::default());
        Portion { keys, holdings, shared: Sharing::default(), accesses, live, remembers_live }
    }

    fn take(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let row = KeyRow {
            id: row.text(0)?,
            workspace_id: row.text(1)?,
            api_id: row.text(2)?,
            hash: row.text(3)?,
            pending_migration_id: row.text_or_null(4)?,
            name: row.text_or_null(5)?,
            identity_id: row.text_or_null(6)?,
            meta: read_meta(row.text_or_null(7)?)?,
            enabled: flag(row.number(8)?)?,
            expires_at: row.number_or_null(9)?.map(UnixMs::new),
        };
        if self.holdings.unreadable.contains(row.id) {
            return Err(Error::unexpected("something that belongs to it cannot be read"));
        }
        let access = self.access(row.id);
        let belongings = Belongings {
            has_refill: self.holdings.balances.0.get(row.id).copied(),
            access,
            ratelimits: self.holdings.limits.of(row.id),
        };
        if self.remembers_live {
            self.live.insert(row.id.into());
        }
        self.keys.insert(row, belongings, &mut self.shared);
        Ok(())
    }

    /// What a key holds, itself and through roles.
    fn access(&mut self, key_id: &str) -> Arc<Access> {
        let Holdings { permissions, roles, permissions_of_roles, .. } = &*self.holdings;
        let sets = (permissions.set_of(key_id), roles.set_of(key_id));
        if let Some(known) = self.accesses.get(&sets) {
            return known.clone();
        }
        let held_roles = roles.members(sets.1);
        let through_roles = held_roles.iter().flat_map(|role| &permissions_of_roles[*role as usize]);
        let slugs = permissions.members(sets.0).iter().chain(through_roles);
        let slugs = slugs.filter_map(|permission| permissions.things.name(*permission)).collect();
        let names = held_roles.iter().filter_map(|role| roles.things.name(*role)).collect();
        let access = self.shared.access(slugs, names);
        self.accesses.insert(sets, access.clone());
        access
    }
}
