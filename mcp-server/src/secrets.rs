//! How the text of a key reaches the person whom it is for: in the answer, which the model reads too, or past the model, by
//! a one-time link or a file.
//!
//! Which members of an answer are secrets say their types in core, so that no operation is named here. Whatever could fail
//! is tried before the operation runs; what fails afterwards says which key exists without anybody knowing its text.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyrack_core::claims::Issuer;
use keyrack_core::confirmations::ASKED_MS;
use keyrack_core::files;
use keyrack_core::ids::RequestId;
use keyrack_core::keys::secret::{Secret, key_start};
use keyrack_core::{Caller, Code, Error};
use rmcp::RoleServer;
use rmcp::model::{ElicitRequestParams, ElicitationAction};
use rmcp::service::Peer;
use serde_json::{Map, Value};

use crate::backend::Backend;
use crate::catalogue::{Answer, Offer};
use crate::naming::is_id;
use crate::projection::Shown;
use crate::rendering;
use crate::schema::DECRYPT;

/// What stands in an answer in a secret's place.
const START: &str = "start";
const LINK: &str = "link";
const FILE: &str = "file";
/// How the note on it begins.
const NOT_HERE: &str = "The key itself is not in this answer.";

/// How the texts of keys are handed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Secrets {
    /// In the answer: it stays in the conversation.
    #[default]
    Inline,
    /// By a link to a page that shows it once.
    Claim {
        /// Where clients reach the server that has the page, without a trailing slash.
        server: String,
    },
    /// In a file of its own, on the machine of whoever talks to the assistant.
    File {
        /// Where the files are made; it is made when the first one is.
        folder: PathBuf,
    },
}

/// What is ready to hand over the secrets of one call.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// The answer has none, or shows them.
    Inline,
    Claim {
        server: String,
        issuer: Issuer,
    },
    File {
        folder: PathBuf,
    },
}

impl Secrets {
    /// What a model is told of new keys, once.
    pub(crate) fn instruction(&self) -> &'static str {
        match self {
            Secrets::Inline => "A new key is shown once: give it to the user, do not repeat it.\n",
            Secrets::Claim { .. } => "A new key is not shown to you: give the user its link, and never open it.\n",
            Secrets::File { .. } => "A new key is not shown to you: tell the user which file it is in.\n",
        }
    }

    /// Gets ready to hand over what a call makes.
    ///
    /// # Errors
    /// When it could not be handed over: then nothing is to be made.
    pub(crate) async fn prepare(
        &self,
        backend: &dyn Backend,
        caller: &Caller,
        offer: &Offer,
        request: &Value,
    ) -> Result<Delivery, Error> {
        let makes = offer.secrets.once.pointers().next().is_some();
        let reads = request.get(DECRYPT) == Some(&Value::Bool(true));
        match self {
            Secrets::Claim { server } if makes || reads => {
                let issuer = Issuer::of(caller);
                backend.check_links(&issuer).await?;
                Ok(Delivery::Claim { server: server.clone(), issuer })
            }
            Secrets::File { folder } if makes || reads => {
                check_folder(folder).map_err(|error| no_folder(folder, &error))?;
                Ok(Delivery::File { folder: folder.clone() })
            }
            Secrets::Inline | Secrets::Claim { .. } | Secrets::File { .. } => Ok(Delivery::Inline),
        }
    }

    /// Hands over the secrets of an answer: what a model is told of that.
    ///
    /// # Errors
    /// When one could not be handed over, with the id of its key.
    pub(crate) async fn hand_over(
        &self,
        delivery: Delivery,
        backend: &dyn Backend,
        offer: &Offer,
        answer: &mut Answer,
    ) -> Result<Vec<String>, Error> {
        if *self == Secrets::Inline {
            return Ok(rendering::notes(&offer.secrets, answer));
        }
        let mut notes = Vec::new();
        let (once, again) = (offer.secrets.once.pointers(), offer.secrets.again.pointers());
        for pointer in once.chain(again) {
            let Some(mut taken) = Taken::out_of(&mut answer.data, pointer) else { continue };
            taken.is_stored = offer.secrets.again.has(pointer);
            notes.push(delivery.hand_over(backend, taken, &mut answer.data).await?);
        }
        let left = offer.secrets.once.filled_in(&answer.data).chain(offer.secrets.again.filled_in(&answer.data));
        match left.count() {
            0 => Ok(notes),
            _ => Err(Error::unexpected("an answer has a secret that nothing hands over")),
        }
    }
}

