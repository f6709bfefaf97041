//! The body that a command line asks to send: given is not absent, zero and empty are values, null is cleared.

use clap::ArgMatches;
use serde_json::{Map, Value};

use super::failure::Failure;
use super::flag::{CLEAR, Flag, JSON, Kind, has_secret};
use super::input::Inputs;
use super::operation::OperationCommand;

/// The body: what `--json` says, then what flags say, which wins.
pub(super) fn body(
    command: &OperationCommand,
    matches: &ArgMatches,
    inputs: &mut Inputs,
) -> Result<Value, Failure> {
    let mut body = whole(command, matches, inputs)?;
    for flag in &command.flags {
        if let Some(value) = given(flag, matches, &body, inputs)? {
            body.insert(flag.member.to_owned(), value);
        }
    }
    let clearable = command.flags.iter().any(|flag| flag.cleared.is_some());
    if clearable {
        clear(command, matches, &mut body)?;
    }
    Ok(Value::Object(body))
}

fn whole(
    command: &OperationCommand,
    matches: &ArgMatches,
    inputs: &mut Inputs,
) -> Result<Map<String, Value>, Failure> {
    let Some(argument) = matches.get_one::<String>(JSON) else { return Ok(Map::new()) };
    let Value::Object(body) = inputs.json("--json", argument)? else {
        return Err(Failure::Usage("--json is not a JSON object".to_owned()));
    };
    if is_literal(argument) && has_secret(&body, &command.flags) {
        return Err(Failure::Usage(
            "--json contains a secret, and arguments can be seen by others: send it as @FILE or - instead"
                .to_owned(),
        ));
    }
    Ok(body)
}

fn given(
    flag: &Flag,
    matches: &ArgMatches,
    body: &Map<String, Value>,
    inputs: &mut Inputs,
) -> Result<Option<Value>, Failure> {
    let typed = flag.typed();
    let text = || matches.get_one::<String>(flag.member);
    match flag.kind {
        Kind::Scalar(_) | Kind::Boolean => Ok(matches.get_one::<Value>(flag.member).cloned()),
        Kind::List(_) => {
            let values = matches.get_many::<Value>(flag.member);
            Ok(values.map(|values| Value::Array(values.cloned().collect())))
        }
        Kind::Json => text().map(|argument| inputs.json(&typed, argument)).transpose(),
        Kind::SecretJson => match text() {
            Some(argument) if is_literal(argument) => Err(Failure::Usage(format!(
                "{typed} contains a secret, and arguments can be seen by others: send it as @FILE or - instead"
            ))),
            argument => argument.map(|argument| inputs.json(&typed, argument)).transpose(),
        },
        Kind::Secret => {
            let path = text();
            if path.is_none() && (body.contains_key(flag.member) || !flag.required) {
                return Ok(None);
            }
            let secret = inputs.secret(&typed, path.map(String::as_str))?;
            Ok(Some(secret.expose().into()))
        }
    }
}

fn clear(command: &OperationCommand, matches: &ArgMatches, body: &mut Map<String, Value>) -> Result<(), Failure> {
    let names: Vec<&String> = matches.get_many::<String>(CLEAR).into_iter().flatten().collect();
    for flag in &command.flags {
        let is_given = matches.contains_id(flag.member);
        let is_cleared = names.contains(&&flag.name);
        match &flag.cleared {
            Some(_) if is_given && is_cleared => {
                return Err(Failure::Usage(format!(
                    "{} and --clear {} exclude each other",
                    flag.typed(),
                    flag.name
                )));
            }
            Some(cleared) if is_cleared => {
                body.insert(flag.member.to_owned(), cleared.clone());
            }
            // Clap let it pass because something else is cleared.
            Some(_) if flag.required && !matches.contains_id(JSON) && !body.contains_key(flag.member) => {
                return Err(Failure::Usage(format!("{} is required", flag.typed())));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_literal(argument: &str) -> bool {
    argument != "-" && !argument.starts_with('@')
}
