//! The file of a backup: a tar archive whose last member says what the others are.
//!
//! `manifest.json` holds the version that wrote it, the engine, the time, where each workspace stood, and name, size
//! and SHA-256 of every other member. It comes last because it is known last, and so an archive that was cut off has
//! none. The others are `database.sqlite`, `root-key`, `ratelimit-counters`, `events/<name>.events`, and of analytics
//! `analytics/manifest` and the files that it names, as far as they were there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use keyrack_core::files;
use keyrack_core::store::snapshot::Head;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use keyrack_core::calendar::UnixMs;

/// The database of an instance on SQLite.
pub(crate) const DATABASE: &str = "database.sqlite";
/// The folder of the events, with a slash.
pub(crate) const EVENTS: &str = "events/";
/// The folder of stored events, with a slash.
pub(crate) const ANALYTICS: &str = "analytics/";
/// What the name of an archive that is being written ends in.
pub(crate) const UNFINISHED: &str = ".unfinished";
const MANIFEST: &str = "manifest.json";
const FORMAT: &str = "keyrack backup 1";
/// No manifest is larger.
const MOST_MANIFEST_BYTES: u64 = 64 << 20;

/// What a backup holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: String,
    /// Of the program that made it.
    pub(crate) version: String,
    /// `sqlite` or `postgres`; the database itself is in it on SQLite only.
    pub(crate) engine: String,
    /// When it was begun, in Unix ms.
    pub(crate) time: UnixMs,
    /// Where the workspaces of the database in it stood.
    pub(crate) workspaces: Vec<Head>,
    /// Every other member by its name.
    pub(crate) members: BTreeMap<String, Member>,
}

/// A member of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) bytes: u64,
    /// Of its bytes, in hex.
    sha256: String,
}

impl Manifest {
    /// A manifest without members.
    pub(crate) fn new(engine: &str, time: UnixMs, workspaces: Vec<Head>) -> Self {
        Manifest {
            format: FORMAT.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            engine: engine.to_owned(),
            time,
            workspaces,
            members: BTreeMap::new(),
        }
    }
}

/// Hashes what is read through it, and counts it.
struct Summed<R> {
    inner: R,
    sum: Sha256,
    bytes: u64,
}

impl<R> Summed<R> {
    fn new(inner: R) -> Self {
        Summed { inner, sum: Sha256::new(), bytes: 0 }
    }

    fn member(self) -> Member {
        let sha256 = self.sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Member { bytes: self.bytes, sha256 }
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.sum.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

/// An archive that is being written, under another name until it is whole.
pub(crate) struct Writer {
    path: PathBuf,
    unfinished: PathBuf,
    tar: tar::Builder<BufWriter<File>>,
    members: BTreeMap<String, Member>,
}

impl Writer {
    /// Begins an archive.
    ///
    /// # Errors
    /// When there is a file of that name, or it cannot be made.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Writer> {
        ensure!(!path.exists(), "{} exists; a backup never overwrites a file. Name another", path.display());
        let unfinished = files::beside(path, UNFINISHED);
        // What a kill left.
        files::remove(&unfinished).with_context(|| format!("cannot remove {}", unfinished.display()))?;
        let made = files::private(File::options().create_new(true).write(true)).open(&unfinished);
        let file = made.with_context(|| format!("cannot make {}", unfinished.display()))?;
        let tar = tar::Builder::new(BufWriter::with_capacity(1 << 20, file));
        Ok(Writer { path: path.to_owned(), unfinished, tar, members: BTreeMap::new() })
    }

    /// Adds a file as it is now; what is appended to it meanwhile is left out.
    ///
    /// # Errors
    /// When one of the files cannot be read or written.
    pub(crate) fn add(&mut self, name: &str, file: File) -> anyhow::Result<()> {
        let bytes = file.metadata()?.len();
        let mut content = Summed::new(BufReader::with_capacity(1 << 20, file.take(bytes)));
        self.tar.append_data(&mut header(bytes), name, &mut content)?;
        ensure!(content.bytes == bytes, "{name} became shorter while it was read");
        self.members.insert(name.to_owned(), content.member());
        Ok(())
    }

    /// Ends the archive, which only now has its name: its size in bytes.
    ///
    /// # Errors
    /// When it cannot be written, or somebody else made a file of that name meanwhile.
    pub(crate) fn finish(mut self, mut manifest: Manifest) -> anyhow::Result<u64> {
        manifest.members = std::mem::take(&mut self.members);
        let text = serde_json::to_vec_pretty(&manifest)?;
        self.tar.append_data(&mut header(text.len() as u64), MANIFEST, text.as_slice())?;
        let file = self.tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        match files::name_unless_taken(&self.unfinished, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!("{} exists by now; a backup never overwrites a file", self.path.display())
            }
            named => named?,
        }
        files::sync_folder_of(&self.path)?;
        Ok(file.metadata()?.len())
    }
}

fn header(bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_entry_type(tar::EntryType::Regular);
    header
}

/// Writes the members of an archive to where `place` says, and compares them with what the manifest says.
///
/// # Errors
/// When the archive cannot be read, was changed or is not complete, or a file cannot be written.
pub(crate) fn extract(path: &Path, place: impl Fn(&str) -> Option<PathBuf>) -> anyhow::Result<Manifest> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 20, file));
    let (mut manifest, mut found) = (None, BTreeMap::new());
    let foreign = || format!("{} is no backup of Keyrack, or is damaged", path.display());
    for entry in archive.entries().with_context(foreign)? {
        let mut entry = entry.with_context(foreign)?;
        let name = entry.path().with_context(foreign)?.to_string_lossy().into_owned();
        ensure!(manifest.is_none() && entry.header().entry_type().is_file(), foreign());
        if name == MANIFEST {
            let mut text = Vec::new();
            (&mut entry).take(MOST_MANIFEST_BYTES).read_to_end(&mut text).with_context(foreign)?;
            manifest = Some(serde_json::from_slice::<Manifest>(&text).with_context(foreign)?);
            continue;
        }
        let target = place(&name).with_context(|| format!("{}: it has no business with {name}", foreign()))?;
        let made = files::private(File::options().create_new(true).write(true)).open(&target);
        let mut file = made.with_context(|| format!("cannot make {}", target.display()))?;
        let mut content = Summed::new(&mut entry);
        io::copy(&mut content, &mut file).with_context(|| format!("cannot copy {name} of {}", path.display()))?;
        file.flush()?;
        file.sync_all()?;
        found.insert(name, content.member());
    }
    let Some(manifest) = manifest else { bail!("{} is not complete: its end is missing", path.display()) };
    ensure!(manifest.format == FORMAT, "{} was made by another version: {}", path.display(), manifest.format);
    let differs = |(name, member): (&String, &Member)| (found.get(name) != Some(member)).then(|| name.clone());
    let damaged: Vec<String> = manifest.members.iter().filter_map(differs).collect();
    ensure!(damaged.is_empty(), "{} is damaged: {} is not what was saved", path.display(), damaged.join(", "));
    ensure!(found.len() == manifest.members.len(), foreign());
    Ok(manifest)
}
