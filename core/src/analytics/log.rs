//! The log of events: files that are only appended to, closed when they are full or old, and deleted, oldest
//! first, when all together are too large.
//!
//! A file is named `<Unix ms of its first event>-<random>.events`, so names sort by age. It begins with the
//! line [`HEADER`]; frames follow, each being
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of the records in bytes, little-endian |
//! | 4 | CRC-32 (IEEE) of the records, little-endian |
//! | length | records, one after the other, each a [`Record`] in the [postcard wire format] |
//!
//! A kill may leave a torn frame at the end of a file; readers stop there. Every process writes files of its
//! own, so any number may share a folder.
//!
//! [postcard wire format]: https://postcard.jamesmunns.com/wire-format

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::event::Record;
use crate::files::{create_private_folder, private};
use crate::ids::RequestId;

/// The first line of every file: the format and its version.
pub const HEADER: &[u8] = b"keyrack events 1\n";
/// The folder of the log within the data folder.
pub const FOLDER: &str = "events";
const EXTENSION: &str = "events";
/// Bytes after which a file is closed, unless a sixteenth of the whole log is less.
const FILE_BYTES: u64 = 64 << 20;
/// A smaller log would be all beginnings.
const LEAST_BYTES: u64 = 16 << 10;
/// How long in ms a log that could not be written is left alone.
const RETRY_MS: i64 = 1000;
/// Age in ms after which a file is closed.
const FILE_AGE_MS: i64 = 3_600_000;
/// Before each frame: its length and checksum.
const FRAME_HEAD: usize = 8;

/// The writing end of the log.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    most_bytes: u64,
    current: Option<Current>,
    frame: Vec<u8>,
    /// When it could not be written, in Unix ms.
    failed_at: Option<i64>,
}

#[derive(Debug)]
struct Current {
    file: File,
    bytes: u64,
    opened: i64,
}

impl Log {
    /// A log in this folder, which is made if it is not there, of at most about `most_bytes`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: &Path, most_bytes: u64) -> io::Result<Self> {
        create_private_folder(folder)?;
        let log = Log {
            folder: folder.to_owned(),
            most_bytes: most_bytes.max(LEAST_BYTES),
            current: None,
            frame: Vec::new(),
            failed_at: None,
        };
        log.make_room()?;
        Ok(log)
    }

    /// Adds a record to the frame that [`Log::write`] will write.
    pub fn add(&mut self, record: &Record<'_>) {
        if self.frame.is_empty() {
            self.frame.extend_from_slice(&[0; FRAME_HEAD]);
        }
        // Into memory, and of types that postcard knows: there is nothing that could fail.
        if let Ok(frame) = postcard::to_extend(record, std::mem::take(&mut self.frame)) {
            self.frame = frame;
        }
    }

    /// Writes what was added since the last time; `now` is Unix ms. What cannot be written is lost.
    ///
    /// # Errors
    /// When the file cannot be written or made. The next frame goes into a new file.
    pub fn write(&mut self, now: i64) -> io::Result<()> {
        self.close_if_over(now);
        if self.frame.is_empty() {
            return Ok(());
        }
        let (head, records) = self.frame.split_at_mut(FRAME_HEAD);
        let length = u32::try_from(records.len()).map_err(|_| io::Error::other("a frame beyond 4 GiB"))?;
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..].copy_from_slice(&crc32fast::hash(records).to_le_bytes());
        let is_to_wait = self.failed_at.is_some_and(|failed| (0..RETRY_MS).contains(&(now - failed)));
        let written =
            if is_to_wait { Err(io::Error::other("it could not be a moment ago")) } else { self.append(now) };
        self.frame.clear();
        if written.is_err() && !is_to_wait {
            self.current = None;
            self.failed_at = Some(now);
        }
        written
    }

    fn append(&mut self, now: i64) -> io::Result<()> {
        let current = match &mut self.current {
            Some(current) => current,
            empty => empty.insert(begin(&self.folder, now)?),
        };
        current.file.write_all(&self.frame)?;
        current.bytes += self.frame.len() as u64;
        Ok(())
    }

    /// Closes the file that is full or old, and makes room. A clock that was set back closes it too.
    fn close_if_over(&mut self, now: i64) {
        let file_bytes = FILE_BYTES.min(self.most_bytes / 16);
        let is_over = |current: &Current| {
            current.bytes >= file_bytes || !(0..FILE_AGE_MS).contains(&now.saturating_sub(current.opened))
        };
        if self.current.as_ref().is_some_and(is_over) {
            self.current = None;
            if let Err(error) = self.make_room() {
                tracing::warn!(%error, "old events could not be deleted");
            }
        }
    }

    /// Deletes the oldest files until the rest is small enough.
    fn make_room(&self) -> io::Result<()> {
        let mut files = files(&self.folder)?;
        let mut bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        files.reverse();
        while bytes > self.most_bytes
            && let Some((oldest, its_bytes)) = files.pop()
        {
            tracing::info!(file = %oldest.display(), "the log of events is full: its oldest file is deleted");
            fs::remove_file(&oldest)?;
            bytes -= its_bytes;
        }
        Ok(())
    }
}

