//! `analytics.getUsage`

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::outcome::{self, Outcome};
use super::reader::{REPORT_CODES, let_in};
use crate::analytics::reports::measures::{Measured, Order};
use crate::analytics::reports::usage::{Bucket, By, Filters, Gap, Group, Groups, Question, Usage};
use crate::analytics::sql::tables::Tables;
use crate::authorization::{Expression, Rule};
use crate::calendar::{DAY_MS, UnixMs};
use crate::catalogue::{About, Assistants, Operation, Pin};
use crate::ids::{ApiId, KeyId};
use crate::page::PageSize;
use crate::reply::Reply;
use crate::store::keys::known_as;
use crate::{Caller, Error, Keyrack};

/// How much is asked for that names no start.
const DAYS: i64 = 7;
/// Members of a series, and of the series of all groups together.
const MOST_BUCKETS: i64 = 1000;
const MOST_GROUPED_BUCKETS: i64 = 5000;

/// Sums up what was used.
#[derive(Debug)]
pub struct GetUsage;

/// What is sent. Every filter must match.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Of what.
    #[serde(default)]
    of: Kind,
    /// Unix ms, moved back to where its bucket begins; default: 7 days before `end`.
    start: Option<UnixMs>,
    /// Unix ms, exclusive, moved on to where its bucket ends; default: now.
    end: Option<UnixMs>,
    /// How long a time each member of the series is about; default: as suits the length.
    bucket: Option<Bucket>,
    /// Only verifications of keys of this API.
    api_id: Option<ApiId>,
    /// Only verifications of this key.
    key_id: Option<KeyId>,
    /// Only verifications of keys of this identity, by its id or external id.
    #[schemars(length(min = 1, max = 255))]
    identity: Option<String>,
    /// Only verifications with this tag.
    #[schemars(length(min = 1, max = 512))]
    tag: Option<String>,
    /// Only decisions on limits of this namespace, by its id or name.
    #[schemars(length(min = 1, max = 512))]
    namespace: Option<String>,
    /// Only decisions on limits of this identifier.
    #[schemars(length(min = 1, max = 512))]
    identifier: Option<String>,
    /// Only what had one of these outcomes.
    #[schemars(length(min = 1, max = 9))]
    outcomes: Option<Vec<Outcome<true>>>,
    /// What to group by; a verification is in the group of each of its tags.
    by: Option<By>,
    /// Which groups come first: those with the largest number of this.
    #[serde(default)]
    order: Order,
    /// Groups at most.
    #[serde(default)]
    limit: PageSize<10>,
    /// Whether each group has a series of its own.
    #[serde(default)]
    group_series: bool,
}

/// Of what usage is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Kind {
    #[default]
    Verifications,
    Ratelimits,
}

impl Kind {
    fn tables(self) -> Tables {
        match self {
            Kind::Verifications => Tables::Verifications,
            Kind::Ratelimits => Tables::Ratelimits,
        }
    }
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// Of what.
    pub of: Kind,
    /// Unix ms, inclusive.
    pub start: UnixMs,
    /// Unix ms, exclusive.
    pub end: UnixMs,
    /// How long a time each member of the series is about.
    pub bucket: Bucket,
    /// What all of it comes to.
    pub totals: Sums,
    /// The same by time; buckets without events are left out.
    pub series: Vec<Point>,
    /// The same by what was asked for; absent without `by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<Grouped>>,
    /// Times for which there may be less here than there was.
    pub gaps: Vec<Gap>,
}

/// What some events come to.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sums {
    /// How many they are.
    pub total: i64,
    /// How many had which outcome: VALID, RATE_LIMITED and so on of verifications, PASSED and REFUSED of decisions on
    /// limits. Those that none had are left out.
    pub counts: BTreeMap<&'static str, i64>,
    /// The credits that verifications spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent_credits: Option<i64>,
    /// The cost that decisions on limits asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<i64>,
    /// The median of how long the decisions took, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_p50: Option<f64>,
    /// The 99th percentile of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_p99: Option<f64>,
}

/// What the events of a bucket come to.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// Unix ms of its beginning.
    pub time: UnixMs,
    /// What they come to.
    #[serde(flatten)]
    pub sums: Sums,
}

