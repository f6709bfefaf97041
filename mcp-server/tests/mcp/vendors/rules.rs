//! The rules, by vendor.

use serde_json::{Value, json};

use crate::lint::each_schema;

/// A published rule about tools.
pub(super) struct Rule {
    /// What it asks for.
    pub(super) says: &'static str,
    /// Where it is published.
    pub(super) source: &'static str,
    /// The places of a tool, as it is listed, that break it.
    pub(super) faults: fn(&Value) -> Vec<String>,
    /// A tool that does.
    pub(super) broken_by: fn() -> Value,
}

const ALTERNATIVES: [&str; 5] = ["oneOf", "anyOf", "allOf", "enum", "not"];

/// Anthropic: Messages API, `tools`, `input_schema`.
pub(super) const ANTHROPIC: [Rule; 5] = [
    Rule {
        says: "the name matches ^[a-zA-Z0-9_-]{1,64}$",
        source: "Claude API docs, Tool use, Define tools, `name`",
        faults: |tool| is_name(tool, 64, "_-"),
        broken_by: || json!({ "name": "keys.getKey", "inputSchema": { "type": "object" } }),
    },
    Rule {
        says: "`type` is object",
        source: "Claude API reference, Messages, Create, `tools`, `input_schema.type`",
        faults: |tool| at_the_root(tool, |root| root["type"] == "object"),
        broken_by: || json!({ "name": "a", "inputSchema": { "properties": {} } }),
    },
    Rule {
        says: "no oneOf, allOf or anyOf at the top level",
        source: "the API's 400 \"input_schema does not support oneOf, allOf, or anyOf at the top level\", \
                 anthropics/claude-code issue 5973",
        faults: |tool| at_the_root(tool, |root| ALTERNATIVES[..3].iter().all(|word| root.get(word).is_none())),
        broken_by: || json!({ "name": "a", "inputSchema": { "type": "object", "anyOf": [] } }),
    },
    Rule {
        says: "names of members match ^[a-zA-Z0-9_.-]{1,64}$",
        source: "the API's 400 \"Property keys should match pattern\", twilio-labs/mcp issue 58",
        faults: |tool| names_of_members(tool, |name| (1..=64).contains(&name.len()) && is_of(name, "_.-")),
        broken_by: || json!({ "name": "a", "inputSchema": { "type": "object", "properties": { "filter[id]": {} } } }),
    },
    Rule {
        says: "it is JSON Schema of draft 2020-12",
        source: "the API's 400 \"JSON schema is invalid. It must match JSON Schema draft 2020-12\"; Claude API docs, \
                 Tool use, Define tools, `input_schema`",
        faults: |tool| at_the_root(tool, jsonschema::draft202012::meta::is_valid),
        broken_by: || json!({ "name": "a", "inputSchema": { "type": "object", "required": "keyId" } }),
    },
];

/// OpenAI: function calling without strict mode.
pub(super) const OPENAI: [Rule; 4] = [
    Rule {
        says: "the name is of a-z, A-Z, 0-9, underscores and dashes, 64 characters at most",
        source: "OpenAI API reference, Chat completions, Create, `tools.function.name`",
        faults: |tool| is_name(tool, 64, "_-"),
        broken_by: || json!({ "name": "keys getKey", "inputSchema": { "type": "object" } }),
    },
    Rule {
        says: "the description has 1,024 characters at most",
        source: "Azure OpenAI, How to use function calling: \"descriptions are currently limited to 1,024 characters\"",
        faults: |tool| {
            let length = tool["description"].as_str().map_or(0, |text| text.chars().count());
            if length <= 1024 { Vec::new() } else { vec![format!("{length} characters")] }
        },
        broken_by: || json!({ "name": "a", "description": "x".repeat(1025), "inputSchema": { "type": "object" } }),
    },
    Rule {
        says: "`type` is object, without oneOf, anyOf, allOf, enum or not at the top level",
        source: "the API's 400 \"schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at \
                 the top level\", langchain-ai/langchainjs issue 9804",
        faults: |tool| {
            let is_plain = |root: &Value| ALTERNATIVES.iter().all(|word| root.get(word).is_none());
            at_the_root(tool, |root| root["type"] == "object" && is_plain(root))
        },
        broken_by: || json!({ "name": "a", "inputSchema": { "type": "object", "not": {} } }),
    },
    Rule {
        says: "arrays say what their items are",
        source: "the API's 400 \"array schema missing items\", sigoden/aichat pull request 1049",
        faults: |tool| everywhere(tool, has_items),
        broken_by: || json!({ "name": "a", "inputSchema": { "type": "object", "properties": { "a": { "type": "array" } } } }),
    },
];

