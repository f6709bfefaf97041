//! Types of request and response members whose three states JSON tells apart and `Option` does not,
//! and the free-form JSON object that users attach to keys and identities.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

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

/// A JSON object that users attach and Keyrack only keeps. Integers of 64 bits stay exact; the order
/// of members is not promised.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Meta(pub Map<String, Value>);

impl Meta {
    /// As stored: compact JSON text.
    pub fn to_text(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    /// From the store. An empty object reads as absent, as does text that is not an object.
    pub fn from_text(text: &str) -> Option<Meta> {
        serde_json::from_str::<Map<String, Value>>(text).ok().filter(|members| !members.is_empty()).map(Meta)
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
    fn meta_keeps_integers_of_64_bits_exact() {
        let text = r#"{"big":9223372036854775807}"#;
        assert_eq!(Meta::from_text(text).unwrap().to_text(), text);
        assert_eq!(Meta::from_text("{}"), None);
    }
}
