//! Recoverable keys: their plaintext, encrypted, for the few who may read it.
//!
//! Each workspace has a data key for each master key that there was; a key's plaintext is sealed under it with
//! AES-256-GCM, bound to the ids of the key and its workspace, so that no ciphertext can be moved to another row. The
//! data key itself is sealed under the master key, which only the server's settings hold. Changing the master key
//! rewraps the data keys at the next start; the ciphertexts stay as they are, and new plaintexts get a new data key:
//! whoever had the old master key can read none of them.
//!
//! A sealed text is base64 of a random 12-byte nonce followed by ciphertext and tag.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::calendar::UnixMs;
use crate::error::{Code, Error};
use crate::keys::secret::Secret;
use crate::store::encrypted_keys::{self, DataKey, EncryptedKey};
use crate::store::{Connection, Store};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// A master key, as the settings give it.
pub struct MasterKey {
    /// The first 16 hex digits of the SHA-256 of the key: which master key sealed a data key.
    id: String,
    cipher: Aes256Gcm,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

impl MasterKey {
    /// Reads a master key: base64 of 32 bytes, such as `openssl rand -base64 32` prints.
    ///
    /// # Errors
    /// Says what a master key is.
    pub fn parse(text: &Secret) -> Result<MasterKey, String> {
        let bytes = STANDARD.decode(text.expose()).map(Zeroizing::new).ok();
        let bytes = bytes.filter(|bytes| bytes.len() == KEY_BYTES);
        let Some(bytes) = bytes else {
            return Err("a master key is base64 of 32 bytes; `openssl rand -base64 32` makes one".to_owned());
        };
        let id = Sha256::digest(&*bytes)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(MasterKey { id, cipher: cipher(&bytes)? })
    }
}

/// What seals under a key of 32 bytes.
pub(crate) fn cipher(bytes: &[u8]) -> Result<Aes256Gcm, String> {
    let key = Key::<Aes256Gcm>::try_from(bytes).map_err(|_| "a key has 32 bytes".to_owned())?;
    Ok(Aes256Gcm::new(&key))
}

/// Seals and opens the plaintexts of recoverable keys.
#[derive(Debug)]
pub struct Vault {
    master: MasterKey,
    previous: Option<MasterKey>,
    /// Data keys that need another master key.
    foreign: AtomicUsize,
}

impl Vault {
    /// A vault under a master key. `previous` only opens what is not rewrapped yet.
    pub fn new(master: MasterKey, previous: Option<MasterKey>) -> Self {
        Vault { master, previous, foreign: AtomicUsize::new(0) }
    }

    /// Whether the master key before is the master key: nothing was changed.
    pub fn is_its_own_previous(&self) -> bool {
        self.previous.as_ref().is_some_and(|previous| previous.id == self.master.id)
    }

