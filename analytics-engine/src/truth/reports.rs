//! Whole reports: usage of every bucket, group and choice of outcomes, and lists page by page to their end, against sums and
//! lists that are made here of what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use keyrack_core::analytics::engine::{Engine, Failure, Limits, Rows, Standing};
use keyrack_core::analytics::reports::Reader;
use keyrack_core::analytics::reports::events::{Listed, Wanted};
use keyrack_core::analytics::reports::measures::{Measured, Order, PASSED, REFUSED, outcomes};
use keyrack_core::analytics::reports::usage::{Bucket, By, Filters, Gap, Groups, Question, Usage, Why};
use keyrack_core::analytics::sql::tables::{Grain, Table, Tables};
use keyrack_core::analytics::sql::tree::Checked;
use keyrack_core::calendar::{DAY_MS, HOUR_MS, MINUTE_MS, UnixMs};
use keyrack_core::catalogue::Operation;
use keyrack_core::clock::Clock;
use keyrack_core::keyrack::Keyrack;
use keyrack_core::operations::analytics::{ListRatelimits, ListVerifications};
use keyrack_core::store::Location;
use serde::Serialize;
use serde_json::{Value, json};

use super::happened::{BEGIN, Chance, DAYS, Happened, IDENTIFIERS, TAGS, WORKSPACES, What, World};
use super::known::{Known, bucket, is_quantile};
use crate::Embedded;

/// What an operation lists.
type Item<O> = <<O as Operation>::Response as IntoIterator>::Item;

/// Of one outcome, of some, and of all.
const VERIFIED: [&[&str]; 3] = [&[], &["RATE_LIMITED"], &["VALID", "EXPIRED", "DISABLED"]];
const LIMITED: [&[&str]; 4] = [&[], &[PASSED], &[REFUSED], &[REFUSED, PASSED]];
const BUCKETS: [Bucket; 4] = [Bucket::Minute, Bucket::Hour, Bucket::Day, Bucket::Month];

/// Who answers them: a program around an engine.
pub(super) struct Reports {
    keyrack: Keyrack,
    _folder: tempfile::TempDir,
    now: UnixMs,
}

/// An engine that ends before the program around it does.
#[derive(Debug)]
struct Lent(Weak<Embedded>);

impl Engine for Lent {
    fn query<'a>(&'a self, statement: &'a Checked, limits: Limits) -> BoxFuture<'a, Result<Rows, Failure>> {
        let engine = self.0.upgrade().expect("an engine");
        // A test is slower than a server.
        let limits = Limits { time: Duration::from_secs(300), ..limits };
        Box::pin(async move { engine.query(statement, limits).await })
    }

    fn kept_days(&self, table: &Table) -> Option<u32> {
        self.0.upgrade()?.kept_days(table)
    }

    fn recorded_since(&self) -> Option<UnixMs> {
        self.0.upgrade()?.recorded_since()
    }

    fn unreadable(&self, table: &Table, workspace_id: &str) -> Vec<(UnixMs, UnixMs)> {
        self.0.upgrade().map_or_else(Vec::new, |engine| engine.unreadable(table, workspace_id))
    }

