//! Compares the server's generated `/openapi.json` with the contract, schema by schema.
//! The result is a list of differences; what is allowed to differ is decided by `deviations.json`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// One difference: where, what the contract says, what the server says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    pub(crate) path: String,
    pub(crate) contract: Value,
    pub(crate) keyrack: Value,
}

/// What is compared: requests must agree in everything, answers in names, types and required members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    NamesAndTypes,
    Everything,
}

const BOUNDS: [&str; 8] =
    ["minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "minProperties", "maxProperties"];

/// Collects every difference between two schemas that have no references left.
pub(crate) fn compare(path: &str, contract: &Value, keyrack: &Value, depth: Depth, found: &mut Vec<Difference>) {
    let keyrack = &simplify(keyrack);
    let mut note = |at: String, contract: Value, keyrack: Value| {
        if contract != keyrack {
            found.push(Difference { path: at, contract, keyrack });
        }
    };
    note(format!("{path}:type"), types(contract), types(keyrack));
    note(format!("{path}:required"), names(&contract["required"]), names(&keyrack["required"]));
    if depth == Depth::Everything {
        for bound in BOUNDS {
            note(format!("{path}:{bound}"), bound_of(contract, bound), bound_of(keyrack, bound));
        }
        note(format!("{path}:pattern"), pattern(contract), pattern(keyrack));
        note(format!("{path}:enum"), names(&contract["enum"]), names(&keyrack["enum"]));
        note(format!("{path}:additionalProperties"), closed(contract), closed(keyrack));
    }
    compare_members(path, contract, keyrack, depth, found);
}

fn compare_members(path: &str, contract: &Value, keyrack: &Value, depth: Depth, found: &mut Vec<Difference>) {
    let empty = Map::new();
    let theirs = contract["properties"].as_object().unwrap_or(&empty);
    let ours = keyrack["properties"].as_object().unwrap_or(&empty);
    let all: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    for name in all {
        let at = format!("{path}.{name}");
        match (theirs.get(name), ours.get(name)) {
            (Some(their), Some(our)) => compare(&at, their, our, depth, found),
            (their, our) => found.push(Difference {
                path: at,
                contract: json!(their.is_some()),
                keyrack: json!(our.is_some()),
            }),
        }
    }
    match (contract.get("items"), keyrack.get("items")) {
        (Some(their), Some(our)) => compare(&format!("{path}[]"), their, our, depth, found),
        (None, None) => {}
        (their, our) => found.push(Difference {
            path: format!("{path}[]"),
            contract: json!(their.is_some()),
            keyrack: json!(our.is_some()),
        }),
    }
}

/// Replaces every `$ref` into the document by what it leads to.
pub(crate) fn resolve(schema: &Value, document: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                let pointer = reference.trim_start_matches('#');
                let target = document
                    .pointer(pointer)
                    .unwrap_or_else(|| panic!("{reference} leads nowhere in /openapi.json"));
                return resolve(target, document);
            }
            let resolved = members.iter().map(|(name, value)| (name.clone(), resolve(value, document)));
            Value::Object(resolved.collect())
        }
        Value::Array(items) => items.iter().map(|item| resolve(item, document)).collect(),
        other => other.clone(),
    }
}

/// Writes the shapes that schema generators produce for one thing in one way: `anyOf` with a null arm becomes a
/// nullable type, `allOf` of one and documented enum variants are folded, `const` becomes `enum`.
fn simplify(schema: &Value) -> Value {
    let mut schema = schema.clone();
    for union in ["allOf", "anyOf", "oneOf"] {
        let Some(arms) = schema[union].as_array().cloned() else {
            continue;
        };
        let (nulls, others): (Vec<Value>, Vec<Value>) = arms.into_iter().partition(|arm| arm["type"] == "null");
        let mut folded = if others.len() == 1 {
            simplify(&others[0])
        } else if others.iter().all(|arm| arm.get("const").is_some()) {
            let values: Vec<&Value> = others.iter().map(|arm| &arm["const"]).collect();
            json!({ "type": "string", "enum": values })
        } else {
            continue;
        };
        if !nulls.is_empty() {
            let mut kinds = types(&folded).as_array().cloned().unwrap_or_default();
            kinds.push(json!("null"));
            folded["type"] = Value::Array(kinds);
        }
        if let (Some(target), Some(source)) = (schema.as_object_mut(), folded.as_object()) {
            target.remove(union);
            for (keyword, value) in source {
                target.insert(keyword.clone(), value.clone());
            }
        }
    }
    if let Some(value) = schema.get("const").cloned() {
        schema["enum"] = json!([value]);
    }
    schema
}

