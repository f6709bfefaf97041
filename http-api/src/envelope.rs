//! The shape of every answer: `{meta: {requestId}, data, pagination?}`, or `{meta, error}`.

use axum::body::Body;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{Either, Full};
use keyrack_core::catalogue::Operation;
use keyrack_core::ids::RequestId;
use keyrack_core::reply::{Pagination, Reply};
use serde::Serialize;

/// Carries the request id beside the body.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An answer whose body is there as a whole, and in no box.
pub(crate) type Answer = Response<Full<Bytes>>;

/// The body of an answer: there as a whole, and in no box, or whatever a router gave.
pub type AnswerBody = Either<Full<Bytes>, Body>;

/// Headers of most answers: these, the request id, and what the connection adds.
const ANSWER_HEADERS: usize = 6;

/// Most answers have fewer bytes.
const USUAL_BYTES: usize = 1024;

/// What every body begins with.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta<'a> {
    request_id: &'a str,
}

impl<'a> From<&'a RequestId> for Meta<'a> {
    fn from(id: &'a RequestId) -> Self {
        Meta { request_id: id.as_str() }
    }
}

#[derive(Serialize)]
struct Success<'a, T> {
    meta: Meta<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pagination: Option<Pagination>,
}

/// 200 with what an operation answered.
pub(crate) fn success<O: Operation>(
    id: &RequestId,
    reply: Reply<O::Response>,
) -> Result<Answer, serde_json::Error> {
    let data = O::ABOUT.has_data.then_some(reply.data);
    let body = Success { meta: id.into(), data, pagination: reply.pagination };
    let mut text = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut text, &body)?;
    Ok(json(StatusCode::OK, text))
}

/// An answer with a JSON body.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(ANSWER_HEADERS);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Answers hold secrets and what is true at one moment: nobody between keeps them, nobody guesses what they are.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
