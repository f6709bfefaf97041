//! `keyrack api <namespace> <operation>`: every operation of the catalogue as a command.
//!
//! Nothing here names an operation. A visitor of the catalogue makes a command of each: its flags are the
//! members of the request's schema, its help is the operation's own words. A command builds the body,
//! calls the server over HTTP and shows the answer; what bodies may contain is the server's to say.

mod body;
mod confirmation;
pub(crate) mod connection;
mod failure;
mod flag;
mod help;
mod input;
mod operation;

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use keyrack_core::catalogue::About;
use keyrack_core::schema::AnsweredSecrets;
use serde_json::{Value, json};

use crate::remote::{Answer, Remote};
use crate::settings::OUTPUT_AS_JSON;
use crate::{stdout, table};
pub(crate) use failure::Failure;
use flag::{CLEAR, JSON};
pub(crate) use input::Inputs;
use operation::{OperationCommand, commands};

const ALL: &str = "--all";

/// The command tree below `keyrack api`.
pub(crate) fn command() -> Command {
    let output = OUTPUT_AS_JSON.facts().flag().global(true).help_heading("Output");
    Command::new("api")
        .about("Calls the operations of a server: create keys, verify them, list, change, delete")
        .args(connection::arguments())
        .arg(output)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand_value_name("NAMESPACE")
        .subcommand_help_heading("Namespaces")
        // Schemas are only generated for those who call operations.
        .defer(with_namespaces)
}

fn with_namespaces(api: Command) -> Command {
    let operations = commands();
    let example = operations.first().map(help::example).unwrap_or_default();
    let api = api.after_help(format!(
        "Exit codes: 0 done, 2 usage, 3 authentication, 4 not found, 5 rate limited, 1 anything else.\n\n\
         Example:\n  {example}"
    ));
    let mut namespaces: Vec<(String, Vec<OperationCommand>)> = Vec::new();
    for operation in operations {
        match namespaces.iter_mut().find(|(name, _)| *name == operation.namespace) {
            Some((_, operations)) => operations.push(operation),
            None => namespaces.push((operation.namespace.clone(), vec![operation])),
        }
    }
    namespaces.iter().fold(api, |api, (name, operations)| {
        let names: Vec<&str> = operations.iter().map(|operation| operation.action.as_str()).collect();
        api.subcommand(
            Command::new(name)
                .about(names.join(", "))
                .subcommand_required(true)
                .arg_required_else_help(true)
                .disable_help_subcommand(true)
                .subcommand_value_name("OPERATION")
                .subcommand_help_heading("Operations")
                .subcommands(operations.iter().map(OperationCommand::command)),
        )
    })
}

impl OperationCommand {
    fn command(&self) -> Command {
        let example = format!("Example:\n  {}", help::example(self));
        let mut command = Command::new(&self.action)
            .about(self.about.summary)
            .long_about(format!("{}\n\n{}", self.about.summary, self.about.description).trim_end().to_owned())
            .override_usage(help::usage(self))
            .after_help(example)
            .args(self.flags.iter().map(|flag| flag.argument().help(help::of_flag(flag))))
            .arg(whole_body());
        let clearable: Vec<String> =
            self.flags.iter().filter(|flag| flag.cleared.is_some()).map(|flag| flag.name.clone()).collect();
        if !clearable.is_empty() {
            command = command.arg(clear(clearable));
        }
        if self.about.list.is_some() {
            command = command.arg(all_pages());
        }
        if self.about.ends_root_key.is_some() {
            command = command.arg(confirmation::argument());
        }
        command
    }
}

fn whole_body() -> Arg {
    Arg::new(JSON)
        .long("json")
        .value_name("JSON")
        .value_parser(value_parser!(String))
        .help_heading("Request")
        .help("The whole body as JSON, @FILE, or - for standard input. Flags given besides it win.")
}

