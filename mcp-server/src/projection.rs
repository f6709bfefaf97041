//! How much of an answer a model is shown: what is asked for most or everything, and never more than fits.
//!
//! A concise answer has the members that its operation names, without those that say nothing. An answer beyond
//! [`MOST_BYTES`] loses whole items from its end: of a list the next page begins with the first of these, and what is no
//! list says how many there were. An item that is larger by itself stands alone.

use keyrack_core::catalogue::About;
use keyrack_core::reply::Pagination;
use serde_json::{Map, Value};

use crate::catalogue::Answer;
use crate::hygiene::{CONCISE_TEXT, Cleaned, FULL_TEXT, clean};

/// Bytes of an answer's data as JSON.
pub(crate) const MOST_BYTES: usize = 32 * 1024;
/// Rows of an answer that is no list, such as that of a statement of SQL.
pub(crate) const MOST_ROWS: usize = 200;

/// An answer as far as it is shown.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) answer: Answer,
    /// What was created or changed, as it is now.
    pub(crate) after: Option<Value>,
    /// What a model has to know besides.
    pub(crate) notes: Vec<String>,
    /// So many items of a page fit, and only the page itself can say where the next one begins: it is to be asked for
    /// again with this limit.
    pub(crate) again: Option<usize>,
}

impl Shown {
    /// An answer that is shown as it is.
    pub(crate) fn whole(answer: Answer) -> Shown {
        Shown { answer, after: None, notes: Vec::new(), again: None }
    }
}

/// Shows an answer.
pub(crate) fn show(about: &About, answer: Answer, is_concise: bool) -> Shown {
    let Answer { mut data, mut pagination } = answer;
    let mut notes = Vec::new();
    let ids = about.list.and_then(|list| list.id).map(|id| ids(&data, id));
    // Pages of the documentation are our own words.
    if about.namespace() != "docs" {
        let longest = if is_concise { CONCISE_TEXT } else { FULL_TEXT };
        let Cleaned { cut, altered } = clean(&mut data, longest);
        if cut > 0 {
            let how = if is_concise { "; `detail: \"full\"` shows more of them" } else { "" };
            notes.push(format!("{cut} texts were cut after {longest} characters{how}."));
        }
        if altered > 0 {
            notes.push(format!(
                "{altered} texts have characters that nobody sees, which are left out: they are not to be used as names or ids."
            ));
        }
    }
    if is_concise {
        choose(&mut data, about.assistants.concise);
    }
    let mut again = None;
    if about.list.is_some() {
        if let Some(kept) = items_that_fit(&data, usize::MAX) {
            let next = ids.and_then(|ids| ids.into_iter().nth(kept).flatten());
            again = next.is_none().then_some(kept);
            data.as_array_mut().into_iter().for_each(|items| items.truncate(kept));
            pagination = Some(Pagination { has_more: true, cursor: next });
            notes.push(format!("Only {kept} items fit into one answer."));
        }
    } else {
        notes.extend(fit(&mut data));
    }
    Shown { answer: Answer { data, pagination }, after: None, notes, again }
}

/// The ids of the items of a page.
fn ids(data: &Value, member: &str) -> Vec<Option<String>> {
    let items = data.as_array().into_iter().flatten();
    items.map(|item| item[member].as_str().map(str::to_owned)).collect()
}

/// How many items of an array fit, at least one; `None` where all do.
fn items_that_fit(data: &Value, most: usize) -> Option<usize> {
    let items = data.as_array()?;
    let mut bytes = 2;
    let fitting = items.iter().take(most).take_while(|item| {
        bytes += length(item) + 1;
        bytes <= MOST_BYTES
    });
    let kept = fitting.count().max(1);
    (kept < items.len()).then_some(kept)
}

/// Lets an answer that is no list fit, and says what is missing.
fn fit(data: &mut Value) -> Option<String> {
    if data.is_array() {
        let kept = items_that_fit(data, MOST_ROWS)?;
        let items = data.as_array_mut()?;
        let all = items.len();
        items.truncate(kept);
        return Some(format!("The first {kept} of {all} rows are shown. Ask for fewer, or for sums of them."));
    }
    let mut bytes = length(data);
    let mut notes = Vec::new();
    while bytes > MOST_BYTES {
        let members = data.as_object_mut()?;
        let arrays =
            members.iter_mut().filter(|(_, member)| member.as_array().is_some_and(|items| items.len() > 1));
        let Some((name, Value::Array(items))) = arrays.max_by_key(|(_, member)| length(member)) else { break };
        let (all, too_many) = (items.len(), bytes - MOST_BYTES);
        let mut freed = 0;
        while freed < too_many && items.len() > 1 {
            freed += items.pop().map_or(0, |item| length(&item) + 1);
        }
        bytes -= freed;
        notes.push(format!("The first {} of {all} in `{name}` are shown.", items.len()));
    }
    (!notes.is_empty()).then(|| format!("{} Ask for less at once.", notes.join(" ")))
}

