//! `keyrack analytics`: SQL over what was decided, asked of a server, and a workspace's events as files for other tools.

#[cfg(feature = "analytics-engine")]
mod export;
mod sql;
#[cfg(not(feature = "analytics-engine"))]
mod without_export;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::exit;
#[cfg(not(feature = "analytics-engine"))]
use without_export as export;

/// The command tree below `keyrack analytics`.
pub(crate) fn command() -> Command {
    Command::new("analytics")
        .about("Asks a server about verifications and rate limits with SQL, and exports events as Parquet")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(sql::command())
        .subcommand(export::command())
}

/// Runs the command that was asked for.
pub(crate) async fn run(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("sql", matches)) => sql::run(matches).await,
        Some((_, matches)) => export::run(matches).await.unwrap_or_else(|error| exit::failed(&error)),
        None => ExitCode::from(exit::USAGE),
    }
}
