//! Keyrack: API-key management that you run yourself.
//!
//! This is the command tree. `serve` is the server, `mcp` the assistant's door on standard input and
//! output, `api` a client of every operation, `usage`, `events` and `analytics` ask what was decided; `root-key`,
//! `audit` and `migration` work on the database itself, `backup`, `restore` and `copy` on all that there is.

#[cfg(feature = "analytics-engine")]
mod analytics;
mod analytics_command;
mod api;
mod approvals;
mod archive;
mod assistants;
mod audit;
mod backup;
mod connections;
mod copy;
mod counters;
mod doctor;
mod durations;
mod events;
mod exit;
mod files;
mod filters;
mod handing;
mod importing;
mod instance;
mod listener;
mod mcp;
mod mcp_config;
mod migration;
mod printable;
mod remote;
mod restore;
mod root_key;
mod serve;
mod settings;
mod shown;
mod signals;
mod stdout;
mod table;
mod traces;
mod usage;

use std::borrow::Cow;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::settings::{Flags, Settings};

fn command() -> Command {
    Command::new("keyrack")
        .version(env!("CARGO_PKG_VERSION"))
        .about("API-key management that you run yourself: keys, credits, rate limits, permissions, audit")
        .after_help("Start with `keyrack serve`. It prints how to go on.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(settings::add_flags(
            Command::new("serve").about("Serves the HTTP API, and MCP beside it at /mcp"),
            Flags::Serve,
        ))
        .subcommand(mcp::command())
        .subcommand(mcp_config::command())
        .subcommand(api::command())
        .subcommand(usage::command())
        .subcommand(events::command())
        .subcommand(analytics_command::command())
        .subcommand(root_key::command())
        .subcommand(approvals::command())
        .subcommand(migration::command())
        .subcommand(audit::command())
        .subcommand(backup::command())
        .subcommand(restore::command())
        .subcommand(copy::command())
        .subcommand(settings::add_flags(
            Command::new("doctor").about(
                "Looks at settings, files, database, clock, analytics, ports and disk: what is wrong and how to mend it",
            ),
            Flags::Every,
        ))
}

fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return unparsed(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::failed(&anyhow::Error::from(error)),
    };
    let code = runtime.block_on(dispatch(&matches));
    // Waiting for the runtime would be waiting for a thread that reads standard input.
    runtime.shutdown_background();
    code
}

async fn dispatch(matches: &ArgMatches) -> ExitCode {
    let Some((name, matches)) = matches.subcommand() else { return ExitCode::from(exit::USAGE) };
    let outcome = match name {
        "api" => return api::run(matches).await,
        "analytics" => return analytics_command::run(matches).await,
        "approvals" => approvals::run(matches).await,
        "audit" => audit::run(matches).await,
        "events" => return events::run(matches).await,
        "usage" => return usage::run(matches).await,
        "backup" => backup::run(matches),
        "restore" => restore::run(matches).await,
        "copy" => copy::run(matches).await,
        "root-key" => root_key::run(matches).await,
        "migration" => migration::run(matches).await,
        "doctor" => return doctor::run(matches).await,
        _ => match Settings::read(matches) {
            Ok(settings) => with_settings(name, &settings, matches).await,
            Err(error) => return exit::misused(&error),
        },
    };
    outcome.unwrap_or_else(|error| exit::failed(&error))
}

/// The commands that all settings are for.
async fn with_settings(name: &str, settings: &Settings, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    match name {
        "serve" => serve::run(settings).await.map(|()| ExitCode::SUCCESS),
        "mcp" => mcp::run(settings).await,
        "mcp-config" => mcp_config::run(settings, matches).await,
        unknown => anyhow::bail!("{unknown} is a command that nothing runs"),
    }
}

/// Shows help, the version, or what is wrong with the command line.
fn unparsed(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    match printable::lines(&text) {
        // Arguments are quoted in it, as they came.
        Cow::Owned(text) if error.use_stderr() => {
            eprint!("{text}");
            ExitCode::from(exit::USAGE)
        }
        _ => error.exit(),
    }
}
