//! The way of a call: look the tool up, is it in the view and may the caller see it, is there room for another call, are the
//! arguments right, run it, show of it what fits, log it.
//!
//! Everything the operation refuses becomes the result of the call; only a tool that does not exist is a
//! protocol error. Arguments are never logged: they may hold keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use keyrack_core::calendar::{MINUTE_MS, UnixMs};
use keyrack_core::catalogue::{About, Effect, Question};
use keyrack_core::confirmations::{self, Void};
use keyrack_core::error::Code;
use keyrack_core::ids::RequestId;
use keyrack_core::ratelimit::counters::memory::{CellKey, CellScope, Check, MemoryCounters};
use keyrack_core::{Caller, Error, traces};
use rmcp::model::{CallToolResponse, InputRequiredResult, JsonObject};
use rmcp::service::Peer;
use rmcp::{ErrorData, RoleServer};
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::afterwards::Afterwards;
use crate::asked::Asked;
use crate::audience::Audience;
use crate::backend::Backend;
use crate::catalogue::{Answer, Catalogue, Offer};
use crate::compact::{self, Inner};
use crate::confirmation::{self, Confirm, Consent, Verdict};
use crate::projection::Shown;
use crate::secrets::Secrets;
use crate::view::View;
use crate::workers::off_the_workers;
use crate::{failure, rendering, view};

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
    pub(crate) fn count(&self, caller: &Caller, now: UnixMs) -> Result<(), Error> {
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
            "This root key made {} requests within a minute, as many as this server allows; nothing was done.",
            self.per_minute
        );
        Err(Error::new(Code::WorkspaceRateLimited, detail).retry_after(wait_ms.div_ceil(1000)))
    }
}

/// Makes a span part of the trace that headers name, if they name one.
pub type FollowTrace = fn(&HeaderMap, &Span);

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
    /// What it says of the trace that it is part of, as headers would.
    pub(crate) trace: HeaderMap,
    /// What it brings of the user's agreement, and how to get one.
    pub(crate) consent: Consent,
    /// Who opens links for the user, past the model.
    pub(crate) opens_links: Option<Peer<RoleServer>>,
    /// Whether a client reads what is at an address, and no model calls a tool.
    pub(crate) is_reading: bool,
}

/// What answers calls.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) limit: CallLimit,
    /// The same of what is no call: lists, prompts, documentation.
    pub(crate) other_limit: CallLimit,
    /// How people are asked before what destroys.
    pub(crate) confirm: Confirm,
    /// Makes spans part of traces that calls name.
    pub(crate) follow: Option<FollowTrace>,
    /// How the texts of keys are handed over.
    pub(crate) secrets: Arc<Secrets>,
}

/// What is logged of a call that ended.
#[derive(Debug, Clone, Copy)]
struct Ended<'a> {
    operation: &'static str,
    root_key: &'a str,
    client: &'a str,
    request_id: &'a str,
    started: Instant,
    is_reading: bool,
}

/// How a call ended that went well.
#[derive(Debug)]
enum Outcome {
    /// With an answer.
    Shown(Box<Shown>),
    /// With a question to the user.
    Asks(Box<InputRequiredResult>),
}

