//! `audit.getLog`

use schemars::JsonSchema;
use serde::Deserialize;

use super::log::Log;
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Operation, Reply};
use crate::operations::fields::ID_PATTERN;
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
    #[schemars(length(min = 3, max = 255), regex(pattern = ID_PATTERN))]
    log_id: String,
}

impl Operation for GetLog {
    const ABOUT: About = About {
        name: "audit.getLog",
        title: "Get an entry of the audit log",
        summary: "Reads one entry of the audit log by its id.",
        description: "",
        hint: "logId from audit_listLogs.",
        example: r#"{"logId": "<logId>"}"#,
        rule: Rule::forbidding(Expression::Leg("audit.*.read_log")),
        errors: &[Code::AuditLogNotFound],
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Log;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Log>, Error> {
        caller.authorize::<Self>(&[])?;
        let mut connection = keyrack.store().read().await?;
        let found = audit_logs::find(&mut connection, caller.workspace_id(), &request.log_id).await?;
        let entry = found.ok_or_else(|| Error::not_found(Code::AuditLogNotFound))?;
        Ok(Log::try_from(entry)?.into())
    }
}
