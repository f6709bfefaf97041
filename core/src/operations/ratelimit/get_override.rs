//! `ratelimit.getOverride`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::namespace::find_live;
use crate::authorization::{Expression, OnDenied, Rule};
use crate::catalogue::{About, Operation};
use crate::error::OrNotFound as _;
use crate::ids::OverrideId;
use crate::ratelimit::override_rules::OverrideRule;
use crate::reply::Reply;
use crate::{Caller, Code, Error, Keyrack};

/// Reads the override that applies to an identifier.
#[derive(Debug)]
pub struct GetOverride;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Id or name of the namespace.
    #[schemars(length(min = 1, max = 512))]
    namespace: String,
    /// The identifier that is limited.
    #[schemars(length(min = 1, max = 512))]
    identifier: String,
}

/// An override.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Override {
    /// `rlor_…`
    pub override_id: OverrideId,
    /// Window in ms.
    pub duration: i64,
    /// The identifier or pattern it is for.
    pub identifier: String,
    /// Cost admitted per window; 0 blocks.
    pub limit: i64,
}

impl Override {
    pub(super) fn id(&self) -> &str {
        &self.override_id
    }
}

impl From<&OverrideRule> for Override {
    fn from(rule: &OverrideRule) -> Self {
        Override {
            override_id: rule.id.to_string().into(),
            duration: rule.duration_ms,
            identifier: rule.pattern.to_string(),
            limit: rule.limit,
        }
    }
}

impl Operation for GetOverride {
    const ABOUT: About = About {
        name: "ratelimit.getOverride",
        title: "Get the override of an identifier",
        summary: "Reads the override that applies to an identifier: the exact one, else the pattern that fits best.",
        description: "The answer is the same whether there is none or the root key may not read it.",
        example: r#"{"namespace": "<namespace>", "identifier": "<overrideIdentifier>"}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg(
                "unkey:v1:{workspaceId}:ratelimits/namespaces/{namespaceId}/overrides/{overrideId}#read_override",
            ),
            Expression::Leg("ratelimit.{namespaceId}.read_override"),
            Expression::Leg("ratelimit.*.read_override"),
        ]))
        .denied_as(OnDenied::Masked(Code::RatelimitOverrideNotFound)),
        errors: &[Code::RatelimitNamespaceNotFound, Code::RatelimitOverrideNotFound],
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Override;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Override>, Error> {
        let namespace = find_live(keyrack, caller, &request.namespace).await?;
        let rule = namespace.overrides.find(&request.identifier);
        let rule = rule.or_not_found(Code::RatelimitOverrideNotFound)?;
        let authorized = caller
            .authorize(&Self::ABOUT.rule, &[("namespaceId", &namespace.stored.id), ("overrideId", &rule.id)])?;
        Ok(authorized.reply(Override::from(&*rule)))
    }
}
