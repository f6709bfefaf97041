//! `keyrack audit verify`: whether the audit log is what was written, checked offline over the database.
//!
//! What it found goes to stdout, a line per workspace; how far it is goes to stderr.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Arg, ArgMatches, Command};
use keyrack_core::Keyrack;
use keyrack_core::audit::chain::{self, Chain};
use keyrack_core::clock::{Clock, rfc3339};
use keyrack_core::store::workspaces::{self, Workspace};
use keyrack_core::store::{Location, Store};

use crate::instance::{self, told};
use crate::settings::{Flags, Settings, add_flags};
use crate::stdout;

const WORKSPACE: &str = "workspace";
/// Entries between two lines of progress where there is no terminal.
const LINE_EVERY: u64 = 100_000;

/// The command tree below `keyrack audit`.
pub(crate) fn command() -> Command {
    let workspace = Arg::new(WORKSPACE)
        .long(WORKSPACE)
        .value_name("ID")
        .help("Check this workspace only [default: all of them]");
    let verify = Command::new("verify")
        .about("Checks that no entry of the audit log was changed, added or taken out since it was written")
        .after_help("Exit codes: 0 the log is whole, 1 it is not, 2 usage.")
        .arg(workspace);
    Command::new("audit")
        .about("Checks the audit log offline, over the database")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(add_flags(verify, Flags::Data))
}

/// Opens the database that the settings name and checks its audit log.
///
/// # Errors
/// When the database cannot be opened or read.
pub(crate) async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let (_, matches) = matches.subcommand().context("`keyrack audit --help` lists what can be done")?;
    let settings = match Settings::read(matches) {
        Ok(settings) => settings,
        Err(error) => return Ok(crate::misused(&error)),
    };
    instance::start_log(&settings)?;
    let location = settings.database()?;
    if let Location::Sqlite(path) = &location
        && !path.exists()
    {
        bail!("there is no database at {}", path.display());
    }
    let keyrack = Keyrack::open(&location, Clock::system()).await.map_err(told)?;
    let outcome = verify(keyrack.store(), matches.get_one::<String>(WORKSPACE).map(String::as_str)).await;
    keyrack.store().close().await;
    outcome
}

async fn verify(store: &Store, only: Option<&str>) -> anyhow::Result<ExitCode> {
    let mut asked = workspaces::all(&mut *store.read().await.map_err(told)?).await.map_err(told)?;
    asked.retain(|workspace| only.is_none_or(|only| only == workspace.id));
    if let Some(only) = only.filter(|_| asked.is_empty()) {
        eprintln!("error: --workspace: there is no workspace {only}");
        return Ok(ExitCode::from(crate::USAGE));
    }
    let mut is_whole = true;
    for workspace in &asked {
        let found = chain::verify(store, &workspace.id, |entries| progress(workspace, entries)).await;
        clear_progress();
        let found = found.map_err(told)?;
        is_whole &= found.broken.is_none();
        stdout::print(&finding(workspace, &found))?;
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn finding(workspace: &Workspace, found: &Chain) -> String {
    let id = &workspace.id;
    if let Some(broken) = &found.broken {
        return format!(
            "{id}: BROKEN at entry {} ({}, {}, {}): {}; {} before it are whole",
            broken.sequence,
            broken.id,
            broken.event,
            rfc3339(broken.time),
            broken.reason,
            found.entries
        );
    }
    let removed = found.anchor.as_ref().map_or(0, |(sequence, _)| *sequence);
    let cut = if removed > 0 { format!(", 1 to {removed} removed by retention") } else { String::new() };
    match &found.last {
        Some((last, hash)) if *last > removed => {
            format!("{id}: whole, entries {} to {last}{cut}; last hash {hash}", removed + 1)
        }
        Some((_, hash)) => format!("{id}: whole, no entries{cut}; last hash {hash}"),
        None => format!("{id}: whole, no entries"),
    }
}

fn progress(workspace: &Workspace, entries: u64) {
    if std::io::stderr().is_terminal() {
        eprint!("\r{}: {entries} entries checked", workspace.id);
    } else if entries.is_multiple_of(LINE_EVERY) {
        eprintln!("{}: {entries} entries checked", workspace.id);
    }
}

fn clear_progress() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\u{1b}[K");
    }
}
