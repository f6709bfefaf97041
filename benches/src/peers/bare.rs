//! What answering costs at all: the same bodies in and out, and nothing in between.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;

use super::{LimitCheck, LimitDecision, LimitState, Verdict, Verification, answer, status};
use crate::keyrack::{PLENTY, WINDOW_MS};

const REQUEST_ID: &str = "req_4Nv8yTq1ZbWc7XgR";

pub(super) fn router() -> Router {
    Router::new().route("/v2/keys.verifyKey", post(verify)).route("/v2/ratelimit.limit", post(limit))
}

async fn verify(body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Verification<'_>>(&body) else {
        return status(StatusCode::BAD_REQUEST);
    };
    let verdict = Verdict {
        valid: !request.key.is_empty(),
        code: "VALID",
        key_id: "key_4Nv8yTq1ZbWc7XgR",
        keyspace_id: "ks_4Nv8yTq1ZbWc7XgR",
        name: "Key 4711",
        enabled: true,
        permissions: vec!["documents.list", request.permissions.unwrap_or_default()],
        roles: ["editor"],
        ratelimits: [LimitState {
            id: "rl_4Nv8yTq1ZbWc7XgR",
            name: "requests",
            limit: PLENTY,
            duration: WINDOW_MS,
            reset: 1_795_330_860_000,
            remaining: 999_999_123,
            exceeded: false,
            auto_apply: true,
        }],
    };
    answer(REQUEST_ID, verdict)
}

async fn limit(body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<LimitCheck<'_>>(&body) else {
        return status(StatusCode::BAD_REQUEST);
    };
    let decision = LimitDecision {
        limit: request.limit,
        remaining: request.limit - request.cost,
        reset: 1_795_330_860_000,
        success: !request.identifier.is_empty() && request.duration > 0,
    };
    answer(REQUEST_ID, decision)
}
