//! How a request becomes a call of an operation.
//!
//! The order is the API's promise: declared size, authentication, workspace throttle, body, validation,
//! handler. A caller without a root key makes the server buffer nothing and learns nothing of schemas.

use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::extract::{Request, State};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use keyrack_core::caller::{Caller, ClientAddress};
use keyrack_core::catalogue::{self, Attempt, Hot, Operation};
use keyrack_core::error::{Code, Error, Fault};
use keyrack_core::ids::RequestId;
use keyrack_core::keyrack::{Keyrack, Throttle};
use keyrack_core::traces::TraceSpan;
use serde_json::Value;
use tracing::Span;

use crate::authentication::authenticate;
use crate::envelope::{self, Answer};
use crate::problem;
use crate::router::Shared;

/// How long a request may take, reading its body included.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long a body that is too large is read on, so that its sender gets to read the answer.
const DISCARD_FOR: Duration = Duration::from_secs(1);

/// A request without its body.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) id: RequestId,
    pub(crate) headers: &'a HeaderMap,
    /// The client's address.
    pub(crate) address: Option<IpAddr>,
    /// The span of the request, if there are traces.
    pub(crate) span: &'a Span,
}

/// How an operation is called.
pub(crate) trait Way<O: Operation>: Send {
    /// Tries to answer a body without waiting.
    fn attempt(keyrack: &Keyrack, caller: &Caller, body: &[u8]) -> Attempt<O>;
}

/// As all operations are.
pub(crate) struct Ordinarily;

impl<O: Operation> Way<O> for Ordinarily {
    fn attempt(_: &Keyrack, _: &Caller, _: &[u8]) -> Attempt<O> {
        Attempt::Unclear
    }
}

/// As hot operations are.
pub(crate) struct Hotly;

impl<O: Hot> Way<O> for Hotly {
    fn attempt(keyrack: &Keyrack, caller: &Caller, body: &[u8]) -> Attempt<O> {
        catalogue::attempt::<O>(keyrack, caller, body)
    }
}

/// Answers `POST /v2/<name>` for the operation `O`.
pub(crate) async fn call<O: Operation>(State(shared): State<Arc<Shared>>, request: Request) -> Answer {
    let id = request.extensions().get::<RequestId>().copied().unwrap_or_else(RequestId::new);
    let address = request.extensions().get::<ClientAddress>().and_then(|address| address.0);
    let span = request.extensions().get::<TraceSpan>().map_or_else(Span::none, |span| span.0.clone());
    let (parts, body) = request.into_parts();
    answer::<O, Ordinarily, _>(&shared, Head { id, headers: &parts.headers, address, span: &span }, body).await
}

/// Answers a request for the operation `O`.
pub(crate) async fn answer<O, W, B>(shared: &Shared, head: Head<'_>, body: B) -> Answer
where
    O: Operation,
    W: Way<O>,
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<BoxError>,
{
    let mut throttle = None;
    let outcome = within_deadline(pin!(perform::<O, W, B>(shared, head, body, &mut throttle))).await;
    let mut response = outcome.unwrap_or_else(|error| problem::response(&head.id, &shared.docs, &error));
    if let Some(throttle) = throttle {
        add_throttle(response.headers_mut(), throttle);
    }
    response
}

/// What does not wait needs no timer, and most requests do not. The work is pinned where it is: a future that
/// is moved into another is there twice.
async fn within_deadline<T>(mut work: Pin<&mut impl Future<Output = Result<T, Error>>>) -> Result<T, Error> {
    if let Some(outcome) = futures_util::future::poll_immediate(work.as_mut()).await {
        return outcome;
    }
    tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| {
        Err(Error::new(
            Code::RequestTimeout,
            format!("The request took longer than {} s. A change may still be completed.", DEADLINE.as_secs()),
        ))
    })
}

