//! A schema as a list of members, for people.

use serde_json::Value;

/// A member of a request or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Where it is: `ratelimits[].name`.
    pub path: String,
    /// What it may be: `string, 3 to 255 characters`.
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

/// What a value may be, with its bounds.
fn kind(schema: &Value) -> String {
    let mut parts = vec![name_of_type(schema)];
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(Value::to_string).collect();
        parts.push(values.join(" | "));
    }
    parts.extend(bounds(schema, "minimum", "maximum", ""));
    parts.extend(bounds(schema, "minLength", "maxLength", " characters"));
    parts.extend(bounds(schema, "minItems", "maxItems", " items"));
    if let Some(default) = schema.get("default") {
        parts.push(format!("default {default}"));
    }
    parts.join(", ")
}

fn name_of_type(schema: &Value) -> String {
    let one = |name: &Value| match (name.as_str(), schema.get("items")) {
        (Some("array"), Some(items)) => format!("array of {}", name_of_type(items)),
        (Some(name), _) => name.to_owned(),
        (None, _) => "any".to_owned(),
    };
    match &schema["type"] {
        Value::Array(names) => names.iter().map(one).collect::<Vec<_>>().join(" or "),
        name => one(name),
    }
}

fn bounds(schema: &Value, least: &str, most: &str, unit: &str) -> Option<String> {
    match (schema.get(least), schema.get(most)) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
        (Some(least), None) => Some(format!("at least {least}{unit}")),
        (None, Some(most)) => Some(format!("at most {most}{unit}")),
        (None, None) => None,
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
                "name (string, 3 to 9 characters): For people.",
                "limits (array of object or null, at most 2 items): ",
                "limits[].cost (integer, at least 0, default 1): ",
                "mode (string, \"a\" | \"b\"): ",
            ]
        );
        assert_eq!(fields.iter().map(|field| field.required).collect::<Vec<_>>(), [true, false, false, false]);
    }
}
