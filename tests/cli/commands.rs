//! Every operation as a command that is really run: its scene's request typed as flags, its answer as the HTTP API
//! describes it.

use std::collections::BTreeSet;

use keyrack_test_harness::{Scene, Server, operations, scene};
use serde_json::{Value, json};

use crate::{Shell, keyrack};

/// `keys.createKey` as it is typed: `keys create-key`. Members become flags in the same way.
fn kebab(text: &str) -> String {
    text.chars().fold(String::new(), |mut words, letter| {
        if letter.is_ascii_uppercase() {
            words.push('-');
        }
        words.push(letter.to_ascii_lowercase());
        words
    })
}

/// A command line, and what it is given on standard input.
struct Line {
    words: Vec<String>,
    stdin: String,
}

impl Line {
    /// The command of an operation with its request as flags, which have the forms that its help shows.
    fn typed(shell: &Shell, operation: &str, schema: &Value, body: &Value) -> Line {
        let mut words = vec!["api".to_owned()];
        words.extend(operation.split('.').map(kebab));
        let help: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let help = shell.run(&help).expect(0).stdout;
        let flags: BTreeSet<&str> = help.split_whitespace().filter(|word| word.starts_with("--")).collect();
        let mut line = Line { words, stdin: String::new() };
        // A bare list is the only member of what the command takes.
        let named = match body {
            Value::Array(_) => json!({ only_flag(&flags): body }),
            _ => body.clone(),
        };
        for (member, value) in named.as_object().expect("an object") {
            let name = format!("--{}", kebab(member));
            let form = ["", "-json", "-file"].map(|form| format!("{name}{form}"));
            let form = form.iter().find(|form| flags.contains(form.as_str()));
            let form = form.unwrap_or_else(|| panic!("{operation} has no flag for {member}: {flags:?}"));
            assert!(body.is_array() || schema["properties"][member].is_object(), "{operation}: {member}");
            line.give(form, &kebab(member), value, help.contains(&format!("{form} <@FILE>")));
        }
        line
    }

    fn give(&mut self, flag: &str, name: &str, value: &Value, is_secret: bool) {
        let is_empty = value.as_array().is_some_and(Vec::is_empty);
        let mut words = |more: &[&str]| self.words.extend(more.iter().map(|word| (*word).to_owned()));
        match value {
            // What cannot be said by giving a value.
            Value::Null => words(&["--clear", name]),
            Value::Array(_) if is_empty && !flag.ends_with("-json") => words(&["--clear", name]),
            _ if flag.ends_with("-file") || is_secret => {
                words(&[flag, "-"]);
                assert!(self.stdin.is_empty(), "{flag}: there is one standard input");
                self.stdin = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            }
            _ if flag.ends_with("-json") => words(&[flag, &value.to_string()]),
            Value::Array(items) => items.iter().for_each(|item| words(&[flag, &as_typed(item)])),
            Value::Bool(_) => words(&[&format!("{flag}={value}")]),
            _ => words(&[flag, &as_typed(value)]),
        }
    }
}

fn as_typed(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The member whose flag is the only one that takes a list of objects.
fn only_flag<'a>(flags: &BTreeSet<&'a str>) -> &'a str {
    let lists: Vec<&str> =
        flags.iter().filter_map(|flag| flag.strip_prefix("--")?.strip_suffix("-json")).collect();
    assert_eq!(lists.len(), 1, "{flags:?}");
    lists[0]
}

/// The schema of a whole answer, with all that it refers to.
fn answer_of(document: &Value, operation: &str) -> jsonschema::Validator {
    let success = &document["paths"][format!("/v2/{operation}")]["post"]["responses"]["200"];
    let mut schema = success["content"]["application/json"]["schema"].clone();
    assert!(schema["properties"].is_object(), "{operation}: {success}");
    schema["components"] = document["components"].clone();
    jsonschema::validator_for(&schema).unwrap_or_else(|fault| panic!("{operation}: {fault}"))
}

async fn run_as_a_command(server: &Server, shell: &Shell, document: &Value, operation: &str) {
    let schema = &document["paths"][format!("/v2/{operation}")]["post"]["requestBody"]["content"]["application/json"]
        ["schema"];
    let Scene { body, .. } = scene(server, operation).await;
    let mut line = Line::typed(shell, operation, schema, &body);
    line.words.extend(["--output", "json"].map(str::to_owned));
    let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
    let answer = shell.run_with_stdin(&words, &line.stdin).expect(0).json();
    let faults: Vec<String> = answer_of(document, operation)
        .iter_errors(&answer)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{words:?}: {faults:?}\n{answer:#}");
}

#[tokio::test]
async fn every_operation_is_a_command_that_does_it() {
    let server = keyrack().await;
    let shell = Shell::beside(&server);
    let document = server.get("/openapi.json").await.expect(200).body;
    for operation in operations(&server).await {
        run_as_a_command(&server, &shell, &document, operation).await;
    }
}