/// What the events of a group come to.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grouped {
    /// The id, tag or identifier; of identities empty for keys that have none.
    pub id: String,
    /// What people know it by; of identities the external id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Unix ms of the last event; absent for single outcomes of decisions on limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_time: Option<UnixMs>,
    /// What they come to.
    #[serde(flatten)]
    pub sums: Sums,
    /// The same by time, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Vec<Point>>,
}

impl Operation for GetUsage {
    const ABOUT: About = About {
        name: "analytics.getUsage",
        title: "Sum up usage",
        summary: "Counts verifications or rate-limit decisions by outcome, over time, and by key, customer, API or tag.",
        description: "`{}` asks for the verifications of the last 7 days. Refusals are counted: error rates are one minus \
                      VALID (or PASSED) by `total`. What this server decided is there at once; `gaps` says for which \
                      time there may be less than there was. Verifications of unknown keys are not counted. A root key \
                      that holds `read_analytics` for some APIs or namespaces sees theirs only. For other questions \
                      there is SQL: `analytics.getVerifications`, `analytics.getRatelimits`.",
        example: r#"{"by": "key", "order": "refused", "limit": 5}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("api.*.read_analytics"),
            Expression::Leg("api.{anyApiId}.read_analytics"),
            Expression::Leg("ratelimit.*.read_analytics"),
            Expression::Leg("ratelimit.{anyNamespaceId}.read_analytics"),
        ])),
        errors: REPORT_CODES,
        assistants: Assistants {
            pinned_by: Some(Pin::Api("apiId")),
            hint: "Totals, error rates, top keys or customers of any time. Calendar month: bucket day, start and end.",
            ..Assistants::DEFAULT
        },
        is_own: true,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let of = request.of;
        let (authorized, reader) = let_in(keyrack, caller, of.tables())?;
        let mut question = question(request, reader.now)?;
        let named = question.filters.namespace.as_deref();
        if let Some(known) = named.and_then(|name| keyrack.resident().namespace(&reader.workspace_id, name)) {
            question.filters.namespace_id = Some(known.stored.id.clone());
            question.filters.namespace = None;
        }
        let Usage { totals, series, groups, gaps } =
            keyrack.analytics().report(&reader).await?.usage(&question).await?;
        let Question { start, end, bucket, .. } = question;
        let groups = match question.groups {
            None => None,
            Some(asked) => {
                let mut names = names(keyrack, caller, asked.by, &groups).await?;
                let grouped = groups.into_iter().map(|group| grouped(of, group, &mut names, asked.series));
                Some(grouped.collect())
            }
        };
        let (totals, series) = (sums(of, totals), points(of, series));
        Ok(authorized.reply(Response { of, start, end, bucket, totals, series, groups, gaps }))
    }
}

fn sums(of: Kind, measured: Measured) -> Sums {
    let Measured { total, counts, cost, latency_p50, latency_p99 } = measured;
    let is_of = |kind| (of == kind).then_some(cost);
    let (spent_credits, cost) = (is_of(Kind::Verifications), is_of(Kind::Ratelimits));
    Sums { total, counts, spent_credits, cost, latency_p50, latency_p99 }
}

fn points(of: Kind, series: Vec<(UnixMs, Measured)>) -> Vec<Point> {
    series.into_iter().map(|(time, measured)| Point { time, sums: sums(of, measured) }).collect()
}

fn grouped(of: Kind, group: Group, names: &mut HashMap<String, String>, has_series: bool) -> Grouped {
    let name = names.remove(&group.id).or(group.name);
    let series = has_series.then(|| points(of, group.series));
    Grouped { id: group.id, name, last_time: group.last_time, sums: sums(of, group.measured), series }
}

/// What people know these groups by, where that is not in the events.
async fn names(
    keyrack: &Keyrack,
    caller: &Caller,
    by: By,
    groups: &[Group],
) -> Result<HashMap<String, String>, Error> {
    let named = |name: &dyn Fn(&str) -> Option<String>| {
        groups.iter().filter_map(|group| Some((group.id.clone(), name(&group.id)?))).collect()
    };
    Ok(match by {
        By::Api => named(&|id| keyrack.resident().api(id).map(|api| api.stored.name.clone())),
        By::Namespace => named(&|id| {
            let namespace = keyrack.resident().namespace(caller.workspace_id(), id)?;
            Some(namespace.stored.name.clone())
        }),
        By::Key => {
            let ids: Vec<&str> = groups.iter().map(|group| group.id.as_str()).collect();
            let mut connection = keyrack.store().read().await?;
            let known = known_as(&mut connection, &ids).await?;
            known.into_iter().filter_map(|(id, known)| Some((id, known.name?))).collect()
        }
        By::Identity | By::Tag | By::Identifier => HashMap::new(),
    })
}

