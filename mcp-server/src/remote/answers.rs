//! What a server answers, as answers and errors of our own.

use keyrack_core::Error;
use keyrack_core::error::{Code, Fault};
use keyrack_core::reply::Pagination;
use serde_json::Value;

use crate::catalogue::Answer;
use crate::hygiene;

/// Characters of what a server says of an error, and of each part of it.
const LONGEST_DETAIL: usize = 2000;
const LONGEST_TEXT: usize = 300;
/// Faults that are told.
const MOST_FAULTS: usize = 50;

/// What a server answered.
#[derive(Debug)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// The envelope: `data` and `pagination`, or `error`.
    pub body: Value,
    /// What the server's log calls the request.
    pub request_id: Option<String>,
    /// Seconds after which another try makes sense.
    pub retry_after_seconds: Option<u64>,
}

impl Answered {
    /// The answer, or the error that it says.
    pub(super) fn outcome(mut self, operation: &str, address: &str) -> Result<Answer, Error> {
        if !(200..300).contains(&self.status) {
            return Err(self.error(operation, address));
        }
        if self.body.pointer("/meta/requestId").is_none() {
            let detail = format!(
                "The server at {address} answered with status {} and not as one of this API does, so it may or may not have been \
                 done. Is the address right?",
                self.status
            );
            return Err(Error::new(Code::ServiceUnavailable, detail));
        }
        let data =
            self.body.get_mut("data").map(Value::take).unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let pagination = self.body.get("pagination").filter(|pagination| pagination.is_object());
        let pagination = pagination.map(|pagination| Pagination {
            has_more: pagination["hasMore"] == true,
            cursor: pagination["cursor"].as_str().map(str::to_owned),
        });
        Ok(Answer { data, pagination })
    }

    fn error(&self, operation: &str, address: &str) -> Error {
        let error = &self.body["error"];
        let kind = error["type"].as_str().unwrap_or_default();
        let known =
            Code::ALL.iter().copied().find(|code| code.status() == self.status && kind.ends_with(code.path()));
        let code = known.unwrap_or_else(|| of_status(self.status));
        if code == Code::RouteNotFound {
            let detail = format!(
                "The server at {address} does not have {operation}: it is an older Keyrack, or another server of its API."
            );
            return Error::new(code, detail);
        }
        let told = ["detail", "title"].into_iter().find_map(|member| error[member].as_str());
        // Whoever answers there may be anybody.
        let mut detail = hygiene::line(told.unwrap_or("The server said no more than that."), LONGEST_DETAIL);
        if let (500.., Some(request_id)) = (self.status, &self.request_id) {
            let request_id = hygiene::line(request_id, LONGEST_TEXT);
            detail.push_str(&format!(" The log of {address} calls this request {request_id}."));
        }
        let faults = error["errors"].as_array().into_iter().flatten().take(MOST_FAULTS).map(fault).collect();
        let error = Error::new(code, detail).with_faults(faults);
        match self.retry_after_seconds {
            Some(seconds) => error.retry_after(seconds),
            None => error,
        }
    }
}

fn fault(told: &Value) -> Fault {
    let text = |member: &str| told[member].as_str().map(|text| hygiene::line(text, LONGEST_TEXT));
    Fault {
        location: text("location").unwrap_or_else(|| "body".to_owned()),
        message: text("message").unwrap_or_default(),
        fix: text("fix"),
    }
}

/// What a status says by itself.
fn of_status(status: u16) -> Code {
    match status {
        400 | 422 => Code::InvalidInput,
        401 => Code::RootKeyNotFound,
        403 => Code::InsufficientPermissions,
        404 | 405 => Code::RouteNotFound,
        408 => Code::RequestTimeout,
        409 | 412 => Code::PreconditionFailed,
        413 => Code::RequestBodyTooLarge,
        429 => Code::WorkspaceRateLimited,
        503 => Code::ServiceUnavailable,
        _ => Code::UnexpectedError,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(status: u16, body: Value) -> Result<Answer, Error> {
        let request_id = Some("req_1".to_owned());
        let answered = Answered { status, body, request_id, retry_after_seconds: (status == 429).then_some(7) };
        answered.outcome("keys.getKey", "http://keys.example")
    }

    #[test]
    fn answers_have_their_data_and_where_they_go_on() {
        let page = json!({ "meta": { "requestId": "req_1" }, "data": [1], "pagination": { "hasMore": true, "cursor": "c" } });
        let answer = outcome(200, page).unwrap();
        assert_eq!(answer.data, json!([1]));
        assert_eq!(answer.pagination.unwrap().cursor.as_deref(), Some("c"));
        assert_eq!(outcome(200, json!({ "meta": { "requestId": "req_1" } })).unwrap().data, json!({}));
        for nothing_of_ours in [json!({}), Value::Null, json!("<html>"), json!({ "data": {} })] {
            let error = outcome(200, nothing_of_ours).unwrap_err();
            assert!(
                error.code() == Code::ServiceUnavailable && error.detail().contains("may or may not"),
                "{error}"
            );
        }
    }

    #[test]
    fn errors_are_those_of_the_server_whatever_it_says() {
        let told = |kind: &str| json!({ "error": { "type": format!("https://docs.example/errors/{kind}"), "detail": "No." } });
        for (status, body, code, detail) in [
            (404, told("unkey/data/api_not_found"), Code::ApiNotFound, "No."),
            (
                404,
                json!({ "error": { "detail": "no such route" } }),
                Code::RouteNotFound,
                "does not have keys.getKey",
            ),
            (404, json!("not found"), Code::RouteNotFound, "does not have keys.getKey"),
            (400, json!({ "error": { "title": "Bad Request" } }), Code::InvalidInput, "Bad Request"),
            (401, json!({}), Code::RootKeyNotFound, "said no more"),
            (429, told("user/too_many_requests/workspace_rate_limited"), Code::WorkspaceRateLimited, "No."),
            (500, told("unkey/application/unexpected_error"), Code::UnexpectedError, "calls this request req_1"),
            (502, Value::Null, Code::UnexpectedError, "http://keys.example"),
        ] {
            let error = outcome(status, body.clone()).unwrap_err();
            assert_eq!(error.code(), code, "{body}");
            assert!(error.detail().contains(detail), "{body}: {error}");
            assert_eq!(error.retry_after_seconds().is_some(), status == 429);
        }
        let hostile = json!({ "error": { "detail": format!("No.\n\u{202e}```{}", "x".repeat(5000)) } });
        let told = outcome(412, hostile).unwrap_err().detail().to_owned();
        assert!(!told.contains(['\n', '\u{202e}', '`']) && told.chars().count() <= LONGEST_DETAIL + 1, "{told}");
        let errors = json!([{ "location": "body.name", "message": "is too long", "fix": "Shorten it." }, {}]);
        let faults = outcome(400, json!({ "error": { "detail": "No.", "errors": errors } })).unwrap_err();
        assert_eq!(faults.faults()[0].location, "body.name");
        assert_eq!(faults.faults()[1].location, "body");
    }
}
