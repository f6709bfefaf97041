//! `workspace.updateWorkspace`

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::record_at_home;
use crate::audit::{Actor, Changes, Event, Target};
use crate::authorization::Rule;
use crate::calendar::UnixMs;
use crate::catalogue::{About, Consequences, Effect, Operation, Question, if_so};
use crate::changes::{Mutation, turns};
use crate::error::OrNotFound as _;
use crate::ids::WorkspaceId;
use crate::reply::{Empty, Reply};
use crate::store::subject::Subject;
use crate::store::workspaces::{self, Workspace};
use crate::turns::Place;
use crate::value::Patch;
use crate::{Caller, Code, Error, Keyrack};

/// Changes a workspace.
#[derive(Debug)]
pub struct UpdateWorkspace;

/// What is sent. Absent members stay as they are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The workspace.
    workspace_id: WorkspaceId,
    /// For people.
    #[schemars(length(min = 1, max = 256))]
    name: Option<String>,
    /// Whether its keys and root keys work.
    enabled: Option<bool>,
    /// Of all its root keys; 0 refuses all; null: no limit.
    #[serde(default)]
    #[schemars(range(min = 0))]
    requests_per_minute: Patch<i64>,
    /// Days that verification events are kept; null: for ever.
    #[serde(default)]
    #[schemars(range(min = 1, max = 36500))]
    log_retention_days: Patch<i64>,
    /// Days that the audit log is kept; null: for ever.
    #[serde(default)]
    #[schemars(range(min = 1, max = 36500))]
    audit_retention_days: Patch<i64>,
}

const DISABLES: &str = "Disables the workspace. All its keys and root keys are refused at once.";
const LIMITS: &str = "Lowers how many requests a minute the root keys of the workspace may make.";
const FORGETS_EVENTS: &str = "Removes events of verifications and limits that are older, for good.";
const FORGETS_AUDIT: &str = "Removes entries of the audit log that are older, for good.";

impl Operation for UpdateWorkspace {
    const ABOUT: About = About {
        name: "workspace.updateWorkspace",
        title: "Change a workspace",
        summary: "Changes the name or the limits of a workspace, or disables it. Absent members stay, null clears.",
        description: "For operators, in the audit logs of both workspaces. Disabling refuses the keys and the root keys of the workspace at once; enabling \
                      brings them back as they were. The caller's own workspace can be neither disabled nor limited to 0, \
                      which nobody could take back. `requestsPerMinute` counts all requests of the workspace's root keys, but for \
                      what only operators may do when an operator does it: a limit that is too low can be corrected.",
        example: r#"{"workspaceId": "<workspaceId>", "requestsPerMinute": 60000}"#,
        rule: Rule::OPERATOR,
        effect: Effect::Write,
        errors: &[Code::WorkspaceNotFound, Code::ProtectedResource],
        is_own: true,
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Empty;

    fn consequences(request: &Request, _: UnixMs) -> Consequences {
        if_so([
            (DISABLES, request.enabled == Some(false)),
            (LIMITS, matches!(request.requests_per_minute, Patch::Value(_))),
            (FORGETS_EVENTS, matches!(request.log_retention_days, Patch::Value(_))),
            (FORGETS_AUDIT, matches!(request.audit_retention_days, Patch::Value(_))),
        ])
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        mut consequences: Consequences,
    ) -> Result<Question, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let found = workspaces::find(&mut *keyrack.store().read().await?, &request.workspace_id).await?;
        let before = found.or_not_found(Code::WorkspaceNotFound)?;
        let after = request.applied_to(&before);
        stay_in(caller, &after)?;
        let is_less = |after: Option<i64>, before: Option<i64>| {
            after.is_some_and(|after| before.is_none_or(|before| after < before))
        };
        consequences.retain(|consequence| match *consequence {
            DISABLES => before.enabled,
            LIMITS => is_less(after.requests_per_minute, before.requests_per_minute),
            FORGETS_EVENTS => is_less(after.log_retention_days, before.log_retention_days),
            _ => is_less(after.audit_retention_days, before.audit_retention_days),
        });
        let question = authorized.asking(consequences);
        let change = |before: Option<i64>, after: Option<i64>| {
            let told =
                |number: Option<i64>| number.map_or_else(|| "no limit".to_owned(), |number| number.to_string());
            (before != after).then(|| format!("{}, until now {}", told(after), told(before)))
        };
        let requests = change(before.requests_per_minute, after.requests_per_minute);
        let events = change(before.log_retention_days, after.log_retention_days);
        let audit = change(before.audit_retention_days, after.audit_retention_days);
        let question = question.text("workspace", &*before.name).text("id", &*before.id);
        let question = question.text_if_any("requests a minute", requests.as_deref());
        let question = question.text_if_any("days of events", events.as_deref());
        let question = question.text_if_any("days of the audit log", audit.as_deref());
        Ok(question.agreed_by_typing(&before.name))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Empty>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut mutation = begin(keyrack, caller, &request.workspace_id).await?;
        let found = workspaces::find(mutation.connection(), &request.workspace_id).await?;
        let before = found.or_not_found(Code::WorkspaceNotFound)?;
        let after = request.applied_to(&before);
        stay_in(caller, &after)?;
        let now = mutation.now();
        workspaces::update(mutation.connection(), &after, now).await?;
        let event = Event::new("workspace.update", format!("Updated workspace {}", after.id));
        let target = Target::new("workspace", &after.id).named(&after.name);
        let event = event.on(target).changing(changes(&before, &after));
        record_at_home(&mut mutation, caller, event.clone()).await?;
        mutation.record(event);
        mutation.touch(Subject::Workspace(after.id));
        mutation.commit().await?;
        Ok(authorized.reply(Empty {}))
    }
}

