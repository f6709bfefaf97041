//! `keys.explainKey`
//!
//! What the checks are and what they say is in [`explanation`]; here is which key is asked about, and who may know.

mod sought;

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::sought::{Sought, by_id, by_text};
use super::VerifyKey;
use super::rights::READ_KEY;
use super::verify_key::{Cost, LimitRequest};
use crate::authorization::{Conditional, Expression, OnDenied, Rule, Scope};
use crate::bounds::{List, Text, Unread, sent};
use crate::calendar::UnixMs;
use crate::caller::Principal;
use crate::catalogue::{About, Assistants, Operation, Pin};
use crate::ids::{ApiId, KeyId, RatelimitId};
use crate::keys::explanation::{self, Asked as Checked, OwnedLimit, Question, Step};
use crate::keys::verdict::Verdict;
use crate::keys::verification::AskedLimit;
use crate::ratelimit::counters::memory::MemoryCounters;
use crate::reply::Reply;
use crate::resident::FoundKey;
use crate::schema::secrets::SENT;
use crate::store::credits::Credits;
use crate::{Caller, Code, Error, Keyrack};

/// Explains what a verification of a key would come to.
#[derive(Debug)]
pub struct ExplainKey;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Request(#[schemars(with = "Asked<'static>")] Unread);

/// What is asked. It may hold a key and has no `Debug`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked<'a> {
    /// The key, or send `key`.
    #[serde(default, deserialize_with = "sent")]
    key_id: Option<KeyId>,
    /// The full text of the key, or send `keyId`.
    #[serde(default, borrow, deserialize_with = "sent")]
    #[schemars(extend("x-mark" = SENT))]
    key: Option<Text<'a, 1, 512>>,
    /// Permission query: slugs with AND, OR, parentheses.
    #[serde(default, borrow, deserialize_with = "sent")]
    permissions: Option<Text<'a, 1, 1000>>,
    /// What the use would cost; default: 1.
    #[serde(default, deserialize_with = "sent")]
    credits: Option<Cost>,
    /// Limits to check besides those that apply by themselves.
    #[serde(default, borrow, deserialize_with = "sent")]
    ratelimits: Option<List<LimitRequest<'a>, 0, 100>>,
    /// Ids of key spaces (`ks_…`) the key must be in.
    #[serde(default, borrow, deserialize_with = "sent")]
    keyspaces: Option<List<Text<'a, 0, 255>, 0, 100>>,
    /// Address of the client that would use the key.
    #[serde(default, borrow, deserialize_with = "sent")]
    address: Option<Text<'a, 2, 45>>,
    /// Root key whose right to verify the key is checked, by id.
    #[serde(default, rename = "as", deserialize_with = "sent")]
    root_key_id: Option<KeyId>,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// What `keys.verifyKey` would say now.
    pub verdict: Verdict,
    /// `key_…`, if there is or was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
    /// `api_…`, the API of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_id: Option<ApiId>,
    /// All checks, in the order in which they decide.
    pub checks: Vec<Step>,
    /// The limits of the key and of its identity.
    pub limits: Vec<LimitResponse>,
    /// Its balance; absent when unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credits: Option<CreditsResponse>,
    /// Whether limits are counted for all processes together; else for the one that answers.
    pub counts_are_shared: bool,
}

/// A limit and its count.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitResponse {
    /// `rl_…`
    pub id: RatelimitId,
    /// Unique for its owner.
    pub name: String,
    /// Whose it is.
    pub owner: LimitOwner,
    /// Cost admitted per window.
    pub limit: i64,
    /// Window in ms.
    pub duration: i64,
    /// Whether every verification counts against it.
    pub auto_apply: bool,
    /// Whether the key's own limit of this name takes its place.
    pub hidden: bool,
    /// What weighs in the window now.
    pub used: i64,
    /// What is left in the window.
    pub remaining: i64,
    /// Unix ms at which the window ends.
    pub reset: UnixMs,
}

/// Who owns a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LimitOwner {
    Key,
    Identity,
}

/// A balance.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreditsResponse {
    /// What is left.
    pub remaining: i64,
    /// What the use would cost.
    pub cost: i64,
    /// The next refill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_refill: Option<NextRefill>,
}