impl Desk {
    /// A caller, as whoever reads lists.
    pub(crate) fn audience<'a>(&'a self, caller: &'a Caller, view: &'a View) -> Audience<'a> {
        Audience { catalogue: &self.catalogue, backend: &*self.backend, view, principal: caller.principal() }
    }

    /// Answers a call.
    ///
    /// # Errors
    /// When there is no such tool.
    pub(crate) async fn answer(
        &self,
        caller: Result<Caller, Error>,
        view: &View,
        call: Call,
    ) -> Result<CallToolResponse, ErrorData> {
        let inner = match view.is_compact() {
            true => compact::read(&self.catalogue, &call.tool, &call.arguments),
            false => None,
        };
        match (inner, caller) {
            (None, caller) => Box::pin(self.answer_one(caller, view, call)).await,
            (Some(Ok(Inner::Call { tool, arguments })), caller) => {
                Box::pin(self.answer_one(caller, view, Call { tool, arguments, ..call })).await
            }
            (Some(Ok(Inner::Find(query))), Ok(caller)) => Ok(self.find(&caller, view, &call.client, &query)),
            (Some(Ok(Inner::Find(_))), Err(error)) | (Some(Err(error)), _) => {
                Ok(failure::result(&self.catalogue, &error, RequestId::new().as_str()).into())
            }
        }
    }

    /// Finds operations; it counts as a call, so that nobody searches without end.
    fn find(&self, caller: &Caller, view: &View, client: &str, query: &str) -> CallToolResponse {
        let (started, request_id) = (Instant::now(), caller.origin().request_id);
        let outcome = self.limit.count(caller, self.backend.now()).map(|()| {
            let data = compact::find(&self.catalogue, view, caller.principal(), query);
            Outcome::Shown(Box::new(Shown::whole(Answer { data, pagination: None })))
        });
        let root_key = caller.principal().id();
        let request_id = request_id.as_str();
        let call = Ended { operation: compact::FIND, root_key, client, request_id, started, is_reading: false };
        self.note(&call, &outcome);
        self.rendered(outcome, request_id)
    }

    /// Counts and logs a call that ended.
    fn note(&self, call: &Ended<'_>, outcome: &Result<Outcome, Error>) {
        let Ended { operation, root_key, client, request_id, started, is_reading } = *call;
        let (ended, took) = (ended(outcome), started.elapsed());
        self.backend.metrics().called_by_assistant(operation, ended, took);
        // A log in JSON shows numbers of 128 bits as texts.
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            root_key,
            operation,
            ?client,
            outcome = ended,
            milliseconds,
            request_id,
            is_reading,
            "tool call"
        );
        if let Err(error) = outcome
            && error.code().status() >= 500
        {
            tracing::error!(request_id, operation, %error, "tool call failed");
        }
    }

    /// The answer to a call that ended.
    fn rendered(&self, outcome: Result<Outcome, Error>, request_id: &str) -> CallToolResponse {
        let result = match outcome {
            Ok(Outcome::Shown(shown)) => rendering::result(*shown, request_id),
            Ok(Outcome::Asks(form)) => return (*form).with_meta(rendering::meta(request_id)).into(),
            Err(error) => failure::result(&self.catalogue, &error, request_id),
        };
        self.backend.metrics().assistant_bytes.add(rendering::bytes(&result));
        result.into()
    }

    async fn answer_one(
        &self,
        caller: Result<Caller, Error>,
        view: &View,
        call: Call,
    ) -> Result<CallToolResponse, ErrorData> {
        let request_id = caller.as_ref().map_or_else(|_| RequestId::new(), |caller| caller.origin().request_id);
        let request_id = request_id.as_str();
        let tool = call.tool.clone();
        match Box::pin(self.outcome(caller, view, call, request_id)).await {
            Some(outcome) => Ok(self.rendered(outcome, request_id)),
            None => Err(failure::unknown_tool(&self.catalogue, &tool)),
        }
    }

    /// Reads what an operation answers that changes nothing, for whoever reads it at an address: the same as a call.
    pub(crate) async fn read_at(&self, caller: Caller, view: &View, call: Call) -> Result<Shown, Error> {
        let request_id = caller.origin().request_id;
        match Box::pin(self.outcome(Ok(caller), view, call, request_id.as_str())).await {
            Some(Ok(Outcome::Shown(shown))) => Ok(*shown),
            Some(Err(error)) => Err(error),
            Some(Ok(Outcome::Asks(_))) | None => {
                Err(Error::unexpected("what is read at an address asks or is no tool"))
            }
        }
    }

    /// Asks an operation that reads, for what is no call: its answer as it is. Who may not call it is refused, and it
    /// counts as a call.
    pub(crate) async fn ask(
        &self,
        caller: Caller,
        view: &View,
        offer: &Arc<Offer>,
        arguments: JsonObject,
        abandoned: &CancellationToken,
    ) -> Result<Answer, Error> {
        self.admit(&caller, view, offer)?;
        let asked = Asked::read(offer, arguments, view.api())?;
        let running = self.backend.run(offer, caller, asked.request().clone());
        in_time(Some(offer.about), running, DEADLINE, abandoned).await
    }

    /// Runs a call, and logs and counts how it ended; `None` where there is no such tool.
    async fn outcome(
        &self,
        caller: Result<Caller, Error>,
        view: &View,
        call: Call,
        request_id: &str,
    ) -> Option<Result<Outcome, Error>> {
        let started = Instant::now();
        let is_reading = call.is_reading;
        let root_key = caller.as_ref().map(|caller| caller.principal().id().to_owned()).unwrap_or_default();
        let client = call.client.clone();
        let (about, outcome) = match (self.catalogue.find(&call.tool), self.catalogue.withheld_as(&call.tool)) {
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
                if let Some(follow) = self.follow {
                    follow(&call.trace, &traced);
                }
                let running = self.run(caller, view, offer, call).instrument(traced.clone());
                let outcome = running.instrument(span).await;
                record_outcome(&traced, &outcome);
                (offer.about, outcome)
            }
            (None, Some((about, reason))) => (about, Err(not_a_tool(&call.tool, reason))),
            (None, None) => return None,
        };
        let note =
            Ended { operation: about.name, root_key: &root_key, client: &client, request_id, started, is_reading };
        self.note(&note, &outcome);
        Some(outcome)
    }

    async fn run(
        &self,
        caller: Result<Caller, Error>,
        view: &View,
        offer: &Arc<Offer>,
        call: Call,
    ) -> Result<Outcome, Error> {
        let caller = caller?;
        self.admit(&caller, view, offer)?;
        let is_large = call.is_large;
        let read =
            Self::read(self.backend.clone(), caller, Arc::clone(offer), view.api(), call.arguments, is_large);
        let read =
            async { if is_large { off_the_workers(read).await.unwrap_or_else(panicked) } else { read.await } };
        let (asked, caller, question) = in_time(None, read, DEADLINE, &call.abandoned).await?;
        let caller = match question {
            None => caller,
            Some(question) => {
                let asking = self.agreed(&asked, &caller, offer, &question, call.consent);
                let verdict = tokio::select! {
                    verdict = asking => verdict?,
                    () = call.abandoned.cancelled() => return Err(cancelled()),
                };
                // People take their time, and much may have become of the root key and of what it is about meanwhile.
                let caller = self.backend.renew(&caller)?;
                match verdict {
                    Verdict::Agreed => {}
                    Verdict::Asks(form) => return Ok(Outcome::Asks(form)),
                    Verdict::Told(token) => self.still_so(&asked, &caller, offer, view, &token).await?,
                }
                caller
            }
        };
        let (backend, ran, secrets) = (self.backend.clone(), Arc::clone(offer), Arc::clone(&self.secrets));
        let renewed = backend.renew(&caller)?;
        let after = Afterwards::of(offer, asked.request(), (&self.catalogue, view), renewed);
        let running = async move { asked.run(&ran, &*backend, caller, &secrets, after).await };
        let running = async {
            if is_large { off_the_workers(running).await.unwrap_or_else(panicked) } else { running.await }
        };
        let mut shown = in_time(Some(offer.about), running, DEADLINE, &call.abandoned).await?;
        if let Some(user) = &call.opens_links {
            // Whoever does not wait for it finds the link in no answer, and the key by its name.
            tokio::select! {
                () = self.secrets.show_link(offer, &mut shown, user) => {}
                () = call.abandoned.cancelled() => return Err(cancelled()),
            }
        }
        Ok(Outcome::Shown(Box::new(shown)))
    }

    /// Reads what a call asks for, and what a person is to be asked before.
    fn read(
        backend: Arc<dyn Backend>,
        caller: Caller,
        offer: Arc<Offer>,
        api: Option<&str>,
        arguments: JsonObject,
        is_large: bool,
    ) -> impl Future<Output = Result<(Asked, Caller, Option<Question>), Error>> + Send + use<> {
        let api = api.map(str::to_owned);
        async move {
            let asked = Asked::read(&offer, arguments, api.as_deref())?;
            // Whatever became of the root key and its workspace while they waited to be read counts.
            let caller = if is_large { backend.renew(&caller)? } else { caller };
            let question = asked.question(&offer, &*backend, &caller, api.as_deref()).await?;
            Ok((asked, caller, question))
        }
    }

    /// Lets an agreement count that was given while the call waited, if what it is about is as it was.
    async fn still_so(
        &self,
        asked: &Asked,
        caller: &Caller,
        offer: &Offer,
        view: &View,
        token: &str,
    ) -> Result<(), Error> {
        let question = asked.question(offer, &*self.backend, caller, view.api()).await?;
        let question = question.ok_or_else(|| confirmation::does_not_count(Void::Changed))?;
        let (operation, request) = (offer.about.name, asked.request());
        let call = confirmations::Call { caller, operation, request, question: &question };
        confirmation::counted(&*self.backend, &call, token).await
    }

    /// Seeks the agreement of a person to a call.
    async fn agreed(
        &self,
        asked: &Asked,
        caller: &Caller,
        offer: &Offer,
        question: &Question,
        consent: Consent,
    ) -> Result<Verdict, Error> {
        let operation = offer.about.name;
        let call = confirmations::Call { caller, operation, request: asked.request(), question };
        let consent = Consent { token: asked.token(), ..consent };
        consent.seek(self.confirm, &*self.backend, &call).await
    }

    /// Whether the caller may make this call at all, now.
    fn admit(&self, caller: &Caller, view: &View, offer: &Offer) -> Result<(), Error> {
        let is_visible = view::is_visible(offer.about, caller.principal());
        let hidden = view.hides(offer).map(|hidden| hidden.refusal(&offer.tool.name));
        let refusal = if is_visible { hidden } else { Some(view::refusal(offer.about, caller.principal())) };
        if let Some(error) = refusal {
            self.backend.note_refusal(offer.about.name, caller, &error);
            return Err(error);
        }
        self.limit.count(caller, self.backend.now())?;
        self.backend.admit(caller, &offer.about.rule)
    }
}