/// OpenAI: function calling with `strict: true`.
pub(super) const OPENAI_STRICT: [Rule; 4] = [
    Rule {
        says: "objects have `additionalProperties: false`",
        source: "OpenAI docs, Structured Outputs, Supported schemas, \"additionalProperties: false must always be set in objects\"",
        faults: |tool| everywhere(tool, |part| !is(part, "object") || part["additionalProperties"] == false),
        broken_by: || json!({ "name": "a", "inputSchema": { "type": "object", "properties": {} } }),
    },
    Rule {
        says: "all members are required",
        source: "OpenAI docs, Structured Outputs, Supported schemas, \"All fields must be required\"",
        faults: |tool| {
            everywhere(tool, |part| {
                let required = part["required"].as_array().cloned().unwrap_or_default();
                let mut names = part["properties"].as_object().into_iter().flatten().map(|(name, _)| name);
                names.all(|name| required.iter().any(|required| required == name))
            })
        },
        broken_by: || json!({ "name": "a", "inputSchema": { "type": "object", "properties": { "a": { "type": "string" } } } }),
    },
    Rule {
        says: "only supported keywords",
        source: "OpenAI docs, Structured Outputs, Supported schemas, \"Supported properties\" and \"unsupported keywords\"",
        faults: |tool| everywhere(tool, |part| only(part, &STRICT_WORDS)),
        broken_by: || json!({ "name": "a", "inputSchema": { "type": "object", "properties": { "a": { "allOf": [] } } } }),
    },
    Rule {
        says: "at most 10 levels of nesting, 5,000 members, 1,000 values of enums and 120,000 characters of names",
        source: "OpenAI docs, Structured Outputs, Supported schemas, \"Objects have limitations on nesting depth and size\"",
        faults: within_limits,
        broken_by: || {
            let wrapped = |inner: Value, _| json!({ "type": "object", "properties": { "deeper": inner } });
            json!({ "name": "a", "inputSchema": (0..11).fold(json!({ "type": "object" }), wrapped) })
        },
    },
];

/// What strict mode knows of a schema.
const STRICT_WORDS: [&str; 19] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "description",
    "title",
    "enum",
    "const",
    "anyOf",
    "items",
    "pattern",
    "format",
    "multipleOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
];

/// Google: Gemini API, `FunctionDeclaration` with `parameters`.
pub(super) const GEMINI: [Rule; 8] = [
    Rule {
        says: "the name begins with a letter or an underscore, and is of a-z, A-Z, 0-9, underscores, dots and dashes, \
               64 characters at most",
        source: "Gemini API reference, FunctionDeclaration, `name`",
        faults: |tool| {
            let name = tool["name"].as_str().unwrap_or_default();
            if begins(name) { is_name(tool, 64, "_.-") } else { vec![format!("the name {name:?}")] }
        },
        broken_by: || json!({ "name": "2keys", "inputSchema": { "type": "object" } }),
    },
    Rule {
        says: "names of members begin with a letter or an underscore, and are of a-z, A-Z, 0-9 and underscores, 64 \
               characters at most",
        source: "Gemini API reference, FunctionDeclaration, `parameters`",
        faults: |tool| names_of_members(tool, |name| begins(name) && name.len() <= 64 && is_of(name, "_")),
        broken_by: || json!({ "name": "a", "inputSchema": { "type": "object", "properties": { "a-b": { "type": "string" } } } }),
    },
    Rule {
        says: "only the fields of Schema",
        source: "Gemini API reference, Schema: \"a select subset of an OpenAPI 3.0 schema object\"",
        faults: |tool| everywhere(tool, |part| only(part, &GEMINI_WORDS)),
        broken_by: || json!({ "name": "a", "inputSchema": { "type": "object", "properties": { "a": { "const": 1 } } } }),
    },
    Rule {
        says: "`type` is one of the six types",
        source: "Gemini API reference, Schema, `type`, which is required",
        faults: |tool| {
            let known = ["string", "number", "integer", "boolean", "array", "object"];
            everywhere(tool, |part| known.iter().any(|kind| part["type"] == *kind))
        },
        broken_by: || json!({ "name": "a", "inputSchema": { "type": "object", "properties": { "a": { "type": ["string", "null"] } } } }),
    },
    Rule {
        says: "arrays say what their items are",
        source: "the API's 400 \"items: missing field\", cline/cline issue 7926",
        faults: |tool| everywhere(tool, has_items),
        broken_by: || json!({ "name": "a", "inputSchema": { "type": "object", "properties": { "a": { "type": "array" } } } }),
    },
    Rule {
        says: "enums are of texts",
        source: "Gemini API reference, Schema, `enum`: \"possible values of the element of Type.STRING\"",
        faults: |tool| {
            everywhere(tool, |part| {
                let mut values = part["enum"].as_array().into_iter().flatten();
                part.get("enum").is_none() || (part["type"] == "string" && values.all(Value::is_string))
            })
        },
        broken_by: || json!({ "name": "a", "inputSchema": { "type": "object", "properties": { "a": { "type": "integer", "enum": [1] } } } }),
    },
    Rule {
        says: "the format of a text is enum or date-time",
        source: "the API's 400 \"only 'enum' and 'date-time' are supported for STRING type\", google-gemini/gemini-cli \
                 issue 5450",
        faults: |tool| {
            everywhere(tool, |part| {
                let format = part["format"].as_str();
                part["type"] != "string" || format.is_none_or(|format| ["enum", "date-time"].contains(&format))
            })
        },
        broken_by: || json!({ "name": "a", "inputSchema": { "type": "object", "properties": { "a": { "type": "string", "format": "uri" } } } }),
    },
    Rule {
        says: "only objects have members, and `required` names some of them",
        source: "the API's 400s \"only allowed for OBJECT type\", anomalyco/opencode issue 11889, and \"property is not defined\"",
        faults: |tool| {
            everywhere(tool, |part| {
                let has_members = part.get("properties").is_some() || part.get("required").is_some();
                let mut required = part["required"].as_array().into_iter().flatten();
                (part["type"] == "object" || !has_members)
                    && required.all(|name| part["properties"].get(name.as_str().unwrap_or_default()).is_some())
            })
        },
        broken_by: || json!({ "name": "a", "inputSchema": { "type": "object", "properties": {}, "required": ["keyId"] } }),
    },
];

