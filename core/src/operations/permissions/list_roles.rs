//! `permissions.listRoles`

use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Assistants, List, Operation};
use crate::operations::fields::RoleResponse;
use crate::operations::list_request::{ListRequest, Searched};
use crate::reply::{Page, Reply};
use crate::store::roles;
use crate::{Caller, Error, Keyrack};

/// Lists roles.
#[derive(Debug)]
pub struct ListRoles;

impl Searched for ListRoles {
    const ITEMS: &'static str = "Roles";
    const LOOKED_INTO: &'static str = "roles whose id, name or description";
    const LONGEST_CURSOR: usize = 1024;
}

impl Operation for ListRoles {
    const ABOUT: About = About {
        name: "permissions.listRoles",
        title: "List roles",
        summary: "Lists the roles of the workspace by id, with their permissions.",
        description: "A search looks at 1000 roles per request, so its pages may be short, or empty, and have a cursor. \
                      Send `cursor` with the same `search` to read on.",
        example: r#"{"limit": 20}"#,
        rule: Rule::forbidding(Expression::Leg("rbac.*.read_role")),
        list: Some(List { id: Some("id") }),
        assistants: Assistants { concise: &["id", "name", "permissions.slug"], ..Assistants::DEFAULT },
        ..About::DEFAULT
    };

    type Request = ListRequest<Self>;
    type Response = Vec<RoleResponse>;

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: ListRequest<Self>,
    ) -> Result<Reply<Vec<RoleResponse>>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut connection = keyrack.store().read().await?;
        let found = roles::list(&mut connection, request.part(caller, request.limit.rows())).await?;
        let page = request.limit.page_of_found(found, |role| &role.id);
        let rows = RoleResponse::read(&mut connection, page.rows).await?;
        Ok(authorized.page(Page { rows, pagination: page.pagination }))
    }
}
