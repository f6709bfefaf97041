//! `keyrack migration create` and `list`: where keys are imported from, made offline by whoever may write
//! the database. `import` sends the keys of a file to a running server; see `importing`.
//!
//! A running server on the same database knows a new migration within a second. Only ids and lines of the
//! list go to stdout; the words go to stderr.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use keyrack_core::Keyrack;
use keyrack_core::keys::imported::Algorithm;
use keyrack_core::setup;

use crate::exit;
use crate::instance::{self, told};
use crate::settings::{self, Flags, Settings, add_flags};
use crate::stdout;

/// The command tree below `keyrack migration`.
pub(crate) fn command() -> Command {
    let algorithm = Arg::new("algorithm")
        .long("algorithm")
        .value_name("NAME")
        .required(true)
        .value_parser(PossibleValuesParser::new(Algorithm::ALL.map(Algorithm::name)))
        .help("How the keys that will be imported are hashed");
    let workspace = Arg::new("workspace")
        .long("workspace")
        .value_name("ID")
        .help("The workspace that they belong to [default: the oldest]");
    let create = Command::new("create")
        .about("Prints the id that keys.migrateKeys asks for, and verifications of keys not used yet")
        .arg(algorithm)
        .arg(workspace);
    let list = Command::new("list").about("Shows all migrations: id, workspace, algorithm, time");
    Command::new("migration")
        .about(
            "Imports keys that were issued elsewhere: `create` prepares it, over the database; `import` does it",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(add_flags(create, Flags::Data))
        .subcommand(add_flags(list, Flags::Data))
        .subcommand(crate::importing::command())
}

/// Opens the database that the settings name and runs the command that was asked for.
///
/// # Errors
/// When the database cannot be opened or written.
pub(crate) async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let (name, matches) = matches.subcommand().context("`keyrack migration --help` lists what can be done")?;
    if name == "import" {
        return Ok(crate::importing::run(matches).await);
    }
    let settings = match Settings::read(matches) {
        Ok(settings) => settings,
        Err(error) => return Ok(exit::misused(&error)),
    };
    instance::start_log(&settings)?;
    instance::need_database(&settings.get(&settings::DATABASE_URL)?)?;
    let instance = instance::open(&settings).await?;
    let outcome = match name {
        "create" => create(&instance.keyrack, matches).await,
        _ => list(&instance.keyrack).await,
    };
    instance.keyrack.store().close().await;
    outcome
}

async fn create(keyrack: &Keyrack, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let name = matches.get_one::<String>("algorithm").context("--algorithm is missing")?;
    let algorithm = Algorithm::named(name).context("--algorithm is unknown")?;
    let workspace_id = match matches.get_one::<String>("workspace") {
        Some(id) => id.clone(),
        None => setup::default_workspace(keyrack).await.map_err(told)?,
    };
    if keyrack.resident().workspace(&workspace_id).is_none() {
        eprintln!("error: --workspace: there is no workspace {workspace_id}");
        return Ok(ExitCode::from(exit::USAGE));
    }
    let id = setup::create_key_migration(keyrack, &workspace_id, algorithm).await.map_err(told)?;
    stdout::print(&id)?;
    eprintln!("Migration {id} of workspace {workspace_id}: send it as migrationId with the hashes of your keys,");
    eprintln!("{}.", form(algorithm));
    Ok(ExitCode::SUCCESS)
}

fn form(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Sha256 => {
            "which are the SHA-256 of each whole key as base64 or 64 hex digits. Such keys verify at once"
        }
        Algorithm::PrefixedApiKey => {
            "which are the lower-case hex SHA-256 of each long token, and with every verification until all \
             keys were used once"
        }
    }
}

async fn list(keyrack: &Keyrack) -> anyhow::Result<ExitCode> {
    let migrations = setup::key_migrations(keyrack).await.map_err(told)?;
    if migrations.is_empty() {
        eprintln!("There are no migrations. `keyrack migration create` makes one.");
    }
    for migration in migrations {
        let created = migration.created_at.rfc3339();
        let line = format!("{}  {}  {}  {created}", migration.id, migration.workspace_id, migration.algorithm);
        stdout::print(&line)?;
    }
    Ok(ExitCode::SUCCESS)
}
