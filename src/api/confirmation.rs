//! Asking before a root key ends itself: whoever typed it may have meant another one.

use clap::{Arg, ArgAction, ArgMatches};
use keyrack_core::catalogue::About;
use serde_json::{Value, json};

use super::failure::Failure;
use super::input::Inputs;
use crate::remote::Remote;

const YES: &str = "yes";
/// Tells which root key calls.
const WHO_CALLS: &str = "workspace.getOverview";

/// The flag that answers the question beforehand.
pub(super) fn argument() -> Arg {
    Arg::new(YES)
        .long(YES)
        .action(ArgAction::SetTrue)
        .help_heading("Request")
        .help("Do it without asking, also if this is the root key that the command itself acts with. Without a terminal to ask at, that is refused otherwise.")
}

/// Makes sure that a request that ends the root key it is sent with is meant.
///
/// # Errors
/// When nobody says yes, or the server does not say which root key calls.
pub(super) async fn confirm(
    about: &About,
    request: &Value,
    matches: &ArgMatches,
    remote: &Remote,
    inputs: &mut Inputs,
) -> Result<(), Failure> {
    let Some(member) = about.ends_root_key.filter(|_| !matches.get_flag(YES)) else { return Ok(()) };
    let overview = remote.call(WHO_CALLS, &json!({})).await?;
    if !overview.is_success() {
        return Err(Failure::Refused(overview));
    }
    let root_key = &overview.body["data"]["rootKey"];
    if root_key["keyId"].is_null() || root_key["keyId"] != request[member] {
        return Ok(());
    }
    ask(root_key, inputs)
}

fn ask(root_key: &Value, inputs: &mut Inputs) -> Result<(), Failure> {
    let id = root_key["keyId"].as_str().unwrap_or_default();
    let name = root_key["name"].as_str().map(|name| format!(" \"{name}\"")).unwrap_or_default();
    let question = format!(
        "{id}{name} is the root key that this command acts with; it is refused from then on. Go on? [y/N] "
    );
    match inputs.agrees(&question) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::Usage("nothing was changed: it was not confirmed".to_owned())),
        None => Err(Failure::Usage(format!(
            "nothing was changed: {id} is the root key that this command acts with, and there is no terminal to ask at; \
             --yes says that it is meant"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn asked(typed: &'static str, is_terminal: bool) -> Result<(), String> {
        let root_key = json!({ "keyId": "key_1", "name": "ci" });
        let mut inputs = Inputs::new(Box::new(Cursor::new(typed)), is_terminal);
        ask(&root_key, &mut inputs).map_err(|failure| match failure {
            Failure::Usage(text) => text,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn only_a_yes_is_one() {
        for yes in ["y\n", "Y\r\n", "yes", " Yes \nno\n"] {
            assert_eq!(asked(yes, true), Ok(()), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "no\nyes\n", "yess\n", "key_1\n"] {
            assert!(asked(no, true).is_err_and(|text| text.contains("not confirmed")), "{no:?}");
        }
    }

    #[test]
    fn without_a_terminal_nobody_is_asked() {
        assert!(asked("y\n", false).is_err_and(|text| text.contains("key_1") && text.contains("--yes")));
    }
}
