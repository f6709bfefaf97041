//! What a receiver of OpenTelemetry traces is sent, and what it is not.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use keyrack_test_harness::{Program, Server, free_port};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as Field};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::access::secrecy::{Planted, contains, plant_bad_requests, plant_good_keys, plant_over_mcp};
use crate::program;
use crate::wire::mcp::Session;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// A sampled trace of the caller's.
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// The same, not sampled.
const NOT_SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// A receiver of OTLP over HTTP that keeps what it is sent.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<(HeaderMap, Bytes)>>>);

impl Receiver {
    /// Listens on loopback; the address is what the program is told.
    async fn start() -> (Receiver, String) {
        let receiver = Receiver::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/v1/traces", post(Receiver::take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, format!("http://{address}"))
    }

    async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) {
        receiver.0.lock().expect("a lock").push((headers, body));
    }

    fn received(&self) -> Vec<(HeaderMap, Bytes)> {
        self.0.lock().expect("a lock").clone()
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let received = self.received();
        received.iter().map(|(_, body)| ExportTraceServiceRequest::decode(&body[..]).expect("OTLP")).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let resources = self.requests().into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

fn traced(endpoint: &str) -> Program {
    program().env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
}

/// Ends the server in order, so that all spans are sent.
async fn stop(server: &mut Server) -> Duration {
    let started = Instant::now();
    server.signal("TERM");
    let status = server.wait_for_exit(Duration::from_secs(15)).await;
    assert!(status.success(), "{status}\n{}", server.log());
    started.elapsed()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(fields: &[KeyValue], name: &str) -> String {
    let field = fields.iter().find(|field| field.key == name);
    match field.and_then(|field| field.value.as_ref()?.value.clone()) {
        Some(Field::StringValue(text)) => text,
        Some(Field::IntValue(number)) => number.to_string(),
        other => panic!("{name} is {other:?} in {fields:?}"),
    }
}

/// The span of this name whose attribute has this value.
#[track_caller]
fn find<'a>(spans: &'a [Span], name: &str, attribute: &str, value: &str) -> &'a Span {
    let has = |span: &Span| span.attributes.iter().any(|field| field.key == attribute);
    let found =
        spans.iter().find(|span| span.name == name && has(span) && text(&span.attributes, attribute) == value);
    found.unwrap_or_else(|| panic!("no span {name} with {attribute} {value} in {spans:#?}"))
}

#[tokio::test]
async fn requests_are_spans_in_the_trace_of_their_caller() {
    let (receiver, endpoint) = Receiver::start().await;
    let told = traced(&endpoint).env("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=planted-header");
    // Traces do not depend on what is logged.
    let mut server = told.env("KEYRACK_LOG", "error").start().await;
    let parent = [("traceparent", TRACEPARENT)];
    let made = server.call_with_headers("apis.createApi", json!({"name": "payments"}), &parent).await.expect(200);
    let verdict = server.call_with_headers("keys.verifyKey", json!({"key": "k"}), &parent).await.expect(200);
    let missing = server.call("apis.getApi", json!({"apiId": "api_unknown1"})).await.expect(404);
    stop(&mut server).await;

    let spans = receiver.spans();
    for (answer, operation, status) in [(&made, "apis.createApi", "200"), (&verdict, "keys.verifyKey", "200")] {
        let span = find(&spans, operation, "request_id", answer.request_id());
        assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
        assert_eq!(span.kind, SpanKind::Server as i32);
        assert_eq!(text(&span.attributes, "operation"), operation);
        assert_eq!(text(&span.attributes, "status"), status);
        assert!(text(&span.attributes, "root_key").starts_with("key_"), "{span:?}");
    }
    let request = find(&spans, "apis.createApi", "request_id", made.request_id());
    let handler = find(&spans, "handle", "operation", "apis.createApi");
    assert_eq!((&handler.trace_id, &handler.parent_span_id), (&request.trace_id, &request.span_id));
    let refused = find(&spans, "apis.getApi", "request_id", missing.request_id());
    assert_eq!(text(&refused.attributes, "status"), "404");
    assert!(hex(&refused.trace_id) != TRACE && refused.parent_span_id.is_empty(), "{refused:?}");
    let is_error = |span: &Span| span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
    assert!(!spans.iter().any(is_error), "a refusal is no error of the server");

    let (headers, _) = receiver.received().swap_remove(0);
    assert_eq!(
        (&headers["content-type"], &headers["x-collector-key"]),
        (&"application/x-protobuf".parse().expect("a value"), &"planted-header".parse().expect("a value"))
    );
    let resource = receiver.requests().swap_remove(0).resource_spans.swap_remove(0).resource.expect("a resource");
    assert_eq!(text(&resource.attributes, "service.name"), "keyrack");
}

