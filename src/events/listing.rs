//! Events from a server, page by page, and as they come.

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use keyrack_core::calendar::UnixMs;
use keyrack_core::clock::Clock;
use serde_json::{Value, json};

use crate::api::{Failure, Inputs, connection};
use crate::filters::{self, Kind};
use crate::remote::Remote;
use crate::shown::{self, Form, with_patience};
use crate::table::Table;

/// Between two looks for what is new.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What may still come that was decided before the newest one that was seen: other servers' clocks, and requests on their way.
const LATE_MS: i64 = 5000;
/// Events that one look shows.
const MOST_AT_ONCE: u64 = 2000;
/// Events of a page.
const PAGE: u64 = 100;

/// What people are shown of a verification, and of a decision on a limit.
const OF_VERIFICATIONS: [&str; 7] = ["time", "outcome", "keyId", "externalId", "refusedBy", "tags", "requestId"];
const OF_LIMITS: [&str; 8] =
    ["time", "passed", "namespace", "identifier", "tokens", "remaining", "limit", "requestId"];

/// What CSV has besides: columns are the same for every page.
const MORE_OF_VERIFICATIONS: [&str; 8] =
    ["apiId", "identityId", "spentCredits", "latency", "rootKeyId", "region", "source", "appId"];
const MORE_OF_LIMITS: [&str; 5] = ["namespaceId", "resetAt", "overrideId", "latency", "rootKeyId"];

/// Asks, and shows the answers.
pub(super) async fn run(matches: &ArgMatches) -> ExitCode {
    match execute(matches, &mut Inputs::of_process()).await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read it has enough.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn execute(matches: &ArgMatches, inputs: &mut Inputs) -> Result<(), Failure> {
    let settings = connection::settings(matches)?;
    let form = Form::of(&settings, matches)?;
    let remote = connection::connect(&settings, matches, inputs)?;
    let list = List::of(matches, remote);
    let now = Clock::system().now();
    let since = matches.get_one::<i64>("since").map(|age| now.minus(*age));
    let count = matches.get_one::<u64>("limit").copied().unwrap_or(PAGE);
    let mut events = with_patience(list.newest(since, count)).await?;
    events.reverse();
    let (columns, more) = list.columns();
    let mut shown = Shown { form, columns, more, has_begun: false };
    shown.show(&events)?;
    if !matches.get_flag("follow") {
        return shown.end();
    }
    let is_cut = events.len() as u64 >= count;
    let mut following = Following::after(&events, is_cut, now);
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let mut events = match list.newest(Some(following.from()), MOST_AT_ONCE).await {
            Ok(events) => events,
            Err(failure) if may_pass(&failure) => {
                following.tell_of_trouble();
                continue;
            }
            Err(failure) => return Err(failure),
        };
        if events.len() as u64 >= MOST_AT_ONCE {
            eprintln!("warning: more than {MOST_AT_ONCE} at once; older ones are left out");
        }
        events.reverse();
        shown.show(&following.new_ones(events))?;
    }
}

/// Whether a server that answers so may answer otherwise in a moment.
fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::Unanswered(_) => true,
        Failure::Refused(answer) => answer.status == 429 || answer.status >= 500 || answer.status == 422,
        Failure::Usage(_) | Failure::NoRootKey(_) | Failure::Output(_) => false,
    }
}

/// A list of a server, and what is wanted of it.
struct List {
    remote: Remote,
    is_of_limits: bool,
    filters: Value,
}

impl List {
    fn of(matches: &ArgMatches, remote: Remote) -> Self {
        let is_refused = matches.get_flag("refused");
        let mut filters = json!({});
        let about = filters::put(filters::COMMON.iter().chain(&filters::OF_LISTS), matches, &mut filters);
        let is_of_limits = is_refused || matches.get_flag("ratelimits") || about == Some(Kind::Ratelimits);
        if is_refused {
            filters["passed"] = json!(false);
        }
        List { remote, is_of_limits, filters }
    }

    /// The columns that people are shown, and those of CSV besides.
    fn columns(&self) -> (&'static [&'static str], &'static [&'static str]) {
        if self.is_of_limits { (&OF_LIMITS, &MORE_OF_LIMITS) } else { (&OF_VERIFICATIONS, &MORE_OF_VERIFICATIONS) }
    }

    /// So many of the newest, the newest first.
    async fn newest(&self, since: Option<UnixMs>, count: u64) -> Result<Vec<Value>, Failure> {
        let operation = if self.is_of_limits { "analytics.listRatelimits" } else { "analytics.listVerifications" };
        let mut request = self.filters.clone();
        if let Some(since) = since {
            request["start"] = json!(since);
        }
        let mut found: Vec<Value> = Vec::new();
        loop {
            let missing = count.saturating_sub(found.len() as u64);
            request["limit"] = json!(missing.min(PAGE));
            let mut answer = self.remote.call(operation, &request).await?;
            if !answer.is_success() {
                return Err(Failure::Refused(answer));
            }
            let Value::Array(page) = answer.body["data"].take() else { return Ok(found) };
            found.extend(page);
            let cursor = answer.body["pagination"]["cursor"].take();
            if cursor.is_null() || found.len() as u64 >= count {
                return Ok(found);
            }
            request["cursor"] = cursor;
        }
    }
}

