//! One answer of the server, and what every answer must have.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// The statuses whose error body carries `errors`.
const STATUSES_WITH_FAULTS: [u16; 4] = [400, 408, 413, 499];

/// An answer of the server: status, headers and the parsed JSON body.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was asked: the operation name, or method and path of a raw request.
    pub asked: String,
    /// The HTTP status.
    pub status: u16,
    /// All response headers.
    pub headers: HeaderMap,
    /// The body as JSON; `null` when it was not JSON.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// The answer itself if it has this status; otherwise the test fails with the whole body.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{} answered {}: {}", self.asked, self.status, self.text);
        self
    }

    /// `data` of a success.
    #[track_caller]
    pub fn data(&self) -> &Value {
        self.body.get("data").unwrap_or_else(|| panic!("{} answered without data: {}", self.asked, self.text))
    }

    /// A string member of `data`, such as an id.
    #[track_caller]
    pub fn text_of(&self, member: &str) -> String {
        self.data()[member]
            .as_str()
            .unwrap_or_else(|| panic!("{} has no text {member}: {}", self.asked, self.text))
            .to_owned()
    }

    /// The `error` object of a failure.
    #[track_caller]
    pub fn error(&self) -> &Value {
        self.body.get("error").unwrap_or_else(|| panic!("{} answered without error: {}", self.asked, self.text))
    }

    /// The stable part of `error.type`: its last three segments, such as `unkey/data/key_not_found`.
    #[track_caller]
    pub fn code(&self) -> String {
        let url = self.error()["type"].as_str().unwrap_or_default();
        let segments: Vec<&str> = url.rsplit('/').take(3).collect();
        segments.into_iter().rev().collect::<Vec<_>>().join("/")
    }

    /// Fails unless the answer is this failure; `code` is the stable part of `error.type`.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.code(), code, "{}: {}", answer.asked, answer.text);
        answer
    }

    /// `error.detail`.
    #[track_caller]
    pub fn detail(&self) -> &str {
        self.error()["detail"].as_str().unwrap_or_default()
    }

    /// `errors[].location` of a failure, in order.
    #[track_caller]
    pub fn locations(&self) -> Vec<String> {
        let faults = self.error()["errors"].as_array().cloned();
        faults
            .unwrap_or_default()
            .iter()
            .map(|fault| fault["location"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// `meta.requestId`.
    pub fn request_id(&self) -> &str {
        self.body["meta"]["requestId"].as_str().unwrap_or_default()
    }

    /// A header as text, empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Fails unless the answer has the envelope, one request id in body and header, and, for a
    /// failure, every member that clients rely on.
    #[track_caller]
    pub fn check_envelope(&self) {
        let about = format!("{} answered {}: {}", self.asked, self.status, self.text);
        assert!(!self.request_id().is_empty(), "no meta.requestId; {about}");
        assert_eq!(
            self.header("x-request-id"),
            self.request_id(),
            "X-Request-Id differs from meta.requestId; {about}"
        );
        let media_type = if self.status == 429 { "application/problem+json" } else { "application/json" };
        assert!(
            self.header("content-type").starts_with(media_type),
            "content type {:?}; {about}",
            self.header("content-type")
        );
        if self.status < 300 {
            assert!(self.body.get("error").is_none(), "success with error; {about}");
            return;
        }
        self.check_error(&about);
    }

    #[track_caller]
    fn check_error(&self, about: &str) {
        assert!(self.body.get("data").is_none(), "failure with data; {about}");
        let error = self.error();
        assert_eq!(error["status"], self.status, "error.status differs; {about}");
        for member in ["title", "detail", "type"] {
            assert!(error[member].is_string(), "no error.{member}; {about}");
        }
        assert!(!self.detail().is_empty(), "error.detail is empty; {about}");
        let with_faults = STATUSES_WITH_FAULTS.contains(&self.status);
        assert_eq!(error["errors"].is_array(), with_faults, "error.errors; {about}");
    }
}
