//! The peers: other ways to do the same work, behind the same HTTP layer (axum, hyper) on the same runtime.
//!
//! `bare` parses and answers and does nothing else: what answering costs at all. The others also check the
//! root key and make a request id, as Keyrack does. What they leave out: counting requests, logging, the
//! check of `Host`, time limits, and every feature that the compared request does not use.

pub(crate) mod bare;
pub(crate) mod limitador;
pub(crate) mod redis_script;
pub(crate) mod sql_transaction;

use std::collections::HashSet;
use std::sync::LazyLock;

use anyhow::{Result, bail};
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use crate::server::ROOT_KEY;

/// Runs a peer by its name and arguments, the first of which is its port.
pub(crate) fn run(name: &str, arguments: &[String]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (router, port) = match (name, arguments) {
            ("bare", [port]) => (bare::router(), port),
            ("limitador", [port]) => (limitador::router()?, port),
            ("redis-script", [port, redis, keys]) => (redis_script::router(redis, keys).await?, port),
            ("sql-transaction", [port, file, synchronous, keys]) => {
                (sql_transaction::router(file, synchronous, keys).await?, port)
            }
            _ => bail!("there is no such peer: {name} {arguments:?}"),
        };
        let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router.route("/readyz", get(async || "ready"))).await?;
        Ok(())
    })
}

/// A verification as it is sent.
#[derive(Debug, Deserialize)]
struct Verification<'a> {
    key: &'a str,
    permissions: Option<&'a str>,
}

/// A check of a limit as it is sent.
#[derive(Debug, Deserialize)]
struct LimitCheck<'a> {
    namespace: &'a str,
    identifier: &'a str,
    limit: u64,
    duration: u64,
    #[serde(default = "one")]
    cost: u64,
}

fn one() -> u64 {
    1
}

/// What Keyrack puts around an answer.
#[derive(Debug, Serialize)]
struct Envelope<'a, T> {
    meta: Meta<'a>,
    data: T,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    request_id: &'a str,
}

/// What a verification answers for the keys that are asked for here.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict<'a> {
    valid: bool,
    code: &'a str,
    key_id: &'a str,
    keyspace_id: &'a str,
    name: &'a str,
    enabled: bool,
    permissions: Vec<&'a str>,
    roles: [&'a str; 1],
    ratelimits: [LimitState<'a>; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LimitState<'a> {
    id: &'a str,
    name: &'a str,
    limit: u64,
    duration: u64,
    reset: u64,
    remaining: u64,
    exceeded: bool,
    auto_apply: bool,
}

/// What a check of a limit answers.
#[derive(Debug, Serialize)]
struct LimitDecision {
    limit: u64,
    remaining: u64,
    reset: u64,
    success: bool,
}

/// 200 with a body in the envelope, and the request id in a header.
fn answer(request_id: &str, data: impl Serialize) -> Response {
    let body = Envelope { meta: Meta { request_id }, data };
    let Ok(body) = serde_json::to_vec(&body) else {
        return status(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// An answer without a body; the driver refuses a run in which there is one.
fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The root keys that there are, by hash.
static ROOT_KEYS: LazyLock<HashSet<[u8; 32]>> = LazyLock::new(|| HashSet::from([digest(ROOT_KEY)]));

/// A new request id, for callers with a root key.
fn authenticate(headers: &HeaderMap) -> Option<String> {
    let bearer = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    ROOT_KEYS.contains(&digest(bearer)).then(|| {
        let random: [u8; 12] = std::array::from_fn(|_| fastrand::u8(..));
        format!("req_{}", BASE64_STANDARD.encode(random))
    })
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Unix ms.
fn now_ms() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_millis() as u64)
}
