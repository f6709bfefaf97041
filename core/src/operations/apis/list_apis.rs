//! `apis.listApis`

use schemars::JsonSchema;
use serde::Serialize;

use super::READ_API;
use crate::authorization::{OnDenied, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, List, Operation};
use crate::ids::ApiId;
use crate::operations::list_request::{ListRequest, Searched};
use crate::reply::{Page, Reply};
use crate::store::apis::{self, Api};
use crate::{Caller, Error, Keyrack};

/// Lists the APIs that the caller may read.
#[derive(Debug)]
pub struct ListApis;

/// An API in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// `api_…`
    pub id: ApiId,
    /// For people.
    pub name: String,
    /// Whether it refuses to be deleted.
    pub delete_protection: bool,
    /// `ks_…`, the key space of its keys.
    pub key_space_id: String,
    /// Unix ms.
    pub created_at: UnixMs,
    /// How many keys it has.
    pub keys: i64,
}

impl Searched for ListApis {
    const ITEMS: &'static str = "APIs";
    const LOOKED_INTO: &'static str = "APIs whose id or name";
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
        rule: Rule::forbidding(READ_API).denied_as(OnDenied::Verdict),
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
        let (authorized, reads_all) = (caller.authorize_one_by_one(), caller.is_allowed(&Self::ABOUT.rule, &[]));
        if !caller.principal().could_satisfy(&Self::ABOUT.rule) {
            return Ok(authorized.page(Page::default()));
        }
        let mut connection = keyrack.store().read().await?;
        let part = request.part(caller, request.limit.rows_to_look_at(reads_all));
        let may_read = |api: &Api| reads_all || caller.is_allowed(&Self::ABOUT.rule, &[("apiId", &api.id)]);
        let found = apis::list(&mut connection, part).await?.visible(part.count, |api| &api.id, may_read);
        let page = request.limit.page_of_found(found, |api| &api.id);
        Ok(authorized.page(page.map(|api| Item {
            keys: keyrack.resident().keys_of_api(&api.id),
            id: api.id.into(),
            name: api.name,
            delete_protection: api.delete_protection,
            key_space_id: api.key_space_id,
            created_at: api.created_at,
        })))
    }
}