fn clear(names: Vec<String>) -> Arg {
    Arg::new(CLEAR)
        .long("clear")
        .value_name("NAME")
        .value_parser(clap::builder::PossibleValuesParser::new(names))
        .action(ArgAction::Append)
        .help_heading("Request")
        .help("Send null, or an empty list where null means nothing. Repeat it for several.")
}

fn all_pages() -> Arg {
    Arg::new(ALL)
        .long("all")
        .action(ArgAction::SetTrue)
        .help_heading("Request")
        .help("Read all pages, not only one.")
}

/// Runs the command that was asked for.
pub(crate) async fn run(matches: &ArgMatches) -> ExitCode {
    match execute(matches, &mut Inputs::of_process()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn execute(matches: &ArgMatches, inputs: &mut Inputs) -> Result<(), Failure> {
    let Some((namespace, matches)) = matches.subcommand() else {
        return Err(Failure::Usage("which namespace? `keyrack api --help` lists them".to_owned()));
    };
    let Some((action, matches)) = matches.subcommand() else {
        return Err(Failure::Usage(format!("which operation? `keyrack api {namespace} --help` lists them")));
    };
    let operations = commands();
    let asked = operations.iter().find(|known| known.namespace == namespace && known.action == action);
    let Some(operation) = asked else {
        return Err(Failure::Usage(format!("there is no operation {namespace} {action}")));
    };
    let request = body::body(operation, matches, inputs)?;
    let settings = connection::settings(matches)?;
    let for_scripts = settings.get(&OUTPUT_AS_JSON).map_err(connection::unreadable)?;
    let remote = connection::connect(&settings, matches, inputs)?;
    confirmation::confirm(operation.about, &request, matches, &remote, inputs).await?;
    let reads_all = operation.about.list.is_some() && matches.get_flag(ALL);
    let answer = if reads_all {
        all(&remote, operation.about, request).await?
    } else {
        one(&remote, operation.about, &request).await?
    };
    show(&operation.secrets, &answer, for_scripts).map_err(Failure::Output)
}

async fn one(remote: &Remote, about: &About, request: &Value) -> Result<Answer, Failure> {
    let answer = remote.call(about.name, &about.to_body(request.clone())).await?;
    if answer.is_success() { Ok(answer) } else { Err(Failure::Refused(answer)) }
}

/// All pages as one answer: the envelope of the last with the items of all.
async fn all(remote: &Remote, about: &About, mut request: Value) -> Result<Answer, Failure> {
    let mut items = Vec::new();
    loop {
        let mut answer = one(remote, about, &request).await?;
        if let Value::Array(page) = answer.body["data"].take() {
            items.extend(page);
        }
        match next_page(&answer.body) {
            Some(cursor) if request["cursor"] != cursor => request["cursor"] = cursor.into(),
            _ => {
                answer.body["data"] = Value::Array(items);
                answer.body["pagination"] = json!({ "hasMore": false });
                return Ok(answer);
            }
        }
    }
}

fn next_page(body: &Value) -> Option<&str> {
    let pagination = &body["pagination"];
    pagination["cursor"].as_str().filter(|_| pagination["hasMore"] == true)
}

/// The answer goes to stdout, words about it to stderr.
fn show(secrets: &AnsweredSecrets, answer: &Answer, for_scripts: bool) -> std::io::Result<()> {
    let data = &answer.body["data"];
    if for_scripts {
        stdout::print(&format!("{:#}", answer.body))?;
    } else {
        let table = table::render(data);
        if !table.is_empty() {
            stdout::print(&table)?;
        } else if data.is_array() {
            eprintln!("nothing there");
        } else {
            eprintln!("done");
        }
        if let Some(cursor) = next_page(&answer.body) {
            eprintln!("there is more: add --cursor {cursor}, or --all");
        }
    }
    if secrets.once.filled_in(data).next().is_some() {
        eprintln!("keep the key now: it is shown this once and stored nowhere");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
