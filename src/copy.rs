//! `keyrack copy --to URL`: everything of a database into another, of the same engine or the other one.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::{Arg, ArgMatches, Command};
use keyrack_core::store::{Location, Store, transfer};

use crate::exit;
use crate::instance::{self, told};
use crate::settings::{self, Flags, Settings, add_flags};
use crate::{audit, stdout};

const TO: &str = "to";
/// Rows between two lines of progress where there is no terminal.
const LINE_EVERY: u64 = 1_000_000;

/// The command and its flags.
pub(crate) fn command() -> Command {
    let to = Arg::new(TO)
        .long(TO)
        .value_name("URL")
        .required(true)
        .help("The database to fill, which must be empty: `sqlite://PATH` or `postgres://USER@HOST/NAME`");
    add_flags(Command::new("copy"), Flags::Data)
        .about("Copies the database into another one, from SQLite to PostgreSQL or back")
        .after_help(
            "Stop the servers first: what they change after the copy began is not in it. A SQLite file that is open \
             elsewhere is refused; of PostgreSQL nothing tells, so see to it yourself. All of the database arrives, or \
             nothing; its audit log is checked where it arrived. Then start the servers with KEYRACK_DATABASE_URL set to \
             the new one. Root-key file, events and counters stay in the data folder, which goes on being used.\n\n\
             Exit codes: 0 everything arrived, 1 it did not, 2 usage.",
        )
        .arg(to)
}

/// Copies the database that the settings name.
///
/// # Errors
/// When one of the databases cannot be opened, read or written, or the target is not empty.
pub(crate) async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = match Settings::read(matches) {
        Ok(settings) => settings,
        Err(error) => return Ok(exit::misused(&error)),
    };
    let to = matches.get_one::<String>(TO).context("--to is missing")?;
    let (from, to) = match (settings.get(&settings::DATABASE_URL)?, Location::parse(to)) {
        (from, Ok(to)) if from != to => (from, to),
        (_, Ok(_)) => return Ok(exit::misused(&anyhow::anyhow!("--to: that is the database to copy"))),
        (_, Err(reason)) => return Ok(exit::misused(&anyhow::anyhow!("--to: {reason}"))),
    };
    instance::start_log(&settings)?;
    instance::need_database(&from)?;
    let source = Store::open_alone(&from).await.map_err(told)?;
    let target = Store::open_alone(&to).await.map_err(told)?;
    for location in [&from, &to] {
        if let Location::Postgres(_) = location {
            eprintln!("Nothing tells whether a server runs on {}: see that none does.", location.label());
        }
    }
    let outcome = copy(&source, &target, &to).await;
    source.close().await;
    target.close().await;
    outcome
}

async fn copy(source: &Store, target: &Store, to: &Location) -> anyhow::Result<ExitCode> {
    let copied = transfer::copy(source, target, progress).await;
    clear_progress();
    let rows = copied.map_err(told)?;
    let verified = audit::is_whole(target).await?;
    ensure!(verified, "the audit log is not whole in {}; is it in the source?", to.label());
    stdout::print(&format!("{rows} rows are in {}", to.label()))?;
    Ok(ExitCode::SUCCESS)
}

fn progress(table: &str, rows: u64) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\u{1b}[K{table}: {rows} rows copied");
    } else if rows > 0 && rows.is_multiple_of(LINE_EVERY) {
        eprintln!("{table}: {rows} rows copied");
    }
}

fn clear_progress() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\u{1b}[K");
    }
}
