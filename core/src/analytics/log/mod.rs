//! The log of events: files that are only appended to, closed when they are full or old, and deleted when all
//! together are too large: the oldest of the workspace that has most (`room`).
//!
//! Workspaces share a file, in which each may have a sixteenth; one that has more gets files of its own, at most
//! `MOST_OWN` at a time, until an hour goes by in which it has little to say. So a flood of one workspace deletes
//! its own events, and a thousand quiet ones have one open file.
//!
//! A file is named `<Unix ms of its first event>-<random>-<workspace, or "shared">.events`, so names sort by age
//! (0.1.0 named nobody). It begins with the line `keyrack events 2`; frames follow, each being
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of the records in bytes, little-endian |
//! | 4 | CRC-32 (IEEE) of the records, little-endian |
//! | length | records, one after the other, each a [`Record`] and the number of bytes cut from its texts, in the [postcard wire format] |
//!
//! In files of 0.1.0, which begin with `keyrack events 1`, that number is missing. A kill may leave a torn frame at
//! the end of a file; readers stop there. Every process writes files of its own, so any number may share a folder.
//!
//! [postcard wire format]: https://postcard.jamesmunns.com/wire-format
//! [`Record`]: super::event::Record

mod format;
mod reading;
mod room;
mod segment;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use compact_str::CompactString;
use foldhash::quality::RandomState;

use self::format::FRAME_HEAD;
use self::segment::{Owner, Segment, segments};
use super::event::Entry;
use crate::calendar::{HOUR_MS, MINUTE_MS, SECOND_MS, UnixMs};
use crate::files::{create_private_folder, remove};

pub use self::reading::read;

/// The folder of the log within the data folder.
pub const FOLDER: &str = "events";
/// Bytes after which a file is closed, unless [`PARTS`] of the whole log is less.
const MOST_SEGMENT_BYTES: u64 = 64 << 20;
/// Files that a log consists of at least, once it is full.
const PARTS: u64 = 64;
/// A smaller file would be all beginning.
const LEAST_SEGMENT_BYTES: u64 = 1 << 10;
/// A smaller log would be all beginnings.
const LEAST_BYTES: u64 = 16 << 10;
/// Workspaces that write files of their own at a time.
const MOST_OWN: usize = 32;
/// What part of a full file a workspace writes at least in an hour to have one of its own.
const LIGHT: u64 = 256;
/// How long in ms a log that could not be written is left alone.
const RETRY_MS: i64 = SECOND_MS;
/// Age in ms after which a file is closed.
const SEGMENT_AGE_MS: i64 = HOUR_MS;
/// How often in ms the folder is looked at: others may write there, too.
const SURVEY_MS: i64 = MINUTE_MS;

/// The writing end of the log.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    most_bytes: u64,
    segment_bytes: u64,
    shared: Lane,
    /// Of the workspaces that write files of their own.
    own: HashMap<CompactString, Lane, RandomState>,
    /// Bytes of each workspace in the current shared file.
    parts: HashMap<CompactString, u64, RandomState>,
    /// When it could not be written.
    failed_at: Option<UnixMs>,
    survey: Survey,
}

/// What the last look into the folder found, brought up to date by what was written since.
#[derive(Debug, Default)]
struct Survey {
    /// Unix ms.
    at: UnixMs,
    /// Bytes of all files.
    bytes: u64,
    /// Bytes written since.
    written: u64,
    /// Unix ms of the oldest event.
    oldest: Option<UnixMs>,
}

/// Where events of one owner go.
#[derive(Debug)]
struct Lane {
    owner: Owner,
    current: Option<(Segment, File)>,
    frame: Vec<u8>,
    /// Events in the frame.
    events: u64,
    /// Unix ms at which a file was closed that the owner had filled well.
    closed_at: Option<UnixMs>,
}

/// Events that could not be written and are lost.
#[derive(Debug)]
pub struct Lost {
    /// How many.
    pub events: u64,
    /// Why, the last time.
    pub error: io::Error,
}

