//! The one error type of Keyrack.
//!
//! An [`Error`] says two things apart: what the caller reads (code, detail, faults) and what only
//! the log reads (the cause). Faces turn it into a response; nothing else decides a status or title.

use std::fmt;

use serde::Serialize;

/// What went wrong, as a value that clients can match on.
///
/// Each code knows its status, its title and its path, the last three segments of the wire's
/// `error.type` (`<base>/errors/<system>/<category>/<specific>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is named after its identifier, which `path` spells out")]
pub enum Code {
    PermissionsQuerySyntaxError,
    InvalidAnalyticsQuery,
    InvalidAnalyticsQueryType,
    InvalidAnalyticsTable,
    InvalidAnalyticsFunction,
    QueryRangeExceedsRetention,
    RequestBodyTooLarge,
    RequestBodyUnreadable,
    RequestTimeout,
    WorkspaceRateLimited,
    QueryQuotaExceeded,
    CredentialMissing,
    CredentialMalformed,
    RootKeyNotFound,
    InsufficientPermissions,
    Forbidden,
    KeyDisabled,
    WorkspaceDisabled,
    ApiNotFound,
    AuditLogNotFound,
    IdentityNotFound,
    KeyNotFound,
    MigrationNotFound,
    PermissionNotFound,
    RatelimitNamespaceNotFound,
    RatelimitOverrideNotFound,
    RoleNotFound,
    WorkspaceNotFound,
    IdentityAlreadyExists,
    PermissionAlreadyExists,
    RoleAlreadyExists,
    RatelimitNamespaceAlreadyExists,
    RatelimitNamespaceGone,
    InvalidInput,
    PreconditionFailed,
    AnalyticsNotConfigured,
    ProtectedResource,
    RouteNotFound,
    MethodNotAllowed,
    QueryExecutionTimeout,
    QueryMemoryLimitExceeded,
    ServiceUnavailable,
    AnalyticsConnectionFailed,
    UnexpectedError,
}

