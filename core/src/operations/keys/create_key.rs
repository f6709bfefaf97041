//! `keys.createKey`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rights::CREATE_KEY;
use super::{api_of_caller, stores_plaintexts, vault};
use crate::authorization::{Conditional, Expression, OnDenied, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Effect, Operation, Pin, ShownAfter};
use crate::ids::{self, ApiId, KeyId, Kind};
use crate::keys::issuing::{self, NewKey, UnknownRoles};
use crate::keys::secret::{self, GeneratedKey, Revealed};
use crate::operations::fields::{self, Interval, KeyCredits, PREFIX_PATTERN, RatelimitRequest, SLUG_PATTERN, yes};
use crate::reply::Reply;
use crate::schema::together;
use crate::store::apis::Api;
use crate::store::credits::{Credits, Refill};
use crate::value::Meta;
use crate::{Caller, Code, Error, Keyrack};

/// Issues a key.
#[derive(Debug)]
pub struct CreateKey;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The API it is issued for.
    api_id: ApiId,
    /// Goes before the random part, as in `prefix_…`; default: the API's.
    #[schemars(length(min = 1, max = 16), regex(pattern = PREFIX_PATTERN))]
    prefix: Option<String>,
    /// For people.
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
    /// Random bytes; default: the API's, or 16.
    #[schemars(range(min = 16, max = 255), extend("default" = 16))]
    byte_length: Option<i64>,
    /// Whom it belongs to, in your own system; the identity is created if new.
    #[schemars(length(min = 1, max = 255))]
    external_id: Option<String>,
    /// Any JSON object; verifications return it.
    meta: Option<Meta>,
    /// Names of existing roles.
    #[schemars(length(max = 100), inner(length(min = 1, max = 128)))]
    roles: Option<Vec<String>>,
    /// Slugs; created if new.
    #[schemars(length(max = 1000), inner(length(min = 1, max = 128), regex(pattern = SLUG_PATTERN)))]
    permissions: Option<Vec<String>>,
    /// Unix ms after which it is refused; default: never.
    #[schemars(range(max = UnixMs::LATEST_EXPIRY))]
    expires: Option<UnixMs>,
    /// Uses it has; default: unlimited.
    credits: Option<KeyCredits>,
    /// Limits of this key alone.
    #[schemars(length(max = 50))]
    ratelimits: Option<Vec<RatelimitRequest>>,
    /// Whether it may be used.
    #[serde(default = "yes")]
    enabled: bool,
    /// Whether the plaintext is kept, encrypted.
    #[serde(default)]
    recoverable: bool,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// `key_…`
    pub key_id: KeyId,
    /// The key itself. It is shown this once.
    pub key: Revealed,
}

