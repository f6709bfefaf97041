//! `apis.getApi`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::READ_API;
use crate::authorization::Rule;
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Operation, Pin, Resource};
use crate::error::OrNotFound as _;
use crate::ids::ApiId;
use crate::reply::Reply;
use crate::store::apis::{self, Api};
use crate::{Caller, Code, Error, Keyrack};

/// Reads an API.
#[derive(Debug)]
pub struct GetApi;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The API.
    #[schemars(length(min = 8))]
    api_id: ApiId,
    /// What to answer besides its name: `settings`, `counts`.
    #[serde(default)]
    #[schemars(length(max = 2))]
    expand: Vec<Expand>,
}

/// What is answered on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Expand {
    Settings,
    Counts,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// `api_…`
    pub id: ApiId,
    /// For people.
    pub name: String,
    /// What `apis.updateApi` changes; with `settings`.
    #[serde(flatten)]
    pub settings: Option<Settings>,
    /// How many keys it has; with `counts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<i64>,
}

/// The settings of an API; with `settings`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// `ks_…`, the key space of its keys.
    pub key_space_id: String,
    /// Unix ms.
    pub created_at: UnixMs,
    /// Whether it refuses to be deleted.
    pub delete_protection: bool,
    /// Addresses and CIDR ranges its keys may be verified from; empty: any.
    pub ip_whitelist: Vec<String>,
    /// Whether its keys may be recoverable.
    pub store_encrypted_keys: bool,
    /// Prefix of keys whose creation names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_prefix: Option<String>,
    /// Random bytes of keys whose creation names no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_bytes: Option<i64>,
}

impl From<&Api> for Settings {
    fn from(api: &Api) -> Self {
        let addresses = api.ip_whitelist.iter().flat_map(|list| list.split(','));
        Settings {
            key_space_id: api.key_space_id.clone(),
            created_at: api.created_at,
            delete_protection: api.delete_protection,
            ip_whitelist: addresses.map(str::to_owned).collect(),
            store_encrypted_keys: api.store_encrypted_keys,
            default_prefix: api.default_prefix.clone(),
            default_bytes: api.default_bytes,
        }
    }
}

impl Operation for GetApi {
    const ABOUT: About = About {
        name: "apis.getApi",
        title: "Read an API",
        summary: "Reads the name of an API and, on request, its settings and how many keys it has.",
        description: "Without `expand` the answer is id and name. An API that was deleted, or that belongs to another \
                      workspace, reads as one that never existed.",
        example: r#"{"apiId": "<apiId>", "expand": ["settings", "counts"]}"#,
        rule: Rule::forbidding(READ_API),
        errors: &[Code::ApiNotFound],
        assistants: Assistants {
            hint: "expand: settings shows all that apis.updateApi sets.",
            pinned_by: Some(Pin::Api("apiId")),
            resource: Some(Resource { path: "apis", title: "An API" }),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("apiId", &request.api_id)])?;
        let mut connection = keyrack.store().read().await?;
        let api = apis::find(&mut connection, caller.workspace_id(), &request.api_id).await?;
        let api = api.or_not_found(Code::ApiNotFound)?;
        let is_wanted = |wanted| request.expand.contains(&wanted);
        Ok(authorized.reply(Response {
            settings: is_wanted(Expand::Settings).then(|| Settings::from(&api)),
            keys: is_wanted(Expand::Counts).then(|| keyrack.resident().keys_of_api(&api.id)),
            id: api.id.into(),
            name: api.name,
        }))
    }
}