/// Bytes of a value as JSON.
fn length(value: &Value) -> usize {
    struct Counted(usize);
    impl std::io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counted = Counted(0);
    match serde_json::to_writer(&mut counted, value) {
        Ok(()) => counted.0,
        Err(_) => usize::MAX / 2,
    }
}

/// Leaves only what these paths name of a value or of the items of an array, and of that nothing that is empty.
fn choose(value: &mut Value, paths: &[&str]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| choose(item, paths)),
        Value::Object(members) => {
            let chosen = std::mem::take(members);
            *members =
                chosen.into_iter().filter_map(|(name, member)| chosen_member(name, member, paths)).collect();
        }
        _ => {}
    }
}

fn chosen_member(name: String, mut member: Value, paths: &[&str]) -> Option<(String, Value)> {
    let is_whole = paths.contains(&name.as_str());
    let below: Vec<&str> = paths.iter().filter_map(|path| path.strip_prefix(&name)?.strip_prefix('.')).collect();
    if !is_whole && below.is_empty() {
        return None;
    }
    if !is_whole {
        choose(&mut member, &below);
    }
    let is_empty = match &member {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => Map::is_empty(members),
        _ => false,
    };
    (!is_empty).then_some((name, member))
}

#[cfg(test)]
mod tests {
    use keyrack_core::catalogue::{Assistants, List};
    use serde_json::json;

    use super::*;

    const LIST: About = About {
        list: Some(List { id: Some("id") }),
        assistants: Assistants { concise: &["id", "identity.externalId", "roles.name"], ..Assistants::DEFAULT },
        ..About::DEFAULT
    };

    fn shown(about: &About, data: Value, is_concise: bool) -> Shown {
        let pagination = about.list.map(|_| Pagination { has_more: false, cursor: None });
        show(about, Answer { data, pagination }, is_concise)
    }

    #[test]
    fn a_concise_answer_has_what_is_named_and_says_something() {
        let item = json!({
            "id": "a", "meta": { "x": 1 }, "identity": { "id": "b", "externalId": "c" },
            "roles": [{ "id": 1, "name": "r" }],
        });
        let empty = json!({ "id": "b", "identity": null, "roles": [] });
        let shown = shown(&LIST, json!([item, empty]), true);
        let concise = json!({ "id": "a", "identity": { "externalId": "c" }, "roles": [{ "name": "r" }] });
        assert_eq!(shown.answer.data, json!([concise, { "id": "b" }]));
        assert_eq!((shown.notes.len(), shown.again), (0, None));
    }

    #[test]
    fn a_page_that_does_not_fit_ends_earlier_and_the_next_begins_there() {
        let item = |number: usize| json!({ "id": format!("item_{number}"), "text": "x".repeat(1000) });
        let shown = shown(&LIST, (0..100).map(item).collect(), false);
        let (items, pagination) = (shown.answer.data.as_array().unwrap(), shown.answer.pagination.unwrap());
        assert!(length(&shown.answer.data) <= MOST_BYTES && items.len() > 30);
        assert_eq!(pagination.cursor, Some(format!("item_{}", items.len())));
        assert!(pagination.has_more && shown.again.is_none());
        assert!(shown.notes[0].contains(&items.len().to_string()), "{:?}", shown.notes);
    }

    #[test]
    fn where_only_a_page_says_how_it_goes_on_it_is_asked_for_again() {
        let about = About { list: Some(List { id: None }), ..LIST };
        let item = json!({ "text": "x".repeat(1900) });
        let shown = shown(&about, vec![item; 100].into(), false);
        assert_eq!(shown.again, shown.answer.data.as_array().map(Vec::len));
    }

    #[test]
    fn an_item_that_is_too_large_stands_alone() {
        let texts = vec!["x".repeat(1900); 40];
        let item = |id: &str| json!({ "id": id, "texts": texts });
        let shown = shown(&LIST, json!([item("a"), item("b")]), false);
        assert_eq!(shown.answer.data.as_array().unwrap().len(), 1);
        assert_eq!(shown.answer.pagination.unwrap().cursor.as_deref(), Some("b"), "it never leads to itself");
    }

    #[test]
    fn what_is_no_list_says_how_much_of_it_is_shown() {
        let rows: Vec<Value> = (0..1000).map(|n| json!({ "n": n })).collect();
        let one = shown(&About::DEFAULT, rows.clone().into(), false);
        assert_eq!(one.answer.data.as_array().unwrap().len(), MOST_ROWS);
        assert!(one.notes[0].starts_with("The first 200 of 1000 rows"), "{:?}", one.notes);
        let wide = json!({ "total": 5, "series": vec![json!({ "text": "x".repeat(500) }); 100], "groups": rows });
        let shown = shown(&About::DEFAULT, wide, false);
        assert!(length(&shown.answer.data) <= MOST_BYTES);
        assert_eq!(shown.answer.data["total"], 5);
        assert!(shown.notes[0].contains("of 100 in `series`"), "{:?}", shown.notes);
    }

    #[test]
    fn the_length_is_that_of_the_text() {
        let value = json!({ "a": [1, "ü\n", null], "b": {} });
        assert_eq!(length(&value), value.to_string().len());
    }
}
