//! `workspace.listWorkspaces`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authorization::Rule;
use crate::calendar::UnixMs;
use crate::catalogue::{About, List, Operation};
use crate::ids::WorkspaceId;
use crate::operations::list_request::Cursor;
use crate::page::PageSize;
use crate::reply::Reply;
use crate::store::workspaces;
use crate::{Caller, Error, Keyrack};

/// Lists all workspaces.
#[derive(Debug)]
pub struct ListWorkspaces;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Workspaces per page.
    #[serde(default)]
    limit: PageSize,
    #[serde(default)]
    cursor: Cursor,
}

/// A workspace in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// `ws_…`
    pub id: WorkspaceId,
    /// For people.
    pub name: String,
    /// Whether its keys verify and its root keys work.
    pub enabled: bool,
    /// Unix ms.
    pub created_at: UnixMs,
}

impl Operation for ListWorkspaces {
    const ABOUT: About = About {
        name: "workspace.listWorkspaces",
        title: "List workspaces",
        summary: "Lists all workspaces of this server, by id.",
        description: "For operators.",
        example: r#"{"limit": 20}"#,
        rule: Rule::OPERATOR,
        list: Some(List { id: Some("id") }),
        is_own: true,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<Item>;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Vec<Item>>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut connection = keyrack.store().read().await?;
        let found = workspaces::list(&mut connection, &request.cursor, request.limit.rows()).await?;
        let page = request.limit.page_of_found(found, |(workspace, _)| &workspace.id);
        Ok(authorized.page(page.map(|(workspace, created_at)| Item {
            id: workspace.id.into(),
            name: workspace.name,
            enabled: workspace.enabled,
            created_at,
        })))
    }
}
