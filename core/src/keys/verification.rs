//! Whether a key may be used now: the checks, their order, and what they consume.
//!
//! The first failing check decides: existence, state, expiry, client address, permissions, rate limits,
//! credits. Rate limits are all or nothing, and stay spent when credits then fail. Everything up to the
//! credits is decided from resident state without waiting; the store decides on the balance.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;
use smallvec::SmallVec;

use crate::credits::payment::{self, Payment};
use crate::error::{Code, Error, Fault};
use crate::keyrack::Keyrack;
use crate::keys::secret;
use crate::keys::verdict::Verdict;
use crate::ratelimit::counters::memory::{CellKey, CellScope, Check};
use crate::rbac::query::Query;
use crate::resident::{Api, Identity, Key, Ratelimit};
use crate::store::workspaces::Workspace;

/// A key that exists, with what it belongs to.
#[derive(Debug, Clone)]
pub struct Found {
    /// The key.
    pub key: Arc<Key>,
    /// The key space of its API, which is live. Copied: to share it would be to count its users, which all
    /// verifications of a moment would do in one place.
    pub key_space_id: CompactString,
    /// Its API, if that restricts where its keys may be verified from.
    pub restricted_by: Option<Arc<Api>>,
    /// Its identity, if that is live.
    pub identity: Option<Arc<Identity>>,
}

/// Finds a key of a workspace by its text. A key of another workspace or of a deleted API does not exist.
pub fn find(keyrack: &Keyrack, workspace_id: &str, key: &str) -> Option<Found> {
    complete(keyrack, workspace_id, keyrack.resident().key(&secret::hash(key))?)
}

/// A key that was found, with what it belongs to, under the same conditions as [`find`].
pub(super) fn complete(keyrack: &Keyrack, workspace_id: &str, key: Arc<Key>) -> Option<Found> {
    if *key.place.workspace_id != *workspace_id {
        return None;
    }
    let (key_space_id, restricted_by) = keyrack.resident().look_at_api(&key.place.api_id, |api| {
        (CompactString::from(&api.stored.key_space_id), (!api.addresses.is_empty()).then(|| api.clone()))
    })?;
    let identity = key.identity_id.as_deref().and_then(|id| keyrack.resident().identity(id));
    // Without its identity's limits a key would be limited less than it should be.
    let misses = |id: &Arc<str>| identity.is_none() && keyrack.resident().is_unreadable_identity(id);
    if key.identity_id.as_ref().is_some_and(misses) {
        return None;
    }
    Some(Found { key, key_space_id, restricted_by, identity })
}

/// What is asked about a key.
#[derive(Debug)]
pub struct Question<'a> {
    /// A permission query.
    pub permissions: Option<&'a str>,
    /// Credits to spend; 1 when not given.
    pub cost: Option<i64>,
    /// Limits to check besides those that apply by themselves.
    pub limits: &'a [AskedLimit<'a>],
    /// Where the verifying client is.
    pub address: Option<IpAddr>,
    /// When it is asked, in Unix ms.
    pub at: i64,
}

/// A limit named by a request.
#[derive(Debug, Clone, Copy)]
pub struct AskedLimit<'a> {
    /// Its name.
    pub name: &'a str,
    /// What to count; 1 when not given.
    pub cost: Option<i64>,
    /// With `duration_ms`: an ad-hoc limit of the key.
    pub limit: Option<i64>,
    /// With `limit`: an ad-hoc limit of the key.
    pub duration_ms: Option<i64>,
}

/// The verdict and what was found on the way to it.
#[derive(Debug)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// The balance after this verification; `None` for an unlimited key.
    pub remaining: Option<i64>,
    /// What was taken from the balance.
    pub spent: i64,
    /// The limits that were checked, those that apply by themselves first.
    pub limits: CheckedLimits,
}

/// Limits after their check; most verifications have one or none.
pub type CheckedLimits = SmallVec<[CheckedLimit; 1]>;

/// A limit after its check.
#[derive(Debug)]
pub struct CheckedLimit {
    /// `rl_…`; empty for an ad-hoc limit. Copied, as the key space of a [`Found`] is.
    pub id: CompactString,
    /// Its name.
    pub name: CompactString,
    /// Cost admitted per window.
    pub limit: i64,
    /// Length of the window in ms.
    pub duration_ms: i64,
    /// Whether it applies to every verification.
    pub auto_apply: bool,
    /// Whether this verification was beyond it.
    pub exceeded: bool,
    /// What is left in the window.
    pub remaining: i64,
    /// Unix ms at which the window ends.
    pub reset_ms: i64,
}

