//! `keys.removePermissions`

use schemars::JsonSchema;
use serde::Deserialize;

use super::links::{Change, change_permissions};
use super::rights::{UPDATE_KEYS_OF_API, UPDATE_THIS_KEY};
use super::{about, locate_for};
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Consequences, Effect, Operation, Pin, Question, Toolset};
use crate::ids::KeyId;
use crate::operations::fields::{PermissionResponse, SLUG_PATTERN};
use crate::reply::Reply;
use crate::store::permissions;
use crate::{Caller, Code, Error, Keyrack};

/// Takes permissions from a key.
#[derive(Debug)]
pub struct RemovePermissions;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The key.
    key_id: KeyId,
    /// Slugs of existing permissions.
    #[schemars(length(min = 1, max = 1000), inner(length(min = 1, max = 128), regex(pattern = SLUG_PATTERN)))]
    permissions: Vec<String>,
}

impl Operation for RemovePermissions {
    const ABOUT: About = About {
        name: "keys.removePermissions",
        title: "Remove permissions from a key",
        summary: "Takes permissions from a key.",
        description: "Counts from the next verification on. A permission that the key does not hold itself is left \
                      out silently; a slug that does not exist answers 404 and changes nothing. What the key holds \
                      through a role it keeps.",
        example: r#"{"keyId": "<keyId>", "permissions": ["<permissionSlug>"]}"#,
        rule: Rule::forbidding(Expression::Any(&[
            UPDATE_THIS_KEY,
            Expression::All(&[UPDATE_KEYS_OF_API, Expression::Leg("rbac.*.remove_permission_from_key")]),
        ])),
        effect: Effect::Write,
        idempotent: true,
        errors: &[Code::KeyNotFound, Code::PermissionNotFound],
        assistants: Assistants {
            toolset: Some(Toolset::Permissions),
            hint: "Slugs, not ids.",
            pinned_by: Some(Pin::KeyId("keyId")),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Vec<PermissionResponse>;

    fn consequences(_: &Request, _: UnixMs) -> Consequences {
        vec!["Takes all its own permissions from the key."]
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        mut consequences: Consequences,
    ) -> Result<Question, Error> {
        let (authorized, key, api) = locate_for::<Self>(keyrack, caller, &request.key_id).await?;
        let held = permissions::of_key(&mut *keyrack.store().read().await?, &key.id).await?;
        let stays = held.iter().any(|one| !request.permissions.contains(&one.slug));
        consequences.retain(|_| !held.is_empty() && !stays);
        Ok(about(authorized.asking(consequences), &key, &api))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Self::Response>, Error> {
        change_permissions::<Self>(keyrack, caller, &request.key_id, Change::Remove, request.permissions).await
    }
}
