//! The portable subset of JSON Schema that tool schemas are written in.
//!
//! Clients and model APIs refuse, drop or misread what lies outside it, and some reject the whole list
//! of tools for one schema: references, boolean schemas, alternatives at the root, formats that only
//! OpenAPI knows, bounds that a double cannot hold. Everything here is pure: a schema goes in, a
//! portable one comes out.

use keyrack_core::schema::response_schema;
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

/// Integers beyond it are not exact in a double, and clients read numbers as doubles.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;

/// What an answer needs not promise: it was checked when it was stored.
const DEMANDS: [&str; 10] = [
    "required",
    "minimum",
    "maximum",
    "pattern",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
];

/// The arguments of a tool: the request's schema without `hidden` members, lists with a default page of
/// `page_size`.
pub(crate) fn input_schema(request: &Value, hidden: &[&str], page_size: Option<i64>) -> JsonObject {
    let mut schema = request.clone();
    portable(&mut schema);
    let mut schema = into_object(schema);
    schema.remove("description");
    choose(&mut schema, hidden);
    schema.entry("properties").or_insert_with(|| json!({}));
    schema.insert("additionalProperties".to_owned(), false.into());
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.retain(|name, _| !hidden.contains(&name.as_str()));
        if let (Some(page_size), Some(Value::Object(limit))) = (page_size, properties.get_mut("limit")) {
            limit.insert("default".to_owned(), page_size.into());
        }
    }
    schema
}

/// Takes alternatives off the root, where clients refuse them. Of members that exclude each other one may be
/// left that is not hidden: then it is required. Of several, the operation says which are missing.
fn choose(schema: &mut JsonObject, hidden: &[&str]) {
    let Some(Value::Array(alternatives)) = schema.remove("oneOf") else { return };
    let names = |alternative: &Value| alternative["required"].as_array().cloned().unwrap_or_default();
    let is_hidden = |name: &Value| name.as_str().is_some_and(|name| hidden.contains(&name));
    let offered: Vec<_> = alternatives.iter().map(names).filter(|names| !names.iter().any(is_hidden)).collect();
    if let [only] = offered.as_slice() {
        let required = schema.entry("required").or_insert_with(|| json!([]));
        required.as_array_mut().into_iter().for_each(|required| required.extend(only.iter().cloned()));
    }
}

/// What a tool answers, `{data, pagination?, notes?}`, or nothing where the data is always empty.
///
/// It lists members and requires only `data`: clients refuse an answer that does not fit, and a right
/// answer may leave out what is empty.
pub(crate) fn output_schema<T: JsonSchema>(paged: bool) -> Option<JsonObject> {
    let mut data = response_schema::<T>();
    if is_empty_object(&data) {
        return None;
    }
    if let Some(members) = data.as_object_mut() {
        members.remove("description");
    }
    portable(&mut data);
    relax(&mut data);
    let mut properties = Map::from_iter([("data".to_owned(), data)]);
    if paged {
        let mut pagination = response_schema::<keyrack_core::page::Pagination>();
        portable(&mut pagination);
        relax(&mut pagination);
        properties.insert("pagination".to_owned(), pagination);
    }
    let notes = json!({ "type": "array", "items": { "type": "string" }, "description": "What to know besides." });
    properties.insert("notes".to_owned(), notes);
    Some(into_object(json!({ "type": "object", "properties": properties, "required": ["data"] })))
}

fn is_empty_object(schema: &Value) -> bool {
    let properties = schema.get("properties").and_then(Value::as_object);
    schema.get("type") == Some(&"object".into())
        && properties.is_none_or(Map::is_empty)
        && schema.get("additionalProperties").is_none()
}

fn into_object(schema: Value) -> JsonObject {
    match schema {
        Value::Object(members) => members,
        _ => JsonObject::new(),
    }
}

/// Rewrites a schema into the portable subset, all its parts included.
fn portable(schema: &mut Value) {
    match schema {
        Value::Bool(true) => *schema = json!({}),
        Value::Bool(false) => *schema = json!({ "not": {} }),
        _ => {}
    }
    let Some(members) = schema.as_object_mut() else { return };
    members.remove("$schema");
    // Formats are those of OpenAPI and ours; the operation checks what they say.
    members.remove("format");
    for bound in ["minimum", "maximum"] {
        if members.get(bound).and_then(Value::as_f64).is_some_and(|bound| bound.abs() >= EXACT_INTEGERS) {
            members.remove(bound);
        }
    }
    // Anything goes is what an object without this keyword says already.
    if members.get("additionalProperties") == Some(&Value::Bool(true)) {
        members.remove("additionalProperties");
    }
    fold_alternatives(members);
    each_part(members, &mut portable);
}