/// How a call ended, in a word.
fn ended(outcome: &Result<Outcome, Error>) -> &'static str {
    match outcome {
        Ok(Outcome::Shown(_)) => "ok",
        Ok(Outcome::Asks(_)) => "asked",
        Err(error) => error.code().specific(),
    }
}

fn panicked<T>() -> Result<T, Error> {
    Err(Error::unexpected("panicked"))
}

fn cancelled() -> Error {
    Error::new(Code::RequestTimeout, "The call was cancelled.")
}

/// Writes into the span for traces how its call ended.
fn record_outcome(span: &Span, outcome: &Result<Outcome, Error>) {
    span.record("outcome", ended(outcome));
    if outcome.as_ref().is_err_and(|error| error.code().status() >= 500) {
        span.record("otel.status_code", "ERROR");
    }
}

/// Waits for an operation as long as it may take and somebody waits for it.
///
/// Giving up drops what runs: a read ends, a change goes on in a task of its own and is done as a whole or
/// not at all.
async fn in_time<T>(
    about: Option<&About>,
    running: impl Future<Output = Result<T, Error>>,
    deadline: Duration,
    abandoned: &CancellationToken,
) -> Result<T, Error> {
    tokio::select! {
        outcome = running => outcome,
        () = tokio::time::sleep(deadline) => Err(too_late(about, deadline)),
        () = abandoned.cancelled() => Err(cancelled()),
    }
}

