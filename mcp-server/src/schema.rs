//! The portable subset of JSON Schema that tool schemas are written in.
//!
//! Clients and model APIs refuse, drop or misread what lies outside it, and some reject the whole list
//! of tools for one schema: references, boolean schemas, alternatives at the root, formats that only
//! OpenAPI knows, bounds that a double cannot hold. Everything here is pure: a schema goes in, a
//! portable one comes out.

use keyrack_core::schema::{Places, response_schema};
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

/// Integers beyond it are not exact in a double, and clients read numbers as doubles.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;

/// The member that names members to be cleared, which HTTP clears with null.
pub(crate) const CLEAR: &str = "clear";
/// The member that stands for the null of a member that HTTP demands.
pub(crate) const KEEP: &str = "keep";
/// The member by which a model says that the user agreed.
pub(crate) const TOKEN: &str = "confirmToken";
/// The member that says how much of an answer is to be shown, and its values.
pub(crate) const DETAIL: &str = "detail";
pub(crate) const CONCISE: &str = "concise";
pub(crate) const FULL: &str = "full";
/// The answer that assistants are not given unless an operator allows it: what asks for it is hidden.
const PLAINTEXT: &str = "plaintext";
/// The member of a request that asks for it.
pub(crate) const DECRYPT: &str = "decrypt";

/// Levels of an answer whose members are described, of tools that are worth their place in every conversation.
pub(crate) const DESCRIBED: usize = 3;
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

/// What arguments are checked for and a model is not shown.
const TOLD_LATER: [&str; 7] =
    ["pattern", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"];

/// The arguments of a tool.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) schema: JsonObject,
    /// The member whose null `keep: true` stands for.
    pub(crate) kept: Option<String>,
}

/// What of a request is offered.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Offered<'a> {
    /// Members that are not.
    pub(crate) hidden: &'a [&'a str],
    /// Items of a list when an assistant does not say how many.
    pub(crate) page_size: Option<i64>,
    /// Whether it may be said how much of an answer is to be shown.
    pub(crate) has_detail: bool,
    /// Whether people may be asked before it is done.
    pub(crate) is_asked: bool,
    /// Truth values that may be left out.
    pub(crate) assumed: Option<&'a Places>,
}

/// The arguments of a tool: the request's schema without what is hidden, with what only assistants say, and without null:
/// [`CLEAR`] and [`KEEP`] say what null says over HTTP.
pub(crate) fn input_schema(request: &Value, offered: &Offered<'_>) -> Input {
    let Offered { hidden, page_size, has_detail, is_asked, assumed } = *offered;
    let mut schema = request.clone();
    portable(&mut schema);
    assumed.into_iter().flat_map(Places::pointers).for_each(|place| may_be_left_out(&mut schema, place));
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
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|name| name.as_str().is_none_or(|name| !hidden.contains(&name)));
    }
    let kept = without_null(&mut schema);
    if let (true, Some(Value::Object(properties))) = (has_detail, schema.get_mut("properties")) {
        let detail = json!({ "type": "string", "enum": [CONCISE, FULL], "description": "full: everything." });
        properties.insert(DETAIL.to_owned(), detail);
    }
    if let (true, Some(Value::Object(properties))) = (is_asked, schema.get_mut("properties")) {
        let description = "Only after the user agreed: what the refusal before gave.";
        properties.insert(TOKEN.to_owned(), json!({ "type": "string", "description": description }));
    }
    Input { schema, kept }
}

/// Lets a schema's member be left out that is assumed to be true.
fn may_be_left_out(schema: &mut Value, place: &str) {
    let (around, name) = place.rsplit_once('/').unwrap_or(("", place));
    let mut part = schema;
    for step in around.split('/').filter(|step| !step.is_empty()) {
        part = if step == "*" { &mut part["items"] } else { &mut part["properties"][step] };
    }
    if let Some(Value::Array(required)) = part.get_mut("required") {
        required.retain(|required| required != name);
    }
    part["properties"][name]["default"] = true.into();
}

/// Says of the truth values at a place that they are true, where a request says nothing.
pub(crate) fn assume(request: &mut JsonObject, place: &str) {
    let path: Vec<&str> = place.split('/').skip(1).collect();
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        request.entry(*first).or_insert(true.into());
    } else if let Some(value) = request.get_mut(*first) {
        assume_in(value, rest);
    }
}

fn assume_in(value: &mut Value, path: &[&str]) {
    match (path, value) {
        (["*", rest @ ..], Value::Array(items)) => items.iter_mut().for_each(|item| assume_in(item, rest)),
        ([name], Value::Object(members)) => _ = members.entry(*name).or_insert(true.into()),
        ([name, rest @ ..], Value::Object(members)) => {
            members.get_mut(*name).into_iter().for_each(|member| assume_in(member, rest));
        }
        _ => {}
    }
}

