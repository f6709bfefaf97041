//! What operations answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::caller::Authorized;

/// What an operation answers: data, and for lists where the next page starts.
#[derive(Debug)]
#[expect(clippy::manual_non_exhaustive, reason = "core itself makes none without a proof either")]
pub struct Reply<T> {
    /// The wire's `data`.
    pub data: T,
    /// Present on lists.
    pub pagination: Option<Pagination>,
    /// So that only a proof makes one.
    _proof: (),
}

impl Authorized {
    /// The answer to the caller.
    pub fn reply<T>(self, data: T) -> Reply<T> {
        Reply { data, pagination: None, _proof: () }
    }

    /// The same of a list.
    pub fn page<T>(self, page: Page<T>) -> Reply<Vec<T>> {
        Reply { data: page.rows, pagination: Some(page.pagination), _proof: () }
    }
}

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// What is on it.
    pub rows: Vec<T>,
    /// Where the next one starts.
    pub pagination: Pagination,
}

impl<T> Default for Page<T> {
    /// A page with nothing on it, and none after it.
    fn default() -> Self {
        Page { rows: Vec::new(), pagination: Pagination { has_more: false, cursor: None } }
    }
}

impl<T> Page<T> {
    /// The same page with other things for its rows.
    pub fn map<U>(self, other: impl FnMut(T) -> U) -> Page<U> {
        Page { rows: self.rows.into_iter().map(other).collect(), pagination: self.pagination }
    }
}

/// The answer of operations that have nothing to say: `{}`.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Empty {}

/// Where the next page starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    /// Whether there is another page.
    pub has_more: bool,
    /// Send it as `cursor` to read on; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