    fn standing(&self) -> Option<Standing> {
        None
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// What is asked, and of whom.
#[derive(Debug)]
struct Asked {
    of: Tables,
    workspace: &'static str,
    question: Question,
}

impl Reports {
    pub(super) async fn over(engine: &Arc<Embedded>, now: UnixMs) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let location = Location::Sqlite(folder.path().join("keyrack.db"));
        let keyrack = Keyrack::open(&location, Clock::standing_at(now)).await.expect("a database");
        keyrack.analytics().answer_with(Arc::new(Lent(Arc::downgrade(engine))));
        Reports { keyrack, _folder: folder, now }
    }

    fn reader(&self, of: Tables, workspace: &str) -> Reader {
        let workspace_id = workspace.to_owned();
        Reader { of, workspace_id, scopes: None, key_spaces: None, retention_days: 0, now: self.now }
    }

    /// Asks for usage, every bucket by every group with every choice of outcomes, of a time that chance decides, and holds
    /// it against what is known; of `one_in` so many questions one is asked.
    pub(super) async fn compare_usage(&self, world: &World, known: &Known, chance: &mut Chance, one_in: i64) {
        for asked in questions(world, chance) {
            if chance.below(one_in) == 0 {
                let reader = self.reader(asked.of, asked.workspace);
                let reporting = self.keyrack.analytics().report(&reader).await.expect("a turn");
                let usage = reporting.usage(&asked.question).await;
                let usage = usage.unwrap_or_else(|error| panic!("{asked:?}: {error}"));
                asked.compare(world, known, &usage);
            }
        }
    }

    /// Reads both lists of a workspace to their end, and one of each kind of filter.
    pub(super) async fn compare_lists(&self, world: &World, known: &Known, chance: &mut Chance) {
        let key = world.keys.last().expect("a key");
        let of_quiet = || Filters::default();
        let identity = world.keys.iter().find_map(|key| key.identity.as_ref()).expect("an identity");
        let (quiet, loud) = (WORKSPACES[2], WORKSPACES[0]);
        let first = BEGIN + DAY_MS * chance.below(DAYS - 3);
        let (start, end) = (Some(UnixMs::new(first)), Some(UnixMs::new(first + 3 * DAY_MS)));
        let verified: Vec<(&str, Filters, Vec<&str>, _)> = vec![
            (quiet, of_quiet(), vec![], (None, None)),
            (
                quiet,
                Filters { key_id: Some(key.key.id.to_string()), ..Filters::default() },
                vec!["VALID"],
                (None, end),
            ),
            (
                loud,
                Filters { identity: Some(identity.external_id.to_string()), ..Filters::default() },
                vec![],
                (start, end),
            ),
            (
                loud,
                Filters { tag: Some("plan=free".to_owned()), ..Filters::default() },
                vec!["EXPIRED"],
                (start, None),
            ),
        ];
        for (workspace, filters, outcomes, (start, end)) in verified {
            let wanted = || Wanted::of(&filters).with_outcomes(&outcomes).between(start, end);
            let found = self.pages::<Item<ListVerifications>>(workspace, chance, &wanted).await;
            let question = question(start, end, filters.clone(), &outcomes);
            let asked = Asked { of: Tables::Verifications, workspace, question };
            assert_eq!(found, asked.listed(world, known), "{asked:?}");
        }
        let namespace = &world.namespaces.first().expect("a namespace").stored;
        let limited: Vec<(&str, Filters, Option<bool>, _)> = vec![
            (quiet, of_quiet(), None, (None, None)),
            (
                loud,
                Filters { namespace: Some(namespace.name.clone()), ..Filters::default() },
                Some(false),
                (start, end),
            ),
            (loud, Filters { identifier: Some("'".to_owned()), ..Filters::default() }, Some(true), (start, None)),
        ];
        for (workspace, filters, passed, (start, end)) in limited {
            let wanted = || Wanted::of(&filters).that_passed(passed).between(start, end);
            let found = self.pages::<Item<ListRatelimits>>(workspace, chance, &wanted).await;
            let outcomes: Vec<&str> =
                passed.map(|passed| if passed { PASSED } else { REFUSED }).into_iter().collect();
            let question = question(start, end, filters.clone(), &outcomes);
            let asked = Asked { of: Tables::Ratelimits, workspace, question };
            assert_eq!(found, asked.listed(world, known), "{asked:?}");
        }
    }

    /// All pages of a list, put together.
    async fn pages<E: Listed + Serialize>(
        &self,
        workspace: &str,
        chance: &mut Chance,
        wanted: &dyn Fn() -> Wanted,
    ) -> Vec<Value> {
        let (reader, mut rows, mut position) = (self.reader(E::OF, workspace), Vec::new(), None);
        loop {
            let limit = 50 + usize::try_from(chance.below(200)).expect("a few");
            let reporting = self.keyrack.analytics().report(&reader).await.expect("a turn");
            let page = reporting.newest::<E>(&wanted().page(position, limit)).await.expect("a page");
            assert!(page.0.len() <= limit);
            rows.extend(page.0.iter().map(|row| serde_json::to_value(row).expect("JSON")));
            position = page.1;
            if position.is_none() {
                return rows;
            }
        }
    }
}

fn question(start: Option<UnixMs>, end: Option<UnixMs>, filters: Filters, wanted: &[&str]) -> Question {
    let all = outcomes(Tables::Verifications).into_iter().chain(outcomes(Tables::Ratelimits));
    Question {
        start: start.unwrap_or(UnixMs::EPOCH),
        end: end.unwrap_or(UnixMs::new(i64::MAX)),
        bucket: Bucket::Day,
        filters,
        outcomes: all.filter(|outcome| wanted.contains(outcome)).collect(),
        groups: None,
    }
}

/// Every bucket by every group with every choice of outcomes; what else there is to a question is left to chance.
fn questions(world: &World, chance: &mut Chance) -> Vec<Asked> {
    let by_verified = [None, Some(By::Api), Some(By::Key), Some(By::Identity), Some(By::Tag)];
    let by_limited = [None, Some(By::Namespace), Some(By::Identifier)];
    let verified =
        by_verified.into_iter().flat_map(|by| VERIFIED.map(|outcomes| (Tables::Verifications, by, outcomes)));
    let limited = by_limited.into_iter().flat_map(|by| LIMITED.map(|outcomes| (Tables::Ratelimits, by, outcomes)));
    let mut asked = Vec::new();
    for (of, by, wanted) in verified.chain(limited) {
        for bucket in BUCKETS {
            let (start, end) = period(bucket, chance);
            let orders = [Order::Total, Order::Refused, Order::SpentCredits];
            let orders = if of == Tables::Verifications { &orders[..] } else { &orders[..2] };
            let groups = by.map(|by| Groups {
                by,
                order: orders[chance.place(orders.len())],
                limit: [1, 3, 100][chance.place(3)],
                series: chance.below(2) == 0,
            });
            let filters = filters(of, world, chance);
            let made = question(Some(start), Some(end), filters, wanted);
            let workspace = WORKSPACES[chance.place(2)];
            asked.push(Asked { of, workspace, question: Question { bucket, groups, ..made } });
        }
    }
    asked
}

/// A time that such buckets show well, from the beginning of one to that of another.
fn period(bucket: Bucket, chance: &mut Chance) -> (UnixMs, UnixMs) {
    let (length, most) = match bucket {
        Bucket::Minute => (MINUTE_MS, 300),
        Bucket::Hour => (HOUR_MS, 90),
        Bucket::Day => (DAY_MS, 80),
        Bucket::Month => (31 * DAY_MS, 3),
    };
    // The leap day has most events.
    let start = BEGIN + 40 * DAY_MS - length * chance.below(most / 2);
    let end = start + length * (1 + chance.below(most));
    (bucket.around(UnixMs::new(start)).0, bucket.around(UnixMs::new(end)).1)
}

/// None at all more often than one of those that there are.
fn filters(of: Tables, world: &World, chance: &mut Chance) -> Filters {
    let key = &world.keys[chance.place(world.keys.len())];
    let namespace = &world.namespaces[chance.place(world.namespaces.len())].stored;
    let (choice, none) = (chance.below(12), Filters::default());
    let identity = key.identity.as_ref().map(|identity| match choice {
        2 => identity.external_id.to_string(),
        _ => identity.id.to_string(),
    });
    match (of, choice) {
        (Tables::Verifications, 0) => Filters { api_id: Some(key.key.place.api_id.to_string()), ..none },
        (Tables::Verifications, 1) => Filters { key_id: Some(key.key.id.to_string()), ..none },
        (Tables::Verifications, 2 | 3) => Filters { identity, ..none },
        (Tables::Verifications, 4) => Filters { tag: Some("a".to_owned()), ..none },
        (Tables::Ratelimits, 0) => Filters { namespace_id: Some(namespace.id.clone()), ..none },
        (Tables::Ratelimits, 1) => Filters { namespace: Some(namespace.name.clone()), ..none },
        (Tables::Ratelimits, 2) => Filters { identifier: Some("über 🗝".to_owned()), ..none },
        _ => none,
    }
}

/// What some events come to.
#[derive(Debug, Default)]
struct Sum {
    counts: BTreeMap<&'static str, i64>,
    cost: i64,
    latencies: Vec<u64>,
    last_time: i64,
}

impl Sum {
    fn total(&self) -> i64 {
        self.counts.values().sum()
    }