impl Code {
    /// Every code, for documentation and tests.
    pub const ALL: &'static [Code] = &[
        Code::PermissionsQuerySyntaxError,
        Code::InvalidAnalyticsQuery,
        Code::InvalidAnalyticsQueryType,
        Code::InvalidAnalyticsTable,
        Code::InvalidAnalyticsFunction,
        Code::QueryRangeExceedsRetention,
        Code::RequestBodyTooLarge,
        Code::RequestBodyUnreadable,
        Code::RequestTimeout,
        Code::WorkspaceRateLimited,
        Code::QueryQuotaExceeded,
        Code::CredentialMissing,
        Code::CredentialMalformed,
        Code::RootKeyNotFound,
        Code::InsufficientPermissions,
        Code::Forbidden,
        Code::KeyDisabled,
        Code::WorkspaceDisabled,
        Code::ApiNotFound,
        Code::AuditLogNotFound,
        Code::IdentityNotFound,
        Code::KeyNotFound,
        Code::MigrationNotFound,
        Code::PermissionNotFound,
        Code::RatelimitNamespaceNotFound,
        Code::RatelimitOverrideNotFound,
        Code::RoleNotFound,
        Code::WorkspaceNotFound,
        Code::IdentityAlreadyExists,
        Code::PermissionAlreadyExists,
        Code::RoleAlreadyExists,
        Code::RatelimitNamespaceAlreadyExists,
        Code::RatelimitNamespaceGone,
        Code::InvalidInput,
        Code::PreconditionFailed,
        Code::AnalyticsNotConfigured,
        Code::ProtectedResource,
        Code::RouteNotFound,
        Code::MethodNotAllowed,
        Code::QueryExecutionTimeout,
        Code::QueryMemoryLimitExceeded,
        Code::ServiceUnavailable,
        Code::AnalyticsConnectionFailed,
        Code::UnexpectedError,
    ];

    /// HTTP status, title and path (`system/category/specific`).
    #[expect(clippy::too_many_lines, reason = "a table with a line or three for each code")]
    const fn facts(self) -> (u16, &'static str, &'static str) {
        match self {
            Code::PermissionsQuerySyntaxError => {
                (400, "Bad Request", "user/bad_request/permissions_query_syntax_error")
            }
            Code::InvalidAnalyticsQuery => (400, "Bad Request", "user/bad_request/invalid_analytics_query"),
            Code::InvalidAnalyticsQueryType => {
                (400, "Bad Request", "user/bad_request/invalid_analytics_query_type")
            }
            Code::InvalidAnalyticsTable => (400, "Bad Request", "user/bad_request/invalid_analytics_table"),
            Code::InvalidAnalyticsFunction => (400, "Bad Request", "user/bad_request/invalid_analytics_function"),
            Code::QueryRangeExceedsRetention => {
                (400, "Bad Request", "user/bad_request/query_range_exceeds_retention")
            }
            Code::RequestBodyTooLarge => {
                (413, "Request Entity Too Large", "user/bad_request/request_body_too_large")
            }
            Code::RequestBodyUnreadable => (400, "Bad Request", "user/bad_request/request_body_unreadable"),
            Code::RequestTimeout => (408, "Request Timeout", "user/bad_request/request_timeout"),
            Code::WorkspaceRateLimited => {
                (429, "Too Many Requests", "user/too_many_requests/workspace_rate_limited")
            }
            Code::CredentialMissing => (401, "Unauthorized", "unkey/authentication/missing"),
            Code::CredentialMalformed => (401, "Unauthorized", "unkey/authentication/malformed"),
            Code::RootKeyNotFound => (401, "Unauthorized", "unkey/authentication/key_not_found"),
            Code::InsufficientPermissions => {
                (403, "Insufficient Permissions", "unkey/authorization/insufficient_permissions")
            }
            Code::Forbidden => (403, "Forbidden", "unkey/authorization/forbidden"),
            Code::KeyDisabled => (403, "Key is disabled", "unkey/authorization/key_disabled"),
            Code::WorkspaceDisabled => (403, "Workspace is disabled", "unkey/authorization/workspace_disabled"),
            Code::ApiNotFound => (404, "Not Found", "unkey/data/api_not_found"),
            Code::AuditLogNotFound => (404, "Not Found", "unkey/data/audit_log_not_found"),
            Code::IdentityNotFound => (404, "Not Found", "unkey/data/identity_not_found"),
            Code::KeyNotFound => (404, "Not Found", "unkey/data/key_not_found"),
            Code::MigrationNotFound => (404, "Not Found", "unkey/data/migration_not_found"),
            Code::PermissionNotFound => (404, "Not Found", "unkey/data/permission_not_found"),
            Code::RatelimitNamespaceNotFound => (404, "Not Found", "unkey/data/ratelimit_namespace_not_found"),
            Code::RatelimitOverrideNotFound => (404, "Not Found", "unkey/data/ratelimit_override_not_found"),
            Code::RoleNotFound => (404, "Not Found", "unkey/data/role_not_found"),
            Code::WorkspaceNotFound => (404, "Not Found", "unkey/data/workspace_not_found"),
            Code::IdentityAlreadyExists => (409, "Conflicting Resource", "unkey/data/identity_already_exists"),
            Code::PermissionAlreadyExists => (409, "Conflicting Resource", "unkey/data/permission_already_exists"),
            Code::RoleAlreadyExists => (409, "Conflicting Resource", "unkey/data/role_already_exists"),
            Code::RatelimitNamespaceAlreadyExists => {
                (409, "Conflicting Resource", "unkey/data/ratelimit_namespace_already_exists")
            }
            Code::RatelimitNamespaceGone => (410, "Resource Gone", "unkey/data/ratelimit_namespace_gone"),
            Code::InvalidInput => (400, "Bad Request", "unkey/application/invalid_input"),
            Code::PreconditionFailed => (412, "Precondition Failed", "unkey/application/precondition_failed"),
            Code::ProtectedResource => (412, "Resource is protected", "unkey/application/protected_resource"),
            Code::RouteNotFound => (404, "Not Found", "unkey/application/route_not_found"),
            Code::MethodNotAllowed => (405, "Method Not Allowed", "unkey/application/method_not_allowed"),
            Code::ServiceUnavailable => (503, "Service Unavailable", "unkey/application/service_unavailable"),
            Code::AnalyticsNotConfigured => (412, "Precondition Failed", "unkey/data/analytics_not_configured"),
            Code::AnalyticsConnectionFailed => {
                (503, "Service Unavailable", "unkey/data/analytics_connection_failed")
            }
            Code::QueryQuotaExceeded => (429, "Too Many Requests", "user/too_many_requests/query_quota_exceeded"),
            Code::QueryExecutionTimeout => {
                (422, "Unprocessable Entity", "user/unprocessable_entity/query_execution_timeout")
            }
            Code::QueryMemoryLimitExceeded => {
                (422, "Unprocessable Entity", "user/unprocessable_entity/query_memory_limit_exceeded")
            }
            Code::UnexpectedError => (500, "Internal Server Error", "unkey/application/unexpected_error"),
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        self.facts().0
    }

    /// The title, fixed per code.
    pub const fn title(self) -> &'static str {
        self.facts().1
    }

    /// `system/category/specific`, the end of the wire's `error.type`.
    pub const fn path(self) -> &'static str {
        self.facts().2
    }

    /// The last segment of [`Code::path`], for people: `api_not_found`.
    pub fn specific(self) -> &'static str {
        self.path().rsplit('/').next().unwrap_or_default()
    }
}

