//! `keyrack serve`: the HTTP API and MCP on one listener; start, signals, drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use keyrack_core::health::Reason;
use keyrack_core::keyrack::Keyrack;
use keyrack_core::setup;
use keyrack_http_api::connections::ConnectionCounts;
use keyrack_http_api::guard::Guard;
use keyrack_http_api::metrics::{HttpMetrics, Metrics};
use keyrack_http_api::{FollowTrace, Hosts, Server, Settings as ApiSettings};
use keyrack_mcp_server::http::HttpSettings;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::connections::{Connections, Limits, RequestBody};
use crate::counters::KeptCounters;
use crate::handing;
use crate::instance::{self, Instance, told};
use crate::mcp;
use crate::printable;
use crate::settings::{self, Settings};
use crate::signals::{Asked, StopSignals};
use crate::{files, listener, traces};

/// Files that are open besides the connections of the API's listener: database, log of events, settings, and the
/// listener for metrics with its connections.
const OTHER_FILES: u64 = 64 + METRICS_CONNECTIONS as u64;
/// Connections of those who read the metrics.
const METRICS_CONNECTIONS: usize = 32;

/// Serves until SIGTERM or Ctrl-C, then lets the requests in flight finish.
///
/// # Errors
/// When a setting makes no sense, the database cannot be opened, or the address is taken.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let traces = instance::start_log_and_traces(settings)?;
    for oddity in settings.oddities() {
        tracing::warn!("{oddity}");
    }
    // What this server could not do is said before anything is opened.
    handing::secrets_of_server(settings, "")?;
    let limits = limits(settings, files::raise_limit())?;
    let listen = settings.get(&settings::LISTEN)?;
    let listener = listener::bind(listen).with_context(|| {
        format!("cannot listen on {listen}; is another server there? Choose another with --listen ADDRESS:PORT")
    })?;
    let address = listener.local_addr()?;
    let metrics_listener = bind_metrics(settings)?;
    let (kept, counters) = KeptCounters::open(settings)?;
    let instance = instance::open_with(settings, counters).await?;
    kept.taken_over();
    let keyrack = instance.keyrack.clone();
    let requests = Arc::new(HttpMetrics::default());
    let follow_trace = traces.is_some().then_some(traces::follow as FollowTrace);
    let stop = Stop::default();
    let server = build_server(settings, &keyrack, address, &requests, (follow_trace, &stop.gently))?;
    let metrics_address = metrics_listener.as_ref().map(TcpListener::local_addr).transpose()?;
    if let Some((listener, address)) = metrics_listener.zip(metrics_address) {
        let metrics = Metrics::new(keyrack.clone(), requests.clone(), hosts(settings, address)?);
        let limits = Limits { connections: METRICS_CONNECTIONS, ..limits };
        tokio::spawn(serve_metrics(listener, metrics, limits, stop.gently.clone()));
    }
    instance::start_background_work(settings, &keyrack)?;
    banner(settings, &instance, address, metrics_address).await?;
    let (delay, drain) =
        (settings.get(&settings::SHUTDOWN_DELAY_SECONDS)?, settings.get(&settings::DRAIN_SECONDS)?);
    tokio::spawn(stop_on_signals(StopSignals::new()?, keyrack.clone(), stop.clone(), delay, drain));
    serve(listener, server, limits, requests.connections.clone(), &stop, drain).await;
    keyrack.close().await;
    kept.save(keyrack).await;
    if let Some(traces) = traces {
        traces.flush().await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// How many connections there may be and for how long they may do nothing, where so many files may be open.
fn limits(settings: &Settings, files: Option<u64>) -> anyhow::Result<Limits> {
    let room = files.map_or(usize::MAX, |files| {
        let room = files.saturating_sub(OTHER_FILES).max(files / 4).max(1);
        usize::try_from(room).unwrap_or(usize::MAX)
    });
    let wanted = settings.get(&settings::MAX_CONNECTIONS)?;
    if wanted > room && settings.is_given(&settings::MAX_CONNECTIONS) {
        tracing::warn!(
            "KEYRACK_MAX_CONNECTIONS is {wanted}, and the limit of open files leaves room for {room}: raise it with \
             `ulimit -n` or LimitNOFILE"
        );
    } else if wanted > room {
        tracing::warn!(
            "the limit of open files leaves room for {room} connections, and {wanted} are usual: raise it with \
             `ulimit -n` or LimitNOFILE"
        );
    }
    Ok(Limits { connections: wanted.min(room), idle: settings.get(&settings::IDLE_SECONDS)? })
}

/// The names that a `Host` header may have on a listener at `address`.
fn hosts(settings: &Settings, address: SocketAddr) -> anyhow::Result<Hosts> {
    let mut names = settings.get(&settings::ALLOWED_HOSTS)?;
    names.push(address.ip().to_string());
    let uri = settings.get(&settings::PUBLIC_URL)?.and_then(|url| url.parse::<axum::http::Uri>().ok());
    names.extend(uri.as_ref().and_then(|uri| uri.host()).map(str::to_ascii_lowercase));
    Ok(Hosts::new(names, !address.ip().is_loopback()))
}

fn build_server(
    settings: &Settings,
    keyrack: &Keyrack,
    address: SocketAddr,
    requests: &Arc<HttpMetrics>,
    (follow_trace, stop): (Option<FollowTrace>, &CancellationToken),
) -> anyhow::Result<Server<RequestBody>> {
    let hosts = hosts(settings, address)?;
    let api = ApiSettings {
        public_url: settings.get(&settings::PUBLIC_URL)?.unwrap_or_else(|| format!("http://{address}")),
        max_body_bytes: settings.get(&settings::MAX_BODY_BYTES)?,
    };
    let secrets = handing::secrets_of_server(settings, &api.public_url)?;
    let tools = HttpSettings {
        public_hosts: hosts.names().to_vec(),
        literal_addresses: hosts.has_literal_addresses(),
        policy: mcp::policy(settings, mcp::wishes(settings)?, secrets, &api.public_url)?,
        max_body_bytes: api.max_body_bytes,
        sessions: settings.get(&settings::MCP_SESSIONS)?,
        shutdown: stop.clone(),
    };
    let guard = Guard {
        hosts,
        trusted_proxies: settings.get(&settings::TRUSTED_PROXIES)?,
        docs: api.docs(),
        metrics: requests.clone(),
        follow_trace,
    };
    let routes = keyrack_mcp_server::http::router(keyrack.clone(), mcp::catalogue(settings)?, tools);
    Ok(Server::new(keyrack.clone(), &api, guard, routes))
}

/// A listener for the metrics, unless they are off.
///
/// A taken address stops the start only if somebody chose it.
fn bind_metrics(settings: &Settings) -> anyhow::Result<Option<TcpListener>> {
    let Some(wanted) = settings.get(&settings::METRICS_LISTEN)? else { return Ok(None) };
    let is_chosen = settings.is_given(&settings::METRICS_LISTEN);
    match listener::bind(wanted) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if is_chosen => Err(error).with_context(|| {
            format!(
                "cannot serve metrics on {wanted}; choose another address with --metrics-listen, or an empty one"
            )
        }),
        Err(error) => {
            tracing::warn!(%error, "no metrics: {wanted} is taken; choose an address with KEYRACK_METRICS_LISTEN");
            Ok(None)
        }
    }
}

