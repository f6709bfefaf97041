//! `keys.verifyKey`

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::authorization::{Expression, OnDenied, Rule};
use crate::catalogue::{About, Effect, Operation, Reply};
use crate::keys::migration;
use crate::keys::secret::Secret;
use crate::keys::verification::{
    self, AskedLimit, CheckedLimit, Decision, Found, Question, Verdict, shared_limits,
};
use crate::operations::fields::RatelimitResponse;
use crate::value::Meta;
use crate::{Caller, Code, Error, Keyrack};

/// Verifies a key.
#[derive(Debug)]
pub struct VerifyKey;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The full key, with its prefix.
    #[schemars(length(min = 1, max = 512))]
    key: Secret,
    /// Labels for analytics.
    #[serde(rename = "tags")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 512)))]
    _tags: Option<Vec<String>>,
    /// Permission query: slugs with AND, OR, parentheses.
    #[schemars(length(min = 1, max = 1000))]
    permissions: Option<String>,
    /// What this use costs; default: 1.
    credits: Option<Cost>,
    /// Limits to check besides those that apply by themselves.
    ratelimits: Option<Vec<LimitRequest>>,
    /// Where to look for keys that were imported and not used yet.
    #[schemars(length(max = 256))]
    migration_id: Option<String>,
    /// Ids of key spaces (`ks_…`) the key must be in.
    keyspaces: Option<Vec<String>>,
}

/// What a use costs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Cost {
    /// Credits to spend; 0 spends none.
    #[schemars(range(min = 0, max = 1_000_000_000_000_i64))]
    cost: i64,
}

/// A limit to check.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LimitRequest {
    /// A limit of the key or its identity, or any name with `limit` and `duration`.
    #[schemars(length(min = 3, max = 255))]
    name: String,
    /// What to count; default: 1.
    #[schemars(range(min = 0), extend("default" = 1))]
    cost: Option<i64>,
    /// With `duration`: an ad-hoc limit.
    #[schemars(range(min = 0))]
    limit: Option<i64>,
    /// With `limit`: its window in ms, 1000 or more.
    #[schemars(range(min = 0))]
    duration: Option<i64>,
}

/// What is answered. `NOT_FOUND` comes with `valid` and `code` alone.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// Whether to serve the request.
    valid: bool,
    /// Why, or why not.
    code: Verdict,
    /// `key_…`
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<Arc<str>>,
    /// `ks_…`, the key space of its API.
    #[serde(skip_serializing_if = "Option::is_none")]
    keyspace_id: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What you attached to the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Meta>")]
    meta: Option<Arc<RawValue>>,
    /// Unix ms after which the key is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    /// The balance after this use; absent when unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    credits: Option<i64>,
    /// Whether the key may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    /// Slugs it holds, itself or through roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    permissions: Vec<Arc<str>>,
    /// Names of its roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Arc<str>>,
    /// Whom it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
    /// The limits that were checked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ratelimits: Vec<LimitResponse>,
}

/// Whom a key belongs to.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Identity {
    /// `id_…`
    id: Arc<str>,
    /// What your own system calls it.
    external_id: String,
    /// What you attached to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Meta>")]
    meta: Option<Arc<RawValue>>,
    /// Its limits, without those that a limit of the key hides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ratelimits: Vec<RatelimitResponse>,
}

/// A limit after its check.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LimitResponse {
    /// `rl_…`; empty for an ad-hoc limit.
    id: String,
    /// Its name.
    name: Arc<str>,
    /// Cost admitted per window.
    limit: i64,
    /// Window in ms.
    duration: i64,
    /// Unix ms at which the window ends.
    reset: i64,
    /// What is left in the window.
    remaining: i64,
    /// Whether this use was beyond it.
    exceeded: bool,
    /// Whether it applies to every verification.
    auto_apply: bool,
}

