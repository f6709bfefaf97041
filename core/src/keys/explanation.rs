//! Why a key is accepted or refused: every check of a verification, one after the other, also those behind the one that
//! decides.
//!
//! The checks are the verification's own: [`Check::ALL`], the limits that it selects, the counters' decision and the
//! balance that a deduction would find. Nothing is counted, spent, recorded or noted.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::calendar::{Calendar, DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, UnixMs};
use crate::error::Error;
use crate::keys::checks::{Check, Use};
use crate::keys::verdict::Verdict;
use crate::keys::verification::{AskedLimit, Selected, read_query, select};
use crate::ratelimit::counters::memory::{CellKey, CellScope, Check as Count, Foreseen, MemoryCounters};
use crate::rbac::query::Query;
use crate::resident::{FoundKey, NEVER, Ratelimit};
use crate::store::credits::{Credits, Refill};

/// What a key is asked about, besides who asks.
#[derive(Debug)]
pub struct Question<'a> {
    /// When.
    pub at: UnixMs,
    /// A permission query.
    pub permissions: Option<&'a str>,
    /// Credits that a use would spend.
    pub cost: i64,
    /// Limits to check besides those that apply by themselves.
    pub limits: &'a [AskedLimit<'a>],
    /// Where the client would be.
    pub address: Option<IpAddr>,
}

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the checks are their names")]
pub enum Asked {
    Existence,
    Keyspace,
    RootKey,
    Enabled,
    Expiry,
    Address,
    Permissions,
    Ratelimit,
    Credits,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the results are their names")]
pub enum Outcome {
    Passed,
    Refused,
    NotAsked,
}

/// A check, and what came of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What is checked.
    pub check: Asked,
    /// The limit that is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What came of it.
    pub result: Outcome,
    /// A sentence for people.
    pub detail: String,
    /// Unix ms at which that changes by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixMs>,
    /// What to do about a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The verdict that it gives when no check before it refuses.
    #[serde(skip)]
    pub refusal: Option<Verdict>,
}

impl Step {
    fn of(check: Asked, result: Outcome, detail: impl Into<String>) -> Step {
        Step { check, name: None, result, detail: detail.into(), until: None, fix: None, refusal: None }
    }

    /// A check that lets the key through.
    pub fn passed(check: Asked, detail: impl Into<String>) -> Step {
        Step::of(check, Outcome::Passed, detail)
    }

    /// A check that was not made.
    pub fn not_asked(check: Asked, detail: impl Into<String>) -> Step {
        Step::of(check, Outcome::NotAsked, detail)
    }

    /// A check that refuses the key with this verdict.
    pub fn refused(check: Asked, verdict: Verdict, detail: impl Into<String>, fix: impl Into<String>) -> Step {
        let fix = Some(fix.into());
        Step { refusal: Some(verdict), fix, ..Step::of(check, Outcome::Refused, detail) }
    }

    fn until(self, at: Option<UnixMs>) -> Step {
        Step { until: at, ..self }
    }

    fn about(self, name: &str) -> Step {
        Step { name: Some(name.to_owned()), ..self }
    }
}

/// The verdict that checks come to in their order.
pub fn verdict(steps: &[Step]) -> Verdict {
    steps.iter().find_map(|step| step.refusal).unwrap_or(Verdict::Valid)
}

/// Every check that is about the key itself, in the order in which they decide.
///
/// # Errors
/// As a verification: 400 for a permission query that makes no sense, 412 for a limit that neither the key nor its
/// identity has, unless a check before refuses.
pub fn steps(
    counters: &MemoryCounters,
    found: &FoundKey,
    credits: Credits,
    question: &Question<'_>,
) -> Result<Vec<Step>, Error> {
    let permissions = question.permissions.map(read_query).transpose()?;
    let used = Use { at: question.at, address: question.address, permissions };
    let mut steps: Vec<Step> = Check::ALL.into_iter().map(|check| spends_nothing(check, found, &used)).collect();
    match select(found, question.limits) {
        Ok(selected) if selected.is_empty() => {
            steps.push(Step::not_asked(Asked::Ratelimit, "No limit applies by itself, and none was named."));
        }
        Ok(selected) => steps.extend(selected.iter().map(|limit| {
            let foreseen = counters.foresee(&limit.check(found), question.at);
            of_limit(found, limit, foreseen)
        })),
        // A verification says this error instead of a verdict, unless it never comes to limits.
        Err(error) if verdict(&steps) == Verdict::Valid => return Err(error),
        Err(error) => steps.push(Step::not_asked(Asked::Ratelimit, error.detail())),
    }
    steps.push(of_credits(credits, question));
    Ok(steps)
}