/// Decides whether a key may be used now, and consumes what a use costs.
///
/// # Errors
/// 400 for a permission query or ad-hoc limit that makes no sense, 412 for a limit name that neither the
/// key nor its identity has, 503 when the store does not answer. Nothing is consumed then, but for limits
/// that were spent before the store failed.
pub async fn decide(keyrack: &Keyrack, found: &Found, question: &Question<'_>) -> Result<Decision, Error> {
    let decision = decide_without_balance(keyrack, found, question)?;
    settle(keyrack, found, decision, question.cost, question.at).await
}

/// The rest of a decision: takes the cost from the key's balance, or looks at it when the key is refused already.
/// `at` is when it was asked, in Unix ms.
///
/// # Errors
/// 503 when the store does not answer.
pub async fn settle(
    keyrack: &Keyrack,
    found: &Found,
    decision: Decision,
    cost: Option<i64>,
    at: i64,
) -> Result<Decision, Error> {
    if decision.verdict != Verdict::Valid {
        let remaining = payment::balance(keyrack, &found.key, at).await?;
        return Ok(Decision { remaining, ..decision });
    }
    let cost = cost.unwrap_or(1);
    Ok(match payment::pay(keyrack, &found.key, cost, at).await? {
        Payment::Made(None) => decision,
        Payment::Made(remaining) => Decision { remaining, spent: cost, ..decision },
        Payment::Refused(balance) => {
            Decision { verdict: Verdict::UsageExceeded, remaining: Some(balance), ..decision }
        }
        Payment::NoAccount => Decision { verdict: Verdict::NotFound, ..decision },
    })
}

/// The same but for the balance: the whole decision on a key that has none, made without waiting.
///
/// # Errors
/// As [`decide`], but for the store, which is not asked.
pub fn decide_without_balance(
    keyrack: &Keyrack,
    found: &Found,
    question: &Question<'_>,
) -> Result<Decision, Error> {
    let query = question.permissions.map(read_query).transpose()?;
    let decided = |verdict, limits| Decision { verdict, remaining: None, spent: 0, limits };
    if let Some(verdict) = refused_by_state(keyrack, found, question) {
        return Ok(decided(verdict, CheckedLimits::new()));
    }
    if query.is_some_and(|query| !query.is_satisfied_by(|permission| found.key.holds(permission))) {
        return Ok(decided(Verdict::InsufficientPermissions, CheckedLimits::new()));
    }
    let (passed, limits) = check_limits(keyrack, found, question)?;
    Ok(decided(if passed { Verdict::Valid } else { Verdict::RateLimited }, limits))
}

fn read_query(text: &str) -> Result<Query<'_>, Error> {
    Query::parse(text).map_err(|error| {
        let fault = Fault {
            location: "body.permissions".to_owned(),
            message: error.to_string(),
            fix: Some("Combine permission slugs with AND, OR and parentheses.".to_owned()),
        };
        Error::new(Code::PermissionsQuerySyntaxError, error.to_string()).with_faults(vec![fault])
    })
}

/// An ad-hoc window shorter than a second would never limit: refuse it instead of failing open.
fn refused_by_state(keyrack: &Keyrack, found: &Found, question: &Question<'_>) -> Option<Verdict> {
    let is_enabled = |workspace: &Workspace| workspace.enabled;
    if !keyrack.resident().look_at_workspace(&found.key.place.workspace_id, is_enabled).unwrap_or(false) {
        return Some(Verdict::Forbidden);
    }
    if !found.key.enabled {
        return Some(Verdict::Disabled);
    }
    if question.at > found.key.expires_at {
        return Some(Verdict::Expired);
    }
    let allows = |api: &Api| question.address.is_some_and(|address| api.addresses.contains(address));
    let is_elsewhere = found.restricted_by.as_ref().is_some_and(|api| !allows(api));
    is_elsewhere.then_some(Verdict::Forbidden)
}

/// A limit that a verification checks, and whose count it is.
struct Selected<'a> {
    id: &'a str,
    name: &'a str,
    limit: i64,
    duration_ms: i64,
    auto_apply: bool,
    cost: i64,
    counted_by: &'a str,
}

