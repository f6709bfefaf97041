//! The warehouse: takes events, keeps them, and shows what there is.
//!
//! Whoever follows the log appends a portion of events together with how far the log was read then; from there on every
//! snapshot shows them. Now and then they are flushed into files, and the manifest says both: the files, and the
//! positions up to which they have the log. All of it blocks; it belongs on threads that may.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keyrack_core::analytics::event::Record;
use keyrack_core::calendar::UnixMs;

use super::fault::Fault;
use super::file::{Made, StoredFile};
use super::flushing;
use super::folder::Folder;
use super::manifest::{FileFacts, Manifest, Positions};
use super::schema::Stored;
use super::settings::Settings;
use super::snapshot::{Damage, Snapshot};
use super::tail::Tail;

/// Its folder within the data folder.
pub const FOLDER: &str = "analytics";
/// How long a tail that could not be written is left alone.
const RETRY: Duration = Duration::from_secs(5);
/// How a Parquet file begins and ends.
const PARQUET: &[u8; 4] = b"PAR1";

/// What is stored of events, and what is not in files yet.
#[derive(Debug)]
pub struct Warehouse {
    pub(super) settings: Settings,
    pub(super) folder: Folder,
    /// As it is on disk. Held while it is replaced.
    manifest: Mutex<Manifest>,
    state: Mutex<State>,
    /// Held by whoever flushes.
    flush: Mutex<()>,
    /// Held by whoever compacts or removes.
    pub(super) upkeep: Mutex<()>,
    /// When the clock was first seen to be days further than at the last removal.
    pub(super) leapt: Mutex<Option<Instant>>,
    /// Files in which rows of these workspaces were looked for, which keep theirs for a shorter time than others.
    pub(super) looked_at: Mutex<HashMap<String, Vec<String>>>,
    /// Files of sums that cannot be read, and cannot be made once more either.
    pub(super) given_up: Mutex<HashSet<String>>,
}

#[derive(Debug)]
struct State {
    tail: Tail,
    files: Vec<Arc<StoredFile>>,
    /// When the tail could not be flushed the last time, unless it could since.
    failed_at: Option<Instant>,
}

/// What changes in the manifest at once.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) added: Vec<FileFacts>,
    pub(super) removed: Vec<Arc<StoredFile>>,
    /// Files whose rows are in the coarser tables from now on.
    pub(super) counted: Vec<Arc<StoredFile>>,
    /// The tail that was to leave has left, and the log was read up to here.
    pub(super) flushed: Option<Positions>,
    pub(super) swept: Option<UnixMs>,
    /// Since when events are recorded.
    pub(super) began: Option<UnixMs>,
}

impl Warehouse {
    /// For how many days a table is kept.
    pub fn kept_days(&self, table: Stored) -> u32 {
        self.settings.retention.days(table)
    }

    /// Opens the warehouse of a folder, which is made if it is not there. What a kill left is removed; files that are
    /// missing or cut off are said by name and left out.
    ///
    /// # Errors
    /// When another process has it, or what it says of itself cannot be trusted.
    pub fn open(path: &Path, settings: Settings) -> Result<Self, Fault> {
        let folder = Folder::own(path)?;
        let manifest = Manifest::load(path)?;
        folder.keep_only(&manifest.names().collect::<HashSet<&str>>())?;
        let files = manifest.files.iter().map(|facts| Arc::new(looked_at(path, facts.clone()))).collect();
        let state = State { tail: Tail::after(manifest.positions.clone()), files, failed_at: None };
        Ok(Warehouse {
            settings,
            folder,
            manifest: Mutex::new(manifest),
            state: Mutex::new(state),
            flush: Mutex::default(),
            upkeep: Mutex::default(),
            leapt: Mutex::default(),
            looked_at: Mutex::default(),
            given_up: Mutex::default(),
        })
    }

    /// How far the log was read: whoever follows it goes on from here.
    pub fn positions(&self) -> Positions {
        self.state().tail.positions.clone()
    }

    /// How far of the log the files have the events: what is before is needed no more.
    pub fn stored_positions(&self) -> Positions {
        self.manifest().positions.clone()
    }

