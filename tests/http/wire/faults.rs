//! Makes wrong requests from a request schema: for every field one request per bound, each wrong in one place.

use keyrack_test_harness::operations;
use serde_json::{Map, Value, json};

/// A request body that is wrong in one place.
#[derive(Debug)]
pub(crate) struct Fault {
    /// What is wrong, for the test's report.
    pub(crate) what: &'static str,
    /// Where the server must say it is, such as `body.ratelimits[0].limit`.
    pub(crate) location: String,
    pub(crate) body: Value,
}

const OUTSIDE_THE_PATTERN: [&str; 2] = ["a character outside the pattern", "a line break at the end"];

impl Fault {
    pub(crate) fn is_about_a_pattern(&self) -> bool {
        OUTSIDE_THE_PATTERN.contains(&self.what)
    }
}

/// A body with every member of the schema, each within its bounds; of members that exclude each other the first.
pub(crate) fn sample(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    if schema["format"] == "address-or-network" {
        return json!("192.0.2.0/24");
    }
    match kind(schema) {
        "string" => json!("a".repeat(usize_of(&schema["minLength"]).max(3))),
        "integer" | "number" => json!(schema["minimum"].as_u64().unwrap_or(1).max(1)),
        "boolean" => json!(false),
        "array" => json!([sample(&schema["items"])]),
        "object" => {
            let members = schema["properties"].as_object().into_iter().flatten();
            let others = schema["oneOf"].as_array().into_iter().flatten().skip(1);
            let left_out: Vec<&Value> =
                others.filter_map(|other| other["required"].as_array()).flatten().collect();
            let members = members.filter(|(name, _)| !left_out.iter().any(|left_out| *left_out == *name));
            Value::Object(members.map(|(name, inner)| (name.clone(), sample_of(name, inner))).collect())
        }
        other => panic!("no sample of {other:?}: {schema}"),
    }
}

/// The same for a member. The contract lets windows of every length through the schema and refuses the short ones
/// behind it (R13); ours does it in one place.
fn sample_of(name: &str, schema: &Value) -> Value {
    if name == "duration" { json!(60_000) } else { sample(schema) }
}

/// Every fault of the whole body; none where the contract knows no body.
pub(crate) fn faults(schema: &Value) -> Vec<Fault> {
    if schema.is_null() {
        return Vec::new();
    }
    let whole = sample(schema);
    let mut found = Vec::new();
    Place { pointer: String::new(), location: "body".to_owned() }.collect(schema, &whole, &mut found);
    found
}

/// A place inside the body: as a JSON pointer, and in the words of the server.
struct Place {
    pointer: String,
    location: String,
}

impl Place {
    fn collect(&self, schema: &Value, whole: &Value, found: &mut Vec<Fault>) {
        for (what, wrong) in wrong_values(schema) {
            found.push(self.fault(what, &self.location, whole, |place| *place = wrong));
        }
        self.collect_members(schema, whole, found);
        if schema["items"].is_object() {
            let first = Self { pointer: format!("{}/0", self.pointer), location: format!("{}[0]", self.location) };
            first.collect(&schema["items"], whole, found);
        }
    }

    fn collect_members(&self, schema: &Value, whole: &Value, found: &mut Vec<Fault>) {
        if kind(schema) != "object" {
            return;
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let location = format!("{}.{name}", self.location);
            found.push(self.fault("a required member is missing", &location, whole, |place| {
                place.as_object_mut().and_then(|members| members.remove(name));
            }));
        }
        if schema["additionalProperties"] == false {
            let location = format!("{}.noSuchMember", self.location);
            found.push(self.fault("an unknown member", &location, whole, |place| {
                place["noSuchMember"] = json!(1);
            }));
        }
        let place = whole.pointer(&self.pointer).unwrap_or_else(|| panic!("the sample has no {}", self.pointer));
        let properties = schema["properties"].as_object().into_iter().flatten();
        for (name, inner) in properties.filter(|(name, _)| place.get(name.as_str()).is_some()) {
            let member = Self {
                pointer: format!("{}/{name}", self.pointer),
                location: format!("{}.{name}", self.location),
            };
            member.collect(inner, whole, found);
        }
    }