/// Takes null out of a schema: many clients refuse a list of types, and models send null for "nothing to say".
fn without_null(schema: &mut JsonObject) -> Option<String> {
    let required: Vec<String> = required(schema);
    let mut clearable = Vec::new();
    one_type_each(schema, "", true, &mut clearable);
    let kept = clearable.iter().find(|path| required.contains(path)).cloned();
    clearable.retain(|path| Some(path) != kept.as_ref());
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return kept };
    if kept.is_some() {
        properties
            .insert(KEEP.to_owned(), json!({ "type": "boolean", "description": "true: it stays as it is." }));
    }
    if !clearable.is_empty() {
        let items = json!({ "type": "string", "enum": clearable });
        let description = "Members to clear.";
        let clear = json!({ "type": "array", "items": items, "description": description });
        properties.insert(CLEAR.to_owned(), clear);
    }
    if let (Some(kept), Some(Value::Array(required))) = (&kept, schema.get_mut("required")) {
        required.retain(|name| name != kept);
    }
    kept
}

fn required(schema: &JsonObject) -> Vec<String> {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Gives every member one type. Members that may be null and can be named, because no list is around them, are noted
/// with their paths, unless they are demanded within another object: there the whole object is left out instead.
fn one_type_each(schema: &mut JsonObject, path: &str, can_be_named: bool, clearable: &mut Vec<String>) {
    let required = required(schema);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, property) in properties {
            let Some(property) = property.as_object_mut() else { continue };
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let is_demanded = path.contains('.') && required.contains(name);
            if let Some(kind) = one_type(property) {
                // Where null is what is meant without it, there is nothing to clear.
                let is_absent = property.get("default").is_some_and(Value::is_null);
                let is_clearable = can_be_named && !is_demanded && !is_absent;
                property.retain(|keyword, _| !(is_absent && keyword == "default"));
                property.insert("type".to_owned(), kind);
                rename_null(property, is_clearable);
                if is_clearable {
                    clearable.push(path.clone());
                }
            }
            one_type_each(property, &path, can_be_named, clearable);
        }
    }
    if let Some(Value::Object(items)) = schema.get_mut("items") {
        one_type_each(items, path, false, clearable);
    }
}

/// The type beside null, where there are the two.
fn one_type(schema: &JsonObject) -> Option<Value> {
    let kinds = schema.get("type")?.as_array()?;
    kinds.iter().find(|kind| *kind != "null").cloned()
}

/// A description speaks of null as what it is here: `clear`, or nothing.
fn rename_null(schema: &mut JsonObject, is_clearable: bool) {
    let Some(Value::String(description)) = schema.get_mut("description") else { return };
    if is_clearable && description.contains("; null: as ") {
        *description = description.replace("; null: as ", "; keep: as ");
    } else if is_clearable {
        *description = description.replace("; null", "; clear");
    } else if let Some((before, _)) = description.split_once("; null") {
        *description = format!("{before}.");
    }
}

/// Arguments as the operation's request: null is absent, what [`CLEAR`] names is null, and so is what [`KEEP`] keeps.
/// The arguments were checked against the schema.
///
/// # Errors
/// The path of a member that is both sent and cleared.
pub(crate) fn to_request(arguments: &mut JsonObject, kept: Option<&str>) -> Result<(), String> {
    if let Some(kept) = kept
        && arguments.remove(KEEP) == Some(Value::Bool(true))
        && arguments.insert(kept.to_owned(), Value::Null).is_some()
    {
        return Err(kept.to_owned());
    }
    let Some(Value::Array(paths)) = arguments.remove(CLEAR) else { return Ok(()) };
    for path in paths.iter().filter_map(Value::as_str) {
        let mut members = &mut *arguments;
        let (around, name) = path.rsplit_once('.').map_or((None, path), |(around, name)| (Some(around), name));
        for part in around.into_iter().flat_map(|around| around.split('.')) {
            let inner = members.entry(part).or_insert_with(|| json!({}));
            members = inner.as_object_mut().ok_or_else(|| path.to_owned())?;
        }
        // Named twice it is cleared all the same.
        if members.insert(name.to_owned(), Value::Null).is_some_and(|sent| !sent.is_null()) {
            return Err(path.to_owned());
        }
    }
    Ok(())
}

/// Takes out what is null where a schema names the members: models send it for "nothing to say". What people attach
/// is theirs and stays.
pub(crate) fn drop_nulls(arguments: &mut JsonObject, schema: &JsonObject) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    arguments.retain(|name, value| !(value.is_null() && properties.contains_key(name)));
    for (name, value) in arguments {
        if let Some(schema) = properties.get(name).and_then(Value::as_object) {
            drop_nulls_in(value, schema);
        }
    }
}

