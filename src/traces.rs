//! OpenTelemetry traces, sent as OTLP over HTTP (http/protobuf) to where OpenTelemetry's own variables say.
//!
//! Requests never wait for it: a thread of the exporter takes finished spans from a bounded queue, and what does not
//! fit is dropped. What leaves are the spans made for it, never a line of the log.

use std::pin::Pin;
use std::time::Duration;

use anyhow::Context as _;
use axum::http::HeaderMap;
use keyrack_core::traces::TARGET;
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use reqwest::{Client, redirect};
use tokio::runtime::Handle;
use tracing::{Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::{Layer, filter};

/// `true` switches traces off, whatever else is said.
const DISABLED: &str = "OTEL_SDK_DISABLED";
/// Any other value than `otlp` switches this exporter off.
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
/// Only `http/protobuf` is spoken.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const PROTOCOL: &str = "http/protobuf";
/// Either of them switches traces on.
const ENDPOINTS: [&str; 2] =
    [opentelemetry_otlp::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, opentelemetry_otlp::OTEL_EXPORTER_OTLP_ENDPOINT];
const SERVICE: &str = "keyrack";
/// How long sending some spans may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end of the program may wait for the last spans to be sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The export of traces.
#[derive(Debug)]
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Starts the export, if the environment says where to.
    ///
    /// # Errors
    /// When what the environment says makes no sense.
    pub(crate) fn from_environment() -> anyhow::Result<Option<Traces>> {
        let Some((variable, endpoint)) = endpoint() else { return Ok(None) };
        if let Some(fault) = fault() {
            return Err(fault);
        }
        let sender = Sender { http: client(&endpoint)?, runtime: Handle::current() };
        let exporter = SpanExporter::builder().with_http().with_http_client(sender).build();
        let exporter = exporter.with_context(|| format!("no traces can be sent to where {variable} says"))?;
        let mut resource = Resource::builder();
        if !named_by_environment() {
            resource = resource.with_service_name(SERVICE);
        }
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build());
        Ok(Some(Traces(provider.build())))
    }

    /// The layer that gives spans to the exporter.
    pub(crate) fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(SERVICE))
            .with_location(false)
            .with_threads(false)
            .with_level(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(exported())
            .boxed()
    }

    /// Sends what is left, for two seconds at most.
    pub(crate) async fn flush(self) {
        let flushed = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the last traces could not be sent");
        }
    }
}

/// Where traces go, and which variable says so; `None` where they are off.
fn endpoint() -> Option<(&'static str, String)> {
    let is_off = value(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || value(EXPORTER).is_some_and(|value| value != "otlp");
    if is_off {
        return None;
    }
    ENDPOINTS.into_iter().find_map(|name| Some((name, value(name)?)))
}

/// A variable that is not empty.
fn value(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// What makes a start end, if traces are on.
pub(crate) fn fault() -> Option<anyhow::Error> {
    let (variable, endpoint) = endpoint()?;
    let is_http = reqwest::Url::parse(&endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    (!is_http).then(|| anyhow::anyhow!("{variable}: must be a URL such as http://127.0.0.1:4318"))
}

/// What the environment says of traces that has no effect here.
pub(crate) fn oddities() -> Vec<String> {
    if endpoint().is_none() {
        return Vec::new();
    }
    let spoken = PROTOCOLS.into_iter().find_map(|name| Some((name, value(name)?)));
    let odd = spoken.filter(|(_, protocol)| protocol != PROTOCOL);
    odd.map(|(name, _)| format!("{name}: has no effect, traces are sent as {PROTOCOL}")).into_iter().collect()
}

/// Makes a span part of the trace that `traceparent` names, if there is one.
pub(crate) fn follow(headers: &HeaderMap, span: &Span) {
    if headers.contains_key("traceparent") {
        let parent =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
        // Fails for spans that nobody exports, which need no parent.
        let _ = span.set_parent(parent);
    }
}

/// The spans that are made for traces. No events: those are the log's.
fn exported() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    let is_exported: fn(&Metadata<'_>) -> bool = |metadata| metadata.is_span() && metadata.target() == TARGET;
    filter::filter_fn(is_exported).with_max_level_hint(LevelFilter::INFO)
}

/// Whether the environment names the service.
fn named_by_environment() -> bool {
    let value = |name| std::env::var(name).unwrap_or_default();
    !value("OTEL_SERVICE_NAME").is_empty() || value("OTEL_RESOURCE_ATTRIBUTES").contains("service.name=")
}

fn client(endpoint: &str) -> anyhow::Result<Client> {
    // The first installation in a process counts; a later one changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Following a redirect could carry the headers, which may hold a credential, to another host.
    let mut builder = Client::builder().timeout(SEND_TIMEOUT).redirect(redirect::Policy::none());
    if endpoint.starts_with("http://") {
        // Nothing to verify, so a machine without certificates is as good as any.
        builder = builder.tls_certs_only([]);
    }
    builder.build().context("no traces can be sent from this machine")
}

/// Sends spans with the program's own runtime: the exporter's thread has none.
#[derive(Debug)]
struct Sender {
    http: Client,
    runtime: Handle,
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Sender {
    fn send_bytes<'a, 'sent>(&'a self, request: Request<Bytes>) -> Sent<'sent>
    where
        'a: 'sent,
        Self: 'sent,
    {
        let http = self.http.clone();
        let sending = self.runtime.spawn(async move {
            let answer = http.execute(reqwest::Request::try_from(request)?).await?;
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                headers.clone_from(answer.headers());
            }
            Ok(response.body(answer.bytes().await?)?)
        });
        Box::pin(async move { sending.await? })
    }
}
