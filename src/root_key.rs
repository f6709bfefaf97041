//! `keyrack root-key create`: a root key made offline, by whoever may write the database.
//!
//! A running server on the same database accepts it at once. Only the secret goes to stdout, so
//! `keyrack root-key create > file` keeps it; the words go to stderr.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command, FromArgMatches as _};
use keyrack_core::Keyrack;
use keyrack_core::operations::grantable;
use keyrack_core::root_keys::NewRootKey;
use keyrack_core::setup;

use crate::durations::milliseconds;
use crate::exit;
use crate::instance::{self, told};
use crate::settings::{Flags, Settings, add_flags};
use crate::stdout;

/// What the new root key is to be.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// A name for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// What it may do, such as `api.*.verify_key`; repeat it for several [default: everything, as an operator]
    #[arg(long = "permission", value_name = "PERMISSION")]
    permissions: Vec<String>,
    /// The workspace it works in [default: the oldest]
    #[arg(long, value_name = "ID")]
    workspace: Option<String>,
    /// How long it is valid, such as 12h or 30d [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
    expires_in: Option<i64>,
}

/// The command tree below `keyrack root-key`.
pub(crate) fn command() -> Command {
    let create = CreateArgs::augment_args(Command::new("create")).about(
        "Makes a root key without a server: prints it on standard output, once, and everything else on stderr",
    );
    Command::new("root-key")
        .about("Makes root keys offline, over the database")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(add_flags(create, Flags::Data))
}

/// Opens the database that the settings name and runs the command that was asked for.
///
/// # Errors
/// When the database cannot be opened or written.
pub(crate) async fn run(matches: &clap::ArgMatches) -> anyhow::Result<ExitCode> {
    let (_, matches) = matches.subcommand().context("`keyrack root-key --help` lists what can be done")?;
    let args = CreateArgs::from_arg_matches(matches)?;
    let settings = match Settings::read(matches) {
        Ok(settings) => settings,
        Err(error) => return Ok(exit::misused(&error)),
    };
    instance::start_log(&settings)?;
    let instance = instance::open(&settings).await?;
    instance.say_first_start();
    let outcome = create(&instance.keyrack, args).await;
    instance.keyrack.store().close().await;
    outcome
}

/// Makes the root key and prints it.
///
/// # Errors
/// When the store does not answer, or standard output cannot be written.
pub(crate) async fn create(keyrack: &Keyrack, args: CreateArgs) -> anyhow::Result<ExitCode> {
    let workspace_id = match args.workspace {
        Some(id) => id,
        None => setup::default_workspace(keyrack).await.map_err(told)?,
    };
    if keyrack.resident().workspace(&workspace_id).is_none() {
        eprintln!("error: --workspace: there is no workspace {workspace_id}");
        return Ok(ExitCode::from(exit::USAGE));
    }
    let faults = faults(&workspace_id, &args.permissions);
    if !faults.is_empty() {
        eprintln!("error: {}", faults.join("\n"));
        return Ok(ExitCode::from(exit::USAGE));
    }
    let operator = args.permissions.is_empty();
    let permissions = if operator { vec!["*".to_owned()] } else { args.permissions };
    let expires_at = args.expires_in.map(|duration| keyrack.clock().now().plus(duration));
    let may = permissions.join(", ");
    let new = NewRootKey { name: args.name, permissions, operator, expires_at };
    let (id, secret) = setup::create_root_key(keyrack, &workspace_id, new).await.map_err(told)?;
    stdout::print(secret.expose()).with_context(|| format!("root key {id} was made and cannot be shown"))?;
    let role = if operator { "an operator, may do everything" } else { "may do" };
    eprintln!("Root key {id} of workspace {workspace_id}; {role}: {may}.");
    if let Some(expires_at) = expires_at {
        eprintln!("It expires at {}.", expires_at.rfc3339());
    }
    eprintln!("Keep it now: it is shown this once and stored nowhere.");
    Ok(ExitCode::SUCCESS)
}

fn faults(workspace_id: &str, permissions: &[String]) -> Vec<String> {
    let fault = |permission: &String| {
        let unknown = grantable().validate(workspace_id, permission).err()?;
        Some(format!("--permission `{permission}` {}\n  fix: {}", unknown.message, unknown.fix))
    };
    permissions.iter().filter_map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unknown_permission_is_named_with_a_fix() {
        let asked = ["api.*.verify_key", "api.*.fly", "*", "nonsense"].map(str::to_owned);
        let faults = faults("ws_1", &asked);
        assert_eq!(faults.len(), 2);
        assert!(faults[0].contains("`api.*.fly`") && faults[0].contains("verify_key"), "{faults:?}");
    }
}
