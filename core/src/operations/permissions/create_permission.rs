//! `permissions.createPermission`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::slug_is_taken;
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Effect, Operation};
use crate::ids::{self, Kind, PermissionId};
use crate::operations::fields::SLUG_PATTERN;
use crate::operations::keys::permission_created;
use crate::reply::Reply;
use crate::store::permissions::{self, Permission};
use crate::{Caller, Code, Error, Keyrack};

/// Creates a permission.
#[derive(Debug)]
pub struct CreatePermission;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// For people; need not be unique.
    #[schemars(length(min = 1, max = 512))]
    name: String,
    /// What verifications ask for; unique, case-sensitive.
    #[schemars(length(min = 1, max = 128), regex(pattern = SLUG_PATTERN))]
    slug: String,
    /// For people.
    #[schemars(length(max = 512))]
    description: Option<String>,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// `perm_…`
    pub permission_id: PermissionId,
}

impl Operation for CreatePermission {
    const ABOUT: About = About {
        name: "permissions.createPermission",
        title: "Create a permission",
        summary: "Creates a permission that keys and roles may hold and verifications may ask for.",
        description: "Slugs are compared exactly and have no wildcards: a key that holds `documents.*` does not hold \
                      `documents.read`. A slug that exists answers 409.",
        example: r#"{"name": "Read documents", "slug": "documents.read",
                  "description": "Opens documents and lists them."}"#,
        rule: Rule::forbidding(Expression::Leg("rbac.*.create_permission")),
        effect: Effect::Write,
        idempotent: false,
        errors: &[Code::PermissionAlreadyExists],
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let permission = Permission {
            id: ids::generate(Kind::Permission),
            slug: request.slug,
            name: request.name,
            description: request.description.filter(|text| !text.is_empty()),
        };
        let mut mutation = keyrack.change(caller).await?;
        let (workspace_id, now) = (caller.workspace_id(), mutation.now());
        let slugs = std::slice::from_ref(&permission.slug);
        if !permissions::find_by_slugs(mutation.connection(), workspace_id, slugs).await?.is_empty() {
            return Err(slug_is_taken(&permission.slug));
        }
        permissions::insert(mutation.connection(), workspace_id, std::slice::from_ref(&permission), now).await?;
        mutation.record(permission_created(&permission));
        mutation.commit().await?;
        Ok(authorized.reply(Response { permission_id: permission.id.into() }))
    }
}