    /// The ids of the master keys that it has.
    pub fn master_key_ids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.master).chain(&self.previous).map(|master| master.id.as_str())
    }

    /// How many data keys the last [`Self::rewrap`] found that need a master key that is not here.
    pub fn foreign_data_keys(&self) -> usize {
        self.foreign.load(Ordering::Relaxed)
    }

    /// Stores the plaintext of a key within a change of its workspace, whose lock is held.
    ///
    /// # Errors
    /// 503 when it cannot be encrypted, so that nobody believes it was.
    pub async fn keep(
        &self,
        connection: &mut Connection,
        workspace_id: &str,
        key_id: &str,
        secret: &Secret,
        now: UnixMs,
    ) -> Result<(), Error> {
        let (data_key_id, cipher) = self.data_key(connection, workspace_id, now).await?;
        let sealed =
            seal(&cipher, secret.expose().as_bytes(), &bound_to(workspace_id, key_id)).map_err(unavailable)?;
        let row = EncryptedKey { key_id: key_id.to_owned(), data_key_id, sealed };
        encrypted_keys::insert(connection, &row, now).await
    }

    /// Opens the plaintexts of those of these keys that have one.
    ///
    /// # Errors
    /// 503 when one cannot be opened, which is no answer about it; when the store does not answer.
    pub async fn open(
        &self,
        connection: &mut Connection,
        workspace_id: &str,
        key_ids: &[&str],
    ) -> Result<HashMap<String, Secret>, Error> {
        let rows = encrypted_keys::of_keys(connection, key_ids).await?;
        if rows.is_empty() {
            return Ok(HashMap::new());
        }
        let mut ciphers = HashMap::new();
        for data_key in encrypted_keys::data_keys_of(connection, workspace_id).await? {
            ciphers.insert(data_key.id.clone(), self.unwrap(&data_key));
        }
        let mut opened = HashMap::new();
        for row in rows {
            let text = match ciphers.get(&row.data_key_id) {
                Some(Ok(cipher)) => text_of(cipher, &row, workspace_id),
                Some(Err(reason)) => Err(reason.clone()),
                None => Err("its data key is gone".to_owned()),
            };
            let text = text.map_err(|reason| unreadable(&row.key_id, reason))?;
            opened.insert(row.key_id, Secret::from_string(text));
        }
        Ok(opened)
    }

    /// Seals the data keys anew that the previous master key sealed, and tells the log.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn take_over(&self, store: &Store, now: UnixMs) -> Result<(), Error> {
        let (rewrapped, foreign) = self.rewrap(store, now).await?;
        if rewrapped > 0 {
            tracing::info!(rewrapped, "data keys are sealed under the new master key now");
        }
        if foreign > 0 {
            tracing::error!(
                foreign,
                "some workspaces' recoverable keys need another master key: set KEYRACK_MASTER_KEY_PREVIOUS"
            );
        }
        Ok(())
    }

    /// Seals the data keys anew that the previous master key sealed: how many were, and how many are sealed
    /// by a master key that is not here.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rewrap(&self, store: &Store, now: UnixMs) -> Result<(usize, usize), Error> {
        let mut transaction = store.write().await?;
        let (mut rewrapped, mut foreign) = (0, 0);
        for mut data_key in encrypted_keys::data_keys(&mut transaction).await? {
            if data_key.master_key_id == self.master.id {
                continue;
            }
            let known = self.previous.as_ref().filter(|previous| previous.id == data_key.master_key_id);
            let bytes =
                known.map(|known| unseal(&known.cipher, &data_key.sealed, data_key.workspace_id.as_bytes()));
            let Some(Ok(bytes)) = bytes else {
                foreign += 1;
                continue;
            };
            let bytes = Zeroizing::new(bytes);
            data_key.sealed =
                seal(&self.master.cipher, &bytes, data_key.workspace_id.as_bytes()).map_err(unavailable)?;
            data_key.master_key_id.clone_from(&self.master.id);
            encrypted_keys::update_data_key(&mut transaction, &data_key, now).await?;
            rewrapped += 1;
        }
        transaction.commit().await?;
        self.foreign.store(foreign, Ordering::Relaxed);
        Ok((rewrapped, foreign))
    }

    /// The data key for new plaintexts of a workspace: made under this master key, or made now.
    async fn data_key(
        &self,
        connection: &mut Connection,
        workspace_id: &str,
        now: UnixMs,
    ) -> Result<(String, Aes256Gcm), Error> {
        for known in encrypted_keys::data_keys_of(connection, workspace_id).await? {
            // One that needs another master key means that this server has the wrong one: it must keep nothing.
            let cipher = self.unwrap(&known).map_err(unavailable)?;
            if !known.was_sealed_anew && known.master_key_id == self.master.id {
                return Ok((known.id, cipher));
            }
        }
        let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
        getrandom::fill(bytes.as_mut_slice()).map_err(unavailable)?;
        let data_key = DataKey {
            id: crate::ids::generate(crate::ids::Kind::DataKey),
            workspace_id: workspace_id.to_owned(),
            master_key_id: self.master.id.clone(),
            sealed: seal(&self.master.cipher, bytes.as_slice(), workspace_id.as_bytes()).map_err(unavailable)?,
            was_sealed_anew: false,
        };
        encrypted_keys::insert_data_key(connection, &data_key, now).await?;
        let cipher = cipher(bytes.as_slice()).map_err(unavailable)?;
        Ok((data_key.id, cipher))
    }

    fn unwrap(&self, data_key: &DataKey) -> Result<Aes256Gcm, String> {
        let masters = std::iter::once(&self.master).chain(&self.previous);
        let master = masters.into_iter().find(|master| master.id == data_key.master_key_id);
        let master =
            master.ok_or_else(|| format!("its data key needs the master key {}", data_key.master_key_id))?;
        let bytes = Zeroizing::new(unseal(&master.cipher, &data_key.sealed, data_key.workspace_id.as_bytes())?);
        cipher(&bytes)
    }
}

