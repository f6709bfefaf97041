//! Reading from the store into memory: everything at the start and after having been away for too long, and what the
//! change feed names.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;

use super::keys::{Belongings, KeyRow, Sharing};
use super::limits::resident_limits;
use super::loading::{load_identities, load_keys};
use super::unreadable::{is_about_a_row, read_meta, unless_unreadable};
use super::{Api, Identity, Made, Namespace, Resident};
use crate::authorization::Grants;
use crate::caller::RootKey;
use crate::error::Error;
use crate::keys::address_list::AddressList;
use crate::keys::secret::KeyHash;
use crate::ratelimit::override_rules::{OverrideRule, OverrideRules};
use crate::store::deadline::within;
use crate::store::holdings::Holdings;
use crate::store::readable::left_out;
use crate::store::subject::Subject;
use crate::store::{
    Connection, Only, Store, apis, by_owner, holdings, identities, key_migrations, keys as stored_keys,
    namespaces, overrides, ratelimits, root_keys, workspaces,
};

/// How long the store may take for the kinds of which there are few, when everything is read.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

impl Resident {
    /// Reads everything anew, in place. What is no longer live goes.
    ///
    /// # Errors
    /// When the store does not answer, or holds what cannot be read.
    pub async fn reload(&self, store: &Store) -> Result<(), Error> {
        let mut connection = store.read().await?;
        let read = within(READ_TIMEOUT, self.load_what_keys_refer_to(&mut connection)).await;
        if read.is_err() {
            drop(connection.detach());
            return read;
        }
        drop(connection);
        // Both to their ends: a scan goes on when nobody waits for it, and would bring back what is gone by then.
        let (identities, keys) = tokio::join!(load_identities(store), load_keys(store, &self.keys));
        keys?;
        let (found, unreadable) = identities?;
        self.replace_identities(found, &unreadable);
        let mut connection = store.read().await?;
        let read = within(READ_TIMEOUT, self.load_the_rest(&mut connection)).await;
        if read.is_err() {
            drop(connection.detach());
        }
        read
    }

    async fn load_what_keys_refer_to(&self, connection: &mut Connection) -> Result<(), Error> {
        let workspaces = workspaces::all(connection).await?;
        let found: HashSet<&str> = workspaces.iter().map(|workspace| workspace.id.as_str()).collect();
        self.workspaces.pin().retain(|id, _| found.contains(id.as_str()));
        for workspace in workspaces {
            self.workspaces.pin().insert(workspace.id.clone(), Arc::new(workspace));
        }
        self.load_root_keys(connection, Only::All).await?;
        self.load_apis(connection, Only::All).await
    }

    async fn load_the_rest(&self, connection: &mut Connection) -> Result<(), Error> {
        self.load_key_migrations(connection, Only::All).await?;
        self.load_namespaces(connection, Only::All).await
    }

