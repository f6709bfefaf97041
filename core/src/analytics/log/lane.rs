//! Where events of one owner go: frames in memory, and the segment to which they are appended.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use super::following::Following;
use super::format::{FRAME_HEAD, FULL_FRAME};
use super::reading::Format;
use super::segment::{Owner, Segment};
use super::{LIGHT, SEGMENT_AGE_MS};
use crate::analytics::event::Entry;
use crate::analytics::gaps::{Gaps, Reason};
use crate::calendar::UnixMs;

/// Where events of one owner go.
#[derive(Debug)]
pub(super) struct Lane {
    owner: Owner,
    following: Arc<Following>,
    current: Option<Open>,
    /// Frames, of which the last one is not finished.
    frames: Vec<u8>,
    /// Where in `frames` the last one begins.
    unfinished: usize,
    /// Unix ms at which a file was closed that the owner had filled well.
    closed_at: Option<UnixMs>,
}

/// A segment that is written. However it is let go, it is closed from then on.
#[derive(Debug)]
struct Open {
    segment: Segment,
    file: File,
    following: Arc<Following>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.following.closed(&self.segment);
    }
}

impl Lane {
    /// The lane of an owner that has written nothing yet, or whose part of another file was closed at `closed_at`.
    pub(super) fn of(owner: Owner, closed_at: Option<UnixMs>, following: &Arc<Following>) -> Self {
        let following = following.clone();
        Lane { owner, following, current: None, frames: Vec::new(), unfinished: 0, closed_at }
    }

    /// Adds an event to the last frame: how many bytes it takes.
    pub(super) fn add(&mut self, entry: &Entry<'_>) -> u64 {
        if self.frames.len() - self.unfinished >= FRAME_HEAD + FULL_FRAME {
            self.finish_frame();
        }
        if self.frames.len() == self.unfinished {
            self.frames.extend_from_slice(&[0; FRAME_HEAD]);
        }
        let before = self.frames.len();
        // Into memory, and of types that postcard knows: there is nothing that could fail.
        if let Ok(frames) =
            postcard::to_extend(&(&entry.record, entry.cut_bytes), std::mem::take(&mut self.frames))
        {
            self.frames = frames;
        }
        self.frames.len().saturating_sub(before) as u64
    }

    fn finish_frame(&mut self) {
        if let Some((head, records)) = self.frames[self.unfinished..].split_at_mut_checked(FRAME_HEAD) {
            // A frame is far from 4 GiB.
            let length = u32::try_from(records.len()).unwrap_or(u32::MAX);
            head[..4].copy_from_slice(&length.to_le_bytes());
            head[4..].copy_from_slice(&crc32fast::hash(records).to_le_bytes());
        }
        self.unfinished = self.frames.len();
    }

    /// Writes the frames: how many bytes that were, a new file's beginning included. What cannot be written is there for
    /// [`Lane::lose`].
    pub(super) fn append(&mut self, folder: &Path, now: UnixMs) -> io::Result<u64> {
        if self.frames.is_empty() {
            return Ok(0);
        }
        self.finish_frame();
        let appended = self.append_frames(folder, now);
        match &appended {
            Ok(_) => self.clear(),
            Err(_) => self.current = None,
        }
        appended
    }

    fn append_frames(&mut self, folder: &Path, now: UnixMs) -> io::Result<u64> {
        let before = self.current.as_ref().map_or(0, |open| open.segment.bytes);
        let Open { segment, file, .. } = match &mut self.current {
            Some(open) => open,
            empty => {
                let (segment, file) = Segment::begin(folder, &self.owner, now)?;
                empty.insert(Open { segment, file, following: self.following.clone() })
            }
        };
        file.write_all(&self.frames)?;
        segment.bytes += self.frames.len() as u64;
        Ok(segment.bytes - before)
    }

    /// Writes nothing because that failed a moment ago.
    pub(super) fn give_up(&mut self) -> io::Result<u64> {
        if self.frames.is_empty() {
            return Ok(0);
        }
        self.finish_frame();
        Err(io::Error::other("it could not be a moment ago"))
    }

    /// Loses the frames, and says how many events that are.
    pub(super) fn lose(&mut self, gaps: &mut Gaps) -> u64 {
        let (mut rest, mut events) = (self.frames.as_slice(), 0);
        while let Some((&[l0, l1, l2, l3, ..], after)) = rest.split_first_chunk::<FRAME_HEAD>() {
            let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
            let (records, next) = after.split_at(length.min(after.len()));
            let counted = Format::Third.show(records, |entry| {
                events += gaps.lose_record(&entry.record, Reason::Failed);
                Ok(())
            });
            debug_assert!(counted.is_ok_and(|is_whole| is_whole), "what was written a moment ago can be read");
            rest = next;
        }
        self.clear();
        events
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.unfinished = 0;
    }

    /// Closes the file that is full or old, also by a clock that was set back: how many bytes it has.
    pub(super) fn close_if_over(&mut self, now: UnixMs, segment_bytes: u64) -> Option<u64> {
        let is_over = |Open { segment, .. }: &mut Open| {
            segment.bytes >= segment_bytes || !(0..SEGMENT_AGE_MS).contains(&now.since(segment.began))
        };
        let bytes = self.current.take_if(is_over)?.segment.bytes;
        self.closed_at = (bytes >= segment_bytes / LIGHT).then_some(now);
        Some(bytes)
    }

    /// Closes the file that is not among these.
    pub(super) fn leave_unless_in(&mut self, kept: &[Segment], now: UnixMs) {
        let is_gone = |open: &mut Open| !kept.iter().any(|kept| kept.path == open.segment.path);
        if self.current.take_if(is_gone).is_some() {
            self.closed_at = Some(now);
        }
    }

    /// The file that it appends to.
    #[cfg(test)]
    pub(super) fn path_of_current(&self) -> Option<std::path::PathBuf> {
        self.current.as_ref().map(|open| open.segment.path.clone())
    }

    /// Whether its owner still writes enough for files of its own.
    pub(super) fn is_wanted(&self, now: UnixMs) -> bool {
        let is_recent = |closed_at| (0..SEGMENT_AGE_MS).contains(&now.since(closed_at));
        self.current.is_some() || self.closed_at.is_some_and(is_recent)
    }
}