impl Operation for CreateKey {
    const ABOUT: About = About {
        name: "keys.createKey",
        title: "Create a key",
        summary: "Issues a key of an API, with any identity, permissions, roles, credits, limits and expiry.",
        description: "The answer is the only place where the key can be read: Keyrack stores its SHA-256. It verifies \
                      at once. Permissions and the identity come into being if they are new; roles must exist. \
                      Without `create_key` the API reads as one that does not exist.",
        example: r#"{"apiId": "<apiId>", "prefix": "pay", "name": "Mobile app", "externalId": "user_42",
                  "credits": {"remaining": 1000},
                  "ratelimits": [{"name": "requests", "limit": 100, "duration": 60000, "autoApply": true}]}"#,
        rule: Rule::forbidding(CREATE_KEY).denied_as(OnDenied::Masked(Code::ApiNotFound)).and(&[Conditional {
            name: "recoverable",
            when: "recoverable is true",
            check: Expression::Any(&[
                Expression::Leg("api.*.encrypt_key"),
                Expression::Leg("api.{apiId}.encrypt_key"),
                Expression::Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}/keys/*#encrypt_key"),
            ]),
            on_denied: OnDenied::Masked(Code::ApiNotFound),
        }]),
        effect: Effect::Write,
        idempotent: false,
        errors: &[Code::RoleNotFound, Code::PreconditionFailed],
        assistants: Assistants {
            hint: "expires is an instant in Unix ms. Roles must exist. Shows the \
                   key once.",
            hidden: &["recoverable"],
            pinned_by: Some(Pin::Api("apiId")),
            shown_after: Some(ShownAfter { read: "keys.getKey", by: &["keyId"] }),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let api = api_of_caller(keyrack, caller, &request.api_id).await?;
        let api = &api.stored;
        let scope = [("apiId", api.id.as_str()), ("keySpaceId", &api.key_space_id)];
        let authorized = caller.authorize(&Self::ABOUT.rule, &scope)?;
        if request.recoverable {
            vault(keyrack)?;
            caller.authorize_also(&Self::ABOUT.rule, "recoverable", &scope)?;
            stores_plaintexts(api)?;
        }
        let credits = request.credits.as_ref().map(|credits| read_credits(credits, "body")).transpose();
        let (credits, meta) = together(credits, request.meta.as_ref().map(fields::key_meta).transpose())?;
        let credits = credits.unwrap_or_default();
        let GeneratedKey { secret, hash, start } = generate(api, &request)?;
        let new = NewKey {
            id: ids::generate(Kind::Key),
            hash: hash.to_base64(),
            start,
            migration_id: None,
            name: request.name,
            external_id: request.external_id,
            meta,
            enabled: request.enabled,
            expires_at: request.expires,
            credits,
            ratelimits: fields::new_ratelimits(request.ratelimits.unwrap_or_default()),
            permissions: request.permissions.unwrap_or_default(),
            roles: request.roles.unwrap_or_default(),
        };
        let mut mutation = keyrack.change(caller).await?;
        mutation.correlate();
        issuing::issue(&mut mutation, api, std::slice::from_ref(&new), UnknownRoles::Refused).await?;
        if request.recoverable {
            mutation.add_rows().await?;
            let (workspace_id, now) = (caller.workspace_id(), mutation.now());
            vault(keyrack)?.keep(mutation.connection(), workspace_id, &new.id, &secret, now).await?;
        }
        if !mutation.commit_unless_taken().await? {
            return Err(Error::unexpected("a generated key equals one that exists"));
        }
        Ok(authorized.reply(Response { key_id: new.id.into(), key: Revealed(secret) }))
    }
}

fn generate(api: &Api, request: &Request) -> Result<GeneratedKey, Error> {
    let prefix = request.prefix.as_deref().or(api.default_prefix.as_deref());
    let bytes = request.byte_length.or(api.default_bytes).and_then(|bytes| usize::try_from(bytes).ok());
    secret::generate_key(prefix, bytes.unwrap_or(secret::DEFAULT_KEY_BYTES)).map_err(Error::unexpected)
}

/// The credits of a new key, which the request has at the place `at`.
pub(super) fn read_credits(credits: &KeyCredits, at: &str) -> Result<Credits, Error> {
    let Some(refill) = &credits.refill else {
        return Ok(Credits { remaining: credits.remaining.0, refill: None });
    };
    if credits.remaining.0.is_none() {
        return Err(Error::invalid(
            &format!("{at}.credits.remaining"),
            "`credits.remaining` must be an integer when `credits.refill` is sent; got null",
            "Send the balance to start with, or leave `refill` out for an unlimited key.",
        ));
    }
    let day = match refill.interval {
        Interval::Daily => None,
        Interval::Monthly => Some(refill.refill_day.ok_or_else(|| monthly_needs_a_day(at))?),
    };
    Ok(Credits { remaining: credits.remaining.0, refill: Some(Refill { amount: refill.amount, day }) })
}

/// A monthly refill says on which day.
pub(super) fn monthly_needs_a_day(at: &str) -> Error {
    Error::invalid(
        &format!("{at}.credits.refill.refillDay"),
        "`refillDay` is required when the interval is monthly",
        "Send the day of the month, 1 to 31; short months refill on their last day.",
    )
}
