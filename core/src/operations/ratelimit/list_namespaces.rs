//! `ratelimit.listNamespaces`

use schemars::JsonSchema;
use serde::Serialize;

use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, List, Operation};
use crate::ids::NamespaceId;
use crate::operations::list_request::{ListRequest, Searched};
use crate::reply::Reply;
use crate::store::namespaces;
use crate::{Caller, Error, Keyrack};

/// Lists namespaces of rate limits.
#[derive(Debug)]
pub struct ListNamespaces;

/// A namespace in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// `rlns_…`
    pub id: NamespaceId,
    /// As it was named.
    pub name: String,
    /// Unix ms.
    pub created_at: UnixMs,
}

impl Searched for ListNamespaces {
    const ITEMS: &'static str = "Namespaces";
    const LOOKED_INTO: &'static str = "namespaces whose id or name";
}

impl Operation for ListNamespaces {
    const ABOUT: About = About {
        name: "ratelimit.listNamespaces",
        title: "List namespaces",
        summary: "Lists the rate-limit namespaces of the workspace, by id.",
        description: "Namespaces come into being when a limit is first checked in them, or with \
                      `ratelimit.createNamespace`. Deleted ones are left out. A search looks at 1000 namespaces per request, so its pages may be short, or empty, and have \
                      a cursor.",
        example: r#"{"limit": 20}"#,
        rule: Rule::forbidding(Expression::Leg("ratelimit.*.read_namespace")),
        list: Some(List { id: Some("id") }),
        is_own: true,
        ..About::DEFAULT
    };

    type Request = ListRequest<Self>;
    type Response = Vec<Item>;

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: ListRequest<Self>,
    ) -> Result<Reply<Vec<Item>>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut connection = keyrack.store().read().await?;
        let part = request.part(caller, request.limit.rows());
        let page = request.limit.page_of_found(namespaces::list(&mut connection, part).await?, |item| &item.id);
        Ok(authorized.page(page.map(|namespace| Item {
            id: namespace.id.into(),
            name: namespace.name,
            created_at: namespace.created_at,
        })))
    }
}
