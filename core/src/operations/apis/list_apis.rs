//! `apis.listApis`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authorization::{Expression, OnDenied, Rule};
use crate::catalogue::{About, List, Operation};
use crate::page::PageSize;
use crate::reply::{Page, Reply};
use crate::store::apis::{self, Api};
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
        description: "APIs for which the root key does not hold `read_api` are left out. A page may be short, or \
                      empty, and have a cursor: a request looks at 1000 APIs at most. Send `cursor` with the same \
                      `search` to read on.",
        example: r#"{"limit": 20}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("api.*.read_api"),
            Expression::Leg("api.{apiId}.read_api"),
        ]))
        .denied_as(OnDenied::Verdict),
        list: Some(List { id: "id" }),
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<Item>;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Vec<Item>>, Error> {
        let (authorized, reads_all) = (caller.authorize_one_by_one(), caller.is_allowed(&Self::ABOUT.rule, &[]));
        if !caller.principal().could_satisfy(&Self::ABOUT.rule) {
            return Ok(authorized.page(Page::default()));
        }
        let mut connection = keyrack.store().read().await?;
        let part = Part {
            workspace_id: caller.workspace_id(),
            cursor: request.cursor.as_deref().unwrap_or_default(),
            search: request.search.as_deref().unwrap_or_default(),
            count: request.limit.rows_to_look_at(reads_all),
        };
        let may_read = |api: &Api| reads_all || caller.is_allowed(&Self::ABOUT.rule, &[("apiId", &api.id)]);
        let found = apis::list(&mut connection, part).await?.visible(part.count, |api| &api.id, may_read);
        let page = request.limit.page_of_found(found, |api| &api.id);
        Ok(authorized.page(page.map(|api| Item {
            id: api.id,
            name: api.name,
            delete_protection: api.delete_protection,
        })))
    }
}
