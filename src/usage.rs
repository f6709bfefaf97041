//! `keyrack usage`: how much was used, asked of a server: a table with a small chart for people, JSON or CSV for scripts.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use keyrack_core::analytics::reports::usage::Bucket;
use keyrack_core::calendar::{Day, UnixMs};
use keyrack_core::clock::Clock;
use serde_json::{Map, Value, json};

use crate::api::{Failure, Inputs, connection};
use crate::durations::milliseconds;
use crate::filters::{self, Filter, Kind};
use crate::remote::Remote;
use crate::shown::{self, Form, with_patience};
use crate::table::Table;

/// Characters of the longest bar.
const BAR: usize = 24;
/// Buckets that are shown one by one, those without events among them.
const MOST_BUCKETS: usize = 1000;
/// Groups that the server shows at most.
const MOST_GROUPS: u64 = 100;

/// Each value of `--by`, and what the operation calls it; outcomes need no groups.
const BY: [(&str, Option<&str>); 7] = [
    ("outcome", None),
    ("customer", Some("identity")),
    ("key", Some("key")),
    ("api", Some("api")),
    ("tag", Some("tag")),
    ("namespace", Some("namespace")),
    ("identifier", Some("identifier")),
];
/// What tells decisions on limits apart.
const OF_LIMITS: [&str; 2] = ["namespace", "identifier"];

/// The command and its flags.
pub(crate) fn command() -> Command {
    let by = Arg::new("by").long("by").value_name("WHAT").value_parser(BY.map(|(name, _)| name)).default_value("outcome").help(
        "What to tell apart: outcomes over time, or the largest of the others. Namespaces and identifiers are of \
         rate-limit decisions",
    );
    let ratelimits = Arg::new("ratelimits")
        .long("ratelimits")
        .action(clap::ArgAction::SetTrue)
        .help("Count decisions of ratelimit.limit and multiLimit instead of verifications");
    let month = Arg::new("month").long("month").value_name("YYYY-MM").value_parser(month).help("A month in UTC");
    let since = Arg::new("since")
        .long("since")
        .value_name("AGE")
        .value_parser(milliseconds)
        .conflicts_with("month")
        .help("From so long ago until now: 90s, 15m, 12h, 30d or 2w [default: 7d]");
    let limit = Arg::new("limit")
        .long("limit")
        .value_name("COUNT")
        .value_parser(clap::value_parser!(u64).range(1..=MOST_GROUPS))
        .default_value("100")
        .help("How many customers, keys and so on, the largest first, at most 100");
    Command::new("usage")
        .about("Shows how much was used: by outcome over time, or by customer, key, API, tag or identifier")
        .after_help(
            "Examples:\n  keyrack usage\n  keyrack usage --month 2026-11 --by customer --csv\n  keyrack usage --since 24h \
             --key key_…\n\nExit codes: 0 answered, 2 usage, 3 authentication, 4 not found, 5 rate limited, 1 anything \
             else.",
        )
        .args([by, month, since, limit, ratelimits])
        .args(filters::COMMON.iter().map(Filter::argument))
        .args(Form::flags())
        .args(connection::arguments())
}

