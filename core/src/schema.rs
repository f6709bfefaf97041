//! The schema of a request is its only description: documents are generated from it, and requests are
//! checked against it before they are read into their type.
//!
//! Checking finds all faults of a body at once. A fault says where (`body.ratelimits[0].limit`), what is
//! allowed and what was got, and what to send. Values of secret fields, and long texts anywhere, are
//! described and never shown.

use std::collections::HashSet;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Code, Error, Fault};
use crate::value::NULL_MEANS_SOMETHING;

/// Texts up to this many characters may be shown in a fault; no issued key is that short.
const SHOWN_CHARACTERS: usize = 15;
/// A body with more faults than this is answered with the first of them.
const MOST_FAULTS: usize = 50;

/// The schema of what is sent, without references and without `null` where it means nothing.
pub fn request_schema<T: JsonSchema>() -> Value {
    tidied(SchemaSettings::draft2020_12().for_deserialize(), |generator| generator.into_root_schema_for::<T>())
}

/// The schema of what is answered.
pub fn response_schema<T: JsonSchema>() -> Value {
    tidied(SchemaSettings::draft2020_12().for_serialize(), |generator| generator.into_root_schema_for::<T>())
}

fn tidied(settings: SchemaSettings, generate: impl FnOnce(schemars::SchemaGenerator) -> Schema) -> Value {
    let settings = settings.with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = generate(settings.into_generator()).to_value();
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
    validator: jsonschema::Validator,
    secrets: &'static [&'static str],
}

