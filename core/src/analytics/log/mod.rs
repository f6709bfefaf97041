//! The log of events: files that are only appended to, closed when they are full or old, and deleted when all who
//! follow the log have passed them (`following`), or when all together are too large: the oldest of the workspace that
//! has most (`room`).
//!
//! Workspaces share a file, in which each may have a sixteenth; one that has more gets files of its own, at most
//! `MOST_OWN` at a time, until an hour goes by in which it has little to say. So a flood of one workspace deletes
//! its own events, and a thousand quiet ones have one open file.
//!
//! A file is named `<Unix ms of its first event>-<random>-<workspace, or "shared">.events`, so names sort by age
//! (0.1.0 named nobody). It begins with the line `keyrack events 3`; frames follow, each being
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of the records in bytes, little-endian; at most 2 MiB |
//! | 4 | CRC-32 (IEEE) of the records, little-endian |
//! | length | records, one after the other, each a [`Record`] and the number of bytes cut from its texts, in the [postcard wire format] |
//!
//! Files that begin with `keyrack events 2`, and those of 0.1.0, which begin with `keyrack events 1`, have fewer kinds
//! and members (`earlier`). A kill may leave a torn frame at the end of a file; readers stop there. Every process writes
//! files of its own, so any number may share a folder; one of them at most may have consumers.
//!
//! [postcard wire format]: https://postcard.jamesmunns.com/wire-format
//! [`Record`]: super::event::Record

mod earlier;
mod following;
mod format;
mod lane;
mod reading;
mod room;
mod segment;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compact_str::CompactString;
use foldhash::quality::RandomState;

use self::following::Following;
use self::lane::Lane;
use self::segment::{Owner, Segment, segments};
use super::event::Entry;
use super::gaps::{Gaps, Reason};
use crate::calendar::{HOUR_MS, MINUTE_MS, SECOND_MS, UnixMs};
use crate::files::{create_private_folder, remove};

pub use self::following::{Consumer, Positions, Progress};
pub use self::reading::{End, Stretch, read, read_from};

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
/// How often in ms at most it is looked at because a consumer has passed something.
const PASSED_MS: i64 = SECOND_MS;

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
    following: Arc<Following>,
    lost: Lost,
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
    /// The segments that it left, if there are consumers.
    followed: Vec<Segment>,
}

/// Events that the log lost.
#[derive(Debug, Default)]
pub struct Lost {
    /// How many could not be written.
    pub failed: u64,
    /// How many were removed before every consumer had passed them, as far as anybody knows.
    pub unread: u64,
    /// What to write in their place.
    pub gaps: Gaps,
}

