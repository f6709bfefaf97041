//! JSON from outside, read as data.
//!
//! serde_json gives a meaning to some member names of its own (`$serde_json::private::RawValue`): whoever reads
//! into its `Value` reads the text of such a member as JSON, as deep as the sender likes. Here a name is a name.
//! Everything that did not come from this program (bodies, arguments, answers of servers, files) is read into
//! values with [`read`], or checked by a schema and read into types without a `Value` in them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// How deep the arrays and objects of a request may lie in each other, the request itself included. What is
/// accepted is answered inside an envelope, a list and an identity, and clients read no more than 64 levels.
pub const MAX_DEPTH: usize = 50;

/// Reads a JSON text, every member name as data. Of a member sent twice the last counts.
///
/// # Errors
/// When the text is not one JSON value, or nests more than 127 levels.
pub fn read(text: &[u8]) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Plain.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Reads any JSON into a value.
struct Plain;

impl<'de> DeserializeSeed<'de> for Plain {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        while let Some(item) = items.next_element_seed(Plain)? {
            read.push(item);
        }
        Ok(Value::Array(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            read.insert(name, members.next_value_seed(Plain)?);
        }
        Ok(Value::Object(read))
    }
}

/// Writes whatever it reads as compact JSON, without a value in between: numbers as they are read, integers of
/// 64 bits exact.
struct Compact<'w>(&'w mut Vec<u8>);

/// Reads a JSON object as compact text.
///
/// # Errors
/// When it is no object.
pub(crate) fn compact_object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Object(Vec<u8>);
    impl<'de> Visitor<'de> for Object {
        type Value = Vec<u8>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, members: A) -> Result<Vec<u8>, A::Error> {
            Compact(&mut self.0).visit_map(members)?;
            Ok(self.0)
        }
    }
    let text = deserializer.deserialize_map(Object(Vec::new()))?;
    String::from_utf8(text).map_err(D::Error::custom)
}

impl Compact<'_> {
    fn write<E: serde::de::Error>(self, scalar: &impl serde::Serialize) -> Result<(), E> {
        serde_json::to_writer(self.0, scalar).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Compact<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Compact<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.write(&())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let out = self.0;
        out.push(b'[');
        let begin = out.len();
        loop {
            let end = out.len();
            if end > begin {
                out.push(b',');
            }
            if items.next_element_seed(Compact(&mut *out))?.is_none() {
                out.truncate(end);
                break;
            }
        }
        out.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let out = self.0;
        out.push(b'{');
        let begin = out.len();
        while let Some(Name(name)) = members.next_key()? {
            if out.len() > begin {
                out.push(b',');
            }
            Compact(&mut *out).write::<A::Error>(&name)?;
            out.push(b':');
            members.next_value_seed(Compact(&mut *out))?;
        }
        out.push(b'}');
        Ok(())
    }
}

/// Why a text may not be read by a library that makes values of it.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is not one JSON value.
    #[error("is not valid JSON: {0}")]
    Malformed(serde_json::Error),
    /// Reading it would cost more than it may.
    #[error("{0}")]
    TooMuch(String),
}

/// Looks at a JSON text that a library will read into serde_json's values: its arrays and objects may lie in
/// each other [`MAX_DEPTH`] and `around` more levels, it may hold `values` values, no member twice and no member
/// name that serde_json keeps for itself. Nothing is kept of it.
///
/// # Errors
/// Which of these it breaks.
pub fn look_at(text: &[u8], around: usize, values: usize) -> Result<(), Unfit> {
    let mut look = Look { left: values, broken: None };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let outcome = Looking { look: &mut look, depth: MAX_DEPTH + around }.deserialize(&mut deserializer);
    if let Some(broken) = look.broken {
        return Err(Unfit::TooMuch(broken));
    }
    outcome.and_then(|()| deserializer.end()).map_err(Unfit::Malformed)
}

struct Look {
    left: usize,
    broken: Option<String>,
}

struct Looking<'l> {
    look: &'l mut Look,
    /// How many levels may follow.
    depth: usize,
}

/// The beginning of the names that serde_json keeps for itself.
const RESERVED: &str = "$serde_json::private::";

impl Looking<'_> {
    fn refuse<E: serde::de::Error>(&mut self, why: &str) -> E {
        self.look.broken = Some(why.to_owned());
        E::custom(why)
    }

    fn count<E: serde::de::Error>(&mut self) -> Result<(), E> {
        match self.look.left.checked_sub(1) {
            Some(left) => self.look.left = left,
            None => return Err(self.refuse("holds too many values; send them in several calls")),
        }
        Ok(())
    }

    fn descend<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.count()?;
        match self.depth.checked_sub(1) {
            Some(depth) => self.depth = depth,
            None => return Err(self.refuse(&too_deep())),
        }
        Ok(())
    }
}

/// What is said of a request that nests too deep.
pub(crate) fn too_deep() -> String {
    format!("nests too deep: at most {MAX_DEPTH} arrays and objects may lie in each other")
}

