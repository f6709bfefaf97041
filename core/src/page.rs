//! Pages of lists.
//!
//! A cursor is the id of the first item of the next page, inclusive: an item deleted between pages
//! makes no gap, and any text is a valid lower bound. The empty text starts at the beginning.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::Reply;

/// What every face needs to know about a list operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// Items per page when the request does not say.
    pub default_limit: i64,
}

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

/// Makes a page of up to `limit` items from rows that were read with one extra, which tells whether
/// there are more and where they start.
pub fn page<T>(mut rows: Vec<T>, limit: i64, id: impl Fn(&T) -> &str) -> Reply<Vec<T>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let cursor = rows.get(limit).map(|first_of_next| id(first_of_next).to_owned());
    rows.truncate(limit);
    Reply { data: rows, pagination: Some(Pagination { has_more: cursor.is_some(), cursor }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_is_the_first_item_of_the_next_page() {
        let rows = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        let full = page(rows(3), 2, |id| id);
        assert_eq!(full.data, ["0", "1"]);
        assert_eq!(full.pagination.unwrap().cursor.as_deref(), Some("2"));
        let last = page(rows(2), 2, |id| id);
        assert_eq!(last.pagination.unwrap(), Pagination { has_more: false, cursor: None });
    }
}
