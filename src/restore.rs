//! `keyrack restore FILE`: puts an instance back to where a backup found it.
//!
//! Everything is written and checked beside what is there, and then takes its place, the database last: until then a
//! start finds the old database, or, where there was none, says what is missing. What was there before is kept.

use std::fs;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use keyrack_core::analytics::log;
use keyrack_core::clock::Clock;
use keyrack_core::files;
use keyrack_core::ratelimit::counters::saved::{self, CountersFile};
use keyrack_core::store::{Location, Store, file, snapshot};

use crate::archive::{self, ANALYTICS, DATABASE, EVENTS, Manifest};
use crate::audit;
use crate::exit;
use crate::instance::{self, ROOT_KEY_FILE, told};
use crate::settings::{self, Flags, Settings, add_flags};
use crate::stdout;

const FILE: &str = "file";
const YES: &str = "yes";
const CHECK_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// What SQLite keeps beside a database file.
const BESIDE_DATABASE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The command and its flags.
pub(crate) fn command() -> Command {
    let file = Arg::new(FILE)
        .value_name("FILE")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("The backup to put back");
    let yes = Arg::new(YES).long(YES).action(ArgAction::SetTrue).help("Do it without asking");
    add_flags(Command::new("restore"), Flags::Data)
        .about("Puts back what `keyrack backup` saved, once no server runs on it")
        .after_help(
            "A restore undoes every change since the backup: keys that were revoked since then live again, keys made since \
             then are gone, spent credits come back, and the audit log ends where it ended. The backup is checked first, \
             its audit log too. What is there now is kept beside it, with `.before-restore-` in its name: remove it when \
             you no longer need it.\n\n\
             On PostgreSQL the database comes first (pg_restore); this puts the rest back.\n\n\
             Exit codes: 0 it is restored, 1 it is not, 2 usage, or nobody said yes.",
        )
        .arg(file)
        .arg(yes)
}

/// Puts a backup back.
///
/// # Errors
/// When a server runs, the backup is not whole, or something cannot be written.
pub(crate) async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = match Settings::read(matches) {
        Ok(settings) => settings,
        Err(error) => return Ok(exit::misused(&error)),
    };
    instance::start_log(&settings)?;
    let path = matches.get_one::<PathBuf>(FILE).context("FILE is missing")?;
    let (location, folder) = (settings.get(&settings::DATABASE_URL)?, settings.get(&settings::DATA_DIR)?);
    files::create_private_folder(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let running = || format!("a server runs on {}; stop it first", folder.display());
    let _counters = CountersFile::claim(&folder)?.with_context(running)?;
    let _database = match &location {
        Location::Sqlite(database) => Some(file::claim_alone(database)?.with_context(|| {
            format!("{} is open (`keyrack serve` or `keyrack mcp`); stop what uses it first", database.display())
        })?),
        Location::Postgres(_) => None,
    };
    let staged = Staged::beside(&location, &folder);
    staged.clear()?;
    let outcome = restore(path, &location, &folder, &staged, matches.get_flag(YES)).await;
    staged.clear()?;
    outcome
}

