//! Reading a segment, whole or on from where somebody stopped.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::earlier;
use super::format::{FRAME_HEAD, HEADER, HEADER_1, HEADER_2, MOST_EARLIER_FRAME, MOST_FRAME};
use crate::analytics::event::{Entry, Record};

/// How far a reading came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Where it goes on: behind the last frame that was shown.
    pub offset: u64,
    /// Bytes that the file had when the reading began: what was appended since was not looked at.
    pub bytes: u64,
    /// Why it ended.
    pub end: End,
}

/// Why a reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// There was no more.
    Whole,
    /// What follows is no whole frame: it is being written, or was torn by a kill.
    Torn,
    /// There is more, and it was to show no more at a time.
    Bound,
}

/// Shows every event of a segment to `show`, and says whether it ends in a torn frame.
///
/// # Errors
/// When the file cannot be read, or is no segment of a log.
pub fn read(path: &Path, show: impl FnMut(Entry<'_>) -> io::Result<()>) -> io::Result<bool> {
    Ok(read_from(path, 0, u64::MAX, show)?.end == End::Torn)
}

/// Shows the events of a segment from `offset` on, which is 0 or what an earlier reading came to, until at least
/// `most_bytes` were shown. It holds one frame in memory.
///
/// # Errors
/// As [`read`], and what `show` fails with: then some events of a frame may have been shown that would be shown again.
pub fn read_from(
    path: &Path,
    offset: u64,
    most_bytes: u64,
    mut show: impl FnMut(Entry<'_>) -> io::Result<()>,
) -> io::Result<Stretch> {
    let mut file = io::BufReader::new(File::open(path)?);
    let bytes = file.get_ref().metadata()?.len();
    let Some(format) = Format::of(&mut file, path)? else { return Ok(Stretch { offset, bytes, end: End::Torn }) };
    let from = offset.max(HEADER.len() as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut stretch = Stretch { offset: from, bytes, end: End::Whole };
    let mut records = Vec::new();
    while stretch.offset < bytes {
        if stretch.offset - from >= most_bytes {
            return Ok(Stretch { end: End::Bound, ..stretch });
        }
        let torn = Stretch { end: End::Torn, ..stretch };
        let room = (bytes - stretch.offset).checked_sub(FRAME_HEAD as u64);
        let Some(room) = room else { return Ok(torn) };
        let mut head = [0; FRAME_HEAD];
        file.read_exact(&mut head)?;
        let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let (length, checksum) = (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([c0, c1, c2, c3]));
        let length = u64::from(length);
        if length > room.min(format.most_frame()) {
            return Ok(torn);
        }
        records.clear();
        (&mut file).take(length).read_to_end(&mut records)?;
        if records.len() as u64 != length || crc32fast::hash(&records) != checksum {
            return Ok(torn);
        }
        stretch.offset += FRAME_HEAD as u64 + length;
        if !format.show(&records, &mut show)? {
            // No version wrote that. What was shown of it is not shown again.
            return Ok(Stretch { end: End::Torn, ..stretch });
        }
    }
    Ok(stretch)
}

/// How the records of a file are written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Format {
    /// Those of 0.1.0.
    First,
    /// With the number of bytes that were cut.
    Second,
    /// Today's.
    Third,
}

impl Format {
    /// That of a file, by its first line; `None` while that is not whole.
    fn of(file: &mut impl io::Read, path: &Path) -> io::Result<Option<Self>> {
        let mut header = Vec::new();
        file.take(HEADER.len() as u64).read_to_end(&mut header)?;
        let known = [(HEADER, Format::Third), (HEADER_2, Format::Second), (HEADER_1, Format::First)];
        if header.len() < HEADER.len() && known.iter().any(|(line, _)| line.starts_with(&header)) {
            return Ok(None);
        }
        let format = known.into_iter().find(|(line, _)| *line == header).map(|(_, format)| format);
        format.map(Some).ok_or_else(|| {
            let message = format!("{} is no log of events, or one of another version", path.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    }

    fn most_frame(self) -> u64 {
        match self {
            Format::Third => MOST_FRAME,
            Format::First | Format::Second => MOST_EARLIER_FRAME,
        }
    }

    /// Shows the records of a frame, and says whether all of them could be read.
    pub(super) fn show(
        self,
        records: &[u8],
        mut show: impl FnMut(Entry<'_>) -> io::Result<()>,
    ) -> io::Result<bool> {
        let mut rest = records;
        while !rest.is_empty() {
            let Ok((entry, after)) = self.take(rest) else { return Ok(false) };
            show(entry)?;
            rest = after;
        }
        Ok(true)
    }

    fn take(self, bytes: &[u8]) -> postcard::Result<(Entry<'_>, &[u8])> {
        match self {
            Format::First => {
                let (record, rest) = postcard::take_from_bytes::<earlier::Record<'_>>(bytes)?;
                Ok((record.entry(0), rest))
            }
            Format::Second => {
                let ((record, cut_bytes), rest) = postcard::take_from_bytes::<(earlier::Record<'_>, u64)>(bytes)?;
                Ok((record.entry(cut_bytes), rest))
            }
            Format::Third => {
                let ((record, cut_bytes), rest) = postcard::take_from_bytes::<(Record<'_>, u64)>(bytes)?;
                Ok((Entry { record, cut_bytes }, rest))
            }
        }
    }
}
