//! The schema of a request is its only description: documents are generated from it, and requests are
//! checked against it before they are read into their type.
//!
//! Checking finds all faults of a body at once. A fault says where (`body.ratelimits[0].limit`), what is
//! allowed and what was got, and what to send. Values of secret fields, and long texts anywhere, are
//! described and never shown.

mod check;
mod report;
pub(crate) mod secrets;
mod words;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use check::Node;
use report::{MOST_FAULTS, Report};
use secrets::{AGAIN, ASSUMED, ONCE, SENT};
pub(crate) use secrets::{MARK, TIME};

pub(crate) use check::ADDRESS_OR_NETWORK;
pub use secrets::{AnsweredSecrets, Places};
pub use words::{describe, outline};

use crate::error::{Code, Error, Fault};
use crate::json;
use crate::value::NULL_MEANS_SOMETHING;

/// The schema of what is sent, without references and without `null` where it means nothing.
pub fn request_schema<T: JsonSchema>() -> Value {
    tidied(sent::<T>())
}

/// The schema of what is answered.
pub fn response_schema<T: JsonSchema>() -> Value {
    tidied(answered::<T>())
}

/// The secrets of what is answered, as its types mark them.
pub fn answered_secrets<T: JsonSchema>() -> AnsweredSecrets {
    let schema = answered::<T>();
    AnsweredSecrets { once: Places::marked(&schema, ONCE), again: Places::marked(&schema, AGAIN) }
}

/// The times of what is answered, each in Unix ms, as its types mark them.
pub fn answered_times<T: JsonSchema>() -> Places {
    Places::marked(&answered::<T>(), TIME)
}

/// The times of what is sent, each in Unix ms, as its types mark them.
pub fn sent_times<T: JsonSchema>() -> Places {
    Places::marked(&sent::<T>(), TIME)
}

/// The truth values of what is sent that assistants may leave out: they are true then.
pub fn assumed<T: JsonSchema>() -> Places {
    Places::marked(&sent::<T>(), ASSUMED)
}

fn sent<T: JsonSchema>() -> Value {
    generated::<T>(SchemaSettings::draft2020_12().for_deserialize())
}

fn answered<T: JsonSchema>() -> Value {
    generated::<T>(SchemaSettings::draft2020_12().for_serialize())
}

/// A schema as types make it, with their markers.
fn generated<T: JsonSchema>(settings: SchemaSettings) -> Value {
    let settings = settings.with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

fn tidied(mut schema: Value) -> Value {
    if let Some(root) = schema.as_object_mut() {
        root.remove("title");
    }
    tidy(&mut schema);
    schema
}

/// Drops what `Option` adds to a schema (`null` in types, in enums, as a default, as an alternative):
/// an absent member is absent, and `null` is refused unless the type gives it a meaning.
fn tidy(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    members.shift_remove(MARK);
    let null_means_something = members.remove(NULL_MEANS_SOMETHING).is_some();
    if !null_means_something {
        drop_null(members);
    }
    if members.get("additionalProperties") == Some(&Value::Bool(false)) {
        // An object without members says so: else unknown members are not reported one by one.
        members.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    }
    for keyword in ["properties", "$defs"] {
        if let Some(Value::Object(children)) = members.get_mut(keyword) {
            children.values_mut().for_each(tidy);
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(child) = members.get_mut(keyword) {
            tidy(child);
        }
    }
    for keyword in ["anyOf", "oneOf", "allOf", "prefixItems"] {
        if let Some(Value::Array(children)) = members.get_mut(keyword) {
            children.iter_mut().for_each(tidy);
        }
    }
}

fn drop_null(members: &mut Map<String, Value>) {
    if members.get("default").is_some_and(Value::is_null) {
        members.remove("default");
    }
    if let Some(Value::Array(values)) = members.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(kinds)) = members.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            members.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(alternatives)) = members.get_mut("anyOf") {
        alternatives.retain(|alternative| alternative.get("type") != Some(&Value::from("null")));
        if let [Value::Object(only)] = alternatives.as_slice() {
            let only = only.clone();
            members.remove("anyOf");
            // What stands beside the alternative, such as a description of the member, is nearer to the reader.
            for (keyword, value) in only {
                members.entry(keyword).or_insert(value);
            }
        }
    }
}

