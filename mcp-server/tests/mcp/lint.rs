//! Every tool keeps to what all clients and model APIs can read.

use keyrack_mcp_server::{Offer, PAGE_SIZE};
use serde_json::{Map, Value};

use crate::world::catalogue;

const DESCRIPTION: usize = 300;
const ARGUMENT: usize = 90;
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Calls `look` with every schema inside a schema and its place.
pub(crate) fn each_schema(place: &str, schema: &Value, look: &mut dyn FnMut(&str, &Value)) {
    look(place, schema);
    for (name, part) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        each_schema(&format!("{place}.{name}"), part, look);
    }
    for keyword in ["items", "additionalProperties", "not"] {
        match schema.get(keyword) {
            Some(Value::Bool(false)) if keyword == "additionalProperties" => {}
            Some(part) => each_schema(&format!("{place}[{keyword}]"), part, look),
            None => {}
        }
    }
    for keyword in ["anyOf", "oneOf", "allOf", "prefixItems"] {
        for part in schema.get(keyword).and_then(Value::as_array).into_iter().flatten() {
            each_schema(&format!("{place}[{keyword}]"), part, look);
        }
    }
}

fn schemas(offer: &Offer) -> Vec<(String, Value)> {
    let input = ("input", Some(&offer.tool.input_schema));
    let output = ("output", offer.tool.output_schema.as_ref());
    let named = |(kind, schema): (&str, Option<&std::sync::Arc<Map<String, Value>>>)| {
        schema.map(|schema| (format!("{} {kind}", offer.tool.name), Value::Object(schema.as_ref().clone())))
    };
    [input, output].into_iter().filter_map(named).collect()
}

