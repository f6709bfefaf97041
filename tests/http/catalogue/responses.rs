//! Checks every answer of every test against the contract: shape of `data`, members left out when empty, error
//! status and title. Installed in each [`keyrack_test_harness::Client`] that a test gets from `crate::program`.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use keyrack_test_harness::Answer;
use serde_json::{Value, json};

use crate::catalogue::facts::facts;

static VALIDATORS: LazyLock<Mutex<HashMap<String, jsonschema::Validator>>> = LazyLock::new(Mutex::default);

/// Panics when an answer of an operation breaks the contract.
#[track_caller]
pub(crate) fn check(answer: &Answer) {
    if answer.status >= 400 {
        check_error(answer);
        return;
    }
    let Some(operation) = facts().operation(&answer.asked) else {
        return;
    };
    let schema = operation.data.clone();
    let mut members = vec!["meta"];
    if let Some(schema) = &schema {
        members.push("data");
        assert_matches(&answer.asked, schema, answer.data(), answer);
        let mut faults = Vec::new();
        find_empty_members(schema, answer.data(), "data", &mut faults);
        assert!(faults.is_empty(), "{}: sent although empty: {faults:?}\n{}", answer.asked, answer.text);
    }
    if operation.paginated {
        members.push("pagination");
        let pagination = facts().schema("Pagination");
        assert_matches("pagination", &pagination, &answer.body["pagination"], answer);
    }
    let sent: Vec<&String> = answer.body.as_object().into_iter().flatten().map(|(name, _)| name).collect();
    assert_eq!(sent.len(), members.len(), "{}: members {sent:?}, due {members:?}", answer.asked);
}

#[track_caller]
fn assert_matches(name: &str, schema: &Value, value: &Value, answer: &Answer) {
    let mut validators = VALIDATORS.lock().expect("no test panics while holding it");
    let validator = validators.entry(name.to_owned()).or_insert_with(|| {
        jsonschema::validator_for(schema).unwrap_or_else(|fault| panic!("schema of {name}: {fault}"))
    });
    let faults: Vec<String> =
        validator.iter_errors(value).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    drop(validators);
    assert!(faults.is_empty(), "{}: not as the contract says: {faults:#?}\n{}", answer.asked, answer.text);
}

/// Walks a value along its schema and collects members that R30 wants left out.
fn find_empty_members(schema: &Value, value: &Value, path: &str, faults: &mut Vec<String>) {
    if let (Some(name), Some(members)) = (schema["x-schema"].as_str(), value.as_object()) {
        for member in facts().omitted_when_empty(name) {
            if members.get(member).is_some_and(is_empty) {
                faults.push(format!("{path}.{member}"));
            }
        }
    }
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                if let Some(inner_schema) = schema["properties"].get(name) {
                    find_empty_members(inner_schema, inner, &format!("{path}.{name}"), faults);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_empty_members(&schema["items"], item, &format!("{path}[{index}]"), faults);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Status and title that belong to a code: those of errors.json, or the listed deviation.
pub(crate) fn status_and_title(code: &str) -> Option<(Value, Value)> {
    let stated = facts().errors["codes"]
        .as_array()?
        .iter()
        .find(|known| known["doc_path"] == format!("/docs/errors/{code}"));
    let member = |name: &str| {
        let path = format!("{code}/{name}");
        let deviation = facts().deviations["errors"].as_array()?.iter().find(|line| line["path"] == path);
        let in_contract = stated.map_or(Value::Null, |known| known[name].clone());
        match deviation {
            None => stated.map(|known| known[name].clone()),
            Some(line) => {
                assert_eq!(line["contract"], in_contract, "deviations.json: {path} has changed in the contract");
                Some(line["keyrack"].clone())
            }
        }
    };
    Some((member("status")?, member("title")?))
}

#[track_caller]
fn check_error(answer: &Answer) {
    let code = answer.code();
    let Some((status, title)) = status_and_title(&code) else {
        panic!("{}: errors.json has no {code:?}: {}", answer.asked, answer.text);
    };
    let error = answer.error();
    assert_eq!(
        (&error["status"], &error["title"]),
        (&status, &title),
        "{}: status and title of {code}: {}",
        answer.asked,
        answer.text
    );
    for fault in error["errors"].as_array().into_iter().flatten() {
        for member in ["location", "message", "fix"] {
            let text = fault[member].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{}: a fault without {member}: {}", answer.asked, answer.text);
        }
    }
    assert_ne!(error["title"], json!(""), "{}", answer.asked);
}
