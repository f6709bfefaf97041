//! What happens outside requests: the first start, the bootstrap root key, and root keys made offline.

use crate::audit::{Actor, Event, Target};
use crate::changes::{Mutation, Subject};
use crate::error::{Code, Error};
use crate::ids::{self, Kind};
use crate::keyrack::Keyrack;
use crate::keys::secret::{self, KeyHash, Secret};
use crate::store::root_keys::RootKey;
use crate::store::{Only, facts, keys, root_keys, workspaces};

/// Fewer characters than this are no bootstrap root key.
pub const MIN_BOOTSTRAP_CHARACTERS: usize = 32;
const DEFAULT_WORKSPACE: &str = "Default";

/// What a new root key may do.
#[derive(Debug, Clone)]
pub struct NewRootKey {
    /// For people.
    pub name: Option<String>,
    /// Permission texts, valid in the workspace.
    pub permissions: Vec<String>,
    /// Whether it may administer workspaces.
    pub operator: bool,
    /// Unix ms.
    pub expires_at: Option<i64>,
}

/// Sets up an empty database: a workspace, and an operator root key with full access.
///
/// `keep` gets the root key before it becomes valid, to write it where its owner finds it; if that fails
/// nothing was set up. Of several processes that start on one empty database, one sets it up.
///
/// # Errors
/// When the store does not answer, or `keep` fails.
pub async fn first_start(
    keyrack: &Keyrack,
    keep: impl FnOnce(&Secret) -> Result<(), Error>,
) -> Result<bool, Error> {
    let workspace_id = ids::generate(Kind::Workspace);
    let now = keyrack.clock().now();
    let mut transaction = keyrack.store().write().await?;
    // Inserting the fact is the lock: a second process waits for the first and then finds it there.
    if !facts::insert(&mut transaction, "set up", &now.to_string()).await? {
        drop(transaction);
        // Another process may have set it up after this one loaded its state.
        keyrack.catch_up().await?;
        return Ok(false);
    }
    workspaces::insert(&mut transaction, &workspace_id, DEFAULT_WORKSPACE, now).await?;
    let mut mutation = Mutation::adopt(keyrack, transaction, &workspace_id, Actor::system("setup")).await?;
    mutation.record(
        Event::new("workspace.create", format!("Created workspace {workspace_id}")).on(Target::new(
            "workspace",
            &workspace_id,
        )
        .named(DEFAULT_WORKSPACE)),
    );
    mutation.touch(Subject::Workspace(workspace_id));
    let new = NewRootKey {
        name: Some("first start".to_owned()),
        permissions: vec!["*".to_owned()],
        operator: true,
        expires_at: None,
    };
    let (_, secret) = add_root_key(&mut mutation, new).await?;
    keep(&secret)?;
    mutation.commit().await?;
    Ok(true)
}

/// Makes a root key within a change: its id and its secret, which is stored nowhere.
///
/// # Errors
/// When the store does not answer.
pub async fn add_root_key(mutation: &mut Mutation, new: NewRootKey) -> Result<(String, Secret), Error> {
    let generated = secret::generate_root_key().map_err(Error::unexpected)?;
    let id = insert_root_key(mutation, &generated.secret, generated.hash, new, false).await?;
    Ok((id, generated.secret))
}

async fn insert_root_key(
    mutation: &mut Mutation,
    secret: &Secret,
    hash: KeyHash,
    new: NewRootKey,
    bootstrap: bool,
) -> Result<String, Error> {
    // A bootstrap key is its owner's text: nothing of it is worth showing.
    let shown = |part: &str| if bootstrap { String::new() } else { part.to_owned() };
    let key = RootKey {
        id: ids::generate(Kind::Key),
        workspace_id: mutation.workspace_id().to_owned(),
        hash: hash.to_base64(),
        start: shown(secret::root_key_start(secret.expose())),
        ending: shown(secret::root_key_end(secret.expose())),
        name: new.name,
        permissions: new.permissions,
        operator: new.operator,
        bootstrap,
        enabled: true,
        expires_at: new.expires_at,
    };
    let now = mutation.now();
    root_keys::insert(mutation.connection(), &key, now).await?;
    let mut target = Target::new("rootKey", &key.id);
    if let Some(name) = &key.name {
        target = target.named(name);
    }
    mutation.record(Event::new("rootKey.create", format!("Created root key {}", key.id)).on(target));
    mutation.touch(Subject::RootKey(key.id.clone()));
    Ok(key.id)
}

/// Makes sure that the bootstrap setting's root key exists, and retires the one of an earlier setting.
///
/// A key that was deleted or disabled stays so.
///
/// # Errors
/// Says what is wrong with the setting, or that the store does not answer.
pub async fn ensure_bootstrap_key(keyrack: &Keyrack, secret: &Secret) -> Result<(), Error> {
    if secret.expose().chars().count() < MIN_BOOTSTRAP_CHARACTERS {
        return Err(Error::new(
            Code::InvalidInput,
            format!("The bootstrap root key must have at least {MIN_BOOTSTRAP_CHARACTERS} characters."),
        ));
    }
    let workspace_id = default_workspace(keyrack).await?;
    let hash = secret::hash(secret.expose());
    let mut mutation = Mutation::begin_as(keyrack, &workspace_id, Actor::system("bootstrap")).await?;
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
    let new = NewRootKey {
        name: Some("bootstrap".to_owned()),
        permissions: vec!["*".to_owned()],
        operator: true,
        expires_at: None,
    };
    insert_root_key(&mut mutation, secret, hash, new, true).await?;
    mutation.commit().await
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
    oldest.map(|workspace| workspace.id).ok_or_else(|| Error::not_found(Code::WorkspaceNotFound))
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
    let mut mutation = Mutation::begin_as(keyrack, workspace_id, Actor::system("command line")).await?;
    let made = add_root_key(&mut mutation, new).await?;
    mutation.commit().await?;
    Ok(made)
}
