//! Whether a key may be used now: what a use consumes, and what is recorded of it.
//!
//! The first failing check decides: existence, state, expiry, client address, permissions, rate limits,
//! credits. Rate limits are all or nothing, and stay spent when credits then fail. Everything up to the
//! credits is decided from resident state without waiting; the store decides on the balance.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use compact_str::CompactString;
use smallvec::SmallVec;

use crate::analytics::event::{self, Event};
use crate::analytics::recorder::{Due, Recorder};
use crate::analytics::texts::{RefusedBy, Tags};
use crate::calendar::UnixMs;
use crate::credits::Credits;
use crate::credits::payment::Payment;
use crate::error::{Code, Error, Fault};
use crate::ids::RequestId;
use crate::keys::checks::{self, Use};
use crate::keys::verdict::Verdict;
use crate::metrics::Metrics;
use crate::ratelimit::counters::memory::{CellKey, CellScope, Check, MemoryCounters};
use crate::rbac::query::Query;
use crate::resident::{FoundKey, Ratelimit};

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
    /// What is recorded of the request.
    pub noted: Noted,
}

/// What the event of a verification says of its request.
#[derive(Debug)]
pub struct Noted {
    /// The request.
    pub request_id: RequestId,
    /// Who asks: a root key.
    pub root_key_id: CompactString,
    /// When it asks.
    pub at: UnixMs,
    /// As far as they are kept.
    pub tags: Tags,
    /// When the work on it began.
    pub started: Instant,
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

/// What a verification came to.
#[derive(Debug)]
pub struct Verified {
    /// The key, unless there is none that the caller may know of.
    pub found: Option<FoundKey>,
    /// The verdict on it.
    pub decision: Decision,
}

/// A verification that is decided but for what the store has to say of the balance.
#[derive(Debug)]
pub struct Unsettled {
    found: FoundKey,
    decision: Decision,
    refused_by: Option<Box<RefusedBy>>,
    cost: Option<i64>,
    noted: Noted,
    due: Due,
}

/// What a verification comes to without waiting.
#[derive(Debug)]
pub enum Begun {
    /// All of it: the key has no balance.
    Done(Verified),
    /// The rest is for [`Verifier::settle`].
    Waits(Unsettled),
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

impl Decision {
    fn of(verdict: Verdict, limits: CheckedLimits) -> Self {
        Decision { verdict, remaining: None, spent: 0, limits }
    }
}

/// Limits after their check; most verifications have one or none.
pub type CheckedLimits = SmallVec<[CheckedLimit; 1]>;

/// A limit after its check.
#[derive(Debug)]
pub struct CheckedLimit {
    /// `rl_…`; empty for an ad-hoc limit. Copied, as the key space of a [`FoundKey`] is.
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

/// What verifies keys: it decides, counts and records.
#[derive(Debug, Clone, Copy)]
pub struct Verifier<'a> {
    pub(crate) counters: &'a MemoryCounters,
    pub(crate) credits: &'a Credits,
    pub(crate) metrics: &'a Metrics,
    pub(crate) recorder: &'a Recorder,
}

impl Verifier<'_> {
    /// Says whether a key may be used now, and consumes what a use costs.
    ///
    /// # Errors
    /// 400 for a permission query or ad-hoc limit that makes no sense, 412 for a limit name that neither the
    /// key nor its identity has, 503 when the store does not answer. Nothing is consumed then, but for limits
    /// that were spent before the store failed.
    pub async fn verify(self, found: FoundKey, question: Question<'_>) -> Result<Verified, Error> {
        match self.begin(found, question)? {
            Begun::Done(verified) => Ok(verified),
            Begun::Waits(unsettled) => self.settle(unsettled).await,
        }
    }