#[tokio::test]
async fn a_tool_call_is_a_span_between_its_request_and_its_handler() {
    let (receiver, endpoint) = Receiver::start().await;
    let mut server = traced(&endpoint).env("OTEL_SERVICE_NAME", "keys-eu").start().await;
    let call = json!({"name": "workspace_getOverview", "arguments": {}});
    Session::open(&server).await.ask("tools/call", call).await;
    stop(&mut server).await;
    let spans = receiver.spans();
    let call = find(&spans, "tool call", "operation", "workspace.getOverview");
    assert_eq!(text(&call.attributes, "outcome"), "ok");
    let request = spans.iter().find(|span| span.span_id == call.parent_span_id).expect("a parent");
    assert_eq!((request.name.as_str(), &request.trace_id), ("/mcp", &call.trace_id));
    let handler = find(&spans, "handle", "operation", "workspace.getOverview");
    assert_eq!((&handler.trace_id, &handler.parent_span_id), (&call.trace_id, &call.span_id));
    let resource = receiver.requests().swap_remove(0).resource_spans.swap_remove(0).resource.expect("a resource");
    assert_eq!(text(&resource.attributes, "service.name"), "keys-eu");
}

#[tokio::test]
async fn a_tool_call_is_part_of_the_trace_that_its_message_names() {
    let (receiver, endpoint) = Receiver::start().await;
    let mut server = traced(&endpoint).start().await;
    let session = Session::open(&server).await;
    let call = |meta: Value| json!({"name": "workspace_getOverview", "arguments": {}, "_meta": meta});
    session.ask("tools/call", call(json!({"traceparent": TRACEPARENT, "tracestate": "a=b"}))).await;
    session.ask("tools/call", call(json!({"traceparent": "no trace"}))).await;
    stop(&mut server).await;
    let spans = receiver.spans();
    let calls: Vec<&Span> = spans.iter().filter(|span| span.name == "tool call").collect();
    let named: Vec<&&Span> = calls.iter().filter(|span| hex(&span.trace_id) == TRACE).collect();
    assert_eq!((calls.len(), named.len()), (2, 1), "{calls:#?}");
    assert_eq!(hex(&named[0].parent_span_id), CALLER);
}

#[tokio::test]
async fn no_secret_reaches_a_span() {
    let (receiver, endpoint) = Receiver::start().await;
    let told = traced(&endpoint).env("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=planted-header-5d1a");
    let mut server = told.env("KEYRACK_LOG", "trace").start().await;
    let mut planted = Planted::default();
    plant_good_keys(&server, &mut planted).await;
    plant_bad_requests(&server, &mut planted).await;
    plant_over_mcp(&server, &mut planted).await;
    server.get(&format!("/v2/{}", planted.secret("path-key-4b1a90e2"))).await.expect(404);
    stop(&mut server).await;
    assert!(receiver.spans().len() > 40, "{} spans are too few for this test", receiver.spans().len());
    assert!(receiver.spans().iter().all(|span| span.events.is_empty()), "a line of the log is in a span");
    for (_, body) in receiver.received() {
        for secret in &planted.secrets {
            assert!(!contains(&body, secret), "a span holds {secret}");
        }
    }
    assert!(!server.log().contains("planted-header-5d1a"), "the log holds the collector's key");
}