/// The fields of Gemini's Schema.
const GEMINI_WORDS: [&str; 22] = [
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "maxItems",
    "minItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "example",
    "anyOf",
    "propertyOrdering",
    "default",
    "items",
    "minimum",
    "maximum",
];

/// The places of a tool's schema at which something does not hold.
fn everywhere(tool: &Value, holds: impl Fn(&Value) -> bool) -> Vec<String> {
    let mut places = Vec::new();
    each_schema("arguments", &tool["inputSchema"], &mut |place, part| {
        if !holds(part) {
            places.push(format!("{place} is {part}"));
        }
    });
    places
}

fn at_the_root(tool: &Value, holds: impl Fn(&Value) -> bool) -> Vec<String> {
    if holds(&tool["inputSchema"]) { Vec::new() } else { vec!["the arguments".to_owned()] }
}

fn is_of(name: &str, others: &str) -> bool {
    name.chars().all(|letter| letter.is_ascii_alphanumeric() || others.contains(letter))
}

fn begins(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
}

fn is_name(tool: &Value, most: usize, others: &str) -> Vec<String> {
    let name = tool["name"].as_str().unwrap_or_default();
    let is_fine = (1..=most).contains(&name.len()) && is_of(name, others);
    if is_fine { Vec::new() } else { vec![format!("the name {name:?}")] }
}

fn names_of_members(tool: &Value, is_fine: impl Fn(&str) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    each_schema("arguments", &tool["inputSchema"], &mut |place, part| {
        let names = part["properties"].as_object().into_iter().flatten().map(|(name, _)| name);
        wrong.extend(names.filter(|name| !is_fine(name)).map(|name| format!("{place}.{name}")));
    });
    wrong
}

/// Whether a schema is of this type, also where it may be null besides.
fn is(part: &Value, kind: &str) -> bool {
    part["type"] == kind || part["type"].as_array().is_some_and(|kinds| kinds.iter().any(|one| one == kind))
}

fn has_items(part: &Value) -> bool {
    !is(part, "array") || part["items"].is_object()
}

fn only(part: &Value, words: &[&str]) -> bool {
    part.as_object().is_some_and(|members| members.keys().all(|word| words.contains(&word.as_str())))
}

fn within_limits(tool: &Value) -> Vec<String> {
    let (mut deepest, mut members, mut values, mut characters) = (0, 0, 0, 0);
    each_schema("", &tool["inputSchema"], &mut |place, part| {
        deepest = deepest.max(place.matches('.').count());
        let names = part["properties"].as_object().into_iter().flatten().map(|(name, _)| name);
        for name in names {
            members += 1;
            characters += name.len();
        }
        for value in part["enum"].as_array().into_iter().flatten() {
            values += 1;
            characters += value.as_str().map_or(0, str::len);
        }
    });
    let is_within = deepest <= 10 && members <= 5000 && values <= 1000 && characters <= 120_000;
    if is_within { Vec::new() } else { vec![format!("{deepest} levels, {members} members, {values} values")] }
}
