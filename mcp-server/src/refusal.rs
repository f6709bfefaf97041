//! Refusals over HTTP, before JSON-RPC begins and in its form all the same: clients print the body.

use axum::Json;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use rmcp::model::ErrorCode;

use crate::gate::Refusal;

/// A refusal with this status, and with a challenge where it is about credentials.
pub(crate) fn refuse(status: StatusCode, message: &str, challenge: Option<&'static str>) -> Response {
    let refusal = Refusal::without_id(ErrorCode::INVALID_REQUEST, message);
    let mut response = (status, Json(refusal.to_json())).into_response();
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}
