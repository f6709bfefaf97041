//! Members of requests whose types enforce the bounds that their schemas state, borrowing from the body.
//!
//! The operations of the hot path are made of these: what such a type reads its schema accepts, so a body
//! that is plainly right needs no schema. What it does not read is left to the schema, which knows how to
//! explain a fault, and to the few spellings that only JSON Schema takes (`1.0` for an integer, a member
//! sent twice).

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::error::Error;
use crate::schema::deserialised_text;

/// A text of `LEAST` to `MOST` characters (code points).
pub struct Text<'a, const LEAST: usize, const MOST: usize>(Cow<'a, str>);

impl<const LEAST: usize, const MOST: usize> Deref for Text<'_, LEAST, MOST> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a, const LEAST: usize, const MOST: usize> Deserialize<'de> for Text<'a, LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_str(AnyText)?;
        // What stands in JSON as it is holds no U+0000, which no store of ours takes.
        if matches!(&text, Cow::Owned(text) if text.contains('\0')) {
            return Err(D::Error::custom("a text without U+0000 was expected"));
        }
        // No text has more code points than bytes, nor fewer than a quarter.
        let fits = text.len() >= LEAST
            && (text.len() <= MOST || text.chars().take(MOST + 1).count() <= MOST)
            && (text.len() / 4 >= LEAST || text.chars().take(LEAST).count() >= LEAST);
        if fits { Ok(Text(text)) } else { Err(D::Error::custom("a text of another length was expected")) }
    }
}

/// Takes texts without escapes as they stand in the body.
struct AnyText;

impl<'de> Visitor<'de> for AnyText {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text))
    }
}

impl<const LEAST: usize, const MOST: usize> JsonSchema for Text<'_, LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Text_{LEAST}_{MOST}").into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = String::json_schema(generator);
        if LEAST > 0 {
            schema.insert("minLength".to_owned(), LEAST.into());
        }
        if MOST < usize::MAX {
            schema.insert("maxLength".to_owned(), MOST.into());
        }
        schema
    }
}

/// An integer from `LEAST` to `MOST`; `i64::MAX` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integer<const LEAST: i64, const MOST: i64>(pub i64);

impl<'de, const LEAST: i64, const MOST: i64> Deserialize<'de> for Integer<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        if (LEAST..=MOST).contains(&number) {
            Ok(Integer(number))
        } else {
            Err(D::Error::custom("a number within other bounds was expected"))
        }
    }
}

impl<const LEAST: i64, const MOST: i64> JsonSchema for Integer<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Integer_{LEAST}_{MOST}").into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = i64::json_schema(generator);
        schema.insert("minimum".to_owned(), LEAST.into());
        if MOST < i64::MAX {
            schema.insert("maximum".to_owned(), MOST.into());
        }
        schema
    }
}

/// A list of `LEAST` to `MOST` items.
pub struct List<T, const LEAST: usize, const MOST: usize>(pub Vec<T>);

impl<'de, T: Deserialize<'de>, const LEAST: usize, const MOST: usize> Deserialize<'de> for List<T, LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = deserializer.deserialize_seq(Items::<T, MOST>(std::marker::PhantomData))?;
        if items.len() < LEAST {
            return Err(D::Error::invalid_length(items.len(), &"more items"));
        }
        Ok(List(items))
    }
}

/// Reads items, and stops at the first one too many.
struct Items<T, const MOST: usize>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Items<T, MOST> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            if items.len() == MOST {
                return Err(A::Error::invalid_length(MOST + 1, &self));
            }
            items.push(item);
        }
        Ok(items)
    }
}

impl<T: JsonSchema, const LEAST: usize, const MOST: usize> JsonSchema for List<T, LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("List_{LEAST}_{MOST}_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Vec::<T>::json_schema(generator);
        if LEAST > 0 {
            schema.insert("minItems".to_owned(), LEAST.into());
        }
        if MOST < usize::MAX {
            schema.insert("maxItems".to_owned(), MOST.into());
        }
        schema
    }
}

/// Reads a member that may be absent and may not be null: for `deserialize_with`, beside `default`.
///
/// # Errors
/// What the type says.
pub fn sent<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A checked request that is still JSON text, so that what is read from it can borrow from it.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Unread(Box<RawValue>);

impl Unread {
    /// Reads it.
    ///
    /// # Errors
    /// When the type does not read what its schema accepts, which is a fault of ours.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        deserialised_text(self.0.get())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::catalogue::{Operation, request_schema};
    use crate::operations::keys::VerifyKey;
    use crate::operations::ratelimit::Limit;