    fn by(&self, order: Order) -> i64 {
        match order {
            Order::Total => self.total(),
            Order::Refused => {
                self.total() - [PASSED, "VALID"].iter().filter_map(|one| self.counts.get(one)).sum::<i64>()
            }
            Order::SpentCredits => self.cost,
        }
    }

    fn add(&mut self, happened: &Happened) {
        *self.counts.entry(outcome(happened)).or_default() += 1;
        self.cost += happened.cost;
        self.latencies.push(happened.latency);
        self.last_time = self.last_time.max(happened.time);
    }

    /// Holds what was answered against it. Latencies are known of whole buckets, and of outcomes that rows tell apart.
    fn compare(&self, found: &Measured, has_latencies: bool, what: &str) {
        assert_eq!((found.total, &found.counts, found.cost), (self.total(), &self.counts, self.cost), "{what}");
        let levels = [(0.5, found.latency_p50), (0.99, found.latency_p99)];
        for (level, found) in levels {
            assert_eq!(found.is_some(), has_latencies, "{what}: {found:?}");
            if let Some(found) = found {
                is_quantile(&self.latencies, level, found * 1000.0, what);
            }
        }
    }
}

fn outcome(happened: &Happened) -> &'static str {
    match happened.what {
        What::Verified { outcome, .. } => outcome.name(),
        What::Limited { passed: true, .. } => PASSED,
        What::Limited { passed: false, .. } => REFUSED,
        What::Refused => "",
    }
}

