//! `keys.listKeys`

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::expanded::{self, Expand, ExpandedKey};
use super::find_api;
use super::rights::LIST_KEYS;
use crate::authorization::Rule;
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, List, Operation, Pin};
use crate::error::OrNotFound as _;
use crate::ids::ApiId;
use crate::operations::list_request::Cursor;
use crate::page::PageSize;
use crate::reply::{Page, Pagination, Reply};
use crate::resident::Api;
use crate::store::keys::search::{self, Position, Searched, Span, Wanted};
use crate::store::{Connection, identities, keys, permissions, roles};
use crate::{Caller, Code, Error, Keyrack};

/// Lists keys of all APIs, and finds them.
#[derive(Debug)]
pub struct ListKeys;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Only keys of this API.
    api_id: Option<ApiId>,
    /// Only keys of the identity with this id or external id.
    #[schemars(length(min = 1, max = 255))]
    identity: Option<String>,
    /// Beginning of a name, of an external id or of the key itself; or a whole key id.
    #[schemars(length(max = 256))]
    search: Option<String>,
    /// Only keys in this state.
    status: Option<Status>,
    /// Only keys with the role of this id or name.
    #[schemars(length(min = 1, max = 255))]
    role: Option<String>,
    /// Only keys that hold the permission of this id or slug, themselves or through a role.
    #[schemars(length(min = 1, max = 255))]
    permission: Option<String>,
    /// Only keys that expire then or later, in Unix ms.
    expires_from: Option<UnixMs>,
    /// Only keys that expire before then, in Unix ms.
    expires_before: Option<UnixMs>,
    /// Only keys that were neither used nor made since then, in Unix ms.
    unused_since: Option<UnixMs>,
    /// Only keys made then or later, in Unix ms.
    created_from: Option<UnixMs>,
    /// Only keys made before then, in Unix ms.
    created_before: Option<UnixMs>,
    /// Only keys whose plaintext is stored, or those whose is not.
    recoverable: Option<bool>,
    /// Only keys that were imported and not used yet, or all others.
    waiting: Option<bool>,
    /// By creation, or by expiry without those that have none.
    #[serde(default)]
    order: Order,
    /// Whether the latest come first.
    #[serde(default = "crate::operations::fields::yes")]
    descending: bool,
    /// Keys per page.
    #[serde(default)]
    limit: PageSize,
    #[serde(default)]
    cursor: Cursor,
}

/// What becomes of a key that is verified: the first of these that holds.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Status {
    Works,
    Disabled,
    Expired,
    NoCredits,
}

/// In which order keys come.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Order {
    #[default]
    Created,
    Expires,
}

impl From<Status> for search::Status {
    fn from(status: Status) -> Self {
        match status {
            Status::Works => search::Status::Works,
            Status::Disabled => search::Status::Disabled,
            Status::Expired => search::Status::Expired,
            Status::NoCredits => search::Status::NoCredits,
        }
    }
}

impl From<Order> for search::Order {
    fn from(order: Order) -> Self {
        match order {
            Order::Created => search::Order::Created,
            Order::Expires => search::Order::Expires,
        }
    }
}