fn spends_nothing(check: Check, found: &FoundKey, used: &Use<'_>) -> Step {
    let refusal = check.refusal(found, used);
    match (check, refusal) {
        (Check::Enabled, None) => Step::passed(Asked::Enabled, "The key is enabled."),
        (Check::Enabled, Some(verdict)) => {
            let fix = "`keys.updateKey` with `enabled: true` enables it.";
            Step::refused(Asked::Enabled, verdict, "The key is disabled.", fix)
        }
        (Check::Expiry, None) if found.key.expires_at == NEVER => {
            Step::passed(Asked::Expiry, "The key has no expiry.")
        }
        (Check::Expiry, None) => {
            let at = found.key.expires_at;
            Step::passed(Asked::Expiry, format!("The key expires at {}.", at.rfc3339())).until(Some(at.plus(1)))
        }
        (Check::Expiry, Some(verdict)) => {
            let detail = format!("The key expired at {}.", found.key.expires_at.rfc3339());
            let fix = "`keys.updateKey` with a later `expires`, in Unix ms, or with null lets it live on.";
            Step::refused(Asked::Expiry, verdict, detail, fix)
        }
        (Check::Address, refusal) => of_address(found, used, refusal),
        (Check::Permissions, refusal) => of_permissions(found, used.permissions.as_ref(), refusal),
    }
}

fn of_address(found: &FoundKey, used: &Use<'_>, refusal: Option<Verdict>) -> Step {
    let Some(api) = &found.restricted_by else {
        return Step::passed(Asked::Address, "The API of the key lets it be verified from anywhere.");
    };
    let name = &api.stored.name;
    match (used.address, refusal) {
        (None, _) => Step::not_asked(
            Asked::Address,
            format!("The API \"{name}\" takes keys from certain addresses only, and no `address` was sent."),
        ),
        (Some(address), None) => {
            Step::passed(Asked::Address, format!("The API \"{name}\" lets its keys be verified from {address}."))
        }
        (Some(address), Some(verdict)) => Step::refused(
            Asked::Address,
            verdict,
            format!("The API \"{name}\" does not let its keys be verified from {address}."),
            "`apis.updateApi` with the address in `ipWhitelist` lets it in. Behind a proxy the address is right only if \
             the server trusts that proxy.",
        ),
    }
}

fn of_permissions(found: &FoundKey, query: Option<&Query<'_>>, refusal: Option<Verdict>) -> Step {
    let Some(query) = query else { return Step::not_asked(Asked::Permissions, "No permissions were asked for.") };
    let Some(verdict) = refusal else {
        return Step::passed(Asked::Permissions, "The key holds what was asked for.");
    };
    let mut lacking: Vec<&str> = query.permissions().filter(|slug| !found.key.holds(slug)).collect();
    lacking.sort_unstable();
    lacking.dedup();
    let lacking = lacking.iter().map(|slug| format!("`{slug}`")).collect::<Vec<_>>().join(", ");
    Step::refused(
        Asked::Permissions,
        verdict,
        format!("Of the permissions that were asked for the key lacks {lacking}."),
        "`keys.addPermissions` gives it what is missing, `keys.addRoles` a role that has it. Slugs are compared \
         exactly; `*` is a character like others.",
    )
}

fn of_limit(found: &FoundKey, limit: &Selected<'_>, foreseen: Foreseen) -> Step {
    let Foreseen { used, passed, passes_from_ms, .. } = foreseen;
    let window = length(limit.duration_ms);
    let state = format!("The limit \"{}\" admits {} per {window}, and {used} are used", limit.name, limit.limit);
    if passed {
        let detail = format!("{state}: there is room for {}.", limit.cost);
        return Step::passed(Asked::Ratelimit, detail).about(limit.name);
    }
    let raise = if limit.is_ad_hoc() {
        "Send a larger `limit` for it."
    } else if *limit.counted_by == *found.key.id {
        "`keys.updateKey` raises the limit."
    } else {
        "The limit is the identity's and counts all of its keys; `identities.updateIdentity` raises it."
    };
    let fix = match passes_from_ms {
        Some(_) => format!("Wait, or raise the limit. {raise}"),
        None => format!("A cost beyond the limit never passes: send a smaller `cost`. {raise}"),
    };
    let detail = format!("{state}: there is no room for {}.", limit.cost);
    let step = Step::refused(Asked::Ratelimit, Verdict::RateLimited, detail, fix).about(limit.name);
    step.until(passes_from_ms.map(UnixMs::new))
}

