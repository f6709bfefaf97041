//! The way of a call: look the tool up, may the caller see it, is there room for another call, are the
//! arguments right, run it, render it, log it.
//!
//! Everything the operation refuses becomes the result of the call; only a tool that does not exist is a
//! protocol error. Arguments are never logged: they may hold keys.

use std::time::{Duration, Instant};

use keyrack_core::catalogue::{About, Effect};
use keyrack_core::error::{Code, Fault};
use keyrack_core::ids::RequestId;
use keyrack_core::ratelimit::counters::memory::{CellKey, CellScope, Check, MemoryCounters};
use keyrack_core::schema::AnsweredSecrets;
use keyrack_core::{Caller, Error, Keyrack, traces};
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, JsonObject};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::catalogue::{Answer, Catalogue, Offer, PAGE_SIZE};
use crate::schema::{drop_nulls, to_request};
use crate::workers::off_the_workers;
use crate::{failure, rendering, view};
use keyrack_core::calendar::{MINUTE_MS, UnixMs};

/// How long an operation may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Far more root keys than ever call tools.
const MAX_CALLERS: usize = 10_000;

/// How many calls a root key may make per minute, whatever the tool.
///
/// A model in a loop calls without end; the limit of the workspace, where there is one, is for all its
/// traffic. There is one count per root key that ever called, which is few.
#[derive(Debug)]
pub(crate) struct CallLimit {
    per_minute: u32,
    counters: MemoryCounters,
}

impl CallLimit {
    /// A limit; 0 is none.
    pub(crate) fn per_minute(per_minute: u32) -> Self {
        CallLimit { per_minute, counters: MemoryCounters::with_room_for(MAX_CALLERS) }
    }

    /// Counts a call, or says when to try again.
    fn count(&self, caller: &Caller, now: UnixMs) -> Result<(), Error> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let cell = CellKey {
            workspace: caller.workspace_id(),
            scope: CellScope::Key("mcp calls"),
            identifier: caller.principal().id(),
            duration_ms: MINUTE_MS,
        };
        let decision = self.counters.check(&Check { cell, limit: self.per_minute.into(), cost: 1 }, now);
        if decision.passed {
            return Ok(());
        }
        // At the very end of the window all of it still weighs; a millisecond later there is room.
        let wait_ms = u64::try_from(decision.reset_ms - now.get()).unwrap_or_default() + 1;
        let detail = format!(
            "This root key made {} tool calls within a minute, as many as this server allows; nothing was done.",
            self.per_minute
        );
        Err(Error::new(Code::WorkspaceRateLimited, detail).retry_after(wait_ms.div_ceil(1000)))
    }
}

/// One call of a tool, as it came in.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) tool: String,
    pub(crate) arguments: JsonObject,
    /// What the client calls itself, for the log.
    pub(crate) client: String,
    /// Whether its message is so large that reading it is work for a thread of its own.
    pub(crate) is_large: bool,
    /// Fires when nobody waits for the answer any more.
    pub(crate) abandoned: CancellationToken,
    /// The span of the HTTP request that it came in, if it did and there are traces.
    pub(crate) within: Span,
}

