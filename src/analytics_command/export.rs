//! `keyrack analytics export --to FOLDER`: a workspace's events as Parquet files for other tools, also while a server runs.

use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Arg, ArgMatches, Command, value_parser};
use keyrack_analytics_engine::storage::{self, DayNumber, Progress, Wanted};
use keyrack_analytics_engine::{Apart, Export};
use keyrack_core::analytics::log;
use keyrack_core::clock::Clock;
use keyrack_core::store::{Store, workspaces};

use crate::analytics::OF_AN_EXPORT;
use crate::exit;
use crate::instance::{self, told};
use crate::settings::{self, Flags, Settings, add_flags};
use crate::signals::StopSignals;
use crate::{printable, stdout};

const TO: &str = "to";
const WORKSPACE: &str = "workspace";
const FROM: &str = "from";
const UNTIL: &str = "until";
/// How often it is said how far it is, at a terminal and elsewhere.
const TELL_EVERY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];

/// The command and its flags.
pub(super) fn command() -> Command {
    let day = |name: &'static str| {
        Arg::new(name).long(name).value_name("DAY").value_parser(|text: &str| text.parse::<DayNumber>())
    };
    let to = Arg::new(TO)
        .long(TO)
        .value_name("FOLDER")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("Where the files go; the folder is made if it is not there, and no file in it is overwritten");
    let workspace =
        Arg::new(WORKSPACE).long(WORKSPACE).value_name("ID").help("Whose events [default: the only workspace's]");
    add_flags(Command::new("export"), Flags::Data)
        .about("Writes a workspace's events as Parquet files for other tools, while servers go on")
        .after_help(
            "verifications.parquet, ratelimits.parquet, refusals.parquet (verifications that found no key) and \
             gaps.parquet (events that are missing) have a row per event with the columns of the documented tables; \
             times are Unix ms. All that the data folder has is in them: what is stored and what is only in the log of \
             events, up to the last fifth of a second of a server that runs. They are readable by you alone: their texts \
             say what your customers do.\n\n\
             Exit codes: 0 all of it was written, 1 it was not, or stored events could not be read, 2 usage.",
        )
        .arg(to)
        .arg(workspace)
        .arg(day(FROM).help("First day, such as 2026-11-01, in UTC [default: the first of all]"))
        .arg(day(UNTIL).help("Last day, in UTC [default: today]"))
}

/// Writes the files.
///
/// # Errors
/// When there are no events, or something cannot be read or written.
pub(super) async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = match Settings::read(matches) {
        Ok(settings) => settings,
        Err(error) => return Ok(exit::misused(&error)),
    };
    instance::start_log(&settings)?;
    let (from, until) =
        (matches.get_one::<DayNumber>(FROM).copied(), matches.get_one::<DayNumber>(UNTIL).copied());
    if from.zip(until).is_some_and(|(from, until)| until < from) {
        return Ok(exit::misused(&anyhow::anyhow!("--until: the last day is before the first")));
    }
    let workspace_id = match matches.get_one::<String>(WORKSPACE) {
        Some(id) => id.clone(),
        None => match only_workspace(&settings).await? {
            Ok(id) => id,
            Err(several) => return Ok(exit::misused(&several)),
        },
    };
    let (data_folder, target) = (settings.get(&settings::DATA_DIR)?, matches.get_one::<PathBuf>(TO));
    let target = target.context("--to is missing")?;
    if [log::FOLDER, storage::FOLDER].iter().any(|own| is_same(&data_folder.join(own), target)) {
        return Ok(exit::misused(&anyhow::anyhow!("--to: a server keeps its events there; name another folder")));
    }
    let wanted = Wanted { workspace_id, from, until };
    let export = write(&data_folder, &wanted, target)?;
    tell(&export, &wanted)
}

fn is_same(folder: &Path, other: &Path) -> bool {
    folder.canonicalize().is_ok_and(|folder| other.canonicalize().is_ok_and(|other| other == folder))
}

/// The workspace that there is, or that there are several.
async fn only_workspace(settings: &Settings) -> anyhow::Result<Result<String, anyhow::Error>> {
    let location = settings.get(&settings::DATABASE_URL)?;
    instance::need_database(&location)?;
    let store = Store::open(&location).await.map_err(told)?;
    let found = match store.read().await {
        Ok(mut connection) => workspaces::all(&mut connection).await,
        Err(error) => Err(error),
    };
    store.close().await;
    let mut found = found.map_err(told)?;
    if found.len() == 1 {
        return Ok(Ok(found.remove(0).id));
    }
    let named = found.iter().map(|workspace| format!("{} ({})", workspace.id, workspace.name));
    let named = named.collect::<Vec<_>>().join(", ");
    Ok(Err(anyhow::anyhow!("--workspace: there are {} workspaces; name one of {named}", found.len())))
}

fn write(data_folder: &Path, wanted: &Wanted, target: &Path) -> anyhow::Result<Export> {
    let is_ended = end_at_signals()?;
    let apart = Apart::of(data_folder, &data_folder.join(OF_AN_EXPORT), Clock::system().now())?;
    let Some(apart) = apart else {
        bail!(
            "there are no events in {}; name the server's data folder with --data-dir or KEYRACK_DATA_DIR. A server \
             makes events unless KEYRACK_EVENT_LOG_BYTES is 0, and keeps them for analytics unless \
             KEYRACK_ANALYTICS_BYTES is 0",
            data_folder.display()
        );
    };
    let mut line = Line::default();
    let written = apart.export(wanted, target, &mut |progress| {
        line.tell(progress);
        if is_ended.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    line.clear();
    Ok(written?)
}

/// Becomes true when somebody wants the command to end: what it made is removed then.
fn end_at_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let mut signals = StopSignals::new()?;
    let is_ended = Arc::new(AtomicBool::new(false));
    let told = is_ended.clone();
    tokio::spawn(async move {
        signals.next().await;
        told.store(true, Ordering::Relaxed);
    });
    Ok(is_ended)
}

/// Says what was written, and what is missing.
fn tell(export: &Export, wanted: &Wanted) -> anyhow::Result<ExitCode> {
    for file in &export.files {
        stdout::print(&format!("{}: {} rows, {} bytes", file.path.display(), file.rows, file.bytes))?;
    }
    if export.files.iter().all(|file| file.rows == 0) {
        let id = printable::line(&wanted.workspace_id);
        eprintln!("There are no events of {id} on these days; is it the right workspace?");
    }
    for damage in &export.left_out {
        eprintln!(
            "{} cannot be read ({}): what it had of {} rows is missing. A backup may have it: `keyrack restore FILE`",
            damage.name, damage.because, damage.rows
        );
    }
    Ok(if export.left_out.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How far it is, on stderr.
#[derive(Debug, Default)]
struct Line {
    told: Option<Instant>,
}

impl Line {
    fn tell(&mut self, progress: &Progress) {
        let is_terminal = std::io::stderr().is_terminal();
        let every = TELL_EVERY[usize::from(!is_terminal)];
        // The first line elsewhere comes only when it takes long.
        let told = *self.told.get_or_insert_with(Instant::now);
        if told.elapsed() < every {
            return;
        }
        self.told = Some(Instant::now());
        let Progress { table, day, rows, of } = progress;
        if is_terminal {
            eprint!("\r\u{1b}[K{table} of {day}: {rows} of {of} rows read");
        } else {
            eprintln!("{table} of {day}: {rows} of {of} rows read");
        }
    }

    fn clear(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\u{1b}[K");
        }
    }
}
