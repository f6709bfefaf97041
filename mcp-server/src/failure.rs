//! Errors as a model reads them: text that says what was wrong and what to do.
//!
//! What an operation refuses is the result of a call, not a protocol error: clients show protocol errors
//! badly or not at all. Such a result is text only, because clients check structured content against the
//! tool's output schema and hide the message when it does not fit.

use std::fmt::Write as _;

use keyrack_core::error::{Code, Error, Fault};
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock, ErrorCode};

use crate::catalogue::Catalogue;
use crate::{hygiene, rendering};

/// Begins what is said where nobody agreed.
pub(crate) const NOTHING_DONE: &str = "Nothing was changed: ";

/// The result of a call that was refused or failed.
pub(crate) fn result(catalogue: &Catalogue, error: &Error, request_id: &str) -> CallToolResult {
    let text = text(catalogue, error, request_id);
    CallToolResult::error(vec![ContentBlock::text(text)]).with_meta(Some(rendering::meta(request_id)))
}

/// An error where no tool was called, such as a root key that was revoked in the middle of a session.
pub(crate) fn protocol_error(catalogue: &Catalogue, error: &Error) -> ErrorData {
    let code = if error.code().status() < 500 { ErrorCode::INVALID_REQUEST } else { ErrorCode::INTERNAL_ERROR };
    ErrorData::new(code, one_line(&catalogue.in_tool_names(error.detail())), None)
}

/// A tool that does not exist.
pub(crate) fn unknown_tool(catalogue: &Catalogue, name: &str) -> ErrorData {
    let shown: String = name.chars().take(64).collect();
    let closest = catalogue.closest(&shown);
    let meant = closest.map(|closest| format!(" Did you mean `{closest}`?")).unwrap_or_default();
    ErrorData::invalid_params(format!("There is no tool `{shown}`.{meant}"), None)
}

/// An error in full: its code, what was wrong, what to do, and which request it was.
pub(crate) fn text(catalogue: &Catalogue, error: &Error, request_id: &str) -> String {
    let code = error.code();
    let mut text = format!("{} {}: {}\n", code.status(), code.specific(), code.title());
    match error.faults() {
        // A question is in lines of its own making, and all else is one.
        [] if error.detail().starts_with(NOTHING_DONE) => text.push_str(&catalogue.in_tool_names(error.detail())),
        [] => text.push_str(&one_line(&catalogue.in_tool_names(error.detail()))),
        [_] => text.push_str("An argument is not valid:"),
        many => {
            let _ = write!(text, "{} arguments are not valid:", many.len());
        }
    }
    for fault in error.faults() {
        let _ = write!(text, "\n- {}", line(catalogue, fault));
    }
    if let Some(fix) = fix(error) {
        let _ = write!(text, "\nFix: {fix}");
    }
    let _ = write!(text, "\nRequest: {request_id}");
    text
}

/// A fault on a line: where, what, and what to send.
fn line(catalogue: &Catalogue, fault: &Fault) -> String {
    let place = one_line(place(&fault.location));
    let told = |text: &str| one_line(&catalogue.in_tool_names(text));
    let fix = fault.fix.as_deref().map(|fix| format!(" {}", told(fix))).unwrap_or_default();
    let message = told(&fault.message);
    let end = if message.ends_with('.') { "" } else { "." };
    format!("{place}: {message}{end}{fix}")
}

/// A text that may quote what was sent: it begins no line, and ends no block of code.
fn one_line(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| hygiene::seen(line.trim())).collect();
    lines.join(" ").replace("```", "'''")
}

/// `body.ratelimits[0].limit` as the caller of a tool knows it: `ratelimits[0].limit`.
fn place(location: &str) -> &str {
    match location.strip_prefix("body") {
        Some("") => "the arguments",
        Some(path) => path.trim_start_matches('.'),
        None => location,
    }
}

