//! Where what tools ask for is done: in this process, or by a server elsewhere.
//!
//! Everything else happens here either way: what is seen, how arguments are read, who is asked, how much is shown.

use std::fmt;

use async_trait::async_trait;
use keyrack_core::authorization::Rule;
use keyrack_core::calendar::UnixMs;
use keyrack_core::caller::{Origin, Via};
use keyrack_core::catalogue::{Pin, Question};
use keyrack_core::claims::{self, Issuer, Link};
use keyrack_core::confirmations::{self, Call, Held, Void};
use keyrack_core::error::Code;
use keyrack_core::keys::secret::Secret;
use keyrack_core::metrics::Metrics;
use keyrack_core::operations::keys::is_of_api;
use keyrack_core::{Caller, Error, Keyrack};
use serde_json::Value;

use crate::catalogue::{Answer, Offer};

/// Does what tools ask for.
#[async_trait]
pub(crate) trait Backend: fmt::Debug + Send + Sync {
    /// The time that it goes by.
    fn now(&self) -> UnixMs;

    /// What it counts of assistants.
    fn metrics(&self) -> &Metrics;

    /// The holder of a root key, now.
    ///
    /// # Errors
    /// When the root key may not be used, or that cannot be told.
    async fn caller(&self, root_key: &Secret) -> Result<Caller, Error>;

    /// The same caller once more.
    ///
    /// # Errors
    /// When it may not call any more.
    fn renew(&self, caller: &Caller) -> Result<Caller, Error>;

    /// Where a caller works.
    ///
    /// # Errors
    /// When it is nowhere any more.
    fn place(&self, caller: &Caller) -> Result<Place, Error>;

    /// Whether it does an operation at all.
    fn does(&self, offer: &Offer) -> bool;

    /// Whether there is room for another request of the caller's workspace.
    ///
    /// # Errors
    /// When there is none.
    fn admit(&self, caller: &Caller, rule: &Rule) -> Result<(), Error>;

    /// Notes a refusal before anything was done.
    fn note_refusal(&self, operation: &'static str, caller: &Caller, error: &Error);

    /// Does it.
    ///
    /// # Errors
    /// Whatever it is refused with.
    async fn run(&self, offer: &Offer, caller: Caller, request: Value) -> Result<Answer, Error>;

    /// What a person is to be asked before that, if anything.
    ///
    /// # Errors
    /// What it would be refused with.
    async fn question(&self, offer: &Offer, caller: &Caller, request: &Value) -> Result<Option<Question>, Error>;

    /// Whether what a request names is one API or a key of it.
    ///
    /// # Errors
    /// When that cannot be told.
    async fn is_of_api(&self, caller: &Caller, named: (Pin, &str), api: &str) -> Result<bool, Error>;

    /// Notes that somebody is asked about a call: the text that says that they agreed.
    ///
    /// # Errors
    /// When too many are asked, or it cannot be noted.
    async fn ask(&self, call: &Call<'_>) -> Result<String, Error>;

    /// Acts on an agreement, which counts once.
    ///
    /// # Errors
    /// When that cannot be told. That it does not count is an answer.
    async fn agree(&self, call: &Call<'_>, token: &str) -> Result<Result<(), Void>, Error>;

    /// Whether there is room for one more link that shows a key once.
    ///
    /// # Errors
    /// When there is none, or nobody could open it.
    async fn check_links(&self, issuer: &Issuer) -> Result<(), Error>;

    /// Makes a link that shows a key once.
    ///
    /// # Errors
    /// When it cannot be kept.
    async fn link(&self, issuer: &Issuer, key_id: &str, text: &Secret) -> Result<Link, Error>;

    /// Holds a call for the operator, or says what they decided.
    ///
    /// # Errors
    /// As [`Backend::ask`].
    async fn hold(&self, call: &Call<'_>) -> Result<Held, Error>;
}

/// A workspace, as assistants are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// `ws_…`; empty where the server does not say.
    pub(crate) id: String,
    /// Its name, or that of the server.
    pub(crate) name: String,
}

#[async_trait]
impl Backend for Keyrack {
    fn now(&self) -> UnixMs {
        self.clock().now()
    }

    fn metrics(&self) -> &Metrics {
        Keyrack::metrics(self)
    }

    async fn caller(&self, root_key: &Secret) -> Result<Caller, Error> {
        self.authenticate(root_key.expose(), Origin::local(Via::Mcp))
    }

    fn renew(&self, caller: &Caller) -> Result<Caller, Error> {
        Keyrack::renew(self, caller)
    }

    fn place(&self, caller: &Caller) -> Result<Place, Error> {
        let workspace = self.resident().workspace(caller.workspace_id());
        let workspace = workspace.ok_or_else(|| Error::not_found(Code::WorkspaceNotFound))?;
        Ok(Place { id: workspace.id.clone(), name: workspace.name.clone() })
    }

    fn does(&self, _: &Offer) -> bool {
        true
    }

    fn admit(&self, caller: &Caller, rule: &Rule) -> Result<(), Error> {
        self.counters().throttle(caller, rule, self.clock()).refusal.map_or(Ok(()), Err)
    }

    fn note_refusal(&self, operation: &'static str, caller: &Caller, error: &Error) {
        self.refusals().tell_of(self.clock().now(), operation, caller, error);
    }

    async fn run(&self, offer: &Offer, caller: Caller, request: Value) -> Result<Answer, Error> {
        offer.run(self.clone(), caller, request).await
    }

    async fn question(&self, offer: &Offer, caller: &Caller, request: &Value) -> Result<Option<Question>, Error> {
        offer.question(self, caller, request).await
    }

    async fn is_of_api(&self, caller: &Caller, named: (Pin, &str), api: &str) -> Result<bool, Error> {
        is_of_api(self, caller, named, api).await
    }

    async fn ask(&self, call: &Call<'_>) -> Result<String, Error> {
        confirmations::ask(self, call).await
    }

    async fn agree(&self, call: &Call<'_>, token: &str) -> Result<Result<(), Void>, Error> {
        confirmations::agree(self, call, token).await
    }

    async fn check_links(&self, issuer: &Issuer) -> Result<(), Error> {
        claims::check_room(self, issuer).await
    }

    async fn link(&self, issuer: &Issuer, key_id: &str, text: &Secret) -> Result<Link, Error> {
        claims::make(self, issuer, key_id, text).await
    }

    async fn hold(&self, call: &Call<'_>) -> Result<Held, Error> {
        confirmations::hold(self, call).await
    }
}