/// One fault of a request: where, what, and what to send instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// `body.<path>`, such as `body.ratelimits[0].limit`.
    pub location: String,
    /// What is allowed and what was got; never the value of a secret field.
    pub message: String,
    /// What to send instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// An error with what its caller may read and what only the log may.
#[derive(Debug, Clone)]
pub struct Error(Box<Facts>);

#[derive(Debug, Clone)]
struct Facts {
    code: Code,
    detail: String,
    faults: Vec<Fault>,
    retry_after_seconds: Option<u64>,
    cause: Option<String>,
    is_unknown_outcome: bool,
    write_fault: Option<WriteFault>,
}

impl Error {
    /// An error with a sentence for the caller: what was wrong and what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Error(Box::new(Facts {
            code,
            detail: detail.into(),
            faults: Vec::new(),
            retry_after_seconds: None,
            is_unknown_outcome: false,
            write_fault: None,
            cause: None,
        }))
    }

    /// A 400 for a request that its schema allows and its meaning does not.
    pub fn invalid(location: &str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        let message = detail.into();
        let detail = format!("The request is not valid: `{location}`: {message}.");
        Error::new(Code::InvalidInput, detail).with_faults(vec![Fault {
            location: location.to_owned(),
            message,
            fix: Some(fix.into()),
        }])
    }

    /// The 404 for a thing that is not there, that belongs to another workspace, or that the caller may
    /// not know of: one wording for all of them, so that it tells nothing.
    pub fn not_found(code: Code) -> Self {
        let what = match code {
            Code::ApiNotFound => "The API was not found. `apis.listApis` shows the ids of your APIs.",
            Code::KeyNotFound => "The key was not found in this workspace.",
            Code::IdentityNotFound => "The identity was not found. Send its id or its external id.",
            Code::MigrationNotFound => {
                "The migration was not found. `keyrack migration create` makes one and prints its id."
            }
            Code::PermissionNotFound => "The permission was not found.",
            Code::RatelimitNamespaceNotFound => {
                "The namespace was not found. `ratelimit.listNamespaces` shows those that exist, and \
                 `ratelimit.createNamespace` makes one."
            }
            Code::RatelimitOverrideNotFound => {
                "There is no override for the identifier: the application's own limit counts. `ratelimit.listOverrides` \
                 shows those that exist, and `ratelimit.setOverride` makes one."
            }
            Code::RoleNotFound => "The role was not found.",
            Code::AuditLogNotFound => "The audit log has no entry with this id.",
            Code::WorkspaceNotFound => "The workspace was not found.",
            _ => "It was not found.",
        };
        Error::new(code, what)
    }

    /// A 500 whose reason only the log may read.
    pub fn unexpected(cause: impl fmt::Display) -> Self {
        Error::new(
            Code::UnexpectedError,
            "Something went wrong on our side. The server's log has the reason under this request id.",
        )
        .caused_by(cause)
    }

    /// A 503 for a commit that the database did not confirm: it may or may not have happened.
    pub fn unknown_outcome(cause: impl fmt::Display) -> Self {
        let mut error = Error::new(
            Code::ServiceUnavailable,
            "The database stopped answering while the change was being saved, so it may or may not have been done. \
             Look before you try again.",
        )
        .caused_by(cause);
        error.0.is_unknown_outcome = true;
        error
    }

    /// Whether it is not known if what was asked for was done.
    pub(crate) fn is_unknown_outcome(&self) -> bool {
        self.0.is_unknown_outcome
    }

    /// What it tells of writing to the store, if anything.
    pub(crate) fn write_fault(&self) -> Option<WriteFault> {
        self.0.write_fault
    }

    /// A 503 for a database that does not answer, or that cannot be written now.
    pub(crate) fn database_unavailable(cause: impl fmt::Display) -> Self {
        Error::new(
            Code::ServiceUnavailable,
            "The database does not answer at the moment, and nothing was changed. Try again shortly.",
        )
        .retry_after(1)
        .caused_by(cause)
    }

    /// A 503 for a SQLite file that is damaged.
    pub(crate) fn malformed_database(cause: impl fmt::Display) -> Self {
        Error::new(
            Code::ServiceUnavailable,
            "The server's database file is damaged, and nothing was changed. Tell whoever runs this server: `keyrack \
             doctor` says what is wrong, and `keyrack restore FILE` puts a backup back.",
        )
        .retry_after(60)
        .caused_by(cause)
    }

    /// Says what it tells of writing to the store.
    #[must_use]
    pub(crate) fn telling_of_writes(mut self, fault: Option<WriteFault>) -> Self {
        self.0.write_fault = fault;
        self
    }

    /// Adds the faults of a request.
    #[must_use]
    pub fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.0.faults = faults;
        self
    }

    /// Says after how many seconds another try makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// Adds a reason for the log. It must not hold a secret.
    #[must_use]
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// What went wrong.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The sentence for the caller.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The faults of the request, empty unless it was one.
    pub fn faults(&self) -> &[Fault] {
        &self.0.faults
    }

    /// Seconds after which another try makes sense.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.0.retry_after_seconds
    }

    /// The reason, for the log only.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }
}

/// For what was looked for.
pub(crate) trait OrNotFound<T> {
    /// What was found, or that there is no such thing.
    ///
    /// # Errors
    /// The `404` of this code, with its one wording.
    fn or_not_found(self, code: Code) -> Result<T, Error>;
}

impl<T> OrNotFound<T> for Option<T> {
    fn or_not_found(self, code: Code) -> Result<T, Error> {
        self.ok_or_else(|| Error::not_found(code))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code().path(), self.detail())?;
        match self.cause() {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Why the last write to the store failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFault {
    /// There is no room for it.
    DiskFull,
    /// A lock, permissions, a disk that is read-only or broken, a standby.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_path_of_three_segments_and_no_two_share_one() {
        let mut paths: Vec<_> = Code::ALL.iter().map(|code| code.path()).collect();
        assert!(paths.iter().all(|path| path.split('/').count() == 3));
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), Code::ALL.len());
    }

    #[test]
    fn the_cause_is_for_the_log_only() {
        let error = Error::unexpected("disk on fire");
        assert!(!error.detail().contains("fire"));
        assert_eq!(error.cause(), Some("disk on fire"));
    }
}
