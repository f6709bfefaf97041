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
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use keyrack_core::caller::{Caller, ClientAddress};
use keyrack_core::catalogue::{self, Attempt, Hot, Operation};
use keyrack_core::error::{Code, Error, Fault};
use keyrack_core::ids::RequestId;
use keyrack_core::keyrack::{Keyrack, Throttle};
use keyrack_core::schema::unreadable;
use keyrack_core::traces::TraceSpan;
use serde_json::Value;
use tracing::Span;

use crate::authentication::{authenticate, learn, tell_refusal};
use crate::envelope::{self, Answer};
use crate::problem;
use crate::router::Shared;

/// How long a request may take, reading its body included.
const DEADLINE: Duration = Duration::from_secs(30);

/// Bytes of a body beyond which reading it is work for a thread of its own.
const LARGE_BODY: usize = 64 * 1024;

/// Bytes of the large bodies that are read at one time.
pub(crate) const BUDGET: usize = 8 * 1024 * 1024;

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
    fn attempt(keyrack: &Keyrack, caller: &Caller, body: &[u8]) -> Attempt<O::Response>;
}

/// As all operations are.
pub(crate) struct Ordinarily;

impl<O: Operation> Way<O> for Ordinarily {
    fn attempt(_: &Keyrack, _: &Caller, _: &[u8]) -> Attempt<O::Response> {
        Attempt::Unclear
    }
}

/// As hot operations are.
pub(crate) struct Hotly;

impl<O: Hot> Way<O> for Hotly {
    fn attempt(keyrack: &Keyrack, caller: &Caller, body: &[u8]) -> Attempt<O::Response> {
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
    let limit = O::ABOUT.largest_body.min(shared.max_body_bytes);
    if is_declared_larger(head.headers, limit) {
        return Err(too_large(limit));
    }
    let caller = match authenticate(&shared.keyrack, head) {
        // Another process may have made it a moment ago. What takes longer is in a box.
        Err(error) if error.code() == Code::RootKeyNotFound && Box::pin(learn(&shared.keyrack, head)).await => {
            authenticate(&shared.keyrack, head)
        }
        outcome => outcome,
    };
    let caller = caller.inspect_err(|error| tell_refusal(&shared.keyrack, O::ABOUT.name, head, error))?;
    head.span.record("root_key", caller.root_key().id.as_str());
    match shared.keyrack.throttle(&caller, &O::ABOUT) {
        Ok(numbers) => *throttle = numbers,
        Err((refusal, numbers)) => {
            *throttle = numbers;
            return Err(refusal);
        }
    }
    let limit = limit.min(limit_of_caller::<O>(&caller, head.headers));
    if is_declared_larger(head.headers, limit) {
        return Err(too_large(limit));
    }
    let mut reading = pin!(read_body(body, limit));
    let (body, caller) = match futures_util::future::poll_immediate(reading.as_mut()).await {
        Some(body) => (body?, caller),
        // Whatever became of the root key while the body was on its way counts.
        None => (reading.await?, shared.keyrack.renew(&caller)?),
    };
    let attempt =
        if body.len() > LARGE_BODY { Attempt::Unclear } else { W::attempt(&shared.keyrack, &caller, &body) };
    // What takes longer is in boxes, so that what does not carries no room for it around.
    let reply = match attempt {
        Attempt::Answered(answer) => answer?.into(),
        Attempt::GoesOn(rest) => rest.await.map_err(Error::unexpected)??.into(),
        Attempt::Unclear => {
            let request = Box::pin(read_request::<O>(shared, head.headers, body)).await?;
            Box::pin(catalogue::run_read::<O>(&shared.keyrack, caller, request)).await?
        }
    };
    envelope::success::<O>(&head.id, reply).map_err(Error::unexpected)
}

fn is_declared_larger(headers: &HeaderMap, limit: usize) -> bool {
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    declared.is_some_and(|declared| declared > limit as u64)
}

async fn read_body<B>(body: B, limit: usize) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    match read_whole(&mut Limited::new(body, limit)).await {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(limit)),
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

/// Who has no permission for an operation sends no larger body than this: it is going to be refused, unless the
/// body is wrong.
fn limit_of_caller<O: Operation>(caller: &Caller, headers: &HeaderMap) -> usize {
    let is_declared_small = headers.contains_key(CONTENT_LENGTH) && !is_declared_larger(headers, LARGE_BODY);
    if is_declared_small || caller.root_key().could_satisfy(&O::ABOUT.rule) { usize::MAX } else { LARGE_BODY }
}

/// Reads the request of a body. A large one takes long enough to keep others waiting: a thread of its own does
/// it, when its bytes are within the budget for all bodies that are being read.
async fn read_request<O: Operation>(
    shared: &Shared,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<O::Request, Error> {
    let read = if body.len() <= LARGE_BODY {
        parse::<O>(&body)
    } else {
        let bytes = u32::try_from(body.len().min(BUDGET)).map_err(Error::unexpected)?;
        let _within_budget = shared.budget.acquire_many(bytes).await.map_err(Error::unexpected)?;
        tokio::task::spawn_blocking(move || parse::<O>(&body)).await.map_err(Error::unexpected)?
    };
    read.map_err(|error| match encoding(headers) {
        Some(encoding) if error.code() == Code::RequestBodyUnreadable => unreadable(format!(
            "was sent with `Content-Encoding: {encoding}` and cannot be read: bodies are taken as they are, \
             without compression"
        )),
        _ => error,
    })
}

/// What the client says that the body is encoded as. A body that is plain JSON is read whatever is said.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let encoding = headers.get(CONTENT_ENCODING)?.to_str().unwrap_or("?");
    Some(encoding.chars().take(32).collect())
}

fn parse<O: Operation>(body: &Bytes) -> Result<O::Request, Error> {
    let text = std::str::from_utf8(body);
    let text = text.map_err(|error| unreadable(format!("is not UTF-8: byte {} is wrong", error.valid_up_to())))?;
    if !text.is_empty() {
        return catalogue::read_body::<O>(text);
    }
    if takes_nothing::<O>() {
        return catalogue::read_body::<O>("{}");
    }
    let kind = if O::ABOUT.bare_body.is_some() { "array" } else { "object" };
    let fault = Fault {
        location: "body".to_owned(),
        message: "is empty".to_owned(),
        fix: Some(format!("Send a JSON {kind}, with `Content-Type: application/json`.")),
    };
    Err(Error::new(Code::InvalidInput, format!("The body is empty. Send a JSON {kind}.")).with_faults(vec![fault]))
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
