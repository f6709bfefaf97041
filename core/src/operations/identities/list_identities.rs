//! `identities.listIdentities`

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::expanded::{ExpandListed, ExpandedIdentity};
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Assistants, List, Operation};
use crate::operations::fields::{IdentityResponse, RatelimitResponse};
use crate::operations::list_request::Cursor;
use crate::page::PageSize;
use crate::reply::{Page, Reply};
use crate::store::identities::Identity;
use crate::store::listing::Part;
use crate::store::{by_owner, identities, ratelimits};
use crate::{Caller, Error, Keyrack};

/// Lists identities.
#[derive(Debug)]
pub struct ListIdentities;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Identities per page.
    #[serde(default)]
    limit: PageSize,
    #[serde(default)]
    cursor: Cursor,
    /// Only identities whose id or external id contains it; case does not matter.
    #[schemars(length(max = 256))]
    search: Option<String>,
    /// What to answer besides: `counts` of keys.
    #[serde(default)]
    #[schemars(length(max = 1))]
    expand: Vec<ExpandListed>,
}

impl Operation for ListIdentities {
    const ABOUT: About = About {
        name: "identities.listIdentities",
        title: "List identities",
        summary: "Lists the identities of the workspace by id, with their metadata and limits.",
        description: "Each identity of the page must be one that the root key may read: one that it may not refuses the \
                      whole page. A search leaves such identities out. It looks at 1000 identities per request, so \
                      its pages may be short, or empty, and have a cursor. Send `cursor` with the same `search` to \
                      read on. `expand` with `counts` adds when each was made and how many keys it has, counted up to \
                      1001.",
        example: r#"{"limit": 20}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("identity.{identityId}.read_identity"),
            Expression::Leg("identity.*.read_identity"),
            Expression::Leg("unkey:v1:{workspaceId}:projects/*/identities/*#read_identity"),
        ])),
        list: Some(List { id: Some("id") }),
        assistants: Assistants { concise: &["id", "externalId", "ratelimits"], ..Assistants::DEFAULT },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<ExpandedIdentity<RatelimitResponse>>;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Self::Response>, Error> {
        let authorized = caller.authorize_one_by_one();
        let reads_all = caller.is_allowed(&Self::ABOUT.rule, &[]);
        let mut connection = keyrack.store().read().await?;
        let search = request.search.as_deref().unwrap_or_default().trim();
        let is_search = !search.is_empty();
        let count = request.limit.rows_to_look_at(reads_all || !is_search);
        let part = Part { workspace_id: caller.workspace_id(), cursor: &request.cursor, search, count };
        let mut found = identities::list(&mut connection, part).await?;
        if is_search && !reads_all {
            // A refusal would say that something was found: whoever asks often enough would know every external id.
            let may_read = |identity: &Identity| {
                caller.is_allowed(&Self::ABOUT.rule, &[("identityId", identity.id.as_str())])
            };
            found = found.visible(part.count, |identity| &identity.id, may_read);
        }
        let page = request.limit.page_of_found(found, |identity| &identity.id);
        if !reads_all {
            for identity in &page.rows {
                let _ = caller.authorize(&Self::ABOUT.rule, &[("identityId", &identity.id)])?;
            }
        }
        let ids: Vec<&str> = page.rows.iter().map(|identity| identity.id.as_str()).collect();
        let mut limits = by_owner(ratelimits::of_identities(&mut connection, &ids).await?);
        let mut facts = match request.expand.is_empty() {
            true => HashMap::new(),
            false => identities::facts(&mut connection, &ids).await?,
        };
        let rows = page.rows.into_iter().map(|identity| {
            let limits = limits.remove(&identity.id).unwrap_or_default();
            let counts = facts.remove(&identity.id).map(Into::into);
            Ok(ExpandedIdentity { identity: IdentityResponse::new(identity, limits)?, counts })
        });
        let rows = rows.collect::<Result<_, Error>>()?;
        Ok(authorized.page(Page { rows, pagination: page.pagination }))
    }
}
