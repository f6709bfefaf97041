//! What there is: every file with its facts, and how far the log of events was read.
//!
//! One small file says it, and is replaced as a whole (written beside, synced, renamed): whatever is killed whenever,
//! it tells of one moment. A file of rows is on disk before the manifest names it, and what it does not name counts
//! for nothing. So an event is in exactly one file, or its place in the log was not passed and it is read again.
//!
//! Its first line is `keyrack analytics <version> <CRC-32 (IEEE) of the rest, hexadecimal>`; the rest is JSON.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use keyrack_core::calendar::UnixMs;
use keyrack_core::files;
use serde::{Deserialize, Serialize};

use super::days::{DayNumber, Days};
use super::fault::Fault;
use super::schema::{MadeOf, Stored};

pub(super) const NAME: &str = "manifest";
/// What the first line begins with.
const MAGIC: &str = "keyrack analytics";
/// Of the manifest, and of the tables it speaks of. Files of several days came with 2; what 1 says is true still.
const VERSION: u32 = 2;

pub use keyrack_core::analytics::log::Positions;

/// What there is at a moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    /// What of the log is in the files.
    pub(super) positions: Positions,
    /// When what is too old was removed the last time.
    #[serde(default)]
    pub(super) swept: UnixMs,
    /// Since when events are recorded; `None` before somebody follows the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) began: Option<UnixMs>,
    pub(super) files: Vec<FileFacts>,
}

/// What is known of a file without looking into it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileFacts {
    /// In the folder.
    pub(super) name: String,
    pub(super) table: Stored,
    /// The day of its rows; the first one where they are of several, as those of a month are.
    pub(super) day: DayNumber,
    /// The last day of its rows, where they are of several; not said of tables per month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_day: Option<DayNumber>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// The least and the greatest `time`, Unix ms.
    pub(super) first_time: UnixMs,
    pub(super) last_time: UnixMs,
    /// The first and the last in the order of texts.
    pub(super) first_workspace: String,
    pub(super) last_workspace: String,
    /// Whether the coarser tables made of it have its rows.
    pub(super) counted: bool,
    /// The workspaces with most of its rows, and how many these are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) heaviest: Vec<(String, u64)>,
}

impl FileFacts {
    /// The days of its rows.
    pub(super) fn days(&self) -> Days {
        match self.table.made_of() {
            MadeOf::Days(_) => Days::month(self.day),
            _ => Days { first: self.day, last: self.last_day.unwrap_or(self.day) },
        }
    }
}

impl Manifest {
    /// Where the manifest of this folder is.
    pub(super) fn path(folder: &Path) -> PathBuf {
        folder.join(NAME)
    }

    /// The manifest of a folder; that of nothing where there is none.
    pub(super) fn load(folder: &Path) -> Result<Self, Fault> {
        let path = Self::path(folder);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Manifest::default()),
            Err(error) => return Err(Fault::of(&path)(error)),
        };
        Self::parse(&text).map_err(|because| Fault::Manifest { path, because })
    }

    fn parse(text: &str) -> Result<Self, String> {
        const MEND: &str = "restore the folder from a backup, or move it away: events of the log are read again";
        let damaged = || format!("it is damaged; {MEND}");
        let (head, body) = text.split_once('\n').ok_or_else(damaged)?;
        let mut words = head.strip_prefix(MAGIC).ok_or_else(damaged)?.split_ascii_whitespace();
        let version: u32 = words.next().and_then(|version| version.parse().ok()).ok_or_else(damaged)?;
        if !(1..=VERSION).contains(&version) {
            return Err(format!("it is of version {version}, and this program knows version {VERSION}"));
        }
        let sum = words.next().and_then(|sum| u32::from_str_radix(sum, 16).ok()).ok_or_else(damaged)?;
        if crc32fast::hash(body.as_bytes()) != sum {
            return Err(damaged());
        }
        let manifest: Manifest = serde_json::from_str(body).map_err(|error| format!("{error}; {MEND}"))?;
        let is_plain = |name: &str| Path::new(name).file_name().is_some_and(|plain| plain == name);
        let names: HashSet<&str> = manifest.names().collect();
        if names.len() != manifest.files.len() || !names.iter().all(|name| is_plain(name)) {
            return Err(damaged());
        }
        Ok(manifest)
    }

    /// Replaces the manifest of the folder.
    pub(super) fn save(&self, folder: &Path) -> Result<(), Fault> {
        let path = Self::path(folder);
        let body = serde_json::to_string(self).map_err(|error| Fault::of(&path)(io::Error::other(error)))?;
        let head = format!("{MAGIC} {VERSION} {:08x}\n", crc32fast::hash(body.as_bytes()));
        let write = |mut file: fs::File| {
            file.write_all(head.as_bytes())?;
            file.write_all(body.as_bytes())?;
            Ok((file, ()))
        };
        files::replace(&path, write).map_err(Fault::of(&path))
    }

    /// The names of the files.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| &*file.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Manifest {
        let file = FileFacts {
            name: "gaps-2026-11-29-00000001.parquet".to_owned(),
            table: Stored::Gaps,
            day: DayNumber::new(20_786),
            last_day: Some(DayNumber::new(20_787)),
            rows: 1,
            bytes: 5,
            first_time: UnixMs::new(1),
            last_time: UnixMs::new(2),
            first_workspace: "ws_1".to_owned(),
            last_workspace: "ws_2".to_owned(),
            counted: false,
            heaviest: vec![("ws_1".to_owned(), 1)],
        };
        let positions = serde_json::from_str(r#"{"1-shared.events": 17}"#).unwrap();
        Manifest { positions, swept: UnixMs::new(3), began: Some(UnixMs::new(1)), files: vec![file] }
    }

    #[test]
    fn what_is_saved_is_loaded_and_nothing_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::load(folder.path()).unwrap(), Manifest::default());
        some().save(folder.path()).unwrap();
        assert_eq!(Manifest::load(folder.path()).unwrap(), some());
    }

    #[test]
    fn one_that_is_damaged_or_newer_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        some().save(folder.path()).unwrap();
        let path = Manifest::path(folder.path());
        let text = fs::read_to_string(&path).unwrap();
        let versions = [
            text.replace("ws_2", "ws_3"),
            text[..text.len() - 1].to_owned(),
            text.replacen("analytics 2", "analytics 3", 1),
            text.replacen("analytics 2", "analytics 0", 1),
            String::new(),
            "else\n".to_owned(),
        ];
        for text in versions {
            fs::write(&path, &text).unwrap();
            let error = Manifest::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains("manifest: it is"), "{error}");
        }
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_damage() {
        let mut manifest = some();
        manifest.files[0].name = "../secret.parquet".to_owned();
        let folder = tempfile::tempdir().unwrap();
        manifest.save(folder.path()).unwrap();
        assert!(Manifest::load(folder.path()).is_err());
    }
}
