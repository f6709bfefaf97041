//! The catalogue: every operation, declared once.
//!
//! An [`Operation`] is a type that states its name, texts, permission rule and effect, the types of its request and
//! response, which say what is secret, and its handler. Faces (HTTP, OpenAPI, MCP, the command line)
//! are visitors of the catalogue: [`each`](crate::each) shows them every operation, and they build from it what
//! they need. Adding an operation means one file under `operations/`, its name in its namespace and one line in `each`.

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

use crate::authorization::{OnDenied, Rule};
use crate::caller::Caller;
use crate::error::{Code, Error};
use crate::keyrack::Keyrack;
use crate::reply::Reply;
use crate::schema::RequestSchema;
use crate::traces;

/// How long a change may wait for the store before it is given up.
const LONGEST_CHANGE: Duration = Duration::from_secs(60);

/// What an operation does to what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that a later request could see.
    Read,
    /// Creates or changes.
    Write,
    /// Removes something that cannot be brought back.
    Destroy,
}

/// Whether an operation is a tool for assistants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// It is.
    Offered,
    /// It is not, for this reason.
    Withheld(&'static str),
}

/// What every face needs to know about an operation.
#[derive(Debug)]
pub struct About {
    /// `keys.createKey`: the namespace, a dot, the action. It is the path, the tool and the command.
    pub name: &'static str,
    /// A title for people: `Create a key`.
    pub title: &'static str,
    /// One sentence of at most 160 characters.
    pub summary: &'static str,
    /// Markdown: what is irreversible, secret or surprising, where ids come from, what it costs.
    pub description: &'static str,
    /// What for an assistant goes after the summary: at most 140 characters, ids' origins and surprises.
    pub hint: &'static str,
    /// A request in JSON that works, with a placeholder of [`crate::docs::PLACEHOLDERS`], such as `<apiId>`,
    /// for what its reader has to fill in.
    pub example: &'static str,
    /// The permission rule.
    pub rule: Rule,
    /// Codes that it answers besides those that any operation may.
    pub errors: &'static [Code],
    /// What it does to what is stored.
    pub effect: Effect,
    /// Whether doing it twice leaves the same as doing it once.
    pub idempotent: bool,
    /// The request member that an HTTP body consists of, where that body is not an object. Faces whose
    /// roots are objects, tools and commands, name it.
    pub bare_body: Option<&'static str>,
    /// Bytes that the body of a request may have: enough for the maxima of its schema, as a test makes sure.
    pub largest_body: usize,
    /// The request member that may name the root key of the call, which is then refused for good: people are asked
    /// before it is sent.
    pub ends_root_key: Option<&'static str>,
    /// Request members that assistants are not offered.
    pub hidden_from_assistants: &'static [&'static str],
    /// Whether the answer has `data`: all have but `identities.deleteIdentity`, whose wire has `meta` alone.
    pub has_data: bool,
    /// Whether the answer is a page of a list.
    pub is_list: bool,
    /// Whether [`Operation::attempt`] is worth trying.
    pub is_hot: bool,
    /// Whether it is a tool for assistants.
    pub tool: Tool,
}

impl About {
    /// What an operation is unless it says otherwise: a read, offered as a tool.
    pub const DEFAULT: About = About {
        name: "",
        title: "",
        summary: "",
        description: "",
        hint: "",
        example: "",
        rule: Rule::ANY_ROOT_KEY,
        errors: &[],
        effect: Effect::Read,
        idempotent: true,
        bare_body: None,
        largest_body: 256 * 1024,
        ends_root_key: None,
        hidden_from_assistants: &[],
        has_data: true,
        is_list: false,
        is_hot: false,
        tool: Tool::Offered,
    };

    /// The part of the name before its dot: `keys`.
    pub fn namespace(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(namespace, _)| namespace)
    }

    /// The part of the name after its dot: `createKey`.
    pub fn action(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(_, action)| action)
    }

    /// Codes that any operation may answer, whatever it does.
    pub const COMMON_CODES: [Code; 13] = [
        Code::InvalidInput,
        Code::RequestBodyUnreadable,
        Code::CredentialMissing,
        Code::CredentialMalformed,
        Code::RootKeyNotFound,
        Code::Forbidden,
        Code::KeyDisabled,
        Code::WorkspaceDisabled,
        Code::RequestTimeout,
        Code::RequestBodyTooLarge,
        Code::WorkspaceRateLimited,
        Code::UnexpectedError,
        Code::ServiceUnavailable,
    ];

    /// The codes of this operation: what its rules say of a refusal, and what it states itself; by status, without
    /// [`About::COMMON_CODES`].
    pub fn codes(&self) -> Vec<Code> {
        let main = self.rule.asks().then_some(self.rule.on_denied);
        let denied = main.into_iter().chain(self.rule.conditional.iter().map(|rule| rule.on_denied));
        let denied = denied.filter_map(|on_denied| match on_denied {
            OnDenied::Forbidden => Some(Code::InsufficientPermissions),
            OnDenied::Masked(code) => Some(code),
            OnDenied::Verdict => None,
        });
        let mut codes: Vec<Code> = denied.chain(self.errors.iter().copied()).collect();
        codes.sort_by_key(|code| (code.status(), code.path()));
        codes.dedup();
        codes
    }

    /// A request as an HTTP body.
    pub fn to_body(&self, mut request: Value) -> Value {
        match self.bare_body {
            Some(member) => request[member].take(),
            None => request,
        }
    }
}

/// An operation.
pub trait Operation: Send + Sync + 'static {
    /// What every face needs to know about it.
    const ABOUT: About;

    /// What is sent.
    type Request: DeserializeOwned + JsonSchema + Send + 'static;

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

/// The same for a request that was read already; its schema is not asked.
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
        reply.inspect_err(|error| {
            keyrack.store().note_failure(error);
            tell_of::<O>(&keyrack, &caller, error);
        })
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
