//! `keys.verifyKey`
//!
//! The hottest operation: what is asked borrows from the body, and what is answered is written straight
//! from resident state.

use std::sync::Arc;
use std::time::Instant;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::analytics::texts::Tags;
use crate::authorization::{Expression, OnDenied, Rule};
use crate::bounds::{Integer, List, Text, Unread, sent};
use crate::calendar::UnixMs;
use crate::caller::Authorized;
use crate::catalogue::{About, Assistants, Attempt, Effect, Operation, Pin};
use crate::keys::migration;
use crate::keys::verdict::Verdict;
use crate::keys::verification::{AskedLimit, Begun, CheckedLimit, Noted, Question, Verified};
use crate::operations::fields::RatelimitResponse;
use crate::reply::Reply;
use crate::resident::{FoundKey, NEVER};
use crate::schema::secrets::SENT;
use crate::value::Meta;
use crate::{Caller, Code, Error, Keyrack};

/// Verifies a key.
#[derive(Debug)]
pub struct VerifyKey;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Request(#[schemars(with = "Asked<'static>")] Unread);

/// What is asked. It holds a key and has no `Debug`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked<'a> {
    /// The full key, with its prefix.
    #[serde(borrow)]
    #[schemars(extend("x-mark" = SENT))]
    key: Text<'a, 1, 512>,
    /// Labels for analytics.
    #[serde(default, borrow, deserialize_with = "sent")]
    tags: Option<List<Text<'a, 1, 512>, 0, 20>>,
    /// Permission query: slugs with AND, OR, parentheses.
    #[serde(default, borrow, deserialize_with = "sent")]
    permissions: Option<Text<'a, 1, 1000>>,
    /// What this use costs; default: 1.
    #[serde(default, deserialize_with = "sent")]
    credits: Option<Cost>,
    /// Limits to check besides those that apply by themselves.
    #[serde(default, borrow, deserialize_with = "sent")]
    ratelimits: Option<List<LimitRequest<'a>, 0, 100>>,
    /// Where to look for keys that were imported and not used yet.
    #[serde(default, borrow, deserialize_with = "sent")]
    migration_id: Option<Text<'a, 0, 256>>,
    /// Ids of key spaces (`ks_…`) the key must be in.
    #[serde(default, borrow, deserialize_with = "sent")]
    keyspaces: Option<List<Text<'a, 0, 255>, 0, 100>>,
}

/// What a use costs.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Cost {
    /// Credits to spend; 0 spends none.
    pub(super) cost: Integer<0, 1_000_000_000_000>,
}

/// A limit to check.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LimitRequest<'a> {
    /// A limit of the key or its identity, or any name with `limit` and `duration`.
    #[serde(borrow)]
    name: Text<'a, 3, 255>,
    /// What to count; default: 1.
    #[serde(default, deserialize_with = "sent")]
    #[schemars(extend("default" = 1))]
    cost: Option<Integer<0, { i64::MAX }>>,
    /// With `duration`: an ad-hoc limit.
    #[serde(default, deserialize_with = "sent")]
    limit: Option<Integer<0, { i64::MAX }>>,
    /// With `limit`: its window in ms, up to 30 days.
    #[serde(default, deserialize_with = "sent")]
    duration: Option<Integer<1000, 2_592_000_000>>,
}

impl<'a> LimitRequest<'a> {
    pub(super) fn asked(&'a self) -> AskedLimit<'a> {
        AskedLimit {
            name: &self.name,
            cost: self.cost.map(|cost| cost.0),
            limit: self.limit.map(|limit| limit.0),
            duration_ms: self.duration.map(|duration| duration.0),
        }
    }
}

/// What is answered: the wire's form of it is [`Shown`].
#[derive(Debug)]
pub struct Response(pub Verified);

impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Shown::of(self).serialize(serializer)
    }
}

impl JsonSchema for Response {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Response".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Shown::json_schema(generator)
    }
}

/// What is shown of an answer. `NOT_FOUND` comes with `valid` and `code` alone.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    /// Whether to serve the request.
    valid: bool,
    /// Why, or why not.
    code: Verdict,
    /// `key_…`
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    /// `ks_…`, the key space of its API.
    #[serde(skip_serializing_if = "Option::is_none")]
    keyspace_id: Option<&'a str>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    /// What you attached to the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Meta>")]
    meta: Option<&'a RawValue>,
    /// Unix ms after which the key is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<UnixMs>,
    /// The balance after this use; absent when unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    credits: Option<i64>,
    /// Whether the key may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    /// Slugs it holds, itself or through roles.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    permissions: &'a [Arc<str>],
    /// Names of its roles.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    roles: &'a [Arc<str>],
    /// Whom it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Identity<'a>>,
    /// The limits that were checked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ratelimits: Vec<LimitResponse<'a>>,
}