/// A refill that is to come.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NextRefill {
    /// Unix ms.
    pub time: UnixMs,
    /// The balance is set to it if it is lower.
    pub amount: i64,
}

const AS: &str = "as";

impl Operation for ExplainKey {
    const ABOUT: About = About {
        name: "keys.explainKey",
        title: "Explain a verification",
        summary: "Says why a key would be accepted or refused now, check by check; nothing is spent, counted or recorded.",
        description: "The checks are those of `keys.verifyKey`, in its order, and all of them are made: behind the one that \
                      refuses one sees what would refuse next. Send `keyId` or the text of the key, and what the \
                      verification sends. A text that is no key is tried again without white space, quotes and `Bearer` \
                      around it, and the answer says which was the fault; a deleted key says when it was deleted, a \
                      root key that it is one. `NOT_FOUND` is also what a root key is told that may not verify the \
                      key: `as` asks for one. A text that is no key, or one that the root key may not read, answers \
                      `NOT_FOUND`.",
        example: r#"{"keyId": "<keyId>"}"#,
        rule: Rule::forbidding(READ_KEY).and(&[Conditional {
            name: AS,
            when: "as is sent",
            check: Expression::Any(&[
                Expression::Leg("unkey:v1:{workspaceId}:rootKeys/{rootKeyId}#read"),
                Expression::Leg("unkey:v1:{workspaceId}:rootKeys/*#read"),
            ]),
            on_denied: OnDenied::Forbidden,
        }]),
        errors: &[Code::KeyNotFound, Code::PreconditionFailed],
        assistants: Assistants {
            hint: "To find out why a customer is refused. Send what the application sends; a key's text is a secret.",
            pinned_by: Some(Pin::KeyId("keyId")),
            ..Assistants::DEFAULT
        },
        is_own: true,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let asked: Asked<'_> = request.0.read()?;
        let (address, root_key) = (asked.address()?, asked.root_key(keyrack, caller)?);
        let (authorized, sought) = match (&asked.key_id, &asked.key) {
            (Some(key_id), None) => by_id(keyrack, caller, key_id).await?,
            (None, Some(text)) => by_text(keyrack, caller, text).await?,
            _ => {
                let fix = "Send `keyId`, or the text of the key as `key`.";
                return Err(Error::invalid("body", "needs one of `keyId` and `key`", fix));
            }
        };
        let (found, existence) = match sought {
            Sought::Found(found, existence) => (found, existence),
            Sought::Gone { key_id, api_id, existence } => {
                let answer = Response { key_id, api_id, ..Response::of(vec![existence]) };
                return Ok(authorized.reply(answer));
            }
        };
        let limits: Vec<AskedLimit<'_>> =
            asked.ratelimits.iter().flat_map(|limits| &limits.0).map(LimitRequest::asked).collect();
        let question = Question {
            at: keyrack.clock().now(),
            permissions: asked.permissions.as_deref(),
            cost: asked.credits.as_ref().map_or(1, |credits| credits.cost.0),
            limits: &limits,
            address,
        };
        let credits = keyrack.credits().look(&found.key.id, question.at).await?;
        let mut checks = vec![existence, asked.of_key_space(&found), of_root_key(root_key.as_ref(), &found)];
        checks.extend(explanation::steps(keyrack.counters(), &found, credits, &question)?);
        let limits = explanation::limits(keyrack.counters(), &found, question.at);
        Ok(authorized.reply(Response {
            key_id: Some(found.key.id.to_string().into()),
            api_id: Some(found.key.place.api_id.to_string().into()),
            limits: limits.into_iter().map(LimitResponse::from).collect(),
            credits: CreditsResponse::of(credits, &question),
            ..Response::of(checks)
        }))
    }
}

impl Response {
    fn of(checks: Vec<Step>) -> Self {
        Response {
            verdict: explanation::verdict(&checks),
            key_id: None,
            api_id: None,
            checks,
            limits: Vec::new(),
            credits: None,
            counts_are_shared: MemoryCounters::ARE_SHARED,
        }
    }
}

