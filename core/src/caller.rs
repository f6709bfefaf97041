//! Who calls: its workspace and what it may do, and where the call came from.

use std::net::IpAddr;
use std::sync::Arc;

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::authorization::{Conditional, Grants, OnDenied, Rule, Scope, Who};
use crate::calendar::UnixMs;
use crate::error::{Code, Error};
use crate::ids::RequestId;
use crate::last_use::LastUse;

/// A root key as calls see it: identity, permissions and limits, without its secret.
#[derive(Debug)]
pub struct RootKey {
    /// `key_…`
    pub id: String,
    /// The workspace it works in.
    pub workspace_id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The permission texts it was given.
    pub permissions: Vec<String>,
    /// The same, ready to be asked.
    pub grants: Grants,
    /// Whether it may administer workspaces; a property of the stored key, never a permission.
    pub operator: bool,
    /// Whether it may be used.
    pub enabled: bool,
    /// Unix ms after which it may not be used.
    pub expires_at: Option<UnixMs>,
    /// When it was last used.
    pub last_use: Arc<LastUse>,
}

/// Who calls.
#[derive(Debug, Clone)]
pub enum Principal {
    /// The holder of a root key.
    RootKey(Arc<RootKey>),
}

impl Principal {
    /// What refusals, limits and logs call it: the id of the root key.
    pub fn id(&self) -> &str {
        &self.root_key().id
    }

    /// The workspace it works in.
    pub fn workspace_id(&self) -> &str {
        &self.root_key().workspace_id
    }

    /// Whether it may administer workspaces.
    pub fn is_operator(&self) -> bool {
        self.root_key().operator
    }

    /// What it may do.
    pub fn grants(&self) -> &Grants {
        &self.root_key().grants
    }

    /// Whether it could satisfy a rule for some thing: what listings of tools ask.
    pub fn could_satisfy(&self, rule: &Rule) -> bool {
        self.is_one_of(rule.who) && rule.main.is_none_or(|main| main.could_be_satisfied_by(self.grants()))
    }

    /// The sentence that names what it lacks for a rule; `None` when it suffices.
    pub fn refusal(&self, rule: &Rule, scope: Scope<'_>) -> Option<String> {
        if !self.is_one_of(rule.who) {
            return Some("Only an operator may do this; no permission stands for that.".to_owned());
        }
        rule.main.and_then(|main| main.refusal(self.grants(), scope))
    }

    fn is_one_of(&self, who: Who) -> bool {
        match who {
            Who::RootKeys => true,
            Who::Operators => self.is_operator(),
        }
    }

    fn root_key(&self) -> &RootKey {
        let Principal::RootKey(root_key) = self;
        root_key
    }
}

/// That a caller may have the answer that it is going to be given: there is no [`Reply`](crate::reply::Reply) without
/// one. [`Caller::authorize`] gives it, and for answers that need no rule `authorize_one_by_one` and
/// `authorize_to_learn_nothing`.
#[derive(Debug)]
#[must_use = "who may do something is given an answer with it"]
pub struct Authorized(());

/// Which door a call came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// An HTTP client.
    Http,
    /// An assistant.
    Mcp,
    /// The command line.
    CommandLine,
}

impl Via {
    /// What the audit log writes in `actor.meta.via`; nothing for plain HTTP.
    pub fn label(self) -> Option<&'static str> {
        match self {
            Via::Http => None,
            Via::Mcp => Some("mcp"),
            Via::CommandLine => Some("cli"),
        }
    }
}

/// How the `User-Agent` of the command line begins: a call over HTTP that bears it is one of [`Via::CommandLine`] in the
/// audit log. Any client can claim that, so nothing may hang on it.
pub const COMMAND_LINE_AGENT: &str = "keyrack-cli/";

/// The same of an assistant that `keyrack mcp --url` calls for: [`Via::Mcp`].
pub const ASSISTANT_AGENT: &str = "keyrack-mcp/";

impl Via {
    /// The door that an HTTP client with this `User-Agent` says it came through.
    pub fn of_http(user_agent: Option<&str>) -> Via {
        match user_agent {
            Some(agent) if agent.starts_with(COMMAND_LINE_AGENT) => Via::CommandLine,
            Some(agent) if agent.starts_with(ASSISTANT_AGENT) => Via::Mcp,
            _ => Via::Http,
        }
    }
}

/// The address of the client behind an HTTP request, proxies taken into account; `None` when a trusted
/// proxy did not say. The listener puts it into the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

/// Bytes that are kept of a `User-Agent`.
pub const LONGEST_USER_AGENT: usize = 512;

/// Where a call came from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Which door.
    pub via: Via,
    /// The client's address, if known.
    pub address: Option<IpAddr>,
    /// What the client calls itself; only the beginning of what is longer.
    user_agent: Option<String>,
    /// The request it is.
    pub request_id: RequestId,
    /// Whether decisions on rate limits are recorded for analytics.
    pub is_recorded: bool,
}

impl Origin {
    /// A call through a door, as this request.
    pub fn new(via: Via, address: Option<IpAddr>, request_id: RequestId) -> Self {
        Origin { via, address, user_agent: None, request_id, is_recorded: true }
    }

    /// A call from this process's own standard input.
    pub fn local(via: Via) -> Self {
        Origin::new(via, None, RequestId::new())
    }

    /// The same from a client that calls itself this, in its `User-Agent`. It goes into every audit entry of the
    /// call, so of a long one the first [`LONGEST_USER_AGENT`] bytes are kept.
    #[must_use]
    pub fn of_client(mut self, user_agent: Option<&str>) -> Self {
        self.user_agent = user_agent.map(|text| text[..text.floor_char_boundary(LONGEST_USER_AGENT)].to_owned());
        self
    }

