//! One-time links: the text of a new key goes to a person past the assistant that made it.
//!
//! What the link says (its token) is random and stored nowhere. Its digest finds the row, and a key that is made of it
//! opens the text in it: whoever has the database alone has neither. The text is shown once, in the transaction that takes
//! it out of its row and writes to the audit log; looking at a link changes nothing. A link that nobody opens is void after
//! [`CLAIM_MS`].

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::audit::{Actor, Event, Target};
use crate::calendar::{HOUR_MS, MINUTE_MS, UnixMs};
use crate::caller::Origin;
use crate::keys::secret::{self, Secret};
use crate::root_keys::root_key_target;
use crate::store::Connection;
use crate::store::claims::{self, Claim};
use crate::store::keys::{self, KnownAs};
use crate::store::root_keys::{self, RootKey};
use crate::{Caller, Code, Error, Keyrack, vault};

/// How long a link is good, in ms.
pub const CLAIM_MS: i64 = 15 * MINUTE_MS;
/// How long it is remembered, in ms, that a text was shown: who comes late should learn that somebody else was first.
const REMEMBERED_MS: i64 = 24 * HOUR_MS;
/// Links of a workspace that wait, and those of one root key.
const MOST_WAITING: i64 = 500;
const MOST_OF_ROOT_KEY: i64 = 100;
/// The same with those of which it is remembered that they were opened.
const MOST_HELD: i64 = 10_000;
/// Random bytes of a token.
const TOKEN_BYTES: usize = 16;
/// Characters that a token may have: base58 of so many bytes.
const TOKEN_CHARACTERS: std::ops::RangeInclusive<usize> = TOKEN_BYTES..=22;
/// Makes the key that seals another digest than the one that is stored.
const SEALS: &[u8] = b"keyrack one-time link seals\n";
/// Who the audit log names for what an open link does.
const ROLE: &str = "claim";

/// On whose behalf links are made.
#[derive(Debug, Clone)]
pub struct Issuer {
    workspace_id: String,
    root_key_id: String,
}

impl Issuer {
    /// The root key of a caller.
    pub fn of(caller: &Caller) -> Self {
        let (workspace_id, root_key_id) = (caller.workspace_id().to_owned(), caller.principal().id().to_owned());
        Issuer { workspace_id, root_key_id }
    }
}

/// A new link.
#[derive(Debug)]
pub struct Link {
    /// What its path ends in.
    pub token: Secret,
    /// When it is void.
    pub expires_at: UnixMs,
}

/// What a link is about, as whoever opens it is told. Names were written by anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// `key_…`
    pub key_id: String,
    /// The key's name, if it has one.
    pub name: Option<String>,
    /// Whether it is a root key.
    pub is_root_key: bool,
    /// The name of its workspace.
    pub workspace: String,
    /// The root key that asked for the link: its name, or its id.
    pub issuer: String,
    /// When the link is void.
    pub expires_at: UnixMs,
}

/// What there is behind a link.
#[derive(Debug)]
pub enum Behind<T> {
    /// Nothing: it was never made, its time is over, or its key is gone. Which of these is not told.
    Nothing,
    /// The text was shown, at this time.
    Shown(UnixMs),
    /// This.
    Waiting(T),
}

/// Checks that one more link may be made: before the key is, of which nobody would hear otherwise.
///
/// # Errors
/// 429 when too many wait, and when the store does not answer.
pub async fn check_room(keyrack: &Keyrack, issuer: &Issuer) -> Result<(), Error> {
    let now = keyrack.clock().now();
    let mut connection = keyrack.store().read().await?;
    let held = claims::held(&mut connection, &issuer.workspace_id, &issuer.root_key_id, now).await?;
    if held.waiting < MOST_WAITING && held.of_root_key < MOST_OF_ROOT_KEY && held.all < MOST_HELD {
        return Ok(());
    }
    let detail = "Too many one-time links of this root key or workspace wait to be opened; nothing was done.";
    Err(Error::new(Code::WorkspaceRateLimited, detail).retry_after(60))
}

/// Makes a link to the text of a key or root key of the issuer's workspace.
///
/// # Errors
/// When the system has no randomness or the store does not answer.
pub async fn make(keyrack: &Keyrack, issuer: &Issuer, key_id: &str, text: &Secret) -> Result<Link, Error> {
    let token = secret::generate_key(None, TOKEN_BYTES).map_err(Error::unexpected)?.secret;
    let now = keyrack.clock().now();
    let expires_at = now.plus(CLAIM_MS);
    let claim = Claim {
        id: id_of(token.expose()),
        workspace_id: issuer.workspace_id.clone(),
        root_key_id: issuer.root_key_id.clone(),
        key_id: key_id.to_owned(),
        sealed: Some(seal(token.expose(), &issuer.workspace_id, key_id, text)?),
        created_at: now,
        expires_at,
        claimed_at: None,
    };
    let mut transaction = keyrack.store().write().await?;
    claims::insert(&mut transaction, &claim).await?;
    transaction.commit().await?;
    Ok(Link { token, expires_at })
}

