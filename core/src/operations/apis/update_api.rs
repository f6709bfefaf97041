//! `apis.updateApi`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::{Changes, Event, Target};
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Consequences, Effect, Operation, Pin, Question, ShownAfter, if_so};
use crate::error::OrNotFound as _;
use crate::ids::ApiId;
use crate::operations::fields::PREFIX_PATTERN;
use crate::reply::{Empty, Reply};
use crate::schema::ADDRESS_OR_NETWORK;
use crate::store::affected::{self, Of};
use crate::store::apis::{self, Api};
use crate::store::subject::Subject;
use crate::value::Patch;
use crate::{Caller, Code, Error, Keyrack};

/// Changes the settings of an API.
#[derive(Debug)]
pub struct UpdateApi;

/// What is sent. Absent members stay as they are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The API.
    #[schemars(length(min = 8))]
    api_id: ApiId,
    /// For people.
    #[schemars(length(min = 3, max = 256))]
    name: Option<String>,
    /// Whether it refuses to be deleted.
    delete_protection: Option<bool>,
    /// Addresses and CIDR ranges its keys may be verified from; null or empty: any.
    #[serde(default)]
    #[schemars(length(max = 100))]
    ip_whitelist: Patch<Vec<Entry>>,
    /// Whether its keys may be recoverable.
    store_encrypted_keys: Option<bool>,
    /// Prefix of keys whose creation names none; null: none.
    #[serde(default)]
    #[schemars(length(min = 1, max = 16), regex(pattern = PREFIX_PATTERN))]
    default_prefix: Patch<String>,
    /// Random bytes of keys whose creation names no number; null: 16.
    #[serde(default)]
    #[schemars(range(min = 16, max = 255))]
    default_bytes: Patch<i64>,
}

/// An address or a CIDR range.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("format" = ADDRESS_OR_NETWORK))]
struct Entry(#[schemars(length(min = 1, max = 64))] String);

impl Operation for UpdateApi {
    const ABOUT: About = About {
        name: "apis.updateApi",
        title: "Change an API",
        summary: "Changes the name or the settings of an API. Absent members stay, null clears.",
        description: "The address list restricts where the keys of the API may be verified from; an entry is an IPv4 \
                      or IPv6 address or a CIDR range. Defaults apply to keys created afterwards. The change counts \
                      from the next verification on.",
        example: r#"{"apiId": "<apiId>", "name": "payments v2", "ipWhitelist": ["203.0.113.0/24"]}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("api.*.update_api"),
            Expression::Leg("api.{apiId}.update_api"),
        ])),
        effect: Effect::Write,
        idempotent: true,
        errors: &[Code::ApiNotFound],
        assistants: Assistants {
            pinned_by: Some(Pin::Api("apiId")),
            shown_after: Some(ShownAfter { read: "apis.getApi", by: &["apiId"] }),
            ..Assistants::DEFAULT
        },
        is_own: true,
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Empty;

    fn consequences(request: &Request, _: UnixMs) -> Consequences {
        let restricts = matches!(&request.ip_whitelist, Patch::Value(entries) if !entries.is_empty());
        if_so([("Refuses the keys of the API at once from all addresses but these.", restricts)])
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        mut consequences: Consequences,
    ) -> Result<Question, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("apiId", &request.api_id)])?;
        let mut connection = keyrack.store().read().await?;
        let api = apis::find(&mut connection, caller.workspace_id(), &request.api_id).await?;
        let api = api.or_not_found(Code::ApiNotFound)?;
        let addresses = request.addresses().into_value().unwrap_or_default();
        consequences.retain(|_| api.ip_whitelist.as_ref() != Some(&addresses));
        let affected = affected::keys(&mut connection, Of::Api(&api.id)).await?;
        let question = authorized.asking(consequences).text("API", &*api.name).text("id", &*api.id);
        Ok(question.text("addresses", addresses.replace(',', ", ")).affecting(affected))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Empty>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("apiId", &request.api_id)])?;
        let mut mutation = keyrack.change(caller).await?;
        let api = apis::find(mutation.connection(), caller.workspace_id(), &request.api_id).await?;
        let before = api.or_not_found(Code::ApiNotFound)?;
        let mut api = before.clone();
        api.delete_protection = request.delete_protection.unwrap_or(api.delete_protection);
        api.store_encrypted_keys = request.store_encrypted_keys.unwrap_or(api.store_encrypted_keys);
        request.addresses().apply(&mut api.ip_whitelist);
        api.name = request.name.unwrap_or(api.name);
        request.default_prefix.apply(&mut api.default_prefix);
        request.default_bytes.apply(&mut api.default_bytes);
        let now = mutation.now();
        apis::update(mutation.connection(), &api, now).await?;
        mutation.record(
            Event::new("api.update", format!("Updated API {}", api.id))
                .on(Target::api(&api))
                .changing(Changes::between(&Settings::from(&before), &Settings::from(&api))),
        );
        mutation.touch(Subject::Api(api.id));
        mutation.commit().await?;
        Ok(authorized.reply(Empty {}))
    }
}

impl Request {
    /// The list of addresses as it is stored.
    fn addresses(&self) -> Patch<String> {
        let joined = |entries: &Vec<Entry>| entries.iter().map(|entry| &*entry.0).collect::<Vec<_>>().join(",");
        self.ip_whitelist.as_ref().map(joined).or_null_if(String::is_empty)
    }
}

/// What the audit log says of an API.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Settings<'a> {
    name: &'a str,
    delete_protection: bool,
    ip_whitelist: Option<Vec<&'a str>>,
    store_encrypted_keys: bool,
    default_prefix: Option<&'a str>,
    default_bytes: Option<i64>,
}

impl<'a> From<&'a Api> for Settings<'a> {
    fn from(api: &'a Api) -> Self {
        Settings {
            name: &api.name,
            delete_protection: api.delete_protection,
            ip_whitelist: api.ip_whitelist.as_deref().map(|list| list.split(',').collect()),
            store_encrypted_keys: api.store_encrypted_keys,
            default_prefix: api.default_prefix.as_deref(),
            default_bytes: api.default_bytes,
        }
    }
}
