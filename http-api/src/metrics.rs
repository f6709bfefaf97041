//! What is counted, in the text form that Prometheus reads: `/metrics`, on a listener of its own.
//!
//! This module counts requests; the rest is counted by core and only shown here. The numbers are atomics
//! that exist from the start, one per operation and status, so that a request allocates no label and takes
//! no lock. `prometheus-client` writes the text; its own histogram is behind a lock, so ours is core's.
//!
//! Label values are operations, statuses and outcomes: a bounded set. Workspaces and keys are no labels.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use keyrack_core::catalogue::{Operation, Visitor, each};
use keyrack_core::keyrack::Keyrack;
use keyrack_core::metrics::{BOUNDS, Counter, GroupSizes, Histogram, SIZE_BOUNDS};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

/// The statuses that are counted each; any other is `other`.
const STATUSES: [(u16, &str); 19] = [
    (200, "200"),
    (202, "202"),
    (204, "204"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (406, "406"),
    (408, "408"),
    (409, "409"),
    (410, "410"),
    (412, "412"),
    (413, "413"),
    (415, "415"),
    (429, "429"),
    (CLIENT_GONE, "499"),
    (500, "500"),
    (503, "503"),
];
/// What is counted when the client is gone before it was answered.
const CLIENT_GONE: u16 = 499;

/// Requests that are no operation, by the beginning of their route.
const OTHER_ROUTES: [(&str, &str); 7] = [
    ("/mcp", "mcp"),
    ("/docs", "docs"),
    ("/reference", "docs"),
    ("/openapi.json", "docs"),
    ("/healthz", "health"),
    ("/readyz", "health"),
    ("/v2/liveness", "health"),
];
const UNKNOWN: &str = "unknown";

/// Requests of one operation.
#[derive(Debug)]
struct Requests {
    operation: &'static str,
    by_status: [Counter; STATUSES.len() + 1],
    durations: Histogram,
}

impl Requests {
    fn of(operation: &'static str) -> Self {
        Requests { operation, by_status: Default::default(), durations: Histogram::default() }
    }

    fn note(&self, status: u16, took: Duration) {
        let known = STATUSES.iter().position(|(known, _)| *known == status);
        self.by_status[known.unwrap_or(STATUSES.len())].add(1);
        self.durations.note(took);
    }

    fn statuses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = STATUSES.iter().map(|(_, name)| *name).chain(["other"]);
        names.zip(&self.by_status).map(|(name, counter)| (name, counter.value()))
    }
}

/// The requests of a server, by operation.
#[derive(Debug)]
pub struct HttpMetrics {
    operations: Vec<Requests>,
    by_route: HashMap<String, usize>,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        let mut metrics = HttpMetrics { operations: vec![Requests::of(UNKNOWN)], by_route: HashMap::new() };
        for (_, name) in OTHER_ROUTES {
            if !metrics.operations.iter().any(|known| known.operation == name) {
                metrics.operations.push(Requests::of(name));
            }
        }
        each(&mut metrics);
        metrics
    }
}

impl Visitor for HttpMetrics {
    fn operation<O: Operation>(&mut self) {
        self.by_route.insert(format!("/v2/{}", O::ABOUT.name), self.operations.len());
        self.operations.push(Requests::of(O::ABOUT.name));
    }
}

impl HttpMetrics {
    /// Begins to measure a request to this route; `None` is a path that has none.
    pub(crate) fn begin(&self, route: Option<&str>) -> Measurement<'_> {
        let known = route.and_then(|route| self.by_route.get(route)).and_then(|at| self.operations.get(*at));
        let requests = known.unwrap_or_else(|| self.other(route));
        Measurement { requests, started: Instant::now(), status: CLIENT_GONE }
    }

    fn other(&self, route: Option<&str>) -> &Requests {
        let name = route.and_then(|route| OTHER_ROUTES.iter().find(|(beginning, _)| route.starts_with(beginning)));
        let name = name.map_or(UNKNOWN, |(_, name)| name);
        self.operations.iter().find(|known| known.operation == name).unwrap_or(&self.operations[0])
    }
}