/// What is behind a link. Looking changes nothing.
///
/// # Errors
/// 429 when links are looked at too often, by whomever; when the store does not answer.
pub async fn look(keyrack: &Keyrack, token: &str) -> Result<Behind<Described>, Error> {
    if !is_token(token) {
        return Ok(Behind::Nothing);
    }
    check_budget(keyrack)?;
    let mut connection = keyrack.store().read().await?;
    let found = found(keyrack, &mut connection, token).await?;
    Ok(match found {
        Behind::Nothing => Behind::Nothing,
        Behind::Shown(at) => Behind::Shown(at),
        Behind::Waiting((claim, thing)) => Behind::Waiting(thing.described(keyrack, &claim)),
    })
}

/// Shows the text behind a link, to one only and once, and writes that to the audit log.
///
/// # Errors
/// As [`look`]; when it is not known whether the text was taken, nobody is shown it.
pub async fn open(keyrack: &Keyrack, token: &str, origin: &Origin) -> Result<Behind<(Described, Secret)>, Error> {
    if !is_token(token) {
        return Ok(Behind::Nothing);
    }
    check_budget(keyrack)?;
    let known = claims::find(&mut *keyrack.store().read().await?, &id_of(token), keyrack.clock().now()).await?;
    let Some(known) = known else { return Ok(Behind::Nothing) };
    let actor = Actor::system(ROLE).for_somebody_at(origin);
    let mut mutation = keyrack.change_as(&known.workspace_id, actor).await?;
    let (claim, thing) = match found(keyrack, mutation.connection(), token).await? {
        Behind::Nothing => return Ok(Behind::Nothing),
        Behind::Shown(at) => return Ok(Behind::Shown(at)),
        Behind::Waiting(waiting) => waiting,
    };
    let text = unseal(token, &claim)?;
    let now = mutation.now();
    if !claims::take(mutation.connection(), &claim.id, now, now.plus(REMEMBERED_MS)).await? {
        return Ok(Behind::Nothing);
    }
    mutation.record(thing.shown(&claim));
    mutation.commit().await?;
    Ok(Behind::Waiting((thing.described(keyrack, &claim), text)))
}

