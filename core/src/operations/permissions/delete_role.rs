//! `permissions.deleteRole`

use super::{RoleRequest, find_role};
use crate::audit::Event;
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Consequences, Effect, Operation, Question};
use crate::operations::keys::role_target;
use crate::reply::{Empty, Reply};
use crate::store::affected::Of;
use crate::store::subject::Subject;
use crate::store::{affected, roles};
use crate::{Caller, Code, Error, Keyrack};

/// Deletes a role.
#[derive(Debug)]
pub struct DeleteRole;

impl Operation for DeleteRole {
    const ABOUT: About = About {
        name: "permissions.deleteRole",
        title: "Delete a role",
        summary: "Deletes a role and takes it from all keys that have it. Its permissions stay.",
        description: "Counts from the next verification on; what keys hold themselves stays theirs. The name is free at once.",
        example: r#"{"role": "<roleName>"}"#,
        rule: Rule::forbidding(Expression::Leg("rbac.*.delete_role")),
        effect: Effect::Destroy,
        idempotent: true,
        errors: &[Code::RoleNotFound],
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = RoleRequest;
    type Response = Empty;

    fn consequences(_: &RoleRequest, _: UnixMs) -> Consequences {
        vec!["Deletes the role and takes it, with its permissions, from all keys that have it."]
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &RoleRequest,
        consequences: Consequences,
    ) -> Result<Question, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut connection = keyrack.store().read().await?;
        let role = find_role(&mut connection, caller, &request.role).await?;
        let affected = affected::keys(&mut connection, Of::Role(&role.id)).await?;
        let question = authorized.asking(consequences).text("role", &*role.name).text("id", &*role.id);
        Ok(question.affecting(affected))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: RoleRequest) -> Result<Reply<Empty>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut mutation = keyrack.change(caller).await?;
        let role = find_role(mutation.connection(), caller, &request.role).await?;
        mutation.touch_keys_holding(&role.id).await?;
        roles::delete(mutation.connection(), &role.id).await?;
        mutation.record(Event::new("role.delete", format!("Deleted role {}", role.id)).on(role_target(&role)));
        mutation.touch(Subject::Role(role.id));
        mutation.commit().await?;
        Ok(authorized.reply(Empty {}))
    }
}
