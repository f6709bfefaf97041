//! The catalogue: every operation, declared once.
//!
//! An [`Operation`] is a type that states its name, texts, permission rule and effect, the types of its request and
//! response, which say what is secret, and its handler. Faces (HTTP, OpenAPI, MCP, the command line)
//! are visitors of the catalogue: [`each`](crate::each) shows them every operation, and they build from it what
//! they need. Adding an operation means one file under `operations/`, its name in its namespace and one line in `each`.

mod about;
#[cfg(test)]
mod facts;
mod question;

use std::any::TypeId;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

pub use about::{About, Assistants, Effect, List, Pin, Resource, ShownAfter, Tool, Toolset};
pub use question::{Consequences, Fact, Question, if_so};

use crate::calendar::UnixMs;
use crate::caller::Caller;
use crate::error::Error;
use crate::keyrack::Keyrack;
use crate::reply::Reply;
use crate::schema::RequestSchema;
use crate::traces;

/// How long a change may wait for the store before it is given up.
const LONGEST_CHANGE: Duration = Duration::from_secs(60);

/// An operation.
pub trait Operation: Send + Sync + 'static {
    /// What every face needs to know about it.
    const ABOUT: About;

    /// What is sent.
    type Request: DeserializeOwned + JsonSchema + Send + Sync + 'static;

    /// What is answered, the wire's `data`.
    type Response: Serialize + JsonSchema + Send + 'static;

    /// Does it. The handler has the operation's rule evaluated, by [`Caller::authorize`] or one of its kind, whose
    /// proof the answer is made with. It is not called for those who could satisfy no rule of it for any thing at
    /// all, unless the main rule's refusal is [`crate::authorization::OnDenied::Verdict`].
    fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: Self::Request,
    ) -> impl Future<Output = Result<Reply<Self::Response>, Error>> + Send;

    /// Whether [`Operation::consequences`] ever has one.
    const ASKS: bool = false;

    /// What a request leads to that people are asked about before, as far as it tells by itself: where it destroys, cuts
    /// off or hands out more than a mistake should. Without one nobody is asked, and nothing is looked up.
    fn consequences(_: &Self::Request, _now: UnixMs) -> Consequences {
        Consequences::new()
    }

    /// What a person is asked before this request is acted on: which of these [consequences](Operation::consequences) it
    /// has, as far as what is stored leaves any, and for what. Nobody is asked about what would be refused: that is
    /// refused here, with the same error.
    fn question(
        _: &Keyrack,
        _: &Caller,
        _: &Self::Request,
        _: Consequences,
    ) -> impl Future<Output = Result<Question, Error>> + Send {
        std::future::ready(Err(Error::unexpected("a question about nothing")))
    }

    /// Answers the text of an HTTP body as [`Operation::handle`] does, as far as that takes neither the schema nor
    /// waiting: for [hot](About::is_hot) operations, which are called before every request of their users' own
    /// systems. What is plainly right is read into the types of [`crate::bounds`], which borrow from the body and accept
    /// nothing that the schema does not; all else is unclear.
    fn attempt(_: &Keyrack, _: &Caller, _body: &str) -> Attempt<Self::Response> {
        Attempt::Unclear
    }
}

/// What comes of an attempt to answer at once.
#[derive(Debug)]
pub enum Attempt<T> {
    /// The answer.
    Answered(Result<Reply<T>, Error>),
    /// All is decided but what the store has to say. The rest is on its way, in a task of its own: whoever stops
    /// waiting does not stop it.
    GoesOn(JoinHandle<Result<Reply<T>, Error>>),
    /// It goes the [way of every operation](run_read): the schema has to say what is wrong with the body, if
    /// anything is, or more is to be changed than counts and balances.
    Unclear,
}

impl<T: Send + 'static> Attempt<T> {
    /// Begins the rest of an answer.
    pub(crate) fn go_on(rest: impl Future<Output = Result<Reply<T>, Error>> + Send + 'static) -> Self {
        Attempt::GoesOn(tokio::spawn(rest.in_current_span()))
    }
}

/// Tries to answer an operation from the text of an HTTP body, without waiting: see [`Operation::attempt`].
pub fn attempt<O: Operation>(keyrack: &Keyrack, caller: &Caller, body: &[u8]) -> Attempt<O::Response> {
    if !const { O::ABOUT.is_hot } {
        return Attempt::Unclear;
    }
    // Text that is known to be UTF-8 needs no look at each of its strings.
    let Ok(text) = std::str::from_utf8(body) else { return Attempt::Unclear };
    match O::attempt(keyrack, caller, text) {
        Attempt::Answered(Err(error)) => {
            // Who may do this to nothing is told no more than that.
            let error = caller.refuse_if_hopeless(const { &O::ABOUT.rule }).err().unwrap_or(error);
            tell_of::<O>(keyrack, caller, &error);
            Attempt::Answered(Err(error))
        }
        attempt => attempt,
    }
}

/// Something that wants to see every operation.
pub trait Visitor {
    /// Called once per operation, in the catalogue's order.
    fn operation<O: Operation>(&mut self);
}

/// The request schema of an operation, compiled once per process.
///
/// # Panics
/// Never in a program whose catalogue test passed: it compiles every schema.
pub fn request_schema<O: Operation>() -> &'static RequestSchema {
    static SCHEMAS: Schemas = OnceLock::new();
    compiled::<O>(&SCHEMAS, RequestSchema::of::<O::Request>)
}