    /// The same as far as that takes no waiting.
    ///
    /// # Errors
    /// As [`Verifier::verify`], but for the store, which is not asked.
    pub fn begin(self, found: FoundKey, question: Question<'_>) -> Result<Begun, Error> {
        let decision = decide(self.counters, &found, &question)?;
        let refused_by = refused_by(&decision, &question);
        let Question { cost, noted, .. } = question;
        Ok(if found.key.balance.is_none() {
            Begun::Done(self.conclude(found, decision, refused_by, noted))
        } else {
            Begun::Waits(Unsettled { found, decision, refused_by, cost, noted, due: self.recorder.announce() })
        })
    }

    /// The rest of a verification: takes the cost from the key's balance, or looks at it when the key is refused
    /// already.
    ///
    /// # Errors
    /// 503 when the store does not answer.
    pub async fn settle(self, unsettled: Unsettled) -> Result<Verified, Error> {
        // Until the end of this, a stop waits for the event.
        let Unsettled { found, decision, refused_by, cost, noted, due: _due } = unsettled;
        if decision.verdict != Verdict::Valid {
            let remaining = self.credits.balance(&found.key, noted.at).await?;
            return Ok(self.conclude(found, Decision { remaining, ..decision }, refused_by, noted));
        }
        let cost = cost.unwrap_or(1);
        let decision = match self.credits.pay(&found.key, cost, noted.at).await? {
            Payment::Made(None) => decision,
            Payment::Made(remaining) => Decision { remaining, spent: cost, ..decision },
            Payment::Refused(balance) => {
                Decision { verdict: Verdict::UsageExceeded, remaining: Some(balance), ..decision }
            }
            Payment::NoAccount => return Ok(self.not_found(&found.key.place.workspace_id, None, noted)),
        };
        Ok(self.conclude(found, decision, None, noted))
    }

    /// The verification of a text that is no key of this workspace, or one that the caller may not know of, which is
    /// `hidden`. Its event is none of a key.
    pub fn not_found(self, workspace_id: &str, hidden: Option<FoundKey>, noted: Noted) -> Verified {
        self.metrics.verified(Verdict::NotFound);
        self.recorder.record(Event::Refusal(event::Refusal {
            request_id: noted.request_id,
            time: noted.at,
            workspace_id: workspace_id.into(),
            root_key_id: noted.root_key_id,
            hidden: hidden.map(|found| found.key),
            tags: noted.tags,
        }));
        Verified { found: None, decision: Decision::of(Verdict::NotFound, CheckedLimits::new()) }
    }

    /// What was decided, counted and recorded.
    fn conclude(
        self,
        found: FoundKey,
        decision: Decision,
        refused_by: Option<Box<RefusedBy>>,
        noted: Noted,
    ) -> Verified {
        self.metrics.verified(decision.verdict);
        self.recorder.record(Event::Verification(event::Verification {
            request_id: noted.request_id,
            time: noted.at,
            root_key_id: noted.root_key_id,
            found: found.clone(),
            outcome: decision.verdict,
            refused_by,
            tags: noted.tags,
            spent_credits: decision.spent,
            latency: noted.started.elapsed(),
        }));
        Verified { found: Some(found), decision }
    }
}

/// All of a decision but the balance.
fn decide(counters: &MemoryCounters, found: &FoundKey, question: &Question<'_>) -> Result<Decision, Error> {
    let permissions = question.permissions.map(read_query).transpose()?;
    let used = Use { at: question.noted.at, address: question.address, permissions };
    if let Some(verdict) = checks::Check::first_refusal(found, &used) {
        return Ok(Decision::of(verdict, CheckedLimits::new()));
    }
    let (passed, limits) = check_limits(counters, found, question)?;
    Ok(Decision::of(if passed { Verdict::Valid } else { Verdict::RateLimited }, limits))
}

/// What refused, as far as a verdict does not say it: which limits, which permission query, which address.
fn refused_by(decision: &Decision, question: &Question<'_>) -> Option<Box<RefusedBy>> {
    let refused_by = match decision.verdict {
        Verdict::RateLimited => {
            let exceeded = decision.limits.iter().filter(|limit| limit.exceeded);
            RefusedBy::of(exceeded.map(|limit| limit.name.as_str()))
        }
        Verdict::InsufficientPermissions => RefusedBy::of(question.permissions),
        Verdict::Forbidden => {
            let address = question.address.map(|address| address.to_string());
            RefusedBy::of(address.as_deref())
        }
        Verdict::Valid | Verdict::NotFound | Verdict::UsageExceeded | Verdict::Disabled | Verdict::Expired => {
            return None;
        }
    };
    Some(Box::new(refused_by))
}

pub(super) fn read_query(text: &str) -> Result<Query<'_>, Error> {
    Query::parse(text).map_err(|error| {
        let fault = Fault {
            location: "body.permissions".to_owned(),
            message: error.to_string(),
            fix: Some("Combine permission slugs with AND, OR and parentheses.".to_owned()),
        };
        Error::new(Code::PermissionsQuerySyntaxError, error.to_string()).with_faults(vec![fault])
    })
}