/// Whom a key belongs to.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    /// `id_…`
    id: &'a str,
    /// What your own system calls it.
    external_id: &'a str,
    /// What you attached to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Meta>")]
    meta: Option<&'a RawValue>,
    /// Its limits, without those that a limit of the key hides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ratelimits: Vec<RatelimitResponse>,
}

/// A limit after its check.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LimitResponse<'a> {
    /// `rl_…`; empty for an ad-hoc limit.
    id: &'a str,
    /// Its name.
    name: &'a str,
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

impl VerifyKey {
    /// Whether a body is plainly right: read without the schema.
    pub fn is_plain(body: &str) -> bool {
        serde_json::from_str::<Asked<'_>>(body).is_ok()
    }
}

impl Operation for VerifyKey {
    const ABOUT: About = About {
        name: "keys.verifyKey",
        title: "Verify a key",
        summary: "Verifies a key as an application would, and spends the credits and limits that the use costs.",
        description: "Answers 200 whatever the verdict: look at `valid` and `code`. Checks, in order: existence, \
                      enabled, expiry, client address, permissions, rate limits, credits; the first that fails \
                      decides. A refusal spends nothing, but for `USAGE_EXCEEDED`, which leaves rate limits spent. \
                      Keys of other workspaces, keys of deleted APIs and keys that the root key may not verify \
                      answer `NOT_FOUND`. A request names at most 100 limits and 100 key spaces; the window of an \
                      ad-hoc limit is 1000 ms to 30 days. Credits are spent durably before the answer is sent, so a client that \
                      stops waiting may have spent them without an answer.",
        example: r#"{"key": "<key>"}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("api.*.verify_key"),
            Expression::Leg("api.{apiId}.verify_key"),
            Expression::Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}/keys/{keyId}#verify_key"),
        ]))
        .denied_as(OnDenied::Verdict),
        effect: Effect::Write,
        idempotent: false,
        is_hot: true,
        errors: &[Code::PreconditionFailed],
        assistants: Assistants {
            hint: "To find out why a key is refused use keys.explainKey, which spends nothing. A refusal is a result. The key is \
                   a secret.",
            hidden: &["migrationId"],
            pinned_by: Some(Pin::Key("key")),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let started = Instant::now();
        let asked: Asked<'_> = request.0.read()?;
        let verifier = keyrack.verifier();
        let found = find(keyrack, caller, &asked)?;
        let (authorized, found) = match found {
            Looked::Found(authorized, found) => (authorized, found),
            Looked::Nothing(hidden) => {
                return Ok(not_found(keyrack, caller, hidden, asked.noted(keyrack, caller, started)));
            }
        };
        if found.key.is_waiting() && !migration::settle(keyrack.state(), caller, &found.key, &asked.key).await? {
            let noted = asked.noted(keyrack, caller, started);
            return Ok(authorized.reply(Response(verifier.not_found(caller.workspace_id(), None, noted))));
        }
        let limits = asked.limits();
        let question = asked.question(caller, &limits, asked.noted(keyrack, caller, started));
        Ok(authorized.reply(Response(verifier.verify(found, question).await?)))
    }

    fn attempt(keyrack: &Keyrack, caller: &Caller, body: &str) -> Attempt<Response> {
        let Ok(asked) = serde_json::from_str::<Asked<'_>>(body) else { return Attempt::Unclear };
        let started = Instant::now();
        let (authorized, found) = match find(keyrack, caller, &asked) {
            Ok(Looked::Found(authorized, found)) => (authorized, found),
            Ok(Looked::Nothing(hidden)) => {
                let noted = asked.noted(keyrack, caller, started);
                return Attempt::Answered(Ok(not_found(keyrack, caller, hidden, noted)));
            }
            Err(error) => return Attempt::Answered(Err(error)),
        };
        if found.key.is_waiting() {
            return Attempt::Unclear;
        }
        let limits = asked.limits();
        let question = asked.question(caller, &limits, asked.noted(keyrack, caller, started));
        match keyrack.verifier().begin(found, question) {
            Ok(Begun::Done(verified)) => Attempt::Answered(Ok(authorized.reply(Response(verified)))),
            Ok(Begun::Waits(unsettled)) => {
                let keyrack = keyrack.clone();
                // A deduction goes on when its client leaves, and so must its event.
                Attempt::go_on(async move {
                    let verified = keyrack.verifier().settle(unsettled).await?;
                    Ok(authorized.reply(Response(verified)))
                })
            }
            Err(error) => Attempt::Answered(Err(error)),
        }
    }
}

/// The answer about a key that is not there, or that the caller may not verify: the same for both.
fn not_found(keyrack: &Keyrack, caller: &Caller, hidden: Option<FoundKey>, noted: Noted) -> Reply<Response> {
    let verified = keyrack.verifier().not_found(caller.workspace_id(), hidden, noted);
    caller.authorize_to_learn_nothing().reply(Response(verified))
}