/// A request in flight. Dropped without an answer, its client went away.
#[derive(Debug)]
pub(crate) struct Measurement<'a> {
    requests: &'a Requests,
    started: Instant,
    status: u16,
}

impl Measurement<'_> {
    /// Ends it; how long it took.
    pub(crate) fn answered(mut self, status: StatusCode) -> Duration {
        self.status = status.as_u16();
        self.started.elapsed()
    }
}

impl Drop for Measurement<'_> {
    fn drop(&mut self) {
        self.requests.note(self.status, self.started.elapsed());
    }
}

/// The one route `/metrics`, for a listener of its own.
pub fn router(keyrack: Keyrack, http: Arc<HttpMetrics>) -> Router {
    let mut registry = Registry::with_prefix("keyrack");
    registry.register_collector(Box::new(Shown { keyrack, http }));
    Router::new().route("/metrics", get(show)).with_state(Arc::new(registry))
}

async fn show(State(registry): State<Arc<Registry>>) -> Response {
    let mut body = String::new();
    match text::encode(&mut body, &registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], body).into_response()
        }
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Reads every number at the moment of a scrape.
#[derive(Debug)]
struct Shown {
    keyrack: Keyrack,
    http: Arc<HttpMetrics>,
}

impl Collector for Shown {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        page.gauges("build_info", "The version that runs", [([("version", env!("CARGO_PKG_VERSION"))], 1.0)])?;
        self.requests(&mut page)?;
        self.decisions(&mut page)?;
        self.deductions(&mut page)?;
        self.state(&mut page)?;
        self.events(&mut page)?;
        self.scheduled(&mut page)?;
        self.assistants(&mut page)
    }
}

impl Shown {
    fn requests(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = self.http.operations.iter().flat_map(|requests| {
            let met = requests.statuses().filter(|(_, count)| *count > 0);
            met.map(|(status, count)| ([("operation", requests.operation), ("status", status)], count))
        });
        page.counters("requests", "Requests by operation and HTTP status; 499: the client went away", counts)?;
        let called =
            self.http.operations.iter().filter(|requests| requests.statuses().any(|(_, count)| count > 0));
        let durations = called.map(|requests| ([("operation", requests.operation)], &requests.durations));
        page.histograms("request_duration", "Time from a request's head to its answer, by operation", durations)
    }

    fn decisions(&self, page: &mut Page<'_>) -> fmt::Result {
        let metrics = self.keyrack.metrics();
        let verifications = metrics.verifications().map(|(outcome, count)| ([("outcome", outcome)], count));
        page.counters("verifications", "Verifications by outcome, unknown keys included", verifications)?;
        let limits = self.keyrack.counters().decisions.values();
        let limits = limits.into_iter().flat_map(|(limit, passed, refused)| {
            [("passed", passed), ("refused", refused)]
                .map(|(decision, count)| ([("limit", limit), ("decision", decision)], count))
        });
        let help = "Rate-limit decisions by kind of limit: of keys and identities, of namespaces, of workspaces";
        page.counters("limit_decisions", help, limits)?;
        page.counter("credits_spent", "Credits that verifications spent", metrics.credits_spent.value())?;
        let help = "Credits that verifications asked for and keys did not have";
        page.counter("credits_refused", help, metrics.credits_refused.value())
    }

    fn deductions(&self, page: &mut Page<'_>) -> fmt::Result {
        let waiting = approximate(self.keyrack.waiting_deductions());
        page.gauge("credit_deductions_waiting", "Deductions of credits that wait to be made", None, waiting)?;
        let metrics = self.keyrack.metrics();
        let help = "How many deductions were committed together";
        page.sizes("credit_group_size", help, &metrics.credit_groups)?;
        page.histogram("credit_commit_duration", "Time that those commits took", &metrics.credit_commits)?;
        let help = "Groups of deductions that could not be committed";
        page.counter("credit_group_failures", help, metrics.credit_group_failures.value())
    }