    /// Begins to append events. Nobody sees them, and a kill loses nothing, until [`Appending::commit`].
    ///
    /// # Errors
    /// [`Fault::Full`] when the memory for events is used up because they cannot be written to files: they have to wait.
    pub fn appending(&self) -> Result<Appending<'_>, Fault> {
        let state = self.state();
        if state.tail.memory() > self.settings.most_tail_bytes {
            return Err(Fault::Full);
        }
        Ok(Appending { state })
    }

    /// Whether there is so much in the tail, or for so long, that it should be flushed; not right after it could not be.
    pub fn is_flush_due(&self) -> bool {
        let state = self.state();
        if state.failed_at.is_some_and(|at| at.elapsed() < RETRY) {
            return false;
        }
        let tail = &state.tail;
        let is_old = tail.began().is_some_and(|began| began.elapsed() >= self.settings.flush_after);
        is_old || tail.rows() >= self.settings.flush_rows || tail.memory() >= self.settings.flush_bytes
    }

    /// Writes the tail into files: how many rows. Events may be appended meanwhile.
    ///
    /// # Errors
    /// When the files cannot be written; the events stay in the tail.
    pub fn flush(&self) -> Result<u64, Fault> {
        let _flush = self.flush.lock().unwrap_or_else(PoisonError::into_inner);
        let (batches, positions) = self.state().tail.leave()?;
        let written = flushing::write(&self.folder, &batches).and_then(|added| {
            let rows = added.iter().map(|facts| facts.rows).sum();
            if rows == 0 && positions == self.manifest().positions {
                self.state().tail.written();
                return Ok(0);
            }
            self.change(Change { added, flushed: Some(positions), ..Change::default() })?;
            Ok(rows)
        });
        let mut state = self.state();
        state.failed_at = written.is_err().then(Instant::now);
        if written.is_err() {
            state.tail.stay();
        }
        written
    }

    /// What there is at this moment.
    ///
    /// # Errors
    /// When rows of the tail do not fit together, which no event can bring about.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, Fault> {
        let mut state = self.state();
        state.tail.freeze()?;
        let mut snapshot = Snapshot { files: Default::default(), tails: state.tail.shown(), damaged: Vec::new() };
        for file in &state.files {
            match file.damage() {
                None => snapshot.files[file.table().place()].push(file.clone()),
                Some(because) => snapshot.damaged.push(Damage {
                    name: file.name().to_owned(),
                    table: file.table(),
                    rows: file.rows(),
                    because: because.to_owned(),
                }),
            }
        }
        Ok(Arc::new(snapshot))
    }

    /// Leaves a file out of everything from now on, until the next start: it was found to be damaged.
    pub fn leave_out(&self, file: &StoredFile, because: &str) {
        tracing::error!(file = %file.path().display(), because, "a file of events cannot be read and is left out");
        let mut state = self.state();
        if let Some(kept) = state.files.iter_mut().find(|kept| kept.name() == file.name()) {
            *kept = Arc::new(kept.damaged(because));
        }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.state().files.iter().map(|file| file.bytes()).sum()
    }

    /// Rows of events that are in no file yet.
    pub fn unwritten_rows(&self) -> usize {
        self.state().tail.rows()
    }

    /// How many files cannot be read.
    pub fn damaged(&self) -> usize {
        self.state().files.iter().filter(|file| file.damage().is_some()).count()
    }

    /// Since when events are recorded; `None` where nobody noted it.
    pub fn recorded_since(&self) -> Option<UnixMs> {
        self.manifest().began
    }

    /// Whether events could not be written to files the last time.
    pub fn cannot_write(&self) -> bool {
        self.state().failed_at.is_some()
    }

    /// The files that can be read.
    pub(super) fn files(&self) -> Vec<Arc<StoredFile>> {
        self.state().files.iter().filter(|file| file.damage().is_none()).cloned().collect()
    }

    /// The files that cannot be read.
    pub(super) fn damaged_files(&self) -> Vec<Arc<StoredFile>> {
        self.state().files.iter().filter(|file| file.damage().is_some()).cloned().collect()
    }

    /// When what is too old was removed the last time.
    pub(super) fn swept(&self) -> UnixMs {
        self.manifest().swept
    }

    /// Replaces the manifest, and shows what it says from then on.
    pub(super) fn change(&self, change: Change) -> Result<(), Fault> {
        let mut manifest = self.manifest();
        let mut next = manifest.clone();
        let removed: HashSet<&str> = change.removed.iter().map(|file| file.name()).collect();
        let counted: HashSet<&str> = change.counted.iter().map(|file| file.name()).collect();
        next.files.retain(|facts| !removed.contains(&*facts.name));
        next.files
            .iter_mut()
            .filter(|facts| counted.contains(&*facts.name))
            .for_each(|facts| facts.counted = true);
        next.files.extend(change.added.iter().cloned());
        next.began = change.began.or(next.began);
        if change.flushed.is_some() && next.positions == Positions::default() {
            // What the log had before anybody followed it.
            let first = change.added.iter().map(|facts| facts.first_time).min();
            next.began = next.began.map(|began| first.map_or(began, |first| first.min(began)));
        }
        next.positions = change.flushed.clone().unwrap_or(next.positions);
        next.swept = change.swept.unwrap_or(next.swept);
        if let Err(fault) = self.folder.sync().and_then(|()| next.save(self.folder.path())) {
            self.forget(&manifest, &change.added);
            return Err(fault);
        }
        *manifest = next;
        let mut state = self.state();
        state.files.retain(|file| !removed.contains(file.name()));
        for file in state.files.iter_mut().filter(|file| counted.contains(file.name())) {
            *file = Arc::new(file.counted());
        }
        let added = change.added.into_iter().map(|facts| Arc::new(StoredFile::new(self.folder.path(), facts)));
        state.files.extend(added);
        if change.flushed.is_some() {
            state.tail.written();
        }
        drop(state);
        change.removed.iter().for_each(|file| file.is_over());
        Ok(())
    }

    /// Removes files that a manifest was to name that could not be replaced, unless it may have been all the same.
    fn forget(&self, manifest: &Manifest, added: &[FileFacts]) {
        let path = self.folder.path();
        if Manifest::load(path).is_ok_and(|on_disk| on_disk == *manifest) {
            Made::in_folder(path).files.extend_from_slice(added);
        }
    }

    fn manifest(&self) -> MutexGuard<'_, Manifest> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A portion of events on its way in. One that is not committed is as if it had never been.