    #[test]
    fn texts_are_counted_in_code_points_and_borrowed_when_they_can_be() {
        let read = |text: &'static str| serde_json::from_str::<Text<'_, 2, 4>>(text);
        for (text, fits) in [
            (r#""a""#, false),
            (r#""ab""#, true),
            (r#""abcd""#, true),
            (r#""abcde""#, false),
            (r#""é""#, false),
            (r#""éé""#, true),
            ("\"🗝\"", false),
            ("\"🗝🗝\"", true),
            ("\"🗝🗝🗝🗝\"", true),
            ("\"🗝🗝🗝🗝🗝\"", false),
            (r#""\u00e9x""#, true),
            ("1", false),
            ("null", false),
        ] {
            assert_eq!(read(text).is_ok(), fits, "{text}");
        }
        assert!(matches!(read(r#""ab""#), Ok(Text(Cow::Borrowed("ab")))));
        assert!(matches!(read(r#""\u0061b""#), Ok(Text(Cow::Owned(text))) if text == "ab"));
    }

    #[test]
    fn integers_and_lists_keep_their_bounds() {
        let integer = |text: &str| serde_json::from_str::<Integer<0, 5>>(text).is_ok();
        assert_eq!(["-1", "0", "5", "6", "1.0", "null"].map(integer), [false, true, true, false, false, false]);
        let list = |text: &str| serde_json::from_str::<List<i64, 1, 2>>(text).is_ok();
        assert_eq!(["[]", "[1]", "[1,2]", "[1,2,3]", "{}"].map(list), [false, true, true, false, false]);
    }

    /// A member's name and its values.
    type Member = (&'static str, fn() -> BoxedStrategy<Value>);

    /// A body that is nearly right: any member may be absent, of another type, or just out of its bounds.
    fn bodies(members: &'static [Member]) -> impl Strategy<Value = Value> {
        let member = |(name, values): &Member| {
            let name = name.to_string();
            let sent = prop_oneof![12 => values(), 1 => odd()].prop_map(move |value| Some((name.clone(), value)));
            prop_oneof![4 => sent, 1 => Just(None)].boxed()
        };
        let unknown =
            prop_oneof![20 => Just(None), 1 => odd().prop_map(|value| Some(("unknown".to_owned(), value)))];
        let members: Vec<_> = members.iter().map(member).chain([unknown.boxed()]).collect();
        members.prop_map(|members| Value::Object(members.into_iter().flatten().collect()))
    }

    fn odd() -> BoxedStrategy<Value> {
        let values = [json!(null), json!(true), json!(7), json!(7.5), json!("text"), json!([]), json!({})];
        prop::sample::select(values.to_vec()).boxed()
    }

    fn texts(least: usize, most: usize) -> BoxedStrategy<Value> {
        let lengths = [least.saturating_sub(1), least, least + 1, most - 1, most, most + 1];
        let texts =
            (prop::sample::select(lengths.to_vec()), prop::sample::select(vec!["a", "é", "🗝", "\n", "\"", "\0"]));
        texts.prop_map(|(length, character)| Value::from(character.repeat(length))).boxed()
    }

    fn integers(least: i64, most: i64) -> BoxedStrategy<Value> {
        let edges = [least.saturating_sub(1), least, least + 1, most - 1, most, most.saturating_add(1)];
        let beyond = [json!(u64::MAX), json!(1e300), json!(least as f64)];
        prop::sample::select(edges.map(Value::from).into_iter().chain(beyond).collect::<Vec<_>>()).boxed()
    }

    fn lists(items: BoxedStrategy<Value>, most: usize) -> BoxedStrategy<Value> {
        prop::collection::vec(items, 0..=most + 1).prop_map(Value::from).boxed()
    }

    fn verifications() -> impl Strategy<Value = Value> {
        bodies(&[
            ("key", || texts(1, 512)),
            ("tags", || lists(texts(1, 512), 20)),
            ("permissions", || texts(1, 1000)),
            ("credits", || bodies(&[("cost", || integers(0, 1_000_000_000_000))]).boxed()),
            ("ratelimits", || {
                let limits = bodies(&[
                    ("name", || texts(3, 255)),
                    ("cost", || integers(0, i64::MAX)),
                    ("limit", || integers(0, i64::MAX)),
                    ("duration", || integers(1000, 2_592_000_000)),
                ]);
                lists(limits.boxed(), 3)
            }),
            ("migrationId", || texts(0, 256)),
            ("keyspaces", || lists(texts(0, 300), 3)),
        ])
    }

    fn limits() -> impl Strategy<Value = Value> {
        bodies(&[
            ("namespace", || texts(1, 512)),
            ("identifier", || texts(1, 512)),
            ("limit", || integers(1, i64::MAX)),
            ("duration", || integers(1000, 2_592_000_000)),
            ("cost", || integers(0, i64::MAX)),
        ])
    }

    fn has_floats(value: &Value) -> bool {
        match value {
            Value::Number(number) => !number.is_i64(),
            Value::Array(items) => items.iter().any(has_floats),
            Value::Object(members) => members.values().any(has_floats),
            _ => false,
        }
    }

    /// What the type reads the schema accepts; the other way round too, but for the spellings of integers
    /// that only JSON Schema takes.
    fn types_and_schema_agree<O: Operation>(is_plain: fn(&str) -> bool, body: &Value) -> bool {
        let text = body.to_string();
        let is_read = is_plain(&text);
        let is_accepted = request_schema::<O>().faults(body).is_empty();
        is_read == is_accepted || (is_accepted && has_floats(body))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_types_of_a_verification_and_its_schema_accept_the_same(body in verifications()) {
            prop_assert!(types_and_schema_agree::<VerifyKey>(VerifyKey::is_plain, &body), "{body}");
        }

        #[test]
        fn the_types_of_a_limit_and_its_schema_accept_the_same(body in limits()) {
            prop_assert!(types_and_schema_agree::<Limit>(Limit::is_plain, &body), "{body}");
        }
    }
}