/// Serves the metrics on their own listener until `stop`.
async fn serve_metrics(listener: TcpListener, metrics: Metrics, limits: Limits, stop: CancellationToken) {
    let counts = Arc::<ConnectionCounts>::default();
    let connections = Arc::new(Connections::new(limits, counts.clone()));
    listener::accept(listener, Arc::new(metrics), &connections, &counts, &stop).await;
    connections.end_all().await;
}

/// Serves the API until `stop`, then waits for the requests in flight, at most `drain`.
async fn serve(
    listener: TcpListener,
    server: Server<RequestBody>,
    limits: Limits,
    counts: Arc<ConnectionCounts>,
    stop: &Stop,
    drain: Duration,
) {
    let connections = Arc::new(Connections::new(limits, counts.clone()));
    listener::accept(listener, Arc::new(server), &connections, &counts, &stop.gently).await;
    tokio::select! {
        () = connections.end_all() => {}
        () = tokio::time::sleep(drain) => tracing::warn!("some requests did not finish in time"),
        () = stop.at_once.cancelled() => tracing::warn!("stopping at once; some requests did not finish"),
    }
}

/// How the server is told to stop.
#[derive(Clone, Default)]
struct Stop {
    /// No new connections; requests in flight finish.
    gently: CancellationToken,
    /// Not even that.
    at_once: CancellationToken,
}