impl Operation for ListKeys {
    const ABOUT: About = About {
        name: "keys.listKeys",
        title: "List and find keys",
        summary: "Lists the keys of all APIs that the root key may read, newest first, and finds them by what is known.",
        description: "Filters add up. A key is in one state: `disabled`, else `expired`, else `noCredits`, else `works`; limits \
                      are not looked at. `search` is the beginning of a name in any case, or exactly that of an \
                      external id or of the key as it was issued, such as `sk_live_Ab3d`; or a whole key id. Keys of APIs \
                      for which the root key does not hold both `read_key` and `read_api` are left out. An identity, a role \
                      or a permission that does not exist gives an empty page. A request looks at 3000 keys at most, so \
                      a page may be short, or empty, and have a cursor: send `cursor` with the same filters to read on.",
        example: r#"{"status": "works", "limit": 20}"#,
        rule: Rule::forbidding(LIST_KEYS),
        list: Some(List { id: None }),
        errors: &[Code::ApiNotFound],
        assistants: Assistants {
            hidden: &["createdFrom", "createdBefore"],
            hint: "A short or empty page with a cursor is not the end: read on.",
            concise: &[
                "keyId",
                "start",
                "name",
                "enabled",
                "expires",
                "lastUsedAt",
                "credits",
                "identity.id",
                "identity.externalId",
                "apiId",
            ],
            pinned_by: Some(Pin::Api("apiId")),
            ..Assistants::DEFAULT
        },
        is_own: true,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<ExpandedKey>;

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: Request,
    ) -> Result<Reply<Vec<ExpandedKey>>, Error> {
        let from = position(&request.cursor)?;
        if let Some(api_id) = &request.api_id {
            let api = find_api(keyrack, caller.workspace_id(), api_id).await?;
            api.filter(|api| may_list(caller, api)).or_not_found(Code::ApiNotFound)?;
        }
        let authorized = caller.authorize_one_by_one();
        let mut connection = keyrack.store().read().await?;
        let Some(named) = Named::of(&mut connection, caller, &request).await? else {
            return Ok(authorized.page(Page::default()));
        };
        let mut seen: HashMap<String, bool> = HashMap::new();
        let mut may_see = |api_id: &str| match seen.get(api_id) {
            Some(may) => *may,
            None => {
                let api = keyrack.resident().api(api_id);
                let of_caller = api.filter(|api| api.stored.workspace_id == caller.workspace_id());
                let may = of_caller.is_some_and(|api| may_list(caller, &api));
                seen.insert(api_id.to_owned(), may);
                may
            }
        };
        let wanted = request.wanted(caller, &named, keyrack.clock().now());
        let count = request.limit.items();
        let Searched { ids, next } = search::search(&mut connection, &wanted, from, count, &mut may_see).await?;
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        // One that was deleted since is not there any more.
        let mut found: HashMap<String, keys::Key> =
            keys::live(&mut connection, &ids).await?.into_iter().map(|key| (key.id.clone(), key)).collect();
        let found = ids.iter().filter_map(|id| found.remove(*id)).collect();
        let rows = expanded::read(keyrack, &mut connection, found, &Expand::ALL).await?;
        let cursor = next.map(|next| format!("{}.{}", next.time.get(), next.id));
        Ok(authorized.page(Page { rows, pagination: Pagination { has_more: cursor.is_some(), cursor } }))
    }
}

fn may_list(caller: &Caller, api: &Api) -> bool {
    let scope = [("apiId", api.stored.id.as_str()), ("keySpaceId", &api.stored.key_space_id)];
    caller.is_allowed(&ListKeys::ABOUT.rule, &scope)
}

/// Where a cursor points.
fn position(cursor: &str) -> Result<Option<Position>, Error> {
    if cursor.is_empty() {
        return Ok(None);
    }
    let parts = cursor.split_once('.');
    let position =
        parts.and_then(|(time, id)| Some(Position { time: UnixMs::new(time.parse().ok()?), id: id.to_owned() }));
    position.map(Some).ok_or_else(|| {
        Error::invalid(
            "body.cursor",
            "is none that this list gave",
            "Send `pagination.cursor` of the page before.",
        )
    })
}

/// Ids of what a request names.
#[derive(Debug, Default)]
struct Named {
    identity_id: Option<String>,
    role_id: Option<String>,
    permission_id: Option<String>,
}

impl Named {
    /// `None` when it names something that is not there, so that no key is meant.
    async fn of(connection: &mut Connection, caller: &Caller, request: &Request) -> Result<Option<Named>, Error> {
        let mut named = Named::default();
        let workspace_id = caller.workspace_id();
        if let Some(identity) = &request.identity {
            let found = identities::find(connection, workspace_id, identity).await?;
            let Some(found) = found else { return Ok(None) };
            named.identity_id = Some(found.id);
        }
        if let Some(role) = &request.role {
            let Some(found) = roles::find(connection, workspace_id, role).await? else { return Ok(None) };
            named.role_id = Some(found.id);
        }
        if let Some(permission) = &request.permission {
            let found = permissions::find(connection, workspace_id, permission).await?;
            let Some(found) = found else { return Ok(None) };
            named.permission_id = Some(found.id);
        }
        Ok(Some(named))
    }
}

impl Request {
    fn wanted<'a>(&'a self, caller: &'a Caller, named: &'a Named, now: UnixMs) -> Wanted<'a> {
        Wanted {
            workspace_id: caller.workspace_id(),
            api_id: self.api_id.as_deref(),
            identity_id: named.identity_id.as_deref(),
            role_id: named.role_id.as_deref(),
            permission_id: named.permission_id.as_deref(),
            search: self.search.as_deref().unwrap_or_default().trim(),
            status: self.status.map(Into::into),
            created: Span { from: self.created_from, before: self.created_before },
            expires: Span { from: self.expires_from, before: self.expires_before },
            unused_since: self.unused_since,
            recoverable: self.recoverable,
            waiting: self.waiting,
            order: self.order.into(),
            descending: self.descending,
            now,
        }
    }
}
