//! Flags of a command, derived from the members of its operation's request.
//!
//! A member of the schema becomes one flag: a scalar is `--x v`, a boolean `--x` or `--x=false`, a list of
//! scalars `--x a --x b`, an object or a list of objects `--x-json`, a secret `--x-file`. What cannot be
//! said by giving a value, null and the empty list, is said with `--clear x`.

use clap::builder::{
    BoolValueParser, PossibleValuesParser, StringValueParser, TypedValueParser as _, ValueParser,
};
use clap::{Arg, ArgAction, value_parser};
use keyrack_core::schema::{Places, RequestSchema, describe};
use serde_json::{Map, Value};

/// The id of the argument that holds a whole body.
pub(super) const JSON: &str = "--json";
/// The id of the argument that lists members to clear.
pub(super) const CLEAR: &str = "--clear";

/// How a member is written on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `--x v`
    Scalar(Scalar),
    /// `--x` or `--x=false`
    Boolean,
    /// `--x a --x b`
    List(Scalar),
    /// `--x-json '{"a":1}'`, `@file` or `-`
    Json,
    /// `--x-json` without literals: there is a secret in it.
    SecretJson,
    /// `--x-file PATH`, or standard input
    Secret,
}

/// A single value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Text,
    Integer,
    Number,
}

/// One member of a request.
#[derive(Debug)]
pub(super) struct Flag {
    /// As sent: `externalId`.
    pub(super) member: &'static str,
    /// As typed, without the dashes: `external-id`.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) required: bool,
    /// What `--clear` sends for it, if anything.
    pub(super) cleared: Option<Value>,
    pub(super) schema: &'static Value,
}

/// The flags of a request, in the order of its schema.
pub(super) fn flags(request: &'static RequestSchema) -> Vec<Flag> {
    let (schema, secrets) = (request.as_value(), request.secrets());
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let members = schema["properties"].as_object().into_iter().flatten();
    members
        .map(|(member, schema)| Flag {
            member,
            name: kebab(member),
            kind: kind(schema, &format!("/{member}"), secrets),
            required: required.contains(&member.as_str()),
            cleared: cleared(schema),
            schema,
        })
        .collect()
}

fn kind(schema: &Value, pointer: &str, secrets: &Places) -> Kind {
    if secrets.has(pointer) {
        return Kind::Secret;
    }
    let is_inside = |secret: &str| secret.strip_prefix(pointer).is_some_and(|rest| rest.starts_with('/'));
    if secrets.pointers().any(is_inside) {
        return Kind::SecretJson;
    }
    match type_of(schema) {
        Some("boolean") => Kind::Boolean,
        Some("array") => scalar(&schema["items"]).map_or(Kind::Json, Kind::List),
        _ => scalar(schema).map_or(Kind::Json, Kind::Scalar),
    }
}

fn scalar(schema: &Value) -> Option<Scalar> {
    match type_of(schema)? {
        "string" => Some(Scalar::Text),
        "integer" => Some(Scalar::Integer),
        "number" => Some(Scalar::Number),
        _ => None,
    }
}

/// The one type of a schema besides null.
fn type_of(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(kind) => Some(kind),
        Value::Array(kinds) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
            kinds.next().filter(|_| kinds.next().is_none())
        }
        _ => None,
    }
}

fn cleared(schema: &Value) -> Option<Value> {
    let kinds = schema["type"].as_array();
    if kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "null")) {
        return Some(Value::Null);
    }
    let may_be_empty = schema["minItems"].as_u64().is_none_or(|least| least == 0);
    (type_of(schema) == Some("array") && may_be_empty).then(|| Value::Array(Vec::new()))
}

impl Flag {
    /// The flag with its dashes, as typed and as named in messages: `--meta-json`.
    pub(super) fn typed(&self) -> String {
        let suffix = match self.kind {
            Kind::Json | Kind::SecretJson => "-json",
            Kind::Secret => "-file",
            Kind::Scalar(_) | Kind::Boolean | Kind::List(_) => "",
        };
        format!("--{}{suffix}", self.name)
    }

    /// Whether its values must not be arguments.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::SecretJson)
    }

    /// The argument. Its id is the member's name.
    pub(super) fn argument(&self) -> Arg {
        let argument = Arg::new(self.member)
            .long(self.typed().split_off(2))
            .value_name(self.value_name())
            .help_heading("Request");
        let argument = match self.kind {
            Kind::Scalar(scalar) => Flag::scalar_argument(argument, scalar, self.schema).action(ArgAction::Set),
            Kind::List(scalar) => {
                Flag::scalar_argument(argument, scalar, &self.schema["items"]).action(ArgAction::Append)
            }
            Kind::Boolean => argument
                .hide_possible_values(true)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(BoolValueParser::new().map(Value::from)),
            Kind::Json | Kind::SecretJson => argument.value_parser(value_parser!(String)),
            // Absent, it may come from standard input, so clap must not insist.
            Kind::Secret => return argument.value_parser(value_parser!(String)),
        };
        match (self.required, &self.cleared) {
            (false, _) => argument,
            (true, None) => argument.required_unless_present(JSON),
            (true, Some(_)) => argument.required_unless_present_any([JSON, CLEAR]),
        }
    }

    fn scalar_argument(argument: Arg, scalar: Scalar, schema: &'static Value) -> Arg {
        if let Some(choices) = choices(schema) {
            return argument.value_parser(PossibleValuesParser::new(choices).map(Value::from));
        }
        let parser = match scalar {
            Scalar::Text => ValueParser::new(StringValueParser::new().map(Value::from)),
            Scalar::Integer => ValueParser::new(|text: &str| integer(text)),
            Scalar::Number => ValueParser::new(|text: &str| number(text)),
        };
        argument.value_parser(parser).allow_negative_numbers(scalar != Scalar::Text)
    }

    /// What stands for a value in the usage.
    pub(super) fn value_name(&self) -> &'static str {
        match self.kind {
            Kind::Scalar(Scalar::Text) | Kind::List(Scalar::Text) => "TEXT",
            Kind::Scalar(Scalar::Integer) | Kind::List(Scalar::Integer) => "INTEGER",
            Kind::Scalar(Scalar::Number) | Kind::List(Scalar::Number) => "NUMBER",
            Kind::Boolean => "true|false",
            Kind::Json => "JSON",
            Kind::SecretJson => "@FILE",
            Kind::Secret => "PATH",
        }
    }

    /// The schema without null, which `--clear` stands for.
    pub(super) fn value_schema(&self) -> Value {
        let mut schema = self.schema.clone();
        if let (Some(members), Some(kind)) = (schema.as_object_mut(), type_of(self.schema)) {
            members.insert("type".to_owned(), kind.into());
        }
        schema
    }

    /// What a value may be, in words.
    pub(super) fn bounds(&self) -> String {
        describe(&self.value_schema())
    }
}