impl Log {
    /// A log in this folder, which is made if it is not there, of at most about `most_bytes`.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: &Path, most_bytes: u64) -> io::Result<Self> {
        create_private_folder(folder)?;
        let most_bytes = most_bytes.max(LEAST_BYTES);
        let mut log = Log {
            folder: folder.to_owned(),
            most_bytes,
            segment_bytes: (most_bytes / PARTS).clamp(LEAST_SEGMENT_BYTES, MOST_SEGMENT_BYTES),
            shared: Lane::of(Owner::Shared),
            own: HashMap::default(),
            parts: HashMap::default(),
            failed_at: None,
            survey: Survey::default(),
        };
        log.look_around(UnixMs::EPOCH)?;
        Ok(log)
    }

    /// Bytes of all files of the log.
    pub fn bytes(&self) -> u64 {
        self.survey.bytes
    }

    /// Unix ms of the oldest event that the log has.
    pub fn oldest(&self) -> Option<UnixMs> {
        self.survey.oldest
    }

    /// Adds an event to what [`Log::write`] will write.
    pub fn add(&mut self, entry: &Entry<'_>) {
        let id = entry.record.workspace_id();
        if let Some(own) = self.own.get_mut(id) {
            own.add(entry);
            return;
        }
        let bytes = self.shared.add(entry);
        let part = match self.parts.get_mut(id) {
            Some(part) => part,
            None => self.parts.entry(id.into()).or_default(),
        };
        *part += bytes;
        if *part > self.segment_bytes / room::SHARERS {
            self.give_own(id, None);
        }
    }

    /// Gives a workspace files of its own from now on, if there are any to give. One that has nothing to write yet
    /// filled its part of a file that was closed at `closed_at`.
    fn give_own(&mut self, id: &str, closed_at: Option<UnixMs>) {
        if self.own.len() < MOST_OWN
            && let Some(owner) = Owner::workspace(id)
        {
            self.own.entry(id.into()).or_insert_with(|| Lane { closed_at, ..Lane::of(owner) });
        }
    }

    /// Writes what was added since the last time; `now` is Unix ms. What cannot be written is lost.
    ///
    /// # Errors
    /// When a file cannot be written or made. What follows goes into new files.
    pub fn write(&mut self, now: UnixMs) -> Result<(), Lost> {
        self.close_what_is_over(now);
        let is_to_wait = self.failed_at.is_some_and(|failed| (0..RETRY_MS).contains(&now.since(failed)));
        let mut lost: Option<Lost> = None;
        for lane in std::iter::once(&mut self.shared).chain(self.own.values_mut()) {
            let appended = if is_to_wait { lane.give_up() } else { lane.append(&self.folder, now) };
            match appended {
                Ok(bytes) => self.survey.wrote(bytes, now),
                Err(one) => lost = Some(Lost { events: one.events + lost.map_or(0, |lost| lost.events), ..one }),
            }
        }
        if lost.is_some() && !is_to_wait {
            self.failed_at = Some(now);
        }
        self.own.retain(|_, lane| lane.is_wanted(now));
        if self.survey.is_due(now, self.segment_bytes)
            && let Err(error) = self.look_around(now)
        {
            tracing::warn!(%error, "old events could not be deleted");
            self.survey.at = now;
            self.survey.written = 0;
        }
        lost.map_or(Ok(()), Err)
    }

    /// Closes files that are full or old. Whoever had much of the shared one writes its own from now on.
    fn close_what_is_over(&mut self, now: UnixMs) {
        for own in self.own.values_mut() {
            own.close_if_over(now, self.segment_bytes);
        }
        if let Some(bytes) = self.shared.close_if_over(now, self.segment_bytes) {
            let most = (bytes / room::SHARERS).max(self.segment_bytes / LIGHT);
            let parts = std::mem::take(&mut self.parts);
            for (id, _) in parts.iter().filter(|(_, part)| **part > most) {
                self.give_own(id, Some(now));
            }
        }
    }

    /// Looks into the folder: what is there, and what has to go.
    fn look_around(&mut self, now: UnixMs) -> io::Result<()> {
        let (kept, gone) = room::divide(segments(&self.folder)?, self.most_bytes);
        for lane in std::iter::once(&mut self.shared).chain(self.own.values_mut()) {
            // Another process may have deleted it, too: what follows would be written into nothing.
            let is_gone = |(current, _): &mut (Segment, File)| !kept.iter().any(|kept| kept.path == current.path);
            if lane.current.take_if(is_gone).is_some() {
                lane.closed_at = Some(now);
            }
        }
        for segment in &gone {
            tracing::info!(file = %segment.path.display(), "the log of events is full: a file is deleted");
            remove(&segment.path)?;
        }
        self.survey = Survey {
            at: now,
            bytes: kept.iter().map(|segment| segment.bytes).sum(),
            written: 0,
            oldest: kept.first().map(|segment| segment.began),
        };
        Ok(())
    }
}

