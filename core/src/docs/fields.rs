//! A schema as a list of members, for people.

use serde_json::Value;

use crate::schema::describe;

/// A member of a request or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Where it is: `ratelimits[].name`.
    pub path: String,
    /// What it may be: `a string of 3 to 255 characters`.
    pub kind: String,
    /// Whether it must be there.
    pub required: bool,
    /// What it is for.
    pub text: String,
}

/// The members of a schema, outer ones before inner ones.
pub(super) fn of(schema: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    collect("", schema, &mut fields);
    fields
}

fn collect(path: &str, schema: &Value, fields: &mut Vec<Field>) {
    let required = |name: &str| {
        let names = schema["required"].as_array().into_iter().flatten();
        names.into_iter().any(|required| required == name)
    };
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let text = member["description"].as_str().unwrap_or_default();
        fields.push(Field {
            path: path.clone(),
            kind: kind(member),
            required: required(name),
            text: text.replace('\n', " "),
        });
        collect(&path, member, fields);
    }
    if let Some(items) = schema.get("items") {
        collect(&format!("{path}[]"), items, fields);
    }
}

/// What a value may be, with its bounds, and what an absent one counts as.
fn kind(schema: &Value) -> String {
    let mut words = describe(schema);
    if let Some(items) = schema.get("items") {
        words = format!("{words}; each item {}", kind(items));
    }
    match schema.get("default") {
        Some(default) => format!("{words}; {default} unless sent"),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_listed_with_their_place_type_and_bounds() {
        let schema = json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "minLength": 3, "maxLength": 9, "description": "For\npeople."},
                "limits": {
                    "type": ["array", "null"], "maxItems": 2,
                    "items": {
                        "type": "object",
                        "properties": {"cost": {"type": "integer", "minimum": 0, "default": 1}},
                    },
                },
                "mode": {"type": "string", "enum": ["a", "b"]},
            },
        });
        let fields = of(&schema);
        let lines: Vec<String> =
            fields.iter().map(|field| format!("{} ({}): {}", field.path, field.kind, field.text)).collect();
        assert_eq!(
            lines,
            [
                "name (a string of 3 to 9 characters): For people.",
                "limits (an array of at most 2 items or null; each item an object): ",
                "limits[].cost (an integer of at least 0; 1 unless sent): ",
                "mode (one of \"a\", \"b\"): ",
            ]
        );
        assert_eq!(fields.iter().map(|field| field.required).collect::<Vec<_>>(), [true, false, false, false]);
    }
}
