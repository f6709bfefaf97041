//! `keys.addPermissions`

use schemars::JsonSchema;
use serde::Deserialize;

use super::links::{CREATE_PERMISSION, Change, change_permissions};
use super::rights::{UPDATE_KEYS_OF_API, UPDATE_THIS_KEY};
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Assistants, Effect, Operation, Pin, Toolset};
use crate::ids::KeyId;
use crate::operations::fields::{PermissionResponse, SLUG_PATTERN};
use crate::reply::Reply;
use crate::{Caller, Code, Error, Keyrack};

/// Gives a key permissions.
#[derive(Debug)]
pub struct AddPermissions;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The key.
    key_id: KeyId,
    /// Exact slugs; new ones are created. `*` is plain: docs.* covers nothing.
    #[schemars(length(min = 1, max = 1000), inner(length(min = 1, max = 128), regex(pattern = SLUG_PATTERN)))]
    permissions: Vec<String>,
}

impl Operation for AddPermissions {
    const ABOUT: About = About {
        name: "keys.addPermissions",
        title: "Add permissions to a key",
        summary: "Gives a key permissions besides those it holds.",
        description: "Counts from the next verification on. A slug that is new becomes a permission, which needs \
                      `create_permission`. What the key holds already stays; it may hold 1000 itself. Permissions \
                      through roles are not in the answer.",
        example: r#"{"keyId": "<keyId>", "permissions": ["<permissionSlug>"]}"#,
        rule: Rule::forbidding(Expression::Any(&[
            UPDATE_THIS_KEY,
            Expression::All(&[UPDATE_KEYS_OF_API, Expression::Leg("rbac.*.add_permission_to_key")]),
        ]))
        .and(&[CREATE_PERMISSION]),
        effect: Effect::Write,
        idempotent: true,
        errors: &[Code::KeyNotFound],
        assistants: Assistants {
            toolset: Some(Toolset::Permissions),
            hint: "Look with permissions.listPermissions first.",
            pinned_by: Some(Pin::KeyId("keyId")),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<PermissionResponse>;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Self::Response>, Error> {
        change_permissions::<Self>(keyrack, caller, &request.key_id, Change::Add, request.permissions).await
    }
}