/// The schema of an operation's HTTP body: that of the request, or of the one member that the body is.
///
/// # Panics
/// As [`request_schema`].
pub fn body_schema<O: Operation>() -> &'static RequestSchema {
    static SCHEMAS: Schemas = OnceLock::new();
    match O::ABOUT.bare_body {
        Some(member) => compiled::<O>(&SCHEMAS, || request_schema::<O>().of_member(member)),
        None => request_schema::<O>(),
    }
}

type Schemas = OnceLock<Mutex<HashMap<TypeId, &'static RequestSchema>>>;

fn compiled<O: Operation>(schemas: &Schemas, compile: impl FnOnce() -> RequestSchema) -> &'static RequestSchema {
    let mut schemas = schemas.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    // One leak per operation and process: schemas live as long as the program.
    schemas.entry(TypeId::of::<O>()).or_insert_with(|| Box::leak(Box::new(compile())))
}

/// Runs an operation: checks and reads the request, and runs the handler.
///
/// What changes something runs in a task of its own, and goes on when its client disconnects. A panic is caught and
/// becomes an error.
///
/// # Errors
/// The faults of the request, or what the handler says.
pub async fn run<O: Operation>(
    keyrack: &Keyrack,
    caller: Caller,
    request: Value,
) -> Result<Reply<O::Response>, Error> {
    let request = request_schema::<O>().read(request)?;
    run_read::<O>(keyrack, caller, request).await
}

/// What a request leads to that people are asked about before, as far as it tells by itself: see
/// [`Operation::consequences`].
///
/// # Errors
/// The faults of the request.
pub fn consequences<O: Operation>(request: Value, now: UnixMs) -> Result<Consequences, Error> {
    Ok(O::consequences(&request_schema::<O>().read(request)?, now))
}

/// What a person is asked before [`run`] does this: see [`Operation::question`].
///
/// # Errors
/// The faults of the request, and the refusal that [`run`] would answer to what would be asked about.
pub async fn question<O: Operation>(
    keyrack: &Keyrack,
    caller: &Caller,
    request: Value,
) -> Result<Option<Question>, Error> {
    let request = request_schema::<O>().read(request)?;
    let consequences = O::consequences(&request, keyrack.clock().now());
    if consequences.is_empty() {
        return Ok(None);
    }
    let work = async {
        caller.refuse_if_hopeless(const { &O::ABOUT.rule })?;
        let question = O::question(keyrack, caller, &request, consequences).await?;
        Ok((!question.consequences.is_empty()).then_some(question))
    };
    let asked = std::panic::AssertUnwindSafe(work).catch_unwind().await;
    let asked =
        asked.unwrap_or_else(|_| Err(Error::unexpected(format!("{}: the question panicked", O::ABOUT.name))));
    asked.inspect_err(|error| note::<O>(keyrack, caller, error))
}

/// Checks and reads an HTTP body.
///
/// # Errors
/// `request_body_unreadable` for a text that is no JSON, else the faults of the body with their places in it.
pub fn read_body<O: Operation>(body: &str) -> Result<O::Request, Error> {
    match O::ABOUT.bare_body {
        Some(member) => body_schema::<O>().read_member(member, body),
        None => request_schema::<O>().read_text(body),
    }
}

/// Tells the log of a refusal.
fn tell_of<O: Operation>(keyrack: &Keyrack, caller: &Caller, error: &Error) {
    keyrack.refusals().tell_of(keyrack.clock().now(), O::ABOUT.name, caller, error);
}

/// Notes that an operation failed: for readiness when that was the store's doing, for the log when it is a refusal.
fn note<O: Operation>(keyrack: &Keyrack, caller: &Caller, error: &Error) {
    keyrack.store().note_failure(error);
    tell_of::<O>(keyrack, caller, error);
}

/// Runs an operation whose request was read already; its schema is not asked.
///
/// # Errors
/// What the handler says.
pub async fn run_read<O: Operation>(
    keyrack: &Keyrack,
    mut caller: Caller,
    request: O::Request,
) -> Result<Reply<O::Response>, Error> {
    let keyrack = keyrack.clone();
    // A change goes on without those who asked for it once it has begun.
    let _waiting = (O::ABOUT.effect != Effect::Read).then(|| caller.is_waited_for());
    let span = tracing::info_span!(target: traces::TARGET, "handle", operation = O::ABOUT.name);
    let work = async move {
        let reply = match caller.refuse_if_hopeless(const { &O::ABOUT.rule }) {
            Ok(()) => O::handle(&keyrack, &caller, request).await,
            Err(refusal) => Err(refusal),
        };
        reply.inspect_err(|error| note::<O>(&keyrack, &caller, error))
    };
    let work = work.instrument(span);
    let outcome = match O::ABOUT.effect {
        Effect::Read => std::panic::AssertUnwindSafe(work).catch_unwind().await.map_err(|_| "panicked".to_owned()),
        Effect::Write | Effect::Destroy => {
            let work = tokio::time::timeout(LONGEST_CHANGE, work);
            let outcome = tokio::spawn(work.in_current_span()).await.map_err(|error| error.to_string());
            // A commit may be done of which the answer was still waited for.
            outcome.map(|in_time| in_time.unwrap_or_else(|late| Err(Error::unknown_outcome(late))))
        }
    };
    outcome.unwrap_or_else(|cause| Err(Error::unexpected(format!("{}: {cause}", O::ABOUT.name))))
}