impl Request {
    /// What becomes of the workspace.
    fn applied_to(&self, before: &Workspace) -> Workspace {
        let mut after = Workspace {
            name: self.name.clone().unwrap_or_else(|| before.name.clone()),
            enabled: self.enabled.unwrap_or(before.enabled),
            ..before.clone()
        };
        self.requests_per_minute.apply(&mut after.requests_per_minute);
        self.log_retention_days.apply(&mut after.log_retention_days);
        self.audit_retention_days.apply(&mut after.audit_retention_days);
        after
    }
}

/// Checks that a caller does not lock itself out of its own workspace.
fn stay_in(caller: &Caller, after: &Workspace) -> Result<(), Error> {
    if after.id != caller.workspace_id() || (after.enabled && after.requests_per_minute != Some(0)) {
        return Ok(());
    }
    Err(Error::new(
        Code::ProtectedResource,
        "This is the workspace of the calling root key, which would lock itself out. Use an operator of another \
         workspace.",
    ))
}

/// Begins a change of a workspace that is written into the caller's log, too.
async fn begin(keyrack: &Keyrack, caller: &Caller, workspace_id: &str) -> Result<Mutation, Error> {
    let turns = turns(keyrack.state(), &[caller.workspace_id(), workspace_id], Place::First).await?;
    let mut transaction = keyrack.store().write().await?;
    let mut locked = [caller.workspace_id(), workspace_id];
    locked.sort_unstable();
    for id in locked {
        workspaces::lock(&mut transaction, id).await?;
    }
    let mut mutation =
        Mutation::adopt(keyrack.state(), turns, transaction, workspace_id, Actor::of(caller)).await?;
    mutation.check_caller(caller).await?;
    Ok(mutation)
}

/// What in two states of a workspace differs, as the audit log says it.
fn changes(before: &Workspace, after: &Workspace) -> Changes {
    let view = |workspace: &Workspace| {
        json!({
            "name": workspace.name,
            "enabled": workspace.enabled,
            "requestsPerMinute": workspace.requests_per_minute,
            "logRetentionDays": workspace.log_retention_days,
            "auditRetentionDays": workspace.audit_retention_days,
        })
    };
    Changes::between(&view(before), &view(after))
}