/// What a request asks, once it is known to make sense.
fn question(request: Request, now: UnixMs) -> Result<Question, Error> {
    let (start, end, bucket) = period(&request, now)?;
    let Request { of, by, order, limit, group_series, .. } = request;
    check_kind(&request)?;
    let outcomes = outcome::names(request.outcomes.unwrap_or_default(), of.tables())?;
    let groups = by.map(|by| Groups { by, order, limit: limit.items(), series: group_series });
    let buckets = end.since(start) / bucket_ms(bucket);
    if group_series && buckets.saturating_mul(limit.items() as i64) > MOST_GROUPED_BUCKETS {
        return Err(Error::invalid(
            "body.groupSeries",
            format!("must not be set for so many groups and buckets: together at most {MOST_GROUPED_BUCKETS}"),
            "Ask for a larger `bucket`, a shorter time or a smaller `limit`.",
        ));
    }
    let filters = Filters {
        api_id: request.api_id.map(|id| id.to_string()),
        key_id: request.key_id.map(|id| id.to_string()),
        identity: request.identity,
        tag: request.tag,
        namespace: request.namespace,
        namespace_id: None,
        identifier: request.identifier,
    };
    Ok(Question { start, end, bucket, filters, outcomes, groups })
}

/// About how long a bucket is.
fn bucket_ms(bucket: Bucket) -> i64 {
    let (start, end) = bucket.around(UnixMs::EPOCH);
    end.since(start)
}

fn period(request: &Request, now: UnixMs) -> Result<(UnixMs, UnixMs, Bucket), Error> {
    let end = request.end.unwrap_or(now).min(now.plus(1));
    let start = request.start.unwrap_or(end.minus(DAYS * DAY_MS)).max(UnixMs::EPOCH);
    if start >= end {
        return Err(Error::invalid(
            "body.start",
            "must be before `end`, which is now at the latest",
            "Send an earlier `start`, or leave it out for the last 7 days.",
        ));
    }
    let bucket = request.bucket.unwrap_or(Bucket::for_length(end.since(start)));
    if end.since(start) / bucket_ms(bucket) >= MOST_BUCKETS {
        return Err(Error::invalid(
            "body.bucket",
            format!("must be longer: at most {MOST_BUCKETS} buckets fit into an answer"),
            "Send a larger `bucket`, leave it out, or ask for a shorter time.",
        ));
    }
    Ok((bucket.around(start).0, bucket.around(end.minus(1)).1, bucket))
}

/// Refuses members that are not about what is asked for.
fn check_kind(request: &Request) -> Result<(), Error> {
    let of = request.of;
    let members = [
        ("apiId", request.api_id.is_some(), Kind::Verifications),
        ("keyId", request.key_id.is_some(), Kind::Verifications),
        ("identity", request.identity.is_some(), Kind::Verifications),
        ("tag", request.tag.is_some(), Kind::Verifications),
        ("namespace", request.namespace.is_some(), Kind::Ratelimits),
        ("identifier", request.identifier.is_some(), Kind::Ratelimits),
        ("order", request.order == Order::SpentCredits, Kind::Verifications),
    ];
    let strange = members.into_iter().find(|(_, is_there, kind)| *is_there && *kind != of);
    let strange = strange.map(|(name, ..)| name);
    let strange = strange.or(request.by.is_some_and(|by| by.of() != of.tables()).then_some("by"));
    let Some(member) = strange else { return Ok(()) };
    let (fitting, other) = match of {
        Kind::Verifications => ("verifications", "ratelimits"),
        Kind::Ratelimits => ("ratelimits", "verifications"),
    };
    Err(Error::invalid(
        &format!("body.{member}"),
        format!("is about {other}, and `of` asks for {fitting}"),
        format!("Send `\"of\": \"{other}\"`, or leave it out."),
    ))
}