fn unavailable(reason: impl fmt::Display) -> Error {
    Error::new(
        Code::ServiceUnavailable,
        "The key cannot be encrypted at the moment, so it was not created. Tell whoever runs this server.",
    )
    .caused_by(reason)
}

fn unreadable(key_id: &str, reason: String) -> Error {
    tracing::error!(key_id, reason, "a recoverable key cannot be read");
    Error::new(
        Code::ServiceUnavailable,
        "The plaintext of a recoverable key cannot be read: this server has another master key than the one it was \
         stored under, or it was damaged. Tell whoever runs this server; `keyrack doctor` says which master key is \
         missing.",
    )
    .caused_by(reason)
}

fn text_of(cipher: &Aes256Gcm, row: &EncryptedKey, workspace_id: &str) -> Result<String, String> {
    let bytes = unseal(cipher, &row.sealed, &bound_to(workspace_id, &row.key_id))?;
    String::from_utf8(bytes).map_err(|_| "is not text".to_owned())
}

/// What a plaintext is bound to. Ids hold no slash.
fn bound_to(workspace_id: &str, key_id: &str) -> Vec<u8> {
    format!("{workspace_id}/{key_id}").into_bytes()
}

/// Seals a plaintext, to be opened only beside the same `bound_to`.
pub(crate) fn seal(cipher: &Aes256Gcm, plaintext: &[u8], bound_to: &[u8]) -> Result<String, String> {
    let mut nonce = [0_u8; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|error| error.to_string())?;
    let payload = Payload { msg: plaintext, aad: bound_to };
    let ciphertext = cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| "encryption failed".to_owned())?;
    Ok(STANDARD.encode([nonce.as_slice(), &ciphertext].concat()))
}

/// Opens what was sealed.
pub(crate) fn unseal(cipher: &Aes256Gcm, sealed: &str, bound_to: &[u8]) -> Result<Vec<u8>, String> {
    let bytes = STANDARD.decode(sealed).map_err(|_| "is not base64".to_owned())?;
    let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or_else(|| "is too short".to_owned())?;
    let payload = Payload { msg: ciphertext, aad: bound_to };
    cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| "was sealed with another key or altered".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(byte: u8) -> MasterKey {
        MasterKey::parse(&Secret::from_string(STANDARD.encode([byte; KEY_BYTES]))).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_only_where_it_belongs() {
        let key = master(1);
        let sealed = seal(&key.cipher, b"secret", b"ws_1/key_1").unwrap();
        assert_eq!(unseal(&key.cipher, &sealed, b"ws_1/key_1").unwrap(), b"secret");
        assert!(unseal(&key.cipher, &sealed, b"ws_1/key_2").is_err(), "moved to another key");
        assert!(unseal(&master(2).cipher, &sealed, b"ws_1/key_1").is_err(), "another master key");
        assert_ne!(sealed, seal(&key.cipher, b"secret", b"ws_1/key_1").unwrap(), "nonces are random");
    }

    #[test]
    fn a_master_key_is_base64_of_32_bytes_and_never_printed() {
        for wrong in ["", "c2hvcnQ=", "not base64 at all !"] {
            assert!(MasterKey::parse(&Secret::from_string(wrong.to_owned())).is_err());
        }
        let text = STANDARD.encode([7; KEY_BYTES]);
        assert!(!format!("{:?}", master(7)).contains(&text));
    }
}
