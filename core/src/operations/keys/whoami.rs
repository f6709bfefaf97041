//! `keys.whoami`

use schemars::JsonSchema;
use serde::Deserialize;

use super::rights::READ_KEY;
use super::{KeyObject, authorize_on, with_api};
use crate::authorization::{OnDenied, Rule};
use crate::calendar::Calendar;
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
}

impl Operation for Whoami {
    const ABOUT: About = About {
        name: "keys.whoami",
        title: "Look up a key by its text",
        summary: "Reads which key a text is, without verifying it: nothing is spent or counted.",
        description: "An unknown key, a key of another workspace and a key that the root key may not read answer alike.",
        example: r#"{"key": "<key>"}"#,
        rule: Rule::forbidding(READ_KEY).denied_as(OnDenied::Masked(Code::KeyNotFound)),
        assistants: Assistants {
            hint: "The key is a secret; prefer keys.getKey when you know its keyId.",
            concise: KeyObject::CONCISE,
            pinned_by: Some(Pin::Key("key")),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = KeyObject;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<KeyObject>, Error> {
        let hash = secret::hash(request.key.expose()).to_base64();
        let mut connection = keyrack.store().read().await?;
        let key = keys::find_by_hash(&mut connection, &hash).await?;
        let key = key.filter(|key| key.workspace_id == caller.workspace_id());
        let (key, api) = with_api(keyrack, key).await?.or_not_found(Code::KeyNotFound)?;
        let authorized = authorize_on::<Self>(caller, &key, &api)?;
        let object = KeyObject::read(&mut connection, vec![key], Calendar::at(keyrack.clock().now())).await?.pop();
        Ok(authorized.reply(object.or_not_found(Code::KeyNotFound)?))
    }
}
