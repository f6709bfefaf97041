//! What an import notes beside its file: how far it came, and what it left out.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How far an import of a file came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The migration, the API and the size of the file: what makes it the same import.
    pub(super) of: (String, String, u64),
    /// The line up to which all is done.
    pub(super) line: u64,
    pub(super) imported: u64,
    /// Keys that were there already.
    pub(super) known: u64,
    /// Rows that are in the report and are no keys now.
    pub(super) failed: u64,
}

/// The files beside the one that is imported.
pub(super) struct Journal {
    progress: PathBuf,
    pub(super) report: PathBuf,
}

impl Journal {
    pub(super) fn beside(file: &Path, report: Option<&String>) -> Self {
        let beside = |ending: &str| {
            let mut name = file.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        Journal {
            progress: beside(".progress"),
            report: report.map_or_else(|| beside(".report.jsonl"), PathBuf::from),
        }
    }

    /// How far an earlier run of the same import came; otherwise an import at its start, with an empty report.
    pub(super) fn begin(&self, of: (String, String, u64), anew: bool) -> std::io::Result<Progress> {
        let noted = fs::read(&self.progress).ok().and_then(|text| serde_json::from_slice::<Progress>(&text).ok());
        if let Some(noted) = noted.filter(|noted| noted.of == of && !anew) {
            return Ok(noted);
        }
        File::create(&self.report)?;
        Ok(Progress { of, ..Progress::default() })
    }

    /// Notes how far the import came; a file that is there is replaced as a whole.
    pub(super) fn note(&self, progress: &Progress) -> std::io::Result<()> {
        let mut new = self.progress.clone().into_os_string();
        new.push(".new");
        fs::write(&new, json!(progress).to_string())?;
        fs::rename(new, &self.progress)
    }

    /// Adds a row to the report.
    pub(super) fn report(&self, line: u64, hash: Option<&Value>, reason: &str) -> std::io::Result<()> {
        let mut report = File::options().append(true).create(true).open(&self.report)?;
        writeln!(report, "{}", json!({ "line": line, "hash": hash, "reason": reason }))
    }

    /// Forgets how far the import came, since it came to the end.
    pub(super) fn end(&self) {
        // What is left over only says that nothing is left to do.
        let _ = fs::remove_file(&self.progress);
    }
}