    /// Reads these things anew. What is no longer live goes.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn refresh(&self, connection: &mut Connection, subjects: &[Subject]) -> Result<(), Error> {
        let (mut touched_keys, mut touched_identities) = (Vec::<String>::new(), Vec::<&str>::new());
        for subject in subjects {
            let only = &[subject.id()][..];
            match subject {
                Subject::Workspace(id) => {
                    let read = self.refresh_workspace(connection, id).await;
                    unless_unreadable(read, "workspace", id, || {
                        self.workspaces.pin().remove(id);
                    })?;
                }
                Subject::RootKey(id) => {
                    let read = self.load_root_keys(connection, Only::Ids(only)).await;
                    unless_unreadable(read, "root key", id, || drop(self.root_keys.remove(id)))?;
                }
                Subject::Api(id) => {
                    let read = self.load_apis(connection, Only::Ids(only)).await;
                    unless_unreadable(read, "API", id, || {
                        self.apis.remove(id);
                    })?;
                }
                Subject::Identity(id) => touched_identities.push(id),
                Subject::Namespace(id) => {
                    let read = self.load_namespaces(connection, Only::Ids(only)).await;
                    unless_unreadable(read, "namespace", id, || self.forget_namespace(id))?;
                }
                Subject::Override(id) => {
                    let read = self.refresh_override(connection, id).await;
                    unless_unreadable(read, "override", id, || self.forget_override(id))?;
                }
                Subject::KeyMigration(_) => self.load_key_migrations(connection, Only::Ids(only)).await?,
                Subject::Key(id) => touched_keys.push(id.clone()),
                Subject::Role(id) | Subject::Permission(id) => {
                    touched_keys.extend(stored_keys::ids_holding(connection, id).await?);
                }
            }
        }
        self.refresh_touched_identities(connection, &touched_identities).await?;
        touched_keys.sort_unstable();
        touched_keys.dedup();
        let ids: Vec<&str> = touched_keys.iter().map(String::as_str).collect();
        if ids.is_empty() {
            return Ok(());
        }
        match self.refresh_keys(connection, &ids).await {
            Err(error) if is_about_a_row(&error) => {
                // One of them cannot be read; the others can.
                for id in ids {
                    let read = self.refresh_keys(connection, &[id]).await;
                    unless_unreadable(read, "key", id, || self.keys.remove(id))?;
                }
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn refresh_workspace(&self, connection: &mut Connection, id: &str) -> Result<(), Error> {
        match workspaces::find(connection, id).await? {
            Some(workspace) => self.workspaces.pin().insert(id.to_owned(), Arc::new(workspace)),
            None => self.workspaces.pin().remove(id),
        };
        Ok(())
    }

    /// Takes what was made just now, as if it had been read.
    ///
    /// # Errors
    /// When some of it could not be read.
    pub(crate) fn take(&self, made: Made) -> Result<(), Error> {
        self.put_identities(made.identities, HashMap::new())?;
        self.put_keys(&made.keys, made.holdings)
    }

    async fn load_root_keys(&self, connection: &mut Connection, only: Only<'_>) -> Result<(), Error> {
        let found = root_keys::live(connection, only).await?;
        for id in missing(only, || self.root_keys.ids(), found.iter().map(|key| key.id.as_str())) {
            self.root_keys.remove(&id);
        }
        for key in found {
            let Ok(hash) = KeyHash::from_base64(&key.hash) else {
                self.root_keys.remove(&key.id);
                left_out("root key", &key.id, "its hash cannot be read");
                continue;
            };
            let grants = Grants::new(&key.workspace_id, key.permissions.iter().map(String::as_str));
            let resident = RootKey {
                id: key.id.clone(),
                workspace_id: key.workspace_id,
                name: key.name,
                permissions: key.permissions,
                grants,
                operator: key.operator,
                enabled: key.enabled,
                expires_at: key.expires_at,
                // However often a root key is read anew, its last use stays the same one.
                last_use: self
                    .root_keys
                    .get_by_id(&key.id)
                    .map(|known| known.last_use.clone())
                    .unwrap_or_default(),
            };
            self.root_keys.insert(&key.id, hash, resident);
        }
        Ok(())
    }

    async fn load_apis(&self, connection: &mut Connection, only: Only<'_>) -> Result<(), Error> {
        let found = apis::live(connection, only).await?;
        for id in missing(only, || self.apis.ids(), found.iter().map(|api| api.id.as_str())) {
            self.apis.remove(&id);
        }
        for stored in found {
            let text = stored.ip_whitelist.as_deref().unwrap_or_default();
            let addresses = match AddressList::parse(text) {
                // An empty list lets everybody in, which this text does not say.
                Ok(addresses) if addresses.is_empty() && !text.is_empty() => {
                    Err("its list of addresses names none".to_owned())
                }
                Ok(addresses) => Ok(addresses),
                Err(error) => Err(error.to_string()),
            };
            let addresses = match addresses {
                Ok(addresses) => addresses,
                Err(reason) => {
                    self.apis.remove(&stored.id);
                    left_out("API", &stored.id, &reason);
                    continue;
                }
            };
            self.apis.insert(&stored.id.clone(), Api { stored, addresses });
        }
        Ok(())
    }

    fn replace_identities(&self, found: Vec<Identity>, unreadable: &[CompactString]) {
        let known_unreadable = self.unreadable_identities.pin();
        for id in unreadable {
            known_unreadable.insert(id.clone());
        }
        known_unreadable.retain(|id| unreadable.contains(id));
        for id in missing(Only::All, || self.identities.ids(), found.iter().map(|identity| identity.id.as_str())) {
            self.identities.remove(&id);
        }
        self.identities.reserve(found.len());
        for identity in found {
            self.identities.insert(&identity.id.clone(), identity);
        }
    }

    /// Reads some identities anew; of those that cannot be read it is noted.
    async fn refresh_touched_identities(&self, connection: &mut Connection, ids: &[&str]) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        match self.refresh_identities(connection, ids).await {
            Err(error) if is_about_a_row(&error) => {
                // One of them cannot be read; the others can.
                for id in ids {
                    let read = self.refresh_identities(connection, &[id]).await;
                    unless_unreadable(read, "identity", id, || {
                        self.unreadable_identities.pin().insert((*id).into());
                        self.identities.remove(id);
                    })?;
                }
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn refresh_identities(&self, connection: &mut Connection, ids: &[&str]) -> Result<(), Error> {
        let found = identities::live(connection, ids).await?;
        let limits = by_owner(ratelimits::of_identities(connection, ids).await?);
        let live: HashSet<&str> = found.iter().map(|identity| identity.id.as_str()).collect();
        for id in ids.iter().filter(|id| !live.contains(**id)) {
            self.unreadable_identities.pin().remove(*id);
            self.identities.remove(id);
        }
        self.put_identities(found, limits)
    }

    fn put_identities(
        &self,
        found: Vec<identities::Identity>,
        mut limits: HashMap<String, Vec<ratelimits::Ratelimit>>,
    ) -> Result<(), Error> {
        let unreadable = self.unreadable_identities.pin();
        // One that could not be read stays noted until it is there: meanwhile its keys would be limited less.
        for stored in found {
            let meta = match read_meta(stored.meta.as_deref()) {
                Ok(meta) => meta,
                Err(error) => {
                    left_out("identity", &stored.id, error.cause().unwrap_or_default());
                    unreadable.insert(stored.id.as_str().into());
                    self.identities.remove(&stored.id);
                    continue;
                }
            };
            let resident = Identity {
                ratelimits: resident_limits(limits.remove(&stored.id))?,
                id: stored.id.into(),
                workspace_id: stored.workspace_id.into(),
                external_id: stored.external_id.into(),
                meta,
            };
            let id = resident.id.clone();
            self.identities.insert(&id, resident);
            unreadable.remove(&id);
        }
        Ok(())
    }

    /// Reads some keys anew.
    async fn refresh_keys(&self, connection: &mut Connection, ids: &[&str]) -> Result<(), Error> {
        let found = stored_keys::live(connection, ids).await?;
        let holdings = holdings::of_keys(connection, ids).await?;
        let live: HashSet<&str> = found.iter().map(|key| key.id.as_str()).collect();
        for id in ids.iter().filter(|id| !live.contains(**id)) {
            self.keys.remove(id);
        }
        self.put_keys(&found, holdings)
    }

    fn put_keys(&self, found: &[stored_keys::Key], mut holdings: HashMap<String, Holdings>) -> Result<(), Error> {
        let mut shared = Sharing::default();
        for key in found {
            let meta = match read_meta(key.meta.as_deref()) {
                Ok(meta) => meta,
                Err(error) => {
                    left_out("key", &key.id, error.cause().unwrap_or_default());
                    self.keys.remove(&key.id);
                    continue;
                }
            };
            let held = holdings.remove(&key.id).unwrap_or_default();
            let mut texts = |texts: Vec<String>| texts.iter().map(|text| shared.text(text)).collect();
            let (permissions, roles) = (texts(held.permissions), texts(held.roles));
            let belongings = Belongings {
                has_refill: key.credits.remaining.map(|_| key.credits.refill.is_some()),
                access: shared.access(permissions, roles),
                ratelimits: resident_limits(Some(held.ratelimits))?,
            };
            let row = KeyRow {
                id: &key.id,
                workspace_id: &key.workspace_id,
                api_id: &key.api_id,
                hash: &key.hash,
                pending_migration_id: key.pending_migration_id.as_deref(),
                name: key.name.as_deref(),
                identity_id: key.identity_id.as_deref(),
                meta,
                enabled: key.enabled,
                expires_at: key.expires_at,
            };
            self.keys.insert(row, belongings, &mut shared);
        }
        Ok(())
    }

    async fn load_key_migrations(&self, connection: &mut Connection, only: Only<'_>) -> Result<(), Error> {
        let found = key_migrations::any(connection, only).await?;
        let known = self.key_migrations.pin();
        let ids = || known.keys().cloned().collect();
        for id in missing(only, ids, found.iter().map(|migration| migration.id.as_str())) {
            known.remove(&id);
        }
        for migration in found {
            known.insert(migration.id.clone(), Arc::new(migration));
        }
        Ok(())
    }

    async fn load_namespaces(&self, connection: &mut Connection, only: Only<'_>) -> Result<(), Error> {
        let found = namespaces::any(connection, only).await?;
        let mut rules: HashMap<String, Vec<OverrideRule>> =
            by_owner(overrides::of_namespaces(connection, only).await?);
        for id in missing(only, || self.namespaces.ids(), found.iter().map(|namespace| namespace.id.as_str())) {
            self.forget_namespace(&id);
        }
        for stored in found {
            let overrides = OverrideRules::new(rules.remove(&stored.id).unwrap_or_default());
            let name = (stored.workspace_id.clone(), stored.name.clone());
            self.namespace_names.pin().insert(name, stored.id.clone());
            self.namespaces.insert(&stored.id.clone(), Namespace { stored, overrides });
        }
        Ok(())
    }

    /// One override, without the others of its namespace, which may be very many.
    async fn refresh_override(&self, connection: &mut Connection, id: &str) -> Result<(), Error> {
        let Some(found) = overrides::find(connection, id).await? else {
            self.forget_override(id);
            return Ok(());
        };
        if let Some(namespace) = self.namespaces.get(&found.namespace_id) {
            if found.deleted {
                namespace.overrides.remove(&found.rule.pattern);
            } else {
                namespace.overrides.put(found.rule);
            }
        }
        Ok(())
    }

    /// An override that the store knows nothing of, so that its namespace has to be looked for.
    fn forget_override(&self, id: &str) {
        self.namespaces.each(|namespace| {
            if let Some(pattern) = namespace.overrides.pattern_of(id) {
                namespace.overrides.remove(&pattern);
            }
        });
    }

    fn forget_namespace(&self, id: &str) {
        let names = self.namespace_names.pin();
        let Some(gone) = self.namespaces.remove(id) else { return };
        let name = (gone.stored.workspace_id.clone(), gone.stored.name.clone());
        // Another namespace may have its name by now.
        if names.get(&name).is_some_and(|named| named == id) {
            names.remove(&name);
        }
    }
}

/// The ids that were asked for, or are known when everything was, and were not found.
fn missing<'a>(
    only: Only<'_>,
    known: impl FnOnce() -> Vec<String>,
    found: impl Iterator<Item = &'a str>,
) -> Vec<String> {
    let mut missing = match only {
        Only::All => known(),
        Only::Ids(asked) => asked.iter().map(|id| (*id).to_owned()).collect(),
    };
    if missing.is_empty() {
        // A start: the set of all that was found would be for nothing.
        return missing;
    }
    let found: HashSet<&str> = found.collect();
    missing.retain(|id| !found.contains(id.as_str()));
    missing
}