impl Log {
    /// A log in this folder, which is made if it is not there, of at most about `most_bytes`. Nothing is deleted before
    /// the first [`Log::write`], so that consumers can be registered.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: &Path, most_bytes: u64) -> io::Result<Self> {
        create_private_folder(folder)?;
        let most_bytes = most_bytes.max(LEAST_BYTES);
        let following = Arc::<Following>::default();
        let found = segments(folder)?;
        Ok(Log {
            folder: folder.to_owned(),
            most_bytes,
            segment_bytes: (most_bytes / PARTS).clamp(LEAST_SEGMENT_BYTES, MOST_SEGMENT_BYTES),
            shared: Lane::of(Owner::Shared, None, &following),
            own: HashMap::default(),
            parts: HashMap::default(),
            failed_at: None,
            survey: Survey::of(UnixMs::EPOCH, &found),
            following,
            lost: Lost::default(),
        })
    }

    /// A consumer of this name, which has passed nothing as far as the log knows, from now on until the process ends.
    pub fn register(&self, name: &str) -> Consumer {
        self.following.register(name, &self.folder)
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
            self.own.entry(id.into()).or_insert_with(|| Lane::of(owner, closed_at, &self.following));
        }
    }

    /// Writes what was added since the last time; `now` is Unix ms. What cannot be written is lost.
    ///
    /// # Errors
    /// When a file cannot be written or made. What follows goes into new files.
    pub fn write(&mut self, now: UnixMs) -> io::Result<()> {
        self.close_what_is_over(now);
        let is_to_wait = self.failed_at.is_some_and(|failed| (0..RETRY_MS).contains(&now.since(failed)));
        let mut written = Ok(());
        for lane in std::iter::once(&mut self.shared).chain(self.own.values_mut()) {
            let appended = if is_to_wait { lane.give_up() } else { lane.append(&self.folder, now) };
            match appended {
                Ok(bytes) => self.survey.wrote(bytes, now),
                Err(error) => {
                    self.lost.failed += lane.lose(&mut self.lost.gaps);
                    written = Err(error);
                }
            }
        }
        if written.is_err() && !is_to_wait {
            self.failed_at = Some(now);
        }
        self.own.retain(|_, lane| lane.is_wanted(now));
        if self.is_to_look_around(now)
            && let Err(error) = self.look_around(now)
        {
            tracing::warn!(%error, "old events could not be deleted");
            self.survey.at = now;
            self.survey.written = 0;
        }
        written
    }

    /// Takes what was lost since the last time.
    pub fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.lost)
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

    fn is_to_look_around(&self, now: UnixMs) -> bool {
        self.survey.is_due(now, self.segment_bytes)
            || !(0..PASSED_MS).contains(&now.since(self.survey.at)) && self.following.take_news()
    }

    /// Looks into the folder: what is there, what every consumer has passed, and what has to go for want of room.
    fn look_around(&mut self, now: UnixMs) -> io::Result<()> {
        let found = segments(&self.folder)?;
        self.miss(&found, now);
        let is_passed = |segment: &Segment| {
            self.following.passed_of(segment) >= segment.bytes && self.following.is_closed(segment, now)
        };
        let (passed, wanted): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|segment| self.following.is_followed() && is_passed(segment));
        let (kept, gone) = room::divide(wanted, self.most_bytes);
        for lane in std::iter::once(&mut self.shared).chain(self.own.values_mut()) {
            // Another process may have deleted it, too: what follows would be written into nothing.
            lane.leave_unless_in(&kept, now);
        }
        for segment in &passed {
            tracing::debug!(file = %segment.path.display(), "all who follow the log of events have passed a file");
            remove(&segment.path)?;
        }
        for segment in &gone {
            tracing::info!(file = %segment.path.display(), "the log of events is full: a file is deleted");
            let lost = self.unread_of(segment);
            remove(&segment.path)?;
            self.lost.unread += lost.unread;
            self.lost.gaps.merge(lost.gaps);
        }
        self.following.forget_all_but(&kept);
        self.survey = Survey::of(now, &kept);
        if self.following.is_followed() {
            self.survey.followed = kept;
        }
        Ok(())
    }

    /// Notes what somebody else has removed before every consumer had passed it.
    fn miss(&mut self, found: &[Segment], now: UnixMs) {
        for segment in std::mem::take(&mut self.survey.followed) {
            let is_there = found.binary_search_by(|found| found.place().cmp(&segment.place())).is_ok();
            if !is_there && self.following.passed_of(&segment) < segment.bytes {
                tracing::warn!(file = %segment.path.display(), "somebody removed events that were not read yet");
                self.lost.gaps.lose_some(segment.owner.id(), Reason::Unread, segment.began, now);
            }
        }
    }

    /// What of a segment that has to go some consumer has not passed.
    fn unread_of(&self, segment: &Segment) -> Lost {
        let mut lost = Lost::default();
        let passed = self.following.passed_of(segment);
        if passed >= segment.bytes {
            return lost;
        }
        let counted = read_from(&segment.path, passed, u64::MAX, |entry| {
            lost.unread += lost.gaps.lose_record(&entry.record, Reason::Unread);
            Ok(())
        });
        if counted.is_err() {
            lost.gaps.lose_some(segment.owner.id(), Reason::Unread, segment.began, segment.written);
        }
        lost
    }
}

impl Survey {
    fn of(at: UnixMs, segments: &[Segment]) -> Self {
        Survey {
            at,
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            written: 0,
            oldest: segments.first().map(|segment| segment.began),
            followed: Vec::new(),
        }
    }

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

/// The files of a log, oldest first, with their sizes in bytes.
///
/// # Errors
/// When the folder cannot be read.
pub fn files(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    Ok(segments(folder)?.into_iter().map(|segment| (segment.path, segment.bytes)).collect())
}

#[cfg(test)]
mod tests;