impl Asked {
    /// Whether something that happened is what is asked for.
    fn has(&self, world: &World, happened: &Happened) -> bool {
        let Question { start, end, filters, outcomes, .. } = &self.question;
        let Filters { api_id, key_id, identity, tag, namespace_id, namespace, identifier } = filters;
        let is = |wanted: &Option<String>, values: &[&str]| {
            wanted.as_ref().is_none_or(|wanted| values.contains(&wanted.as_str()))
        };
        let is_meant = match happened.what {
            What::Verified { key, tags, .. } => {
                let found = &world.keys[key];
                let known = found.identity.as_ref().map_or(("", ""), |known| (&known.id, &known.external_id));
                self.of == Tables::Verifications
                    && *found.key.place.workspace_id == *self.workspace
                    && is(api_id, &[&found.key.place.api_id])
                    && is(key_id, &[&found.key.id])
                    && is(identity, &[known.0, known.1])
                    && is(tag, TAGS[tags])
            }
            What::Limited { namespace: place, identifier: who, .. } => {
                let stored = &world.namespaces[place].stored;
                self.of == Tables::Ratelimits
                    && stored.workspace_id == self.workspace
                    && is(namespace_id, &[&stored.id])
                    && is(namespace, &[&stored.id, &stored.name])
                    && is(identifier, &[IDENTIFIERS[who]])
            }
            What::Refused => false,
        };
        is_meant
            && (start.get()..end.get()).contains(&happened.time)
            && (outcomes.is_empty() || outcomes.contains(&outcome(happened)))
    }

    /// Holds an answer against what happened.
    fn compare(&self, world: &World, known: &Known, usage: &Usage) {
        let (mut totals, mut series) = (Sum::default(), BTreeMap::<i64, Sum>::new());
        let mut groups = BTreeMap::<String, (Sum, BTreeMap<i64, Sum>)>::new();
        let grain = grain(self.question.bucket);
        for happened in known.all().map(|(_, happened)| happened).filter(|happened| self.has(world, happened)) {
            totals.add(happened);
            series.entry(bucket(grain, happened.time)).or_default().add(happened);
            for id in self.question.groups.iter().flat_map(|groups| ids(world, happened, groups.by)) {
                let (sum, series) = groups.entry(id).or_default();
                sum.add(happened);
                series.entry(bucket(grain, happened.time)).or_default().add(happened);
            }
        }
        let what = format!("{self:?}");
        let is_of_whole_rows = self.of == Tables::Verifications || self.question.outcomes.len() != 1;
        totals.compare(&usage.totals, is_of_whole_rows && !series.is_empty(), &what);
        compare_series(&series, &usage.series, is_of_whole_rows, &what);
        // What is the beginning of all is the beginning of what is recorded.
        let is_before_all = |gap: &Gap| gap.reason == Why::NotRecorded && gap.end.get() <= BEGIN + DAY_MS;
        assert!(usage.gaps.iter().all(is_before_all), "{:?} {what}", usage.gaps);
        let Some(asked) = &self.question.groups else { return assert!(usage.groups.is_empty(), "{what}") };
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, (sum, _))| std::cmp::Reverse(sum.by(asked.order)));
        groups.truncate(asked.limit);
        let ids = |groups: Vec<&String>| groups.into_iter().cloned().collect::<Vec<_>>();
        let wanted = ids(groups.iter().map(|(id, _)| id).collect());
        assert_eq!(ids(usage.groups.iter().map(|group| &group.id).collect()), wanted, "{what}");
        for ((id, (sum, series)), found) in groups.iter().zip(&usage.groups) {
            let what = format!("{id} of {what}");
            sum.compare(&found.measured, false, &what);
            let last = found.last_time.map(UnixMs::get);
            assert_eq!(last, is_of_whole_rows.then_some(sum.last_time), "{what}");
            if asked.series {
                compare_series(series, &found.series, false, &what);
            }
            if asked.by == By::Identity {
                let named =
                    world.keys.iter().filter_map(|key| key.identity.as_ref()).find(|known| known.id == *id);
                assert_eq!(found.name, named.map(|known| known.external_id.to_string()), "{what}");
            }
        }
    }

    /// What a list shows, newest first.
    fn listed(&self, world: &World, known: &Known) -> Vec<Value> {
        let mut all: Vec<(i64, &str, &Happened)> = known
            .all()
            .filter(|(_, happened)| self.has(world, happened))
            .map(|(request_id, happened)| (happened.time, request_id, happened))
            .collect();
        all.sort_by_key(|(time, request_id, _)| std::cmp::Reverse((*time, *request_id)));
        all.into_iter().map(|(_, request_id, happened)| shown(world, happened, request_id)).collect()
    }
}