    fn state(&self, page: &mut Page<'_>) -> fmt::Result {
        let sizes = self.keyrack.resident().sizes().0;
        let sizes = sizes.into_iter().map(|(kind, size)| ([("kind", kind)], approximate(size)));
        page.gauges("resident_entries", "Things held in memory, by kind", sizes)?;
        let cells = approximate(self.keyrack.counters().len());
        page.gauge("limit_cells", "Rate-limit counts held in memory", None, cells)?;
        let metrics = self.keyrack.metrics();
        if let Some(age) = self.keyrack.change_feed_age() {
            let help = "Time since the changes of all processes were last followed";
            page.gauge("change_feed_age", help, Some(&Unit::Seconds), age.as_secs_f64())?;
        }
        let behind = approximate(usize::try_from(metrics.generations_behind.value()).unwrap_or(usize::MAX));
        page.gauge("change_feed_generations_behind", "Changes found and not followed yet", None, behind)?;
        let help = "How often the changes of other processes could not be read";
        page.counter("change_feed_failures", help, metrics.change_feed_failures.value())
    }

    fn events(&self, page: &mut Page<'_>) -> fmt::Result {
        let recorder = self.keyrack.recorder();
        page.counter("events", "Events recorded for analytics", recorder.recorded.value())?;
        let help = "Events lost because more came than could be kept";
        page.counter("events_dropped", help, recorder.dropped.value())?;
        let help = "Portions of the log of events that could not be written and are lost";
        page.counter("event_log_failures", help, recorder.failed_writes.value())?;
        page.gauge("events_waiting", "Events on their way to the log", None, approximate(recorder.waiting()))
    }

    fn scheduled(&self, page: &mut Page<'_>) -> fmt::Result {
        let metrics = self.keyrack.metrics();
        let runs = metrics.scheduled_runs();
        let last = runs.iter().filter_map(|(job, runs)| Some(([("job", *job)], seconds(runs.last_success?))));
        let help = "Unix time of the end of the last run that did all that was due, by job";
        page.gauges("scheduled_last_success_timestamp_seconds", help, last)?;
        let failures = runs.iter().map(|(job, runs)| ([("job", *job)], runs.failures));
        page.counters("scheduled_failures", "Runs of scheduled work that failed, by job", failures)?;
        let removed = metrics.rows_removed().map(|(kind, rows)| ([("kind", kind)], rows));
        page.counters("rows_removed", "Rows that scheduled work removed from the database, by kind", removed)
    }

    fn assistants(&self, page: &mut Page<'_>) -> fmt::Result {
        let metrics = self.keyrack.metrics();
        let calls = metrics.assistant_calls().into_iter();
        let calls =
            calls.map(|((operation, outcome), count)| ([("operation", operation), ("outcome", outcome)], count));
        page.counters("mcp_calls", "Tool calls of assistants by operation and outcome", calls)?;
        let help = "Time that tool calls of assistants took";
        page.histogram("mcp_call_duration", help, &metrics.assistant_call_durations)
    }
}

fn approximate(count: usize) -> f64 {
    float(u64::try_from(count).unwrap_or(u64::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "no count here reaches 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

/// Unix ms as seconds.
#[expect(clippy::cast_precision_loss, reason = "no time in ms reaches 2^53 before the year 280000")]
fn seconds(unix_ms: i64) -> f64 {
    unix_ms as f64 / 1000.0
}

/// The text of one scrape.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, f64>(&count, None)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        counts: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in counts {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn histograms<'h, L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        histograms: impl IntoIterator<Item = (L, &'h Histogram)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, histogram) in histograms {
            write_histogram(&mut metric.encode_family(&labels)?, histogram)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        let seconds = Some(&Unit::Seconds);
        write_histogram(&mut self.0.encode_descriptor(name, help, seconds, MetricType::Histogram)?, histogram)
    }

    fn sizes(&mut self, name: &str, help: &str, sizes: &GroupSizes) -> fmt::Result {
        let counts = sizes.buckets();
        let bounds = SIZE_BOUNDS.into_iter().map(float).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(float(sizes.sum()), counts.iter().sum(), &buckets, None)
    }
}

fn write_histogram(metric: &mut MetricEncoder<'_>, histogram: &Histogram) -> fmt::Result {
    let counts = histogram.buckets();
    let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
    let sum = histogram.sum().as_secs_f64();
    metric.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
}
