//! `keys.whoami`

use schemars::JsonSchema;
use serde::Deserialize;

use super::expanded::{self, Expand, ExpandedKey};
use super::rights::READ_KEY;
use super::{KeyObject, authorize_on, with_api};
use crate::authorization::{OnDenied, Rule};
use crate::catalogue::{About, Assistants, Operation, Pin};
use crate::error::OrNotFound as _;
use crate::keys::secret::{self, Secret};
use crate::reply::Reply;
use crate::store::keys;
use crate::{Caller, Code, Error, Keyrack};

/// Reads a key by its text.
#[derive(Debug)]
pub struct Whoami;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The full key, with its prefix.
    #[schemars(length(min = 1, max = 512))]
    key: Secret,
    /// What to answer besides: `api` and key space; `grants`, with the roles they come through.
    #[serde(default)]
    #[schemars(length(max = 2))]
    expand: Vec<Expand>,
}

impl Operation for Whoami {
    const ABOUT: About = About {
        name: "keys.whoami",
        title: "Look up a key by its text",
        summary: "Finds out which key a text is: its id, name, limits and state. Nothing is spent or counted.",
        description: "An unknown key, a key of another workspace and a key that the root key may not read answer alike.",
        example: r#"{"key": "<key>"}"#,
        rule: Rule::forbidding(READ_KEY).denied_as(OnDenied::Masked(Code::KeyNotFound)),
        assistants: Assistants {
            hint: "Not about your own root key: that is workspace.getOverview. The text is a secret; do not repeat it.",
            concise: KeyObject::CONCISE,
            pinned_by: Some(Pin::Key("key")),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = ExpandedKey;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<ExpandedKey>, Error> {
        let hash = secret::hash(request.key.expose()).to_base64();
        let mut connection = keyrack.store().read().await?;
        let key = keys::find_by_hash(&mut connection, &hash).await?;
        let key = key.filter(|key| key.workspace_id == caller.workspace_id());
        let (key, api) = with_api(keyrack, key).await?.or_not_found(Code::KeyNotFound)?;
        let authorized = authorize_on::<Self>(caller, &key, &api)?;
        let read = expanded::read(keyrack, &mut connection, vec![key], &request.expand).await?.pop();
        Ok(authorized.reply(read.or_not_found(Code::KeyNotFound)?))
    }
}
