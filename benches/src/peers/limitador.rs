//! `ratelimit.limit` with the `limitador` crate, in memory: a fixed window where Keyrack's slides, one limit
//! that is known beforehand where Keyrack's comes with the request.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use limitador::RateLimiter;
use limitador::limit::{Context, Expression, Limit};

use super::{LimitCheck, LimitDecision, answer, authenticate, now_ms, status};
use crate::keyrack::{PLENTY, WINDOW_MS};

/// Counters that it keeps: more than are asked for.
const COUNTERS: u64 = 100_000;

pub(super) fn router() -> Result<Router> {
    let limiter = RateLimiter::new(COUNTERS);
    let identifier = Expression::try_from("identifier").map_err(|error| anyhow!("{error}"))?;
    limiter.add_limit(Limit::new("bench", PLENTY, WINDOW_MS / 1000, [], [identifier]));
    Ok(Router::new().route("/v2/ratelimit.limit", post(limit)).with_state(Arc::new(limiter)))
}

async fn limit(State(limiter): State<Arc<RateLimiter>>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(request_id) = authenticate(&headers) else {
        return status(StatusCode::UNAUTHORIZED);
    };
    let Ok(request) = serde_json::from_slice::<LimitCheck<'_>>(&body) else {
        return status(StatusCode::BAD_REQUEST);
    };
    let context = Context::from(HashMap::from([("identifier".to_owned(), request.identifier.to_owned())]));
    let Ok(checked) = limiter.check_rate_limited_and_update(&request.namespace.into(), &context, request.cost)
    else {
        return status(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let counter = checked.counters.first();
    let remaining = counter.and_then(|counter| counter.remaining());
    let expires_in = counter.and_then(|counter| counter.expires_in());
    let decision = LimitDecision {
        limit: counter.map_or(0, |counter| counter.max_value()),
        remaining: remaining.unwrap_or(0),
        reset: now_ms() + expires_in.map_or(0, |left| left.as_millis() as u64),
        success: counter.is_some() && !checked.limited,
    };
    answer(&request_id, decision)
}
