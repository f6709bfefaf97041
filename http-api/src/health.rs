//! Whether the process lives and whether it is ready: `/healthz`, `/readyz`, `/v2/liveness`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Extension, State};
use http::StatusCode;
use serde_json::json;

use keyrack_core::ids::RequestId;

use crate::envelope::{self, Answer};
use crate::router::Shared;

/// Whether the server takes work; turned off while it drains.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// A server that takes work.
    pub fn new() -> Self {
        Readiness::default()
    }

    /// The server drains from now on: readiness answers 503.
    pub fn drain(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_draining(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

fn status(status: StatusCode, word: &str) -> Answer {
    envelope::json(status, json!({ "status": word }).to_string())
}

/// 200 as long as the process runs.
pub(crate) async fn health() -> Answer {
    status(StatusCode::OK, "ok")
}

/// 200 when requests can be served: the database answers and the server does not drain.
pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> Answer {
    if shared.readiness.is_draining() {
        return status(StatusCode::SERVICE_UNAVAILABLE, "shutting down");
    }
    match shared.keyrack.store().ping().await {
        Ok(()) if shared.keyrack.is_stale() => {
            status(StatusCode::SERVICE_UNAVAILABLE, "catching up with the changes of other processes")
        }
        Ok(()) => status(StatusCode::OK, "ok"),
        Err(_) => status(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer"),
    }
}

/// The v2 API's own sign of life.
pub(crate) async fn liveness(Extension(id): Extension<RequestId>) -> Answer {
    let body = json!({ "meta": { "requestId": id.as_str() }, "data": { "message": "Keyrack is up." } });
    envelope::json(StatusCode::OK, body.to_string())
}
