//! `permissions.getRole`

use super::RoleRequest;
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Operation};
use crate::error::OrNotFound as _;
use crate::operations::fields::RoleResponse;
use crate::reply::Reply;
use crate::store::roles;
use crate::{Caller, Code, Error, Keyrack};

/// Reads a role.
#[derive(Debug)]
pub struct GetRole;

impl Operation for GetRole {
    const ABOUT: About = About {
        name: "permissions.getRole",
        title: "Read a role",
        summary: "Reads a role by its id or its name, with its permissions.",
        description: "A role of another workspace reads as one that does not exist.",
        example: r#"{"role": "<roleName>"}"#,
        rule: Rule::forbidding(Expression::Leg("rbac.*.read_role")),
        errors: &[Code::RoleNotFound],
        ..About::DEFAULT
    };

    type Request = RoleRequest;
    type Response = RoleResponse;

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: RoleRequest,
    ) -> Result<Reply<RoleResponse>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut connection = keyrack.store().read().await?;
        let role = roles::find(&mut connection, caller.workspace_id(), &request.role).await?;
        let role = role.or_not_found(Code::RoleNotFound)?;
        let roles = RoleResponse::read(&mut connection, vec![role]).await?;
        let role = roles.into_iter().next().ok_or_else(|| Error::unexpected("a role was lost"))?;
        Ok(authorized.reply(role))
    }
}
