//! Counters in a file, from a clean stop to the next start.
//!
//! A process that is killed loses its counts; one that is stopped in order hands them on. The file is in the
//! data directory of the node, on PostgreSQL too: counts belong to the process that made them. Of several
//! processes on one data directory, the first has it (`ratelimit-counters.lock` is locked while it runs); the
//! others neither read nor write it. Once read it is removed, so that a kill later on cannot bring old counts
//! back. Whatever is wrong with it costs the counts and never the start.
//!
//! `ratelimit-counters`, mode 0600, all numbers little-endian:
//!
//! ```text
//! 16 bytes  "KEYRACK COUNTERS"
//!  4        version, 2
//! 16        key of the fingerprints
//! 58 each   cells: fingerprint (2 × 8), length of the window in ms, Unix time in ms of the last count,
//!           cost in the current window, cost in the one before, owner (8 each), rough limit (2)
//!  4        CRC-32 (ISO-HDLC) of everything before
//! ```
//!
//! It holds no names: a fingerprint cannot be turned back into what it stands for. Version 1 had no owners and
//! no limits; its counts are charged to one owner who is nobody, and taken as limits that are used up.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::accounts::Owner;
use super::check::LONGEST_MS;
use super::fingerprint::{Fingerprint, Seed};
use super::memory::MemoryCounters;
use super::shard::{Cell, RoughLimit};
use crate::calendar::UnixMs;
use crate::files;

/// The name of the file in a data directory.
pub const FILE: &str = "ratelimit-counters";
const MAGIC: &[u8; 16] = b"KEYRACK COUNTERS";
const VERSION: u32 = 2;
const WITHOUT_OWNERS: u32 = 1;
const HEAD: usize = 16 + 4 + 16;
const CELL: usize = 58;
const CELL_WITHOUT_OWNER: usize = 48;
const CHECKSUM: usize = 4;

/// The file of a data directory, for the one process that may use it.
#[derive(Debug)]
pub struct CountersFile {
    path: PathBuf,
    /// Locked for as long as it is open; the system unlocks it however the process ends.
    _lock: File,
}

/// Why a file holds no counts.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It cannot be read at all.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is something else, or was written by a newer program.
    #[error("it is no file of counters that this version knows")]
    Foreign,
    /// It is cut short or changed.
    #[error("it is damaged: its checksum does not fit")]
    Damaged,
}