impl Secrets {
    /// Has the client open the link of an answer for its user: then the model need not see that either. Where the user does
    /// not want that, or nobody says anything, it stays in the answer.
    pub(crate) async fn show_link(&self, offer: &Offer, shown: &mut Shown, user: &Peer<RoleServer>) {
        let Secrets::Claim { server } = self else { return };
        let has_secrets = offer.secrets.once.pointers().chain(offer.secrets.again.pointers()).next().is_some();
        let link = shown.answer.data.get(LINK).and_then(Value::as_str);
        let Some(url) = link.filter(|link| has_secrets && link.starts_with(server)).map(str::to_owned) else {
            return;
        };
        let start = shown.answer.data[START].as_str().unwrap_or_default();
        let request = ElicitRequestParams::UrlElicitationParams {
            meta: None,
            message: format!(
                "This page shows the key that begins with {start} once. Have a place ready to keep it."
            ),
            url,
            elicitation_id: RequestId::new().to_string(),
        };
        let patience = Duration::from_millis(ASKED_MS.unsigned_abs());
        let said = user.create_elicitation_with_timeout(request, Some(patience)).await;
        if said.is_ok_and(|said| said.action == ElicitationAction::Accept) {
            if let Some(members) = shown.answer.data.as_object_mut() {
                members.remove(LINK);
            }
            shown.notes.retain(|note| !note.starts_with(NOT_HERE));
            shown.notes.insert(0, format!("{NOT_HERE} The user was led to the page that shows it."));
        }
    }
}

/// A secret that was taken out of an answer.
struct Taken {
    text: Secret,
    /// The object that it was in.
    parent: String,
    key_id: String,
    /// Whether it can be asked for again.
    is_stored: bool,
}

impl Taken {
    /// The secret at a place, if there is one; the items of a list have none.
    fn out_of(data: &mut Value, pointer: &str) -> Option<Taken> {
        let (parent, member) = pointer.rsplit_once('/')?;
        let object = data.pointer_mut(parent)?.as_object_mut()?;
        let Some(Value::String(text)) = object.remove(member) else { return None };
        let key_id = object.get("keyId").and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Taken { text: Secret::from_string(text), parent: parent.to_owned(), key_id, is_stored: false })
    }
}

impl Delivery {
    async fn hand_over(&self, backend: &dyn Backend, taken: Taken, data: &mut Value) -> Result<String, Error> {
        let Taken { text, parent, key_id, is_stored } = taken;
        let lost = |cause: &dyn std::fmt::Display| lost(&key_id, is_stored, cause);
        let mut shown = Map::new();
        shown.insert(START.to_owned(), key_start(text.expose()).into());
        let note = match self {
            Delivery::Inline => {
                return Err(lost(&"nothing was ready to hand it over"));
            }
            Delivery::Claim { server, issuer } => {
                let made = backend.link(issuer, &key_id, &text).await;
                let link = made.map_err(|error| lost(&error))?;
                shown.insert(LINK.to_owned(), format!("{server}/claim/{}", link.token.expose()).into());
                format!(
                    "{NOT_HERE} Give the user `data.{LINK}`: it shows the key once, until {}. Do \
                     not open it.",
                    link.expires_at.rfc3339()
                )
            }
            Delivery::File { folder } => {
                let written = write(folder, &key_id, &text).map_err(|error| lost(&error))?;
                shown.insert(FILE.to_owned(), written.display().to_string().into());
                format!(
                    "{NOT_HERE} Tell the user that it is in the file `data.{FILE}`, which only \
                     they can read; do not read it."
                )
            }
        };
        if let Some(Value::Object(members)) = data.pointer_mut(&parent) {
            members.extend(shown);
        }
        Ok(note)
    }
}

/// Makes sure that files can be made in a folder.
fn check_folder(folder: &Path) -> io::Result<()> {
    files::create_private_folder(folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(folder)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(io::Error::other("others can look into it; `chmod 700` it"));
        }
    }
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    files::private(File::options().create(true).append(true)).open(&probe)?;
    files::remove(&probe).map(drop)
}

