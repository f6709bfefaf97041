//! `keyrack serve`: the HTTP API and MCP on one listener; start, signals, drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use keyrack_core::health::Reason;
use keyrack_core::keyrack::Keyrack;
use keyrack_core::setup;
use keyrack_http_api::guard::Guard;
use keyrack_http_api::metrics::{self, HttpMetrics};
use keyrack_http_api::{FollowTrace, Server, Settings as ApiSettings};
use keyrack_mcp_server::http::HttpSettings;
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::connections::{self, Connections};
use crate::counters::KeptCounters;
use crate::instance::{self, Instance, told};
use crate::settings::Settings;
use crate::traces;

/// Serves until SIGTERM or Ctrl-C, then lets the requests in flight finish.
///
/// # Errors
/// When a setting makes no sense, the database cannot be opened, or the address is taken.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let traces = instance::start_log_and_traces(settings)?;
    for oddity in settings.oddities() {
        tracing::warn!("{oddity}");
    }
    let listen = settings.listen()?;
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen}; is another server there? Choose another with --listen ADDRESS:PORT")
    })?;
    let address = listener.local_addr()?;
    let metrics_listener = bind_metrics(settings).await?;
    let (kept, counters) = KeptCounters::open(settings)?;
    let instance = instance::open_with(settings, counters).await?;
    kept.taken_over();
    let keyrack = instance.keyrack.clone();
    let requests = Arc::new(HttpMetrics::default());
    let follow_trace = traces.is_some().then_some(traces::follow as FollowTrace);
    let server = build_server(settings, &keyrack, address, &requests, follow_trace)?;
    let stop = Stop { gently: CancellationToken::new(), at_once: CancellationToken::new() };
    let metrics_address = metrics_listener.as_ref().map(TcpListener::local_addr).transpose()?;
    if let Some(listener) = metrics_listener {
        tokio::spawn(serve_metrics(listener, metrics::router(keyrack.clone(), requests), stop.gently.clone()));
    }
    instance::start_background_work(settings, &keyrack)?;
    banner(settings, &instance, address, metrics_address).await?;
    let drain = settings.drain()?;
    tokio::spawn(stop_on_signals(keyrack.clone(), stop.clone(), drain));
    accept(listener, Arc::new(server), &stop, drain).await;
    keyrack.close().await;
    kept.save(keyrack).await;
    if let Some(traces) = traces {
        traces.flush().await;
    }
    tracing::info!("stopped");
    Ok(())
}

fn build_server(
    settings: &Settings,
    keyrack: &Keyrack,
    address: SocketAddr,
    requests: &Arc<HttpMetrics>,
    follow_trace: Option<FollowTrace>,
) -> anyhow::Result<Server> {
    let public_url = settings.public_url()?;
    let mut hosts = settings.allowed_hosts()?;
    hosts.push(address.ip().to_string());
    let uri = public_url.as_ref().and_then(|url| url.parse::<axum::http::Uri>().ok());
    hosts.extend(uri.as_ref().and_then(|uri| uri.host()).map(str::to_ascii_lowercase));
    let api = ApiSettings {
        public_url: public_url.unwrap_or_else(|| format!("http://{address}")),
        max_body_bytes: settings.max_body_bytes()?,
    };
    let literal_addresses = !address.ip().is_loopback();
    let mcp = HttpSettings {
        public_hosts: hosts.clone(),
        literal_addresses,
        calls_per_minute: settings.mcp_calls_per_minute()?,
    };
    let guard = Guard {
        hosts,
        literal_addresses,
        trusted_proxies: settings.trusted_proxies()?,
        docs: api.docs(),
        metrics: requests.clone(),
        follow_trace,
    };
    let assistants = keyrack_mcp_server::http::router(keyrack.clone(), mcp);
    Ok(Server::new(keyrack.clone(), api, guard, assistants))
}

