//! What can go wrong with a command, how it is told, and the exit code of each class.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use crate::printable;
use crate::remote::{Answer, Unanswered};

/// Why a command was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line does not make sense; nothing was sent.
    Usage(String),
    /// There is no root key to call with; nothing was sent.
    NoRootKey(String),
    /// The server did not answer.
    Unanswered(Unanswered),
    /// The server refused.
    Refused(Answer),
    /// The answer cannot be written.
    Output(std::io::Error),
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        Failure::Unanswered(unanswered)
    }
}

impl Failure {
    /// 2 usage, 3 authentication, 4 not found, 5 rate limited, 1 anything else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::NoRootKey(_) => 3,
            Failure::Unanswered(_) | Failure::Output(_) => 1,
            Failure::Refused(answer) => match answer.status {
                401 | 403 => 3,
                404 => 4,
                429 => 5,
                _ => 1,
            },
        }
    }

    /// Tells it on stderr.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("{}", printable::lines(self.text().trim_end()));
        ExitCode::from(self.exit_code())
    }

    fn text(&self) -> String {
        match self {
            Failure::Usage(what) => format!("error: {what}\n\nFor more information, try '--help'."),
            Failure::NoRootKey(what) => format!("error: {what}"),
            Failure::Unanswered(what) => format!("error: {what}"),
            Failure::Refused(answer) => refusal(answer),
            Failure::Output(error) => format!("error: standard output cannot be written: {error}"),
        }
    }
}

fn refusal(answer: &Answer) -> String {
    let error = &answer.body["error"];
    // Lines of the report are ours: a text of the server, which may quote somebody's name, makes none.
    let text = |value: &Value| value.as_str().map(|text| printable::line(text).into_owned());
    let title = text(&error["title"]).unwrap_or_else(|| format!("status {}", answer.status));
    let mut report = format!("error: {title}: {}\n", text(&error["detail"]).unwrap_or_default());
    for fault in error["errors"].as_array().into_iter().flatten() {
        let place = text(&fault["location"]).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(report, "  {place}: {}", text(&fault["message"]).unwrap_or_default());
        if let Some(fix) = text(&fault["fix"]) {
            let _ = writeln!(report, "  fix: {fix}");
        }
    }
    if let Some(request_id) = &answer.request_id {
        let _ = writeln!(report, "request id: {}", printable::line(request_id));
    }
    report
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(status: u16, body: Value) -> Failure {
        Failure::Refused(Answer { status, body, request_id: Some("req_1".to_owned()), retry_after_seconds: None })
    }

    #[test]
    fn each_class_has_its_exit_code() {
        let code = |status| refused(status, json!({})).exit_code();
        assert_eq!([400, 401, 403, 404, 409, 429, 500].map(code), [1, 3, 3, 4, 1, 5, 1]);
        assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
        assert_eq!(Failure::NoRootKey(String::new()).exit_code(), 3);
    }

    #[test]
    fn a_refusal_lists_every_fault_with_its_fix() {
        let body = json!({ "error": {
            "title": "Bad Request",
            "detail": "It has 2 faults.",
            "errors": [
                { "location": "body.limit", "message": "must be an integer", "fix": "Send one." },
                { "location": "body.x", "message": "is not a known member" },
            ],
        }});
        assert_eq!(
            refused(400, body).text(),
            "error: Bad Request: It has 2 faults.\n  body.limit: must be an integer\n  fix: Send one.\n  \
             body.x: is not a known member\nrequest id: req_1\n"
        );
    }
}