impl CountersFile {
    /// The file of this data directory, which must be there; `None` if another process has it.
    ///
    /// # Errors
    /// When the lock beside it cannot be made.
    pub fn claim(folder: &Path) -> io::Result<Option<CountersFile>> {
        let lock = files::open_lock(&files::beside(&folder.join(FILE), ".lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(CountersFile { path: folder.join(FILE), _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The counters of the last stop that are not over at `now`, with room for `room` cells. None
    /// if there is no file.
    ///
    /// # Errors
    /// When there is one that holds no counts. It is as well removed.
    pub fn load(&self, room: usize, now: UnixMs) -> Result<Option<MemoryCounters>, Unreadable> {
        match fs::read(&self.path) {
            Ok(bytes) => decode(&bytes, room, now.get()).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the file, if it is there.
    ///
    /// # Errors
    /// When the file system does not let it.
    pub fn remove(&self) -> io::Result<()> {
        if files::remove(&self.path)? { files::sync_folder_of(&self.path) } else { Ok(()) }
    }

    /// Writes all counts that are not over at `now`, and says how many they were. Checks may go on
    /// meanwhile; whether those are in it is open. Either the whole file is there afterwards or what was before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, counters: &MemoryCounters, now: UnixMs) -> io::Result<usize> {
        files::replace(&self.path, |file| {
            let mut out = Summed { file: BufWriter::with_capacity(1 << 20, file), sum: crc32fast::Hasher::new() };
            let count = encode(&mut out, counters, now.get())?;
            Ok((out.file.into_inner().map_err(io::IntoInnerError::into_error)?, count))
        })
    }
}

/// A file and the checksum of what was written to it.
struct Summed {
    file: BufWriter<File>,
    sum: crc32fast::Hasher,
}

impl Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.file.write_all(bytes)
    }
}

fn encode(out: &mut Summed, counters: &MemoryCounters, now_ms: i64) -> io::Result<usize> {
    let head = [&MAGIC[..], &VERSION.to_le_bytes(), &counters.seed().to_bytes()].concat();
    out.write(&head)?;
    let mut count = 0;
    let mut bytes = Vec::new();
    for shard in counters.shards() {
        bytes.clear();
        for (place, cell) in shard.cells().filter(|(_, cell)| !cell.is_over(now_ms)) {
            bytes.extend(place.to_bytes());
            for number in [cell.duration_ms(), cell.last_ms(), cell.current, cell.previous] {
                bytes.extend(number.to_le_bytes());
            }
            // Shards first, then accounts: as whoever creates a cell locks them.
            bytes.extend(counters.accounts().owner(cell.account()).0.to_le_bytes());
            bytes.extend(cell.limit().0.to_le_bytes());
            count += 1;
        }
        // Nobody who counts waits for the disk.
        drop(shard);
        out.write(&bytes)?;
    }
    let sum = out.sum.clone().finalize();
    out.write(&sum.to_le_bytes())?;
    Ok(count)
}

fn decode(bytes: &[u8], room: usize, now_ms: i64) -> Result<MemoryCounters, Unreadable> {
    if !bytes.starts_with(MAGIC) || bytes.len() < HEAD + CHECKSUM {
        return Err(Unreadable::Foreign);
    }
    let (content, sum) = bytes.split_at(bytes.len() - CHECKSUM);
    let (head, cells) = content.split_at(HEAD);
    let (size, read): (usize, Read) = match u32::from_le_bytes(array(&head[16..])) {
        VERSION => (CELL, Saved::read),
        WITHOUT_OWNERS => (CELL_WITHOUT_OWNER, Saved::read_without_owner),
        _ => return Err(Unreadable::Foreign),
    };
    if crc32fast::hash(content).to_le_bytes() != sum || cells.len() % size != 0 {
        return Err(Unreadable::Damaged);
    }
    let counters = MemoryCounters::seeded(Seed::from_bytes(array(&head[20..])), room);
    for bytes in cells.chunks_exact(size) {
        let saved = read(bytes).ok_or(Unreadable::Damaged)?;
        if !saved.cell.is_over(now_ms) {
            counters.restore(saved.place, saved.owner, saved.cell, now_ms);
        }
    }
    Ok(counters)
}

/// Reads one cell of a version.
type Read = fn(&[u8]) -> Option<Saved>;

/// One cell of the file.
struct Saved {
    place: Fingerprint,
    owner: Owner,
    cell: Cell,
}

impl Saved {
    fn read(bytes: &[u8]) -> Option<Saved> {
        let owner = Owner(u64::from_le_bytes(array(&bytes[CELL_WITHOUT_OWNER..])));
        let limit = RoughLimit(u16::from_le_bytes(array(&bytes[CELL_WITHOUT_OWNER + 8..])));
        let (place, cell) = read_counts(bytes, Some(limit))?;
        Some(Saved { place, owner, cell })
    }

    fn read_without_owner(bytes: &[u8]) -> Option<Saved> {
        let (place, cell) = read_counts(bytes, None)?;
        Some(Saved { place: place.of_a_limit(), owner: Owner::UNKNOWN, cell })
    }
}

/// What both versions have. `None` for numbers that no program writes: taken as they are they would stay for
/// ever, or be nobody's.
fn read_counts(bytes: &[u8], limit: Option<RoughLimit>) -> Option<(Fingerprint, Cell)> {
    let number = |at: usize| i64::from_le_bytes(array(&bytes[at..at + 8]));
    let [duration_ms, last_ms, current, previous] = [16, 24, 32, 40].map(number);
    if duration_ms < 1 || last_ms < 0 || current < 0 || previous < 0 {
        return None;
    }
    let limit = limit.unwrap_or_else(|| RoughLimit::of(current.saturating_add(previous)));
    let cell = Cell::new(duration_ms.min(LONGEST_MS)).last_counted(last_ms, limit, current, previous);
    Some((Fingerprint::from_bytes(array(bytes)), cell))
}

/// The first `N` bytes, which are there.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|at| bytes[at])
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::ratelimit::counters::memory::{CellKey, CellScope, Check};

    const D: i64 = 10_000;
    const START: i64 = 178_000_000 * D;

    fn check(identifier: &str, duration_ms: i64, cost: i64) -> Check<'_> {
        let scope = CellScope::Key("requests");
        Check { cell: CellKey { workspace: "ws_1", scope, identifier, duration_ms }, limit: 100, cost }
    }

    fn used(counters: &MemoryCounters, identifier: &str, duration_ms: i64, now: i64) -> i64 {
        100 - counters.check(&check(identifier, duration_ms, 0), UnixMs::new(now)).remaining
    }

    fn claimed() -> (TempDir, CountersFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = CountersFile::claim(folder.path()).unwrap().expect("nobody else has it");
        (folder, file)
    }

    /// A file with a few counts, and its bytes.
    fn saved() -> (TempDir, CountersFile, Vec<u8>) {
        let (folder, file) = claimed();
        let counters = MemoryCounters::with_room_for(10_000);
        for name in ["a", "b", "c"] {
            counters.check(&check(name, D, 7), UnixMs::new(START));
        }
        assert_eq!(file.save(&counters, UnixMs::new(START)).unwrap(), 3);
        let bytes = fs::read(&file.path).unwrap();
        (folder, file, bytes)
    }

