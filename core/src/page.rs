//! Pages of lists.
//!
//! A cursor is the id of the first item of the next page, inclusive: an item deleted between pages
//! makes no gap, and any text is a valid lower bound. The empty text starts at the beginning.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reply::{Page, Pagination};
use crate::store::listing::{Found, MOST_ROWS, after};

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

    /// How many rows are looked at for a page of which the caller may see only some.
    pub fn rows_to_look_at(self, sees_all: bool) -> i64 {
        if sees_all { self.rows() } else { MOST_ROWS }
    }

    /// Makes a page of what was found among the rows that were looked at. When they are too few for a page, it is
    /// a short one that says where to read on.
    pub fn page_of_found<T>(self, found: Found<T>, id: impl Fn(&T) -> &str) -> Page<T> {
        let mut page = self.page(found.rows, id);
        if let Some(rest) = found.rest {
            page.pagination.has_more = true;
            page.pagination.cursor.get_or_insert(rest);
        }
        page
    }

    /// Makes a page from what was read.
    pub fn page<T>(self, mut rows: Vec<T>, id: impl Fn(&T) -> &str) -> Page<T> {
        let limit = self.items();
        let cursor = rows.get(limit).map(|first_of_next| id(first_of_next).to_owned());
        rows.truncate(limit);
        Page { rows, pagination: Pagination { has_more: cursor.is_some(), cursor } }
    }
}

impl<T> Found<T> {
    /// Of `count` rows that were asked for, those that the caller may see.
    pub fn visible(mut self, count: i64, id: impl Fn(&T) -> &str, is_visible: impl Fn(&T) -> bool) -> Self {
        let were_all = i64::try_from(self.rows.len()).unwrap_or(i64::MAX) < count;
        if !were_all && let Some(last) = self.rows.last() {
            self.rest = Some(after(id(last)));
        }
        self.rows.retain(is_visible);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_too_few_rows_says_where_to_read_on() {
        let limit = PageSize::<100>(2);
        let found = |rest: Option<&str>| Found {
            rows: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
            rest: rest.map(str::to_owned),
        };
        let visible = |rest, count, seen: &[&str]| {
            let seen: Vec<_> = seen.iter().map(|id| id.to_string()).collect();
            let page = limit.page_of_found(found(rest).visible(count, |id| id, |id| seen.contains(id)), |id| id);
            (page.rows.join(""), page.pagination.cursor)
        };
        assert_eq!(visible(None, 5, &["b"]), ("b".to_owned(), None));
        assert_eq!(visible(None, 4, &["b"]), ("b".to_owned(), Some("d\u{1}".to_owned())));
        assert_eq!(visible(None, 4, &["b", "c", "d"]), ("bc".to_owned(), Some("d".to_owned())));
        assert_eq!(visible(Some("x"), 5, &[]), (String::new(), Some("x".to_owned())));
    }

    #[test]
    fn the_cursor_is_the_first_item_of_the_next_page() {
        let limit = PageSize::<100>(2);
        let rows = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        let full = limit.page(rows(3), |id| id);
        assert_eq!(full.rows, ["0", "1"]);
        assert_eq!(full.pagination.cursor.as_deref(), Some("2"));
        let last = limit.page(rows(2), |id| id);
        assert_eq!(last.pagination, Pagination { has_more: false, cursor: None });
    }
}