/// The values of a closed choice of texts.
pub(super) fn choices(schema: &'static Value) -> Option<Vec<&'static str>> {
    schema["enum"].as_array()?.iter().map(Value::as_str).collect()
}

/// Bounds are the server's to check; an integer beyond 64 bits is none that could be sent.
fn integer(text: &str) -> Result<Value, String> {
    let signed = text.parse::<i64>().map(Value::from);
    let number = signed.or_else(|_| text.parse::<u64>().map(Value::from));
    number.map_err(|_| "it must be an integer of at most 64 bits".to_owned())
}

fn number(text: &str) -> Result<Value, String> {
    let number = serde_json::from_str::<serde_json::Number>(text);
    number.map(Value::Number).map_err(|_| "it must be a number".to_owned())
}

/// `createKey` as `create-key`.
pub(super) fn kebab(name: &str) -> String {
    let mut kebab = String::with_capacity(name.len() + 4);
    for (at, character) in name.char_indices() {
        if character.is_ascii_uppercase() && at > 0 {
            kebab.push('-');
        }
        kebab.push(character.to_ascii_lowercase());
    }
    kebab
}

/// Whether a body has a member that is secret or has secrets in it.
pub(super) fn has_secret(body: &Map<String, Value>, flags: &[Flag]) -> bool {
    flags.iter().any(|flag| flag.is_secret() && body.contains_key(flag.member))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn derived(schema: Value, secrets: &[&str]) -> Flag {
        let request =
            json!({ "type": "object", "properties": { "someMember": schema }, "required": ["someMember"] });
        flags(Box::leak(Box::new(RequestSchema::compile(request, Places::named(secrets))))).pop().unwrap()
    }

    #[test]
    fn each_type_of_member_has_its_form() {
        let objects = json!({ "type": "array", "items": { "type": "object" } });
        let table = [
            (json!({ "type": "string" }), Kind::Scalar(Scalar::Text), "--some-member"),
            (json!({ "type": ["string", "null"] }), Kind::Scalar(Scalar::Text), "--some-member"),
            (json!({ "type": "integer" }), Kind::Scalar(Scalar::Integer), "--some-member"),
            (json!({ "type": "number" }), Kind::Scalar(Scalar::Number), "--some-member"),
            (json!({ "type": "boolean" }), Kind::Boolean, "--some-member"),
            (json!({ "type": "array", "items": { "type": "string" } }), Kind::List(Scalar::Text), "--some-member"),
            (objects, Kind::Json, "--some-member-json"),
            (json!({ "type": ["object", "null"] }), Kind::Json, "--some-member-json"),
            (json!({ "type": ["string", "integer"] }), Kind::Json, "--some-member-json"),
            (json!({}), Kind::Json, "--some-member-json"),
        ];
        for (schema, kind, typed) in table {
            let flag = derived(schema.clone(), &["/other", "/some"]);
            assert_eq!((flag.kind, flag.typed().as_str()), (kind, typed), "{schema}");
            assert!(flag.required);
        }
    }

    #[test]
    fn a_secret_is_a_file_and_an_object_with_a_secret_is_no_argument_either() {
        let flag = derived(json!({ "type": "string" }), &["/someMember"]);
        assert_eq!((flag.kind, flag.typed().as_str()), (Kind::Secret, "--some-member-file"));
        let flag = derived(json!({ "type": "object" }), &["/someMember/hash"]);
        assert_eq!(flag.kind, Kind::SecretJson);
    }

    #[test]
    fn null_and_the_empty_list_are_cleared() {
        let cleared = |schema| derived(schema, &[]).cleared;
        assert_eq!(cleared(json!({ "type": ["integer", "null"] })), Some(Value::Null));
        assert_eq!(cleared(json!({ "type": ["array", "null"] })), Some(Value::Null));
        assert_eq!(cleared(json!({ "type": "array", "items": { "type": "string" } })), Some(json!([])));
        assert_eq!(cleared(json!({ "type": "array", "minItems": 1 })), None);
        assert_eq!(cleared(json!({ "type": "string" })), None);
    }

    #[test]
    fn integers_are_exact() {
        for text in ["0", "-1", "9223372036854775807", "18446744073709551615"] {
            assert_eq!(integer(text).unwrap().to_string(), text);
        }
        for text in ["", "1.5", "1e3", "18446744073709551616", "ten"] {
            assert!(integer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_kebab_case() {
        let table =
            [("createKey", "create-key"), ("rootKeys", "root-keys"), ("apis", "apis"), ("whoami", "whoami")];
        for (name, kebab_name) in table {
            assert_eq!(kebab(name), kebab_name);
        }
    }
}