/// What a look for a key came to.
enum Looked {
    /// A key that the caller may verify.
    Found(Authorized, FoundKey),
    /// None, or one of its workspace that it may not verify.
    Nothing(Option<FoundKey>),
}

/// The key, if there is one that the caller may verify.
fn find(keyrack: &Keyrack, caller: &Caller, asked: &Asked<'_>) -> Result<Looked, Error> {
    let key_spaces = asked.keyspaces.as_ref();
    let is_wanted = |id: &str| key_spaces.is_none_or(|wanted| wanted.0.iter().any(|wanted| **wanted == *id));
    let (workspace_id, text) = (caller.workspace_id(), &*asked.key);
    let mut found = keyrack.resident().find(workspace_id, text);
    if let (None, Some(migration_id)) = (&found, &asked.migration_id) {
        found = migration::find_waiting(keyrack.resident(), workspace_id, text, migration_id)?;
    }
    let Some(found) = found.filter(|found| is_wanted(&found.key_space_id)) else {
        return Ok(Looked::Nothing(None));
    };
    let scope =
        [("apiId", &*found.key.place.api_id), ("keySpaceId", &found.key_space_id), ("keyId", &found.key.id)];
    if let Ok(authorized) = caller.authorize(const { &VerifyKey::ABOUT.rule }, &scope) {
        return Ok(Looked::Found(authorized, found));
    }
    keyrack.metrics().hidden_keys.add(1);
    keyrack.refusals().warn_of_hidden_key(keyrack.clock().now(), caller);
    Ok(Looked::Nothing(Some(found)))
}

impl<'a> Asked<'a> {
    fn limits(&'a self) -> Vec<AskedLimit<'a>> {
        self.ratelimits.iter().flat_map(|limits| &limits.0).map(LimitRequest::asked).collect()
    }

    fn noted(&self, keyrack: &Keyrack, caller: &Caller, started: Instant) -> Noted {
        let tags = Tags::of(self.tags.iter().flat_map(|tags| &tags.0).map(|tag| &**tag));
        let (request_id, at) = (caller.origin().request_id, keyrack.clock().now());
        Noted { request_id, root_key_id: caller.principal().id().into(), at, tags, started }
    }

    fn question(&'a self, caller: &Caller, limits: &'a [AskedLimit<'a>], noted: Noted) -> Question<'a> {
        Question {
            permissions: self.permissions.as_deref(),
            cost: self.credits.as_ref().map(|credits| credits.cost.0),
            limits,
            address: caller.origin().address,
            noted,
        }
    }
}

impl<'a> Shown<'a> {
    fn of(response: &'a Response) -> Self {
        let Verified { found, decision } = &response.0;
        let key = found.as_ref().map(|found| &*found.key);
        Shown {
            valid: decision.verdict == Verdict::Valid,
            code: decision.verdict,
            key_id: key.map(|key| &*key.id),
            keyspace_id: found.as_ref().map(|found| found.key_space_id.as_str()),
            name: key.and_then(|key| key.name.as_deref()),
            meta: key.and_then(|key| key.meta.as_deref()),
            expires: key
                .map(|key| key.expires_at)
                .filter(|expires_at| ![UnixMs::EPOCH, NEVER].contains(expires_at)),
            credits: decision.remaining,
            enabled: key.map(|key| key.enabled),
            permissions: key.map_or(&[], |key| &key.access.permissions),
            roles: key.map_or(&[], |key| &key.access.roles),
            identity: found.as_ref().and_then(Identity::of),
            ratelimits: decision.limits.iter().map(LimitResponse::of).collect(),
        }
    }
}

impl<'a> Identity<'a> {
    fn of(found: &'a FoundKey) -> Option<Self> {
        let identity = found.identity.as_deref()?;
        let limits = found.shared_limits().map(|(limit, _)| RatelimitResponse {
            id: limit.id.to_string().into(),
            name: limit.name.to_string(),
            limit: limit.limit,
            duration: limit.duration_ms,
            auto_apply: limit.auto_apply,
        });
        Some(Identity {
            id: &identity.id,
            external_id: &identity.external_id,
            meta: identity.meta.as_deref(),
            ratelimits: limits.collect(),
        })
    }
}

impl<'a> LimitResponse<'a> {
    fn of(limit: &'a CheckedLimit) -> Self {
        LimitResponse {
            id: &limit.id,
            name: &limit.name,
            limit: limit.limit,
            duration: limit.duration_ms,
            reset: limit.reset_ms,
            remaining: limit.remaining,
            exceeded: limit.exceeded,
            auto_apply: limit.auto_apply,
        }
    }
}
