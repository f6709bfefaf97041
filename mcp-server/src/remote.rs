//! A server elsewhere does what tools ask for: a Keyrack, or any other server of the same API.
//!
//! What is seen follows from the root key's permissions, which a Keyrack tells; of another server nothing is known, so
//! nothing is hidden but what only Keyrack has. Questions to people are made of what the server answers about what they are
//! about, and agreements are kept here: they end with this process.

mod agreements;
mod answers;
mod questions;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use keyrack_core::authorization::{Grants, Rule};
use keyrack_core::calendar::UnixMs;
use keyrack_core::caller::{Origin, Principal, RootKey, Via};
use keyrack_core::catalogue::{Pin, Question};
use keyrack_core::claims::{Issuer, Link};
use keyrack_core::clock::Clock;
use keyrack_core::confirmations::{Call, Held, Void};
use keyrack_core::error::Code;
use keyrack_core::keys::secret::Secret;
use keyrack_core::metrics::Metrics;
use keyrack_core::{Caller, Error};
use serde_json::{Value, json};

use crate::backend::{Backend, Place};
use crate::catalogue::{Answer, Offer};
use crate::naming::is_id;

pub use answers::Answered;

/// How long what a server said of a root key is taken for true.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// The read that says who calls.
const OVERVIEW: &str = "workspace.getOverview";
/// A read that every server of the API has, about an API that is none.
const PROBE: (&str, &str) = ("apis.getApi", "api_keyrack_asks");

/// Permissions of a root key that are read: as many as one may have.
const MOST_PERMISSIONS: usize = 1000;

/// Calls a server's operations over HTTP, with one root key.
#[async_trait]
pub trait Server: fmt::Debug + Send + Sync {
    /// Its address, as people know it.
    fn address(&self) -> &str;

    /// Sends a body to an operation, such as `keys.createKey`.
    ///
    /// # Errors
    /// When there is no answer: why, and what to do.
    async fn call(&self, operation: &str, body: &Value) -> Result<Answered, Error>;
}

/// A server elsewhere, and what is known of its root key.
#[derive(Debug)]
pub(crate) struct Remote {
    server: Arc<dyn Server>,
    known: Mutex<Option<Known>>,
    agreements: agreements::Agreements,
    clock: Clock,
    metrics: Metrics,
}

/// Who calls, as the server said.
#[derive(Debug, Clone)]
struct Known {
    root_key: Arc<RootKey>,
    workspace: String,
    /// Whether it is a Keyrack.
    is_keyrack: bool,
    at: Instant,
}

impl Remote {
    pub(crate) fn new(server: Arc<dyn Server>) -> Self {
        let (known, agreements) = (Mutex::default(), agreements::Agreements::default());
        Remote { server, known, agreements, clock: Clock::system(), metrics: Metrics::default() }
    }

    fn known(&self) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the server who calls.
    async fn look(&self) -> Result<Known, Error> {
        let answered = self.server.call(OVERVIEW, &json!({})).await?;
        let known = match answered.outcome(OVERVIEW, self.server.address()) {
            Ok(answer) => Known::told(&answer.data),
            Err(error) if error.code() == Code::RouteNotFound => {
                let (operation, api) = PROBE;
                let answered = self.server.call(operation, &json!({ "apiId": api })).await?;
                match answered.outcome(operation, self.server.address()) {
                    Err(error) if error.code().status() == 401 || error.code().status() >= 500 => {
                        return Err(error);
                    }
                    _ => Known::untold(self.server.address()),
                }
            }
            Err(error) => return Err(error),
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }

    async fn send(&self, offer: &Offer, request: Value) -> Result<Answer, Error> {
        let operation = offer.about.name;
        let answered = self.server.call(operation, &offer.about.to_body(request)).await?;
        answered.outcome(operation, self.server.address())
    }
}

impl Known {
    /// Of an overview.
    fn told(overview: &Value) -> Known {
        let text = |pointer: &str| overview.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let id = |pointer: &str| Some(text(pointer)).filter(|id| is_id(id)).unwrap_or_default();
        let permissions = overview.pointer("/rootKey/permissions").and_then(Value::as_array).into_iter().flatten();
        let permissions =
            permissions.take(MOST_PERMISSIONS).filter_map(Value::as_str).map(str::to_owned).collect();
        let is_operator = overview.pointer("/rootKey/operator") == Some(&Value::Bool(true));
        let workspace = (id("/workspace/id"), text("/workspace/name"));
        Known::new(id("/rootKey/keyId"), workspace, permissions, (is_operator, true))
    }

    /// Of a server that does not say.
    fn untold(address: &str) -> Known {
        Known::new("root key", ("", address), vec!["*".to_owned()], (false, false))
    }

