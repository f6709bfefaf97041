//! Pages of lists.
//!
//! A cursor is the id of the first item of the next page, inclusive: an item deleted between pages
//! makes no gap, and any text is a valid lower bound. The empty text starts at the beginning.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::Reply;

/// How many items a request wants per page; `DEFAULT` when it does not say.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct PageSize<const DEFAULT: i64 = 100>(#[schemars(range(min = 1, max = 100))] i64);

impl<const DEFAULT: i64> Default for PageSize<DEFAULT> {
    fn default() -> Self {
        PageSize(DEFAULT)
    }
}

impl<const DEFAULT: i64> PageSize<DEFAULT> {
    /// How many rows are read for a page: one extra, which tells whether there are more and where they start.
    pub fn rows(self) -> i64 {
        self.0 + 1
    }

    /// How many items a page has at most.
    pub fn items(self) -> usize {
        usize::try_from(self.0).unwrap_or_default()
    }

    /// Makes a page from what was read.
    pub fn page<T>(self, mut rows: Vec<T>, id: impl Fn(&T) -> &str) -> Reply<Vec<T>> {
        let limit = self.items();
        let cursor = rows.get(limit).map(|first_of_next| id(first_of_next).to_owned());
        rows.truncate(limit);
        Reply { data: rows, pagination: Some(Pagination { has_more: cursor.is_some(), cursor }) }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_is_the_first_item_of_the_next_page() {
        let limit = PageSize::<100>(2);
        let rows = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        let full = limit.page(rows(3), |id| id);
        assert_eq!(full.data, ["0", "1"]);
        assert_eq!(full.pagination.unwrap().cursor.as_deref(), Some("2"));
        let last = limit.page(rows(2), |id| id);
        assert_eq!(last.pagination.unwrap(), Pagination { has_more: false, cursor: None });
    }
}
