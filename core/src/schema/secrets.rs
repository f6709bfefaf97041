//! Which members are secret, which are times, and which assistants may leave out. Their types say so, with a marker in their
//! schemas that nobody but this file reads.

use serde_json::Value;

/// The marker's name. Its value is one of those below.
pub(crate) const MARK: &str = "x-mark";
/// A secret that is sent.
pub(crate) const SENT: &str = "sent";
/// A secret that is answered this once and stored nowhere.
pub(crate) const ONCE: &str = "once";
/// A secret that is answered whenever somebody who may asks for it.
pub(crate) const AGAIN: &str = "again";
/// A time in Unix ms.
pub(crate) const TIME: &str = "time";
/// A truth value that assistants may leave out: it is true then.
pub(crate) const ASSUMED: &str = "assumed";

/// Places of members, as JSON pointers in which `*` is every item of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(Vec<String>);

impl Places {
    /// The places that these pointers name.
    pub fn named(pointers: &[&str]) -> Self {
        Places(pointers.iter().map(|&pointer| pointer.to_owned()).collect())
    }

    /// The places of a schema with this marker.
    pub(super) fn marked(schema: &Value, marker: &str) -> Self {
        let mut places = Places::default();
        places.collect(schema, marker, "");
        places
    }

    fn collect(&mut self, schema: &Value, marker: &str, at: &str) {
        if schema[MARK] == marker {
            self.0.push(at.to_owned());
        }
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            self.collect(member, marker, &format!("{at}/{name}"));
        }
        if schema["items"].is_object() {
            self.collect(&schema["items"], marker, &format!("{at}/*"));
        }
        for alternative in ["anyOf", "oneOf", "allOf"] {
            for schema in schema[alternative].as_array().into_iter().flatten() {
                self.collect(schema, marker, at);
            }
        }
    }

    /// The pointers.
    pub fn pointers(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether this is one of the places.
    pub fn has(&self, pointer: &str) -> bool {
        self.0.iter().any(|place| place == pointer)
    }

    /// The places at which a value has something.
    pub fn filled_in(&self, value: &Value) -> impl Iterator<Item = &str> {
        self.pointers().filter(|pointer| {
            let path: Vec<&str> = pointer.split('/').skip(1).collect();
            is_filled(value, &path)
        })
    }
}

fn is_filled(value: &Value, path: &[&str]) -> bool {
    match path {
        [] => !value.is_null(),
        ["*", rest @ ..] => value.as_array().is_some_and(|items| items.iter().any(|item| is_filled(item, rest))),
        [name, rest @ ..] => value.get(name).is_some_and(|member| is_filled(member, rest)),
    }
}

/// The secrets of an answer, by what becomes of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnsweredSecrets {
    /// Shown this once.
    pub once: Places,
    /// Readable again.
    pub again: Places,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_found_in_members_and_items_and_where_a_value_has_them() {
        let secret = json!({ "type": "string", MARK: AGAIN });
        let item = json!({ "type": "object", "properties": { "id": {}, "plaintext": secret } });
        let places = Places::marked(&json!({ "type": "array", "items": item }), AGAIN);
        assert_eq!(places, Places::named(&["/*/plaintext"]));
        assert_eq!(Places::marked(&json!({ "items": item }), ONCE), Places::default());
        let filled = |value: Value| places.filled_in(&value).count();
        assert_eq!(filled(json!([{ "id": 1 }, { "plaintext": "sk" }])), 1);
        assert_eq!([json!([]), json!([{ "plaintext": null }]), json!({ "plaintext": "sk" })].map(filled), [0; 3]);
    }
}
