//! What each error code means and what to do about it, for its page.

use crate::error::Code;

/// Each code with what it means and what to do.
const EXPLANATIONS: &[(Code, &str, &str)] = &[
    (
        Code::PermissionsQuerySyntaxError,
        "The permission query of a verification cannot be read.",
        "Combine slugs with AND, OR and parentheses; `errors` names the word and its position.",
    ),
    (
        Code::InvalidAnalyticsQuery,
        "The SQL of an analytics query cannot be read, is too large, or asks for something that is not offered.",
        "The detail names the place and what to write instead. The guide lists tables, columns and functions.",
    ),
    (
        Code::InvalidAnalyticsQueryType,
        "An analytics query is not a `SELECT`.",
        "Send one `SELECT`. Analytics can only be read.",
    ),
    (
        Code::InvalidAnalyticsTable,
        "An analytics query names a table that this operation does not have.",
        "The detail names it. Verifications and rate limits are asked with an operation each, and have tables of their own.",
    ),
    (
        Code::InvalidAnalyticsFunction,
        "An analytics query calls a function that is not allowed.",
        "The detail names it. Use one of those that the guide lists.",
    ),
    (
        Code::QueryRangeExceedsRetention,
        "An analytics query asks for a time before the workspace's retention.",
        "The detail says what is kept. Ask for a later `time`, or leave the bound out to get all there is.",
    ),
    (
        Code::AnalyticsNotConfigured,
        "Analytics are switched off on this server.",
        "Whoever runs the server can switch them on.",
    ),
    (
        Code::AnalyticsConnectionFailed,
        "The store of analytics does not answer.",
        "Try again after a moment. Whoever runs the server finds the reason in its log.",
    ),
    (
        Code::QueryQuotaExceeded,
        "The workspace has asked as many analytics queries this hour as it may, or for as many seconds.",
        "Wait as long as `Retry-After` says. Ask the tables per hour or day, which answer faster.",
    ),
    (
        Code::QueryExecutionTimeout,
        "The analytics query ran for longer than a query may.",
        "Add a bound of `time`, or ask a table per hour or day instead of the raw one.",
    ),
    (
        Code::QueryMemoryLimitExceeded,
        "The analytics query needed more memory than a query may, or its answer is too large.",
        "Group by fewer columns, add a bound of `time` or a `LIMIT`, or ask a table per hour or day.",
    ),
    (
        Code::RequestBodyTooLarge,
        "The body is larger than this server takes.",
        "Send less at once. Whoever runs the server can raise KEYRACK_MAX_BODY_BYTES.",
    ),
    (
        Code::RequestBodyUnreadable,
        "The body is not JSON, or broke off.",
        "Send one complete JSON value in UTF-8; `errors` says where reading stopped.",
    ),
    (
        Code::RequestTimeout,
        "The request took longer than the server waits. A change may still be completed.",
        "Read back what you changed before you try again; send smaller requests.",
    ),
    (
        Code::WorkspaceRateLimited,
        "The workspace, or a root key over MCP, made more requests this minute than it may.",
        "Wait as long as `Retry-After` says, and spread requests out. An operator can raise the limit.",
    ),
    (
        Code::CredentialMissing,
        "The request has no `Authorization` header.",
        "Send `Authorization: Bearer <root key>`.",
    ),
    (
        Code::CredentialMalformed,
        "The `Authorization` header is not of the form `Bearer <root key>`.",
        "Send the word `Bearer`, a space and the root key, without quotes.",
    ),
    (
        Code::RootKeyNotFound,
        "No root key has this value: it never existed, was deleted, or is an ordinary key.",
        "Use a root key. `keyrack root-key create` makes one where the database is.",
    ),
    (
        Code::InsufficientPermissions,
        "The root key does not hold a permission that this call needs.",
        "The detail names what is missing. Use another root key, or have one made that holds it.",
    ),
    (
        Code::Forbidden,
        "The call is refused whatever the permissions: the root key has expired, the `Host` is not one of this \
         server's names, or the operation is not offered here.",
        "The detail says which. For a `Host`, set KEYRACK_PUBLIC_URL or KEYRACK_ALLOWED_HOSTS on the server.",
    ),
    (Code::KeyDisabled, "The root key is disabled.", "Enable it with another root key, or use another one."),
    (
        Code::WorkspaceDisabled,
        "The root key's workspace is disabled, so nothing in it can be used.",
        "An operator can enable the workspace.",
    ),
    (
        Code::ApiNotFound,
        "There is no such API in the root key's workspace, or the root key may not know of it.",
        "Take the id from `apis.listApis`, and check that the root key may read the API.",
    ),
    (
        Code::AuditLogNotFound,
        "The workspace's audit log has no entry with this id, or no longer.",
        "Take the id from `audit.listLogs`; entries go when the workspace's retention is over.",
    ),
    (
        Code::MigrationNotFound,
        "There is no such migration in the root key's workspace.",
        "`keyrack migration list` shows the ids; `keyrack migration create` makes one.",
    ),
    (
        Code::PermissionNotFound,
        "There is no such permission in the root key's workspace.",
        "Send its id or its slug, case included; `permissions.listPermissions` shows them.",
    ),
    (
        Code::RatelimitNamespaceNotFound,
        "There is no such rate-limit namespace in the root key's workspace.",
        "Send its id or its name; `ratelimit.listNamespaces` shows them; `ratelimit.createNamespace` makes one, as does \
         the first `ratelimit.limit`.",
    ),
    (
        Code::RatelimitOverrideNotFound,
        "The namespace has no override for this identifier.",
        "Send the identifier exactly as it was set, wildcards included; `ratelimit.listOverrides` shows them.",
    ),
    (
        Code::IdentityNotFound,
        "There is no such identity in the root key's workspace, or the root key may not know of it.",
        "Send the identity's id or its external id; both are case-sensitive.",
    ),
    (
        Code::KeyNotFound,
        "There is no such key in the root key's workspace, or the root key may not know of it.",
        "Send the key's id, which is not the key itself; `keys.listKeys` finds keys, `keys.whoami` tells the id of a text.",
    ),
    (
        Code::RoleNotFound,
        "There is no such role in the root key's workspace.",
        "Roles are named exactly, case included. Make it with `permissions.createRole` first.",
    ),
    (
        Code::WorkspaceNotFound,
        "There is no such workspace, or it is gone.",
        "Check the id; `workspace.getOverview` shows the workspace of a root key.",
    ),
    (
        Code::IdentityAlreadyExists,
        "An identity has this external id already.",
        "Use that identity, or choose another external id.",
    ),
    (
        Code::PermissionAlreadyExists,
        "A permission has this slug already.",
        "Use that permission, or choose another slug.",
    ),
    (Code::RoleAlreadyExists, "A role has this name already.", "Use that role, or choose another name."),
    (
        Code::RatelimitNamespaceAlreadyExists,
        "A rate-limit namespace has this name already, or this id.",
        "Use that namespace, or choose another name.",
    ),
    (
        Code::RatelimitNamespaceGone,
        "The rate-limit namespace was deleted, and its name stays reserved.",
        "Revive it with `ratelimit.createNamespace`, or use another name.",
    ),
    (
        Code::InvalidInput,
        "The request is JSON and not what the operation takes.",
        "`errors` lists every fault at once: where it is, what is allowed, and what to send instead.",
    ),
    (
        Code::PreconditionFailed,
        "The request is right, and something that it relies on is not so: a limit that does not exist, a setting \
         that is off.",
        "The detail says what is missing. Set that up first.",
    ),
    (
        Code::ProtectedResource,
        "The thing is protected: an API with delete protection, or the last root key with full access.",
        "Lift the protection first, if you mean it.",
    ),
    (
        Code::RouteNotFound,
        "There is nothing at this path.",
        "Operations are at `/v2/<namespace>.<operation>`, case-sensitive; `/reference` lists them.",
    ),
    (
        Code::MethodNotAllowed,
        "The path exists and does not take this method.",
        "The `Allow` header names the methods. Operations are POST requests.",
    ),
    (
        Code::ServiceUnavailable,
        "Something that the server needs, such as its database, does not answer. Nothing was changed.",
        "Try again after `Retry-After`. Whoever runs the server finds the reason in its log, and with \
         `keyrack doctor`.",
    ),
    (
        Code::UnexpectedError,
        "Something went wrong on the server's side.",
        "The server's log has the reason under the request id of the answer.",
    ),
];

impl Code {
    fn explanation(self) -> (&'static str, &'static str) {
        let found = EXPLANATIONS.iter().find(|(code, _, _)| *code == self);
        found.map_or(("", ""), |(_, meaning, remedy)| (meaning, remedy))
    }

    /// What it means, in a sentence.
    pub fn meaning(self) -> &'static str {
        self.explanation().0
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        self.explanation().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_once() {
        let unexplained: Vec<&Code> = Code::ALL.iter().filter(|code| code.meaning().is_empty()).collect();
        assert!(unexplained.is_empty(), "add what these mean and what to do to docs/codes.rs: {unexplained:?}");
        assert_eq!(EXPLANATIONS.len(), Code::ALL.len(), "a code is explained twice");
    }
}
