//! Keyrack: API-key management that you run yourself.
//!
//! This is the command tree. `serve` is the server, `mcp` the assistant's door on standard input and
//! output, `api` a client of every operation.

mod instance;
mod mcp;
mod serve;
mod settings;

use std::process::ExitCode;

use clap::Command;

use crate::settings::{Flags, Settings};

/// A misuse of the command line, or settings that make no sense.
const USAGE: u8 = 2;

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
        .subcommand(settings::add_flags(
            Command::new("mcp")
                .about("Serves an assistant over standard input and output, with this machine's database"),
            Flags::Mcp,
        ))
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::from(error)),
    };
    let code = runtime.block_on(async {
        let outcome = match matches.subcommand() {
            Some(("serve", matches)) => match Settings::read(matches) {
                Ok(settings) => serve::run(&settings).await.map(|()| ExitCode::SUCCESS),
                Err(error) => return misused(&error),
            },
            Some(("mcp", matches)) => match Settings::read(matches) {
                Ok(settings) => mcp::run(&settings).await,
                Err(error) => return misused(&error),
            },
            _ => Ok(ExitCode::SUCCESS),
        };
        outcome.unwrap_or_else(|error| failed(&error))
    });
    // Waiting for the runtime would be waiting for a thread that reads standard input.
    runtime.shutdown_background();
    code
}

fn misused(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(USAGE)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
