//! `keys.setPermissions`

use schemars::JsonSchema;
use serde::Deserialize;

use super::links::{CREATE_PERMISSION, Change, change_permissions};
use super::rights::{UPDATE_KEYS_OF_API, UPDATE_THIS_KEY};
use super::{about, locate_for};
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Consequences, Effect, Operation, Pin, Question, Toolset, if_so};
use crate::ids::KeyId;
use crate::operations::fields::{PermissionResponse, SLUG_PATTERN};
use crate::reply::Reply;
use crate::store::permissions;
use crate::{Caller, Code, Error, Keyrack};

/// Replaces the permissions of a key.
#[derive(Debug)]
pub struct SetPermissions;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The key.
    key_id: KeyId,
    /// All exact slugs; new ones are created. `*` is plain: docs.* covers nothing.
    #[schemars(length(max = 1000), inner(length(min = 1, max = 128), regex(pattern = SLUG_PATTERN)))]
    permissions: Vec<String>,
}

impl Operation for SetPermissions {
    const ABOUT: About = About {
        name: "keys.setPermissions",
        title: "Set the permissions of a key",
        summary: "Replaces all permissions that a key holds itself. Those through its roles stay.",
        description: "Counts from the next verification on. A slug that is new becomes a permission, which needs \
                      `create_permission`. An empty list takes all. Setting what is set already changes nothing.",
        example: r#"{"keyId": "<keyId>", "permissions": ["<permissionSlug>"]}"#,
        rule: Rule::forbidding(Expression::Any(&[
            UPDATE_THIS_KEY,
            Expression::All(&[
                UPDATE_KEYS_OF_API,
                Expression::Leg("rbac.*.add_permission_to_key"),
                Expression::Leg("rbac.*.remove_permission_from_key"),
            ]),
        ]))
        .and(&[CREATE_PERMISSION]),
        effect: Effect::Write,
        idempotent: true,
        errors: &[Code::KeyNotFound],
        assistants: Assistants {
            toolset: Some(Toolset::Permissions),
            hint: "What is not listed is taken away.",
            pinned_by: Some(Pin::KeyId("keyId")),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Vec<PermissionResponse>;

    fn consequences(request: &Request, _: UnixMs) -> Consequences {
        if_so([("Takes all its own permissions from the key.", request.permissions.is_empty())])
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        mut consequences: Consequences,
    ) -> Result<Question, Error> {
        let (authorized, key, api) = locate_for::<Self>(keyrack, caller, &request.key_id).await?;
        let holds_none = permissions::of_key(&mut *keyrack.store().read().await?, &key.id).await?.is_empty();
        consequences.retain(|_| !holds_none);
        Ok(about(authorized.asking(consequences), &key, &api))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Self::Response>, Error> {
        change_permissions::<Self>(keyrack, caller, &request.key_id, Change::Set, request.permissions).await
    }
}