impl Operation for VerifyKey {
    const ABOUT: About = About {
        name: "keys.verifyKey",
        title: "Verify a key",
        summary: "Says whether a key may be used now, and spends the credits and limits that the use costs.",
        description: "Answers 200 whatever the verdict: look at `valid` and `code`. Checks, in order: existence, \
                      enabled, expiry, client address, permissions, rate limits, credits; the first that fails \
                      decides. A refusal spends nothing, but for `USAGE_EXCEEDED`, which leaves rate limits spent. \
                      Keys of other workspaces, keys of deleted APIs and keys that the root key may not verify \
                      answer `NOT_FOUND`. Credits are spent durably before the answer is sent, so a client that \
                      stops waiting may have spent them without an answer.",
        hint: "The key is a secret. An invalid key is a normal result, not an error.",
        example: r#"{"key": "<key>"}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("api.*.verify_key"),
            Expression::Leg("api.{apiId}.verify_key"),
            Expression::Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}/keys/{keyId}#verify_key"),
        ]))
        .denied_as(OnDenied::Verdict),
        effect: Effect::Write,
        idempotent: false,
        request_secrets: &["/key"],
        hidden_from_assistants: &["migrationId"],
        errors: &[Code::PreconditionFailed],
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let reply = VerifyKey::verify(keyrack, caller, request).await?;
        keyrack.metrics().verified(reply.data.code);
        Ok(reply)
    }
}

impl VerifyKey {
    async fn verify(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let key_spaces = request.keyspaces.as_deref();
        let (workspace_id, text) = (caller.workspace_id(), request.key.expose());
        let mut found = verification::find(keyrack, workspace_id, text, key_spaces);
        if let (None, Some(migration_id)) = (&found, &request.migration_id) {
            found = migration::find_waiting(keyrack, workspace_id, text, migration_id, key_spaces)?;
        }
        let Some(found) = found else {
            caller.answered_as_unknown();
            return Ok(Response::not_found().into());
        };
        let scope = [
            ("apiId", found.api.stored.id.as_str()),
            ("keySpaceId", &found.api.stored.key_space_id),
            ("keyId", &found.key.id),
        ];
        if !caller.is_allowed::<Self>(&scope) {
            return Ok(Response::not_found().into());
        }
        let is_imported = found.key.pending_migration_id.is_some();
        if is_imported && !migration::settle(keyrack, caller, &found.key, text).await? {
            return Ok(Response::not_found().into());
        }
        let question = Question {
            permissions: request.permissions,
            cost: request.credits.map(|credits| credits.cost),
            limits: request.ratelimits.unwrap_or_default().into_iter().map(AskedLimit::from).collect(),
            address: caller.origin().address,
        };
        let decision = verification::decide(keyrack, &found, &question).await?;
        if decision.verdict == Verdict::NotFound {
            return Ok(Response::not_found().into());
        }
        Ok(Response::of(&found, decision).into())
    }
}

impl From<LimitRequest> for AskedLimit {
    fn from(request: LimitRequest) -> Self {
        AskedLimit { name: request.name, cost: request.cost, limit: request.limit, duration_ms: request.duration }
    }
}

impl From<CheckedLimit> for LimitResponse {
    fn from(limit: CheckedLimit) -> Self {
        LimitResponse {
            id: limit.id,
            name: limit.name,
            limit: limit.limit,
            duration: limit.duration_ms,
            reset: limit.reset_ms,
            remaining: limit.remaining,
            exceeded: limit.exceeded,
            auto_apply: limit.auto_apply,
        }
    }
}

impl Response {
    fn not_found() -> Response {
        Response {
            valid: false,
            code: Verdict::NotFound,
            key_id: None,
            keyspace_id: None,
            name: None,
            meta: None,
            expires: None,
            credits: None,
            enabled: None,
            permissions: Vec::new(),
            roles: Vec::new(),
            identity: None,
            ratelimits: Vec::new(),
        }
    }

    fn of(found: &Found, decision: Decision) -> Response {
        let key = &found.key;
        Response {
            valid: decision.verdict == Verdict::Valid,
            code: decision.verdict,
            key_id: Some(key.id.clone()),
            keyspace_id: Some(found.api.stored.key_space_id.clone()),
            name: key.name.clone(),
            meta: key.meta.clone(),
            expires: key.expires_at.filter(|expires_at| *expires_at != 0),
            credits: decision.remaining,
            enabled: Some(key.enabled),
            permissions: key.permissions.clone(),
            roles: key.roles.clone(),
            identity: found.identity.as_ref().map(|identity| Identity {
                id: identity.id.clone(),
                external_id: identity.external_id.clone(),
                meta: identity.meta.clone(),
                ratelimits: shared_limits(found)
                    .map(|(limit, _)| RatelimitResponse {
                        id: limit.id.clone(),
                        name: limit.name.to_string(),
                        limit: limit.limit,
                        duration: limit.duration_ms,
                        auto_apply: limit.auto_apply,
                    })
                    .collect(),
            }),
            ratelimits: decision.limits.into_iter().map(LimitResponse::from).collect(),
        }
    }
}