impl RequestSchema {
    /// Compiles the schema of `T`. `secrets` are JSON pointers of members whose values are never shown.
    ///
    /// # Panics
    /// When the generated schema is not one, which a test over all operations excludes.
    pub fn of<T: JsonSchema>(secrets: &'static [&'static str]) -> Self {
        Self::compile(request_schema::<T>(), secrets)
    }

    /// Compiles a schema that a face derived from a generated one, such as one without some members.
    ///
    /// # Panics
    /// When it is not a schema.
    #[expect(clippy::expect_used, reason = "faces derive their schemas at start, from generated ones")]
    pub fn compile(schema: Value, secrets: &'static [&'static str]) -> Self {
        let validator = jsonschema::options()
            .should_validate_formats(false)
            .build(&schema)
            .expect("a generated schema is a valid schema");
        RequestSchema { schema, validator, secrets }
    }

    /// The schema itself.
    pub fn as_value(&self) -> &Value {
        &self.schema
    }

    /// The schema of one member of the request, for a body that consists of it.
    pub(crate) fn of_member(&self, member: &str) -> Self {
        Self::compile(self.schema["properties"][member].clone(), &[])
    }

    /// Checks a body and reads it into its type.
    ///
    /// # Errors
    /// `invalid_input` with every fault of the body.
    pub fn read<T: DeserializeOwned>(&self, body: Value) -> Result<T, Error> {
        deserialised(self.checked(body)?)
    }

    /// Checks a body that consists of one member of the request, and reads the request.
    ///
    /// # Errors
    /// As [`RequestSchema::read`]; the member, which was not sent as such, is in no fault's place.
    pub(crate) fn read_member<T: DeserializeOwned>(&self, member: &str, body: Value) -> Result<T, Error> {
        let body = self.checked(body)?;
        deserialised(Value::Object(Map::from_iter([(member.to_owned(), body)])))
    }

    fn checked(&self, mut body: Value) -> Result<Value, Error> {
        let mut faults = self.faults(&body);
        if faults.is_empty() {
            whole_numbers(&self.schema, &mut body, "", &mut faults);
        }
        if faults.is_empty() { Ok(body) } else { Err(invalid(faults)) }
    }

    /// The faults of a body, at most one per place, and the first `MOST_FAULTS` of very many.
    pub fn faults(&self, body: &Value) -> Vec<Fault> {
        let mut places = HashSet::new();
        let mut faults: Vec<Fault> = Vec::new();
        for error in self.validator.iter_errors(body) {
            let pointer = error.instance_path().to_string();
            for fault in self.explain(&pointer, &error, body) {
                if places.insert(fault.location.clone()) {
                    faults.push(fault);
                }
                if faults.len() == MOST_FAULTS {
                    return faults;
                }
            }
        }
        faults
    }

    fn explain(&self, pointer: &str, error: &jsonschema::ValidationError<'_>, body: &Value) -> Vec<Fault> {
        use jsonschema::error::ValidationErrorKind as Kind;
        let here = location(pointer);
        let got = body.pointer(pointer).unwrap_or(&Value::Null);
        match error.kind() {
            Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } if self.choice(pointer).is_some() => {
                let choice = self.choice(pointer).unwrap_or_default();
                got.as_object().map(|sent| not_one_of(&here, &choice, sent)).into_iter().collect()
            }
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let expected = self.expectation(&format!("{pointer}/{name}"));
                vec![Fault {
                    location: format!("{here}.{name}"),
                    message: format!("is required and was not sent; it must be {expected}"),
                    fix: Some(format!("Send `{name}` as {expected}.")),
                }]
            }
            Kind::AdditionalProperties { unexpected } => {
                let known = self.members(pointer);
                unexpected.iter().map(|name| unknown_member(&here, name, &known)).collect()
            }
            _ => {
                let expected = self.expectation(pointer);
                let got = self.got(pointer, got);
                vec![Fault {
                    location: here,
                    message: format!("must be {expected}; got {got}"),
                    fix: Some(format!("Send {expected}.")),
                }]
            }
        }
    }

    /// The schema of the place that a JSON pointer into the body names.
    fn at(&self, pointer: &str) -> Option<&Value> {
        pointer.split('/').skip(1).try_fold(&self.schema, |schema, segment| {
            schema.get("properties").and_then(|properties| properties.get(segment)).or_else(|| schema.get("items"))
        })
    }

    fn members(&self, pointer: &str) -> Vec<String> {
        let properties = self.at(pointer).and_then(|schema| schema.get("properties")).and_then(Value::as_object);
        properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
    }

    /// The members of which an object has exactly one: `oneOf` with a required member in each alternative.
    fn choice(&self, pointer: &str) -> Option<Vec<&str>> {
        let alternatives = self.at(pointer)?.get("oneOf")?.as_array()?;
        alternatives.iter().map(|alternative| alternative["required"][0].as_str()).collect()
    }

    fn expectation(&self, pointer: &str) -> String {
        self.at(pointer).map_or_else(|| "another value".to_owned(), describe)
    }

    fn got(&self, pointer: &str, value: &Value) -> String {
        let secret = self.secrets.contains(&pointer);
        match value {
            Value::Number(_) if secret => "a number".to_owned(),
            Value::Null => "null".to_owned(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::String(text) => {
                let length = text.chars().count();
                if secret || length > SHOWN_CHARACTERS {
                    format!("a string of {}", count(length as u64, "character"))
                } else {
                    format!("{value}")
                }
            }
            Value::Array(items) => format!("an array of {}", count(items.len() as u64, "item")),
            Value::Object(members) => format!("an object of {}", count(members.len() as u64, "member")),
        }
    }
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

/// The fault of an object that has none, or several, of the members of which it must have one.
fn not_one_of(here: &str, choice: &[&str], sent: &Map<String, Value>) -> Fault {
    let either = choice.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
    let mut sent = choice.iter().filter(|name| sent.contains_key(**name));
    let (name, message) = match (sent.next(), sent.next()) {
        (Some(first), Some(second)) => (*second, format!("must not be sent together with `{first}`")),
        _ => (choice.first().copied().unwrap_or_default(), format!("is required and was not sent: {either}")),
    };
    Fault { location: format!("{here}.{name}"), message, fix: Some(format!("Send one of {either}.")) }
}

fn unknown_member(here: &str, name: &str, known: &[String]) -> Fault {
    let shown: String = name.chars().take(64).collect();
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&shown, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min();
    let fix = match nearest {
        Some((_, nearest)) => format!("Remove it, or did you mean `{nearest}`?"),
        None if known.is_empty() => "Send an empty object.".to_owned(),
        None => format!("Remove it; known here: {}.", known.join(", ")),
    };
    Fault { location: format!("{here}.{shown}"), message: "is not a known member".to_owned(), fix: Some(fix) }
}

/// `/ratelimits/0/limit` as `body.ratelimits[0].limit`.
fn location(pointer: &str) -> String {
    let mut text = "body".to_owned();
    for segment in pointer.split('/').skip(1) {
        if segment.bytes().all(|byte| byte.is_ascii_digit()) && !segment.is_empty() {
            text.push_str(&format!("[{segment}]"));
        } else {
            text.push('.');
            text.push_str(&segment.replace("~1", "/").replace("~0", "~"));
        }
    }
    text
}

/// What a schema allows, in words: `an integer from 1 to 100`.
pub fn describe(schema: &Value) -> String {
    if let Some(Value::Array(values)) = schema.get("enum") {
        let texts: Vec<_> = values.iter().map(Value::to_string).collect();
        return format!("one of {}", texts.join(", "));
    }
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return "any JSON value".to_owned(),
    };
    let words: Vec<_> = kinds.iter().map(|kind| describe_kind(kind, schema)).collect();
    words.join(" or ")
}