fn check_limits(
    keyrack: &Keyrack,
    found: &Found,
    question: &Question<'_>,
) -> Result<(bool, CheckedLimits), Error> {
    let selected = select(found, question.limits)?;
    if selected.is_empty() {
        return Ok((true, CheckedLimits::new()));
    }
    let checks: SmallVec<[Check<'_>; 4]> = selected
        .iter()
        .map(|limit| Check {
            cell: CellKey {
                workspace: &found.key.place.workspace_id,
                scope: CellScope::Key(limit.name),
                identifier: limit.counted_by,
                duration_ms: limit.duration_ms,
            },
            limit: limit.limit,
            cost: limit.cost,
        })
        .collect();
    let batch = keyrack.counters().check_all(&checks, question.at);
    drop(checks);
    let limits = selected.into_iter().zip(batch.decisions).map(|(limit, decision)| CheckedLimit {
        id: limit.id.into(),
        name: limit.name.into(),
        limit: limit.limit,
        duration_ms: limit.duration_ms,
        auto_apply: limit.auto_apply,
        exceeded: !decision.passed,
        remaining: decision.remaining,
        reset_ms: decision.reset_ms,
    });
    Ok((batch.passed, limits.collect()))
}

/// The limits of a verification, one per name: those that apply by themselves, in name order, then those
/// that the request names. A later item of a name replaces an earlier one.
fn select<'a>(found: &'a Found, asked: &[AskedLimit<'a>]) -> Result<SmallVec<[Selected<'a>; 2]>, Error> {
    let stored = |limit: &'a Ratelimit, counted_by: &'a str, cost: i64| Selected {
        id: &limit.id,
        name: &limit.name,
        limit: limit.limit,
        duration_ms: limit.duration_ms,
        auto_apply: limit.auto_apply,
        cost,
        counted_by,
    };
    let by_name = |name: &str| stored_limits(found).find(|(limit, _)| *limit.name == *name);
    let mut selected: SmallVec<[Selected<'a>; 2]> = stored_limits(found)
        .filter(|(limit, _)| limit.auto_apply)
        .map(|(limit, counted_by)| stored(limit, counted_by, 1))
        .collect();
    selected.sort_by_key(|limit| limit.name);
    if asked.is_empty() {
        return Ok(selected);
    }
    let mut places: HashMap<&str, usize> =
        selected.iter().enumerate().map(|(place, limit)| (limit.name, place)).collect();
    for item in asked {
        let cost = item.cost.unwrap_or(1);
        let entry = match (item.limit, item.duration_ms) {
            (Some(limit), Some(duration_ms)) => Selected {
                id: "",
                name: item.name,
                limit,
                duration_ms,
                auto_apply: false,
                cost,
                counted_by: &found.key.id,
            },
            _ => match by_name(item.name) {
                Some((limit, counted_by)) => stored(limit, counted_by, cost),
                None => return Err(unknown_limit(found, item.name)),
            },
        };
        match places.get(entry.name) {
            Some(place) => selected[*place] = entry,
            None => {
                places.insert(entry.name, selected.len());
                selected.push(entry);
            }
        }
    }
    Ok(selected)
}

/// The limits of a key and of its identity, with whose count they are. A limit of the key hides the
/// identity's limit of the same name completely.
pub fn stored_limits(found: &Found) -> impl Iterator<Item = (&Ratelimit, &str)> {
    let own = found.key.ratelimits.iter().map(|limit| (limit, &*found.key.id));
    own.chain(shared_limits(found))
}

/// The limits of the key's identity that no limit of the key hides.
pub fn shared_limits(found: &Found) -> impl Iterator<Item = (&Ratelimit, &str)> {
    let hidden = |name: &str| found.key.ratelimits.iter().any(|limit| *limit.name == *name);
    found.identity.iter().flat_map(move |identity| {
        identity
            .ratelimits
            .iter()
            .filter(move |limit| !hidden(&limit.name))
            .map(move |limit| (limit, &*identity.id))
    })
}

fn unknown_limit(found: &Found, name: &str) -> Error {
    let identity = match &found.identity {
        Some(identity) => format!("its identity {} (external id {})", identity.id, identity.external_id),
        None => "an identity: none is connected".to_owned(),
    };
    Error::new(
        Code::PreconditionFailed,
        format!(
            "The rate limit `{name}` belongs neither to the key {} nor to {identity}. Name one that exists, or \
             send both `limit` and `duration` for an ad-hoc limit.",
            found.key.id
        ),
    )
}
