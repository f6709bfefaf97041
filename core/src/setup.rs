//! What happens outside requests: the first start, the bootstrap root key, and root keys and migrations of
//! keys made offline.

use crate::audit::{Actor, Event, Target};
use crate::changes::{Mutation, Turns};
use crate::error::{Code, Error, OrNotFound as _};
use crate::ids::{self, Kind};
use crate::keyrack::Keyrack;
use crate::keys::imported::Algorithm;
use crate::keys::secret::{self, Secret};
use crate::root_keys::{NewRootKey, add_root_key, insert_root_key, root_key_created};
use crate::store::key_migrations::{self, KeyMigration};
use crate::store::root_keys::RootKey;
use crate::store::subject::Subject;
use crate::store::{Only, facts, keys, root_keys, workspaces};
use crate::workspaces::add_workspace;

/// Fewer characters than this are no bootstrap root key.
pub const MIN_BOOTSTRAP_CHARACTERS: usize = 32;
const DEFAULT_WORKSPACE: &str = "Default";

/// Sets up an empty database: a workspace, and an operator root key with full access. That is the one of the bootstrap
/// setting where there is one: its owner chose how to get in, and would not know of a second way.
///
/// Otherwise `keep` gets the root key before it becomes valid, to write it where its owner finds it; if that fails
/// nothing was set up. Of several processes that start on one empty database, one sets it up.
///
/// # Errors
/// When the store does not answer, `keep` fails, or the bootstrap setting's value is too short.
pub async fn first_start(
    keyrack: &Keyrack,
    bootstrap: Option<&Secret>,
    keep: impl FnOnce(&Secret) -> Result<(), Error>,
) -> Result<bool, Error> {
    bootstrap.map_or(Ok(()), check_length)?;
    let now = keyrack.clock().now();
    let mut transaction = keyrack.store().write().await?;
    // Inserting the fact is the lock: a second process waits for the first and then finds it there.
    if !facts::insert(&mut transaction, "set up", &now.get().to_string()).await? {
        drop(transaction);
        // Another process may have set it up after this one loaded its state.
        keyrack.catch_up().await?;
        return Ok(false);
    }
    let actor = Actor::system("setup");
    // A workspace that nobody knows yet has no turns.
    let mut mutation = add_workspace(keyrack.state(), Turns::new(), transaction, DEFAULT_WORKSPACE, actor).await?;
    match bootstrap {
        Some(secret) => add_bootstrap_key(&mut mutation, secret).await?,
        None => {
            let (_, secret) = add_root_key(&mut mutation, full_access("first start")).await?;
            keep(&secret)?;
        }
    }
    mutation.commit().await?;
    Ok(true)
}

/// An operator that may do everything and does not expire.
fn full_access(name: &str) -> NewRootKey {
    NewRootKey { name: Some(name.to_owned()), permissions: vec!["*".to_owned()], operator: true, expires_at: None }
}

/// Makes sure that the bootstrap setting's root key exists, and retires the one of an earlier setting.
///
/// A key that was deleted or disabled stays so.
///
/// # Errors
/// Says what is wrong with the setting, or that the store does not answer.
pub async fn ensure_bootstrap_key(keyrack: &Keyrack, secret: &Secret) -> Result<(), Error> {
    check_length(secret)?;
    let workspace_id = default_workspace(keyrack).await?;
    let hash = secret::hash(secret.expose());
    let mut mutation = keyrack.change_as(&workspace_id, Actor::system("bootstrap")).await?;
    let live = root_keys::live(mutation.connection(), Only::All).await?;
    let known = match root_keys::owner_of_hash(mutation.connection(), &hash.to_base64()).await? {
        Some((id, false)) => return Err(value_is_taken(&format!("root key {id}"))),
        Some((id, true)) => Some(id),
        None => None,
    };
    if keys::hash_is_taken(mutation.connection(), &hash.to_base64()).await? {
        return Err(value_is_taken("an API's key"));
    }
    retire_other_bootstrap_keys(&mut mutation, &live, known.as_deref()).await?;
    if let Some(known) = known {
        if !live.iter().any(|key| key.id == known && key.enabled) {
            tracing::warn!(
                root_key = known,
                "the bootstrap setting has the value of a root key that was deleted, disabled or replaced; it stays \
                 so. Choose a new value"
            );
        }
        return mutation.commit().await;
    }
    add_bootstrap_key(&mut mutation, secret).await?;
    mutation.commit().await
}

