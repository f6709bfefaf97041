//! `keys.addPermissions`

use schemars::JsonSchema;
use serde::Deserialize;

use super::links::{answered_permissions, connect_permissions, permissions_by_slug, without};
use super::{locate, locate_for};
use crate::authorization::{Conditional, Expression, OnDenied, Rule};
use crate::catalogue::{About, Effect, Operation, Reply};
use crate::changes::{Mutation, Subject};
use crate::operations::fields::{ID_PATTERN, PermissionResponse, SLUG_PATTERN, distinct};
use crate::store::permissions;
use crate::{Caller, Code, Error, Keyrack};

/// Gives a key permissions.
#[derive(Debug)]
pub struct AddPermissions;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The key.
    #[schemars(length(min = 3, max = 255), regex(pattern = ID_PATTERN))]
    key_id: String,
    /// Slugs; created if new.
    #[schemars(length(min = 1, max = 1000), inner(length(min = 1, max = 128), regex(pattern = SLUG_PATTERN)))]
    permissions: Vec<String>,
}

impl Operation for AddPermissions {
    const ABOUT: About = About {
        name: "keys.addPermissions",
        title: "Add permissions to a key",
        summary: "Gives a key permissions besides those it holds. Answers all that it holds itself.",
        description: "Counts from the next verification on. A slug that is new becomes a permission, which needs \
                      `create_permission`. What the key holds already stays. Permissions through roles are not in \
                      the answer.",
        hint: "keyId from apis_listKeys. Slugs, not ids.",
        example: r#"{"keyId": "<keyId>", "permissions": ["<permissionSlug>"]}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}/keys/{keyId}#update_key"),
            Expression::All(&[
                Expression::Any(&[Expression::Leg("api.*.update_key"), Expression::Leg("api.{apiId}.update_key")]),
                Expression::Leg("rbac.*.add_permission_to_key"),
            ]),
        ]))
        .and(&[CREATE_PERMISSION]),
        effect: Effect::Write,
        idempotent: true,
        errors: &[Code::KeyNotFound],
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<PermissionResponse>;

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: Request,
    ) -> Result<Reply<Vec<PermissionResponse>>, Error> {
        locate_for::<Self>(keyrack, &mut *keyrack.store().read().await?, caller, &request.key_id).await?;
        let slugs = distinct(request.permissions);
        let mut mutation = Mutation::begin(keyrack, caller).await?;
        mutation.correlate();
        let (key, _) = locate(keyrack, mutation.connection(), caller, &request.key_id).await?;
        let known = permissions::find_by_slugs(mutation.connection(), caller.workspace_id(), &slugs).await?;
        if known.len() < slugs.len() {
            caller.authorize_also::<Self>(CREATE_PERMISSION.name, &[])?;
        }
        let held = permissions::of_key(mutation.connection(), &key.id).await?;
        let wanted = permissions_by_slug(&mut mutation, slugs).await?;
        connect_permissions(&mut mutation, &key.id, &without(&wanted, &held)).await?;
        let answer = answered_permissions(&mut mutation, &key.id).await?;
        mutation.touch(Subject::Key(key.id));
        mutation.commit().await?;
        Ok(answer.into())
    }
}

/// What giving a key a permission that does not exist yet needs besides.
pub(super) const CREATE_PERMISSION: Conditional = Conditional {
    name: "create",
    when: "a requested permission slug does not exist and must be created",
    check: Expression::Any(&[
        Expression::Leg("unkey:v1:{workspaceId}:rbac/permissions/*#create_permission"),
        Expression::Leg("rbac.*.create_permission"),
    ]),
    on_denied: OnDenied::Forbidden,
};
