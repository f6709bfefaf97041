//! Keys: issued, verified, changed, read and deleted.

mod add_permissions;
mod add_roles;
mod create_key;
mod delete_key;
mod expanded;
mod explain_key;
mod get_key;
mod key_object;
mod links;
mod list_keys;
mod migrate_keys;
mod pinned;
mod recorded;
mod remove_permissions;
mod remove_roles;
mod reroll_key;
mod rights;
mod set_permissions;
mod set_roles;
mod update_credits;
mod update_key;
mod verify_key;
mod whoami;

pub use add_permissions::AddPermissions;
pub use add_roles::AddRoles;
pub use create_key::CreateKey;
pub use delete_key::DeleteKey;
pub use explain_key::ExplainKey;
pub use get_key::GetKey;
pub use key_object::KeyObject;
pub(super) use links::{
    CREATE_PERMISSION, gained, lost, permission_created, permission_target, permissions_by_slug, role_target,
};
pub use list_keys::ListKeys;
pub use migrate_keys::MigrateKeys;
pub use pinned::is_of_api;
pub use remove_permissions::RemovePermissions;
pub use remove_roles::RemoveRoles;
pub use reroll_key::RerollKey;
pub(super) use rights::LIST_KEYS;
pub use set_permissions::SetPermissions;
pub use set_roles::SetRoles;
pub use update_credits::UpdateCredits;
pub use update_key::UpdateKey;
pub use verify_key::VerifyKey;
pub use whoami::Whoami;

use std::sync::Arc;

use crate::audit::Event;
use crate::caller::Authorized;
use crate::catalogue::{Operation, Question};
use crate::error::OrNotFound as _;
use crate::ids::{ApiId, KeyId};
use crate::resident::Api;
use crate::store::Connection;
use crate::store::apis;
use crate::store::keys::{self, Key};
use crate::vault::Vault;
use crate::{Caller, Code, Error, Keyrack};

/// A live key of the caller's workspace and its API. A key of another workspace does not exist.
async fn locate(
    keyrack: &Keyrack,
    connection: &mut Connection,
    caller: &Caller,
    key_id: &KeyId,
) -> Result<(Key, Arc<Api>), Error> {
    let key = find(connection, caller, key_id).await?;
    with_api(keyrack, key).await?.ok_or_else(|| key_not_found(key_id))
}

/// The 404 of a key: of a text that cannot be an id it says what it is told from.
fn key_not_found(key_id: &KeyId) -> Error {
    if key_id.starts_with("key_") {
        return Error::not_found(Code::KeyNotFound);
    }
    let text = "The key was not found in this workspace. What was sent is no id, which begins with `key_`: to find a key \
                by its text use `keys.whoami`, by its first characters or its name `keys.listKeys`.";
    Error::new(Code::KeyNotFound, text)
}

async fn find(connection: &mut Connection, caller: &Caller, key_id: &KeyId) -> Result<Option<Key>, Error> {
    Ok(keys::find(connection, key_id).await?.filter(|key| key.workspace_id == caller.workspace_id()))
}

/// The same outside a change, with the rule of `O` checked on it.
async fn locate_for<O: Operation>(
    keyrack: &Keyrack,
    caller: &Caller,
    key_id: &KeyId,
) -> Result<(Authorized, Key, Arc<Api>), Error> {
    let mut connection = keyrack.store().read().await?;
    let key = find(&mut connection, caller, key_id).await?;
    // Not held while memory may have to follow.
    drop(connection);
    let (key, api) = with_api(keyrack, key).await?.ok_or_else(|| key_not_found(key_id))?;
    let authorized = authorize_on::<O>(caller, &key, &api)?;
    Ok((authorized, key, api))
}

fn authorize_on<O: Operation>(caller: &Caller, key: &Key, api: &Api) -> Result<Authorized, Error> {
    caller.authorize(&O::ABOUT.rule, &scope_of(key, api))
}

/// The ids that rules on a key ask about.
fn scope_of<'a>(key: &'a Key, api: &'a Api) -> [(&'static str, &'a str); 3] {
    [("apiId", &api.stored.id), ("keySpaceId", &api.stored.key_space_id), ("keyId", &key.id)]
}

async fn with_api(keyrack: &Keyrack, key: Option<Key>) -> Result<Option<(Key, Arc<Api>)>, Error> {
    let Some(key) = key else { return Ok(None) };
    let api = find_api(keyrack, &key.workspace_id, &key.api_id).await?;
    Ok(api.map(|api| (key, api)))
}

/// A live API of a workspace. One that memory does not know may have been made by another process a moment ago.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn find_api(
    keyrack: &Keyrack,
    workspace_id: &str,
    api_id: &str,
) -> Result<Option<Arc<Api>>, Error> {
    let known = || keyrack.resident().api(api_id).filter(|api| api.stored.workspace_id == workspace_id);
    if let Some(api) = known() {
        return Ok(Some(api));
    }
    keyrack.follow(workspace_id).await?;
    Ok(known())
}

/// A live API of the caller's workspace.
///
/// # Errors
/// 404 when there is none, 503 when the store does not answer.
async fn api_of_caller(keyrack: &Keyrack, caller: &Caller, api_id: &ApiId) -> Result<Arc<Api>, Error> {
    let api = find_api(keyrack, caller.workspace_id(), api_id).await?;
    api.or_not_found(Code::ApiNotFound)
}

/// Where plaintexts are stored.
///
/// # Errors
/// 412 when the server has no master key.
pub(super) fn vault(keyrack: &Keyrack) -> Result<&Vault, Error> {
    keyrack.vault().ok_or_else(|| {
        Error::new(
            Code::PreconditionFailed,
            "This server has no master key, so it stores no plaintext of keys and can recover none. Whoever runs it sets \
             KEYRACK_MASTER_KEY; without one leave `recoverable` and `decrypt` out.",
        )
    })
}

/// Checks that an API stores the plaintexts of its keys.
///
/// # Errors
/// 412 when it does not.
pub(super) fn stores_plaintexts(api: &apis::Api) -> Result<(), Error> {
    if api.store_encrypted_keys {
        return Ok(());
    }
    Err(Error::new(
        Code::PreconditionFailed,
        "The API does not store the plaintext of its keys. Switch `storeEncryptedKeys` on with `apis.updateApi`; it \
         counts for keys created afterwards.",
    ))
}

/// Puts the plaintexts of recoverable keys into objects, and writes to the audit log that they were read.
pub(super) async fn reveal(keyrack: &Keyrack, caller: &Caller, objects: &mut [KeyObject]) -> Result<(), Error> {
    let ids: Vec<&str> = objects.iter().map(KeyObject::id).collect();
    let mut connection = keyrack.store().read().await?;
    let mut opened = vault(keyrack)?.open(&mut connection, caller.workspace_id(), &ids).await?;
    drop(connection);
    if opened.is_empty() {
        return Ok(());
    }
    let mut mutation = keyrack.change(caller).await?;
    for object in objects {
        let Some(secret) = opened.remove(object.id()) else { continue };
        let description = format!("Read the plaintext of key {}", object.id());
        mutation.record(Event::new("key.decrypt", description).on(object.target()));
        object.reveal(secret);
    }
    mutation.commit().await
}

/// A question about a key, with what tells it from others.
fn about(question: Question, key: &Key, api: &Api) -> Question {
    question
        .text_if_any("name", key.name.as_deref())
        .text("start", &*key.start)
        .text("id", &*key.id)
        .text("API", &*api.stored.name)
        .time_if_any("last use", key.last_used_at)
}
