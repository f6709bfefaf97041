//! `audit.getLog`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::log::Log;
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Operation};
use crate::error::OrNotFound as _;
use crate::ids::AuditLogId;
use crate::reply::Reply;
use crate::store::audit_logs;
use crate::{Caller, Code, Error, Keyrack};

/// Reads one entry of the audit log.
#[derive(Debug)]
pub struct GetLog;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The entry.
    log_id: AuditLogId,
}

/// An entry of the audit log, and its place in the chain of hashes.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    #[serde(flatten)]
    pub log: Log,
    /// Its place in the chain of the workspace, from 1.
    pub sequence: i64,
    /// Made of its content and the hash before it.
    pub hash: String,
    /// The hash of the entry before it; empty for the first one.
    pub previous_hash: String,
}

impl Operation for GetLog {
    const ABOUT: About = About {
        name: "audit.getLog",
        title: "Get an entry of the audit log",
        summary: "Reads one entry of the audit log by its id.",
        description: "With its place in the chain of hashes and the hash. `keyrack audit verify --expect` takes what you \
                      keep of them, as `<workspaceId>:<sequence>:<hash>`, and shows later that the log was not \
                      written anew.",
        example: r#"{"logId": "<logId>"}"#,
        rule: Rule::forbidding(Expression::Leg("audit.*.read_log")),
        errors: &[Code::AuditLogNotFound],
        is_own: true,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut connection = keyrack.store().read().await?;
        let found = audit_logs::find(&mut connection, caller.workspace_id(), &request.log_id).await?;
        let entry = found.or_not_found(Code::AuditLogNotFound)?;
        let (sequence, hash, previous_hash) = (entry.sequence, entry.hash.clone(), entry.previous_hash.clone());
        Ok(authorized.reply(Response { log: Log::from(entry), sequence, hash, previous_hash }))
    }
}
