//! `permissions.listPermissions`

use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, List, Operation};
use crate::operations::fields::PermissionResponse;
use crate::operations::list_request::{ListRequest, Searched};
use crate::reply::Reply;
use crate::store::permissions;
use crate::{Caller, Error, Keyrack};

/// Lists permissions.
#[derive(Debug)]
pub struct ListPermissions;

impl Searched for ListPermissions {
    const ITEMS: &'static str = "Permissions";
    const LOOKED_INTO: &'static str = "permissions whose id, name, slug or description";
    const LONGEST_CURSOR: usize = 1024;
}

impl Operation for ListPermissions {
    const ABOUT: About = About {
        name: "permissions.listPermissions",
        title: "List permissions",
        summary: "Lists the permissions of the workspace by id.",
        description: "A search looks at 1000 permissions per request, so its pages may be short, or empty, and have a \
                      cursor. Send `cursor` with the same `search` to read on.",
        example: r#"{"limit": 20}"#,
        rule: Rule::forbidding(Expression::Leg("rbac.*.read_permission")),
        list: Some(List { id: Some("id") }),
        ..About::DEFAULT
    };

    type Request = ListRequest<Self>;
    type Response = Vec<PermissionResponse>;

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: ListRequest<Self>,
    ) -> Result<Reply<Vec<PermissionResponse>>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut connection = keyrack.store().read().await?;
        let found = permissions::list(&mut connection, request.part(caller, request.limit.rows())).await?;
        let page = request.limit.page_of_found(found, |permission| &permission.id);
        Ok(authorized.page(page.map(PermissionResponse::from)))
    }
}
