//! The vendored contract facts (`tests/contract/`), with references resolved and the newer contract laid over
//! the older one, so that a test sees one self-contained schema per operation.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// What the contract says about one operation.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Schema of the request body without references.
    pub(crate) request: Value,
    /// Schema of `data` without references; each named schema carries its name as `x-schema`.
    pub(crate) data: Option<Value>,
    pub(crate) paginated: bool,
}

/// Everything below `tests/contract/`.
#[derive(Debug)]
pub(crate) struct Facts {
    v2: Value,
    newer: Value,
    keyrack: Value,
    audit: Value,
    pub(crate) errors: Value,
    pub(crate) permissions: Value,
    pub(crate) deviations: Value,
}

static FACTS: LazyLock<Facts> = LazyLock::new(Facts::load);

/// The facts, read once.
pub(crate) fn facts() -> &'static Facts {
    &FACTS
}

impl Facts {
    fn load() -> Self {
        let parse = |text| serde_json::from_str::<Value>(text).expect("a vendored file is JSON");
        let deviations = parse(include_str!("../../contract/deviations.json"));
        let mut v2 = parse(include_str!("../../contract/v2.json"));
        for line in deviations["schemas"].as_array().expect("a list") {
            mend_schema(&mut v2, line);
        }
        Self {
            v2,
            newer: parse(include_str!("../../contract/v2-newer.json")),
            keyrack: parse(include_str!("../../contract/keyrack.json")),
            audit: parse(include_str!("../../contract/audit-events.json")),
            errors: parse(include_str!("../../contract/errors.json")),
            permissions: parse(include_str!("../../contract/permissions.json")),
            deviations,
        }
    }

    /// What the contract says about this operation, if it knows it.
    pub(crate) fn operation(&self, name: &str) -> Option<Operation> {
        let stated =
            [&self.v2, &self.newer, &self.keyrack].into_iter().find_map(|file| file["operations"].get(name))?;
        let mut request = self.inline(&stated["request"]["schema"]);
        let stated_data = stated["success"]["200"].get("data").filter(|schema| !schema.is_null());
        let mut data = stated_data.map(|schema| self.inline(schema));
        if let Some(changed) = self.newer["changed"].get(name) {
            overlay(&mut request, &changed["request"]);
            if let Some(data) = &mut data {
                overlay(data, &changed["response"]);
            }
        }
        let extended = &self.keyrack["extended"][name];
        extend(&mut request, &self.inline(&extended["request"]));
        if let Some(data) = &mut data {
            extend(data, &self.inline(&extended["data"]));
        }
        Some(Operation {
            method: stated["method"].as_str()?.to_owned(),
            path: stated["path"].as_str()?.to_owned(),
            request,
            data,
            paginated: stated["paginated"] == true,
        })
    }

    /// Every operation of Unkey's API.
    pub(crate) fn operations(&self) -> Vec<&str> {
        let files = [&self.v2, &self.newer].into_iter().filter_map(|file| file["operations"].as_object());
        files.flatten().map(|(name, _)| name.as_str()).collect()
    }

    /// The permission expression of an operation: `{check, conditional?, onDenied}`. A ruling decides where it and
    /// the contract differ.
    pub(crate) fn permission(&self, name: &str) -> Option<&Value> {
        self.permissions["operations"]
            .get(name)
            .or_else(|| self.keyrack["permissions"].get(name))
            .or_else(|| self.newer["permissions"]["operations"].get(name))
    }

    /// The events of an operation in their order, each `{event, targets, when}`; empty for one that writes none.
    pub(crate) fn audit_events(&self, operation: &str) -> Vec<Value> {
        let stated = self.audit["operations"]
            .get(operation)
            .or_else(|| self.keyrack["auditEvents"]["operations"].get(operation));
        let mut lines = stated.and_then(Value::as_array).cloned().unwrap_or_default();
        for line in self.deviations["auditEvents"].as_array().expect("a list") {
            let path = line["path"].as_str().expect("a path");
            let (path, at) = path.split_once('/').unwrap_or((path, ""));
            if let (true, Ok(at)) = (path == operation, at.parse::<usize>()) {
                assert!(line["ruling"].is_string(), "no ruling: {line}");
                assert_eq!(line["contract"], Value::Null, "events are only added: {line}");
                let event = &line["keyrack"]["event"];
                assert!(!lines.iter().any(|known| known["event"] == *event), "the contract has it: {line}");
                lines.insert(at, line["keyrack"].clone());
            }
        }
        lines
    }

    /// Whether an operation is said to write no events.
    pub(crate) fn writes_no_events(&self, operation: &str) -> bool {
        let lists =
            [&self.audit["operationsWithoutEvents"], &self.keyrack["auditEvents"]["operationsWithoutEvents"]];
        lists.into_iter().filter_map(Value::as_array).flatten().any(|known| known == operation)
    }