/// A limit that a verification checks, and whose count it is.
pub(super) struct Selected<'a> {
    id: &'a str,
    pub(super) name: &'a str,
    pub(super) limit: i64,
    pub(super) duration_ms: i64,
    auto_apply: bool,
    pub(super) cost: i64,
    /// The key or the identity.
    pub(super) counted_by: &'a str,
}

impl Selected<'_> {
    /// Whether it comes from the request and nobody owns it.
    pub(super) fn is_ad_hoc(&self) -> bool {
        self.id.is_empty()
    }

    /// The question to the counters.
    pub(super) fn check<'c>(&'c self, found: &'c FoundKey) -> Check<'c> {
        let cell = CellKey {
            workspace: &found.key.place.workspace_id,
            scope: CellScope::Key(self.name),
            identifier: self.counted_by,
            duration_ms: self.duration_ms,
        };
        Check { cell, limit: self.limit, cost: self.cost }
    }
}

fn check_limits(
    counters: &MemoryCounters,
    found: &FoundKey,
    question: &Question<'_>,
) -> Result<(bool, CheckedLimits), Error> {
    let selected = select(found, question.limits)?;
    if selected.is_empty() {
        return Ok((true, CheckedLimits::new()));
    }
    // Most have one limit: loops cost less than what makes vectors of iterators.
    let mut checks: SmallVec<[Check<'_>; 4]> = SmallVec::new();
    for limit in &selected {
        checks.push(limit.check(found));
    }
    let batch = counters.check_all(&checks, question.noted.at);
    let mut limits = CheckedLimits::new();
    for (limit, decision) in selected.iter().zip(&batch.decisions) {
        limits.push(CheckedLimit {
            id: limit.id.into(),
            name: limit.name.into(),
            limit: limit.limit,
            duration_ms: limit.duration_ms,
            auto_apply: limit.auto_apply,
            exceeded: !decision.passed,
            remaining: decision.remaining,
            reset_ms: decision.reset_ms,
        });
    }
    Ok((batch.passed, limits))
}

/// The limits of a verification, one per name: those that apply by themselves, in name order, then those
/// that the request names. A later item of a name replaces an earlier one.
pub(super) fn select<'a>(
    found: &'a FoundKey,
    asked: &[AskedLimit<'a>],
) -> Result<SmallVec<[Selected<'a>; 2]>, Error> {
    let stored = |limit: &'a Ratelimit, counted_by: &'a str, cost: i64| Selected {
        id: &limit.id,
        name: &limit.name,
        limit: limit.limit,
        duration_ms: limit.duration_ms,
        auto_apply: limit.auto_apply,
        cost,
        counted_by,
    };
    let by_name = |name: &str| found.limits().find(|(limit, _)| *limit.name == *name);
    let mut selected: SmallVec<[Selected<'a>; 2]> = SmallVec::new();
    for (limit, counted_by) in found.limits().filter(|(limit, _)| limit.auto_apply) {
        selected.push(stored(limit, counted_by, 1));
    }
    if selected.len() > 1 {
        selected.sort_by_key(|limit| limit.name);
    }
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

fn unknown_limit(found: &FoundKey, name: &str) -> Error {
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
