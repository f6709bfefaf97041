//! `apis.listKeys`

use schemars::JsonSchema;
use serde::Deserialize;

use crate::authorization::{Conditional, Expression, OnDenied, Rule};
use crate::calendar::Calendar;
use crate::catalogue::{About, Assistants, List, Operation, Pin, Toolset};
use crate::error::OrNotFound as _;
use crate::ids::ApiId;
use crate::operations::keys::{KeyObject, LIST_KEYS, find_api, reveal, stores_plaintexts, vault};
use crate::operations::list_request::Cursor;
use crate::page::PageSize;
use crate::reply::{Page, Reply};
use crate::store::{identities, keys};
use crate::{Caller, Code, Error, Keyrack};

/// Lists the keys of an API.
#[derive(Debug)]
pub struct ListKeys;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The API.
    // Clients of the contract may send any text of that length here: what is no id is not found.
    #[schemars(with = "String", length(min = 1, max = 255))]
    api_id: ApiId,
    /// Keys per page.
    #[serde(default)]
    limit: PageSize,
    #[serde(default)]
    cursor: Cursor,
    /// Only keys of the identity with this external id.
    #[schemars(length(min = 1, max = 255))]
    external_id: Option<String>,
    /// Whether to show the plaintext of recoverable keys.
    #[serde(default)]
    decrypt: bool,
    /// Accepted for compatibility; lists are always fresh.
    #[serde(default, rename = "revalidateKeysCache")]
    _revalidate_keys_cache: bool,
}

impl Operation for ListKeys {
    const ABOUT: About = About {
        name: "apis.listKeys",
        title: "List the keys of an API",
        summary: "Lists the keys of an API by key id, disabled and expired ones included, never their plaintext.",
        description: "Needs both `read_key` and `read_api`; without them the API reads as one that does not exist. \
                      An `externalId` that no identity has gives an empty page. With it a request looks at 1000 \
                      keys of the identity at most, so a page may be short, or empty, and have a cursor. Send \
                      `cursor` with the same filters to read on.",
        example: r#"{"apiId": "<apiId>", "limit": 20}"#,
        rule: Rule::forbidding(LIST_KEYS).denied_as(OnDenied::Masked(Code::ApiNotFound)).and(&[Conditional {
            name: "decrypt",
            when: "decrypt is true",
            check: Expression::Any(&[
                Expression::Leg("api.*.decrypt_key"),
                Expression::Leg("api.{apiId}.decrypt_key"),
                Expression::Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}/keys/*#decrypt_key"),
            ]),
            on_denied: OnDenied::Forbidden,
        }]),
        list: Some(List { id: Some("keyId") }),
        errors: &[Code::PreconditionFailed],
        assistants: Assistants {
            // keys.listKeys does more, and is there by default.
            toolset: Some(Toolset::Migrations),
            hint: "To find keys by name, first characters, state, role or customer use keys.listKeys.",
            hidden: &["decrypt", "revalidateKeysCache"],
            concise: KeyObject::CONCISE,
            pinned_by: Some(Pin::Api("apiId")),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<KeyObject>;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Vec<KeyObject>>, Error> {
        let api = find_api(keyrack, caller.workspace_id(), &request.api_id).await?;
        let api = api.or_not_found(Code::ApiNotFound)?;
        let scope = [("apiId", api.stored.id.as_str()), ("keySpaceId", &api.stored.key_space_id)];
        let authorized = caller.authorize(&Self::ABOUT.rule, &scope)?;
        if request.decrypt {
            vault(keyrack)?;
            caller.authorize_also(&Self::ABOUT.rule, "decrypt", &scope)?;
            stores_plaintexts(&api.stored)?;
        }
        let mut connection = keyrack.store().read().await?;
        let mut identity_id = None;
        if let Some(external_id) = &request.external_id {
            let identity =
                identities::find_by_external_id(&mut connection, caller.workspace_id(), external_id).await?;
            match identity {
                Some(identity) => identity_id = Some(identity.id),
                None => return Ok(authorized.page(Page::default())),
            }
        }
        let count = request.limit.rows();
        let found =
            keys::list(&mut connection, &api.stored.id, identity_id.as_deref(), &request.cursor, count).await?;
        let page = request.limit.page_of_found(found, |key| &key.id);
        let mut objects = KeyObject::read(&mut connection, page.rows, Calendar::at(keyrack.clock().now())).await?;
        drop(connection);
        if request.decrypt {
            reveal(keyrack, caller, &mut objects).await?;
        }
        Ok(authorized.page(Page { rows: objects, pagination: page.pagination }))
    }
}