/// Whether a text could be a token at all: the store is asked about no other.
fn is_token(text: &str) -> bool {
    TOKEN_CHARACTERS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn check_budget(keyrack: &Keyrack) -> Result<(), Error> {
    if keyrack.claims().take(keyrack.clock().now()) {
        return Ok(());
    }
    let detail = "Too many one-time links are being opened at this moment. Try again in a second.";
    Err(Error::new(Code::WorkspaceRateLimited, detail).retry_after(1))
}

/// What a link is about.
#[derive(Debug)]
enum Thing {
    Key(KnownAs),
    RootKey(RootKey),
}

impl Thing {
    fn described(&self, keyrack: &Keyrack, claim: &Claim) -> Described {
        let workspace = keyrack.resident().workspace(&claim.workspace_id);
        let issuer = keyrack.resident().root_key_by_id(&claim.root_key_id).and_then(|key| key.name.clone());
        Described {
            key_id: claim.key_id.clone(),
            name: match self {
                Thing::Key(known) => known.name.clone(),
                Thing::RootKey(key) => key.name.clone(),
            },
            is_root_key: matches!(self, Thing::RootKey(_)),
            workspace: workspace.map_or_else(|| claim.workspace_id.clone(), |workspace| workspace.name.clone()),
            issuer: issuer.unwrap_or_else(|| claim.root_key_id.clone()),
            expires_at: claim.expires_at,
        }
    }

    /// The event of its text being shown.
    fn shown(&self, claim: &Claim) -> Event {
        let Claim { key_id, root_key_id, .. } = claim;
        match self {
            Thing::Key(known) => {
                let description = format!("Showed key {key_id} by the one-time link of root key {root_key_id}");
                let (name, external_id) = (known.name.as_deref(), known.external_id.as_deref());
                Event::new("key.claim", description).on(Target::key(key_id, name, &known.start, external_id))
            }
            Thing::RootKey(key) => {
                let description =
                    format!("Showed root key {key_id} by the one-time link of root key {root_key_id}");
                Event::new("rootKey.claim", description).on(root_key_target(key))
            }
        }
    }
}

/// What is behind a link, as long as its key is there.
async fn found(
    keyrack: &Keyrack,
    connection: &mut Connection,
    token: &str,
) -> Result<Behind<(Claim, Thing)>, Error> {
    let claim = claims::find(connection, &id_of(token), keyrack.clock().now()).await?;
    let Some(claim) = claim else { return Ok(Behind::Nothing) };
    if let Some(at) = claim.claimed_at {
        return Ok(Behind::Shown(at));
    }
    // A link lasts no longer than what made it.
    let resident = keyrack.resident();
    let is_live = resident.workspace(&claim.workspace_id).is_some_and(|workspace| workspace.enabled)
        && resident.root_key_by_id(&claim.root_key_id).is_some_and(|key| key.enabled);
    if !is_live {
        return Ok(Behind::Nothing);
    }
    let id = claim.key_id.as_str();
    let key = keys::find(connection, id).await?.filter(|key| key.workspace_id == claim.workspace_id);
    if key.is_some()
        && let Some(known) = keys::known_as(connection, &[id]).await?.remove(id)
    {
        return Ok(Behind::Waiting((claim, Thing::Key(known))));
    }
    let root_key = root_keys::find(connection, &claim.workspace_id, id).await?;
    Ok(root_key.map_or(Behind::Nothing, |key| Behind::Waiting((claim, Thing::RootKey(key)))))
}

fn id_of(token: &str) -> String {
    secret::hash(token).to_base64()
}

fn seal(token: &str, workspace_id: &str, key_id: &str, text: &Secret) -> Result<String, Error> {
    let cipher = vault::cipher(sealing_key(token).as_slice()).map_err(Error::unexpected)?;
    vault::seal(&cipher, text.expose().as_bytes(), &bound_to(workspace_id, key_id)).map_err(Error::unexpected)
}

fn unseal(token: &str, claim: &Claim) -> Result<Secret, Error> {
    let sealed = claim.sealed.as_deref().unwrap_or_default();
    let cipher = vault::cipher(sealing_key(token).as_slice()).map_err(Error::unexpected)?;
    let bytes = vault::unseal(&cipher, sealed, &bound_to(&claim.workspace_id, &claim.key_id));
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "is not text".to_owned()));
    text.map(Secret::from_string).map_err(Error::unexpected)
}

/// The key that a token seals under. A token has 128 random bits, so one digest is enough to make it.
fn sealing_key(token: &str) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(Sha256::new().chain_update(SEALS).chain_update(token).finalize().into())
}

/// What a text is bound to, so that none can be moved to another row. Ids hold no slash.
fn bound_to(workspace_id: &str, key_id: &str) -> Vec<u8> {
    format!("claim/{workspace_id}/{key_id}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(token: &str, key_id: &str) -> Claim {
        let text = Secret::from_string("sk_live_planted".to_owned());
        Claim {
            id: id_of(token),
            workspace_id: "ws_1".to_owned(),
            root_key_id: "key_1".to_owned(),
            key_id: key_id.to_owned(),
            sealed: Some(seal(token, "ws_1", key_id, &text).unwrap()),
            created_at: UnixMs::new(0),
            expires_at: UnixMs::new(CLAIM_MS),
            claimed_at: None,
        }
    }

    #[test]
    fn only_the_token_opens_what_it_seals_and_only_in_its_row() {
        let row = claim("4Nv8yTq1ZbWc7XgR9kLmPa", "key_2");
        assert_eq!(unseal("4Nv8yTq1ZbWc7XgR9kLmPa", &row).unwrap().expose(), "sk_live_planted");
        assert!(unseal("4Nv8yTq1ZbWc7XgR9kLmPb", &row).is_err());
        assert!(unseal(&row.id, &row).is_err(), "what is stored opens nothing");
        let moved = Claim { key_id: "key_3".to_owned(), ..row.clone() };
        assert!(unseal("4Nv8yTq1ZbWc7XgR9kLmPa", &moved).is_err());
        assert!(!format!("{row:?}").contains("planted"));
    }

    #[test]
    fn every_token_that_is_made_could_be_one_and_little_else() {
        for _ in 0..1000 {
            let token = secret::generate_key(None, TOKEN_BYTES).unwrap().secret;
            assert!(is_token(token.expose()));
        }
        assert!(is_token(&"1".repeat(16)), "of zeros alone");
        for text in ["", "short", "4Nv8yTq1ZbWc7XgR9kLmPaX", "4Nv8yTq1ZbWc/XgR9kLmPa", "4Nv8yTq1ZbWc7XgR9kLmé"] {
            assert!(!is_token(text), "{text}");
        }
    }
}