    /// What the client calls itself, if it does.
    pub fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }
}

/// The caller of one operation.
#[derive(Debug)]
pub struct Caller {
    principal: Principal,
    /// What its workspace may send to this process.
    requests_per_minute: Option<i64>,
    origin: Origin,
    /// Is cancelled when nobody waits for the answer any more; `None` where nobody can tell.
    gone: Option<CancellationToken>,
}

impl Caller {
    /// A caller for one call, whose workspace may send so many requests a minute; `None` for no limit.
    pub fn new(principal: Principal, requests_per_minute: Option<i64>, origin: Origin) -> Self {
        Caller { principal, requests_per_minute, origin, gone: None }
    }

    /// From now on until the guard is dropped, somebody waits for the answer.
    pub(crate) fn is_waited_for(&mut self) -> DropGuard {
        self.gone.insert(CancellationToken::new()).clone().drop_guard()
    }

    /// What `waiting` gives, unless the caller gives up before: for what is waited for before anything is done.
    ///
    /// # Errors
    /// 503, which nobody hears.
    pub(crate) async fn unless_gone<T>(
        &self,
        waiting: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match &self.gone {
            None => waiting.await,
            Some(gone) => gone.run_until_cancelled(waiting).await.unwrap_or_else(|| {
                Err(Error::database_unavailable("the client left before the turn of its change came"))
            }),
        }
    }

    /// Who calls.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The root key that it calls with.
    pub fn root_key(&self) -> &RootKey {
        self.principal.root_key()
    }

    /// The workspace it works in.
    pub fn workspace_id(&self) -> &str {
        self.principal.workspace_id()
    }

    /// How many requests a minute its workspace may send to this process; `None` for no limit.
    pub fn requests_per_minute(&self) -> Option<i64> {
        self.requests_per_minute
    }

    /// Where the call came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the main rule of an operation allows this call for the things in `scope`. For operations whose
    /// refusal is an answer of their own; others use [`Caller::authorize`].
    pub fn is_allowed(&self, rule: &Rule, scope: Scope<'_>) -> bool {
        self.principal.refusal(rule, scope).is_none()
    }

    /// For an answer that is the same whatever the caller may do, such as one about an unknown thing: there is no
    /// rule to ask.
    pub(crate) fn authorize_to_learn_nothing(&self) -> Authorized {
        Authorized(())
    }

    /// For an answer that shows only things of which [`Caller::is_allowed`] was asked one by one.
    pub(crate) fn authorize_one_by_one(&self) -> Authorized {
        Authorized(())
    }

    /// Refuses a caller who could satisfy no rule of an operation, neither the main one nor a conditional one, for any
    /// thing at all: before anything is read for it, and the same whatever there is. An operation whose refusal is an
    /// answer of its own gives that itself, and reads nothing for it either.
    ///
    /// # Errors
    /// As [`Caller::authorize`]; ids of things, which are not known yet, stand in the text as in the rule.
    pub(crate) fn refuse_if_hopeless(&self, rule: &Rule) -> Result<(), Error> {
        let could = |conditional: &Conditional| conditional.check.could_be_satisfied_by(self.principal.grants());
        let answers_itself = rule.on_denied == OnDenied::Verdict;
        if answers_itself || self.principal.could_satisfy(rule) || rule.conditional.iter().any(could) {
            return Ok(());
        }
        self.authorize(rule, &[]).map(drop)
    }

    /// Checks the main rule of an operation for the things in `scope`.
    ///
    /// # Errors
    /// As the rule says: 403 that names what is missing, or the masking code with `masked` as its text.
    pub fn authorize(&self, rule: &Rule, scope: Scope<'_>) -> Result<Authorized, Error> {
        match self.principal.refusal(rule, scope) {
            None => Ok(Authorized(())),
            Some(refusal) => Err(refused(rule.on_denied, refusal)),
        }
    }

    /// Checks the main rule of an operation that is about everything, or about as much of it as the caller may see:
    /// `None` when the rule holds for all things, else the ids for which it holds.
    ///
    /// # Errors
    /// As [`Caller::authorize`] when it holds for no id at all.
    pub fn authorize_for_some(&self, rule: &Rule) -> Result<(Authorized, Option<Vec<String>>), Error> {
        let refused = match self.authorize(rule, &[]) {
            Ok(authorized) => return Ok((authorized, None)),
            Err(refused) => refused,
        };
        let ids = rule.main.map(|main| main.ids_held(self.principal.grants())).unwrap_or_default();
        if ids.is_empty() { Err(refused) } else { Ok((Authorized(()), Some(ids))) }
    }

    /// Checks the conditional requirement `name` of a rule.
    ///
    /// # Errors
    /// As [`Caller::authorize`]; an unknown name is a fault of ours.
    pub fn authorize_also(&self, rule: &Rule, name: &str, scope: Scope<'_>) -> Result<(), Error> {
        let Some(conditional) = rule.conditional.iter().find(|conditional| conditional.name == name) else {
            return Err(Error::unexpected(format!("there is no requirement `{name}`")));
        };
        let refusal = conditional.check.refusal(self.principal.grants(), scope);
        refusal.map_or(Ok(()), |refusal| Err(refused(conditional.on_denied, refusal)))
    }
}

fn refused(on_denied: OnDenied, refusal: String) -> Error {
    match on_denied {
        OnDenied::Masked(code) => Error::not_found(code),
        OnDenied::Forbidden | OnDenied::Verdict => Error::new(Code::InsufficientPermissions, refusal),
    }
}
