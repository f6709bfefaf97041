//! Root keys that another process made a moment ago.
//!
//! `keyrack root-key create` prints a root key that is used at once, within the second that the change feed may take.
//! So the store is asked about a root key that memory does not know, once per request and a few times per second over
//! all: whoever guesses root keys makes no load.

use crate::error::Error;
use crate::keyrack::Keyrack;
use crate::keys::secret;
use crate::store::root_keys;

impl Keyrack {
    /// Whether a root key that is not known was made by another process: then it is known from now on.
    pub async fn learn_root_key(&self, bearer: &str) -> bool {
        if !self.newcomers().take(self.clock().now()) {
            return false;
        }
        match self.ask_for_root_key(bearer).await {
            Ok(is_there) => is_there,
            Err(error) => {
                tracing::warn!(%error, "the store was asked about an unknown root key and did not answer");
                false
            }
        }
    }

    async fn ask_for_root_key(&self, bearer: &str) -> Result<bool, Error> {
        let hash = secret::hash(bearer).to_base64();
        let mut connection = self.store().read().await?;
        let is_there = root_keys::owner_of_hash(&mut connection, &hash).await?.is_some();
        drop(connection);
        if is_there {
            self.catch_up().await?;
        }
        Ok(is_there)
    }
}