fn check_length(secret: &Secret) -> Result<(), Error> {
    if secret.expose().chars().count() < MIN_BOOTSTRAP_CHARACTERS {
        return Err(Error::new(
            Code::InvalidInput,
            format!("The bootstrap root key must have at least {MIN_BOOTSTRAP_CHARACTERS} characters."),
        ));
    }
    Ok(())
}

/// Makes the bootstrap setting's root key, whose value nothing has.
async fn add_bootstrap_key(mutation: &mut Mutation, secret: &Secret) -> Result<(), Error> {
    let hash = secret::hash(secret.expose());
    let key = insert_root_key(mutation, secret, hash, full_access("bootstrap"), true).await?;
    mutation.record(root_key_created(&key));
    Ok(())
}

async fn retire_other_bootstrap_keys(
    mutation: &mut Mutation,
    live: &[RootKey],
    kept: Option<&str>,
) -> Result<(), Error> {
    let (workspace_id, now) = (mutation.workspace_id().to_owned(), mutation.now());
    let others = live.iter().filter(|key| key.bootstrap && key.workspace_id == workspace_id);
    for previous in others.filter(|key| Some(key.id.as_str()) != kept) {
        root_keys::delete(mutation.connection(), &previous.id, now).await?;
        mutation.record(
            Event::new("rootKey.delete", format!("Retired bootstrap root key {}", previous.id))
                .on(Target::new("rootKey", &previous.id)),
        );
        mutation.touch(Subject::RootKey(previous.id.clone()));
    }
    Ok(())
}

fn value_is_taken(by: &str) -> Error {
    Error::new(
        Code::InvalidInput,
        format!("The bootstrap root key has the value of {by}. Choose another value; nothing was changed."),
    )
}

/// The id of the oldest workspace, where the bootstrap key and root keys made offline work.
///
/// # Errors
/// When there is none yet, or the store does not answer.
pub async fn default_workspace(keyrack: &Keyrack) -> Result<String, Error> {
    let all = workspaces::all(&mut *keyrack.store().read().await?).await?;
    let oldest = all.into_iter().next();
    oldest.map(|workspace| workspace.id).or_not_found(Code::WorkspaceNotFound)
}

/// Makes a root key without a caller: whoever may write the database may do so.
///
/// # Errors
/// When the store does not answer.
pub async fn create_root_key(
    keyrack: &Keyrack,
    workspace_id: &str,
    new: NewRootKey,
) -> Result<(String, Secret), Error> {
    let mut mutation = keyrack.change_as(workspace_id, Actor::system("command line")).await?;
    let made = add_root_key(&mut mutation, new).await?;
    mutation.commit().await?;
    Ok(made)
}

/// Makes a migration of keys without a caller: its id, which `keys.migrateKeys` asks for.
///
/// # Errors
/// When there is no such workspace, or the store does not answer.
pub async fn create_key_migration(
    keyrack: &Keyrack,
    workspace_id: &str,
    algorithm: Algorithm,
) -> Result<String, Error> {
    let mut mutation = keyrack.change_as(workspace_id, Actor::system("command line")).await?;
    let migration = KeyMigration {
        id: ids::generate(Kind::Migration),
        workspace_id: workspace_id.to_owned(),
        algorithm: algorithm.name().to_owned(),
        created_at: mutation.now(),
    };
    key_migrations::insert(mutation.connection(), &migration).await?;
    mutation.record(
        Event::new("keyMigration.create", format!("Created migration {} of keys", migration.id))
            .on(Target::new("keyMigration", &migration.id)),
    );
    mutation.touch(Subject::KeyMigration(migration.id.clone()));
    mutation.commit().await?;
    Ok(migration.id)
}

/// Every migration of keys, oldest first.
///
/// # Errors
/// When the store does not answer.
pub async fn key_migrations(keyrack: &Keyrack) -> Result<Vec<KeyMigration>, Error> {
    key_migrations::any(&mut *keyrack.store().read().await?, Only::All).await
}
