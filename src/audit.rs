//! `keyrack audit verify`: whether the audit log is what was written, checked offline over the database.
//!
//! What it found goes to stdout, a line per workspace; how far it is goes to stderr.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command};
use keyrack_core::audit::chain::{self, Chain, Expected, Named};
use keyrack_core::audit::heads;
use keyrack_core::store::Store;

use crate::exit;
use crate::instance::{self, told};
use crate::settings::{self, Flags, Settings, add_flags};
use crate::stdout;

const WORKSPACE: &str = "workspace";
const EXPECT: &str = "expect";
/// Entries between two lines of progress where there is no terminal.
const LINE_EVERY: u64 = 100_000;

/// The command tree below `keyrack audit`.
pub(crate) fn command() -> Command {
    let workspace = Arg::new(WORKSPACE)
        .long(WORKSPACE)
        .value_name("ID")
        .help("Check this workspace only [default: all of them]");
    let expect = Arg::new(EXPECT)
        .long(EXPECT)
        .value_name("WORKSPACE:SEQUENCE:HASH")
        .action(ArgAction::Append)
        .value_parser(kept)
        .help("A hash that was kept of an earlier check, of the server's log or of audit.getLog; may be repeated");
    let verify = Command::new("verify")
        .about("Checks that no entry of the audit log was changed, added or taken out since it was written")
        .after_help(
            "Who can write the database can write a whole new log into it, with hashes that fit. Only --expect shows \
             that: keep what this command and the server's log print as \"head\" where they cannot be changed.\n\n\
             Exit codes: 0 the log is whole, 1 it is not, 2 usage.",
        )
        .arg(workspace)
        .arg(expect);
    Command::new("audit")
        .about("Checks the audit log offline, over the database")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(add_flags(verify, Flags::Data))
}

/// A hash that somebody kept, and of which entry.
#[derive(Debug, Clone)]
struct Kept {
    workspace_id: String,
    sequence: i64,
    hash: String,
}

fn kept(text: &str) -> Result<Kept, String> {
    let read = || {
        let (workspace_id, rest) = text.trim().split_once(':')?;
        let (sequence, hash) = rest.split_once(':')?;
        let sequence = sequence.parse().ok().filter(|sequence| *sequence > 0)?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let kept = Kept { workspace_id: workspace_id.to_owned(), sequence, hash: hash.to_ascii_lowercase() };
        (is_hash && !workspace_id.is_empty()).then_some(kept)
    };
    read().ok_or_else(|| "it is of the form ws_…:12:<64 hex digits>, as `head` is printed".to_owned())
}

/// Opens the database that the settings name and checks its audit log.
///
/// # Errors
/// When the database cannot be opened or read.
pub(crate) async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let (_, matches) = matches.subcommand().context("`keyrack audit --help` lists what can be done")?;
    let settings = match Settings::read(matches) {
        Ok(settings) => settings,
        Err(error) => return Ok(exit::misused(&error)),
    };
    instance::start_log(&settings)?;
    let location = settings.get(&settings::DATABASE_URL)?;
    instance::need_database(&location)?;
    let mut expected: BTreeMap<String, Expected> = BTreeMap::new();
    for kept in matches.get_many::<Kept>(EXPECT).into_iter().flatten() {
        let of_workspace = expected.entry(kept.workspace_id.clone()).or_default();
        if of_workspace.insert(kept.sequence, kept.hash.clone()).is_some_and(|other| other != kept.hash) {
            eprintln!("error: --expect: two hashes of entry {} of {}", kept.sequence, kept.workspace_id);
            return Ok(ExitCode::from(exit::USAGE));
        }
    }
    let store = Store::open(&location).await.map_err(told)?;
    let outcome = verify(&store, matches.get_one::<String>(WORKSPACE), expected).await;
    store.close().await;
    outcome
}

/// Checks the audit logs of all workspaces, and prints a line for each: whether all are whole.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn is_whole(store: &Store) -> anyhow::Result<bool> {
    Ok(verify(store, None, BTreeMap::new()).await? == ExitCode::SUCCESS)
}

async fn verify(
    store: &Store,
    only: Option<&String>,
    mut expected: BTreeMap<String, Expected>,
) -> anyhow::Result<ExitCode> {
    let mut asked = chain::workspaces(store).await.map_err(told)?;
    let is_known = |id: &String| asked.iter().any(|workspace| workspace.workspace_id == *id);
    let unknown: Vec<Named> = expected
        .keys()
        .filter(|id| !is_known(id))
        .map(|id| Named { workspace_id: id.clone(), has_row: false })
        .collect();
    if let Some(only) = only.filter(|only| !is_known(only) && !expected.contains_key(*only)) {
        eprintln!("error: --workspace: there is no workspace {only}");
        return Ok(ExitCode::from(exit::USAGE));
    }
    asked.extend(unknown);
    asked.retain(|workspace| only.is_none_or(|only| *only == workspace.workspace_id));
    if asked.is_empty() && chain::was_set_up(store).await.map_err(told)? {
        stdout::print("BROKEN: the database was set up, and has neither a workspace nor an entry")?;
        return Ok(ExitCode::FAILURE);
    }
    let mut is_whole = true;
    for workspace in &asked {
        let id = &workspace.workspace_id;
        let kept = expected.remove(id).unwrap_or_default();
        let found = chain::verify(store, workspace, kept, |entries| progress(id, entries)).await;
        clear_progress();
        let found = match found {
            Ok(found) => found,
            // What is wrong with one log says nothing of the others.
            Err(error) => {
                is_whole = false;
                stdout::print(&format!("{id}: NOT CHECKED: {:#}", told(error)))?;
                continue;
            }
        };
        is_whole &= found.broken.is_none();
        stdout::print(&finding(id, &found))?;
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn finding(id: &str, found: &Chain) -> String {
    if let Some(broken) = &found.broken {
        let entry = broken.found.as_ref().map_or_else(String::new, |entry| {
            format!(" ({}, {}, {})", entry.id, entry.event, entry.time.rfc3339())
        });
        return format!(
            "{id}: BROKEN at entry {}{entry}: {}; {} before it are whole",
            broken.sequence, broken.reason, found.entries
        );
    }
    let removed = found.anchor.as_ref().map_or(0, |(sequence, _)| *sequence);
    let cut = if removed > 0 { format!(", 1 to {removed} removed by retention") } else { String::new() };
    let head = found.last.as_ref().map_or_else(String::new, |last| heads::text(id, last));
    match &found.last {
        Some((last, _)) if *last > removed => {
            format!("{id}: whole, entries {} to {last}{cut}; head {head}", removed + 1)
        }
        _ => format!("{id}: whole, no entries{cut}; head {head}"),
    }
}

fn progress(id: &str, entries: u64) {
    if std::io::stderr().is_terminal() {
        eprint!("\r{id}: {entries} entries checked");
    } else if entries.is_multiple_of(LINE_EVERY) {
        eprintln!("{id}: {entries} entries checked");
    }
}

fn clear_progress() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\u{1b}[K");
    }
}