/// Makes a file; one that cannot get its header is no file.
fn begin(folder: &Path, now: i64) -> io::Result<Current> {
    let path = folder.join(format!("{now:013}-{}.{EXTENSION}", RequestId::new()));
    let mut file = private(File::options().append(true).create_new(true)).open(&path)?;
    if let Err(error) = file.write_all(HEADER) {
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    Ok(Current { file, bytes: HEADER.len() as u64, opened: now })
}

/// The files of a log, oldest first, with their sizes in bytes.
///
/// # Errors
/// When the folder cannot be read.
pub fn files(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == EXTENSION) {
            files.push((entry.path(), entry.metadata()?.len()));
        }
    }
    files.sort();
    Ok(files)
}

/// Shows every record of a file to `show`, and says whether the file ends in a torn frame.
///
/// # Errors
/// When the file cannot be read, or is no file of a log.
pub fn read(path: &Path, mut show: impl FnMut(Record<'_>) -> io::Result<()>) -> io::Result<bool> {
    let mut file = io::BufReader::new(File::open(path)?);
    let mut header = Vec::new();
    (&mut file).take(HEADER.len() as u64).read_to_end(&mut header)?;
    if header.len() < HEADER.len() && HEADER.starts_with(&header) {
        return Ok(true);
    }
    if header != HEADER {
        let message = format!("{} is no log of events, or one of another version", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
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
            let Ok((record, after)) = postcard::take_from_bytes(rest) else { return Ok(true) };
            show(record)?;
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytics::event::RatelimitRecord;

    const NOW: i64 = 1_773_576_000_000;

    fn record(identifier: &str) -> Record<'_> {
        Record::Ratelimit(RatelimitRecord {
            request_id: "req_1",
            time: NOW,
            workspace_id: "ws_1",
            namespace_id: "rlns_1",
            namespace: "emails",
            identifier,
            override_id: "",
            passed: true,
            limit: 10,
            remaining: i64::MAX,
            reset_at: NOW + 1,
            tokens: 0,
            latency_microseconds: 3,
        })
    }

    fn write(log: &mut Log, now: i64, identifiers: &[&str]) {
        identifiers.iter().for_each(|identifier| log.add(&record(identifier)));
        log.write(now).unwrap();
    }

    fn identifiers(path: &Path) -> (Vec<String>, bool) {
        let mut found = Vec::new();
        let is_torn = read(path, |read| {
            let Record::Ratelimit(RatelimitRecord { identifier, .. }) = &read else { panic!("{read:?}") };
            assert_eq!(read, record(identifier));
            found.push((*identifier).to_owned());
            Ok(())
        });
        (found, is_torn.unwrap())
    }

    #[test]
    fn what_was_written_is_read_and_a_torn_end_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), 1 << 30).unwrap();
        write(&mut log, NOW, &["a", "b"]);
        write(&mut log, NOW, &[]);
        write(&mut log, NOW + 1, &["🗝"]);
        let [(path, bytes)] = files(folder.path()).unwrap().try_into().unwrap();
        assert_eq!(identifiers(&path), (["a", "b", "🗝"].map(str::to_owned).to_vec(), false));
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len() as u64, bytes);
        for torn in [1, 7, 9, 30] {
            fs::write(&path, &whole[..whole.len() - torn]).unwrap();
            assert_eq!(identifiers(&path), (["a", "b"].map(str::to_owned).to_vec(), true), "{torn}");
        }
        let mut flipped = whole;
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(&path, flipped).unwrap();
        assert_eq!(identifiers(&path).0.len(), 2);
        fs::write(&path, &HEADER[..3]).unwrap();
        assert_eq!(identifiers(&path), (Vec::new(), true));
        fs::write(&path, "something else").unwrap();
        assert!(read(&path, |_| Ok(())).is_err());
    }

    #[test]
    fn files_are_closed_when_full_or_old_and_the_oldest_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), 16 << 10).unwrap();
        write(&mut log, NOW, &["first"]);
        write(&mut log, NOW + FILE_AGE_MS, &["an hour later"]);
        assert_eq!(files(folder.path()).unwrap().len(), 2);
        let text = "x".repeat(512);
        for at in 2..100 {
            write(&mut log, NOW + FILE_AGE_MS + at, &[&text]);
        }
        let left = files(folder.path()).unwrap();
        let bytes: u64 = left.iter().map(|(_, bytes)| bytes).sum();
        assert!((8 << 10..20 << 10).contains(&bytes), "{bytes} bytes are left");
        assert!(left.iter().all(|(path, _)| !identifiers(path).0.contains(&"first".to_owned())));
    }

    #[test]
    fn a_log_that_cannot_be_written_begins_a_new_file_once_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("events");
        let mut log = Log::open(&inner, 1 << 30).unwrap();
        fs::remove_dir(&inner).unwrap();
        log.add(&record("lost"));
        assert!(log.write(NOW).is_err());
        fs::create_dir(&inner).unwrap();
        log.add(&record("lost, too"));
        assert!(log.write(NOW + RETRY_MS - 1).is_err());
        write(&mut log, NOW + RETRY_MS, &["kept"]);
        assert_eq!(identifiers(&files(&inner).unwrap()[0].0).0, ["kept"]);
    }
}