/// Lets a schema say what may be there without demanding any of it.
fn relax(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    // A schema for the values of a map describes; `false` and the bounds demand.
    members.retain(|keyword, value| match keyword.as_str() {
        "additionalProperties" => value.is_object(),
        _ => !DEMANDS.contains(&keyword.as_str()),
    });
    each_part(members, &mut relax);
}

/// Applies `change` to the schemas inside a schema; `additionalProperties: false` is not one of them.
fn each_part(members: &mut JsonObject, change: &mut dyn FnMut(&mut Value)) {
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.values_mut().for_each(&mut *change);
    }
    if let Some(items) = members.get_mut("items") {
        change(items);
    }
    if let Some(additional @ Value::Object(_)) = members.get_mut("additionalProperties") {
        change(additional);
    }
    for keyword in ["anyOf", "oneOf", "allOf", "prefixItems"] {
        if let Some(Value::Array(alternatives)) = members.get_mut(keyword) {
            alternatives.iter_mut().for_each(&mut *change);
        }
    }
}

/// Variants with comments of their own come as one schema each; one list of values says the same.
fn fold_alternatives(members: &mut JsonObject) {
    let Some(Value::Array(alternatives)) = members.get("oneOf") else { return };
    let values: Option<Vec<Value>> = alternatives
        .iter()
        .map(|alternative| match (alternative.get("const"), alternative.get("enum")) {
            (Some(value), _) => Some(vec![value.clone()]),
            (None, Some(Value::Array(values))) => Some(values.clone()),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()
        .map(|values| values.concat());
    if let Some(values) = values.filter(|values| values.iter().all(Value::is_string)) {
        members.remove("oneOf");
        members.insert("type".to_owned(), "string".into());
        members.insert("enum".to_owned(), values.into());
    }
}

#[cfg(test)]
mod tests {
    use keyrack_core::catalogue::Empty;
    use serde::Serialize;

    use super::*;

    #[test]
    fn what_clients_trip_over_is_rewritten() {
        let request = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "any": true,
                "count": { "type": "integer", "format": "int64", "minimum": 1, "maximum": 9_223_372_036_854_775_807_i64 },
                "kind": { "oneOf": [{ "const": "a", "description": "first" }, { "type": "string", "enum": ["b", "c"] }] },
                "meta": { "type": "object", "additionalProperties": true },
                "secret": { "type": "boolean" },
                "limit": { "type": "integer", "default": 100 }
            },
            "additionalProperties": false
        });
        assert_eq!(
            Value::Object(input_schema(&request, &["secret"], Some(20))),
            json!({
                "type": "object",
                "properties": {
                    "any": {},
                    "count": { "type": "integer", "minimum": 1 },
                    "kind": { "type": "string", "enum": ["a", "b", "c"] },
                    "meta": { "type": "object" },
                    "limit": { "type": "integer", "default": 20 }
                },
                "additionalProperties": false
            })
        );
    }

    #[test]
    fn of_alternatives_at_the_root_the_one_that_is_not_hidden_is_required() {
        let request = json!({
            "type": "object",
            "properties": { "role": { "type": "string" }, "roleId": { "type": "string" }, "more": {} },
            "required": ["more"],
            "oneOf": [{ "required": ["role"] }, { "required": ["roleId"] }]
        });
        let schema = input_schema(&request, &["roleId"], None);
        assert_eq!(schema["required"], json!(["more", "role"]));
        assert!(!schema.contains_key("oneOf"));
        assert_eq!(input_schema(&request, &[], None)["required"], json!(["more"]));
    }

    #[test]
    fn arguments_are_an_object_even_when_there_are_none() {
        let schema = input_schema(&json!({ "type": "object" }), &[], None);
        let expected = json!({ "type": "object", "properties": {}, "additionalProperties": false });
        assert_eq!(Value::Object(schema), expected);
    }

    #[derive(Serialize, JsonSchema)]
    struct Sample {
        #[schemars(range(min = 1))]
        count: i64,
    }

    #[test]
    fn an_answer_must_only_have_data() {
        let schema = Value::Object(output_schema::<Vec<Sample>>(true).unwrap());
        assert_eq!(schema["required"], json!(["data"]));
        assert_eq!(schema["properties"]["data"]["items"]["properties"]["count"], json!({ "type": "integer" }));
        assert!(schema["properties"]["data"]["items"].get("required").is_none());
        assert!(schema["properties"]["pagination"]["properties"].get("cursor").is_some());
    }

    #[test]
    fn empty_data_needs_no_schema() {
        assert_eq!(output_schema::<Empty>(false), None);
    }
}
