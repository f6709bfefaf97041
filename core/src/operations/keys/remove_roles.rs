//! `keys.removeRoles`

use schemars::JsonSchema;
use serde::Deserialize;

use super::links::{Change, change_roles};
use super::rights::UPDATE_KEY;
use super::{about, locate_for};
use crate::authorization::Rule;
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Consequences, Effect, Operation, Pin, Question, Toolset};
use crate::ids::KeyId;
use crate::operations::fields::RoleResponse;
use crate::reply::Reply;
use crate::store::roles;
use crate::{Caller, Code, Error, Keyrack};

/// Takes roles from a key.
#[derive(Debug)]
pub struct RemoveRoles;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The key.
    key_id: KeyId,
    /// Names of existing roles.
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 128)))]
    roles: Vec<String>,
}

impl Operation for RemoveRoles {
    const ABOUT: About = About {
        name: "keys.removeRoles",
        title: "Remove roles from a key",
        summary: "Takes roles from a key, and with them their permissions.",
        description: "Counts from the next verification on. A role that the key does not have is left out silently; \
                      a role that does not exist answers 404 and changes nothing.",
        example: r#"{"keyId": "<keyId>", "roles": ["<roleName>"]}"#,
        rule: Rule::forbidding(UPDATE_KEY),
        effect: Effect::Write,
        idempotent: true,
        errors: &[Code::KeyNotFound, Code::RoleNotFound],
        assistants: Assistants {
            toolset: Some(Toolset::Permissions),
            hint: "Role names, not ids.",
            pinned_by: Some(Pin::KeyId("keyId")),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Vec<RoleResponse>;

    fn consequences(_: &Request, _: UnixMs) -> Consequences {
        vec!["Takes all its roles from the key."]
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        mut consequences: Consequences,
    ) -> Result<Question, Error> {
        let (authorized, key, api) = locate_for::<Self>(keyrack, caller, &request.key_id).await?;
        let held = roles::of_key(&mut *keyrack.store().read().await?, &key.id).await?;
        let stays = held.iter().any(|one| !request.roles.contains(&one.name));
        consequences.retain(|_| !held.is_empty() && !stays);
        Ok(about(authorized.asking(consequences), &key, &api))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Self::Response>, Error> {
        change_roles::<Self>(keyrack, caller, &request.key_id, Change::Remove, request.roles).await
    }
}
