//! `rootKeys.listKeys`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authorization::{Expression, OnDenied, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, List, Operation};
use crate::ids::RootKeyId;
use crate::operations::list_request::Cursor;
use crate::page::PageSize;
use crate::reply::{Page, Reply};
use crate::store::listing::Found;
use crate::store::root_keys::{self, Listed};
use crate::value::Nullable;
use crate::{Caller, Error, Keyrack};

/// Lists the root keys that the caller may read.
#[derive(Debug)]
pub struct ListKeys;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Root keys per page.
    #[serde(default)]
    limit: PageSize,
    #[serde(default)]
    cursor: Cursor,
}

/// A root key in a list, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// `key_…`
    pub key_id: RootKeyId,
    /// For people.
    pub name: Nullable<String>,
    /// Its first characters; empty for a key of the bootstrap setting.
    pub start: String,
    /// Its last characters; empty for a key of the bootstrap setting.
    pub end: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// Unix ms.
    pub created_at: UnixMs,
    /// Unix ms; 0 when never.
    pub last_used_at: UnixMs,
    /// Unix ms after which it is refused; null: never.
    pub expires: Nullable<UnixMs>,
    /// What it may do, in the order of the texts.
    pub permissions: Vec<String>,
}

impl Operation for ListKeys {
    const ABOUT: About = About {
        name: "rootKeys.listKeys",
        title: "List root keys",
        summary: "Lists the root keys that this one may read, by id, without their secrets.",
        description: "Root keys for which the caller does not hold `#read` are left out. Disabled and expired ones are \
                      listed. A page may be short, or empty, and have a cursor: a request looks at 1000 root keys at \
                      most.",
        example: r#"{"limit": 20}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("unkey:v1:{workspaceId}:rootKeys/{keyId}#read"),
            Expression::Leg("unkey:v1:{workspaceId}:rootKeys/*#read"),
        ]))
        .denied_as(OnDenied::Verdict),
        list: Some(List { id: Some("keyId") }),
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
        let count = request.limit.rows_to_look_at(reads_all);
        let rows = root_keys::list(&mut connection, caller.workspace_id(), &request.cursor, count).await?;
        let may_read =
            |listed: &Listed| reads_all || caller.is_allowed(&Self::ABOUT.rule, &[("keyId", &listed.key.id)]);
        let found = Found { rows, rest: None }.visible(count, |listed| &listed.key.id, may_read);
        let page = request.limit.page_of_found(found, |listed| &listed.key.id);
        Ok(authorized.page(page.map(|listed| item(keyrack, listed))))
    }
}

fn item(keyrack: &Keyrack, listed: Listed) -> Item {
    let mut key = listed.key;
    let seen = keyrack.resident().root_key_by_id(&key.id).map_or(UnixMs::EPOCH, |key| key.last_use.at());
    key.permissions.sort_unstable();
    Item {
        created_at: listed.created_at,
        last_used_at: listed.last_used_at.unwrap_or(UnixMs::EPOCH).max(seen),
        name: Nullable(key.name),
        start: key.start,
        end: key.ending,
        enabled: key.enabled,
        expires: Nullable(key.expires_at),
        permissions: key.permissions,
        key_id: key.id.into(),
    }
}
