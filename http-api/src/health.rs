//! Whether the process lives and whether it is ready: `/healthz`, `/readyz`, `/v2/liveness`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::get;
use http::StatusCode;
use keyrack_core::health::Reason;
use keyrack_core::ids::RequestId;
use keyrack_core::vault::Vault;
use serde_json::{Value, json};

use crate::envelope::{self, Answer};
use crate::state::Shared;

/// Where the signs of life are.
pub(crate) const PATHS: [&str; 3] = [HEALTH, READY, LIVENESS];
const HEALTH: &str = "/healthz";
const READY: &str = "/readyz";
const LIVENESS: &str = "/v2/liveness";

const WRONG_MASTER_KEY: &str = "Recoverable keys are stored under another master key than this server's and cannot be \
     read. `keyrack doctor` says which one is missing.";

/// The routes of the signs of life.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route(HEALTH, get(health)).route(READY, get(ready)).route(LIVENESS, get(liveness))
}

/// 200 as long as the process runs.
async fn health() -> Answer {
    envelope::json(StatusCode::OK, json!({ "status": "ok" }).to_string())
}

/// 200 when requests can be served, else 503; either with what is wrong. What is known is answered, without a look.
async fn ready(State(shared): State<Arc<Shared>>) -> Answer {
    let reasons = shared.keyrack.reasons();
    if reasons.is_empty() {
        return match shared.keyrack.vault().map_or(0, Vault::foreign_data_keys) {
            0 => health().await,
            // All else works, and a master key that is lost for good must not keep the server out for good.
            _ => envelope::json(
                StatusCode::OK,
                json!({ "status": "ok", "warnings": [WRONG_MASTER_KEY] }).to_string(),
            ),
        };
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
async fn liveness(Extension(id): Extension<RequestId>) -> Answer {
    let body = json!({ "meta": { "requestId": id.as_str() }, "data": { "message": "Keyrack is up." } });
    envelope::json(StatusCode::OK, body.to_string())
}