/// All faults at once: they come in families.
fn lint(check: impl Fn(&Offer, &mut Vec<String>)) {
    let mut faults = Vec::new();
    for offer in catalogue().offers() {
        check(offer, &mut faults);
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn schemas_are_valid_and_their_roots_are_plain_objects() {
    lint(|offer, faults| {
        for (place, schema) in schemas(offer) {
            if let Err(fault) = jsonschema::draft202012::meta::validate(&schema) {
                faults.push(format!("{place}: {fault}"));
            }
            let plain = schema["type"] == "object" && schema["properties"].is_object();
            let choice = ["oneOf", "anyOf", "allOf", "enum", "not"].iter().any(|word| schema.get(word).is_some());
            if !plain || choice {
                faults.push(format!("{place}: the root must be an object with properties and no alternatives"));
            }
        }
        if offer.tool.input_schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            faults.push(format!("{}: arguments must be closed", offer.tool.name));
        }
        if let Some(output) = &offer.tool.output_schema
            && output["required"] != serde_json::json!(["data"])
        {
            faults.push(format!("{}: an answer must only have data", offer.tool.name));
        }
    });
}

#[test]
fn schemas_keep_to_the_portable_words() {
    lint(|offer, faults| {
        for (root, schema) in schemas(offer) {
            each_schema(&root, &schema, &mut |place, schema| {
                let Some(members) = schema.as_object() else {
                    faults.push(format!("{place}: a boolean schema"));
                    return;
                };
                for word in
                    ["$schema", "$ref", "$defs", "definitions", "oneOf", "allOf", "const", "x-null", "title"]
                {
                    if members.contains_key(word) {
                        faults.push(format!("{place}: uses `{word}`"));
                    }
                }
                if let Some(format) = members.get("format") {
                    faults.push(format!("{place}: format {format}, which validators do not know"));
                }
                for bound in ["minimum", "maximum"] {
                    if members.get(bound).and_then(Value::as_f64).is_some_and(|bound| bound.abs() >= EXACT) {
                        faults.push(format!("{place}: {bound} beyond what a double holds"));
                    }
                }
            });
        }
    });
}

#[test]
fn every_schema_has_one_type_and_arguments_know_no_null() {
    lint(|offer, faults| {
        for (root, schema) in schemas(offer) {
            each_schema(&root, &schema, &mut |place, schema| {
                if schema.get("type").is_some_and(|kind| !kind.is_string()) || schema["type"] == "null" {
                    faults.push(format!("{place}: the type {}", schema["type"]));
                }
            });
        }
        let input = Value::Object(offer.tool.input_schema.as_ref().clone());
        each_schema(&offer.tool.name, &input, &mut |place, schema| {
            if schema["description"]
                .as_str()
                .is_some_and(|text| text.contains("null") && !text.contains("not send null"))
            {
                faults.push(format!("{place}: speaks of null: {}", schema["description"]));
            }
        });
        if offer.tool.description.as_deref().unwrap_or_default().contains("null") {
            faults.push(format!("{}: speaks of null", offer.tool.name));
        }
    });
}

#[test]
fn what_null_clears_over_http_can_be_cleared() {
    let names = |tool: &str| {
        let offer = catalogue().find(tool).unwrap_or_else(|| panic!("no tool {tool}"));
        offer.tool.input_schema["properties"]["clear"]["items"]["enum"].clone()
    };
    let of_a_key =
        ["name", "externalId", "meta", "expires", "credits", "credits.remaining", "credits.refill", "ratelimits"];
    assert_eq!(names("keys_updateKey"), serde_json::json!(of_a_key));
    assert_eq!(names("keys_updateCredits"), serde_json::json!(["value"]));
    assert_eq!(names("apis_updateApi"), serde_json::json!(["ipWhitelist", "defaultPrefix", "defaultBytes"]));
    assert!(names("rootKeys_createKey").is_null(), "without an expiry it has none");
    let reroll = &catalogue().find("keys_rerollKey").unwrap().tool.input_schema;
    assert_eq!(reroll["properties"]["keep"]["type"], "boolean");
    assert_eq!(reroll["required"], serde_json::json!(["keyId"]));
}

#[test]
fn texts_name_tools_and_answers_hold_no_plaintext() {
    lint(|offer, faults| {
        let name = &offer.tool.name;
        let texts = serde_json::to_string(&offer.tool).unwrap();
        for other in catalogue().offers() {
            if texts.contains(other.about.name) {
                faults.push(format!("{name}: names the operation {}", other.about.name));
            }
        }
        for (root, schema) in schemas(offer) {
            each_schema(&root, &schema, &mut |place, _| {
                if place.ends_with(".plaintext") {
                    faults.push(format!("{place}: is never answered"));
                }
            });
        }
    });
}

#[test]
fn hints_are_the_same_for_things_of_the_same_nature() {
    lint(|offer, faults| {
        let hints = offer.tool.annotations.as_ref().unwrap();
        let action = offer.about.action();
        let again = ["delete", "set", "update", "add", "remove", "get", "list", "explain"];
        let expected = match action {
            // It adds and takes, too.
            "updateCredits" => false,
            _ => again.iter().any(|verb| action.starts_with(verb)) || ["search", "whoami"].contains(&action),
        };
        if hints.idempotent_hint != Some(expected) {
            faults.push(format!("{}: idempotent {:?}", offer.tool.name, hints.idempotent_hint));
        }
    });
}

#[test]
fn answers_demand_nothing_but_data() {
    lint(|offer, faults| {
        let Some(output) = &offer.tool.output_schema else { return };
        let properties = output["properties"].clone();
        for (name, schema) in properties.as_object().unwrap() {
            each_schema(&format!("{} output.{name}", offer.tool.name), schema, &mut |place, schema| {
                if schema.get("required").is_some() || schema.get("additionalProperties") == Some(&false.into()) {
                    faults.push(format!("{place}: demands more than it may"));
                }
            });
        }
    });
}

#[test]
fn texts_are_short_and_arguments_are_described() {
    lint(|offer, faults| {
        let tool = &offer.tool;
        let description = tool.description.as_deref().unwrap_or_default();
        if description.is_empty() || description.chars().count() > DESCRIPTION {
            faults.push(format!("{}: description of {} characters", tool.name, description.chars().count()));
        }
        if tool.title.as_deref().unwrap_or_default().is_empty() {
            faults.push(format!("{}: no title", tool.name));
        }
        let input = Value::Object(tool.input_schema.as_ref().clone());
        each_schema(&tool.name, &input, &mut |place, schema| {
            let text = schema.get("description").and_then(Value::as_str);
            if text.is_some_and(|text| text.chars().count() > ARGUMENT) {
                faults.push(format!("{place}: description longer than {ARGUMENT} characters"));
            }
            if text.is_none() && place.contains('.') && !place.ends_with(']') {
                faults.push(format!("{place}: no description"));
            }
        });
    });
}

#[test]
fn all_four_hints_are_there_and_only_destruction_is_destructive() {
    lint(|offer, faults| {
        let hints = offer.tool.annotations.as_ref().unwrap();
        let all = [hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint];
        if all.iter().any(Option::is_none) || hints.open_world_hint != Some(false) {
            faults.push(format!("{}: {hints:?}", offer.tool.name));
        }
        if hints.read_only_hint == Some(true) && hints.destructive_hint == Some(true) {
            faults.push(format!("{}: reads and destroys", offer.tool.name));
        }
        let takes_agreement = offer.tool.input_schema["properties"].get("confirmToken").is_some();
        if hints.destructive_hint == Some(true) && !takes_agreement {
            faults.push(format!("{}: destroys and asks nobody", offer.tool.name));
        }
    });
}

#[test]
fn lists_default_to_a_page_that_a_conversation_can_hold() {
    lint(|offer, faults| {
        if offer.about.list.is_some() && offer.tool.input_schema["properties"]["limit"]["default"] != PAGE_SIZE {
            faults.push(format!("{}: no default page", offer.tool.name));
        }
    });
}

#[test]
fn what_assistants_are_not_offered_is_in_no_schema() {
    lint(|offer, faults| {
        for hidden in offer.about.assistants.hidden.iter().chain(&["decrypt"]) {
            if offer.tool.input_schema["properties"].get(hidden).is_some() {
                faults.push(format!("{}: shows {hidden}", offer.tool.name));
            }
        }
    });
}