/// Writes the text of a key into a file of its own, and never over another: where it is.
fn write(folder: &Path, key_id: &str, text: &Secret) -> io::Result<PathBuf> {
    let name = file_name(key_id);
    let mut names = std::iter::once(name.clone()).chain((2..100).map(|number| format!("{name}-{number}")));
    // A stored text may be asked for again and again.
    let path = names.find_map(|name| {
        let path = folder.join(name);
        let opened = files::private(File::options().create_new(true).write(true)).open(&path);
        match opened {
            Ok(file) => Some(Ok((path, file))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
            Err(error) => Some(Err(error)),
        }
    });
    let (path, mut file) = path.unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()))?;
    let written = writeln!(file, "{}", text.expose()).and_then(|()| file.sync_all());
    match written.and_then(|()| files::sync_folder_of(&path)) {
        Ok(()) => Ok(path),
        Err(error) => {
            // Half of a key is of no use; why not even that can be removed is not the thing to tell.
            let _ = files::remove(&path);
            Err(error)
        }
    }
}

/// The name of a key's file: its id, if it is one. It may be what a server elsewhere says, and a name must lead nowhere.
fn file_name(key_id: &str) -> String {
    if is_id(key_id) {
        key_id.to_owned()
    } else {
        format!("key_{}", RequestId::new().to_string().trim_start_matches("req_"))
    }
}

fn no_folder(folder: &Path, error: &io::Error) -> Error {
    let detail = format!(
        "Nothing was made: the key would be written into {}, where nothing can be written. Whoever runs this has to see to \
         it.",
        folder.display()
    );
    Error::new(Code::PreconditionFailed, detail).caused_by(error)
}

/// The key is there, and its text reached nobody.
fn lost(key_id: &str, is_stored: bool, cause: &dyn std::fmt::Display) -> Error {
    let then = if is_stored {
        "Ask for it again."
    } else {
        "The text is lost: reroll the key with `expiration` 0 or delete it, before you make another one."
    };
    let key_id = if is_id(key_id) { key_id } else { "that was made" };
    let detail = format!("The key {key_id} exists, but its text could not be handed over. {then}");
    Error::new(Code::UnexpectedError, detail).caused_by(cause)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_taken_out_of_its_place_with_the_id_beside_it() {
        let mut data = json!({ "keyId": "key_1", "key": "sk_1", "name": "a" });
        let taken = Taken::out_of(&mut data, "/key").unwrap();
        assert_eq!((taken.text.expose(), &*taken.key_id, &*taken.parent), ("sk_1", "key_1", ""));
        assert_eq!(data, json!({ "keyId": "key_1", "name": "a" }));
        for (pointer, mut data) in
            [("/key", json!({ "keyId": "key_1" })), ("/*/plaintext", json!([{ "plaintext": "sk_1" }]))]
        {
            assert!(Taken::out_of(&mut data, pointer).is_none(), "{pointer}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_its_owners_alone_and_replaces_no_other() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("secrets");
        check_folder(&folder).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "nothing is left of the look");
        let secret = |text: &str| Secret::from_string(text.to_owned());
        let first = write(&folder, "key_1", &secret("sk_1")).unwrap();
        let second = write(&folder, "key_1", &secret("sk_2")).unwrap();
        assert_eq!((mode(&first), mode(&second)), (0o600, 0o600));
        assert_eq!(std::fs::read_to_string(&first).unwrap(), "sk_1\n");
        assert_eq!(
            (second, std::fs::read_to_string(&first).unwrap()),
            (folder.join("key_1-2"), "sk_1\n".to_owned())
        );
        for hostile in ["../out", "/tmp/keyrack-out", "", ".", "a/b", "a\0b", &"x".repeat(65)] {
            let written = write(&folder, hostile, &secret("sk_4")).unwrap();
            assert_eq!(written.parent(), Some(&*folder), "{hostile:?} leads nowhere else: {written:?}");
        }
        std::os::unix::fs::symlink(&first, folder.join("key_2")).unwrap();
        assert_ne!(write(&folder, "key_2", &secret("sk_3")).unwrap(), folder.join("key_2"));
        assert_eq!(std::fs::read_to_string(&first).unwrap(), "sk_1\n", "no link is followed");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(check_folder(&folder).unwrap_err().to_string().contains("chmod 700"));
    }
}
