//! A folder for links of files, which one process has for a while: exports and backups read from there what a data folder had
//! at one moment. A kill leaves such a folder; whoever has it next, and every start of a server, removes what is in it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use keyrack_core::files;

use crate::storage::Fault;

/// The lock of the folder, in it.
const LOCK: &str = "lock";

/// The folder, which is this process's while the value lives, and removed then.
#[derive(Debug)]
pub struct Place {
    folder: PathBuf,
    /// Held open: the lock ends with it.
    _lock: File,
}

impl Place {
    /// Takes a folder, and removes what was left there.
    ///
    /// # Errors
    /// [`Fault::Busy`] when another process has it, or the file system refuses.
    pub fn own(folder: &Path) -> Result<Self, Fault> {
        let path = folder.join(LOCK);
        loop {
            files::create_private_folder(folder).map_err(Fault::of(folder))?;
            let lock = match files::open_lock(&path) {
                // Whoever had the folder is removing it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(Fault::of(folder))?,
            };
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(Fault::Busy(folder.to_owned())),
                Err(TryLockError::Error(error)) => return Err(Fault::of(folder)(error)),
            }
            // The one that was opened may have been removed before it was locked.
            if is_at(&lock, &path).map_err(Fault::of(folder))? {
                let place = Place { folder: folder.to_owned(), _lock: lock };
                place.clear().map_err(Fault::of(folder))?;
                return Ok(place);
            }
        }
    }

    /// Removes a folder that a killed process left: whether there was one. One that is in use stays.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove_left(folder: &Path) -> Result<bool, Fault> {
        if !folder.exists() {
            return Ok(false);
        }
        match Place::own(folder) {
            Ok(_) => Ok(true),
            Err(Fault::Busy(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Removes everything but the lock.
    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else if entry.file_name() != LOCK {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// The lock goes after all else, and nothing after it that another process may have made by then.
    fn remove(&self) -> io::Result<()> {
        self.clear()?;
        fs::remove_file(self.folder.join(LOCK))?;
        match fs::remove_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => removed,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            let folder = self.folder.display();
            tracing::warn!(%error, %folder, "the links that were made stay until the next time");
        }
    }
}

/// Whether a file is the one of this path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match fs::metadata(path) {
        Ok(found) => Ok(identity(found) == identity(file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A file that is open is not removed.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn what_a_kill_left_is_removed_and_what_is_in_use_stays() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join(".apart");
        assert!(!Place::remove_left(&folder).unwrap() && !folder.exists());
        fs::create_dir_all(folder.join("analytics")).unwrap();
        fs::write(folder.join("analytics").join("manifest"), "half").unwrap();
        fs::write(folder.join("a file of rows"), "half").unwrap();
        assert!(Place::remove_left(&folder).unwrap() && !folder.exists());
        let place = Place::own(&folder).unwrap();
        fs::write(place.path().join("a file of rows"), "whole").unwrap();
        assert!(!Place::remove_left(&folder).unwrap());
        assert!(matches!(Place::own(&folder), Err(Fault::Busy(_))));
        assert!(folder.join("a file of rows").exists());
        drop(place);
        assert!(!folder.exists());
    }

    #[test]
    fn many_that_want_it_at_once_have_it_one_after_the_other() {
        let data = tempfile::tempdir().unwrap();
        let (folder, inside, had) = (data.path().join(".apart"), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (folder, inside, had) = (&folder, &inside, &had);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let Ok(place) = Place::own(folder) else { continue };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        fs::write(place.path().join("own"), thread.to_string()).unwrap();
                        assert_eq!(fs::read_to_string(place.path().join("own")).unwrap(), thread.to_string());
                        inside.fetch_sub(1, Ordering::SeqCst);
                        had.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(had.into_inner() > 0 && !folder.exists());
    }
}
