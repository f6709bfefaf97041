//! Whether a key is one of an API that somebody's view is about.

use super::with_api;
use crate::catalogue::Pin;
use crate::keys::secret;
use crate::store::keys;
use crate::{Caller, Error, Keyrack};

/// Whether what a request names, by a member that makes it one on an API, is this API or a key of it. A key that is not
/// found is none of it.
///
/// # Errors
/// When the store does not answer.
pub async fn is_of_api(
    keyrack: &Keyrack,
    caller: &Caller,
    named: (Pin, &str),
    api_id: &str,
) -> Result<bool, Error> {
    let mut connection = keyrack.store().read().await?;
    let key = match named {
        (Pin::Api(_), named) => return Ok(named == api_id),
        (Pin::KeyId(_), id) => keys::find(&mut connection, id).await?,
        (Pin::Key(_), text) => keys::find_by_hash(&mut connection, &secret::hash(text).to_base64()).await?,
    };
    drop(connection);
    let key = key.filter(|key| key.workspace_id == caller.workspace_id());
    Ok(with_api(keyrack, key).await?.is_some_and(|(_, api)| api.stored.id == api_id))
}
