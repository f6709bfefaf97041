//! `keyrack backup FILE`: everything that makes an instance, in one file, while it runs.

use std::fs::File;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Arg, ArgMatches, Command, value_parser};
use keyrack_core::analytics::log;
use keyrack_core::audit::heads;
use keyrack_core::clock::Clock;
use keyrack_core::files;
use keyrack_core::ratelimit::counters::saved;
use keyrack_core::store::{Location, file, snapshot};

use crate::archive::{DATABASE, EVENTS, Manifest, UNFINISHED, Writer};
use crate::exit;
use crate::instance::{self, ROOT_KEY_FILE, told};
use crate::settings::{self, Flags, Settings, add_flags};
use crate::stdout;

const FILE: &str = "file";
/// The copy is checked whole, however long that takes.
const CHECK_LIMIT: Duration = Duration::from_secs(24 * 3600);
const MIB: u64 = 1 << 20;

/// The command and its flags.
pub(crate) fn command() -> Command {
    let file = Arg::new(FILE)
        .value_name("FILE")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("The backup to make; it must not exist");
    add_flags(Command::new("backup"), Flags::Data)
        .about("Saves database, root-key file, events, analytics and counters in one file; servers go on meanwhile")
        .after_help(
            "The backup is of one moment, and readable by you alone: it holds the root key. It is a tar archive, checked \
             before it gets its name; making it needs room for the database twice. The master key and the settings are \
             not in it: keep them elsewhere, and the heads of the audit log that are printed. Counters are saved by a server that stops, so the backup of a running one \
             has none. `keyrack restore FILE` puts it back.\n\n\
             On PostgreSQL the database is not in it: use pg_dump --format=custom, or base backups, for that.\n\n\
             Exit codes: 0 the backup is made, 1 it is not, 2 usage.",
        )
        .arg(file)
}

/// Makes a backup.
///
/// # Errors
/// When something cannot be read or written, or is damaged.
pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = match Settings::read(matches) {
        Ok(settings) => settings,
        Err(error) => return Ok(exit::misused(&error)),
    };
    instance::start_log(&settings)?;
    let path = matches.get_one::<PathBuf>(FILE).context("FILE is missing")?;
    let made = make(&settings, path);
    if made.is_err() {
        // What was written is of no use; the reason why not even that can be removed is the one that is told.
        let _ = files::remove(&files::beside(path, UNFINISHED));
    }
    made
}

fn make(settings: &Settings, path: &Path) -> anyhow::Result<ExitCode> {
    let (location, folder) = (settings.get(&settings::DATABASE_URL)?, settings.get(&settings::DATA_DIR)?);
    let mut writer = Writer::create(path)?;
    let time = Clock::system().now();
    let manifest = match &location {
        Location::Sqlite(database) => {
            let copy = files::beside(path, ".database");
            let added = add_database(database, &copy, &mut writer);
            remove_copy(&copy)?;
            Manifest::new("sqlite", time, added?)
        }
        Location::Postgres(_) => {
            eprintln!(
                "The database is in PostgreSQL ({}) and not in this backup: save it with pg_dump --format=custom, or \
                 with base backups. What is beside it is saved now.",
                location.label()
            );
            Manifest::new("postgres", time, Vec::new())
        }
    };
    let beside = add_files(&folder, &mut writer)?;
    let workspaces = manifest.workspaces.clone();
    let bytes = writer.finish(manifest)?;
    let what = if matches!(location, Location::Sqlite(_)) { "database, " } else { "" };
    stdout::print(&format!("{}: {what}{beside}; {} MiB", path.display(), bytes.div_ceil(MIB)))?;
    for head in workspaces {
        let link = (head.audit_sequence, head.audit_hash);
        stdout::print(&format!("the audit log's head is {}", heads::text(&head.workspace_id, &link)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds a checked copy of the database: where its workspaces stand.
fn add_database(database: &Path, copy: &Path, writer: &mut Writer) -> anyhow::Result<Vec<snapshot::Head>> {
    ensure!(database.exists(), "there is no database at {}", database.display());
    let claim = file::claim_shared(database).with_context(|| format!("cannot lock {}", database.display()))?;
    let _claim = claim.with_context(|| format!("{} is being restored", database.display()))?;
    remove_copy(copy)?;
    snapshot::copy(database, copy, progress).map_err(told)?;
    clear_progress();
    let faults = snapshot::quick_check(copy, CHECK_LIMIT).map_err(told)?.unwrap_or_default();
    ensure!(
        faults.is_empty(),
        "the database {} is malformed, and so would the backup be: {}. An older backup may be whole: `keyrack restore \
         FILE`",
        database.display(),
        faults.join("; ")
    );
    let heads = snapshot::heads(copy).map_err(told)?;
    writer.add(DATABASE, File::open(copy)?)?;
    Ok(heads)
}

fn remove_copy(copy: &Path) -> anyhow::Result<()> {
    for ending in ["", "-wal", "-shm", "-journal"] {
        let path = files::beside(copy, ending);
        files::remove(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Adds what is in the data folder, as far as it is there: in words.
fn add_files(folder: &Path, writer: &mut Writer) -> anyhow::Result<String> {
    let mut words = Vec::new();
    for (name, word) in [(ROOT_KEY_FILE, "root key"), (saved::FILE, "counters")] {
        if let Some(file) = open(&folder.join(name))? {
            writer.add(name, file)?;
            words.push(word.to_owned());
        }
    }
    let mut events = 0;
    let found = log::files(&folder.join(log::FOLDER)).unwrap_or_default();
    for (path, _) in found {
        let name = path.file_name().and_then(|name| name.to_str());
        // The oldest may be removed meanwhile.
        if let (Some(name), Some(file)) = (name, open(&path)?) {
            writer.add(&format!("{EVENTS}{name}"), file)?;
            events += 1;
        }
    }
    words.push(format!("{events} files of events"));
    // After the log: what is taken from it meanwhile is in both, and counts once.
    #[cfg(feature = "analytics-engine")]
    words.push(crate::analytics::save(folder, writer)?);
    Ok(words.join(", "))
}

fn open(path: &Path) -> anyhow::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn progress(done: i32, all: i32) {
    if std::io::stderr().is_terminal() {
        eprint!("\rcopied {done} of {all} pages");
    }
}

fn clear_progress() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\u{1b}[K");
    }
}