#[derive(Debug)]
pub struct Appending<'a> {
    state: MutexGuard<'a, State>,
}

impl Appending<'_> {
    /// Adds an event.
    pub fn add(&mut self, record: &Record<'_>) {
        self.state.tail.add(record);
    }

    /// Lets the events count: with them the log was read up to these positions.
    ///
    /// # Errors
    /// When rows do not fit together, which no event can bring about.
    pub fn commit(mut self, positions: Positions) -> Result<(), Fault> {
        Ok(self.state.tail.confirm(positions)?)
    }
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        self.state.tail.roll_back();
    }
}

/// A file that the manifest names, after a look at it.
fn looked_at(folder: &Path, facts: FileFacts) -> StoredFile {
    let file = StoredFile::new(folder, facts);
    match look(file.path(), file.bytes()) {
        Ok(()) => file,
        Err(because) => {
            tracing::error!(file = %file.path().display(), because, "a file of events is left out");
            file.damaged(&because)
        }
    }
}

/// Looks at the size and the end of a file.
pub(super) fn look(path: &Path, bytes: u64) -> Result<(), String> {
    let mut file = fs::File::open(path).map_err(|error| error.to_string())?;
    let found = file.metadata().map_err(|error| error.to_string())?.len();
    if found != bytes {
        return Err(format!("it has {found} bytes instead of {bytes}"));
    }
    let mut end = [0; PARQUET.len()];
    let read = file.seek(SeekFrom::End(-(PARQUET.len() as i64))).and_then(|_| file.read_exact(&mut end));
    read.map_err(|error| error.to_string())?;
    if end != *PARQUET {
        return Err("it is no Parquet file".to_owned());
    }
    Ok(())
}
