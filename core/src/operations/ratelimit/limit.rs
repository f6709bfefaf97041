//! `ratelimit.limit`

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::{Event, Target};
use crate::authorization::{Conditional, Expression, OnDenied, Rule};
use crate::catalogue::{About, Effect, Operation, Reply};
use crate::changes::{Mutation, Subject};
use crate::ids::{self, Kind};
use crate::ratelimit::counters::memory::{CellKey, CellScope, Check};
use crate::resident;
use crate::store::namespaces::{self, Namespace};
use crate::{Caller, Code, Error, Keyrack};

/// Checks a rate limit and counts against it.
#[derive(Debug)]
pub struct Limit;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Id or name of the namespace; created if new.
    #[schemars(length(min = 1, max = 512))]
    namespace: String,
    /// Whom to count, such as a user id or an address.
    #[schemars(length(min = 1, max = 512))]
    identifier: String,
    /// Cost admitted per window.
    #[schemars(range(min = 1))]
    limit: i64,
    /// Window in ms, up to 30 days.
    #[schemars(range(min = 1000, max = 2_592_000_000_i64))]
    duration: i64,
    /// What to count; 0 only looks.
    #[serde(default = "one")]
    #[schemars(range(min = 0))]
    cost: i64,
}

fn one() -> i64 {
    1
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The limit that counted: the override's, where one applied.
    limit: i64,
    /// What is left in the window; 0 when refused.
    remaining: i64,
    /// Unix ms at which the window ends.
    reset: i64,
    /// Whether to serve the request.
    success: bool,
    /// `rlor_…`, the override that applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    override_id: Option<String>,
}

impl Operation for Limit {
    const ABOUT: About = About {
        name: "ratelimit.limit",
        title: "Check a rate limit",
        summary: "Says whether an identifier may act now under a sliding window, and counts it if so.",
        description: "Answers 200 also when it refuses: look at `success`. A refusal counts nothing. Windows are aligned \
                      to the Unix epoch; the limit is not part of the count, the duration is. An override of the \
                      namespace replaces limit and duration. A deleted namespace answers 410.",
        example: r#"{"namespace": "emails", "identifier": "user_42", "limit": 10, "duration": 60000}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("ratelimit.{namespaceId}.limit"),
            Expression::Leg("ratelimit.*.limit"),
        ]))
        .and(&[Conditional {
            name: "create",
            when: "the namespace does not exist (checked first)",
            check: Expression::Leg("ratelimit.*.create_namespace"),
            on_denied: OnDenied::Forbidden,
        }]),
        effect: Effect::Write,
        idempotent: false,
        errors: &[Code::RatelimitNamespaceGone],
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let namespace = match keyrack.resident().namespace(caller.workspace_id(), &request.namespace) {
            Some(namespace) => namespace,
            None => find_or_create(keyrack, caller, &request.namespace).await?,
        };
        if namespace.stored.deleted {
            return Err(Error::new(
                Code::RatelimitNamespaceGone,
                "The namespace was deleted, and its name stays reserved. Use another name.",
            ));
        }
        caller.authorize::<Self>(&[("namespaceId", &namespace.stored.id)])?;
        let rule = namespace.overrides.find(&request.identifier);
        let (limit, duration_ms) =
            rule.map_or((request.limit, request.duration), |rule| (rule.limit, rule.duration_ms));
        let check = Check {
            cell: CellKey {
                workspace: caller.workspace_id().into(),
                scope: CellScope::Namespace(namespace.stored.id.as_str().into()),
                identifier: request.identifier.as_str().into(),
                duration_ms,
            },
            limit,
            cost: request.cost,
        };
        let decision = keyrack.counters().check(&check, keyrack.clock().now());
        Ok(Response {
            limit,
            remaining: decision.remaining,
            reset: decision.reset_ms,
            success: decision.passed,
            override_id: rule.map(|rule| rule.id.to_string()),
        }
        .into())
    }
}

/// A namespace that this process has not seen: another process may have made it, else it is made now.
async fn find_or_create(
    keyrack: &Keyrack,
    caller: &Caller,
    name: &str,
) -> Result<Arc<resident::Namespace>, Error> {
    let workspace_id = caller.workspace_id();
    let known = namespaces::find(&mut *keyrack.store().read().await?, workspace_id, name).await?;
    if let Some(known) = known {
        keyrack.read_again(&[Subject::Namespace(known.id)]).await?;
    } else {
        caller.authorize_also::<Limit>("create", &[])?;
        create(keyrack, caller, name).await?;
    }
    let namespace = keyrack.resident().namespace(workspace_id, name);
    namespace.ok_or_else(|| Error::unexpected("a namespace was created and is not there"))
}

async fn create(keyrack: &Keyrack, caller: &Caller, name: &str) -> Result<(), Error> {
    let mut mutation = Mutation::begin(keyrack, caller).await?;
    let known = namespaces::find(mutation.connection(), caller.workspace_id(), name).await?;
    if let Some(known) = known {
        // A parallel request was first.
        drop(mutation);
        return keyrack.read_again(&[Subject::Namespace(known.id)]).await;
    }
    let namespace = Namespace {
        id: ids::generate(Kind::RatelimitNamespace),
        workspace_id: caller.workspace_id().to_owned(),
        name: name.to_owned(),
        deleted: false,
    };
    let now = mutation.now();
    namespaces::insert(mutation.connection(), &namespace, now).await?;
    mutation.record(
        Event::new("ratelimitNamespace.create", format!("Created rate-limit namespace {}", namespace.id))
            .on(Target::new("ratelimitNamespace", &namespace.id).named(name)),
    );
    mutation.touch(Subject::Namespace(namespace.id));
    mutation.commit().await
}
