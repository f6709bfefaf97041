//! `keys.getKey`

use schemars::JsonSchema;
use serde::Deserialize;

use super::expanded::{self, Expand, ExpandedKey};
use super::rights::READ_KEY;
use super::{KeyObject, locate_for, reveal, scope_of, stores_plaintexts, vault};
use crate::authorization::{Conditional, Expression, OnDenied, Rule};
use crate::catalogue::{About, Assistants, Operation, Pin, Resource};
use crate::error::OrNotFound as _;
use crate::ids::KeyId;
use crate::reply::Reply;
use crate::{Caller, Code, Error, Keyrack};

/// Reads a key by its id.
#[derive(Debug)]
pub struct GetKey;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The key.
    key_id: KeyId,
    /// Whether to show the plaintext of a recoverable key.
    #[serde(default)]
    decrypt: bool,
    /// What to answer besides: `api` and key space; `grants`, with the roles they come through.
    #[serde(default)]
    #[schemars(length(max = 2))]
    expand: Vec<Expand>,
}

impl Operation for GetKey {
    const ABOUT: About = About {
        name: "keys.getKey",
        title: "Read a key",
        summary: "Reads a key by its id, with its identity, permissions, roles, credits and limits.",
        description: "Disabled and expired keys read normally. Members that are empty are absent; a key without \
                      `credits` is unlimited. `expand` with `api` adds where the key belongs, whether its plaintext is \
                      stored and whether it waits for its first use; with `grants`, each permission and the roles \
                      through which the key holds it.",
        example: r#"{"keyId": "<keyId>"}"#,
        rule: Rule::forbidding(READ_KEY).and(&[Conditional {
            name: "decrypt",
            when: "decrypt is true",
            check: Expression::Any(&[
                Expression::Leg("api.*.decrypt_key"),
                Expression::Leg("api.{apiId}.decrypt_key"),
                Expression::Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}/keys/{keyId}#decrypt_key"),
            ]),
            on_denied: OnDenied::Forbidden,
        }]),
        errors: &[Code::KeyNotFound, Code::PreconditionFailed],
        assistants: Assistants {
            hidden: &["decrypt"],
            concise: KeyObject::CONCISE,
            pinned_by: Some(Pin::KeyId("keyId")),
            resource: Some(Resource { path: "keys", title: "A key, without its text" }),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = ExpandedKey;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<ExpandedKey>, Error> {
        let (authorized, key, api) = locate_for::<Self>(keyrack, caller, &request.key_id).await?;
        if request.decrypt {
            vault(keyrack)?;
            caller.authorize_also(&Self::ABOUT.rule, "decrypt", &scope_of(&key, &api))?;
            stores_plaintexts(&api.stored)?;
        }
        let mut connection = keyrack.store().read().await?;
        let read = expanded::read(keyrack, &mut connection, vec![key], &request.expand).await?.pop();
        let mut expanded = read.or_not_found(Code::KeyNotFound)?;
        drop(connection);
        if request.decrypt {
            reveal(keyrack, caller, std::slice::from_mut(&mut expanded.key)).await?;
        }
        Ok(authorized.reply(expanded))
    }
}
