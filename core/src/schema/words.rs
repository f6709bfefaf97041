//! Schemas in words, for people who read faults, pages and help.

use serde_json::Value;

/// What a schema allows, in words: `an integer from 1 to 100`.
pub fn describe(schema: &Value) -> String {
    if let Some(Value::Array(values)) = schema.get("enum") {
        let texts: Vec<_> = values.iter().map(Value::to_string).collect();
        return format!("one of {}", texts.join(", "));
    }
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return "any JSON value".to_owned(),
    };
    let words: Vec<_> = kinds.iter().map(|kind| describe_kind(kind, schema)).collect();
    words.join(" or ")
}

fn describe_kind(kind: &str, schema: &Value) -> String {
    let bound = |name: &str| schema.get(name).filter(|bound| bound.is_number()).map(Value::to_string);
    let counted = |least: Option<String>, most: Option<String>, unit: &str| match (least, most) {
        (Some(least), Some(most)) => format!(" of {least} to {most} {unit}s"),
        (Some(least), None) => format!(" of at least {least} {unit}{}", if least == "1" { "" } else { "s" }),
        (None, Some(most)) => format!(" of at most {most} {unit}s"),
        (None, None) => String::new(),
    };
    match kind {
        "string" => {
            let pattern = schema.get("pattern").and_then(Value::as_str);
            let pattern = pattern.map(|pattern| format!(" that matches {pattern}")).unwrap_or_default();
            format!("a string{}{pattern}", counted(bound("minLength"), bound("maxLength"), "character"))
        }
        "integer" | "number" => {
            let article = if kind == "integer" { "an integer" } else { "a number" };
            match (bound("minimum"), bound("maximum")) {
                (Some(least), Some(most)) => format!("{article} from {least} to {most}"),
                (Some(least), None) => format!("{article} of at least {least}"),
                (None, Some(most)) => format!("{article} of at most {most}"),
                (None, None) => article.to_owned(),
            }
        }
        "boolean" => "true or false".to_owned(),
        "array" => format!("an array{}", counted(bound("minItems"), bound("maxItems"), "item")),
        "object" => format!("an object{}", counted(bound("minProperties"), bound("maxProperties"), "member")),
        other => other.to_owned(),
    }
}

/// The outline of JSON that a schema describes: `{remaining, refill?: {interval, amount, refillDay?}}`.
pub fn outline(schema: &Value) -> String {
    if let Some(items) = schema.get("items") {
        return format!("[{}, …]", outline(items));
    }
    let Some(members) = schema["properties"].as_object() else {
        return match schema["type"].as_str() {
            Some("object") => r#"{"any": "member"}"#.to_owned(),
            _ => "a value".to_owned(),
        };
    };
    let required = schema["required"].as_array();
    let outline = members.iter().map(|(name, schema)| {
        let is_required = required.is_some_and(|names| names.iter().any(|required| required == name));
        let optional = if is_required { "" } else { "?" };
        if schema.get("properties").or_else(|| schema.get("items")).is_some() {
            format!("{name}{optional}: {}", outline(schema))
        } else {
            format!("{name}{optional}")
        }
    });
    format!("{{{}}}", outline.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_outline_marks_what_is_optional() {
        let schema = json!({
            "type": "object",
            "required": ["remaining"],
            "properties": {
                "remaining": { "type": "integer" },
                "refills": { "type": "array", "items": {
                    "type": "object", "properties": { "amount": { "type": "integer" } },
                }},
            },
        });
        assert_eq!(outline(&schema), "{remaining, refills?: [{amount?}, …]}");
        assert_eq!(outline(&json!({ "type": "object" })), r#"{"any": "member"}"#);
    }
}
