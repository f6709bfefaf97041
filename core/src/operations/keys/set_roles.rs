//! `keys.setRoles`

use schemars::JsonSchema;
use serde::Deserialize;

use super::links::{answered_roles, connect_roles, disconnect_roles, roles_by_name, without};
use super::{locate, locate_for};
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Effect, Operation, Reply};
use crate::changes::{Mutation, Subject};
use crate::operations::fields::{ID_PATTERN, RoleResponse};
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
    #[schemars(length(min = 3, max = 255), regex(pattern = ID_PATTERN))]
    key_id: String,
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
        hint: "keyId from apis_listKeys. Role names, not ids; what is not listed is taken away.",
        example: r#"{"keyId": "<keyId>", "roles": ["<roleName>"]}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("api.*.update_key"),
            Expression::Leg("api.{apiId}.update_key"),
            Expression::Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}/keys/{keyId}#update_key"),
        ])),
        effect: Effect::Write,
        idempotent: true,
        errors: &[Code::KeyNotFound, Code::RoleNotFound],
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<RoleResponse>;

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: Request,
    ) -> Result<Reply<Vec<RoleResponse>>, Error> {
        locate_for::<Self>(keyrack, &mut *keyrack.store().read().await?, caller, &request.key_id).await?;
        let mut mutation = Mutation::begin(keyrack, caller).await?;
        mutation.correlate();
        let (key, _) = locate(keyrack, mutation.connection(), caller, &request.key_id).await?;
        let wanted = roles_by_name(&mut mutation, request.roles).await?;
        let held = roles::of_key(mutation.connection(), &key.id).await?;
        disconnect_roles(&mut mutation, &key.id, &without(&held, &wanted)).await?;
        connect_roles(&mut mutation, &key.id, &without(&wanted, &held)).await?;
        let answer = answered_roles(&mut mutation, &key.id).await?;
        mutation.touch(Subject::Key(key.id));
        mutation.commit().await?;
        Ok(answer.into())
    }
}
