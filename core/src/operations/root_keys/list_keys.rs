//! `rootKeys.listKeys`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NO_TOOL;
use crate::authorization::{Expression, OnDenied, Rule};
use crate::catalogue::{About, Operation, Reply, Tool};
use crate::page::PageSize;
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
    /// Where the page starts: `cursor` of the page before.
    #[schemars(length(max = 256))]
    cursor: Option<String>,
}

/// A root key in a list, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// `key_…`
    key_id: String,
    /// For people.
    name: Nullable<String>,
    /// Its first characters; empty for a key of the bootstrap setting.
    start: String,
    /// Its last characters; empty for a key of the bootstrap setting.
    end: String,
    /// Whether it may be used.
    enabled: bool,
    /// Unix ms.
    created_at: i64,
    /// Unix ms; 0 when never.
    last_used_at: i64,
    /// Unix ms after which it is refused; null: never.
    expires: Nullable<i64>,
    /// What it may do.
    permissions: Vec<String>,
}

impl Operation for ListKeys {
    const ABOUT: About = About {
        name: "rootKeys.listKeys",
        title: "List root keys",
        summary: "Lists the root keys of the workspace that this one may read, by id, without their secrets.",
        description: "Root keys for which the caller does not hold `#read` are left out. Disabled and expired ones are \
                      listed.",
        example: r#"{"limit": 20}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("unkey:v1:{workspaceId}:rootKeys/{keyId}#read"),
            Expression::Leg("unkey:v1:{workspaceId}:rootKeys/*#read"),
        ]))
        .denied_as(OnDenied::Verdict),
        is_list: true,
        tool: Tool::Withheld(NO_TOOL),
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<Item>;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Vec<Item>>, Error> {
        let reads_all = caller.is_allowed::<Self>(&[]);
        let mut connection = keyrack.store().read().await?;
        let mut cursor = request.cursor.unwrap_or_default();
        let wanted = request.limit.rows();
        let mut visible = Vec::new();
        loop {
            let rows = root_keys::list(&mut connection, caller.workspace_id(), &cursor, wanted).await?;
            // The smallest id after the last one read: that id with the smallest character behind it.
            let next = rows.last().map(|listed| format!("{}\u{1}", listed.key.id));
            let is_last = i64::try_from(rows.len()).unwrap_or(i64::MAX) < wanted;
            let may_read = |listed: &Listed| reads_all || caller.is_allowed::<Self>(&[("keyId", &listed.key.id)]);
            visible.extend(rows.into_iter().filter(may_read));
            match next {
                Some(next) if !is_last && i64::try_from(visible.len()).unwrap_or(i64::MAX) < wanted => {
                    cursor = next;
                }
                _ => break,
            }
        }
        let items = visible.into_iter().map(|listed| item(keyrack, listed));
        Ok(request.limit.page(items.collect(), |item| &item.key_id))
    }
}

fn item(keyrack: &Keyrack, listed: Listed) -> Item {
    let key = listed.key;
    Item {
        created_at: listed.created_at,
        last_used_at: listed.last_used_at.unwrap_or(0).max(keyrack.root_key_last_used(&key.id)),
        name: Nullable(key.name),
        start: key.start,
        end: key.ending,
        enabled: key.enabled,
        expires: Nullable(key.expires_at),
        permissions: key.permissions,
        key_id: key.id,
    }
}