#[tokio::test]
async fn what_is_not_sampled_is_not_sent() {
    let (receiver, endpoint) = Receiver::start().await;
    let mut server = traced(&endpoint).start().await;
    for operation in ["apis.listKeys", "keys.verifyKey"] {
        server.call_with_headers(operation, json!({}), &[("traceparent", NOT_SAMPLED)]).await;
    }
    stop(&mut server).await;
    let names: Vec<String> = receiver.spans().into_iter().map(|span| span.name).collect();
    assert!(!names.iter().any(|name| name.contains('.')), "{names:?}");

    let mut server = traced(&endpoint).env("OTEL_TRACES_SAMPLER", "always_off").start().await;
    let before = receiver.received().len();
    server.call("keys.verifyKey", json!({"key": "k"})).await.expect(200);
    stop(&mut server).await;
    assert_eq!(receiver.received().len(), before);
}

/// Names of the process's threads.
#[cfg(target_os = "linux")]
fn threads(server: &Server) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.process())).expect("threads are listed");
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn without_an_endpoint_nothing_is_there_to_send() {
    let exports = |server: &Server| threads(server).iter().any(|name| name.starts_with("OpenTelemetry"));
    let silent = traced("").env("OTEL_SERVICE_NAME", "keys-eu").start().await;
    silent
        .call_with_headers("keys.verifyKey", json!({"key": "k"}), &[("traceparent", TRACEPARENT)])
        .await
        .expect(200);
    assert!(!exports(&silent), "{:?}", threads(&silent));
    let (_receiver, endpoint) = Receiver::start().await;
    let telling = program().env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint).start().await;
    assert!(exports(&telling), "{:?}", threads(&telling));
}

/// Whatever else is said, and however its value is written.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_disabled_sdk_sends_nothing() {
    let (receiver, endpoint) = Receiver::start().await;
    for value in ["true", "TRUE"] {
        let mut server = traced(&endpoint).env("OTEL_SDK_DISABLED", value).start().await;
        let headers = [("traceparent", TRACEPARENT)];
        server.call_with_headers("keys.verifyKey", json!({"key": "k"}), &headers).await.expect(200);
        assert!(threads(&server).iter().all(|name| !name.starts_with("OpenTelemetry")), "{:?}", threads(&server));
        stop(&mut server).await;
        assert_eq!(receiver.received().len(), 0, "{value}");
    }
    // Anything else is false, as the specification says.
    let mut server = traced(&endpoint).env("OTEL_SDK_DISABLED", "1").start().await;
    server.call("keys.verifyKey", json!({"key": "k"})).await.expect(200);
    stop(&mut server).await;
    assert!(!receiver.received().is_empty(), "{}", server.log());
}

/// Requests against a server whose receiver does not answer, and its end.
async fn assert_unharmed(endpoint: &str) {
    let mut server = traced(endpoint).env("OTEL_BSP_SCHEDULE_DELAY", "50").start().await;
    let started = Instant::now();
    for _ in 0..20 {
        server.call("keys.verifyKey", json!({"key": "k"})).await.expect(200);
        server.call("apis.createApi", json!({"name": "payments"})).await.expect(200);
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "40 requests took {took:?}");
    // It waits two seconds for the last spans.
    let took = stop(&mut server).await;
    assert!(took < Duration::from_secs(6), "the end took {took:?}");
    // Which of them depends on whether the exporter gave up before the end did.
    let said = ["BatchSpanProcessor.ExportError", "the last traces could not be sent"];
    assert!(said.iter().any(|line| server.log().contains(line)), "{}", server.log());
}

#[tokio::test]
async fn a_receiver_that_is_not_there_slows_nothing() {
    assert_unharmed(&format!("http://127.0.0.1:{}", free_port())).await;
}

#[tokio::test]
async fn a_receiver_that_never_answers_slows_nothing() {
    // Connections are made by the system, and nobody takes them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    assert_unharmed(&format!("http://{}", silent.local_addr().expect("an address"))).await;
}
