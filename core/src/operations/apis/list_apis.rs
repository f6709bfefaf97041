//! `apis.listApis`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authorization::{Expression, OnDenied, Rule};
use crate::catalogue::{About, Operation, Reply};
use crate::page::PageSize;
use crate::store::apis;
use crate::store::listing::Part;
use crate::{Caller, Error, Keyrack};

/// Lists the APIs that the caller may read.
#[derive(Debug)]
pub struct ListApis;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// APIs per page.
    #[serde(default)]
    limit: PageSize,
    /// Where the page starts: `cursor` of the page before.
    #[schemars(length(max = 256))]
    cursor: Option<String>,
    /// Only APIs whose id or name contains it; case does not matter.
    #[schemars(length(max = 256))]
    search: Option<String>,
}

/// An API in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// `api_…`
    id: String,
    /// For people.
    name: String,
    /// Whether it refuses to be deleted.
    delete_protection: bool,
}

impl Operation for ListApis {
    const ABOUT: About = About {
        name: "apis.listApis",
        title: "List APIs",
        summary: "Lists the APIs of the workspace that the root key may read, by id.",
        description: "APIs for which the root key does not hold `read_api` are left out. Send `cursor` with the same \
                      `search` to read on.",
        example: r#"{"limit": 20}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("api.*.read_api"),
            Expression::Leg("api.{apiId}.read_api"),
        ]))
        .denied_as(OnDenied::Verdict),
        is_list: true,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<Item>;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Vec<Item>>, Error> {
        let reads_all = caller.is_allowed::<Self>(&[]);
        let mut connection = keyrack.store().read().await?;
        let mut cursor = request.cursor.unwrap_or_default();
        let search = request.search.unwrap_or_default();
        let wanted = request.limit.rows();
        let mut visible = Vec::new();
        loop {
            let part =
                Part { workspace_id: caller.workspace_id(), cursor: &cursor, search: &search, count: wanted };
            let rows = apis::list(&mut connection, part).await?;
            // The smallest id after the last one read: that id with the smallest character behind it.
            let next = rows.last().map(|api| format!("{}\u{1}", api.id));
            let is_last = i64::try_from(rows.len()).unwrap_or(i64::MAX) < wanted;
            visible.extend(
                rows.into_iter().filter(|api| reads_all || caller.is_allowed::<Self>(&[("apiId", &api.id)])),
            );
            match next {
                Some(next) if !is_last && i64::try_from(visible.len()).unwrap_or(i64::MAX) < wanted => {
                    cursor = next
                }
                _ => break,
            }
        }
        let items = visible.into_iter().map(|api| Item {
            id: api.id,
            name: api.name,
            delete_protection: api.delete_protection,
        });
        Ok(request.limit.page(items.collect(), |item| &item.id))
    }
}
