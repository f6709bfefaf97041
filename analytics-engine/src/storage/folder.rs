//! The folder of the files: one process owns it, and what the manifest does not name is removed from it.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use keyrack_core::files;

use super::fault::Fault;
use super::schema::Stored;

/// Beside the manifest.
const LOCK: &str = "lock";
/// How files of rows end.
pub(super) const EXTENSION: &str = "parquet";

/// The folder, which is this process's while the value lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Held open: the lock ends with it.
    _lock: File,
    /// The number of the next file.
    next: AtomicU64,
    /// Bytes that may still be written before the disk is full, in tests of that.
    #[cfg(test)]
    pub(super) room: AtomicU64,
}

/// A file of rows that is being written. One that is not finished is removed.
#[derive(Debug)]
pub(super) struct Unfinished<'a> {
    file: File,
    path: PathBuf,
    finished: bool,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests ask it whether the disk is full"))]
    folder: &'a Folder,
}

impl Folder {
    /// Takes the folder, which is made if it is not there.
    pub(super) fn own(path: &Path) -> Result<Self, Fault> {
        files::create_private_folder(path).map_err(Fault::of(path))?;
        let lock_path = path.join(LOCK);
        let lock = files::open_lock(&lock_path).map_err(Fault::of(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Fault::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(Fault::of(&lock_path)(error)),
        }
        Ok(Folder {
            path: path.to_owned(),
            _lock: lock,
            next: AtomicU64::new(1),
            #[cfg(test)]
            room: AtomicU64::new(u64::MAX),
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what a kill left: files of rows that are not named. Numbers of new files are beyond those of the named.
    pub(super) fn keep_only(&self, named: &HashSet<&str>) -> Result<(), Fault> {
        let entries = fs::read_dir(&self.path).map_err(Fault::of(&self.path))?;
        for entry in entries {
            let path = entry.map_err(Fault::of(&self.path))?.path();
            let is_named =
                path.file_name().and_then(|name| name.to_str()).is_some_and(|name| named.contains(name));
            if !is_named && path.extension().is_some_and(|extension| extension == EXTENSION) {
                tracing::debug!(file = %path.display(), "a file that was not finished is removed");
                files::remove(&path).map_err(Fault::of(&path))?;
            }
        }
        let last = named.iter().filter_map(|name| number(name)).max().unwrap_or(0);
        self.next.fetch_max(last + 1, Ordering::Relaxed);
        Ok(())
    }

    /// Begins a file for rows of a table of a day, which is named after both.
    pub(super) fn begin(&self, table: Stored, date: &str) -> Result<Unfinished<'_>, Fault> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(format!("{table}-{date}-{number:08}.{EXTENSION}"));
        let opened = files::private(File::options().create_new(true).write(true)).open(&path);
        let file = opened.map_err(Fault::of(&path))?;
        Ok(Unfinished { file, path, finished: false, folder: self })
    }

    /// Makes names of new files last.
    pub(super) fn sync(&self) -> Result<(), Fault> {
        files::sync_folder_of(&self.path.join(LOCK)).map_err(Fault::of(&self.path))
    }
}

/// The number in the name of a file.
fn number(name: &str) -> Option<u64> {
    name.strip_suffix(EXTENSION)?.strip_suffix('.')?.rsplit('-').next()?.parse().ok()
}

impl Unfinished<'_> {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes what was written last: how many bytes that is.
    pub(super) fn finish(mut self) -> Result<u64, Fault> {
        self.file.sync_all().map_err(Fault::of(&self.path))?;
        let bytes = self.file.metadata().map_err(Fault::of(&self.path))?.len();
        self.finished = true;
        Ok(bytes)
    }
}

impl Write for Unfinished<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(test)]
        {
            let taken = |room: u64| room.checked_sub(bytes.len() as u64);
            if self.folder.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_err() {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // What stays all the same is removed at the next start.
            let _ = files::remove(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_owns_a_folder_and_what_is_named_stays() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("analytics");
        let folder = Folder::own(&path).unwrap();
        let error = Folder::own(&path).unwrap_err();
        assert!(error.to_string().contains("another process"), "{error}");
        let name = |file: &Unfinished<'_>| file.path().file_name().unwrap().to_str().unwrap().to_owned();
        let mut kept = folder.begin(Stored::Gaps, "2026-11-29").unwrap();
        kept.write_all(b"12345").unwrap();
        let kept_name = name(&kept);
        assert_eq!((kept.finish().unwrap(), &*kept_name), (5, "gaps-2026-11-29-00000001.parquet"));
        drop(folder.begin(Stored::Gaps, "2026-11-29").unwrap());
        let unnamed = folder.begin(Stored::Gaps, "2026-11-29").unwrap();
        let unnamed_path = unnamed.path().to_owned();
        unnamed.finish().unwrap();
        drop(folder);
        let folder = Folder::own(&path).unwrap();
        folder.keep_only(&HashSet::from([&*kept_name])).unwrap();
        assert!(path.join(&kept_name).exists() && !unnamed_path.exists());
        assert_eq!(name(&folder.begin(Stored::Gaps, "2026-11-29").unwrap()), "gaps-2026-11-29-00000002.parquet");
    }
}