/// Asks, and shows the answer.
pub(crate) async fn run(matches: &ArgMatches) -> ExitCode {
    match execute(matches, &mut Inputs::of_process()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn execute(matches: &ArgMatches, inputs: &mut Inputs) -> Result<(), Failure> {
    let settings = connection::settings(matches)?;
    let form = Form::of(&settings, matches)?;
    let remote = connection::connect(&settings, matches, inputs)?;
    let request = request(matches, Clock::system().now());
    let usage = ask(&remote, &request).await?;
    warn_of_gaps(&usage);
    if usage["groups"].as_array().is_some_and(|groups| groups.len() as u64 >= limit(matches)) {
        eprintln!(
            "warning: there may be more than these {}; `keyrack analytics sql` can show all",
            limit(matches)
        );
    }
    let text = match form {
        Form::Json => format!("{usage:#}"),
        Form::Csv => Table::with_columns(columns(&usage), &rows(&usage)).csv().map_err(Failure::Output)?,
        Form::People => for_people(&usage),
    };
    shown::print(&text)
}

async fn ask(remote: &Remote, request: &Value) -> Result<Value, Failure> {
    let mut answer = with_patience(remote.call("analytics.getUsage", request)).await?;
    if !answer.is_success() {
        return Err(Failure::Refused(answer));
    }
    Ok(answer.body["data"].take())
}

/// What the flags ask for.
fn request(matches: &ArgMatches, now: UnixMs) -> Value {
    let by = matches.get_one::<String>("by").map(String::as_str).unwrap_or_default();
    let mut request = json!({});
    let about = filters::put(&filters::COMMON, matches, &mut request);
    let is_of_limits =
        matches.get_flag("ratelimits") || OF_LIMITS.contains(&by) || about == Some(Kind::Ratelimits);
    request["of"] = json!(if is_of_limits { "ratelimits" } else { "verifications" });
    match matches.get_one::<(UnixMs, UnixMs)>("month") {
        Some((start, end)) => {
            request["start"] = json!(start);
            request["end"] = json!(end);
            // Sums of months are kept for longest.
            request["bucket"] = json!(if by == "outcome" { "day" } else { "month" });
        }
        None => {
            let age = matches.get_one::<i64>("since").copied().unwrap_or(7 * 86_400_000);
            request["start"] = json!(now.minus(age));
        }
    }
    if let Some((_, Some(by))) = BY.iter().find(|(name, _)| *name == by) {
        request["by"] = json!(by);
        request["limit"] = json!(limit(matches));
    }
    request
}

/// How many groups are wanted.
fn limit(matches: &ArgMatches) -> u64 {
    matches.get_one::<u64>("limit").copied().unwrap_or(MOST_GROUPS)
}

/// The first moment of a month, and that of the next.
fn month(text: &str) -> Result<(UnixMs, UnixMs), String> {
    let wrong = || "it must be a year and a month: 2026-11".to_owned();
    let is_whole = text.len() == "2026-11".len();
    let first: Day = format!("{text}-01").parse().ok().filter(|_| is_whole).ok_or_else(wrong)?;
    Ok(Bucket::Month.around(first.start()))
}

/// Says on stderr for which time there may be more than is shown.
fn warn_of_gaps(usage: &Value) {
    for gap in usage["gaps"].as_array().into_iter().flatten() {
        let time = |member: &str| UnixMs::new(gap[member].as_i64().unwrap_or_default()).rfc3339();
        let why = match (gap["reason"].as_str(), gap["dropped"].as_i64()) {
            (Some("beforeRetention"), _) => "is older than what is kept".to_owned(),
            (Some("notRecorded"), _) => "is before events were recorded".to_owned(),
            (Some("damaged"), _) => "has events in files that cannot be read".to_owned(),
            (Some("removed"), _) => "has events for which there was no room".to_owned(),
            (_, Some(count)) => format!("has {count} events that were not recorded"),
            _ => "has events that were not recorded".to_owned(),
        };
        eprintln!("warning: the time from {} to {} {why}", time("start"), time("end"));
    }
}

fn bucket_of(usage: &Value) -> Bucket {
    serde_json::from_value(usage["bucket"].clone()).unwrap_or(Bucket::Day)
}

fn ms(value: &Value) -> UnixMs {
    UnixMs::new(value.as_i64().unwrap_or_default())
}

/// The outcomes that there are, those that let in first.
fn outcomes(usage: &Value) -> Vec<String> {
    let mut all: Vec<String> =
        usage["totals"]["counts"].as_object().map(|counts| counts.keys().cloned().collect()).unwrap_or_default();
    all.sort_by_key(|outcome| (!matches!(outcome.as_str(), "VALID" | "PASSED"), outcome.clone()));
    all
}

/// The columns that rows have even where there are none.
fn columns(usage: &Value) -> Vec<String> {
    let first: &[&str] = if usage["groups"].is_array() { &["id", "name", "total"] } else { &["time", "total"] };
    first.iter().map(|name| (*name).to_owned()).chain(outcomes(usage)).collect()
}

/// A row for each group, or for each bucket.
fn rows(usage: &Value) -> Vec<Value> {
    let outcomes = outcomes(usage);
    let sums = |row: &mut Map<String, Value>, of: &Value| {
        row.insert("total".to_owned(), json!(of["total"].as_i64().unwrap_or(0)));
        for outcome in &outcomes {
            row.insert(outcome.clone(), of["counts"].get(outcome).cloned().unwrap_or(json!(0)));
        }
        for member in ["spentCredits", "cost"] {
            if usage["totals"].get(member).is_some() {
                row.insert(member.to_owned(), of.get(member).cloned().unwrap_or(json!(0)));
            }
        }
    };
    if let Some(groups) = usage["groups"].as_array() {
        let row = |group: &Value| {
            let mut row = Map::new();
            row.insert("id".to_owned(), group["id"].clone());
            row.insert("name".to_owned(), group.get("name").cloned().unwrap_or_default());
            sums(&mut row, group);
            if let Some(last) = group.get("lastTime") {
                row.insert("lastTime".to_owned(), json!(ms(last).rfc3339()));
            }
            Value::Object(row)
        };
        return groups.iter().map(row).collect();
    }
    let bucket = bucket_of(usage);
    let row = |(time, point): (UnixMs, &Value)| {
        let mut row = Map::new();
        row.insert("time".to_owned(), json!(label(bucket, time)));
        sums(&mut row, point);
        Value::Object(row)
    };
    every_bucket(usage, bucket).into_iter().map(row).collect()
}

/// Every bucket of the time, also those without events.
fn every_bucket(usage: &Value, bucket: Bucket) -> Vec<(UnixMs, &Value)> {
    static NOTHING: Value = Value::Null;
    let points = usage["series"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (mut time, end) = (ms(&usage["start"]), ms(&usage["end"]));
    let mut all = Vec::new();
    while time < end && all.len() < MOST_BUCKETS {
        let point = points.iter().find(|point| ms(&point["time"]) == time);
        all.push((time, point.unwrap_or(&NOTHING)));
        time = bucket.around(time).1;
    }
    all
}

/// The beginning of a bucket as people write it, in UTC.
fn label(bucket: Bucket, time: UnixMs) -> String {
    let length = match bucket {
        Bucket::Minute | Bucket::Hour => "2026-11-29T12:00".len(),
        Bucket::Day => "2026-11-29".len(),
        Bucket::Month => "2026-11".len(),
    };
    time.rfc3339().chars().take(length).map(|character| if character == 'T' { ' ' } else { character }).collect()
}

/// What was asked, a table with bars, and the sums.
fn for_people(usage: &Value) -> String {
    let mut rows = rows(usage);
    let most = rows.iter().filter_map(|row| row["total"].as_i64()).max().unwrap_or(0);
    for row in &mut rows {
        row["chart"] = json!(bar(row["total"].as_i64().unwrap_or(0), most));
    }
    let time = |member: &str| label(Bucket::Minute, ms(&usage[member]));
    let totals = &usage["totals"];
    let of = if usage["of"] == "ratelimits" { "rate-limit decisions" } else { "verifications" };
    let head = format!("{} {of} from {} until {} UTC", totals["total"], time("start"), time("end"));
    if totals["total"] == 0 {
        return head;
    }
    let passed = totals["counts"].get("VALID").or(totals["counts"].get("PASSED")).and_then(Value::as_f64);
    let all = totals["total"].as_f64().unwrap_or(1.0);
    let refused = 100.0 * (1.0 - passed.unwrap_or(0.0) / all);
    let latency = match (totals["latencyP50"].as_f64(), totals["latencyP99"].as_f64()) {
        (Some(p50), Some(p99)) => format!("; latency p50 {p50:.2} ms, p99 {p99:.2} ms"),
        _ => String::new(),
    };
    format!("{head}; {refused:.1} % refused{latency}\n\n{}", Table::of(&rows).aligned())
}

fn bar(count: i64, most: i64) -> String {
    if count <= 0 || most <= 0 {
        return String::new();
    }
    let length = (count as f64 / most as f64 * BAR as f64).round() as usize;
    "▇".repeat(length.max(1))
}
