//! Reading a segment.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::format::{FRAME_HEAD, HEADER, HEADER_1};
use crate::analytics::event::{Entry, Record};

/// Shows every event of a segment to `show`, and says whether it ends in a torn frame.
///
/// # Errors
/// When the file cannot be read, or is no segment of a log.
pub fn read(path: &Path, mut show: impl FnMut(Entry<'_>) -> io::Result<()>) -> io::Result<bool> {
    let mut file = io::BufReader::new(File::open(path)?);
    let mut header = Vec::new();
    (&mut file).take(HEADER.len() as u64).read_to_end(&mut header)?;
    if header.len() < HEADER.len() && [HEADER, HEADER_1].iter().any(|known| known.starts_with(&header)) {
        return Ok(true);
    }
    if header != HEADER && header != HEADER_1 {
        let message = format!("{} is no log of events, or one of another version", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let take = if header == HEADER { take_entry } else { take_entry_1 };
    let mut records = Vec::new();
    loop {
        let mut head = [0; FRAME_HEAD];
        match file.read(&mut head[..1])? {
            0 => return Ok(false),
            _ if file.read_exact(&mut head[1..]).is_err() => return Ok(true),
            _ => {}
        }
        let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let (length, checksum) = (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([c0, c1, c2, c3]));
        records.clear();
        (&mut file).take(u64::from(length)).read_to_end(&mut records)?;
        if records.len() as u64 != u64::from(length) || crc32fast::hash(&records) != checksum {
            return Ok(true);
        }
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let Ok((entry, after)) = take(rest) else { return Ok(true) };
            show(entry)?;
            rest = after;
        }
    }
}

type Taken<'a> = postcard::Result<(Entry<'a>, &'a [u8])>;

fn take_entry(bytes: &[u8]) -> Taken<'_> {
    let ((record, cut_bytes), rest) = postcard::take_from_bytes::<(Record<'_>, u64)>(bytes)?;
    Ok((Entry { record, cut_bytes }, rest))
}

fn take_entry_1(bytes: &[u8]) -> Taken<'_> {
    let (record, rest) = postcard::take_from_bytes(bytes)?;
    Ok((Entry { record, cut_bytes: 0 }, rest))
}