fn describe_kind(kind: &str, schema: &Value) -> String {
    let bound = |name: &str| schema.get(name).filter(|bound| bound.is_number()).map(Value::to_string);
    let counted = |least: Option<String>, most: Option<String>, unit: &str| match (least, most) {
        (Some(least), Some(most)) => format!(" of {least} to {most} {unit}s"),
        (Some(least), None) => format!(" of at least {least} {unit}{}", if least == "1" { "" } else { "s" }),
        (None, Some(most)) => format!(" of at most {most} {unit}s"),
        (None, None) => String::new(),
    };
    match kind {
        "string" => {
            let pattern = schema.get("pattern").and_then(Value::as_str);
            let pattern = pattern.map(|pattern| format!(" that matches {pattern}")).unwrap_or_default();
            format!("a string{}{pattern}", counted(bound("minLength"), bound("maxLength"), "character"))
        }
        "integer" | "number" => {
            let article = if kind == "integer" { "an integer" } else { "a number" };
            match (bound("minimum"), bound("maximum")) {
                (Some(least), Some(most)) => format!("{article} from {least} to {most}"),
                (Some(least), None) => format!("{article} of at least {least}"),
                (None, Some(most)) => format!("{article} of at most {most}"),
                (None, None) => article.to_owned(),
            }
        }
        "boolean" => "true or false".to_owned(),
        "array" => format!("an array{}", counted(bound("minItems"), bound("maxItems"), "item")),
        "object" => format!("an object{}", counted(bound("minProperties"), bound("maxProperties"), "member")),
        other => other.to_owned(),
    }
}

fn count(number: u64, unit: &str) -> String {
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// JSON Schema takes `1.0` for an integer and serde does not: turn such numbers into integers, only
/// where the schema asks for one. Those beyond 64 bits, which JSON Schema takes too, are faults.
fn whole_numbers(schema: &Value, value: &mut Value, pointer: &str, faults: &mut Vec<Fault>) {
    match value {
        Value::Number(number) if !number.is_i64() && is_integer_schema(schema) => match whole(number) {
            Some(whole) => *value = whole.into(),
            None if faults.len() < MOST_FAULTS => faults.push(Fault {
                location: location(pointer),
                message: "cannot be represented: the value does not fit into a 64-bit integer".to_owned(),
                fix: Some(format!("Send an integer of at most {}.", i64::MAX)),
            }),
            None => {}
        },
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (at, item) in items.iter_mut().enumerate() {
                    whole_numbers(schema, item, &format!("{pointer}/{at}"), faults);
                }
            }
        }
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = schema.get("properties") {
                for (name, member) in members {
                    if let Some(schema) = properties.get(name) {
                        whole_numbers(schema, member, &format!("{pointer}/{name}"), faults);
                    }
                }
            }
        }
        _ => {}
    }
}

fn whole(number: &serde_json::Number) -> Option<i64> {
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
