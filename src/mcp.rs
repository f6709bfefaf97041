//! `keyrack mcp`: the assistant's door on standard input and output, over this machine's own database, or over a server
//! elsewhere where somebody names one.
//!
//! Several of these may share one SQLite file, and with `keyrack serve`; each follows the others' changes.
//! Standard output belongs to the protocol. People read standard error, whose first line says where this
//! process works and what it may do.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Command;
use keyrack_core::keys::secret::Secret;
use keyrack_mcp_server::stdio::{self, ServeError};
use keyrack_mcp_server::{Catalogue, KeyrackMcp, Policy, Secrets, Wish, Wishes};
use tokio_util::sync::CancellationToken;

use crate::assistants;
use crate::handing;
use crate::instance;
use crate::printable;
use crate::remote::Remote;
use crate::settings::{self, Flags, RootKeyFor, Setting, Settings};
use crate::signals::StopSignals;
use crate::traces;

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
/// What to do then.
const THIS_DATABASE: &str = "Set KEYRACK_ROOT_KEY or --root-key-file to a root key of this database.";
const THAT_SERVER: &str =
    "Set KEYRACK_ROOT_KEY or --root-key-file to a root key of that server, and --url to its address.";

/// The command `keyrack mcp`.
pub(crate) fn command() -> Command {
    let about =
        "Serves an assistant over standard input and output, with this machine's database or a server's API";
    settings::add_flags(Command::new("mcp").about(about), Flags::Mcp).mut_arg("url", |url| {
        url.help("A server elsewhere that does the work, instead of this machine's database [env: KEYRACK_URL]")
    })
}

/// Serves one assistant until standard input ends, SIGTERM or Ctrl-C.
///
/// # Errors
/// When a setting makes no sense, the database cannot be opened, or the client does not speak MCP.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let wishes = wishes(settings)?;
    let policy = policy(settings, Wishes::default(), handing::secrets_of_stdio(settings)?, &base(settings)?)?;
    let catalogue = catalogue(settings)?;
    if settings.named_server().is_some() {
        return elsewhere(settings, catalogue, policy, wishes).await;
    }
    let instance = instance::open(settings).await?;
    let root_key = match root_key(settings) {
        Ok(root_key) => root_key,
        Err(error) => return Ok(refused(&format!("{error:#}."), THIS_DATABASE)),
    };
    let mcp = KeyrackMcp::for_root_key(instance.keyrack.clone(), catalogue, policy, root_key, wishes);
    let mcp = mcp.map_err(anyhow::Error::msg)?;
    let place = settings.get(&settings::DATABASE_URL)?.label();
    let begin = || instance::start_background_work(settings, &instance.keyrack);
    let outcome = serve(settings, mcp, (&place, THIS_DATABASE), begin).await;
    instance.keyrack.close().await;
    outcome
}

/// Serves one assistant whose tools a server elsewhere does the work of.
async fn elsewhere(
    settings: &Settings,
    catalogue: Arc<Catalogue>,
    policy: Policy,
    wishes: Wishes,
) -> anyhow::Result<ExitCode> {
    let base = settings.get(&settings::URL)?;
    let root_key = match settings.root_key_for(&base) {
        Err(error) => return Ok(refused(&format!("{error:#}."), THAT_SERVER)),
        Ok(RootKeyFor::Given(root_key)) => root_key,
        Ok(RootKeyFor::Own) => match instance::own_root_key(settings) {
            Ok(root_key) => root_key,
            Err(error) => return Ok(refused(&format!("{error:#}."), THAT_SERVER)),
        },
        Ok(RootKeyFor::None(why)) => {
            return Ok(refused(&format!("There is no root key to call {base} with: {why}."), THAT_SERVER));
        }
    };
    let remote = Remote::of_assistant(base.clone(), &root_key)?;
    let mcp = KeyrackMcp::for_server(Arc::new(remote), catalogue, policy, root_key, wishes);
    let mcp = mcp.map_err(anyhow::Error::msg)?;
    serve(settings, mcp, (base.as_str().trim_end_matches('/'), THAT_SERVER), || Ok(())).await
}

/// Serves once the root key is known to work at this place.
async fn serve(
    settings: &Settings,
    mcp: KeyrackMcp,
    (place, mend): (&str, &str),
    begin: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let introduction = match mcp.summary().await {
        Ok(summary) => format!("keyrack mcp: {place}; {summary}"),
        Err(error) => return Ok(refused(error.detail(), mend)),
    };
    let is_json = settings.get(&settings::LOG_AS_JSON)?;
    if !is_json {
        eprintln!("{}", printable::line(&introduction));
    }
    let traces = instance::start_log_and_traces(settings)?;
    if is_json {
        tracing::info!("{introduction}");
    }
    begin()?;
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(StopSignals::new()?, shutdown.clone()));
    let outcome = stdio::serve(mcp, shutdown).await;
    if let Some(traces) = traces {
        traces.flush().await;
    }
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(ServeError::Rejected(error)) => Ok(refused(error.detail(), mend)),
        Err(error) => Err(error.into()),
    }
}

/// The tools of this program as the operator allows them and has them described.
///
/// # Errors
/// When a setting makes no sense.
pub(crate) fn catalogue(settings: &Settings) -> anyhow::Result<Arc<Catalogue>> {
    let decrypts = settings.get(&settings::MCP_ALLOW_DECRYPT)?;
    let Some(texts) = settings.get(&settings::MCP_TEXTS)? else {
        return Ok(if decrypts { Arc::new(Catalogue::with_decrypt()) } else { assistants::catalogue() });
    };
    let offered = if decrypts { Catalogue::with_decrypt() } else { Catalogue::new() };
    Ok(Arc::new(offered.with_texts(&texts).map_err(anyhow::Error::msg)?))
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
pub(crate) fn policy(
    settings: &Settings,
    ceiling: Wishes,
    secrets: Secrets,
    base: &str,
) -> anyhow::Result<Policy> {
    Ok(Policy {
        calls_per_minute: settings.get(&settings::MCP_CALLS_PER_MINUTE)?,
        ceiling: Arc::new(ceiling),
        confirm: settings.get(&settings::MCP_CONFIRM)?,
        secrets,
        prompts: settings.get(&settings::MCP_PROMPTS)?,
        documents: assistants::documents(base),
        follow: Some(traces::follow),
    })
}

/// Where the server is reached that documentation names: the one that does the work, or the one that would run with these
/// settings.
fn base(settings: &Settings) -> anyhow::Result<String> {
    if settings.named_server().is_some() {
        return Ok(settings.get(&settings::URL)?.to_string());
    }
    let listen = settings.get(&settings::LISTEN)?;
    Ok(settings.get(&settings::PUBLIC_URL)?.unwrap_or_else(|| format!("http://{listen}")))
}

/// The root key that was given, else that of this machine.
fn root_key(settings: &Settings) -> anyhow::Result<Secret> {
    if let Some(root_key) = settings.get(&settings::ROOT_KEY)? {
        return Ok(root_key);
    }
    instance::own_root_key(settings).context("there is no root key")
}

fn refused(reason: &str, mend: &str) -> ExitCode {
    let reason = printable::line(reason);
    eprintln!("error: {reason} {mend}");
    ExitCode::from(NO_ROOT_KEY)
}

async fn stop_on_signal(mut signals: StopSignals, shutdown: CancellationToken) {
    signals.next().await;
    shutdown.cancel();
}
