//! A verification as one Lua script in Redis, asked through one multiplexed, pipelining connection.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use redis::aio::ConnectionManager;
use redis::{Client, Script};

use super::{LimitState, Verdict, Verification, answer, authenticate, now_ms, status};
use crate::keyrack::{PERMISSION, PLENTY, WINDOW_MS};
use crate::seed::hash;

/// Look-up, state, expiry, permission, and the sliding window that Keyrack has. A key's fields are one text,
/// tab-separated, as a single GET is the cheapest read; its permissions are surrounded by spaces.
const DECIDE: &str = r#"
local stored = redis.call('GET', KEYS[1])
if not stored then return {'NOT_FOUND'} end
local id, name, enabled, expires, permissions, limit, duration = stored:match(
    '^([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)$')
local now, cost = tonumber(ARGV[1]), tonumber(ARGV[3])
if enabled ~= '1' then return {'DISABLED'} end
if expires ~= '' and tonumber(expires) <= now then return {'EXPIRED'} end
if not permissions:find(' ' .. ARGV[2] .. ' ', 1, true) then return {'INSUFFICIENT_PERMISSIONS'} end
limit, duration = tonumber(limit), tonumber(duration)
local sequence = math.floor(now / duration)
local cell = 'cell:' .. id .. ':' .. duration .. ':'
local counts = redis.call('MGET', cell .. sequence, cell .. (sequence - 1))
local current, previous = tonumber(counts[1] or 0), tonumber(counts[2] or 0)
local elapsed = now - sequence * duration
local used = current + math.floor(previous * (duration - elapsed) / duration)
local reset = (sequence + 1) * duration
if used + cost > limit then return {'RATE_LIMITED', id, name, permissions, limit, duration, reset, 0} end
if redis.call('INCRBY', cell .. sequence, cost) == cost then
    redis.call('PEXPIRE', cell .. sequence, 2 * duration)
end
return {'VALID', id, name, permissions, limit, duration, reset, limit - used - cost}
"#;

type Decision = (String, String, String, String, u64, u64, u64, u64);

struct Shared {
    connection: ConnectionManager,
    script: Script,
}

/// Stores the keys of the file `keys`, one plaintext per line, in the Redis at this address.
pub(super) async fn router(redis: &str, keys: impl AsRef<Path>) -> Result<Router> {
    let mut connection = ConnectionManager::new(Client::open(redis)?).await?;
    let mut pipeline = redis::pipe();
    for (number, key) in std::fs::read_to_string(keys)?.lines().enumerate() {
        let permissions = format!(" documents.list {PERMISSION} ");
        let stored = format!("key_4Nv8yTq1Z{number:07}\tKey {number}\t1\t\t{permissions}\t{PLENTY}\t{WINDOW_MS}");
        pipeline.set(format!("key:{}", hash(key)), stored).ignore();
    }
    pipeline.exec_async(&mut connection).await?;
    let shared = Shared { connection, script: Script::new(DECIDE) };
    Ok(Router::new().route("/v2/keys.verifyKey", post(verify)).with_state(Arc::new(shared)))
}

async fn verify(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(request_id) = authenticate(&headers) else {
        return status(StatusCode::UNAUTHORIZED);
    };
    let Ok(request) = serde_json::from_slice::<Verification<'_>>(&body) else {
        return status(StatusCode::BAD_REQUEST);
    };
    let mut connection = shared.connection.clone();
    let mut invocation = shared.script.key(format!("key:{}", hash(request.key)));
    invocation.arg(now_ms()).arg(request.permissions.unwrap_or_default()).arg(1);
    // A short answer, of a key that may not be used, is not of this type: no run asks for one.
    let decided: redis::RedisResult<Decision> = invocation.invoke_async(&mut connection).await;
    let Ok((code, id, name, permissions, limit, duration, reset, remaining)) = decided else {
        return status(StatusCode::SERVICE_UNAVAILABLE);
    };
    let verdict = Verdict {
        valid: code == "VALID",
        code: &code,
        key_id: &id,
        keyspace_id: "ks_4Nv8yTq1ZbWc7XgR",
        name: &name,
        enabled: true,
        permissions: permissions.split_whitespace().collect(),
        roles: ["editor"],
        ratelimits: [LimitState {
            id: "rl_4Nv8yTq1ZbWc7XgR",
            name: "requests",
            limit,
            duration,
            reset,
            remaining,
            exceeded: code == "RATE_LIMITED",
            auto_apply: true,
        }],
    };
    answer(&request_id, verdict)
}
