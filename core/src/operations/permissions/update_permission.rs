//! `permissions.updatePermission`

use schemars::JsonSchema;
use serde::Deserialize;

use super::{find_permission, slug_is_taken};
use crate::audit::{Changes, Event};
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Consequences, Effect, Operation, Question, if_so};
use crate::operations::fields::{PermissionResponse, SLUG_PATTERN};
use crate::operations::keys::permission_target;
use crate::reply::Reply;
use crate::store::affected::{self, Of};
use crate::store::permissions;
use crate::store::subject::Subject;
use crate::value::Patch;
use crate::{Caller, Code, Error, Keyrack};

/// Changes a permission.
#[derive(Debug)]
pub struct UpdatePermission;

/// What is sent. Absent members stay as they are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Its id or its slug; an id wins.
    #[schemars(length(min = 1, max = 128), regex(pattern = SLUG_PATTERN))]
    permission: String,
    /// For people; need not be unique.
    #[schemars(length(min = 1, max = 512))]
    name: Option<String>,
    /// What verifications ask for from now on; unique, case-sensitive.
    #[schemars(length(min = 1, max = 128), regex(pattern = SLUG_PATTERN))]
    slug: Option<String>,
    /// For people; null or empty: none.
    #[serde(default)]
    #[schemars(length(max = 512))]
    description: Patch<String>,
}

impl Operation for UpdatePermission {
    const ABOUT: About = About {
        name: "permissions.updatePermission",
        title: "Change a permission",
        summary: "Changes the name, slug or description of a permission. Absent members stay, null clears.",
        description: "Keys and roles keep the permission when its slug changes: verifications find it under the new slug \
                      from the next one on, and under the old one no more. A slug of another permission answers 409.",
        example: r#"{"permission": "<permissionSlug>", "name": "Read all documents"}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("rbac.*.update_permission"),
            Expression::Leg("unkey:v1:{workspaceId}:projects/*/rbac/permissions/{permissionId}#write"),
        ])),
        effect: Effect::Write,
        idempotent: true,
        errors: &[Code::PermissionNotFound, Code::PermissionAlreadyExists],
        assistants: Assistants {
            hint: "Code that asks for the old slug is refused afterwards.",
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = PermissionResponse;

    fn consequences(request: &Request, _: UnixMs) -> Consequences {
        if_so([("Refuses at once whatever asks for the permission by its old slug.", request.slug.is_some())])
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        mut consequences: Consequences,
    ) -> Result<Question, Error> {
        let _ = caller.authorize(&Self::ABOUT.rule, &[("permissionId", &request.permission)])?;
        let mut connection = keyrack.store().read().await?;
        let permission = find_permission(&mut connection, caller, &request.permission).await?;
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("permissionId", &permission.id)])?;
        let slug = request.slug.as_deref().filter(|slug| *slug != permission.slug);
        consequences.retain(|_| slug.is_some());
        let affected = affected::keys(&mut connection, Of::Permission(&permission.id)).await?;
        let roles = affected::roles(&mut connection, &permission.id).await?;
        let question = authorized.asking(consequences).text("permission", &*permission.slug);
        let question = question.text("id", &*permission.id).text_if_any("new slug", slug);
        Ok(question.affecting(affected).count("roles", roles))
    }

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: Request,
    ) -> Result<Reply<PermissionResponse>, Error> {
        let _ = caller.authorize(&Self::ABOUT.rule, &[("permissionId", &request.permission)])?;
        let mut mutation = keyrack.change(caller).await?;
        let mut permission = find_permission(mutation.connection(), caller, &request.permission).await?;
        // What was named may have been a slug that reads like the id of another permission.
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("permissionId", &permission.id)])?;
        if request.name.is_none() && request.slug.is_none() && request.description.is_absent() {
            return Ok(authorized.reply(PermissionResponse::from(permission)));
        }
        let before = PermissionResponse::from(permission.clone());
        if let Some(slug) = request.slug.filter(|slug| *slug != permission.slug) {
            let slugs = std::slice::from_ref(&slug);
            let workspace_id = caller.workspace_id();
            if !permissions::find_by_slugs(mutation.connection(), workspace_id, slugs).await?.is_empty() {
                return Err(slug_is_taken(&slug));
            }
            permission.slug = slug;
        }
        permission.name = request.name.unwrap_or(permission.name);
        request.description.or_null_if(String::is_empty).apply(&mut permission.description);
        let now = mutation.now();
        permissions::update(mutation.connection(), &permission, now).await?;
        mutation.record(
            Event::new("permission.update", format!("Updated permission {}", permission.id))
                .on(permission_target(&permission))
                .changing(Changes::between(&before, &PermissionResponse::from(permission.clone()))),
        );
        mutation.touch(Subject::Permission(permission.id.clone()));
        mutation.commit().await?;
        Ok(authorized.reply(PermissionResponse::from(permission)))
    }
}