fn grain(bucket: Bucket) -> Grain {
    match bucket {
        Bucket::Minute => Grain::Minute,
        Bucket::Hour => Grain::Hour,
        Bucket::Day => Grain::Day,
        Bucket::Month => Grain::Month,
    }
}

fn compare_series(expected: &BTreeMap<i64, Sum>, found: &[(UnixMs, Measured)], has_latencies: bool, what: &str) {
    let times: Vec<i64> = found.iter().map(|(time, _)| time.get()).collect();
    assert_eq!(times, expected.keys().copied().collect::<Vec<_>>(), "{what}");
    for ((time, sum), (_, measured)) in expected.iter().zip(found) {
        sum.compare(measured, has_latencies, &format!("{time} of {what}"));
    }
}

/// The groups that something is in, each once.
fn ids(world: &World, happened: &Happened, by: By) -> BTreeSet<String> {
    match happened.what {
        What::Verified { key, tags, .. } => {
            let found = &world.keys[key];
            match by {
                By::Api => BTreeSet::from([found.key.place.api_id.to_string()]),
                By::Key => BTreeSet::from([found.key.id.to_string()]),
                By::Identity => BTreeSet::from([found
                    .identity
                    .as_ref()
                    .map_or_else(String::new, |known| known.id.to_string())]),
                _ => TAGS[tags].iter().map(|tag| (*tag).to_owned()).collect(),
            }
        }
        What::Limited { namespace, identifier, .. } => match by {
            By::Namespace => BTreeSet::from([world.namespaces[namespace].stored.id.clone()]),
            _ => BTreeSet::from([IDENTIFIERS[identifier].to_owned()]),
        },
        What::Refused => BTreeSet::new(),
    }
}

/// An item of a list.
fn shown(world: &World, happened: &Happened, request_id: &str) -> Value {
    let latency = happened.latency as f64 / 1000.0;
    let mut shown = json!({"time": happened.time, "requestId": request_id, "latency": latency, "rootKeyId": happened.root_key()});
    let more = match happened.what {
        What::Verified { key, outcome, tags } => {
            let found = &world.keys[key];
            let mut more = json!({
                "apiId": *found.key.place.api_id, "keyId": *found.key.id, "outcome": outcome.name(),
                "refusedBy": happened.refused_by(), "tags": TAGS[tags], "spentCredits": happened.cost,
                "region": "", "source": "api",
            });
            if let Some(identity) = &found.identity {
                more["identityId"] = json!(*identity.id);
                more["externalId"] = json!(identity.external_id);
            }
            more
        }
        What::Limited { namespace, identifier, passed } => {
            let stored = &world.namespaces[namespace].stored;
            let mut more = json!({
                "namespaceId": stored.id, "namespace": stored.name, "identifier": IDENTIFIERS[identifier],
                "passed": passed, "limit": happened.limit(), "remaining": happened.remaining(),
                "resetAt": happened.reset_at(), "tokens": happened.cost,
            });
            if let Some(id) = happened.override_id() {
                more["overrideId"] = json!(id);
            }
            more
        }
        What::Refused => json!({}),
    };
    if let (Some(shown), Value::Object(more)) = (shown.as_object_mut(), more) {
        shown.extend(more);
    }
    shown
}
