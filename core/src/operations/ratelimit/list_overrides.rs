//! `ratelimit.listOverrides`

use schemars::JsonSchema;
use serde::Deserialize;

use super::get_override::Override;
use super::namespace::find_live;
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Assistants, List, Operation, Resource};
use crate::operations::list_request::Cursor;
use crate::page::PageSize;
use crate::reply::Reply;
use crate::store::overrides;
use crate::{Caller, Code, Error, Keyrack};

/// Lists the overrides of a namespace.
#[derive(Debug)]
pub struct ListOverrides;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Id or name of the namespace.
    #[schemars(length(min = 1, max = 512))]
    namespace: String,
    #[serde(default)]
    cursor: Cursor,
    /// Overrides per page.
    #[serde(default)]
    limit: PageSize<50>,
}

impl Operation for ListOverrides {
    const ABOUT: About = About {
        name: "ratelimit.listOverrides",
        title: "List overrides",
        summary: "Lists the overrides of a namespace, by id.",
        description: "Deleted overrides are left out. To see which one applies to an identifier, ask \
                      `ratelimit.getOverride`.",
        example: r#"{"namespace": "<namespace>", "limit": 20}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("ratelimit.{namespaceId}.read_override"),
            Expression::Leg("ratelimit.*.read_override"),
        ])),
        errors: &[Code::RatelimitNamespaceNotFound],
        list: Some(List { id: Some("overrideId") }),
        assistants: Assistants {
            resource: Some(Resource { path: "limits", title: "What limits apply in a namespace" }),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<Override>;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Vec<Override>>, Error> {
        let namespace = find_live(keyrack, caller, &request.namespace).await?;
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("namespaceId", &namespace.stored.id)])?;
        let mut connection = keyrack.store().read().await?;
        let rows =
            overrides::list(&mut connection, &namespace.stored.id, &request.cursor, request.limit.rows()).await?;
        let items: Vec<Override> = rows.iter().map(Override::from).collect();
        Ok(authorized.page(request.limit.page(items, Override::id)))
    }
}
