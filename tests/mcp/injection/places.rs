//! Where a tool takes texts.

use serde_json::{Value, json};

/// A step on the way to a place.
#[derive(Debug, Clone)]
enum Step {
    Member(String),
    First,
}

/// A place in arguments that takes a text.
#[derive(Debug, Clone)]
pub(super) struct Place {
    steps: Vec<Step>,
    /// Any JSON object: the text is planted as a member's value and as a member's name.
    is_free: bool,
}

impl Place {
    /// Puts a text there, with the objects and lists around it that are not there yet.
    pub(super) fn put(&self, arguments: &mut Value, text: &str) {
        let mut place = arguments;
        for step in &self.steps {
            place = match step {
                Step::Member(name) => &mut place[name.as_str()],
                Step::First => {
                    if place.as_array().is_none_or(Vec::is_empty) {
                        *place = json!([null]);
                    }
                    &mut place[0]
                }
            };
        }
        *place = if self.is_free { json!({ "planted": text, text: [text] }) } else { text.into() };
    }
}

/// Every member of a schema that takes a text of the caller's own: no choice of several, and no secret that says the user
/// agreed.
pub(super) fn text_members(schema: &Value) -> Vec<Place> {
    let mut places = Vec::new();
    walk(schema, &mut Vec::new(), &mut places);
    places
}

fn walk(schema: &Value, steps: &mut Vec<Step>, places: &mut Vec<Place>) {
    match schema["type"].as_str() {
        Some("string") if schema.get("enum").is_none() => {
            places.push(Place { steps: steps.clone(), is_free: false })
        }
        Some("array") => {
            steps.push(Step::First);
            walk(&schema["items"], steps, places);
            steps.pop();
        }
        Some("object") => match schema["properties"].as_object() {
            Some(properties) => {
                for (name, property) in properties.iter().filter(|(name, _)| *name != "confirmToken") {
                    steps.push(Step::Member(name.clone()));
                    walk(property, steps, places);
                    steps.pop();
                }
            }
            None => places.push(Place { steps: steps.clone(), is_free: true }),
        },
        _ => {}
    }
}