/// Answers a call.
///
/// # Errors
/// When there is no such tool.
pub(crate) async fn answer(
    keyrack: &Keyrack,
    limit: &CallLimit,
    caller: Result<Caller, Error>,
    call: Call,
) -> Result<CallToolResult, ErrorData> {
    let started = Instant::now();
    let request_id = caller.as_ref().map_or_else(|_| RequestId::new(), |caller| caller.origin().request_id);
    let request_id = request_id.as_str();
    let catalogue = Catalogue::get();
    let root_key = caller.as_ref().map(|caller| caller.principal().id().to_owned()).unwrap_or_default();
    let client = call.client.clone();
    let none = AnsweredSecrets::default();
    let (about, secrets, outcome) = match (catalogue.find(&call.tool), catalogue.withheld_as(&call.tool)) {
        (Some(offer), _) => {
            let span = tracing::info_span!("tool call", request_id, operation = offer.about.name);
            let traced = tracing::info_span!(
                target: traces::TARGET,
                parent: &call.within,
                "tool call",
                operation = offer.about.name,
                request_id,
                root_key,
                outcome = Empty,
                otel.status_code = Empty,
            );
            let running = run(keyrack, limit, caller, offer, call).instrument(traced.clone());
            let outcome = running.instrument(span).await;
            record_outcome(&traced, &outcome);
            (offer.about, &offer.secrets, outcome)
        }
        (None, Some((about, reason))) => (about, &none, Err(not_a_tool(&call.tool, reason))),
        (None, None) => return Err(failure::unknown_tool(&call.tool)),
    };
    let ended = outcome.as_ref().map_or_else(|error| error.code().specific(), |_| "ok");
    keyrack.metrics().called_by_assistant(about.name, ended, started.elapsed());
    // A log in JSON shows numbers of 128 bits as texts.
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        root_key,
        operation = about.name,
        ?client,
        outcome = ended,
        milliseconds,
        request_id,
        "tool call"
    );
    Ok(match outcome {
        Ok(answer) => rendering::result(secrets, answer, request_id),
        Err(error) => {
            if error.code().status() >= 500 {
                tracing::error!(request_id, operation = about.name, %error, "tool call failed");
            }
            failure::result(&error, request_id)
        }
    })
}

/// Writes into the span for traces how its call ended.
fn record_outcome(span: &Span, outcome: &Result<Answer, Error>) {
    span.record("outcome", outcome.as_ref().map_or_else(|error| error.code().specific(), |_| "ok"));
    if outcome.as_ref().is_err_and(|error| error.code().status() >= 500) {
        span.record("otel.status_code", "ERROR");
    }
}

async fn run(
    keyrack: &Keyrack,
    limit: &CallLimit,
    caller: Result<Caller, Error>,
    offer: &'static Offer,
    call: Call,
) -> Result<Answer, Error> {
    let caller = caller?;
    admit(keyrack, limit, &caller, offer)?;
    let (keyrack, is_large) = (keyrack.clone(), call.is_large);
    let running = async move {
        let arguments = read_arguments(offer, call.arguments)?;
        // Whatever became of the root key and its workspace while they waited to be read counts.
        let caller = if is_large { keyrack.renew(&caller)? } else { caller };
        offer.run(keyrack, caller, arguments).await
    };
    let running = async {
        if is_large {
            return off_the_workers(running).await.unwrap_or_else(|| Err(Error::unexpected("panicked")));
        }
        running.await
    };
    in_time(offer.about, running, DEADLINE, &call.abandoned).await
}

/// Whether the caller may make this call at all, now.
fn admit(keyrack: &Keyrack, limit: &CallLimit, caller: &Caller, offer: &Offer) -> Result<(), Error> {
    if !view::is_visible(offer.about, caller.principal()) {
        let error = view::refusal(offer.about, caller.principal());
        keyrack.refusals().tell_of(keyrack.clock().now(), offer.about.name, caller, &error);
        return Err(error);
    }
    limit.count(caller, keyrack.clock().now())?;
    let throttled = keyrack.counters().throttle(caller, &offer.about.rule, keyrack.clock());
    throttled.refusal.map_or(Ok(()), Err)?;
    Ok(())
}

/// Waits for an operation as long as it may take and somebody waits for it.
///
/// Giving up drops what runs: a read ends, a change goes on in a task of its own and is done as a whole or
/// not at all.
async fn in_time(
    about: &About,
    running: impl Future<Output = Result<Answer, Error>>,
    deadline: Duration,
    abandoned: &CancellationToken,
) -> Result<Answer, Error> {
    tokio::select! {
        outcome = running => outcome,
        () = tokio::time::sleep(deadline) => Err(too_late(about, deadline)),
        () = abandoned.cancelled() => Err(Error::new(Code::RequestTimeout, "The call was cancelled.")),
    }
}

