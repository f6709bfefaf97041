//! Faults of bodies: where, what and what to send instead.

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::value::Patch;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only the schema of some members matters")]
struct Sample {
    #[schemars(length(min = 1, max = 512))]
    key: String,
    #[serde(default)]
    #[schemars(length(min = 1, max = 5))]
    name: Patch<String>,
    #[schemars(length(max = 2))]
    items: Option<Vec<Item>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only the schema of some members matters")]
struct Item {
    #[schemars(range(min = 1))]
    limit: i64,
    interval: Option<Interval>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Interval {
    Daily,
    Monthly,
}

fn schema() -> RequestSchema {
    RequestSchema::compile(request_schema::<Sample>(), Places::named(&["/key"]))
}

#[test]
fn null_stays_only_where_it_means_something() {
    let schema = request_schema::<Sample>();
    assert_eq!(schema["properties"]["name"]["type"], json!(["string", "null"]));
    assert_eq!(schema["properties"]["items"]["type"], "array");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(
        schema["properties"]["items"]["items"]["properties"]["interval"]["enum"],
        json!(["daily", "monthly"])
    );
}

#[test]
fn all_faults_are_found_at_once_each_with_its_place_and_a_fix() {
    let body = json!({ "name": "too long", "items": [{ "limit": 0, "interval": "weekly" }, {}], "kye": 1 });
    let mut places: Vec<_> = schema().faults(&body).into_iter().map(|fault| fault.location).collect();
    places.sort();
    assert_eq!(
        places,
        [
            "body.items[0].interval",
            "body.items[0].limit",
            "body.items[1].limit",
            "body.key",
            "body.kye",
            "body.name"
        ]
    );
    let faults = schema().faults(&body);
    let unknown = faults.iter().find(|fault| fault.location == "body.kye").unwrap();
    assert_eq!(unknown.fix.as_deref(), Some("Remove it, or did you mean `key`?"));
    let limit = faults.iter().find(|fault| fault.location == "body.items[0].limit").unwrap();
    assert_eq!(limit.message, "must be an integer of at least 1; got 0");
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = [{ "required": ["role"] }, { "required": ["roleId"] }]))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only the schema matters")]
struct Choice {
    role: Option<String>,
    role_id: Option<String>,
}

#[test]
fn of_members_that_exclude_each_other_the_one_too_few_or_too_many_is_named() {
    let schema = RequestSchema::of::<Choice>();
    let places = |body: Value| {
        schema.faults(&body).into_iter().map(|fault| (fault.location, fault.message)).collect::<Vec<_>>()
    };
    assert_eq!(places(json!({ "roleId": "role_1" })), []);
    let missing = ("body.role".to_owned(), "is required and was not sent: `role` or `roleId`".to_owned());
    assert_eq!(places(json!({})), [missing]);
    let both = ("body.roleId".to_owned(), "must not be sent together with `role`".to_owned());
    assert_eq!(places(json!({ "role": "a", "roleId": "b" })), [both]);
    assert_eq!(places(json!([])).len(), 1);
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[test]
fn unknown_members_of_a_request_that_takes_nothing_are_named() {
    let faults = RequestSchema::of::<Nothing>().faults(&json!({ "a": 1 }));
    assert_eq!(faults[0].location, "body.a");
}

#[test]
fn the_value_of_a_secret_or_long_text_is_never_shown() {
    let body = json!({ "key": "", "name": "sk_live_0123456789abcdefghij" });
    let faults = schema().faults(&body);
    assert_eq!(faults.len(), 2);
    assert!(faults.iter().all(|fault| !fault.message.contains("sk_live")), "{faults:?}");
    assert!(faults[0].message.contains("a string of 0 characters"));
}

#[test]
fn of_very_many_faults_the_first_are_listed_and_no_more_are_looked_for() {
    let many = json!({ "key": "k", "items": vec![1; 50_000] });
    let faults = schema().faults(&many);
    let places: Vec<_> = faults.iter().map(|fault| fault.location.as_str()).collect();
    assert_eq!(places, ["body.items[0]", "body.items[1]", "body.items"], "what is too many is not looked at");
    assert!(faults[2].message.ends_with("got an array of 50000 items"));
    let unknown: Map<String, Value> = (0..50_000).map(|n| (n.to_string(), 1.into())).collect();
    assert_eq!(schema().faults(&Value::Object(unknown)).len(), MOST_FAULTS);
    assert!(schema().faults(&json!({ "key": 1234 }))[0].message.ends_with("got a number"));
}

#[test]
fn names_are_shown_up_to_a_length() {
    let long = "n".repeat(10_000);
    let faults = schema().faults(&json!({ "key": "k", (long): 1 }));
    assert_eq!(faults[0].location.len(), "body.".len() + 64);
}

#[test]
fn a_member_that_is_sent_twice_is_a_fault() {
    let error = schema().read_text::<Sample>(r#"{"key":"a","key":"b"}"#).unwrap_err();
    assert_eq!(error.faults()[0].location, "body.key");
    assert_eq!(error.faults()[0].message, "was sent twice");
}

#[test]
fn texts_hold_no_nul_wherever_they_are() {
    let error = schema().read_text::<Sample>(r#"{"key":"a\u0000","items":[{"limit":1,"interval":"\u0000"}]}"#);
    let error = error.unwrap_err();
    let places: Vec<_> = error.faults().iter().map(|fault| fault.location.as_str()).collect();
    assert_eq!(places, ["body.key", "body.items[0].interval"]);
}

#[test]
fn whole_floats_are_integers_and_numbers_beyond_64_bits_are_a_fault() {
    let read = |limit: &str| {
        let text = format!(r#"{{"key":"k","items":[{{"limit":{limit}}}]}}"#);
        schema().read_text::<Sample>(&text)
    };
    assert_eq!(read("7.0").unwrap().items.unwrap()[0].limit, 7);
    let error = read("9223372036854775808").unwrap_err();
    assert_eq!(error.faults()[0].location, "body.items[0].limit");
}

/// Looks at the schema of every operation.
struct Lint(Vec<String>);

impl crate::catalogue::Visitor for Lint {
    fn operation<O: crate::catalogue::Operation>(&mut self) {
        let schema = crate::catalogue::body_schema::<O>().as_value();
        unbounded(schema, O::ABOUT.name, &mut self.0);
        let largest = largest(schema);
        // What no single request can hold is in several: imports go in by portions.
        if largest > O::ABOUT.largest_body as u64 && O::ABOUT.name != "keys.migrateKeys" {
            self.0.push(format!("{}: {largest} bytes do not fit into its largest body", O::ABOUT.name));
        }
    }
}

fn unbounded(schema: &Value, place: &str, found: &mut Vec<String>) {
    let is = |kind: &str| {
        schema["type"] == kind || schema["type"].as_array().is_some_and(|kinds| kinds.contains(&kind.into()))
    };
    if is("string") && schema.get("maxLength").is_none() && schema.get("enum").is_none() {
        found.push(format!("{place}: a text without maxLength"));
    }
    if is("array") && schema.get("maxItems").is_none() {
        found.push(format!("{place}: a list without maxItems"));
    }
    let properties = schema["properties"].as_object().into_iter().flatten();
    if is("object") && schema.get("maxProperties").is_none() && schema.get("properties").is_none() {
        found.push(format!("{place}: an object of any size"));
    }
    for (name, inner) in properties {
        unbounded(inner, &format!("{place}.{name}"), found);
    }
    if let Some(items) = schema.get("items") {
        unbounded(items, &format!("{place}[]"), found);
    }
}

/// Bytes of the largest request in one-byte characters, without spaces. What people attach to a key has 64 KiB at most.
fn largest(schema: &Value) -> u64 {
    if let Some(members) = schema["properties"].as_object() {
        return 2 + members.iter().map(|(name, inner)| name.len() as u64 + 4 + largest(inner)).sum::<u64>();
    }
    match schema.get("items") {
        Some(items) => 2 + schema["maxItems"].as_u64().unwrap_or(0) * (1 + largest(items)),
        None if schema.get("maxProperties").is_some() => 64 * 1024,
        None => schema["maxLength"].as_u64().map_or(20, |most| most + 2),
    }
}

#[test]
fn every_text_and_list_of_every_request_is_bounded_and_the_largest_request_fits() {
    let mut lint = Lint(Vec::new());
    crate::operations::each(&mut lint);
    assert!(lint.0.is_empty(), "{:#?}", lint.0);
}
