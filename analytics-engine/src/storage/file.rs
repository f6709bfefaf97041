//! A file of rows as queries see it: immutable, and there for as long as somebody may read it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyrack_core::calendar::UnixMs;
use keyrack_core::files;

use super::days::{DayNumber, Days};
use super::manifest::FileFacts;
use super::schema::Stored;

/// A file of rows.
#[derive(Debug)]
pub struct StoredFile {
    on_disk: Arc<OnDisk>,
    facts: FileFacts,
    /// Why nobody should read it.
    damage: Option<String>,
}

/// The file itself, which those share who know different facts of it.
#[derive(Debug)]
struct OnDisk {
    path: PathBuf,
    /// Whether it is removed once nobody holds it any more.
    is_over: AtomicBool,
}

impl StoredFile {
    pub(super) fn new(folder: &Path, facts: FileFacts) -> Self {
        let on_disk = OnDisk { path: folder.join(&facts.name), is_over: AtomicBool::new(false) };
        StoredFile { on_disk: Arc::new(on_disk), facts, damage: None }
    }

    /// The same file, whose rows are in the coarser tables from now on.
    pub(super) fn counted(&self) -> Self {
        let facts = FileFacts { counted: true, ..self.facts.clone() };
        StoredFile { on_disk: self.on_disk.clone(), facts, damage: self.damage.clone() }
    }

    /// The same file, which is not there as it should be.
    pub(super) fn damaged(&self, because: &str) -> Self {
        let facts = self.facts.clone();
        StoredFile { on_disk: self.on_disk.clone(), facts, damage: Some(because.to_owned()) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.on_disk.path
    }

    /// Its name in the folder.
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    /// What its rows are of.
    pub fn table(&self) -> Stored {
        self.facts.table
    }

    /// The day of its rows, the first one where they are of several; of a table per month, the month's first.
    pub fn day(&self) -> DayNumber {
        self.facts.day
    }

    /// All days of its rows.
    pub fn days(&self) -> Days {
        self.facts.days()
    }

    /// How many it has.
    pub fn rows(&self) -> u64 {
        self.facts.rows
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.facts.bytes
    }

    /// The least `time` of its rows; of tables per day and month, the beginning of the first day.
    pub fn first_time(&self) -> UnixMs {
        self.facts.first_time
    }

    /// The greatest `time` of its rows.
    pub fn last_time(&self) -> UnixMs {
        self.facts.last_time
    }

    /// Whether rows of this workspace may be in it: rows are sorted by workspace, and it lies between the first and the
    /// last.
    pub fn may_have(&self, workspace_id: &str) -> bool {
        (self.facts.first_workspace.as_str()..=self.facts.last_workspace.as_str()).contains(&workspace_id)
    }

    /// The workspaces with most of its rows, and how many these are.
    pub fn heaviest(&self) -> &[(String, u64)] {
        &self.facts.heaviest
    }

    /// Whether the coarser tables made of it have its rows.
    pub fn is_counted(&self) -> bool {
        self.facts.counted
    }

    pub(super) fn facts(&self) -> &FileFacts {
        &self.facts
    }

    /// What is wrong with it.
    pub(super) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// Has it removed once nobody holds it: the manifest does not name it any more.
    pub(super) fn is_over(&self) {
        self.on_disk.is_over.store(true, Ordering::Release);
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        if *self.is_over.get_mut()
            && let Err(error) = files::remove(&self.path)
        {
            tracing::warn!(file = %self.path.display(), %error, "a file that is over stays until the next start");
        }
    }
}

/// Files that were made for a change that is still to come; without it they are removed.
#[derive(Debug)]
pub(super) struct Made<'a> {
    folder: &'a Path,
    pub(super) files: Vec<FileFacts>,
}

impl<'a> Made<'a> {
    /// None yet.
    pub(super) fn in_folder(folder: &'a Path) -> Self {
        Made { folder, files: Vec::new() }
    }

    /// Takes them: the change is about to be made.
    pub(super) fn take(&mut self) -> Vec<FileFacts> {
        std::mem::take(&mut self.files)
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        self.files.drain(..).for_each(|facts| StoredFile::new(self.folder, facts).is_over());
    }
}