/// A request's schema, compiled.
#[derive(Debug)]
pub struct RequestSchema {
    schema: Value,
    secrets: Places,
    node: Node,
}

impl RequestSchema {
    /// Whether it is of an object without members, so that no body says as much as `{}`.
    pub fn has_no_members(&self) -> bool {
        let properties = self.as_value().get("properties").and_then(Value::as_object);
        properties.is_none_or(Map::is_empty)
    }

    /// Compiles the schema of `T`. Values of members that their types mark as secret are never shown.
    ///
    /// # Panics
    /// When the generated schema has what requests are not checked for, which a test over all operations excludes.
    pub fn of<T: JsonSchema>() -> Self {
        let schema = sent::<T>();
        let secrets = Places::marked(&schema, SENT);
        Self::compile(tidied(schema), secrets)
    }

    /// Compiles a schema that a face derived from a generated one, such as one without some members.
    ///
    /// # Panics
    /// As [`RequestSchema::of`].
    pub fn compile(schema: Value, secrets: Places) -> Self {
        let node = Node::compile(&schema, "", &secrets);
        RequestSchema { schema, secrets, node }
    }

    /// Where its secrets are.
    pub fn secrets(&self) -> &Places {
        &self.secrets
    }

    /// The schema itself.
    pub fn as_value(&self) -> &Value {
        &self.schema
    }

    /// The schema of one member of the request, for a body that consists of it.
    pub(crate) fn of_member(&self, member: &str) -> Self {
        Self::compile(self.schema["properties"][member].clone(), Places::default())
    }

    /// Checks a request and reads it into its type.
    ///
    /// # Errors
    /// `invalid_input` with every fault of the request.
    pub fn read<T: DeserializeOwned>(&self, request: Value) -> Result<T, Error> {
        self.checked(request).and_then(deserialised)
    }

    /// The same from JSON text, which never becomes a value in between: values take many times the memory.
    ///
    /// # Errors
    /// As [`RequestSchema::read`]; `request_body_unreadable` for a text that is no JSON.
    pub fn read_text<T: DeserializeOwned>(&self, text: &str) -> Result<T, Error> {
        match self.look_at(text)? {
            Spelling::OfTypes => deserialised_text(text),
            Spelling::OfJsonSchema => self.read(parsed(text)?),
        }
    }

    /// Checks a body that consists of one member of the request, and reads the request.
    ///
    /// # Errors
    /// As [`RequestSchema::read_text`]; the member, which was not sent as such, is in no fault's place.
    pub(crate) fn read_member<T: DeserializeOwned>(&self, member: &str, text: &str) -> Result<T, Error> {
        let around = |body: &str| format!("{{\"{member}\":{body}}}");
        match self.look_at(text)? {
            Spelling::OfTypes => deserialised_text(&around(text)),
            Spelling::OfJsonSchema => deserialised_text(&around(&self.checked(parsed(text)?)?.to_string())),
        }
    }

    fn look_at(&self, text: &str) -> Result<Spelling, Error> {
        let mut report = Report::default();
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let outcome = self.node.check(&mut deserializer, &mut report);
        match outcome.and_then(|()| deserializer.end()) {
            Err(error) if !report.is_full() => Err(unreadable(format!("is not valid JSON: {error}"))),
            _ if !report.faults.is_empty() => Err(invalid(report.faults)),
            _ if report.is_respelled => Ok(Spelling::OfJsonSchema),
            _ => Ok(Spelling::OfTypes),
        }
    }

    fn checked(&self, mut request: Value) -> Result<Value, Error> {
        let faults = self.faults(&request);
        if !faults.is_empty() {
            return Err(invalid(faults));
        }
        whole_numbers(&self.schema, &mut request);
        Ok(request)
    }