fn fix(error: &Error) -> Option<String> {
    let wait = || match error.retry_after_seconds() {
        Some(1) => "call again in 1 second.".to_owned(),
        Some(seconds) => format!("call again in {seconds} seconds."),
        None => "call again later.".to_owned(),
    };
    let text = match error.code() {
        Code::InvalidInput | Code::PermissionsQuerySyntaxError => {
            "nothing was done; call again with corrected arguments."
        }
        Code::InsufficientPermissions => {
            "use a root key that holds the permission, or have it granted to this one; trying again will not help."
        }
        Code::CredentialMissing
        | Code::CredentialMalformed
        | Code::RootKeyNotFound
        | Code::KeyDisabled
        | Code::WorkspaceDisabled => "the user must configure a valid root key for this server.",
        Code::ApiNotFound | Code::KeyNotFound | Code::IdentityNotFound | Code::RoleNotFound => {
            "check the id or name; do not guess ids."
        }
        Code::IdentityAlreadyExists
        | Code::PermissionAlreadyExists
        | Code::RoleAlreadyExists
        | Code::RatelimitNamespaceAlreadyExists => "use the existing one, or choose another name.",
        Code::WorkspaceRateLimited | Code::ServiceUnavailable => return Some(wait()),
        Code::UnexpectedError => "tell the user the request id below; the server's log has the reason.",
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::CATALOGUE;

    #[test]
    fn all_faults_are_lines_that_name_arguments() {
        let fault = |location: &str, message: &str, fix: &str| Fault {
            location: location.to_owned(),
            message: message.to_owned(),
            fix: Some(fix.to_owned()),
        };
        let error = Error::new(Code::InvalidInput, "has 2 faults, listed in `errors`").with_faults(vec![
            fault("body.apiId", "is required and was not sent", "Send `apiId`."),
            fault("body.ratelimits[0].limit", "must be an integer of at least 1; got 0", "Send one."),
        ]);
        assert_eq!(
            text(&CATALOGUE, &error, "req_1"),
            "400 invalid_input: Bad Request\n\
             2 arguments are not valid:\n\
             - apiId: is required and was not sent. Send `apiId`.\n\
             - ratelimits[0].limit: must be an integer of at least 1; got 0. Send one.\n\
             Fix: nothing was done; call again with corrected arguments.\n\
             Request: req_1"
        );
    }

    #[test]
    fn texts_speak_of_tools_and_not_of_operations() {
        let text = text(&CATALOGUE, &Error::not_found(Code::ApiNotFound), "req_1");
        assert!(text.starts_with("404 api_not_found: Not Found\nThe API was not found. `apis_listApis` shows"));
        assert!(text.contains("\nFix: "), "{text}");
    }

    #[test]
    fn the_reason_of_a_fault_of_ours_stays_in_the_log() {
        let text = text(&CATALOGUE, &Error::unexpected("disk on fire"), "req_1");
        assert!(!text.contains("fire"), "{text}");
        assert!(text.contains("500 unexpected_error") && text.ends_with("Request: req_1"), "{text}");
    }

    #[test]
    fn without_a_tool_an_error_is_one_of_the_protocol() {
        let refused =
            protocol_error(&CATALOGUE, &Error::new(Code::RootKeyNotFound, "No root key has this value."));
        assert_eq!((refused.code, &*refused.message), (ErrorCode::INVALID_REQUEST, "No root key has this value."));
        assert_eq!(protocol_error(&CATALOGUE, &Error::unexpected("disk")).code, ErrorCode::INTERNAL_ERROR);
    }

    #[test]
    fn what_can_be_tried_again_says_when() {
        let error = Error::new(Code::ServiceUnavailable, "The database does not answer.").retry_after(1);
        assert!(text(&CATALOGUE, &error, "req_1").contains("\nFix: call again in 1 second."));
    }

    #[test]
    fn an_unknown_tool_names_the_closest_one() {
        assert!(unknown_tool(&CATALOGUE, "keys_creatKey").message.contains("Did you mean `keys_createKey`?"));
        assert!(unknown_tool(&CATALOGUE, &"x".repeat(500)).message.len() < 200);
    }
}
