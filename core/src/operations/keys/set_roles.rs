//! `keys.setRoles`

use schemars::JsonSchema;
use serde::Deserialize;

use super::links::{Change, change_roles};
use super::rights::UPDATE_KEY;
use super::{about, locate_for};
use crate::authorization::Rule;
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Consequences, Effect, Operation, Pin, Question, Toolset, if_so};
use crate::ids::KeyId;
use crate::operations::fields::RoleResponse;
use crate::reply::Reply;
use crate::store::roles;
use crate::{Caller, Code, Error, Keyrack};

/// Replaces the roles of a key.
#[derive(Debug)]
pub struct SetRoles;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The key.
    key_id: KeyId,
    /// Names of existing roles. Empty: none.
    #[schemars(length(max = 100), inner(length(min = 1, max = 128)))]
    roles: Vec<String>,
}

impl Operation for SetRoles {
    const ABOUT: About = About {
        name: "keys.setRoles",
        title: "Set the roles of a key",
        summary: "Replaces all roles of a key. Permissions that it holds itself stay.",
        description: "Counts from the next verification on. A role that does not exist answers 404 and changes \
                      nothing. An empty list takes all. Setting what is set already changes nothing.",
        example: r#"{"keyId": "<keyId>", "roles": ["<roleName>"]}"#,
        rule: Rule::forbidding(UPDATE_KEY),
        effect: Effect::Write,
        idempotent: true,
        errors: &[Code::KeyNotFound, Code::RoleNotFound],
        assistants: Assistants {
            toolset: Some(Toolset::Permissions),
            hint: "Role names, not ids; what is not listed is taken away.",
            pinned_by: Some(Pin::KeyId("keyId")),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Vec<RoleResponse>;

    fn consequences(request: &Request, _: UnixMs) -> Consequences {
        if_so([("Takes all its roles from the key.", request.roles.is_empty())])
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        mut consequences: Consequences,
    ) -> Result<Question, Error> {
        let (authorized, key, api) = locate_for::<Self>(keyrack, caller, &request.key_id).await?;
        let holds_none = roles::of_key(&mut *keyrack.store().read().await?, &key.id).await?.is_empty();
        consequences.retain(|_| !holds_none);
        Ok(about(authorized.asking(consequences), &key, &api))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Self::Response>, Error> {
        change_roles::<Self>(keyrack, caller, &request.key_id, Change::Set, request.roles).await
    }
}