    fn fault(&self, what: &'static str, location: &str, whole: &Value, spoil: impl FnOnce(&mut Value)) -> Fault {
        let mut body = whole.clone();
        let place =
            body.pointer_mut(&self.pointer).unwrap_or_else(|| panic!("the sample has no {}", self.pointer));
        spoil(place);
        Fault { what, location: location.to_owned(), body }
    }
}

/// Values just outside each bound of the schema, and values of another type.
fn wrong_values(schema: &Value) -> Vec<(&'static str, Value)> {
    let mut wrong = Vec::new();
    if !allows_null(schema) {
        wrong.push(("null", Value::Null));
    }
    match kind(schema) {
        "string" => wrong_strings(schema, &mut wrong),
        "integer" | "number" => wrong_numbers(schema, &mut wrong),
        "boolean" => wrong.push(("a text for a boolean", json!("true"))),
        "array" => {
            wrong.push(("an object for an array", json!({})));
            if let Some(most) = schema["maxItems"].as_u64() {
                let item = sample(&schema["items"]);
                wrong.push(("one item too many", json!(vec![item; usize_from(most) + 1])));
            }
        }
        "object" => {
            wrong.push(("an array for an object", json!([])));
            if let Some(most) = schema["maxProperties"].as_u64() {
                let members: Map<String, Value> = (0..=most).map(|n| (format!("m{n}"), json!(n))).collect();
                wrong.push(("one member too many", Value::Object(members)));
            }
        }
        other => panic!("no wrong value of {other:?}"),
    }
    wrong
}

fn wrong_strings(schema: &Value, wrong: &mut Vec<(&'static str, Value)>) {
    wrong.push(("a number for a text", json!(42)));
    match usize_of(&schema["minLength"]) {
        0 => {}
        least => wrong.push(("one character too short", json!("a".repeat(least - 1)))),
    }
    if let Some(most) = schema["maxLength"].as_u64() {
        wrong.push(("one character too long", json!("a".repeat(usize_from(most) + 1))));
    }
    if schema["pattern"].is_string() {
        wrong.push((OUTSIDE_THE_PATTERN[0], json!("aaaaaaaa!")));
        wrong.push((OUTSIDE_THE_PATTERN[1], json!("aaaaaaaa\n")));
    }
    if schema["enum"].is_array() {
        wrong.push(("none of the allowed words", json!("no-such-word")));
    }
}

fn wrong_numbers(schema: &Value, wrong: &mut Vec<(&'static str, Value)>) {
    wrong.push(("a text for a number", json!("1")));
    if kind(schema) == "integer" {
        wrong.push(("a fraction", json!(1500.5)));
    }
    if let Some(least) = schema["minimum"].as_i64() {
        wrong.push(("one too small", json!(least - 1)));
    }
    if let Some(most) = schema["maximum"].as_u64() {
        wrong.push(("one too large", json!(most + 1)));
    }
}

fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(one) => one,
        Value::Array(many) => {
            many.iter().filter_map(Value::as_str).find(|word| *word != "null").unwrap_or_default()
        }
        _ => "",
    }
}

fn allows_null(schema: &Value) -> bool {
    schema["type"].as_array().is_some_and(|kinds| kinds.contains(&json!("null")))
}

fn usize_of(value: &Value) -> usize {
    value.as_u64().map_or(0, usize_from)
}

fn usize_from(value: u64) -> usize {
    usize::try_from(value).expect("a bound fits the address space")
}

#[tokio::test]
async fn the_sample_is_right_and_every_fault_is_wrong_by_the_contracts_own_schema() {
    let server = crate::program().start().await;
    for name in operations(&server).await {
        let operation = crate::catalogue::facts::facts()
            .operation(name)
            .unwrap_or_else(|| panic!("{name} is not in tests/contract/keyrack.json"));
        let schema = &operation.request;
        if schema.is_null() {
            continue;
        }
        assert!(jsonschema::is_valid(schema, &sample(schema)), "{name}: {}", sample(schema));
        for fault in faults(schema) {
            let named = format!("{name}: {} at {}", fault.what, fault.location);
            assert!(!jsonschema::is_valid(schema, &fault.body), "{named} is no fault");
        }
    }
}