fn not_a_tool(tool: &str, reason: &str) -> Error {
    Error::new(Code::Forbidden, format!("{tool} is not offered to assistants: {reason}."))
}

fn too_late(about: Option<&About>, deadline: Duration) -> Error {
    let mut detail = format!("There was no answer within {} seconds.", deadline.as_secs());
    if about.is_some_and(|about| about.effect != Effect::Read) {
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
    use crate::catalogue::tests::CATALOGUE;

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

    #[tokio::test]
    async fn an_operation_that_takes_too_long_says_whether_something_may_have_changed() {
        let patience = CancellationToken::new();
        for (tool, may_have_changed) in [("apis_getApi", false), ("apis_deleteApi", true)] {
            let about = CATALOGUE.find(tool).unwrap().about;
            let error =
                in_time::<()>(Some(about), std::future::pending(), Duration::ZERO, &patience).await.unwrap_err();
            assert_eq!(error.code(), Code::RequestTimeout);
            assert_eq!(error.detail().contains("may have happened"), may_have_changed, "{tool}");
        }
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_ends() {
        let abandoned = CancellationToken::new();
        abandoned.cancel();
        let about = CATALOGUE.find("apis_getApi").unwrap().about;
        assert!(in_time::<()>(Some(about), std::future::pending(), DEADLINE, &abandoned).await.is_err());
    }
}
