//! The truth: what all tables should say of what happened, summed up here in maps of its own, and held against answers.

use std::collections::{HashMap, HashSet};

use keyrack_core::analytics::engine::Rows;
use keyrack_core::analytics::sql::tables::{Grain, Tables};
use keyrack_core::calendar::{DAY_MS, HOUR_MS, MINUTE_MS};
use serde_json::{Value, json};

use super::happened::{Happened, IDENTIFIERS, TAGS, What, World};

/// The first days of 2028-01 to 2028-04, in Unix ms.
const MONTHS: [i64; 4] = [1_830_297_600_000, 1_832_976_000_000, 1_835_481_600_000, 1_838_160_000_000];
pub(super) const GRAINS: [Grain; 4] = [Grain::Minute, Grain::Hour, Grain::Day, Grain::Month];

/// The time of a row of a table with the event in it.
pub(super) fn bucket(grain: Grain, time: i64) -> i64 {
    let length = match grain {
        Grain::Raw => 1,
        Grain::Minute => MINUTE_MS,
        Grain::Hour => HOUR_MS,
        Grain::Day => DAY_MS,
        Grain::Month => return *MONTHS.iter().rev().find(|month| **month <= time).expect("a month of the test"),
    };
    time - time.rem_euclid(length)
}

/// What tells the rows of a table apart. What else they say follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Group {
    Verified { bucket: i64, key: usize, outcome: &'static str, tags: usize },
    Limited { bucket: i64, namespace: usize, identifier: usize },
}

/// What happened in a group.
#[derive(Debug, Default)]
struct Sum {
    /// How many, what they cost, how many passed, what those cost; of verifications the first two.
    numbers: [i64; 4],
    /// Microseconds.
    latencies: Vec<u64>,
}

/// Everything that happened, by what it is found by.
#[derive(Default)]
pub(super) struct Known {
    groups: [HashMap<Group, Sum>; GRAINS.len()],
    by_request: HashMap<String, Happened>,
}

/// The rows of a workspace from a time on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) tables: Tables,
    pub(super) workspace: &'static str,
    /// Unix ms; rows of times before are not looked at, or were removed.
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Part {
    fn has(&self, world: &World, group: &Group) -> bool {
        match group {
            Group::Verified { bucket, key, .. } => {
                self.tables == Tables::Verifications
                    && (self.from..self.to).contains(bucket)
                    && *world.keys[*key].key.place.workspace_id == *self.workspace
            }
            Group::Limited { bucket, namespace, .. } => {
                self.tables == Tables::Ratelimits
                    && (self.from..self.to).contains(bucket)
                    && world.namespaces[*namespace].stored.workspace_id == self.workspace
            }
        }
    }
}

impl Known {
    /// Notes what happened, and by which request.
    pub(super) fn note(&mut self, happened: &Happened, request_id: &str) {
        self.by_request.insert(request_id.to_owned(), *happened);
        for (grain, groups) in GRAINS.into_iter().zip(&mut self.groups) {
            let bucket = bucket(grain, happened.time);
            let (group, passed) = match happened.what {
                What::Verified { key, outcome, tags } => {
                    (Group::Verified { bucket, key, outcome: outcome.name(), tags }, false)
                }
                What::Limited { namespace, identifier, passed } => {
                    (Group::Limited { bucket, namespace, identifier }, passed)
                }
                What::Refused => continue,
            };
            let sum = groups.entry(group).or_default();
            let passed = i64::from(passed);
            let numbers = [1, happened.cost, passed, passed * happened.cost];
            sum.numbers.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
            sum.latencies.push(happened.latency);
        }
    }

    /// Everything that happened, by the request that it is of.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Happened)> {
        self.by_request.iter().map(|(request_id, happened)| (request_id.as_str(), happened))
    }

    fn events<'a>(&'a self, world: &'a World, part: Part) -> impl Iterator<Item = &'a Happened> {
        self.by_request.values().filter(move |happened| {
            let bucket = happened.time;
            match happened.what {
                What::Verified { key, .. } => {
                    part.has(world, &Group::Verified { bucket, key, outcome: "", tags: 0 })
                }
                What::Limited { namespace, .. } => {
                    part.has(world, &Group::Limited { bucket, namespace, identifier: 0 })
                }
                What::Refused => false,
            }
        })
    }

    /// Holds events that were shown against the truth.
    pub(super) fn compare_raw(&self, world: &World, part: Part, rows: &Rows) {
        let mut seen = HashSet::new();
        for row in &rows.rows {
            let request_id = row[0].as_str().expect("an id");
            let happened = self.by_request.get(request_id).unwrap_or_else(|| panic!("nobody knows of {row:?}"));
            assert_eq!(Value::from(row.clone()), raw_row(world, happened, request_id));
            assert!(seen.insert(request_id), "{row:?} is there twice");
        }
        assert_eq!(rows.rows.len(), self.events(world, part).count(), "events of {part:?}");
    }

    /// Holds rows of a table of sums against the truth.
    pub(super) fn compare(&self, world: &World, part: Part, grain: Grain, rows: &Rows) {
        let place = GRAINS.iter().position(|one| *one == grain).expect("a table of sums");
        let groups = &self.groups[place];
        let mut seen = HashSet::new();
        for row in &rows.rows {
            let group = group_of(world, row);
            let sum = groups.get(&group).unwrap_or_else(|| panic!("nothing like {row:?} happened ({grain:?})"));
            assert!(part.has(world, &group), "{row:?} is not of {part:?}");
            let (told_apart, summed) = row.split_at(told_apart(part.tables).len());
            assert_eq!(told_apart[1..], told(world, &group), "{grain:?}");
            sum.compare(part.tables, summed, &format!("{grain:?} {row:?}"));
            assert!(seen.insert(group), "{row:?} is there twice");
        }
        let expected = groups.keys().filter(|group| part.has(world, group)).count();
        assert_eq!(rows.rows.len(), expected, "rows of {grain:?} of {part:?}");
    }
}