async fn restore(
    path: &Path,
    location: &Location,
    folder: &Path,
    staged: &Staged,
    yes: bool,
) -> anyhow::Result<ExitCode> {
    files::create_private_folder(&staged.folder.join(log::FOLDER))?;
    files::create_private_folder(&staged.folder.join(ANALYTICS))?;
    let manifest = archive::extract(path, |name| staged.place(name))?;
    let has_database = manifest.members.contains_key(DATABASE);
    match location {
        Location::Sqlite(_) => {
            ensure!(has_database, "{} has no database in it: it is of an instance on PostgreSQL", path.display());
            check(staged, &manifest).await?;
        }
        Location::Postgres(_) => ensure!(
            !has_database,
            "{} holds a SQLite database. Restore it with KEYRACK_DATABASE_URL=sqlite://PATH, and bring it here with \
             `keyrack copy --to`",
            path.display()
        ),
    }
    tell(&manifest, location)?;
    if !yes && !is_confirmed()? {
        eprintln!("error: nothing was changed; answer yes, or use --yes where there is no terminal, to restore");
        return Ok(ExitCode::from(exit::USAGE));
    }
    let ending = format!(".before-restore-{}", Clock::system().now().get());
    put_files(staged, folder, &ending)?;
    if let Location::Sqlite(database) = location {
        put_database(&staged.database, database, &ending)?;
    }
    stdout::print(&format!(
        "Restored from {}, made {}. What was there before is kept with {ending} in its name.",
        path.display(),
        manifest.time.rfc3339()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Where a backup is written before it takes its place: on the same disks, so that it can.
struct Staged {
    folder: PathBuf,
    database: PathBuf,
}

impl Staged {
    fn beside(location: &Location, folder: &Path) -> Staged {
        let staged = folder.join(".restoring");
        let database = match location {
            Location::Sqlite(path) => files::beside(path, ".restoring"),
            Location::Postgres(_) => staged.join(DATABASE),
        };
        Staged { folder: staged, database }
    }

    /// Where a member of the archive goes; `None` for what no backup has.
    fn place(&self, name: &str) -> Option<PathBuf> {
        if let Some(name) = name.strip_prefix(EVENTS) {
            let is_plain = name.ends_with(".events") && !name.contains(['/', '\\']);
            return is_plain.then(|| self.folder.join(log::FOLDER).join(name));
        }
        if let Some(name) = name.strip_prefix(ANALYTICS) {
            let is_plain = (name.ends_with(".parquet") || name == "manifest") && !name.contains(['/', '\\']);
            return is_plain.then(|| self.folder.join(ANALYTICS).join(name));
        }
        match name {
            DATABASE => Some(self.database.clone()),
            ROOT_KEY_FILE | saved::FILE => Some(self.folder.join(name)),
            _ => None,
        }
    }

    /// Removes what it holds, and what an earlier restore left that was cut off.
    fn clear(&self) -> anyhow::Result<()> {
        for ending in ["", ".lock", ".in-use"].iter().chain(&BESIDE_DATABASE) {
            files::remove(&files::beside(&self.database, ending))?;
        }
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.folder.display()))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the database of a backup is whole: its structure, what the manifest says of it, its audit log. Its tables
/// are brought up to date.
async fn check(staged: &Staged, manifest: &Manifest) -> anyhow::Result<()> {
    let faults = snapshot::quick_check(&staged.database, CHECK_LIMIT).map_err(told)?.unwrap_or_default();
    ensure!(faults.is_empty(), "the database in the backup is malformed: {}", faults.join("; "));
    let heads = snapshot::heads(&staged.database).map_err(told)?;
    ensure!(heads == manifest.workspaces, "the database in the backup is not the one that was saved");
    let store = Store::open(&Location::Sqlite(staged.database.clone())).await.map_err(told)?;
    let verified = audit::is_whole(&store).await;
    store.close().await;
    ensure!(verified?, "the audit log in the backup is not whole; nothing was changed");
    ensure!(snapshot::fold(&staged.database).map_err(told)?, "the database in the backup is malformed");
    Ok(())
}

/// Says what the restore will undo.
fn tell(manifest: &Manifest, location: &Location) -> anyhow::Result<()> {
    let time = manifest.time.rfc3339();
    eprintln!("The backup was made {time} by Keyrack {}.", manifest.version);
    let Location::Sqlite(path) = location else {
        eprintln!(
            "Root-key file, events, analytics and counters are put back. The database is PostgreSQL's: restore that itself."
        );
        return Ok(());
    };
    if !path.exists() {
        eprintln!("There is no database at {} now.", path.display());
        return Ok(());
    }
    eprintln!(
        "Every change since then is undone: revoked keys live again, keys made since then are gone, spent credits come \
         back."
    );
    let now = match snapshot::heads(path) {
        Ok(now) => now,
        Err(error) => {
            eprintln!("How many they are is not known. {}", error.detail());
            return Ok(());
        }
    };
    for head in &now {
        let then = manifest.workspaces.iter().find(|then| then.workspace_id == head.workspace_id);
        let (id, name) = (&head.workspace_id, crate::printable::line(&head.name));
        match then {
            Some(then) if then.generation <= head.generation => {
                eprintln!("  {id} ({name}): {} to undo", head.generation - then.generation);
            }
            Some(_) => eprintln!("  {id} ({name}): none; the backup is newer"),
            None => eprintln!("  {id} ({name}): all of it; the backup does not have it"),
        }
    }
    Ok(())
}

fn is_confirmed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("Restore? Type yes: ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "yes"))
}

/// Puts root-key file, counters and events in their places. What was there is kept, but for the counters, which are of
/// a time that is undone.
fn put_files(staged: &Staged, folder: &Path, ending: &str) -> anyhow::Result<()> {
    let same = |one: &Path, other: &Path| matches!((fs::read(one), fs::read(other)), (Ok(a), Ok(b)) if a == b);
    for name in [log::FOLDER, ROOT_KEY_FILE] {
        let (new, place) = (staged.folder.join(name), folder.join(name));
        if !new.exists() || same(&new, &place) {
            continue;
        }
        if place.exists() {
            rename(&place, &files::beside(&place, ending))?;
        }
        rename(&new, &place)?;
    }
    // Of another moment than the log that was put back it would count events twice: it goes also where a backup has none.
    let analytics = ANALYTICS.trim_end_matches('/');
    let (new, place) = (staged.folder.join(analytics), folder.join(analytics));
    if place.exists() {
        rename(&place, &files::beside(&place, ending))?;
    }
    if new.exists() {
        rename(&new, &place)?;
    }
    let (new, place) = (staged.folder.join(saved::FILE), folder.join(saved::FILE));
    files::remove(&place)?;
    if new.exists() {
        rename(&new, &place)?;
    }
    Ok(files::sync_folder_of(&place)?)
}

/// Puts a database in the place of another one, of which nothing stays that SQLite would take for the new one's.
fn put_database(new: &Path, place: &Path, ending: &str) -> anyhow::Result<()> {
    let kept = files::beside(place, ending);
    let is_folded = place.exists() && snapshot::fold(place).map_err(told)?;
    // With a second name for the old file, the new one takes the first in one step.
    if !is_folded || fs::hard_link(place, &kept).is_err() {
        for file_ending in [""].iter().chain(&BESIDE_DATABASE) {
            let old = files::beside(place, file_ending);
            if old.exists() {
                rename(&old, &files::beside(&kept, file_ending))?;
            }
        }
    }
    rename(new, place)?;
    Ok(files::sync_folder_of(place)?)
}

fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    if let Err(error) = fs::rename(from, to) {
        bail!("cannot move {} to {}: {error}", from.display(), to.display());
    }
    Ok(())
}
