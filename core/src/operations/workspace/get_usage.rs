//! `workspace.getUsage`

use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authorization::{Expression, Rule};
use crate::calendar::{DAY_MS, UnixMs};
use crate::catalogue::{About, Assistants, Operation, Toolset};
use crate::reply::{Empty, Reply};
use crate::store::usage::Kind;
use crate::{Caller, Error, Keyrack};

/// How long ago a period may have begun.
const MOST_DAYS_AGO: i64 = 90;

/// Reads how much the workspace used in a month.
#[derive(Debug)]
pub struct GetUsage;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// A month in UTC; default: this month so far.
    period: Option<Month>,
}

/// A month in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Month {
    /// Such as 2026.
    year: i64,
    /// 1 is January.
    #[schemars(range(min = 1, max = 12))]
    month: i64,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Response {
    /// What was counted.
    pub period: Period,
    /// What it comes to.
    pub totals: Totals,
    /// The same by what this server does not have: empty.
    pub breakdowns: Breakdowns,
}

/// A span of time.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// Unix ms, inclusive.
    pub start: UnixMs,
    /// Unix ms, exclusive; now for the current month.
    pub end: UnixMs,
}

/// What the period comes to.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Totals {
    /// Through the API.
    pub api: ApiTotals,
    /// Deployments, which this server does not have: 0. Official clients insist on it.
    pub compute: Compute,
    /// Gateways, which this server does not have: 0.
    pub gateway: Gateway,
}

/// What deployments used.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compute {
    /// Seconds of CPU.
    pub cpu_seconds: f64,
    /// GiB of memory times hours.
    #[serde(rename = "memoryGiBHours")]
    pub memory_gib_hours: f64,
    /// GiB of storage times hours.
    #[serde(rename = "storageGiBHours")]
    pub storage_gib_hours: f64,
    /// GiB sent.
    #[serde(rename = "egressGiB")]
    pub egress_gib: f64,
}

/// What gateways used.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// Keys that were used there.
    pub active_keys: i64,
}

/// What deployments and gateways used, one by one.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Breakdowns {
    /// Always empty.
    pub by_environment: Vec<Empty>,
    /// Always empty.
    pub by_app: Vec<Empty>,
}

/// What was decided.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ApiTotals {
    /// Verifications that found the key valid.
    pub verifications: i64,
    /// Checks of ratelimit.limit and multiLimit that passed.
    pub ratelimits: i64,
}

impl Operation for GetUsage {
    const ABOUT: About = About {
        name: "workspace.getUsage",
        title: "Show the usage of a month",
        summary: "Counts, for one calendar month, verifications that were valid and rate-limit checks that passed.",
        description: "Without `period`: the current month so far. A period is a UTC month that began at most 90 days \
                      ago. Refusals are not counted: for error rates, and by key, customer or day, ask \
                      `analytics.getUsage`, which counts the same events. What this server decided is counted at once; other processes on the same database add \
                      what they decided every few seconds.",
        example: "{}",
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("workspace.*.read_workspace"),
            Expression::Leg("unkey:v1:{workspaceId}:usage#read"),
        ])),
        assistants: Assistants {
            toolset: Some(Toolset::Analytics),
            hint: "Refusals are not counted: for error rates, and by key, customer or day, use analytics.getUsage.",
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let now = keyrack.clock().now();
        let (start, end) = bounds(request.period, now)?;
        let (analytics, workspace_id) = (keyrack.analytics(), caller.workspace_id());
        Ok(authorized.reply(Response {
            period: Period { start, end: end.min(now) },
            totals: Totals {
                api: ApiTotals {
                    verifications: analytics.used(workspace_id, Kind::Verification, start, end).await?,
                    ratelimits: analytics.used(workspace_id, Kind::Ratelimit, start, end).await?,
                },
                compute: Compute::default(),
                gateway: Gateway::default(),
            },
            breakdowns: Breakdowns::default(),
        }))
    }
}

/// Beginning and end of a month in Unix ms.
fn bounds(period: Option<Month>, now: UnixMs) -> Result<(UnixMs, UnixMs), Error> {
    let this_month =
        jiff::Timestamp::from_millisecond(now.get()).map_err(Error::unexpected)?.to_zoned_datetime(TimeZone::UTC);
    let first = match period {
        None => Ok(this_month.date().first_of_month()),
        Some(Month { year, month }) => first_day(year, month),
    };
    let first = first.map_err(|_| refused("does not exist"))?;
    let at = |date: Date| {
        date.to_zoned_datetime(TimeZone::UTC).map(|time| UnixMs::new(time.timestamp().as_millisecond()))
    };
    let start = at(first).map_err(Error::unexpected)?;
    let end = at(first.saturating_add(jiff::Span::new().months(1))).map_err(Error::unexpected)?;
    if start > now {
        return Err(refused("lies in the future"));
    }
    if period.is_some() && start < now.minus(MOST_DAYS_AGO * DAY_MS) {
        return Err(refused("began more than 90 days ago"));
    }
    Ok((start, end))
}

fn first_day(year: i64, month: i64) -> Result<Date, jiff::Error> {
    Date::new(i16::try_from(year).unwrap_or(i16::MAX), i8::try_from(month).unwrap_or(i8::MAX), 1)
}

fn refused(reason: &str) -> Error {
    Error::invalid(
        "body.period",
        format!("must be a month that has begun, at most 90 days ago; this one {reason}"),
        "Send the year and month of a recent month in UTC, or leave `period` out for the current one.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-15T12:00:00Z
    const NOW: UnixMs = UnixMs::new(1_773_576_000_000);

    #[test]
    fn a_period_is_a_month_in_utc_that_began_at_most_ninety_days_ago() {
        let numbers = |(start, end): (UnixMs, UnixMs)| (start.get(), end.get());
        let month = |year, month| bounds(Some(Month { year, month }), NOW).map(numbers);
        let march = (1_772_323_200_000, 1_775_001_600_000);
        assert_eq!(bounds(None, NOW).map(numbers).unwrap(), march);
        assert_eq!(month(2026, 3).unwrap(), march);
        assert_eq!(month(2026, 1).unwrap(), (1_767_225_600_000, 1_769_904_000_000));
        for (year, number) in [(2026, 4), (2025, 12), (99_999, 1), (i64::MIN, 1)] {
            assert!(month(year, number).is_err(), "{year}-{number}");
        }
    }
}
