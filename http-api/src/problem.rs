//! Errors as HTTP answers.

use std::sync::Arc;

use axum::extract::{Extension, State};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use keyrack_core::error::{Code, Error, Fault};
use keyrack_core::ids::RequestId;
use serde::Serialize;

use crate::envelope::{self, Answer, Meta};
use crate::state::Shared;

#[derive(Serialize)]
struct Problem<'a> {
    meta: Meta<'a>,
    error: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    title: &'static str,
    detail: &'a str,
    status: u16,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [Fault]>,
}

/// The answer for an error. `docs` is the address of the documentation, without a trailing slash.
///
/// Faults of ours are logged here with their cause, under the request id that the caller reads.
pub(crate) fn response(id: &RequestId, docs: &str, error: &Error) -> Answer {
    let code = error.code();
    log(id, error);
    let problem = Problem {
        meta: id.into(),
        error: Details {
            title: code.title(),
            detail: error.detail(),
            status: code.status(),
            kind: format!("{docs}/errors/{}", code.path()),
            errors: matches!(code.status(), 400 | 408 | 413).then(|| error.faults()),
        },
    };
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = envelope::json(status, serde_json::to_vec(&problem).unwrap_or_default());
    let headers = response.headers_mut();
    if status == StatusCode::TOO_MANY_REQUESTS {
        // The official SDK recognises a 429 only by this type.
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"keyrack\""));
    }
    if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Logs a fault of ours with its cause.
pub(crate) fn log(id: &RequestId, error: &Error) {
    let code = error.code();
    if code.status() >= 500 {
        tracing::error!(request_id = %id, code = code.path(), cause = error.cause().unwrap_or("-"), "request failed");
    }
}

/// 404 for a path at which there is nothing.
pub(crate) async fn unknown_path(
    State(shared): State<Arc<Shared>>,
    Extension(id): Extension<RequestId>,
) -> Answer {
    let error = Error::new(
        Code::RouteNotFound,
        "There is nothing at this path. Operations are at `/v2/<namespace>.<operation>`; `/openapi.json` lists them.",
    );
    response(&id, &shared.docs, &error)
}