/// A listener for the metrics, unless they are off.
///
/// A taken address stops the start only if somebody chose it.
async fn bind_metrics(settings: &Settings) -> anyhow::Result<Option<TcpListener>> {
    let Some((wanted, is_chosen)) = settings.metrics_listen()? else { return Ok(None) };
    match TcpListener::bind(wanted).await {
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
async fn serve_metrics(listener: TcpListener, router: Router, stop: CancellationToken) {
    let server = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = server.await {
        tracing::error!(%error, "the metrics listener ended");
    }
}

/// How the server is told to stop.
#[derive(Clone)]
struct Stop {
    /// No new connections; requests in flight finish.
    gently: CancellationToken,
    /// Not even that.
    at_once: CancellationToken,
}

/// Takes connections until `stop`, then waits for those that are busy, at most `drain`.
async fn accept(listener: TcpListener, server: Arc<Server>, stop: &Stop, drain: Duration) {
    let connections = Arc::new(Connections::default());
    let mut looks = tokio::time::interval(connections::LOOK_EVERY);
    // A program that was stopped for a while knows nothing of connections in that time.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = looks.tick() => {
                connections.end_idle();
                continue;
            }
            () = stop.gently.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => connections.serve(stream, peer, server.clone()),
            Err(error) => {
                // Out of file descriptors, most likely: existing connections must go first.
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    tokio::select! {
        () = connections.end_all() => {}
        () = tokio::time::sleep(drain) => tracing::warn!("some requests did not finish in time"),
        () = stop.at_once.cancelled() => tracing::warn!("stopping at once; some requests did not finish"),
    }
}

/// Stops gently at the first SIGTERM or Ctrl-C, at once at the second.
async fn stop_on_signals(keyrack: Keyrack, stop: Stop, drain: Duration) {
    if let Err(error) = stop_signal().await {
        tracing::error!(%error, "cannot wait for signals");
        return;
    }
    tracing::info!(
        "stopping: no new connections, {} s for requests in flight; a second signal stops at once",
        drain.as_secs()
    );
    keyrack.health().note(Reason::ShuttingDown, true);
    stop.gently.cancel();
    if stop_signal().await.is_ok() {
        stop.at_once.cancel();
    }
}

/// SIGTERM or Ctrl-C.
pub(crate) async fn stop_signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            pressed = tokio::signal::ctrl_c() => pressed,
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
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
    let root_key = instance.root_key_file.display();
    let lines = [
        ("Keyrack", env!("CARGO_PKG_VERSION").to_owned()),
        ("HTTP API", format!("http://{address}/v2/<namespace>.<operation>, described at /openapi.json")),
        ("MCP", format!("http://{address}/mcp; `keyrack mcp-config claude` prints what to paste")),
        ("Docs", format!("http://{address}/docs")),
        ("Metrics", metrics.map_or_else(|| "off".to_owned(), |address| format!("http://{address}/metrics"))),
        ("Storage", settings.database()?.label()),
        ("Workspace", format!("{name} ({workspace_id})")),
        (
            "Root key",
            if instance.root_key_file.exists() {
                format!("in {root_key}")
            } else {
                "none in the data folder; `keyrack root-key create` makes one".to_owned()
            },
        ),
        ("Off", off(&instance.keyrack)),
    ];
    if settings.log_is_json()? {
        // Whoever reads the log as JSON reads this in it, and no line of another kind between.
        for (label, text) in lines {
            tracing::info!(subject = label, value = text, "started");
        }
        return Ok(());
    }
    for (label, text) in lines {
        eprintln!("{label:>10}  {text}");
    }
    if instance.is_first_start {
        eprintln!("\n  First start: a root key with full access was written to {root_key}. Try it:");
        eprintln!(
            "  curl -s http://{address}/v2/apis.createApi -H \"Authorization: Bearer $(cat {root_key})\" -d '{{\"name\":\"my first API\"}}'\n"
        );
    }
    Ok(())
}
