//! How a request becomes a call of an operation.
//!
//! The order is the API's promise: declared size, authentication, workspace throttle, body, validation,
//! handler. A caller without a root key makes the server buffer nothing and learns nothing of schemas.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::extract::{Request, State};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};
use http_body_util::{BodyDataStream, BodyExt as _, LengthLimitError, Limited};
use keyrack_core::caller::{Caller, ClientAddress};
use keyrack_core::catalogue::{self, Attempt, Operation};
use keyrack_core::error::{Code, Error, Fault};
use keyrack_core::ids::RequestId;
use keyrack_core::large_bodies::{LARGE, Room};
use keyrack_core::ratelimit::throttle::Throttle;
use keyrack_core::schema::unreadable;
use keyrack_core::traces::TraceSpan;
use tracing::Span;

use crate::authentication::{authenticate, learn, tell_refusal};
use crate::envelope::{self, Answer};
use crate::head::Head;
use crate::problem;
use crate::state::Shared;

/// How long a request may take, reading its body included.
const DEADLINE: Duration = Duration::from_secs(30);

/// Answers `POST /v2/<name>` for the operation `O`.
pub(crate) async fn call<O: Operation>(State(shared): State<Arc<Shared>>, request: Request) -> Answer {
    let id = request.extensions().get::<RequestId>().copied().unwrap_or_else(RequestId::new);
    let address = request.extensions().get::<ClientAddress>().and_then(|address| address.0);
    let span = request.extensions().get::<TraceSpan>().map_or_else(Span::none, |span| span.0.clone());
    let (parts, body) = request.into_parts();
    answer::<O, _>(&shared, Head { id, headers: &parts.headers, address, span: &span }, body).await
}

/// Answers a request for the operation `O`.
pub(crate) async fn answer<O, B>(shared: &Shared, head: Head<'_>, body: B) -> Answer
where
    O: Operation,
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<BoxError>,
{
    let mut throttle = None;
    let outcome = within_deadline(pin!(perform::<O, B>(shared, head, body, &mut throttle))).await;
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

async fn perform<O, B>(
    shared: &Shared,
    head: Head<'_>,
    body: B,
    throttle: &mut Option<Throttle>,
) -> Result<Answer, Error>
where
    O: Operation,
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<BoxError>,
{
    let rule = const { &O::ABOUT.rule };
    let limit = O::ABOUT.largest_body.min(shared.max_body_bytes);
    let declared = declared_length(head.headers);
    let is_declared_larger = |limit: usize| declared.is_some_and(|declared| declared > limit as u64);
    if is_declared_larger(limit) {
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
    head.span.record("root_key", caller.principal().id());
    let throttled = shared.keyrack.counters().throttle(&caller, rule, shared.keyrack.clock());
    *throttle = throttled.numbers;
    if let Some(refusal) = throttled.refusal {
        return Err(refusal);
    }
    // Who has no permission for an operation sends no larger body than this: it is going to be refused, unless the body
    // is wrong.
    let is_small = declared.is_some() && !is_declared_larger(LARGE);
    let is_hopeless = !is_small && !caller.principal().could_satisfy(rule);
    let limit = if is_hopeless { limit.min(LARGE) } else { limit };
    if is_declared_larger(limit) {
        return Err(too_large(limit));
    }
    let (sent, renewed) = {
        let taking = Taking { shared, caller: &caller, declared, limit };
        let mut reading = pin!(read_body(taking, body));
        match futures_util::future::poll_immediate(reading.as_mut()).await {
            Some(sent) => (sent?, None),
            // Whatever became of the root key while the body was on its way counts.
            None => (reading.await?, Some(shared.keyrack.renew(&caller)?)),
        }
    };
    let caller = renewed.unwrap_or(caller);
    let is_large = sent.bytes.len() > LARGE;
    let attempt =
        if is_large { Attempt::Unclear } else { catalogue::attempt::<O>(&shared.keyrack, &caller, &sent.bytes) };
    // What takes longer is in boxes, so that what does not carries no room for it around.
    let reply = match attempt {
        Attempt::Answered(answer) => answer?,
        Attempt::GoesOn(rest) => rest.await.map_err(Error::unexpected)??,
        Attempt::Unclear => {
            let request = Box::pin(read_request::<O>(shared, head.headers, sent)).await?;
            // The same counts while it waited to be read.
            let caller = if is_large { shared.keyrack.renew(&caller)? } else { caller };
            Box::pin(catalogue::run_read::<O>(&shared.keyrack, caller, request)).await?
        }
    };
    envelope::success::<O>(&head.id, reply).map_err(Error::unexpected)
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What decides how much of a body is taken.
#[derive(Clone, Copy)]
struct Taking<'a> {
    shared: &'a Shared,
    caller: &'a Caller,
    /// Bytes that the client says it sends.
    declared: Option<u64>,
    limit: usize,
}

/// A body, and the room that it has if it is large.
struct Sent {
    bytes: Bytes,
    room: Option<Room>,
}

/// All of a body. Most come in one piece, which is taken as it is.
async fn read_body<B>(taking: Taking<'_>, body: B) -> Result<Sent, Error>
where
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<BoxError>,
{
    let Taking { shared, caller, declared, limit } = taking;
    let ended = |error: BoxError| {
        if error.is::<LengthLimitError>() {
            return too_large(limit);
        }
        Error::new(Code::RequestBodyUnreadable, "The body ended before it was complete. Send it again.")
    };
    let mut body = Limited::new(body, limit);
    let first = match body.frame().await.transpose().map_err(ended)?.map(Frame::into_data) {
        Some(Ok(first)) if body.is_end_stream() => return Ok(Sent { bytes: first, room: None }),
        Some(Ok(first)) => first,
        _ => Bytes::new(),
    };
    let whole = declared.and_then(|length| usize::try_from(length).ok()).unwrap_or(limit);
    let pieces = stream::iter([Ok(first)]).chain(BodyDataStream::new(body));
    let taken = Box::pin(shared.keyrack.bodies().take(caller.workspace_id(), whole.min(limit), pieces)).await;
    let (bytes, room) = taken.map_err(ended)?;
    Ok(Sent { bytes: bytes.into(), room })
}

fn too_large(limit: usize) -> Error {
    Error::new(Code::RequestBodyTooLarge, format!("The body is larger than the {limit} bytes that are allowed."))
}

/// Reads the request of a body. A large one takes long enough to keep others waiting: a thread of its own does
/// it, when its bytes are within the budget for all bodies that are being read.
async fn read_request<O: Operation>(
    shared: &Shared,
    headers: &HeaderMap,
    sent: Sent,
) -> Result<O::Request, Error> {
    let Sent { bytes: body, room } = sent;
    let length = body.len();
    let read = if length <= LARGE {
        parse::<O>(&body)
    } else {
        let parse = move || {
            let request = parse::<O>(&body);
            drop((body, room));
            request
        };
        shared.keyrack.bodies().read(length, parse).await?
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
    if catalogue::request_schema::<O>().has_no_members() {
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

fn add_throttle(headers: &mut HeaderMap, throttle: Throttle) {
    for (name, value) in [
        ("ratelimit-limit", HeaderValue::from(throttle.limit)),
        ("ratelimit-remaining", HeaderValue::from(throttle.remaining)),
        ("ratelimit-reset", HeaderValue::from(throttle.reset_seconds)),
    ] {
        headers.insert(HeaderName::from_static(name), value);
    }
}
