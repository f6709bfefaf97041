//! The file of a SQLite database: who may open it when, and whether it is still the one that was opened.
//!
//! Two files stand beside it and are only ever locked. `<file>.lock` is held by one process at a time, while it
//! opens the database: SQLite itself does not order two processes that both find no tables. `<file>.in-use` is
//! held by all processes that have the database open, and by a restore or a copy alone.
//!
//! A file that is removed or replaced while it is open stays what its name once stood for, but only until the last
//! process closes it: nothing may be acknowledged into it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Code, Error};
use crate::files;

/// A database that is being opened, which no other process does meanwhile.
#[derive(Debug)]
pub(super) struct Opening {
    path: PathBuf,
    /// Locked for as long as they are open; the system unlocks them however the process ends.
    _turn: File,
    in_use: File,
}

impl Opening {
    /// Waits for the turn to open a database, and makes its file if it is not there; `alone`, nobody else has it open or
    /// opens it for as long as this process does.
    ///
    /// # Errors
    /// When a file or its folder cannot be made or opened, and while a restore or a copy is at it, or anybody if `alone`.
    pub(super) async fn begin(path: &Path, alone: bool) -> Result<Opening, Error> {
        if let Some(folder) = path.parent() {
            files::create_private_folder(folder).map_err(|error| cannot_open(path, &error))?;
        }
        let turn = lock(path).await.map_err(|error| cannot_open(path, &error))?;
        let in_use = files::open_lock(&in_use_path(path)).map_err(|error| cannot_open(path, &error))?;
        let locking = if alone { in_use.try_lock() } else { in_use.try_lock_shared() };
        if !is_locked(locking).map_err(|error| cannot_open(path, &error))? {
            let by_whom = match alone {
                true => "it is open (`keyrack serve` or `keyrack mcp`); stop what uses it first",
                false => "another program restores or copies it",
            };
            return Err(cannot_open(path, &by_whom));
        }
        create(path).map_err(|error| cannot_open(path, &error))?;
        Ok(Opening { path: path.to_owned(), _turn: turn, in_use })
    }

    /// The database is open.
    ///
    /// # Errors
    /// When its file is gone already.
    pub(super) fn finish(self) -> Result<DatabaseFile, Error> {
        let opened = identity(&self.path).map_err(|error| cannot_open(&self.path, &error))?;
        Ok(DatabaseFile { path: self.path, opened, is_missed: AtomicBool::new(false), _in_use: self.in_use })
    }
}

/// Takes the lock that one process holds while it opens a database, and says so if that takes a while.
async fn lock(path: &Path) -> io::Result<File> {
    let path = lock_path(path);
    let lock = files::open_lock(&path)?;
    if is_locked(lock.try_lock())? {
        return Ok(lock);
    }
    tracing::warn!(
        "waiting for another process that opens, upgrades or restores this database: it has {} locked",
        path.display()
    );
    let waiting = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
    waiting.await.map_err(io::Error::other).flatten()
}

/// A claim on a database file. The system ends it however the process ends.
#[derive(Debug)]
pub struct Claim {
    _turn: Option<File>,
    _in_use: File,
}

/// Claims a database for this process alone, to put another file in its place; `None` while it is open anywhere.
///
/// # Errors
/// When a lock beside it cannot be made.
pub fn claim_alone(path: &Path) -> io::Result<Option<Claim>> {
    if let Some(folder) = path.parent() {
        files::create_private_folder(folder)?;
    }
    let (turn, in_use) = (files::open_lock(&lock_path(path))?, files::open_lock(&in_use_path(path))?);
    let is_free = is_locked(turn.try_lock())? && is_locked(in_use.try_lock())?;
    Ok(is_free.then_some(Claim { _turn: Some(turn), _in_use: in_use }))
}

/// Claims a database together with the processes that have it open, so that it stays where it is; `None` while it is
/// restored.
///
/// # Errors
/// When the lock beside it cannot be made.
pub fn claim_shared(path: &Path) -> io::Result<Option<Claim>> {
    let in_use = files::open_lock(&in_use_path(path))?;
    Ok(is_locked(in_use.try_lock_shared())?.then_some(Claim { _turn: None, _in_use: in_use }))
}

fn is_locked(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn lock_path(path: &Path) -> PathBuf {
    files::beside(path, ".lock")
}

fn in_use_path(path: &Path) -> PathBuf {
    files::beside(path, ".in-use")
}

/// Creates a database file, unless it is there, for its owner alone; what SQLite puts beside it has the same mode.
/// A link is followed: a database may be on another disk.
fn create(path: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// The file of an open database.
#[derive(Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    opened: Identity,
    /// Whether the log has said that it is not where it was.
    is_missed: AtomicBool,
    _in_use: File,
}

impl DatabaseFile {
    /// Refuses if the file is not where it was opened. It costs a look at the folder, about a microsecond.
    ///
    /// # Errors
    /// 503: what is written now would be lost.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let found = identity(&self.path);
        if found.as_ref().is_ok_and(|found| *found == self.opened) {
            if self.is_missed.swap(false, Ordering::AcqRel) {
                tracing::info!(file = %self.path.display(), "the database file is where it was again");
            }
            return Ok(());
        }
        let what = match found {
            Ok(_) => "is another one than was opened".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => "is gone".to_owned(),
            Err(error) => format!("cannot be seen: {error}"),
        };
        let reason = format!("the database file {} {what}", self.path.display());
        if !self.is_missed.swap(true, Ordering::AcqRel) {
            tracing::error!(
                "{reason}. Nothing is written until it is put back. To go on with what is there now, or with a backup \
                 (`keyrack restore FILE`), stop this process first"
            );
        }
        Err(Error::new(
            Code::ServiceUnavailable,
            "The server's database file is not where it was, and nothing was changed. Tell whoever runs this server.",
        )
        .caused_by(reason))
    }
}

/// Which file it is, whatever its name: its device and number there.
#[derive(Debug, PartialEq, Eq)]
struct Identity(u64, u64);

fn identity(path: &Path) -> io::Result<Identity> {
    let metadata = fs::metadata(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        Ok(Identity(metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        // Other systems do not let an open file be removed.
        let _ = metadata;
        Ok(Identity(0, 0))
    }
}

/// A path as the URL that opens it.
pub(super) fn url(path: &Path, mode: &str) -> String {
    let mut text = String::from("sqlite://");
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{text}?mode={mode}")
}

/// What a command says of a file that it cannot use.
pub(super) fn cannot_open(path: &Path, error: &dyn std::fmt::Display) -> Error {
    let (path, error) = (path.display(), error.to_string());
    // SQLite's words for the codes CORRUPT and NOTADB, which stay the same through every library.
    let is_malformed = ["malformed", "not a database"].iter().any(|words| error.contains(words));
    let text = if is_malformed {
        format!(
            "The database {path} is malformed: {error}. Stop what uses it and keep a copy of the file. `keyrack restore \
             FILE` puts back what `keyrack backup FILE` saved, and keeps what is there beside it."
        )
    } else {
        format!("The database {path} cannot be opened: {error}.")
    };
    Error::new(Code::ServiceUnavailable, text)
}
