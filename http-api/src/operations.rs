//! How a request becomes a call of an operation.
//!
//! The order is the API's promise: declared size, authentication, workspace throttle, body, validation,
//! handler. A caller without a root key makes the server buffer nothing and learns nothing of schemas.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use keyrack_core::caller::ClientAddress;
use keyrack_core::catalogue::{self, Operation};
use keyrack_core::error::{Code, Error, Fault};
use keyrack_core::keyrack::Throttle;
use serde_json::Value;

use crate::authentication::authenticate;
use crate::envelope::{self, RequestId};
use crate::problem;
use crate::router::Shared;

/// How long a request may take, reading its body included.
const DEADLINE: Duration = Duration::from_secs(30);

/// Answers `POST /v2/<name>` for the operation `O`.
pub(crate) async fn call<O: Operation>(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or_else(RequestId::new);
    let mut throttle = None;
    let outcome = tokio::time::timeout(DEADLINE, perform::<O>(&shared, &id, request, &mut throttle)).await;
    let outcome = outcome.unwrap_or_else(|_| {
        Err(Error::new(
            Code::RequestTimeout,
            format!("The request took longer than {} s. A change may still be completed.", DEADLINE.as_secs()),
        ))
    });
    let mut response = outcome.unwrap_or_else(|error| problem::response(&id, &shared.docs, &error));
    if let Some(throttle) = throttle {
        add_throttle(response.headers_mut(), throttle);
    }
    response
}

async fn perform<O: Operation>(
    shared: &Shared,
    id: &RequestId,
    request: Request,
    throttle: &mut Option<Throttle>,
) -> Result<Response, Error> {
    check_declared_size(request.headers(), shared.max_body_bytes)?;
    let address = request.extensions().get::<ClientAddress>().copied();
    let caller = authenticate(&shared.keyrack, request.headers(), address)?;
    match shared.keyrack.throttle(&caller) {
        Ok(numbers) => *throttle = numbers,
        Err((refusal, numbers)) => {
            *throttle = numbers;
            return Err(refusal);
        }
    }
    let body = read_body::<O>(request, shared.max_body_bytes).await?;
    let reply = catalogue::run_body::<O>(&shared.keyrack, caller, body).await?;
    envelope::success::<O>(id, reply).map_err(Error::unexpected)
}

fn too_large(limit: usize) -> Error {
    Error::new(Code::RequestBodyTooLarge, format!("The body is larger than the {limit} bytes that are allowed."))
}

fn check_declared_size(headers: &HeaderMap, limit: usize) -> Result<(), Error> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match declared {
        Some(declared) if declared > limit as u64 => Err(too_large(limit)),
        _ => Ok(()),
    }
}

async fn read_body<O: Operation>(request: Request, limit: usize) -> Result<Value, Error> {
    let body = Limited::new(request.into_body(), limit).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            too_large(limit)
        } else {
            Error::new(Code::RequestBodyUnreadable, "The body ended before it was complete. Send it again.")
        }
    })?;
    parse::<O>(&body.to_bytes())
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
