//! Segments of the log: files whose names say how old they are and whose events they hold.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use compact_str::CompactString;

use super::format::HEADER;
use crate::calendar::UnixMs;
use crate::files::private;
use crate::ids::RequestId;

const EXTENSION: &str = "events";
/// What stands in the name of a segment of many workspaces in place of one's id.
const SHARED: &str = "shared";
/// No id of a workspace is longer.
const LONGEST_ID: usize = 64;

/// Whose events a segment holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Owner {
    /// Those of everybody: it was written by 0.1.0.
    Unknown,
    /// Those of many workspaces, of which none has much in it.
    Shared,
    /// Those of one workspace.
    Workspace(CompactString),
}

impl Owner {
    /// The workspace as an owner, if a file can be named after it.
    pub(super) fn workspace(id: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let can_be_a_name = id.len() <= LONGEST_ID && id != SHARED && !id.is_empty() && id.bytes().all(is_plain);
        can_be_a_name.then(|| Owner::Workspace(id.into()))
    }

    /// The id of the workspace; empty where it is not one workspace's.
    pub(super) fn id(&self) -> &str {
        match self {
            Owner::Unknown | Owner::Shared => "",
            Owner::Workspace(id) => id,
        }
    }
}

/// A file of the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    /// Unix ms of its first event; segments sort by it.
    pub(super) began: UnixMs,
    pub(super) path: PathBuf,
    pub(super) owner: Owner,
    pub(super) bytes: u64,
    /// Unix ms of the last write, by the file system's clock.
    pub(super) written: UnixMs,
}

impl Segment {
    /// Makes a segment; one that cannot get its header is none.
    pub(super) fn begin(folder: &Path, owner: &Owner, now: UnixMs) -> io::Result<(Self, File)> {
        let owner_name = if owner.id().is_empty() { SHARED } else { owner.id() };
        let path = folder.join(format!("{:013}-{}-{owner_name}.{EXTENSION}", now.get(), RequestId::new()));
        let mut file = private(File::options().append(true).create_new(true)).open(&path)?;
        if let Err(error) = file.write_all(HEADER) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        let bytes = HEADER.len() as u64;
        Ok((Segment { began: now, path, owner: owner.clone(), bytes, written: now }, file))
    }

    /// Its place among others: segments sort by it.
    pub(super) fn place(&self) -> (UnixMs, &Path) {
        (self.began, &self.path)
    }

    /// The name of its file; no two ever have one name.
    pub(super) fn name(&self) -> &str {
        self.path.file_name().and_then(OsStr::to_str).unwrap_or_default()
    }

    /// The segment of this path; `None` for a file that is none.
    fn of(path: PathBuf, bytes: u64, written: UnixMs) -> Option<Self> {
        if path.extension()? != EXTENSION {
            return None;
        }
        let name = path.file_stem()?.to_str()?;
        let mut parts = name.splitn(3, '-');
        // Names that people gave are older than all others.
        let began = parts.next().and_then(|began| began.parse().ok()).map_or(UnixMs::EPOCH, UnixMs::new);
        let owner = match parts.nth(1) {
            Some(SHARED) => Owner::Shared,
            owner => owner.and_then(Owner::workspace).unwrap_or(Owner::Unknown),
        };
        Some(Segment { began, path, owner, bytes, written })
    }
}

/// The segments of a log, oldest first.
pub(super) fn segments(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) => segments.extend(Segment::of(entry.path(), metadata.len(), written(&metadata))),
            // Another process has just deleted it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    segments.sort();
    Ok(segments)
}

fn written(metadata: &fs::Metadata) -> UnixMs {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_millis()).ok()).map_or(UnixMs::EPOCH, UnixMs::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_how_old_a_segment_is_and_whose() {
        let parsed =
            |name: &str| Segment::of(name.into(), 0, UnixMs::EPOCH).map(|segment| (segment.began, segment.owner));
        let workspace = Owner::workspace("ws_1").unwrap();
        assert_eq!(parsed("1773576000000-req_a-ws_1.events"), Some((UnixMs::new(1_773_576_000_000), workspace)));
        assert_eq!(
            parsed("1773576000000-req_a-shared.events"),
            Some((UnixMs::new(1_773_576_000_000), Owner::Shared))
        );
        assert_eq!(parsed("1773576000000-req_a.events"), Some((UnixMs::new(1_773_576_000_000), Owner::Unknown)));
        assert_eq!(
            parsed("1773576000000-req_a-ws_1-2.events"),
            Some((UnixMs::new(1_773_576_000_000), Owner::Unknown))
        );
        assert_eq!(parsed("mine.events"), Some((UnixMs::new(0), Owner::Unknown)));
        assert_eq!(parsed("1773576000000-req_a-ws_1.txt"), None);
    }

    #[test]
    fn what_can_be_no_name_of_a_file_owns_none() {
        let long = "w".repeat(65);
        for id in ["", "shared", "..", "ws/1", "ws-1", "ws 1", long.as_str()] {
            assert_eq!(Owner::workspace(id), None, "{id}");
        }
        let folder = tempfile::tempdir().unwrap();
        for owner in [Owner::Shared, Owner::workspace("ws_1").unwrap()] {
            let (begun, _) = Segment::begin(folder.path(), &owner, UnixMs::new(5)).unwrap();
            let found =
                segments(folder.path()).unwrap().into_iter().find(|found| found.path == begun.path).unwrap();
            assert_eq!(Segment { written: begun.written, ..found }, begun);
        }
    }
}
