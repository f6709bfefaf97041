//! `ratelimit.setOverride`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::namespace::{begin_change, find_live, rule_facts};
use crate::audit::{Changes, Event, Target};
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Consequences, Effect, Operation, Question, ShownAfter, if_so};
use crate::ids::{self, Kind, OverrideId};
use crate::ratelimit::override_rules::{self, OverrideRule};
use crate::reply::Reply;
use crate::store::subject::Subject;
use crate::store::{Connection, overrides};
use crate::{Caller, Code, Error, Keyrack};

/// How many patterns with a `*` a namespace has at most.
const MOST_PATTERNS: i64 = 1000;
/// How many of them have more than one `*`.
const MOST_WITH_SEVERAL_STARS: i64 = 100;

/// Sets the limit of some identifiers of a namespace.
#[derive(Debug)]
pub struct SetOverride;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Id or name of the namespace.
    #[schemars(length(min = 1, max = 512))]
    namespace: String,
    /// An identifier, or a pattern in which `*`, at most 8 of them, is any run of characters.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^([^*]*\*){0,8}[^*]*$"))]
    identifier: String,
    /// Cost admitted per window; 0 blocks.
    #[schemars(range(min = 0))]
    limit: i64,
    /// Window in ms.
    #[schemars(range(min = 1000))]
    duration: i64,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// `rlor_…`
    pub override_id: OverrideId,
}

impl Operation for SetOverride {
    const ABOUT: About = About {
        name: "ratelimit.setOverride",
        title: "Set an override",
        summary: "Sets limit and window of an identifier, or of all that match a pattern, whatever requests ask for.",
        description: "It counts from the next request on. Setting the same identifier again keeps the id, also after \
                      the override was deleted. Of several that match, the exact one applies, then the one with the longest \
                      text before its first `*`, then the one with the most text, then the oldest. Another duration starts \
                      another count. A namespace has at most 1000 patterns with a `*`, 100 of them with several, and a \
                      pattern at most 8.",
        example: r#"{"namespace": "<namespace>", "identifier": "user_42", "limit": 1000, "duration": 60000}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("ratelimit.{namespaceId}.set_override"),
            Expression::Leg("ratelimit.*.set_override"),
        ])),
        effect: Effect::Write,
        errors: &[Code::RatelimitNamespaceNotFound],
        assistants: Assistants {
            hint: "A tier is a pattern such as pro_*. ratelimit.createNamespace makes a namespace that is not there. limit 0 blocks.",
            shown_after: Some(ShownAfter { read: "ratelimit.getOverride", by: &["namespace", "identifier"] }),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Response;

    fn consequences(request: &Request, _: UnixMs) -> Consequences {
        if_so([("Refuses every request of the identifiers at once.", request.limit == 0)])
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        mut consequences: Consequences,
    ) -> Result<Question, Error> {
        let namespace = find_live(keyrack, caller, &request.namespace).await?;
        let namespace_id = &namespace.stored.id;
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("namespaceId", namespace_id)])?;
        let mut connection = keyrack.store().read().await?;
        let before = overrides::find_by_pattern(&mut connection, namespace_id, &request.identifier).await?;
        consequences.retain(|_| before.as_ref().is_none_or(|before| before.limit != 0));
        let question = authorized.asking(consequences).text("identifier", &*request.identifier);
        let before = before.map(|before| format!("{} per {} ms", before.limit, before.duration_ms));
        let question = question.text("namespace", &*namespace.stored.name);
        Ok(question.text_if_any("override until now", before.as_deref()))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let namespace = find_live(keyrack, caller, &request.namespace).await?;
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("namespaceId", &namespace.stored.id)])?;
        let mut mutation = begin_change(keyrack, caller, &namespace).await?;
        let rule = OverrideRule {
            id: ids::generate(Kind::RatelimitOverride).into(),
            pattern: request.identifier.into(),
            limit: request.limit,
            duration_ms: request.duration,
            created_at: mutation.now(),
        };
        let namespace_id = &namespace.stored.id;
        let before = overrides::find_by_pattern(mutation.connection(), namespace_id, &rule.pattern).await?;
        if before.is_none() {
            check_room(mutation.connection(), namespace_id, &rule.pattern).await?;
        }
        let id = overrides::set(mutation.connection(), caller.workspace_id(), namespace_id, &rule).await?;
        let event = Event::new("ratelimit.set_override", format!("Set override {id} in namespace {namespace_id}"));
        let changes = Changes::between(&before.as_ref().map(rule_facts), &rule_facts(&rule));
        mutation.record(event.on(Target::new("ratelimitOverride", &id).named(&*rule.pattern)).changing(changes));
        mutation.touch(Subject::Override(id.clone()));
        mutation.commit().await?;
        Ok(authorized.reply(Response { override_id: id.into() }))
    }
}

/// Whether a namespace may have one more override with this pattern. Every check of a limit may look at all
/// patterns, and at the pieces of those with several `*` one after the other.
async fn check_room(connection: &mut Connection, namespace_id: &str, pattern: &str) -> Result<(), Error> {
    let stars = override_rules::stars(pattern);
    if stars == 0 {
        return Ok(());
    }
    let patterns = overrides::count_patterns(connection, namespace_id).await?;
    let full = if patterns.all >= MOST_PATTERNS {
        format!("may not have a `*`: the namespace has {MOST_PATTERNS} patterns, which is the most")
    } else if stars > 1 && patterns.with_several_stars >= MOST_WITH_SEVERAL_STARS {
        format!(
            "may have one `*` at most: the namespace has {MOST_WITH_SEVERAL_STARS} patterns with several, which is the \
             most"
        )
    } else {
        return Ok(());
    };
    Err(Error::invalid(
        "body.identifier",
        full,
        "Delete patterns that are not needed, or set identifiers exactly.",
    ))
}
