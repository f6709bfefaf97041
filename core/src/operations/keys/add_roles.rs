//! `keys.addRoles`

use schemars::JsonSchema;
use serde::Deserialize;

use super::links::{Change, change_roles};
use super::rights::{UPDATE_KEYS_OF_API, UPDATE_THIS_KEY};
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Assistants, Effect, Operation, Pin, Toolset};
use crate::ids::KeyId;
use crate::operations::fields::RoleResponse;
use crate::reply::Reply;
use crate::{Caller, Code, Error, Keyrack};

/// Gives a key roles.
#[derive(Debug)]
pub struct AddRoles;

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

impl Operation for AddRoles {
    const ABOUT: About = About {
        name: "keys.addRoles",
        title: "Add roles to a key",
        summary: "Gives a key roles besides those it has, and with them their permissions.",
        description: "Counts from the next verification on. A role that does not exist answers 404 and changes \
                      nothing. What the key has already stays; it may have 100 itself.",
        example: r#"{"keyId": "<keyId>", "roles": ["<roleName>"]}"#,
        rule: Rule::forbidding(Expression::Any(&[
            UPDATE_THIS_KEY,
            Expression::All(&[UPDATE_KEYS_OF_API, Expression::Leg("rbac.*.add_role_to_key")]),
        ])),
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

    type Request = Request;
    type Response = Vec<RoleResponse>;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Self::Response>, Error> {
        change_roles::<Self>(keyrack, caller, &request.key_id, Change::Add, request.roles).await
    }
}
