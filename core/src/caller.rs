//! Who calls: a root key, its workspace and what it may do, and where the call came from.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::authorization::{Conditional, Grants, OnDenied, Rule, Scope};
use crate::catalogue::Operation;
use crate::error::{Code, Error};
use crate::ids::RequestId;

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
    pub expires_at: Option<i64>,
}

impl RootKey {
    /// Whether it could satisfy a rule for some thing: what listings of tools ask.
    pub fn could_satisfy(&self, rule: &Rule) -> bool {
        (self.operator || !rule.operator) && rule.main.is_none_or(|main| main.could_be_satisfied_by(&self.grants))
    }

    /// The sentence that names what it lacks for a rule; `None` when it suffices.
    pub fn refusal(&self, rule: &Rule, scope: Scope<'_>) -> Option<String> {
        if rule.operator && !self.operator {
            return Some("Only an operator may do this; no permission stands for that.".to_owned());
        }
        rule.main.and_then(|main| main.refusal(&self.grants, scope))
    }
}

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
    root_key: Arc<RootKey>,
    origin: Origin,
    authorized: AtomicBool,
    /// Is cancelled when nobody waits for the answer any more; `None` where nobody can tell.
    gone: Option<CancellationToken>,
}

impl Caller {
    /// A caller for one call.
    pub fn new(root_key: Arc<RootKey>, origin: Origin) -> Self {
        Caller { root_key, origin, authorized: AtomicBool::new(false), gone: None }
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

    /// The root key.
    pub fn root_key(&self) -> &RootKey {
        &self.root_key
    }

    /// The workspace it works in.
    pub fn workspace_id(&self) -> &str {
        &self.root_key.workspace_id
    }

    /// Where the call came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the rule of the operation was asked.
    pub fn was_authorized(&self) -> bool {
        self.authorized.load(Ordering::Relaxed)
    }

    /// Whether the main rule of `O` allows this call for the things in `scope`. For operations whose
    /// refusal is an answer of their own; others use [`Caller::authorize`].
    pub fn is_allowed<O: Operation>(&self, scope: Scope<'_>) -> bool {
        self.authorized.store(true, Ordering::Relaxed);
        self.root_key.refusal(&O::ABOUT.rule, scope).is_none()
    }

    /// Notes that this call is answered as one about an unknown thing, which is the same whatever the caller may
    /// do: there is no rule to ask.
    pub fn answered_as_unknown(&self) {
        self.authorized.store(true, Ordering::Relaxed);
    }

    /// Refuses a caller who could satisfy no rule of `O`, neither the main one nor a conditional one, for any thing
    /// at all: before anything is read for it, and the same whatever there is. An operation whose refusal is an answer
    /// of its own gives that itself, and reads nothing for it either.
    ///
    /// # Errors
    /// As [`Caller::authorize`]; ids of things, which are not known yet, stand in the text as in the rule.
    pub(crate) fn refuse_if_hopeless<O: Operation>(&self) -> Result<(), Error> {
        let rule = const { &O::ABOUT.rule };
        let could = |conditional: &Conditional| conditional.check.could_be_satisfied_by(&self.root_key.grants);
        let answers_itself = rule.on_denied == OnDenied::Verdict;
        if answers_itself || self.root_key.could_satisfy(rule) || rule.conditional.iter().any(could) {
            return Ok(());
        }
        self.authorize::<O>(&[])
    }

    /// Checks the main rule of `O` for the things in `scope`.
    ///
    /// # Errors
    /// As the rule says: 403 that names what is missing, or the masking code with `masked` as its text.
    pub fn authorize<O: Operation>(&self, scope: Scope<'_>) -> Result<(), Error> {
        self.authorized.store(true, Ordering::Relaxed);
        let refusal = self.root_key.refusal(&O::ABOUT.rule, scope);
        refusal.map_or(Ok(()), |refusal| Err(refused(O::ABOUT.rule.on_denied, refusal)))
    }

    /// Checks the conditional requirement `name` of `O`.
    ///
    /// # Errors
    /// As [`Caller::authorize`]; an unknown name is a fault of ours.
    pub fn authorize_also<O: Operation>(&self, name: &str, scope: Scope<'_>) -> Result<(), Error> {
        let conditional: &[Conditional] = O::ABOUT.rule.conditional;
        let Some(conditional) = conditional.iter().find(|conditional| conditional.name == name) else {
            return Err(Error::unexpected(format!("{} has no rule `{name}`", O::ABOUT.name)));
        };
        let refusal = conditional.check.refusal(&self.root_key.grants, scope);
        refusal.map_or(Ok(()), |refusal| Err(refused(conditional.on_denied, refusal)))
    }
}

fn refused(on_denied: OnDenied, refusal: String) -> Error {
    match on_denied {
        OnDenied::Masked(code) => Error::not_found(code),
        OnDenied::Forbidden | OnDenied::Verdict => Error::new(Code::InsufficientPermissions, refusal),
    }
}
