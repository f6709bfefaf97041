//! `permissions.deletePermission`

use super::{PermissionRequest, find_permission};
use crate::audit::Event;
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Consequences, Effect, Operation, Question};
use crate::operations::keys::permission_target;
use crate::reply::{Empty, Reply};
use crate::store::affected::Of;
use crate::store::subject::Subject;
use crate::store::{affected, permissions};
use crate::{Caller, Code, Error, Keyrack};

/// Deletes a permission.
#[derive(Debug)]
pub struct DeletePermission;

impl Operation for DeletePermission {
    const ABOUT: About = About {
        name: "permissions.deletePermission",
        title: "Delete a permission",
        summary: "Deletes a permission and takes it from all keys and roles that hold it.",
        description: "Counts from the next verification on. The slug is free at once; a new permission with it is held by nobody.",
        example: r#"{"permission": "<permissionSlug>"}"#,
        rule: Rule::forbidding(Expression::Leg("rbac.*.delete_permission")),
        effect: Effect::Destroy,
        idempotent: true,
        errors: &[Code::PermissionNotFound],
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = PermissionRequest;
    type Response = Empty;

    fn consequences(_: &PermissionRequest, _: UnixMs) -> Consequences {
        vec!["Deletes the permission and takes it from all keys and roles that hold it."]
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &PermissionRequest,
        consequences: Consequences,
    ) -> Result<Question, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut connection = keyrack.store().read().await?;
        let permission = find_permission(&mut connection, caller, &request.permission).await?;
        let affected = affected::keys(&mut connection, Of::Permission(&permission.id)).await?;
        let roles = affected::roles(&mut connection, &permission.id).await?;
        let question =
            authorized.asking(consequences).text("permission", &*permission.slug).text("id", &*permission.id);
        Ok(question.affecting(affected).count("roles", roles))
    }

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: PermissionRequest,
    ) -> Result<Reply<Empty>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut mutation = keyrack.change(caller).await?;
        let permission = find_permission(mutation.connection(), caller, &request.permission).await?;
        mutation.touch_keys_holding(&permission.id).await?;
        permissions::delete(mutation.connection(), &permission.id).await?;
        mutation.record(
            Event::new("permission.delete", format!("Deleted permission {}", permission.id))
                .on(permission_target(&permission)),
        );
        mutation.touch(Subject::Permission(permission.id));
        mutation.commit().await?;
        Ok(authorized.reply(Empty {}))
    }
}