impl Sum {
    fn compare(&self, tables: Tables, found: &[Value], what: &str) {
        let count = if tables == Tables::Verifications { 2 } else { 4 };
        let (numbers, latencies) = found.split_at(count);
        assert_eq!(
            numbers,
            self.numbers[..count].iter().map(|number| json!(number)).collect::<Vec<_>>(),
            "{what}"
        );
        let mean = self.latencies.iter().sum::<u64>() as f64 / self.latencies.len() as f64 / 1000.0;
        let found = latencies[0].as_f64().expect("a mean");
        assert!((found - mean).abs() <= 1e-9 * mean, "{what}: {found} instead of {mean}");
        for (level, found) in [0.75, 0.99].into_iter().zip(&latencies[1..]) {
            is_quantile(&self.latencies, level, found[0].as_f64().expect("a quantile") * 1000.0, what);
        }
    }
}

/// Holds a quantile of a digest against what the digest is of, in microseconds.
pub(super) fn is_quantile(latencies: &[u64], level: f64, found: f64, what: &str) {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let rank = level * (sorted.len() - 1) as f64;
    let off = 1.0 + MOST_OFF * sorted.len() as f64;
    let place = |rank: f64| sorted[rank.clamp(0.0, (sorted.len() - 1) as f64) as usize] as f64;
    let (least, most) = (place((rank - off).floor()), place((rank + off).ceil()));
    // Digests are of whole microseconds.
    assert!((least - 1.0..=most + 1.0).contains(&found), "{what}: {found} of {least} to {most} at {level}");
}

/// By how much of all a quantile of a digest may be off, in rank.
const MOST_OFF: f64 = 0.02;

/// The columns by which rows are told apart.
pub(super) fn told_apart(tables: Tables) -> &'static [&'static str] {
    match tables {
        Tables::Verifications => &[
            "time",
            "key_id",
            "outcome",
            "tags",
            "workspace_id",
            "key_space_id",
            "api_id",
            "identity_id",
            "external_id",
            "source",
            "app_id",
        ],
        Tables::Ratelimits => &["time", "namespace_id", "identifier", "workspace_id", "namespace"],
    }
}

fn group_of(world: &World, row: &[Value]) -> Group {
    let text = |place: usize| row[place].as_str().unwrap_or_default();
    let time: jiff::Timestamp = text(0).parse().expect("a time");
    let bucket = time.as_millisecond();
    if let Some(key) = world.place_of_key(text(1)) {
        let tags = TAGS.iter().position(|tags| row[3] == json!(tags)).expect("tags of the test");
        let outcome = keyrack_core::keys::verdict::Verdict::ALL.iter().find(|one| one.name() == text(2));
        return Group::Verified { bucket, key, outcome: outcome.expect("an outcome").name(), tags };
    }
    let namespace = world.place_of_namespace(text(1)).unwrap_or_else(|| panic!("whose is {row:?}"));
    let identifier = IDENTIFIERS.iter().position(|one| *one == text(2)).expect("an identifier of the test");
    Group::Limited { bucket, namespace, identifier }
}

/// What a row of this group is told apart by, but for its time.
fn told(world: &World, group: &Group) -> Vec<Value> {
    let told = match group {
        Group::Verified { key, outcome, tags, .. } => {
            let found = &world.keys[*key];
            let (id, external_id) = identity(world, *key);
            let place = &found.key.place;
            json!([
                *found.key.id,
                outcome,
                TAGS[*tags],
                *place.workspace_id,
                *found.key_space_id,
                *place.api_id,
                id,
                external_id,
                "api",
                ""
            ])
        }
        Group::Limited { namespace, identifier, .. } => {
            let stored = &world.namespaces[*namespace].stored;
            json!([stored.id, IDENTIFIERS[*identifier], stored.workspace_id, stored.name])
        }
    };
    told.as_array().cloned().unwrap_or_default()
}

fn identity(world: &World, key: usize) -> (&str, &str) {
    world.keys[key].identity.as_ref().map_or(("", ""), |identity| (&identity.id, &identity.external_id))
}

/// A row of a raw table, as `SELECT *` shows it.
pub(super) fn raw_row(world: &World, happened: &Happened, request_id: &str) -> Value {
    let latency = happened.latency as f64 / 1000.0;
    match happened.what {
        What::Verified { key, outcome, tags } => {
            let (place, (id, external_id)) = (&world.keys[key].key.place, identity(world, key));
            json!([
                request_id,
                happened.time,
                *place.workspace_id,
                *world.keys[key].key_space_id,
                *place.api_id,
                id,
                external_id,
                *world.keys[key].key.id,
                "",
                "api",
                "",
                outcome.name(),
                TAGS[tags],
                happened.cost,
                latency,
                happened.refused_by(),
                happened.root_key()
            ])
        }
        What::Limited { namespace, identifier, passed } => {
            let stored = &world.namespaces[namespace].stored;
            json!([
                request_id,
                happened.time,
                stored.workspace_id,
                stored.id,
                stored.name,
                IDENTIFIERS[identifier],
                passed,
                latency,
                happened.override_id().unwrap_or_default(),
                happened.limit(),
                happened.remaining(),
                happened.reset_at(),
                happened.cost,
                happened.root_key()
            ])
        }
        What::Refused => panic!("no table has {happened:?}"),
    }
}
