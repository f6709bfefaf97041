//! `keyrack mcp`: the assistant's door on standard input and output, over this machine's own database.
//!
//! Several of these may share one SQLite file, and with `keyrack serve`; each follows the others' changes.
//! Standard output belongs to the protocol. People read standard error, whose first line says where this
//! process works and what it may do.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use keyrack_core::caller::{Origin, Via};
use keyrack_core::keys::secret::Secret;
use keyrack_core::{Error, Keyrack};
use keyrack_mcp_server::stdio::{self, ServeError, StdioSettings};
use keyrack_mcp_server::{Policy, View, Wish, Wishes};
use tokio_util::sync::CancellationToken;

use crate::assistants;
use crate::exit;
use crate::instance;
use crate::printable;
use crate::settings::{self, Setting, Settings};
use crate::signals::StopSignals;

/// The settings that say what assistants see.
static WISHES: [(Wish, &Setting<Option<String>>); 6] = [
    (Wish::Toolsets, &settings::MCP_TOOLSETS),
    (Wish::Tools, &settings::MCP_TOOLS),
    (Wish::ExcludeTools, &settings::MCP_EXCLUDE_TOOLS),
    (Wish::ReadOnly, &settings::MCP_READ_ONLY),
    (Wish::Api, &settings::MCP_API),
    (Wish::View, &settings::MCP_VIEW),
];

/// No root key, or one that may not be used: what is missing is in the client's settings.
const NO_ROOT_KEY: u8 = 2;

/// Serves one assistant until standard input ends, SIGTERM or Ctrl-C.
///
/// # Errors
/// When a setting makes no sense, the database cannot be opened, or the client does not speak MCP.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    if let Some(refusal) = settings.named_server().map(elsewhere) {
        eprintln!("error: {}", printable::line(&refusal));
        return Ok(ExitCode::from(exit::USAGE));
    }
    let wishes = wishes(settings)?;
    let policy = policy(settings, Wishes::default(), &base(settings)?)?;
    let instance = instance::open(settings).await?;
    let root_key = match root_key(settings) {
        Ok(root_key) => root_key,
        Err(error) => return Ok(refused(&format!("{error:#}."))),
    };
    let introduction = match introduction(&instance.keyrack, &root_key, &wishes) {
        Ok(introduction) => {
            format!("keyrack mcp: {}; {introduction}", settings.get(&settings::DATABASE_URL)?.label())
        }
        Err(error) => return Ok(refused(error.detail())),
    };
    let is_json = settings.get(&settings::LOG_AS_JSON)?;
    if !is_json {
        eprintln!("{}", printable::line(&introduction));
    }
    let traces = instance::start_log_and_traces(settings)?;
    if is_json {
        tracing::info!("{introduction}");
    }
    instance::start_background_work(settings, &instance.keyrack)?;
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(StopSignals::new()?, shutdown.clone()));
    let settings = StdioSettings { policy, wishes, shutdown };
    let outcome = stdio::serve(instance.keyrack.clone(), assistants::catalogue(), root_key, settings).await;
    instance.keyrack.close().await;
    if let Some(traces) = traces {
        traces.flush().await;
    }
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(ServeError::Rejected(error)) => Ok(refused(error.detail())),
        Err(error) => Err(error.into()),
    }
}

/// What the settings say that assistants see.
///
/// # Errors
/// When a setting makes no sense.
pub(crate) fn wishes(settings: &Settings) -> anyhow::Result<Wishes> {
    let mut wishes = Wishes::default();
    for (wish, setting) in WISHES {
        if let Some(text) = settings.get(setting)? {
            wishes.add(wish, &text, &assistants::catalogue()).map_err(anyhow::Error::msg)?;
        }
    }
    Ok(wishes)
}

/// What the settings say of tools, for a server of many; these wishes are as much as anybody sees. Clients reach the HTTP
/// API at `base`.
///
/// # Errors
/// When a setting makes no sense.
pub(crate) fn policy(settings: &Settings, ceiling: Wishes, base: &str) -> anyhow::Result<Policy> {
    Ok(Policy {
        calls_per_minute: settings.get(&settings::MCP_CALLS_PER_MINUTE)?,
        ceiling: Arc::new(ceiling),
        confirm: settings.get(&settings::MCP_CONFIRM)?,
        prompts: settings.get(&settings::MCP_PROMPTS)?,
        documents: assistants::documents(base),
    })
}

/// Where a server with these settings is reached, for the documentation that names it: none runs in this process.
fn base(settings: &Settings) -> anyhow::Result<String> {
    let listen = settings.get(&settings::LISTEN)?;
    Ok(settings.get(&settings::PUBLIC_URL)?.unwrap_or_else(|| format!("http://{listen}")))
}

/// Whoever names a server means that one, and would act on this machine's database instead.
fn elsewhere(source: &str) -> String {
    if source == settings::URL.facts().variable() {
        return "KEYRACK_URL is set, and `keyrack mcp` cannot act on a server yet: it opens this machine's database. \
                Unset it, or connect the assistant to the server's own /mcp."
            .to_owned();
    }
    format!(
        "{source} names a server, and `keyrack mcp` cannot act on a server yet: it opens this machine's database. Choose \
         no profile or one without a url, or connect the assistant to the server's own /mcp: `keyrack mcp-config CLIENT \
         --http URL` prints how, with `npx mcp-remote` where a client needs a program."
    )
}

/// The root key that was given, else that of this machine.
fn root_key(settings: &Settings) -> anyhow::Result<Secret> {
    if let Some(root_key) = settings.get(&settings::ROOT_KEY)? {
        return Ok(root_key);
    }
    instance::own_root_key(settings).context("there is no root key")
}

/// Where the root key works and what it sees.
fn introduction(keyrack: &Keyrack, root_key: &Secret, wishes: &Wishes) -> Result<String, Error> {
    let caller = keyrack.authenticate(root_key.expose(), Origin::local(Via::Mcp))?;
    let workspace = keyrack.resident().workspace(caller.workspace_id());
    let name = workspace.map(|workspace| workspace.name.clone()).unwrap_or_default();
    let (catalogue, view) = (assistants::catalogue(), View::wished(wishes.clone()));
    let offers = catalogue.offers();
    let seen = offers.iter().filter(|offer| view.shows(offer, caller.principal())).count();
    let (workspace_id, key_id) = (caller.workspace_id(), caller.principal().id());
    Ok(format!("workspace {name} ({workspace_id}); root key {key_id} sees {seen} of {} tools", offers.len()))
}

fn refused(reason: &str) -> ExitCode {
    let reason = printable::line(reason);
    eprintln!("error: {reason} Set KEYRACK_ROOT_KEY or --root-key-file to a root key of this database.");
    ExitCode::from(NO_ROOT_KEY)
}

async fn stop_on_signal(mut signals: StopSignals, shutdown: CancellationToken) {
    signals.next().await;
    shutdown.cancel();
}
