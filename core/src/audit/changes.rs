//! What an entry says was changed: before and after, member by member.
//!
//! Both sides are views of one kind that an operation serialises; so whatever a view has is compared, and nothing
//! else can get into the log. Of `meta`, which users fill as they like, only the names of members are kept.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::json as outside;

/// The longest list that is kept whole. Of a longer one, what the other side has not is kept, up to as much.
const LONGEST_LIST: usize = 50;
/// The member of which only names are kept.
const META: &str = "meta";

/// A member that was changed. What was or is absent is left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Change {
    /// Such as `credits.refill.amount`.
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
}

/// What was changed, in the order of paths.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Changes(Vec<Change>);

impl Changes {
    /// The members in which two views of one thing differ; a view of nothing is `()`.
    pub fn between(before: &impl Serialize, after: &impl Serialize) -> Changes {
        let mut changes = Changes::default();
        let (before, after) = (view(before), view(after));
        changes.compare("", &before, &after);
        changes
    }

    /// JSON text as stored; `None` when nothing was changed.
    pub(super) fn to_text(&self) -> Option<String> {
        if self.0.is_empty() { None } else { serde_json::to_string(self).ok() }
    }

    fn compare(&mut self, path: &str, before: &Value, after: &Value) {
        if before == after {
            return;
        }
        let none = Map::new();
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => self.compare_members(path, before, after),
            (Value::Object(before), Value::Null) => self.compare_members(path, before, &none),
            (Value::Null, Value::Object(after)) => self.compare_members(path, &none, after),
            (Value::Array(one), Value::Array(other)) if one.len().max(other.len()) > LONGEST_LIST => {
                self.add(path, &without(one, other), &without(other, one));
            }
            _ => self.add(path, &cut(before), &cut(after)),
        }
    }

    fn compare_members(&mut self, path: &str, before: &Map<String, Value>, after: &Map<String, Value>) {
        if path == META {
            self.add(path, &names(before, after), &names(after, before));
            return;
        }
        let members: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for member in members {
            let path = if path.is_empty() { member.clone() } else { format!("{path}.{member}") };
            let of = |side: &Map<String, Value>| side.get(member).cloned().unwrap_or_default();
            self.compare(&path, &of(before), &of(after));
        }
    }

    fn add(&mut self, path: &str, before: &Value, after: &Value) {
        let kept = |value: &Value| (!value.is_null()).then(|| value.clone());
        self.0.push(Change { path: path.to_owned(), before: kept(before), after: kept(after) });
    }
}

/// A view as a value. Metadata is text in it, whose names are data.
fn view(of: &impl Serialize) -> Value {
    serde_json::to_vec(of).ok().and_then(|text| outside::read(&text).ok()).unwrap_or_default()
}

/// The names of members of `one` that `other` has not, or has with another value.
fn names(one: &Map<String, Value>, other: &Map<String, Value>) -> Value {
    let differing = one.iter().filter(|(name, value)| other.get(*name) != Some(value));
    let names: BTreeSet<&str> = differing.map(|(name, _)| name.as_str()).collect();
    let names: Vec<Value> = names.into_iter().map(Value::from).collect();
    if names.is_empty() { Value::Null } else { bounded(&names) }
}

/// What of a long list another has not.
fn without(list: &[Value], other: &[Value]) -> Value {
    let other: BTreeSet<String> = other.iter().map(Value::to_string).collect();
    let rest: Vec<Value> = list.iter().filter(|item| !other.contains(&item.to_string())).cloned().collect();
    bounded(&rest)
}

fn cut(value: &Value) -> Value {
    match value {
        Value::Array(list) => bounded(list),
        other => other.clone(),
    }
}

/// A list whose end, if it is too long, is a count: `{"more": 950}`.
fn bounded(list: &[Value]) -> Value {
    let mut kept: Vec<Value> = list.iter().take(LONGEST_LIST).cloned().collect();
    if list.len() > LONGEST_LIST {
        kept.push(json!({ "more": list.len() - LONGEST_LIST }));
    }
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(before: Value, after: Value) -> Value {
        serde_json::to_value(Changes::between(&before, &after)).unwrap()
    }

    #[test]
    fn what_differs_is_named_by_its_path_with_both_sides() {
        for (before, after, changes) in [
            (json!({"a": 1}), json!({"a": 1}), json!([])),
            (json!({"a": 1}), json!({"a": null}), json!([{"path": "a", "before": 1}])),
            (json!({}), json!({"a": false}), json!([{"path": "a", "after": false}])),
            (json!(null), json!({"a": {"b": 1}}), json!([{"path": "a.b", "after": 1}])),
            (
                json!({"b": ["x"], "a": {"c": {"d": 1}}}),
                json!({"b": [], "a": {"c": {"d": 2}}}),
                json!([{"path": "a.c.d", "before": 1, "after": 2}, {"path": "b", "before": ["x"], "after": []}]),
            ),
        ] {
            assert_eq!(between(before.clone(), after.clone()), changes, "{before} {after}");
        }
    }

    #[test]
    fn of_meta_only_names_are_kept() {
        let before = json!({"meta": {"same": 1, "changed": "secret", "gone": {"a": "secret"}}});
        let after = json!({"meta": {"same": 1, "changed": "secret too", "new": ["secret"]}});
        let changes = json!([{"path": "meta", "before": ["changed", "gone"], "after": ["changed", "new"]}]);
        assert_eq!(between(before.clone(), after), changes);
        let gone = json!([{"path": "meta", "before": ["changed", "gone", "same"]}]);
        assert_eq!(between(before, json!({"meta": null})), gone);
    }

    #[test]
    fn a_long_list_is_cut_to_what_differs_and_a_count() {
        let list = |range: std::ops::Range<usize>| json!({ "list": range.collect::<Vec<_>>() });
        let changes = between(list(0..1000), list(1..1001));
        assert_eq!(changes, json!([{"path": "list", "before": [0], "after": [1000]}]));
        let changes = between(list(0..0), list(0..1000));
        let after = changes[0]["after"].as_array().unwrap();
        assert_eq!((after.len(), &after[50]), (51, &json!({"more": 950})));
    }
}