/// The allowed types, sorted; empty when anything goes.
fn types(schema: &Value) -> Value {
    match &schema["type"] {
        Value::String(one) => json!([one]),
        Value::Array(many) => names(&Value::Array(many.clone())),
        _ => json!([]),
    }
}

/// A list of words as a sorted set; null never counts (a nullable enum may list it).
fn names(list: &Value) -> Value {
    let words: BTreeSet<&str> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    json!(words)
}

/// A bound as a double (some exceed the signed 64-bit range), null when there is none. A lower bound of zero
/// for lengths and counts says nothing.
fn bound_of(schema: &Value, bound: &str) -> Value {
    match schema[bound].as_f64() {
        Some(value) if value == 0.0 && bound.starts_with("min") && bound != "minimum" => Value::Null,
        Some(value) => json!(value),
        None => Value::Null,
    }
}

/// A pattern that is one character class repeated is compared as the set of its characters.
fn pattern(schema: &Value) -> Value {
    let Some(text) = schema["pattern"].as_str() else {
        return Value::Null;
    };
    let class = text.strip_prefix("^[").and_then(|rest| rest.strip_suffix("]+$"));
    let Some(class) = class else {
        return json!(text);
    };
    let mut allowed = BTreeSet::new();
    let mut rest: Vec<(char, bool)> = Vec::new();
    let mut characters = class.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => rest.push((characters.next().unwrap_or('\\'), true)),
            plain => rest.push((plain, false)),
        }
    }
    let mut index = 0;
    while index < rest.len() {
        if index + 2 < rest.len() && rest[index + 1] == ('-', false) {
            allowed.extend(rest[index].0..=rest[index + 2].0);
            index += 3;
        } else {
            allowed.insert(rest[index].0);
            index += 1;
        }
    }
    json!(format!("^[{}]+$", allowed.into_iter().collect::<String>()))
}

/// Whether unknown members are refused.
fn closed(schema: &Value) -> Value {
    json!(schema["additionalProperties"] == false)
}

#[test]
fn a_schema_agrees_with_itself_in_every_way_of_writing_it() {
    let contract = json!({"type": "object", "required": ["a"], "additionalProperties": false, "properties": {
        "a": {"type": "string", "minLength": 1, "pattern": "^[a-zA-Z0-9_:\\-\\.\\*]+$"},
        "b": {"type": ["object", "null"], "properties": {"c": {"type": "string", "enum": ["x", "y"]}}},
        "d": {"type": "integer", "maximum": 9_223_372_036_854_776_000_u64}}});
    let keyrack = json!({"type": "object", "required": ["a"], "additionalProperties": false, "properties": {
        "a": {"type": "string", "minLength": 1, "pattern": "^[a-z0-9A-Z_:.*-]+$"},
        "b": {"anyOf": [{"type": "object", "properties": {"c": {"oneOf": [{"const": "y"}, {"const": "x"}]}}}, {"type": "null"}]},
        "d": {"type": "integer", "maximum": i64::MAX}}});
    let mut found = Vec::new();
    compare("it", &contract, &keyrack, Depth::Everything, &mut found);
    assert_eq!(found, []);
}

#[test]
fn every_kind_of_difference_is_found() {
    let contract = json!({"type": "object", "required": ["a"], "properties": {
        "a": {"type": "string", "maxLength": 3}, "b": {"type": "array", "items": {"type": "string"}}}});
    for (pointer, keyword, value) in [
        ("", "required", json!(["a", "b"])),
        ("", "additionalProperties", json!(false)),
        ("/properties/a", "type", json!(["string", "null"])),
        ("/properties/a", "maxLength", json!(4)),
        ("/properties/a", "pattern", json!("^[a]+$")),
        ("/properties/a", "enum", json!(["a"])),
        ("/properties/b", "maxItems", json!(4)),
        ("/properties/b/items", "type", json!("integer")),
        ("/properties", "c", json!({"type": "string"})),
    ] {
        let mut keyrack = contract.clone();
        keyrack.pointer_mut(pointer).expect("there")[keyword] = value;
        let mut found = Vec::new();
        compare("it", &contract, &keyrack, Depth::Everything, &mut found);
        assert_eq!(found.len(), 1, "{pointer} {keyword}: {found:?}");
    }
}
