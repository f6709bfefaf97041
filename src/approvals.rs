//! `keyrack approvals list`, `approve` and `refuse`: what assistants wait for where `KEYRACK_MCP_CONFIRM` is `held`.
//!
//! Whoever may write the database decides, at a terminal that no assistant has. Names in a question were written by
//! anybody, so it is printed as data.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Arg, ArgMatches, Command};
use keyrack_core::Keyrack;
use keyrack_core::confirmations;
use keyrack_core::store::confirmations::Confirmation;

use crate::exit;
use crate::instance::{self, told};
use crate::printable;
use crate::settings::{self, Flags, Settings, add_flags};
use crate::stdout;

/// The command tree below `keyrack approvals`.
pub(crate) fn command() -> Command {
    let id =
        || Arg::new("id").required(true).value_name("ID").help("The approval, such as appr_…; `list` shows them");
    let list =
        Command::new("list").about("Shows what assistants wait for, and what was decided within the last day");
    let approve = Command::new("approve")
        .about("Agrees to one call: the assistant, or its user, has to make it once more, within a day")
        .arg(id());
    let refuse = Command::new("refuse").about("Does not agree to a call").arg(id());
    Command::new("approvals")
        .about(
            "Decides about calls of assistants that destroy or hand out power, where the operator has them held",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(add_flags(list, Flags::Data))
        .subcommand(add_flags(approve, Flags::Data))
        .subcommand(add_flags(refuse, Flags::Data))
}

/// Opens the database that the settings name and runs the command that was asked for.
///
/// # Errors
/// When the database cannot be opened or written.
pub(crate) async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let (name, matches) = matches.subcommand().context("`keyrack approvals --help` lists what can be done")?;
    let settings = match Settings::read(matches) {
        Ok(settings) => settings,
        Err(error) => return Ok(exit::misused(&error)),
    };
    instance::start_log(&settings)?;
    instance::need_database(&settings.get(&settings::DATABASE_URL)?)?;
    let instance = instance::open(&settings).await?;
    let outcome = match matches.try_get_one::<String>("id").ok().flatten() {
        Some(id) => decide(&instance.keyrack, id, name == "approve").await,
        None => list(&instance.keyrack).await,
    };
    instance.keyrack.store().close().await;
    outcome
}

async fn list(keyrack: &Keyrack) -> anyhow::Result<ExitCode> {
    let approvals = confirmations::approvals(keyrack).await.map_err(told)?;
    if approvals.is_empty() {
        eprintln!("No assistant waits for anything.");
    }
    for approval in &approvals {
        stdout::print(&lines(approval))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn decide(keyrack: &Keyrack, id: &str, is_approved: bool) -> anyhow::Result<ExitCode> {
    match confirmations::decide(keyrack, id, is_approved).await.map_err(told)? {
        Some(decided) => {
            stdout::print(&lines(&decided))?;
            if is_approved {
                eprintln!("Approved, for one call. Whoever asked has to make it once more, within a day.");
            } else {
                eprintln!("Refused.");
            }
            Ok(ExitCode::SUCCESS)
        }
        None => {
            let id = printable::line(id);
            eprintln!("error: no call waits under {id}; `keyrack approvals list` shows those that do");
            Ok(ExitCode::from(exit::USAGE))
        }
    }
}

/// An approval: on its first line who asks for what, and below it what will happen to what.
fn lines(approval: &Confirmation) -> String {
    let Confirmation { id, workspace_id, root_key_id, operation, state, created_at, .. } = approval;
    let asked = created_at.rfc3339();
    let head =
        format!("{id}  {}  {operation}  workspace {workspace_id}  root key {root_key_id}  {asked}", state.name());
    let question = approval.question.as_deref().unwrap_or_default();
    let below = question.lines().map(|line| format!("    {}", printable::line(line)));
    std::iter::once(head).chain(below).collect::<Vec<_>>().join("\n")
}
