//! Whether the process lives and whether it is ready: `/healthz`, `/readyz`, `/v2/liveness`.

use std::sync::Arc;

use axum::extract::{Extension, State};
use http::StatusCode;
use keyrack_core::health::Reason;
use keyrack_core::ids::RequestId;
use serde_json::{Value, json};

use crate::envelope::{self, Answer};
use crate::router::Shared;

/// Where the signs of life are.
pub(crate) const PATHS: [&str; 3] = ["/healthz", "/readyz", "/v2/liveness"];

/// 200 as long as the process runs.
pub(crate) async fn health() -> Answer {
    envelope::json(StatusCode::OK, json!({ "status": "ok" }).to_string())
}

/// 200 when requests can be served, else 503; either with what is wrong. What is known is answered, without a look.
pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> Answer {
    let reasons = shared.keyrack.reasons();
    if reasons.is_empty() {
        return health().await;
    }
    let (status, word) = if reasons.iter().any(|reason| reason.is_against_work()) {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    } else {
        (StatusCode::OK, "degraded")
    };
    let reasons: Vec<Value> = reasons.into_iter().map(told).collect();
    envelope::json(status, json!({ "status": word, "reasons": reasons }).to_string())
}

fn told(reason: Reason) -> Value {
    let mut told = json!({ "reason": reason.name(), "message": reason.message() });
    if let Some(fix) = reason.fix() {
        told["fix"] = fix.into();
    }
    told
}

/// The v2 API's own sign of life.
pub(crate) async fn liveness(Extension(id): Extension<RequestId>) -> Answer {
    let body = json!({ "meta": { "requestId": id.as_str() }, "data": { "message": "Keyrack is up." } });
    envelope::json(StatusCode::OK, body.to_string())
}