fn drop_nulls_in(value: &mut Value, schema: &JsonObject) {
    match value {
        Value::Object(members) => drop_nulls(members, schema),
        Value::Array(items) => {
            let Some(schema) = schema.get("items").and_then(Value::as_object) else { return };
            items.iter_mut().for_each(|item| drop_nulls_in(item, schema));
        }
        _ => {}
    }
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

/// The arguments as a model is shown them: bounds of lengths and forms of texts are checked, and told when they are broken,
/// and in every conversation they would cost a sixth of all tools. Outside of the default view it is as with bounds of
/// numbers, and with what is said of each item besides its list.
pub(crate) fn shown(mut schema: JsonObject, is_default: bool) -> JsonObject {
    let is_told_later =
        |keyword: &str| TOLD_LATER.contains(&keyword) || (!is_default && matches!(keyword, "minimum" | "maximum"));
    schema.retain(|keyword, _| !is_told_later(keyword));
    if let (false, Some(Value::Object(items))) = (is_default, schema.get_mut("items")) {
        items.remove("description");
    }
    each_part(&mut schema, &mut |part| {
        if let Some(members) = part.as_object_mut() {
            *members = shown(std::mem::take(members), is_default);
        }
    });
    schema
}

/// What is to be known of answers, for their schema.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Answers {
    /// Whether they are pages.
    pub(crate) paged: bool,
    /// Whether what was changed is shown as it is afterwards.
    pub(crate) shown_after: bool,
    /// Whether stored texts may be in them.
    pub(crate) decrypts: bool,
    /// Levels of members that are described.
    pub(crate) described: usize,
}

/// What a tool answers, `{data, after?, pagination?, notes?}`, or nothing where the data is always empty.
///
/// It lists members and requires only `data`: clients refuse an answer that does not fit, and a right
/// answer may leave out what is empty.
///
/// Members are described as deep as is said.
pub(crate) fn output_schema<T: JsonSchema>(answers: &Answers) -> Option<JsonObject> {
    let Answers { paged, shown_after, decrypts, described } = *answers;
    let mut data = response_schema::<T>();
    if is_empty_object(&data) {
        return None;
    }
    if let Some(members) = data.as_object_mut() {
        members.remove("description");
    }
    portable(&mut data);
    relax(&mut data);
    as_answered(&mut data, decrypts);
    quieten(&mut data, described);
    let mut properties = Map::from_iter([("data".to_owned(), data)]);
    if paged {
        // The instructions say how to read on, once for all lists.
        let pagination = json!({ "type": "object", "properties": { "hasMore": { "type": "boolean" }, "cursor": { "type": "string" } } });
        properties.insert("pagination".to_owned(), pagination);
    }
    if shown_after {
        properties.insert("after".to_owned(), json!({ "type": "object" }));
    }
    let notes = json!({ "type": "array", "items": { "type": "string" } });
    properties.insert("notes".to_owned(), notes);
    Some(into_object(json!({ "type": "object", "properties": properties, "required": ["data"] })))
}

/// Leaves out what assistants are never answered, and the type of what may be null: two types would be a list.
fn as_answered(schema: &mut Value, decrypts: bool) {
    let Some(members) = schema.as_object_mut() else { return };
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.retain(|name, _| decrypts || name != PLAINTEXT);
    }
    if members.get("type").is_some_and(Value::is_array) {
        members.remove("type");
    }
    each_part(members, &mut |part| as_answered(part, decrypts));
}

fn is_empty_object(schema: &Value) -> bool {
    let properties = schema.get("properties").and_then(Value::as_object);
    schema.get("type") == Some(&"object".into())
        && properties.is_none_or(Map::is_empty)
        && schema.get("additionalProperties").is_none()
}

