//! `permissions.listRoles`

use super::ListRequest;
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Assistants, List, Operation};
use crate::operations::fields::RoleResponse;
use crate::reply::{Page, Reply};
use crate::store::roles;
use crate::{Caller, Error, Keyrack};

/// Lists roles.
#[derive(Debug)]
pub struct ListRoles;

impl Operation for ListRoles {
    const ABOUT: About = About {
        name: "permissions.listRoles",
        title: "List roles",
        summary: "Lists the roles of the workspace by id, with their permissions.",
        description: "A search looks at 1000 roles per request, so its pages may be short, or empty, and have a cursor. \
                      Send `cursor` with the same `search` to read on.",
        example: r#"{"limit": 20}"#,
        rule: Rule::forbidding(Expression::Leg("rbac.*.read_role")),
        list: Some(List { id: "id" }),
        assistants: Assistants { concise: &["id", "name", "permissions.slug"], ..Assistants::DEFAULT },
        ..About::DEFAULT
    };

    type Request = ListRequest;
    type Response = Vec<RoleResponse>;

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: ListRequest,
    ) -> Result<Reply<Vec<RoleResponse>>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut connection = keyrack.store().read().await?;
        let found = roles::list(&mut connection, request.part(caller)).await?;
        let page = request.limit.page_of_found(found, |role| &role.id);
        let rows = RoleResponse::read(&mut connection, page.rows).await?;
        Ok(authorized.page(Page { rows, pagination: page.pagination }))
    }
}