    /// Every operation that writes events.
    pub(crate) fn operations_with_events(&self) -> Vec<&str> {
        let lists = [&self.audit["operations"], &self.keyrack["auditEvents"]["operations"]];
        lists.into_iter().filter_map(Value::as_object).flatten().map(|(name, _)| name.as_str()).collect()
    }

    /// Whether the events of an operation have a correlation id even if there is only one.
    pub(crate) fn always_correlated(&self, operation: &str) -> bool {
        self.audit["alwaysCorrelated"].as_array().expect("a list").iter().any(|known| known == operation)
    }

    /// Every event that some operation writes, without those of the portal.
    pub(crate) fn emitted_events(&self) -> Vec<&str> {
        let events = self.audit["events"].as_array().expect("a list").iter();
        let emitted = events.filter(|event| event["emittedByInScopeOperation"] == true);
        emitted.filter(|event| event["group"] != "portal").filter_map(|event| event["event"].as_str()).collect()
    }

    /// Members of the named schema that are left out when empty (R30).
    pub(crate) fn omitted_when_empty(&self, schema: &str) -> Vec<&str> {
        [&self.v2, &self.newer, &self.keyrack]
            .into_iter()
            .filter_map(|file| file["omittedWhenEmpty"][schema].as_array())
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// The schema of a named shape, such as `Pagination`, without references.
    pub(crate) fn schema(&self, name: &str) -> Value {
        self.inline(&json!({ "$ref": format!("#/schemas/{name}") }))
    }

    fn inline(&self, schema: &Value) -> Value {
        match schema {
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                    let name = reference.rsplit('/').next().unwrap_or_default();
                    let target = [&self.v2, &self.newer, &self.keyrack]
                        .into_iter()
                        .find_map(|file| file["schemas"].get(name))
                        .unwrap_or_else(|| panic!("{reference} leads nowhere"));
                    let mut inlined = self.inline(target);
                    inlined["x-schema"] = json!(name);
                    return inlined;
                }
                let inlined = members.iter().map(|(name, value)| (name.clone(), self.inline(value)));
                Value::Object(inlined.collect())
            }
            Value::Array(items) => items.iter().map(|item| self.inline(item)).collect(),
            other => other.clone(),
        }
    }
}

/// Replaces a known defect of the contract's schemas; fails when the defect is not there any more.
fn mend_schema(v2: &mut Value, line: &Value) {
    let path = line["path"].as_str().expect("a deviation has a path");
    let (parent, member) = path.rsplit_once('/').expect("a pointer has segments");
    let parent = v2
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .unwrap_or_else(|| panic!("deviations.json: {path} leads nowhere"));
    assert_eq!(parent.get(member), Some(&line["contract"]), "deviations.json: {path} has changed in the contract");
    if line["keyrack"].is_null() {
        parent.remove(member);
    } else {
        parent.insert(member.to_owned(), line["keyrack"].clone());
    }
}

/// Adds the members that Keyrack adds, each at its JSON pointer, to a schema that has them not.
fn extend(schema: &mut Value, added: &Value) {
    for (pointer, member) in added.as_object().into_iter().flatten() {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer has segments");
        let parent = schema.pointer_mut(parent).and_then(Value::as_object_mut);
        let parent = parent.unwrap_or_else(|| panic!("keyrack.json: {pointer} leads nowhere"));
        let known = parent.insert(name.to_owned(), member.clone());
        assert_eq!(known, None, "keyrack.json: the contract has {pointer} by now");
    }
}

/// Lays `{added, removed, changed, oneOf}` of the newer contract over a schema.
fn overlay(schema: &mut Value, change: &Value) {
    let empty = Map::new();
    let section = |name: &str| change[name].as_object().unwrap_or(&empty);
    for (name, added) in section("added") {
        let name = name.strip_prefix("data.").unwrap_or(name);
        schema["properties"][name] = added["schema"].clone();
        if added["required"] == true
            && let Some(required) = schema["required"].as_array_mut()
        {
            required.push(json!(name));
        }
    }
    for (name, changed) in section("changed") {
        if changed["from"].get("$ref").is_some() {
            schema["properties"][name] = json!({});
        }
        if changed["required"].is_string()
            && let Some(required) = schema["required"].as_array_mut()
        {
            required.retain(|known| known != name);
        }
        let property = &mut schema["properties"][name];
        for (keyword, value) in changed["to"].as_object().unwrap_or(&empty) {
            property[keyword] = value.clone();
        }
    }
    if let Some(choice) = change.get("oneOf") {
        schema["oneOf"] = choice.clone();
    }
    for name in change["removed"].as_array().into_iter().flatten() {
        if let (Some(name), Some(properties)) = (name.as_str(), schema["properties"].as_object_mut()) {
            properties.remove(name);
        }
    }
}