    #[test]
    fn counts_come_back_with_both_their_windows_and_those_that_are_over_do_not() {
        let (folder, file) = claimed();
        let counters = MemoryCounters::with_room_for(10_000);
        for (name, duration, cost, now) in
            [("a", D, 40, START), ("a", D, 3, START + D), ("b", 2 * D, 5, START + D), ("over", D, 9, START - D)]
        {
            assert!(counters.check(&check(name, duration, cost), UnixMs::new(now)).passed);
        }
        let now = START + D + D / 2;
        assert_eq!(file.save(&counters, UnixMs::new(now)).unwrap(), 2, "one is over");
        let restored = file.load(10_000, UnixMs::new(now)).unwrap().expect("there is a file");
        assert_eq!(restored.len(), 2);
        assert_eq!((used(&restored, "a", D, now), used(&restored, "b", 2 * D, now)), (23, 5));
        let later = file.load(10_000, UnixMs::new(START + 3 * D)).unwrap().expect("there is a file");
        assert_eq!((later.len(), used(&later, "b", 2 * D, START + 3 * D)), (1, 2));
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "the file and its lock alone: {names:?}");
        file.remove().unwrap();
        file.remove().unwrap();
        assert!(file.load(10_000, UnixMs::new(now)).unwrap().is_none());
    }

    #[test]
    fn more_counts_than_there_is_room_for_are_those_nearest_to_their_limit() {
        let (_folder, file) = claimed();
        let counters = MemoryCounters::with_room_for(10_000);
        let names: Vec<String> = (1..=100).map(|cost| cost.to_string()).collect();
        for (cost, name) in (1..).zip(&names) {
            counters.check(&check(name, D, cost), UnixMs::new(START));
        }
        file.save(&counters, UnixMs::new(START)).unwrap();
        let restored = file.load(50, UnixMs::new(START)).unwrap().expect("there is a file");
        assert!(restored.len() <= 50, "{}", restored.len());
        assert_eq!((used(&restored, "1", D, START), used(&restored, "100", D, START)), (0, 100));
    }

    #[test]
    fn counts_of_a_version_without_owners_come_back_and_make_room_before_those_of_tenants() {
        let (_folder, file, bytes) = saved();
        let (content, _) = bytes.split_at(bytes.len() - CHECKSUM);
        let without_owner = |cell: &[u8]| cell[..CELL_WITHOUT_OWNER].to_vec();
        let cells: Vec<u8> = content[HEAD..].chunks_exact(CELL).flat_map(without_owner).collect();
        let mut old = [&content[..16], &WITHOUT_OWNERS.to_le_bytes(), &content[20..HEAD], &cells].concat();
        old.extend(crc32fast::hash(&old).to_le_bytes());
        fs::write(&file.path, old).unwrap();
        let restored = file.load(4, UnixMs::new(START)).unwrap().expect("there is a file");
        assert_eq!(["a", "b", "c"].map(|name| used(&restored, name, D, START)), [7; 3]);
        for name in ["d", "e"] {
            assert!(restored.check(&check(name, D, 1), UnixMs::new(START)).passed);
        }
        assert_eq!((restored.len(), restored.evicted.value()), (4, 1));
        assert_eq!(["d", "e"].map(|name| used(&restored, name, D, START)), [1; 2]);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_folder, file, _) = saved();
        assert_eq!(fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn no_byte_can_be_changed_or_missing() {
        let (_folder, _file, bytes) = saved();
        assert_eq!(decode(&bytes, 100, START).unwrap().len(), 3);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length], 100, START).is_err(), "cut to {length}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(decode(&changed, 100, START).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn another_version_and_numbers_that_nobody_writes_are_refused() {
        let (_folder, _file, bytes) = saved();
        for (at, byte) in [(16, 3), (HEAD + 16 + 7, 0x80), (HEAD + 32 + 7, 0x80), (HEAD + 40 + 7, 0x80)] {
            let mut changed = bytes.clone();
            changed[at] = byte;
            let end = changed.len() - CHECKSUM;
            let sum = crc32fast::hash(&changed[..end]).to_le_bytes();
            changed[end..].copy_from_slice(&sum);
            assert!(decode(&changed, 100, START).is_err(), "{byte} at {at}");
        }
    }

    #[test]
    fn one_process_at_a_time_has_the_file() {
        let (folder, file) = claimed();
        assert!(CountersFile::claim(folder.path()).unwrap().is_none());
        drop(file);
        assert!(CountersFile::claim(folder.path()).unwrap().is_some());
    }
}
