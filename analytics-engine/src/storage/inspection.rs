//! A look at a folder from outside: what is stored, and what of it cannot be read. Nothing is changed or locked, so a server
//! may have the folder meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use super::fault::Fault;
use super::file::StoredFile;
use super::looking::read_through;
use super::manifest::{FileFacts, Manifest};
use super::room::is_weighed;
use super::snapshot::Damage;
use super::warehouse::look;

/// What a look at a folder found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspected {
    /// How many files there are.
    pub files: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Bytes of single events, which [`super::Settings::most_bytes`] bounds.
    pub event_bytes: u64,
    /// Files that cannot be read.
    pub damaged: Vec<Damage>,
    /// How many files there was no time to read.
    pub unread: usize,
}

/// Looks at a folder: the size and the ends of every file, and for about so long, what is in them.
///
/// # Errors
/// When what the folder says of itself cannot be trusted.
pub fn inspect(folder: &Path, limit: Duration) -> Result<Inspected, Fault> {
    let began = Instant::now();
    let mut manifest = Manifest::load(folder)?;
    let (mut damaged, mut unread) = (Vec::new(), 0);
    for facts in &manifest.files {
        let file = StoredFile::new(folder, facts.clone());
        let is_late = began.elapsed() >= limit;
        let found = if is_late { look(file.path(), file.bytes()) } else { read_through(&file) };
        unread += usize::from(is_late);
        damaged.extend(found.err().map(|because| damage(facts, because)));
    }
    if !damaged.is_empty() {
        // Whoever has the folder may have replaced them meanwhile.
        manifest = Manifest::load(folder)?;
        damaged.retain(|damage| manifest.names().any(|name| name == damage.name));
    }
    let bytes = |files: &mut dyn Iterator<Item = &FileFacts>| files.map(|facts| facts.bytes).sum();
    Ok(Inspected {
        files: manifest.files.len(),
        bytes: bytes(&mut manifest.files.iter()),
        event_bytes: bytes(&mut manifest.files.iter().filter(|facts| is_weighed(facts.table))),
        damaged,
        unread,
    })
}

fn damage(facts: &FileFacts, because: String) -> Damage {
    Damage { name: facts.name.clone(), table: facts.table, rows: facts.rows, because }
}