/// What was seen of events that still come.
struct Following {
    newest: UnixMs,
    /// What is older was there before anybody looked on.
    floor: UnixMs,
    /// Those that a next look may find again.
    seen: HashSet<String>,
    is_in_trouble: bool,
}

impl Following {
    /// After these, of which there may have been older ones where they are cut.
    fn after(events: &[Value], is_cut: bool, now: UnixMs) -> Self {
        let newest = events.last().map_or(now, time);
        let oldest = events.first().filter(|_| is_cut).map(time);
        let floor = newest.minus(LATE_MS).max(oldest.unwrap_or(UnixMs::EPOCH));
        let mut following = Following { newest, floor, seen: HashSet::new(), is_in_trouble: false };
        following.remember(events);
        following
    }

    /// Where a next look begins.
    fn from(&self) -> UnixMs {
        self.newest.minus(LATE_MS).max(self.floor)
    }

    fn remember(&mut self, events: &[Value]) {
        let from = self.from();
        let late = events.iter().filter(|event| time(event) >= from);
        self.seen = late.map(Value::to_string).collect();
    }

    /// Those that were not there at the last look. One of a clock that is ahead does not hide those of others.
    fn new_ones(&mut self, events: Vec<Value>) -> Vec<Value> {
        self.is_in_trouble = false;
        let is_new = |event: &&Value| !self.seen.contains(&event.to_string());
        let new: Vec<Value> = events.iter().filter(is_new).cloned().collect();
        let now = Clock::system().now();
        let newest = events.iter().map(time).filter(|time| *time <= now).max();
        self.newest = newest.unwrap_or(self.newest).max(self.newest);
        self.remember(&events);
        new
    }

    /// Says once that it goes on trying.
    fn tell_of_trouble(&mut self) {
        if !std::mem::replace(&mut self.is_in_trouble, true) {
            eprintln!("the server does not answer at the moment; trying again");
        }
    }
}

fn time(event: &Value) -> UnixMs {
    UnixMs::new(event["time"].as_i64().unwrap_or_default())
}

/// What was shown, and how.
struct Shown {
    form: Form,
    columns: &'static [&'static str],
    /// Those that only CSV has.
    more: &'static [&'static str],
    has_begun: bool,
}

impl Shown {
    /// Shows these events below what was shown.
    fn show(&mut self, events: &[Value]) -> Result<(), Failure> {
        if events.is_empty() {
            return Ok(());
        }
        let text = match self.form {
            Form::Json => events.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"),
            Form::Csv => {
                let csv = Table::with_columns(self.columns_of_csv(), events).csv();
                self.below(csv.map_err(Failure::Output)?.trim_end())
            }
            Form::People => {
                let rows: Vec<Value> = events.iter().map(|event| self.row(event)).collect();
                self.below(&Table::of(&rows).aligned())
            }
        };
        self.has_begun = true;
        if text.is_empty() { Ok(()) } else { shown::print(&text) }
    }

    fn columns_of_csv(&self) -> Vec<String> {
        self.columns.iter().chain(self.more).map(|name| (*name).to_owned()).collect()
    }

    /// Without the header, once there is one.
    fn below(&self, text: &str) -> String {
        match text.split_once('\n') {
            Some((_, rows)) if self.has_begun => rows.to_owned(),
            _ => text.to_owned(),
        }
    }

    /// What people are shown of an event.
    fn row(&self, event: &Value) -> Value {
        let mut row = serde_json::Map::new();
        for name in self.columns {
            let value = match (*name, &event[*name]) {
                ("time", _) => json!(time(event).rfc3339()),
                (_, Value::Array(all)) => {
                    json!(all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
                }
                (_, Value::Null) => json!(""),
                (_, value) => value.clone(),
            };
            row.insert((*name).to_owned(), value);
        }
        Value::Object(row)
    }

    /// Says so if there was nothing.
    fn end(&self) -> Result<(), Failure> {
        if !self.has_begun && self.form == Form::People {
            eprintln!("no events");
        }
        if !self.has_begun && self.form == Form::Csv {
            shown::print(&self.columns_of_csv().join(","))?;
        }
        Ok(())
    }
}