impl From<OwnedLimit<'_>> for LimitResponse {
    fn from(owned: OwnedLimit<'_>) -> Self {
        let OwnedLimit { limit, is_shared, is_hidden, count } = owned;
        LimitResponse {
            id: limit.id.to_string().into(),
            name: limit.name.to_string(),
            owner: if is_shared { LimitOwner::Identity } else { LimitOwner::Key },
            limit: limit.limit,
            duration: limit.duration_ms,
            auto_apply: limit.auto_apply,
            hidden: is_hidden,
            used: count.used,
            remaining: count.left,
            reset: UnixMs::new(count.reset_ms),
        }
    }
}

impl CreditsResponse {
    fn of(credits: Credits, question: &Question<'_>) -> Option<Self> {
        let next = explanation::next_refill(credits, question.at);
        credits.remaining.map(|remaining| CreditsResponse {
            remaining,
            cost: question.cost,
            next_refill: next.map(|(time, amount)| NextRefill { time, amount }),
        })
    }
}

impl Asked<'_> {
    fn address(&self) -> Result<Option<IpAddr>, Error> {
        let Some(text) = &self.address else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            let fix = "Send an IPv4 or IPv6 address such as 203.0.113.9.";
            Error::invalid("body.address", "is not an IP address", fix)
        })
    }

    /// The root key that would verify the key, if it is asked about.
    fn root_key(&self, keyrack: &Keyrack, caller: &Caller) -> Result<Option<Principal>, Error> {
        let Some(id) = &self.root_key_id else { return Ok(None) };
        caller.authorize_also(&ExplainKey::ABOUT.rule, AS, &[("rootKeyId", id)])?;
        let root_key = keyrack.resident().root_key_by_id(id);
        let Some(root_key) = root_key.filter(|key| key.workspace_id == caller.workspace_id()) else {
            let text =
                "The root key in `as` was not found in this workspace. `rootKeys.listKeys` shows those there are.";
            return Err(Error::new(Code::KeyNotFound, text));
        };
        let now = keyrack.clock().now();
        let refused = if !root_key.enabled {
            Some("is disabled, so it is refused with 403")
        } else if root_key.expires_at.is_some_and(|expires_at| expires_at < now) {
            Some("has expired, so it is refused with 401")
        } else {
            None
        };
        match refused {
            None => Ok(Some(Principal::RootKey(root_key))),
            Some(why) => {
                let text = format!(
                    "The root key in `as` {why} before any key is looked at. `rootKeys.updateKey` shows and \
                                    changes its state, `rootKeys.createKey` makes another one."
                );
                Err(Error::new(Code::PreconditionFailed, text))
            }
        }
    }

    fn of_key_space(&self, found: &FoundKey) -> Step {
        let Some(wanted) = &self.keyspaces else {
            return Step::not_asked(Checked::Keyspace, "No key spaces were named.");
        };
        let id = &found.key_space_id;
        if wanted.0.iter().any(|wanted| **wanted == **id) {
            return Step::passed(Checked::Keyspace, format!("The key is in the key space {id}, which was named."));
        }
        Step::refused(
            Checked::Keyspace,
            Verdict::NotFound,
            format!("The key is in the key space {id}, which is none of those that were named."),
            format!("Name {id} in `keyspaces`, or leave `keyspaces` out."),
        )
    }
}

/// Whether a root key may verify the key: who may not is told that there is none.
fn of_root_key(root_key: Option<&Principal>, found: &FoundKey) -> Step {
    let Some(root_key) = root_key else {
        return Step::not_asked(
            Checked::RootKey,
            "No root key was named with `as`: one that may verify the key is taken.",
        );
    };
    let scope: Scope<'_> =
        &[("apiId", &*found.key.place.api_id), ("keySpaceId", &found.key_space_id), ("keyId", &found.key.id)];
    match root_key.refusal(&VerifyKey::ABOUT.rule, scope) {
        None => Step::passed(Checked::RootKey, "The root key in `as` may verify the key."),
        Some(refusal) => Step::refused(
            Checked::RootKey,
            Verdict::NotFound,
            format!("The root key in `as` may not verify the key, so it is told that there is none. {refusal}"),
            "`rootKeys.updateKey` with one of these among `permissions` lets it.",
        ),
    }
}
