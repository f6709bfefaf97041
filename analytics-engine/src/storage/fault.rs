//! What can go wrong with files of events. Each says which file it is about.

use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

/// Why something could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// One process owns the folder.
    #[error("another process keeps its events in {}; stop it, or use another data folder", .0.display())]
    InUse(PathBuf),
    /// One process at a time has the place for what it reads.
    #[error("another process is at it just now, in {}; try again when it is done", .0.display())]
    Busy(PathBuf),
    /// What the manifest says cannot be trusted, so nothing is touched.
    #[error("{}: {because}", .path.display())]
    Manifest {
        /// The file that says what there is.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        because: String,
    },
    /// The file system refused.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It would be overwritten.
    #[error("{} exists, and nothing is overwritten; name another folder", .0.display())]
    Exists(PathBuf),
    /// A file of events cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ParquetError,
    },
    /// Rows do not fit together, which is a mistake of the program.
    #[error("rows do not fit together: {0}")]
    Rows(#[from] ArrowError),
    /// The log of events cannot be read.
    #[error("the log of events cannot be read: {0}")]
    Log(#[source] io::Error),
    /// Memory for events that are in no file yet is used up, because they cannot be written.
    #[error("no more events are taken: those that came before cannot be written")]
    Full,
    /// Whoever watched the work wanted it to end.
    #[error("it was to end before it was done")]
    Stopped,
}

impl Fault {
    /// What the file system said about this path.
    pub(crate) fn of(path: &Path) -> impl FnOnce(io::Error) -> Fault + '_ {
        |source| Fault::File { path: path.to_owned(), source }
    }

    /// What was wrong with this Parquet file.
    pub(super) fn in_parquet(path: &Path) -> impl Fn(ParquetError) -> Fault + '_ {
        |source| Fault::Parquet { path: path.to_owned(), source }
    }

    /// What stopped a reader of this file's rows.
    pub(super) fn in_rows(path: &Path) -> impl Fn(ArrowError) -> Fault + '_ {
        |error| Fault::Parquet { path: path.to_owned(), source: ParquetError::ArrowError(error.to_string()) }
    }
}
