//! The words of `--help`, made from the catalogue: what a flag takes, and an example that works.

use keyrack_core::schema::{describe, outline};
use serde_json::Value;

use super::flag::{Flag, Kind, choices};
use super::operation::OperationCommand;

/// What a flag is for and what it takes.
pub(super) fn of_flag(flag: &Flag) -> String {
    let mut help = sentence(flag.schema["description"].as_str().unwrap_or_default());
    let takes = match flag.kind {
        // What a boolean takes is in the usage.
        Kind::Boolean => String::new(),
        Kind::Scalar(_) if choices(flag.schema).is_some() => String::new(),
        Kind::Scalar(_) => capitalized(&flag.bounds()),
        Kind::List(_) => format!("Repeat it for {}, each {}", flag.bounds(), describe(&flag.schema["items"])),
        Kind::Json => format!("JSON such as {}, @FILE, or - for standard input", outline(&flag.value_schema())),
        Kind::SecretJson => {
            format!("JSON such as {} as @FILE, or - for standard input", outline(&flag.value_schema()))
        }
        Kind::Secret => format!("A file that holds it, or - for standard input, the default; {}", flag.bounds()),
    };
    if !takes.is_empty() {
        help.push(' ');
        help.push_str(&sentence(&takes));
    }
    // Some members say in their own words what happens without them, which is nearer to the truth.
    let default = flag.schema.get("default").filter(|default| !default.is_null() && !default.is_array());
    if let Some(default) = default.filter(|_| !help.contains("default:")) {
        help.push_str(&format!(" [default: {default}]"));
    }
    if flag.required && flag.kind != Kind::Secret {
        help.push_str(" [required]");
    }
    help
}

/// The usage of a command: what is required, by name.
pub(super) fn usage(command: &OperationCommand) -> String {
    let required = command.flags.iter().filter(|flag| flag.required).map(|flag| match flag.kind {
        Kind::Boolean => flag.typed(),
        // It may also come from standard input.
        Kind::Secret => format!("[{} <{}>]", flag.typed(), flag.value_name()),
        _ => format!("{} <{}>", flag.typed(), flag.value_name()),
    });
    let words = ["keyrack api".to_owned(), command.namespace.clone(), command.action.clone()].into_iter();
    words.chain(required).chain(["[OPTIONS]".to_owned()]).collect::<Vec<_>>().join(" ")
}

/// How to call an operation: what is required, and if that only says on what, something to do with it.
pub(super) fn example(command: &OperationCommand) -> String {
    let mut words = vec!["keyrack api".to_owned(), command.namespace.clone(), command.action.clone()];
    let required: Vec<&Flag> = command.flags.iter().filter(|flag| flag.required).collect();
    words.extend(required.iter().map(|flag| example_of(flag)));
    let only_ids = required.iter().all(|flag| flag.member.ends_with("Id"));
    if command.about.effect == keyrack_core::catalogue::Effect::Write && only_ids {
        let optional = |flag: &&Flag| !flag.required && matches!(flag.kind, Kind::Scalar(_));
        let named = command.flags.iter().filter(optional).find(|flag| flag.member == "name");
        words.extend(named.or_else(|| command.flags.iter().find(optional)).map(example_of));
    }
    words.join(" ")
}

fn example_of(flag: &Flag) -> String {
    let typed = flag.typed();
    match flag.kind {
        Kind::Boolean => typed,
        Kind::Secret => format!("{typed} {}.txt", flag.name),
        Kind::Json | Kind::SecretJson => format!("{typed} @{}.json", flag.name),
        Kind::Scalar(_) => format!("{typed} {}", example_value(flag.member, flag.schema)),
        Kind::List(_) => format!("{typed} {}", example_value(flag.member, &flag.schema["items"])),
    }
}

fn example_value(member: &str, schema: &'static Value) -> String {
    if let Some(first) = choices(schema).and_then(|choices| choices.first().copied()) {
        return first.to_owned();
    }
    let number = schema.get("default").or_else(|| schema.get("minimum")).filter(|value| value.is_number());
    match (number, member) {
        (Some(number), _) => number.to_string(),
        // What users call things themselves has no prefix of ours.
        (None, "externalId") => "user_42".to_owned(),
        (None, "name") => "\"Mobile\"".to_owned(),
        (None, _) => member.strip_suffix("Id").map_or_else(|| "example".to_owned(), |kind| format!("{kind}_…")),
    }
}

fn sentence(text: &str) -> String {
    let text = text.trim().replace('\n', " ");
    if text.is_empty() || text.ends_with('.') { text } else { format!("{text}.") }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
