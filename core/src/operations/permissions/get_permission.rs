//! `permissions.getPermission`

use super::PermissionRequest;
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Operation};
use crate::error::OrNotFound as _;
use crate::operations::fields::PermissionResponse;
use crate::reply::Reply;
use crate::store::permissions;
use crate::{Caller, Code, Error, Keyrack};

/// Reads a permission.
#[derive(Debug)]
pub struct GetPermission;

impl Operation for GetPermission {
    const ABOUT: About = About {
        name: "permissions.getPermission",
        title: "Read a permission",
        summary: "Reads a permission by its id or its slug.",
        description: "A permission of another workspace reads as one that does not exist.",
        example: r#"{"permission": "<permissionSlug>"}"#,
        rule: Rule::forbidding(Expression::Leg("rbac.*.read_permission")),
        errors: &[Code::PermissionNotFound],
        ..About::DEFAULT
    };

    type Request = PermissionRequest;
    type Response = PermissionResponse;

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: PermissionRequest,
    ) -> Result<Reply<PermissionResponse>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut connection = keyrack.store().read().await?;
        let permission = permissions::find(&mut connection, caller.workspace_id(), &request.permission).await?;
        let permission = permission.or_not_found(Code::PermissionNotFound)?;
        Ok(authorized.reply(PermissionResponse::from(permission)))
    }
}