async fn perform<O, W, B>(
    shared: &Shared,
    head: Head<'_>,
    body: B,
    throttle: &mut Option<Throttle>,
) -> Result<Answer, Error>
where
    O: Operation,
    W: Way<O>,
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<BoxError>,
{
    if is_declared_larger(head.headers, shared.max_body_bytes) {
        if !asks_before_sending(head.headers) {
            Box::pin(discard(body)).await;
        }
        return Err(too_large(shared.max_body_bytes));
    }
    let caller = authenticate(&shared.keyrack, head)?;
    head.span.record("root_key", caller.root_key().id.as_str());
    match shared.keyrack.throttle(&caller) {
        Ok(numbers) => *throttle = numbers,
        Err((refusal, numbers)) => {
            *throttle = numbers;
            return Err(refusal);
        }
    }
    let mut reading = pin!(read_body(body, shared.max_body_bytes));
    let (body, caller) = match futures_util::future::poll_immediate(reading.as_mut()).await {
        Some(body) => (body?, caller),
        // Whatever became of the root key while the body was on its way counts.
        None => (reading.await?, shared.keyrack.renew(&caller)?),
    };
    // What takes longer is in boxes, so that what does not carries no room for it around.
    let reply = match W::attempt(&shared.keyrack, &caller, &body) {
        Attempt::Answered(answer) => answer?.into(),
        Attempt::Waits(request) => Box::pin(catalogue::run_read::<O>(&shared.keyrack, caller, request)).await?,
        Attempt::Unclear => {
            Box::pin(catalogue::run_body::<O>(&shared.keyrack, caller, parse::<O>(&body)?)).await?
        }
    };
    envelope::success::<O>(&head.id, reply).map_err(Error::unexpected)
}

fn is_declared_larger(headers: &HeaderMap, limit: usize) -> bool {
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    declared.is_some_and(|declared| declared > limit as u64)
}

/// Whether the client sends its body only when it is told to go on.
fn asks_before_sending(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

async fn read_body<B>(mut body: B, limit: usize) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let mut limited = Limited::new(&mut body, limit);
    match read_whole(&mut limited).await {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.is::<LengthLimitError>() => {
            Box::pin(discard(body)).await;
            Err(too_large(limit))
        }
        Err(_) => {
            Err(Error::new(Code::RequestBodyUnreadable, "The body ended before it was complete. Send it again."))
        }
    }
}

/// All of a body. Most come in one piece, which is taken as it is.
async fn read_whole<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Result<Bytes, B::Error> {
    let first = match body.frame().await.transpose()?.map(Frame::into_data) {
        Some(Ok(first)) if body.is_end_stream() => return Ok(first),
        Some(Ok(first)) => first,
        _ => Bytes::new(),
    };
    let rest = body.collect().await?;
    Ok([first, rest.to_bytes()].concat().into())
}

fn too_large(limit: usize) -> Error {
    Error::new(Code::RequestBodyTooLarge, format!("The body is larger than the {limit} bytes that are allowed."))
}

/// Reads on for a while without keeping anything: a client that is still sending when the connection is closed
/// may never see its answer.
async fn discard<B: Body + Unpin>(mut body: B) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    // The end of the wait is no fault.
    let _ = tokio::time::timeout(DISCARD_FOR, rest).await;
}

fn parse<O: Operation>(body: &Bytes) -> Result<Value, Error> {
    if body.is_empty() {
        if takes_nothing::<O>() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        let kind = if O::ABOUT.bare_body.is_some() { "array" } else { "object" };
        let fault = Fault {
            location: "body".to_owned(),
            message: "is empty".to_owned(),
            fix: Some(format!("Send a JSON {kind}, with `Content-Type: application/json`.")),
        };
        return Err(Error::new(Code::InvalidInput, format!("The body is empty. Send a JSON {kind}."))
            .with_faults(vec![fault]));
    }
    serde_json::from_str(&String::from_utf8_lossy(body)).map_err(|error| {
        let message = format!("is not valid JSON: {error}");
        let fault = Fault {
            location: "body".to_owned(),
            message: message.clone(),
            fix: Some("Send one JSON value and nothing after it.".to_owned()),
        };
        Error::new(Code::RequestBodyUnreadable, format!("The body {message}.")).with_faults(vec![fault])
    })
}

/// Whether an operation's request has no members, so that no body says as much as `{}`.
pub(crate) fn takes_nothing<O: Operation>() -> bool {
    let properties = catalogue::request_schema::<O>().as_value().get("properties").and_then(Value::as_object);
    properties.is_none_or(serde_json::Map::is_empty)
}

fn add_throttle(headers: &mut HeaderMap, throttle: Throttle) {
    for (name, value) in [
        ("ratelimit-limit", HeaderValue::from(throttle.limit)),
        ("ratelimit-remaining", HeaderValue::from(throttle.remaining)),
        ("ratelimit-reset", HeaderValue::from(throttle.reset_seconds)),
    ] {
        headers.insert(HeaderName::from_static(name), value);
    }
}