impl Survey {
    fn wrote(&mut self, bytes: u64, now: UnixMs) {
        self.bytes += bytes;
        self.written += bytes;
        if bytes > 0 {
            self.oldest.get_or_insert(now);
        }
    }

    fn is_due(&self, now: UnixMs, segment_bytes: u64) -> bool {
        self.written >= segment_bytes || !(0..SURVEY_MS).contains(&now.since(self.at))
    }
}

impl Lane {
    fn of(owner: Owner) -> Self {
        Lane { owner, current: None, frame: Vec::new(), events: 0, closed_at: None }
    }

    /// Adds an event to the frame: how many bytes it takes.
    fn add(&mut self, entry: &Entry<'_>) -> u64 {
        if self.frame.is_empty() {
            self.frame.extend_from_slice(&[0; FRAME_HEAD]);
        }
        let before = self.frame.len();
        // Into memory, and of types that postcard knows: there is nothing that could fail.
        if let Ok(frame) = postcard::to_extend(&(&entry.record, entry.cut_bytes), std::mem::take(&mut self.frame))
        {
            self.frame = frame;
        }
        self.events += 1;
        self.frame.len().saturating_sub(before) as u64
    }

    /// Writes the frame: how many bytes that were, a new file's beginning included.
    fn append(&mut self, folder: &Path, now: UnixMs) -> Result<u64, Lost> {
        if self.frame.is_empty() {
            return Ok(0);
        }
        match self.append_frame(folder, now) {
            Ok(bytes) => {
                self.frame.clear();
                self.events = 0;
                Ok(bytes)
            }
            Err(error) => {
                self.current = None;
                Err(self.lose(error))
            }
        }
    }

    fn append_frame(&mut self, folder: &Path, now: UnixMs) -> io::Result<u64> {
        let (head, records) = self.frame.split_at_mut(FRAME_HEAD);
        let length = u32::try_from(records.len()).map_err(|_| io::Error::other("a frame beyond 4 GiB"))?;
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..].copy_from_slice(&crc32fast::hash(records).to_le_bytes());
        let before = self.current.as_ref().map_or(0, |(segment, _)| segment.bytes);
        let (segment, file) = match &mut self.current {
            Some(current) => current,
            empty => empty.insert(Segment::begin(folder, &self.owner, now)?),
        };
        file.write_all(&self.frame)?;
        segment.bytes += self.frame.len() as u64;
        Ok(segment.bytes - before)
    }

    /// Loses the frame because writing failed a moment ago.
    fn give_up(&mut self) -> Result<u64, Lost> {
        if self.frame.is_empty() {
            return Ok(0);
        }
        Err(self.lose(io::Error::other("it could not be a moment ago")))
    }

    fn lose(&mut self, error: io::Error) -> Lost {
        self.frame.clear();
        Lost { events: std::mem::take(&mut self.events), error }
    }

    /// Closes the file that is full or old, also by a clock that was set back: how many bytes it has.
    fn close_if_over(&mut self, now: UnixMs, segment_bytes: u64) -> Option<u64> {
        let is_over = |(segment, _): &mut (Segment, File)| {
            segment.bytes >= segment_bytes || !(0..SEGMENT_AGE_MS).contains(&now.since(segment.began))
        };
        let (segment, _) = self.current.take_if(is_over)?;
        self.closed_at = (segment.bytes >= segment_bytes / LIGHT).then_some(now);
        Some(segment.bytes)
    }

    /// Whether its owner still writes enough for files of its own.
    fn is_wanted(&self, now: UnixMs) -> bool {
        let is_recent = |closed_at| (0..SEGMENT_AGE_MS).contains(&now.since(closed_at));
        self.current.is_some() || self.closed_at.is_some_and(is_recent)
    }
}

/// The files of a log, oldest first, with their sizes in bytes.
///
/// # Errors
/// When the folder cannot be read.
pub fn files(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    Ok(segments(folder)?.into_iter().map(|segment| (segment.path, segment.bytes)).collect())
}

#[cfg(test)]
mod tests;
