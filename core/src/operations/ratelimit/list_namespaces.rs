//! `ratelimit.listNamespaces`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, List, Operation};
use crate::page::PageSize;
use crate::reply::Reply;
use crate::store::listing::Part;
use crate::store::namespaces;
use crate::{Caller, Error, Keyrack};

/// Lists namespaces of rate limits.
#[derive(Debug)]
pub struct ListNamespaces;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Namespaces per page.
    #[serde(default)]
    limit: PageSize,
    /// Where the page starts: `cursor` of the page before.
    #[schemars(length(max = 256))]
    cursor: Option<String>,
    /// Only namespaces whose id or name contains it; case does not matter.
    #[schemars(length(max = 256))]
    search: Option<String>,
}

/// A namespace in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// `rlns_…`
    id: String,
    /// As it was named.
    name: String,
    /// Unix ms.
    created_at: UnixMs,
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
        list: Some(List { id: "id" }),
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<Item>;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Vec<Item>>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut connection = keyrack.store().read().await?;
        let cursor = request.cursor.unwrap_or_default();
        let search = request.search.unwrap_or_default();
        let workspace_id = caller.workspace_id();
        let part = Part { workspace_id, cursor: &cursor, search: &search, count: request.limit.rows() };
        let page = request.limit.page_of_found(namespaces::list(&mut connection, part).await?, |item| &item.id);
        Ok(authorized.page(page.map(|namespace| Item {
            id: namespace.id,
            name: namespace.name,
            created_at: namespace.created_at,
        })))
    }
}