/// Checks arguments against the schema that the tool shows, and fills in its page size.
fn read_arguments(offer: &Offer, mut arguments: JsonObject) -> Result<Value, Error> {
    if offer.about.list.is_some() {
        arguments.entry("limit").or_insert_with(|| PAGE_SIZE.into());
    }
    drop_nulls(&mut arguments, &offer.tool.input_schema);
    let arguments = Value::Object(arguments);
    let faults = offer.arguments().faults(&arguments);
    let Value::Object(mut request) = arguments else { return Err(Error::unexpected("arguments are no object")) };
    let both = if faults.is_empty() { to_request(&mut request, offer.kept()).err() } else { None };
    let faults = faults.into_iter().chain(both.map(|path| sent_and_cleared(&path))).collect::<Vec<_>>();
    if faults.is_empty() {
        return Ok(Value::Object(request));
    }
    Err(Error::new(Code::InvalidInput, "The arguments are not valid.").with_faults(faults))
}

fn sent_and_cleared(path: &str) -> Fault {
    Fault {
        location: format!("body.{path}"),
        message: "is sent, and is to be cleared or kept as well".to_owned(),
        fix: Some(format!("Send `{path}`, or what clears or keeps it, not both.")),
    }
}

fn not_a_tool(tool: &str, reason: &str) -> Error {
    Error::new(Code::Forbidden, format!("{tool} is not offered to assistants: {reason}."))
}

fn too_late(about: &About, deadline: Duration) -> Error {
    let mut detail = format!("There was no answer within {} seconds.", deadline.as_secs());
    if about.effect != Effect::Read {
        detail.push_str(" The change may have happened or still happen: look before you try again.");
    }
    Error::new(Code::RequestTimeout, detail)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use keyrack_core::authorization::Grants;
    use keyrack_core::caller::{Origin, Principal, RootKey, Via};

    use super::*;

    fn caller(id: &str) -> Caller {
        let root_key = RootKey {
            id: id.to_owned(),
            workspace_id: "ws_1".to_owned(),
            name: None,
            permissions: Vec::new(),
            grants: Grants::new("ws_1", []),
            operator: false,
            enabled: true,
            expires_at: None,
            last_use: Arc::default(),
        };
        Caller::new(Principal::RootKey(Arc::new(root_key)), None, Origin::local(Via::Mcp))
    }

    #[test]
    fn each_root_key_has_its_own_calls_per_minute() {
        let limit = CallLimit::per_minute(2);
        let now = UnixMs::new(10 * MINUTE_MS);
        assert!(limit.count(&caller("key_1"), now).is_ok());
        assert!(limit.count(&caller("key_1"), now).is_ok());
        let refused = limit.count(&caller("key_1"), now.plus(500)).unwrap_err();
        assert_eq!(refused.retry_after_seconds(), Some(60));
        assert!(limit.count(&caller("key_2"), now).is_ok());
        assert!(limit.count(&caller("key_1"), now.plus(500 + MINUTE_MS)).is_ok(), "the time it named is enough");
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        let limit = CallLimit::per_minute(0);
        assert!((0..1000).all(|_| limit.count(&caller("key_1"), UnixMs::new(0)).is_ok()));
    }

    #[test]
    fn lists_have_a_page_size_unless_the_call_says_otherwise() {
        let offer = Catalogue::get().find("apis_listApis").unwrap();
        let read = |arguments: Value| {
            let Value::Object(arguments) = arguments else { unreachable!() };
            read_arguments(offer, arguments).unwrap()
        };
        assert_eq!(read(serde_json::json!({})), serde_json::json!({ "limit": PAGE_SIZE }));
        assert_eq!(read(serde_json::json!({ "limit": 3 })), serde_json::json!({ "limit": 3 }));
    }

    #[tokio::test]
    async fn an_operation_that_takes_too_long_says_whether_something_may_have_changed() {
        let patience = CancellationToken::new();
        for (tool, may_have_changed) in [("apis_getApi", false), ("apis_deleteApi", true)] {
            let about = Catalogue::get().find(tool).unwrap().about;
            let error = in_time(about, std::future::pending(), Duration::ZERO, &patience).await.unwrap_err();
            assert_eq!(error.code(), Code::RequestTimeout);
            assert_eq!(error.detail().contains("may have happened"), may_have_changed, "{tool}");
        }
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_ends() {
        let abandoned = CancellationToken::new();
        abandoned.cancel();
        let about = Catalogue::get().find("apis_getApi").unwrap().about;
        assert!(in_time(about, std::future::pending(), DEADLINE, &abandoned).await.is_err());
    }
}