    /// The faults of a request, at most one per place, and the first of very many.
    pub fn faults(&self, request: &Value) -> Vec<Fault> {
        let mut report = Report::default();
        // A value can be read to its end, unless the report is full.
        let _ = self.node.check(request, &mut report);
        report.faults
    }
}

/// How the integers of a request are written.
enum Spelling {
    /// As types read them.
    OfTypes,
    /// Some as only JSON Schema takes them: `1.0`.
    OfJsonSchema,
}

fn parsed(text: &str) -> Result<Value, Error> {
    json::read(text.as_bytes()).map_err(|error| unreadable(format!("is not valid JSON: {error}")))
}

/// The error for a body that is no JSON, `what` it is.
pub fn unreadable(what: String) -> Error {
    let fault = Fault {
        location: "body".to_owned(),
        message: what.clone(),
        fix: Some("Send one JSON value in UTF-8 and nothing after it.".to_owned()),
    };
    Error::new(Code::RequestBodyUnreadable, format!("The body {what}.")).with_faults(vec![fault])
}

/// A request that was checked, as its type. That they disagree is a fault of ours.
fn deserialised<T: DeserializeOwned>(request: Value) -> Result<T, Error> {
    serde_path_to_error::deserialize(request).map_err(disagreement)
}

/// The same from text, borrowing from it.
///
/// # Errors
/// When type and schema disagree.
pub(crate) fn deserialised_text<'a, T: Deserialize<'a>>(request: &'a str) -> Result<T, Error> {
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(request)).map_err(disagreement)
}

/// Says where, and not what: the value may be secret.
fn disagreement(error: serde_path_to_error::Error<serde_json::Error>) -> Error {
    Error::unexpected(format!("the schema accepted what its type does not read, at {}", error.path()))
}

fn invalid(faults: Vec<Fault>) -> Error {
    let detail = match faults.as_slice() {
        [only] => format!("The request is not valid: `{}` {}.", only.location, only.message),
        many if many.len() == MOST_FAULTS => {
            format!("The request is not valid: the first {MOST_FAULTS} of its faults are listed in `errors`.")
        }
        many => format!("The request is not valid: it has {} faults, listed in `errors`.", many.len()),
    };
    Error::new(Code::InvalidInput, detail).with_faults(faults)
}

/// What two checks of one request, which its schema cannot say, come to: what both gave, or the faults of both.
///
/// # Errors
/// `invalid_input` with all faults; the first error of another kind.
pub(crate) fn together<A, B>(one: Result<A, Error>, other: Result<B, Error>) -> Result<(A, B), Error> {
    let (one, other) = match (one, other) {
        (Ok(one), Ok(other)) => return Ok((one, other)),
        (Err(one), Err(other)) => (one, other),
        (Err(only), Ok(_)) | (Ok(_), Err(only)) => return Err(only),
    };
    let are_faults = [&one, &other].iter().all(|error| error.code() == Code::InvalidInput);
    Err(if are_faults { invalid([one.faults(), other.faults()].concat()) } else { one })
}

/// JSON Schema takes `1.0` for an integer and serde does not: turns such numbers into integers, only where the
/// schema asks for one.
fn whole_numbers(schema: &Value, value: &mut Value) {
    match value {
        Value::Number(number) if is_integer_schema(schema) => {
            if let Some(whole) = whole(number).filter(|_| !number.is_i64()) {
                *value = whole.into();
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| whole_numbers(schema, item));
            }
        }
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = schema.get("properties") {
                for (name, member) in members {
                    if let Some(schema) = properties.get(name) {
                        whole_numbers(schema, member);
                    }
                }
            }
        }
        _ => {}
    }
}

/// A number as an integer of 64 bits, if it is one.
fn whole(number: &Number) -> Option<i64> {
    let float =
        number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9_223_372_036_854_775_808.0)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 64 bits")]
    let whole = float as i64;
    Some(whole)
}

fn is_integer_schema(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind == "integer",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "integer"),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