    fn new(
        id: &str,
        (workspace_id, workspace): (&str, &str),
        permissions: Vec<String>,
        (operator, is_keyrack): (bool, bool),
    ) -> Known {
        let grants = Grants::new(workspace_id, permissions.iter().map(String::as_str));
        let root_key = RootKey {
            id: id.to_owned(),
            workspace_id: workspace_id.to_owned(),
            name: None,
            permissions,
            grants,
            operator,
            enabled: true,
            expires_at: None,
            last_use: Arc::default(),
        };
        Known { root_key: Arc::new(root_key), workspace: workspace.to_owned(), is_keyrack, at: Instant::now() }
    }

    fn caller(&self) -> Caller {
        Caller::new(Principal::RootKey(self.root_key.clone()), None, Origin::local(Via::Mcp))
    }
}

#[async_trait]
impl Backend for Remote {
    fn now(&self) -> UnixMs {
        self.clock.now()
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    async fn caller(&self, _: &Secret) -> Result<Caller, Error> {
        match self.known().filter(|known| known.at.elapsed() < KNOWN_FOR) {
            Some(known) => Ok(known.caller()),
            None => Ok(self.look().await?.caller()),
        }
    }

    /// The server looks at each call itself.
    fn renew(&self, caller: &Caller) -> Result<Caller, Error> {
        Ok(Caller::new(caller.principal().clone(), None, caller.origin().clone()))
    }

    fn place(&self, caller: &Caller) -> Result<Place, Error> {
        let name = self.known().map(|known| known.workspace).unwrap_or_default();
        Ok(Place { id: caller.workspace_id().to_owned(), name })
    }

    fn does(&self, offer: &Offer) -> bool {
        !offer.about.is_own || self.known().is_none_or(|known| known.is_keyrack)
    }

    /// The server counts its requests itself.
    fn admit(&self, _: &Caller, _: &Rule) -> Result<(), Error> {
        Ok(())
    }

    fn note_refusal(&self, operation: &'static str, _: &Caller, error: &Error) {
        tracing::info!(operation, code = error.code().specific(), "refused");
    }

    async fn run(&self, offer: &Offer, _: Caller, request: Value) -> Result<Answer, Error> {
        self.send(offer, request).await
    }

    async fn question(&self, offer: &Offer, _: &Caller, request: &Value) -> Result<Option<Question>, Error> {
        let consequences = offer.consequences(request, self.now())?;
        if consequences.is_empty() {
            return Ok(None);
        }
        let mut typed = None;
        let mut facts = match questions::about(offer, request) {
            None => Vec::new(),
            Some((operation, request)) => {
                let answered = self.server.call(operation, &request).await?;
                match answered.outcome(operation, self.server.address()) {
                    Ok(answer) => {
                        typed = questions::typed(operation, offer, &answer.data);
                        questions::facts(&answer.data)
                    }
                    // What is not there would be refused; who may do it and not read it is asked all the same.
                    Err(error) if error.code().status() == 403 => Vec::new(),
                    Err(error) => return Err(error),
                }
            }
        };
        facts.extend(questions::sent(request));
        Ok(Some(Question { consequences, facts, typed }))
    }

    async fn is_of_api(&self, _: &Caller, named: (Pin, &str), api: &str) -> Result<bool, Error> {
        if self.known().is_some_and(|known| !known.is_keyrack) {
            let address = self.server.address();
            let detail = format!(
                "The server at {address} is no Keyrack and does not say which API a key is of: a view of one API is not \
                 possible there. The user can connect without `api`."
            );
            return Err(Error::new(Code::Forbidden, detail));
        }
        let (operation, request) = match named {
            (Pin::Api(_), id) => return Ok(id == api),
            (Pin::KeyId(_), id) => ("keys.getKey", json!({ "keyId": id, "expand": ["api"] })),
            (Pin::Key(_), text) => ("keys.whoami", json!({ "key": text, "expand": ["api"] })),
        };
        let answered = self.server.call(operation, &request).await?;
        match answered.outcome(operation, self.server.address()) {
            Ok(answer) => Ok(answer.data.pointer("/api/id").is_some_and(|id| id == api)),
            Err(error) if error.code().status() == 404 => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, call: &Call<'_>) -> Result<String, Error> {
        self.agreements.ask(call, self.now())
    }

    async fn agree(&self, call: &Call<'_>, token: &str) -> Result<Result<(), Void>, Error> {
        Ok(self.agreements.agree(call, token, self.now()))
    }

    async fn check_links(&self, _: &Issuer) -> Result<(), Error> {
        Err(Error::unexpected("a link was to be made for a server elsewhere"))
    }

    async fn link(&self, issuer: &Issuer, _: &str, _: &Secret) -> Result<Link, Error> {
        self.check_links(issuer).await.and(Err(Error::unexpected("no link was made")))
    }

    async fn hold(&self, _: &Call<'_>) -> Result<Held, Error> {
        Err(Error::unexpected("a call was to be held for a server elsewhere"))
    }
}
