//! `workspace.getLimits`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Operation};
use crate::error::OrNotFound as _;
use crate::reply::Reply;
use crate::value::Nullable;
use crate::{Caller, Code, Error, Keyrack};

/// Reads what the workspace is limited to.
#[derive(Debug)]
pub struct GetLimits;

/// What is sent: nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// Verifications and limits per month, which this server does not limit.
    pub api_billable_operations_count_max_per_month: Limit,
    /// Requests per minute over all root keys.
    pub api_requests_count_max_per_minute: Limit,
    /// Days that verification events are kept.
    pub logs_retention_days_max: Limit,
    /// Days that the audit log is kept.
    pub logs_audit_retention_days_max: Limit,
    /// Log drains, which this server does not have.
    pub logdrains_max: Limit,
}

/// A limit.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Limit {
    /// null: none.
    pub limit: Nullable<i64>,
    /// How much of it is used, where that can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<f64>,
}

impl Limit {
    fn of(limit: Option<i64>) -> Self {
        Limit { limit: Nullable(limit), current: None }
    }
}

impl Operation for GetLimits {
    const ABOUT: About = About {
        name: "workspace.getLimits",
        title: "Show the limits of the workspace",
        summary: "Shows what the workspace is limited to: requests per minute and how long logs are kept.",
        description: "A limit of null is none. An operator changes them with `workspace.updateWorkspace`.",
        example: "{}",
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("workspace.*.read_workspace"),
            Expression::Leg("unkey:v1:{workspaceId}:limits#read"),
        ])),
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, _: Request) -> Result<Reply<Response>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let workspace = keyrack.resident().workspace(caller.workspace_id());
        let workspace = workspace.or_not_found(Code::WorkspaceNotFound)?;
        Ok(authorized.reply(Response {
            api_billable_operations_count_max_per_month: Limit::of(None),
            api_requests_count_max_per_minute: Limit::of(workspace.requests_per_minute),
            logs_retention_days_max: Limit::of(workspace.log_retention_days),
            logs_audit_retention_days_max: Limit::of(workspace.audit_retention_days),
            logdrains_max: Limit { limit: Nullable(Some(0)), current: Some(0.0) },
        }))
    }
}