pub(crate) fn into_object(schema: Value) -> JsonObject {
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

/// Rewrites the descriptions of a schema and of all its parts.
pub(crate) fn each_description(members: &mut JsonObject, told: &impl Fn(&str) -> String) {
    if let Some(Value::String(description)) = members.get_mut("description") {
        *description = told(description);
    }
    each_part(members, &mut |part| {
        if let Some(members) = part.as_object_mut() {
            each_description(members, told);
        }
    });
}

/// Takes descriptions out of what lies deeper than some levels: models are seldom shown any of an answer's schema.
fn quieten(schema: &mut Value, levels: usize) {
    let Some(members) = schema.as_object_mut() else { return };
    each_part(members, &mut |part| {
        if let (0, Some(members)) = (levels, part.as_object_mut()) {
            members.remove("description");
        }
        quieten(part, levels.saturating_sub(1));
    });
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
    use keyrack_core::reply::Empty;
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
            Value::Object(
                input_schema(
                    &request,
                    &Offered { hidden: &["secret"], page_size: Some(20), ..Offered::default() }
                )
                .schema
            ),
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
        let schema = input_schema(&request, &Offered { hidden: &["roleId"], ..Offered::default() }).schema;
        assert_eq!(schema["required"], json!(["more", "role"]));
        assert!(!schema.contains_key("oneOf"));
        assert_eq!(input_schema(&request, &Offered::default()).schema["required"], json!(["more"]));
    }

    #[test]
    fn arguments_are_an_object_even_when_there_are_none() {
        let schema = input_schema(&json!({ "type": "object" }), &Offered::default()).schema;
        let expected = json!({ "type": "object", "properties": {}, "additionalProperties": false });
        assert_eq!(Value::Object(schema), expected);
    }

    #[test]
    fn null_becomes_clear_and_keep() {
        let request = json!({
            "type": "object",
            "properties": {
                "name": { "type": ["string", "null"], "description": "For people; null: none." },
                "ends": { "type": ["integer", "null"], "default": null, "description": "Unix ms; null: never." },
                "grace": { "type": ["integer", "null"], "description": "Ms; 0: none; null: as long as before." },
                "credits": {
                    "type": ["object", "null"],
                    "properties": { "refill": { "type": ["object", "null"] }, "left": { "type": ["integer", "null"] } },
                    "required": ["left"]
                },
                "list": { "type": "array", "items": { "type": "object", "properties": { "a": { "type": ["string", "null"] } } } }
            },
            "required": ["grace"],
            "additionalProperties": false
        });
        let Input { schema, kept } = input_schema(&request, &Offered::default());
        assert_eq!(kept.as_deref(), Some("grace"));
        assert_eq!(schema["properties"]["clear"]["items"]["enum"], json!(["name", "credits", "credits.refill"]));
        assert_eq!(schema["properties"]["ends"], json!({ "type": "integer", "description": "Unix ms." }));
        assert_eq!(
            schema["properties"]["name"],
            json!({ "type": "string", "description": "For people; clear: none." })
        );
        assert_eq!(schema["properties"]["grace"]["description"], "Ms; 0: none; keep: as long as before.");
        assert_eq!(schema["required"], json!([]));
        assert!(!Value::Object(schema).to_string().contains("null\""));
    }

    #[test]
    fn arguments_become_the_request() {
        let request = |arguments: Value, kept| {
            let Value::Object(mut arguments) = arguments else { unreachable!() };
            to_request(&mut arguments, kept).map(|()| Value::Object(arguments))
        };
        let cleared = request(json!({ "clear": ["name", "credits.refill"], "credits": { "left": 1 } }), None);
        assert_eq!(cleared, Ok(json!({ "credits": { "left": 1, "refill": null }, "name": null })));
        assert_eq!(request(json!({ "clear": ["a.b"] }), None), Ok(json!({ "a": { "b": null } })));
        assert_eq!(request(json!({ "name": "x", "clear": ["name"] }), None), Err("name".to_owned()));
        assert_eq!(request(json!({ "keep": true }), Some("grace")), Ok(json!({ "grace": null })));
        assert_eq!(request(json!({ "keep": false, "grace": 5 }), Some("grace")), Ok(json!({ "grace": 5 })));
        assert_eq!(request(json!({ "keep": true, "grace": 5 }), Some("grace")), Err("grace".to_owned()));
        assert_eq!(request(json!({ "clear": ["credits", "credits.left"] }), None), Err("credits.left".to_owned()));
    }

    #[test]
    fn null_is_absent_but_within_what_people_attach() {
        let schema = json!({ "properties": {
            "name": {}, "meta": { "type": "object" },
            "list": { "items": { "properties": { "a": {} } } },
        }});
        let Value::Object(schema) = schema else { unreachable!() };
        let arguments = json!({ "name": null, "other": null, "meta": { "a": null }, "list": [{ "a": null, "b": null }, null] });
        let Value::Object(mut arguments) = arguments else { unreachable!() };
        drop_nulls(&mut arguments, &schema);
        let expected = json!({ "other": null, "meta": { "a": null }, "list": [{ "b": null }, null] });
        assert_eq!(Value::Object(arguments), expected);
    }

    #[derive(Serialize, JsonSchema)]
    struct Sample {
        #[schemars(range(min = 1))]
        count: i64,
    }

    #[test]
    fn an_answer_must_only_have_data() {
        let paged = Answers { paged: true, described: DESCRIBED, ..Answers::default() };
        let schema = Value::Object(output_schema::<Vec<Sample>>(&paged).unwrap());
        assert_eq!(schema["required"], json!(["data"]));
        assert_eq!(schema["properties"]["data"]["items"]["properties"]["count"], json!({ "type": "integer" }));
        assert!(schema["properties"]["data"]["items"].get("required").is_none());
        assert!(schema["properties"]["pagination"]["properties"].get("cursor").is_some());
    }

    #[test]
    fn empty_data_needs_no_schema() {
        assert_eq!(output_schema::<Empty>(&Answers::default()), None);
    }
}