/// Stops gently at the first SIGTERM or Ctrl-C, at once at the second.
///
/// Whoever sends requests here learns from readiness that there should be no more, and needs a moment for it: for
/// `delay` the server goes on as before. A person at the terminal does not wait for that.
async fn stop_on_signals(
    mut signals: StopSignals,
    keyrack: Keyrack,
    stop: Stop,
    delay: Duration,
    drain: Duration,
) {
    let asked = signals.next().await;
    keyrack.health().note(Reason::ShuttingDown, true);
    if asked == Asked::ByItsKeeper && !delay.is_zero() {
        tracing::info!("stopping in {} s; not ready from now on; a second signal stops at once", delay.as_secs());
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = signals.next() => {
                stop.gently.cancel();
                stop.at_once.cancel();
                return;
            }
        }
    }
    tracing::info!(
        "stopping: no new connections, {} s for requests in flight; a second signal stops at once",
        drain.as_secs()
    );
    stop.gently.cancel();
    signals.next().await;
    stop.at_once.cancel();
}

/// What the settings leave off, and what that means.
fn off(keyrack: &Keyrack) -> String {
    let mut off = Vec::new();
    if keyrack.vault().is_none() {
        off.push("recoverable keys, which answer 412 (no KEYRACK_MASTER_KEY)");
    }
    off.push("shared rate limits: this process counts alone");
    off.join("; ")
}

/// Says where everything is. The root key itself stays in its file.
async fn banner(
    settings: &Settings,
    instance: &Instance,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
) -> anyhow::Result<()> {
    let workspace_id = setup::default_workspace(&instance.keyrack).await.map_err(told)?;
    let workspace = instance.keyrack.resident().workspace(&workspace_id);
    let name = workspace.map(|workspace| workspace.name.clone()).unwrap_or_default();
    let root_key = instance.root_key_file.display().to_string();
    let root_key = printable::line(&root_key);
    let lines = [
        ("Keyrack", env!("CARGO_PKG_VERSION").to_owned()),
        ("HTTP API", format!("http://{address}/v2/<namespace>.<operation>, described at /openapi.json")),
        ("MCP", format!("http://{address}/mcp; `keyrack mcp-config claude` prints what to paste")),
        ("Docs", format!("http://{address}/docs")),
        ("Metrics", metrics.map_or_else(|| "off".to_owned(), |address| format!("http://{address}/metrics"))),
        ("Storage", settings.get(&settings::DATABASE_URL)?.label()),
        ("Workspace", format!("{name} ({workspace_id})")),
        (
            "Root key",
            match (instance.root_key_file.exists(), instance.has_bootstrap_key) {
                (true, false) => format!("in {root_key}"),
                (true, true) => format!("in {root_key}, and the bootstrap root key of the settings"),
                (false, true) => "the bootstrap root key of the settings".to_owned(),
                (false, false) => "none in the data folder; `keyrack root-key create` makes one".to_owned(),
            },
        ),
        ("Off", off(&instance.keyrack)),
    ];
    if settings.get(&settings::LOG_AS_JSON)? {
        // Whoever reads the log as JSON reads this in it, and no line of another kind between.
        for (label, text) in lines {
            tracing::info!(subject = label, value = text, "started");
        }
        return Ok(());
    }
    for (label, text) in lines {
        eprintln!("{label:>10}  {}", printable::line(&text));
    }
    if instance.is_first_start {
        say_first_start(instance, address);
    }
    Ok(())
}

fn say_first_start(instance: &Instance, address: SocketAddr) {
    let root_key = instance.root_key_file.display();
    let bearer = if instance.has_bootstrap_key {
        eprintln!("\n  First start: the bootstrap root key has full access. With it in $ROOT_KEY, try it:");
        "$ROOT_KEY".to_owned()
    } else {
        eprintln!("\n  First start: a root key with full access was written to {root_key}. Try it:");
        format!("$(cat {root_key})")
    };
    eprintln!(
        "  curl -s http://{address}/v2/apis.createApi -H \"Authorization: Bearer {bearer}\" -d '{{\"name\":\"my first API\"}}'\n"
    );
}
