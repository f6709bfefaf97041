//! Types of request and response members whose three states JSON tells apart and `Option` does not,
//! and the free-form JSON object that users attach to keys and identities.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::Error;
use crate::json;

/// Marks a schema in which `null` means something; [`crate::schema`] drops `null` everywhere else.
pub(crate) const NULL_MEANS_SOMETHING: &str = "x-null";

/// A member of an update: absent keeps, null clears, a value sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// Not sent: keep what is stored.
    #[default]
    Absent,
    /// Sent as null: clear what is stored.
    Null,
    /// Sent with a value: replace what is stored.
    Value(T),
}

impl<T> Patch<T> {
    /// Whether the member was not sent.
    pub fn is_absent(&self) -> bool {
        matches!(self, Patch::Absent)
    }

    /// The same about a value that stays where it is.
    pub fn as_ref(&self) -> Patch<&T> {
        match self {
            Patch::Absent => Patch::Absent,
            Patch::Null => Patch::Null,
            Patch::Value(value) => Patch::Value(value),
        }
    }

    /// The same with what is made of the value.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Patch::Absent => Patch::Absent,
            Patch::Null => Patch::Null,
            Patch::Value(value) => Patch::Value(make(value)),
        }
    }

    /// The same with what is made of the value, where that may fail.
    ///
    /// # Errors
    /// Those of making it.
    pub fn try_map<U, E>(self, make: impl FnOnce(T) -> Result<U, E>) -> Result<Patch<U>, E> {
        Ok(match self {
            Patch::Absent => Patch::Absent,
            Patch::Null => Patch::Null,
            Patch::Value(value) => Patch::Value(make(value)?),
        })
    }

    /// Clears where this value says no more than null.
    #[must_use]
    pub fn or_null_if(self, says_nothing: impl FnOnce(&T) -> bool) -> Self {
        match self {
            Patch::Value(value) if says_nothing(&value) => Patch::Null,
            other => other,
        }
    }

    /// Changes what is stored, unless the member was not sent: whether it was.
    pub fn apply(self, stored: &mut Option<T>) -> bool {
        let change = self.into_change();
        let is_sent = change.is_some();
        if let Some(change) = change {
            *stored = change;
        }
        is_sent
    }

    /// What was sent, if it is a value.
    pub fn into_value(self) -> Option<T> {
        self.into_change().flatten()
    }

    /// `None` when absent, else what the member becomes.
    pub fn into_change(self) -> Option<Option<T>> {
        match self {
            Patch::Absent => None,
            Patch::Null => Some(None),
            Patch::Value(value) => Some(Some(value)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Patch::Null, Patch::Value))
    }
}

impl<T: JsonSchema> JsonSchema for Patch<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Patch_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        nullable(T::json_schema(generator))
    }
}

/// A member that is always there and may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nullable<T>(pub Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Nullable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<T>::deserialize(deserializer).map(Nullable)
    }
}

impl<T: Serialize> Serialize for Nullable<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Nullable<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Nullable_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        nullable(T::json_schema(generator))
    }
}

fn nullable(mut schema: Schema) -> Schema {
    if let Some(kind) = schema.get("type").cloned() {
        schema.insert("type".to_owned(), Value::Array(vec![kind, "null".into()]));
    }
    schema.insert(NULL_MEANS_SOMETHING.to_owned(), true.into());
    schema
}

/// A JSON object that users attach and Keyrack only keeps, as compact JSON text: never obeyed, and no larger in
/// memory than it is. Integers of 64 bits stay exact; the order of members is not promised.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Meta(Box<RawValue>);

impl Meta {
    /// As stored.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// From the store, shown as it is. An empty object reads as absent.
    ///
    /// # Errors
    /// When the text is no JSON object: what is stored was damaged.
    pub fn from_stored(text: &str) -> Result<Option<Meta>, Error> {
        Ok(stored_object(text)?.map(Meta))
    }
}

/// A stored JSON object; an empty one is `None`.
///
/// # Errors
/// When the text is no JSON object.
pub(crate) fn stored_object(text: &str) -> Result<Option<Box<RawValue>>, Error> {
    let damaged = || Error::unexpected("stored metadata is no JSON object");
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    if !text.starts_with('{') {
        return Err(damaged());
    }
    let object = RawValue::from_string(text.to_owned()).map_err(|_| damaged())?;
    let is_empty = text.bytes().all(|byte| b"{} \t\n\r".contains(&byte));
    Ok((!is_empty).then_some(object))
}

impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = json::compact_object(deserializer)?;
        RawValue::from_string(text).map(Meta).map_err(D::Error::custom)
    }
}

impl JsonSchema for Meta {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Meta".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "maxProperties": 100, "additionalProperties": true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Update {
        #[serde(default)]
        name: Patch<String>,
    }

    #[test]
    fn absent_null_and_a_value_are_three_things() {
        let read = |text: &str| serde_json::from_str::<Update>(text).unwrap().name;
        assert_eq!(read("{}"), Patch::Absent);
        assert_eq!(read(r#"{"name":null}"#), Patch::Null);
        assert_eq!(read(r#"{"name":"a"}"#), Patch::Value("a".to_owned()));
    }

    #[test]
    fn meta_keeps_integers_of_64_bits_exact_and_its_names_are_data() {
        for text in [
            r#"{"big":9223372036854775807}"#,
            r#"{"$serde_json::private::RawValue":"{\"a\":1}"}"#,
            r#"{"$serde_json::private::Number":"1"}"#,
        ] {
            assert_eq!(serde_json::from_str::<Meta>(text).unwrap().text(), text);
            assert_eq!(serde_json::from_value::<Meta>(json::read(text.as_bytes()).unwrap()).unwrap().text(), text);
            let stored = Meta::from_stored(text).unwrap().unwrap();
            assert_eq!(serde_json::to_string(&stored).unwrap(), text);
        }
    }

    #[test]
    fn stored_metadata_is_shown_as_it_is_or_an_error_and_never_silently_absent() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Meta::from_stored(&deep).unwrap().unwrap().text(), deep);
        assert!(Meta::from_stored("{}").unwrap().is_none());
        assert!(Meta::from_stored("{ }").unwrap().is_none());
        for damaged in ["", "{", "[]", "null", "{\"a\":1}x", "1"] {
            assert!(Meta::from_stored(damaged).is_err(), "{damaged}");
        }
    }
}