impl<'de> DeserializeSeed<'de> for Looking<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Looking<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E: serde::de::Error>(mut self) -> Result<(), E> {
        self.count()
    }

    fn visit_bool<E: serde::de::Error>(mut self, _: bool) -> Result<(), E> {
        self.count()
    }

    fn visit_i64<E: serde::de::Error>(mut self, _: i64) -> Result<(), E> {
        self.count()
    }

    fn visit_u64<E: serde::de::Error>(mut self, _: u64) -> Result<(), E> {
        self.count()
    }

    fn visit_f64<E: serde::de::Error>(mut self, _: f64) -> Result<(), E> {
        self.count()
    }

    fn visit_str<E: serde::de::Error>(mut self, _: &str) -> Result<(), E> {
        self.count()
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.descend()?;
        while items.next_element_seed(Looking { look: self.look, depth: self.depth })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        self.descend()?;
        let mut names = Names::default();
        while let Some(Name(name)) = members.next_key()? {
            if name.starts_with(RESERVED) {
                return Err(self.refuse(&format!("has a member `{RESERVED}…`, a name that is taken")));
            }
            if names.has(&name) {
                return Err(self.refuse("has a member that is sent twice"));
            }
            names.add(name);
            members.next_value_seed(Looking { look: self.look, depth: self.depth })?;
        }
        Ok(())
    }
}

/// A member name, borrowed where that is possible.
#[derive(serde::Deserialize)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// The member names of an object that were seen so far.
#[derive(Default)]
pub(crate) struct Names<'a>(HashSet<Cow<'a, str>>);

impl<'a> Names<'a> {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    pub(crate) fn add(&mut self, name: Cow<'a, str>) {
        self.0.insert(name);
    }
}

/// Passes over what is left of an array; returns how many items that were.
///
/// # Errors
/// When the text ends or is no JSON.
pub(crate) fn skip_items<'de, A: SeqAccess<'de>>(items: &mut A) -> Result<usize, A::Error> {
    let mut count = 0;
    while items.next_element::<IgnoredAny>()?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// Passes over what is left of an object; returns how many members that were.
///
/// # Errors
/// As [`skip_items`].
pub(crate) fn skip_members<'de, A: MapAccess<'de>>(members: &mut A) -> Result<usize, A::Error> {
    let mut count = 0;
    while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// Reads a value and forgets it.
pub(crate) struct Ignored;

impl<'de> DeserializeSeed<'de> for Ignored {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An object whose only member has the name that serde_json keeps for texts.
    fn reserved(text: &str) -> String {
        json!({ "$serde_json::private::RawValue": text }).to_string()
    }

    #[test]
    fn the_names_that_serde_json_keeps_for_itself_are_data() {
        let body = format!(r#"{{"a":{}}}"#, reserved(r#"{"b":1}"#));
        assert_eq!(read(body.as_bytes()).unwrap().to_string(), body);
        assert_eq!(compact_object(&mut serde_json::Deserializer::from_str(&body)).unwrap(), body);
        let value = read(body.as_bytes()).unwrap();
        assert_eq!(compact_object(&value).unwrap(), body);
        assert!(look_at(body.as_bytes(), 0, 100).is_err());
        let spelled = r#"{"\u0024serde_json::private::RawValue":"1"}"#;
        assert!(look_at(spelled.as_bytes(), 0, 100).is_err());
        let obeyed: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(obeyed, json!({ "a": { "b": 1 } }), "when this fails, the library has no such names any more");
    }

    #[test]
    fn texts_are_written_compactly_and_numbers_stay_what_they_were() {
        for (text, compact) in [
            (
                r#" { "a" : [ 1 , -2.5, null, true, "é\n\u0001" , [ ] , { } ] } "#,
                r#"{"a":[1,-2.5,null,true,"é\n\u0001",[],{}]}"#,
            ),
            (
                r#"{"big":9223372036854775807,"more":18446744073709551615,"float":1.0}"#,
                r#"{"big":9223372036854775807,"more":18446744073709551615,"float":1.0}"#,
            ),
            ("{}", "{}"),
        ] {
            assert_eq!(compact_object(&mut serde_json::Deserializer::from_str(text)).unwrap(), compact);
        }
        assert!(compact_object(&mut serde_json::Deserializer::from_str("[]")).is_err());
    }

    #[test]
    fn what_a_library_is_to_read_is_bounded_in_depth_and_number() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(look_at(nested(MAX_DEPTH).as_bytes(), 0, 100).is_ok());
        assert!(matches!(look_at(nested(MAX_DEPTH + 1).as_bytes(), 0, 100), Err(Unfit::TooMuch(_))));
        assert!(look_at(nested(MAX_DEPTH + 1).as_bytes(), 1, 100).is_ok());
        assert!(matches!(look_at(b"[1,1,1]", 0, 3), Err(Unfit::TooMuch(_))));
        assert!(look_at(b"[1,1,1]", 0, 4).is_ok());
        assert!(matches!(look_at(br#"{"a":1,"a":2}"#, 0, 9), Err(Unfit::TooMuch(_))));
        for malformed in ["", "[", "[1] 2", "\u{feff}1"] {
            assert!(matches!(look_at(malformed.as_bytes(), 0, 9), Err(Unfit::Malformed(_))), "{malformed}");
        }
    }
}
