//! What lists are asked for: which page, and what its items have to hold.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use crate::Caller;
use crate::page::PageSize;
use crate::store::listing::Part;

/// Where a page starts; the empty text is the beginning.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Cursor(String);

/// Characters of a cursor.
const LONGEST_CURSOR: usize = 256;

impl Deref for Cursor {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl JsonSchema for Cursor {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Cursor".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = String::json_schema(generator);
        schema.insert("description".to_owned(), "Where the page starts: `cursor` of the page before.".into());
        schema.insert("maxLength".to_owned(), LONGEST_CURSOR.into());
        schema
    }
}

/// Things that are listed and searched.
pub trait Searched {
    /// What they are called: `APIs`.
    const ITEMS: &'static str;
    /// The texts that a search looks into: `APIs whose id or name`.
    const LOOKED_INTO: &'static str;
    /// Characters of a cursor.
    const LONGEST_CURSOR: usize = LONGEST_CURSOR;
}

/// What a list is asked for that can be searched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, bound = "")]
#[schemars(bound = "K: Searched")]
pub struct ListRequest<K: Searched> {
    #[serde(default)]
    #[schemars(description = format!("{} per page.", K::ITEMS))]
    pub(super) limit: PageSize,
    #[serde(default)]
    #[schemars(extend("maxLength" = K::LONGEST_CURSOR))]
    pub(super) cursor: Cursor,
    #[schemars(
        description = format!("Only {} contains it; case does not matter.", K::LOOKED_INTO),
        length(max = 256)
    )]
    search: Option<String>,
    #[serde(skip)]
    kind: PhantomData<fn() -> K>,
}

impl<K: Searched> ListRequest<K> {
    /// So many of the rows that are asked for.
    pub(super) fn part<'a>(&'a self, caller: &'a Caller, count: i64) -> Part<'a> {
        Part { workspace_id: caller.workspace_id(), cursor: &self.cursor, search: self.search(), count }
    }

    /// What texts have to hold; empty for no restriction.
    pub(super) fn search(&self) -> &str {
        self.search.as_deref().unwrap_or_default().trim()
    }
}