fn of_credits(credits: Credits, question: &Question<'_>) -> Step {
    let cost = question.cost;
    match credits.remaining {
        None => Step::passed(Asked::Credits, "The key has no balance: its use is not limited by credits."),
        Some(left) if cost == 0 => {
            Step::passed(Asked::Credits, format!("{left} credits are left, and this use costs none."))
        }
        Some(left) if left >= cost => {
            Step::passed(Asked::Credits, format!("{left} credits are left, and this use costs {cost}."))
        }
        Some(left) => {
            let next = next_refill(credits, question.at).filter(|(_, amount)| *amount >= cost);
            let detail = format!("{left} credits are left, and this use costs {cost}.");
            let fix = if next.is_some() {
                "`keys.updateCredits` adds to the balance; else the next refill fills it up."
            } else {
                "`keys.updateCredits` adds to the balance."
            };
            let step = Step::refused(Asked::Credits, Verdict::UsageExceeded, detail, fix);
            step.until(next.map(|(time, _)| time))
        }
    }
}

/// When a balance is refilled next, and up to what.
pub fn next_refill(credits: Credits, now: UnixMs) -> Option<(UnixMs, i64)> {
    let Refill { amount, day } = credits.remaining.and(credits.refill)?;
    Some((Calendar::at(now).next_due(day).start(), amount))
}

/// A limit that a key or its identity owns, and its count.
#[derive(Debug)]
pub struct OwnedLimit<'a> {
    /// The limit.
    pub limit: &'a Ratelimit,
    /// Whether it is the identity's, and all its keys count together.
    pub is_shared: bool,
    /// Whether a limit of the key with the same name takes its place.
    pub is_hidden: bool,
    /// Its count, without anything more.
    pub count: Foreseen,
}

/// The limits of a key and of its identity, those that are hidden among them.
pub fn limits<'a>(counters: &MemoryCounters, found: &'a FoundKey, at: UnixMs) -> Vec<OwnedLimit<'a>> {
    let count = |limit: &Ratelimit, owner: &str| {
        let cell = CellKey {
            workspace: &found.key.place.workspace_id,
            scope: CellScope::Key(&limit.name),
            identifier: owner,
            duration_ms: limit.duration_ms,
        };
        counters.foresee(&Count { cell, limit: limit.limit, cost: 0 }, at)
    };
    let own = found.key.ratelimits.iter().map(|limit| OwnedLimit {
        limit,
        is_shared: false,
        is_hidden: false,
        count: count(limit, &found.key.id),
    });
    let shared = found.identity.iter().flat_map(|identity| {
        identity.ratelimits.iter().map(|limit| OwnedLimit {
            limit,
            is_shared: true,
            is_hidden: found.key.ratelimits.iter().any(|own| *own.name == *limit.name),
            count: count(limit, &identity.id),
        })
    });
    own.chain(shared).collect()
}

/// A length of time in words: `minute`, `12 hours`.
fn length(ms: i64) -> String {
    let units = [(DAY_MS, "day"), (HOUR_MS, "hour"), (MINUTE_MS, "minute"), (SECOND_MS, "second"), (1, "ms")];
    let whole = units.into_iter().find(|(unit, _)| ms % unit == 0);
    match whole.map(|(unit, name)| (ms / unit, name)) {
        Some((1, name)) => name.to_owned(),
        Some((count, "ms")) => format!("{count} ms"),
        Some((count, name)) => format!("{count} {name}s"),
        None => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_said_in_the_largest_unit_that_fits() {
        let said = [1, 999, 1000, 1500, 60_000, 90_000, 3_600_000, 86_400_000, 2_592_000_000].map(length);
        let due = ["ms", "999 ms", "second", "1500 ms", "minute", "90 seconds", "hour", "day", "30 days"];
        assert_eq!(said, due);
    }

    #[test]
    fn the_first_refusal_decides() {
        let passed = || Step::passed(Asked::Enabled, "");
        let refused = |verdict| Step::refused(Asked::Expiry, verdict, "", "");
        assert_eq!(verdict(&[passed(), Step::not_asked(Asked::Address, "")]), Verdict::Valid);
        let steps = [passed(), refused(Verdict::Expired), refused(Verdict::RateLimited)];
        assert_eq!(verdict(&steps), Verdict::Expired);
    }
}
