//! How much was used: in all, over time, and by key, customer, API, tag, namespace or identifier.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::measures::{Measured, Measures, Order};
use super::{Reporting, Values, table};
use crate::analytics::sql::clickhouse::quoted;
use crate::analytics::sql::tables::{Grain, Of, Table, Tables};
use crate::analytics::texts::kept;
use crate::calendar::{Calendar, DAY_MS, Day, HOUR_MS, MINUTE_MS, UnixMs};
use crate::error::Error;

/// How long a time is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "each is what it says, in UTC")]
pub enum Bucket {
    Minute,
    Hour,
    Day,
    Month,
}

impl Bucket {
    /// The bucket that shows a time of this length well.
    pub fn for_length(ms: i64) -> Bucket {
        if ms <= 2 * HOUR_MS {
            Bucket::Minute
        } else if ms <= 2 * DAY_MS {
            Bucket::Hour
        } else if ms <= 93 * DAY_MS {
            Bucket::Day
        } else {
            Bucket::Month
        }
    }

    /// When the bucket of a time begins, and when the next one does.
    pub fn around(self, time: UnixMs) -> (UnixMs, UnixMs) {
        let even = |length: i64| {
            let start = time.minus(time.get().rem_euclid(length));
            (start, start.plus(length))
        };
        match self {
            Bucket::Minute => even(MINUTE_MS),
            Bucket::Hour => even(HOUR_MS),
            Bucket::Day => even(DAY_MS),
            Bucket::Month => {
                let Calendar { month_start, month_days, .. } = Calendar::at(time);
                (month_start.start(), month_start.plus(month_days).start())
            }
        }
    }

    /// The table of all that is told apart, and the SQL for the beginning of a bucket.
    fn read_from(self) -> (&'static str, &'static str) {
        match self {
            Bucket::Minute => ("minutes", "toStartOfMinute"),
            Bucket::Hour => ("hours", "toStartOfHour"),
            Bucket::Day => ("days", "toStartOfDay"),
            Bucket::Month => ("months", "toStartOfMonth"),
        }
    }
}

/// What usage is told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "each is what it says")]
pub enum By {
    Api,
    Key,
    Identity,
    Tag,
    Namespace,
    Identifier,
}

impl By {
    /// What it tells apart.
    pub fn of(self) -> Tables {
        match self {
            By::Api | By::Key | By::Identity | By::Tag => Tables::Verifications,
            By::Namespace | By::Identifier => Tables::Ratelimits,
        }
    }

    fn column(self) -> &'static str {
        match self {
            By::Api => "api_id",
            By::Key => "key_id",
            By::Identity => "identity_id",
            By::Tag => "arrayJoin(tags)",
            By::Namespace => "namespace_id",
            By::Identifier => "identifier",
        }
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The beginning of a bucket.
    pub start: UnixMs,
    /// The end of one.
    pub end: UnixMs,
    /// How long a time each member of the series is about.
    pub bucket: Bucket,
    /// What events have to be.
    pub filters: Filters,
    /// Which outcomes count; empty for all.
    pub outcomes: Vec<&'static str>,
    /// Groups that are wanted besides.
    pub groups: Option<Groups>,
}

/// What events have to be; what is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    /// Of this API.
    pub api_id: Option<String>,
    /// Of this key.
    pub key_id: Option<String>,
    /// Of the identity with this id or external id.
    pub identity: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// In the namespace with this id.
    pub namespace_id: Option<String>,
    /// In the namespace with this id or name, of which no more is known.
    pub namespace: Option<String>,
    /// Of this identifier.
    pub identifier: Option<String>,
}

impl Filters {
    /// Each as SQL, of texts as far as events keep them. All tags of an event have room for one of any length.
    pub(super) fn conditions(&self) -> Vec<String> {
        let is = |column: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("{column} = {}", quoted(kept(value).0)))
        };
        let either = |id: &str, name: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("({id} = {0} OR {name} = {0})", quoted(kept(value).0)))
        };
        let conditions = [
            is("api_id", &self.api_id),
            is("key_id", &self.key_id),
            either("identity_id", "external_id", &self.identity),
            self.tag.as_ref().map(|tag| format!("has(tags, {})", quoted(tag))),
            is("namespace_id", &self.namespace_id),
            either("namespace_id", "namespace", &self.namespace),
            is("identifier", &self.identifier),
        ];
        conditions.into_iter().flatten().collect()
    }

    /// Whether they speak of nothing but APIs, or namespaces by their ids.
    fn are_of_scopes(&self) -> bool {
        let Filters { api_id: _, namespace_id: _, key_id, identity, tag, namespace, identifier } = self;
        [key_id, identity, tag, namespace, identifier].into_iter().all(Option::is_none)
    }
}

/// The groups that are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Groups {
    /// What tells them apart.
    pub by: By,
    /// Which come first.
    pub order: Order,
    /// How many at most.
    pub limit: usize,
    /// Whether each has a series of its own.
    pub series: bool,
}

/// How much was used.
#[derive(Debug, Default)]
pub struct Usage {
    /// In all.
    pub totals: Measured,
    /// In each bucket that has events, by its beginning.
    pub series: Vec<(UnixMs, Measured)>,
    /// In each group.
    pub groups: Vec<Group>,
    /// For which time there may be less than there was.
    pub gaps: Vec<Gap>,
}

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its id, tag or identifier; empty where events have none.
    pub id: String,
    /// Of identities and namespaces, what its owner calls it, as far as its events tell.
    pub name: Option<String>,
    /// What it used.
    pub measured: Measured,
    /// When the last of its events was, where that is known.
    pub last_time: Option<UnixMs>,
    /// The same in each bucket.
    pub series: Vec<(UnixMs, Measured)>,
}

/// A time for which there may be less than there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// Unix ms.
    pub start: UnixMs,
    /// Unix ms, exclusive.
    pub end: UnixMs,
    /// `beforeRetention`: it is older than what is kept. `notRecorded`: nothing was recorded yet. `dropped`: the server had
    /// more to do than it could write down. `removed`: there was no room for single events, from which minutes and hours are
    /// counted. `damaged`: files cannot be read.
    pub reason: Why,
    /// How many events of any kind are missing in the workspace. Absent where nobody knows, or they may have been another's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<i64>,
}

/// Why there may be less than there was: it is older than what is kept or recorded, the server had more to do than it could
/// write down, there was no room for single events, or files cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "said of all together, so that the schema is a list of texts")]
pub enum Why {
    BeforeRetention,
    NotRecorded,
    Dropped,
    Removed,
    Damaged,
}

impl Reporting<'_> {
    /// Answers a question.
    ///
    /// # Errors
    /// 422 when it takes too long or too much, 503 when the engine does not answer.
    pub async fn usage(&self, question: &Question) -> Result<Usage, Error> {
        let of = self.reader().of;
        let measures = Measures::of(of, &question.outcomes);
        let asking = Asking { reporting: self, question, measures };
        let table = asking.table()?;
        let mut usage = Usage { gaps: self.gaps(&asking.tables()?, question).await?, ..Usage::default() };
        usage.series = asking.series(table).await?;
        usage.totals = usage.series.iter().fold(Measured::default(), |sum, (_, measured)| sum.plus(measured));
        (usage.totals.latency_p50, usage.totals.latency_p99) = match usage.series.as_slice() {
            [] => (None, None),
            [(_, only)] => (only.latency_p50, only.latency_p99),
            _ => asking.latencies(table).await?,
        };
        if let Some(groups) = question.groups {
            usage.groups = asking.groups(groups).await?;
        }
        Ok(usage)
    }
}

/// A question that is being answered.
struct Asking<'a> {
    reporting: &'a Reporting<'a>,
    question: &'a Question,
    measures: Measures,
}

impl Asking<'_> {
    /// The smallest table that has the buckets, and all of the time that is asked for, or else the one that has most of it.
    fn table(&self) -> Result<&'static Table, Error> {
        let Question { bucket, filters, start, .. } = self.question;
        let of = self.reporting.reader().of;
        let all = table(of, bucket.read_from().0)?;
        if !filters.are_of_scopes() || *bucket < Bucket::Hour {
            return Ok(all);
        }
        let scopes = match of {
            Tables::Verifications => table(of, "hours_of_apis")?,
            Tables::Ratelimits => table(of, "hours_of_namespaces")?,
        };
        let since = |table| self.reporting.kept_since(table).unwrap_or(UnixMs::EPOCH);
        Ok(if since(scopes) <= since(all).max(*start) { scopes } else { all })
    }

    /// The smallest table that has these groups in the buckets.
    fn table_of(&self, by: By) -> Result<&'static Table, Error> {
        match by {
            By::Api | By::Namespace => self.table(),
            _ => table(self.reporting.reader().of, self.question.bucket.read_from().0),
        }
    }

    /// What groups are read from: days, where they are asked for whole ones.
    fn table_of_groups(&self, by: By) -> Result<&'static Table, Error> {
        let Question { start, end, bucket, .. } = self.question;
        let is_whole = |time: &UnixMs| *time == Day::of(*time).start();
        let has_whole_days = is_whole(start) && (is_whole(end) || *end > self.reporting.reader().now);
        let chosen = self.table_of(by)?;
        let is_finer = chosen.of == Of::Events && *bucket < Bucket::Day;
        if is_finer && has_whole_days { table(self.reporting.reader().of, "days") } else { Ok(chosen) }
    }

    /// All that the question is answered from.
    fn tables(&self) -> Result<Vec<&'static Table>, Error> {
        let mut tables = vec![self.table()?];
        if let Some(groups) = self.question.groups {
            tables.push(self.table_of_groups(groups.by)?);
            if groups.series {
                tables.push(self.table_of(groups.by)?);
            }
        }
        Ok(tables)
    }

    /// The condition on rows of a table.
    fn condition(&self, table: &Table) -> String {
        let Question { start, end, filters, .. } = self.question;
        let bound = |time: UnixMs| match table.grain {
            Grain::Raw => time.get().to_string(),
            Grain::Minute | Grain::Hour => format!("toDateTime({})", time.get().div_euclid(1000)),
            Grain::Day | Grain::Month => format!("toDate('{}')", &time.rfc3339()[..10]),
        };
        // The day in which the time ends is asked for as a whole.
        let end = match table.grain {
            Grain::Day | Grain::Month => Bucket::Day.around(end.minus(1)).1,
            Grain::Raw | Grain::Minute | Grain::Hour => *end,
        };
        let mut conditions = vec![format!("time >= {}", bound(*start)), format!("time < {}", bound(end))];
        conditions.extend(filters.conditions());
        conditions.extend(self.measures.condition());
        conditions.join(" AND ")
    }

    /// SQL for the beginning of a bucket, in seconds since 1970.
    fn bucket(&self) -> String {
        format!("toInt64(toUnixTimestamp(toDateTime({}(time))))", self.question.bucket.read_from().1)
    }

    async fn series(&self, table: &Table) -> Result<Vec<(UnixMs, Measured)>, Error> {
        let statement = format!(
            "SELECT {} AS bucket, {}, {} FROM {} WHERE {} GROUP BY bucket ORDER BY bucket",
            self.bucket(),
            self.measures.columns(),
            self.measures.latencies(),
            table.name,
            self.condition(table)
        );
        let rows = self.reporting.rows(table, &statement).await?.rows.into_iter();
        let measured = rows.map(|row| {
            let mut values = Values::of(row);
            let time = UnixMs::new(values.integer().saturating_mul(1000));
            let mut measured = self.measures.read(&mut values);
            (measured.latency_p50, measured.latency_p99) = latencies(&mut values);
            (time, measured)
        });
        Ok(measured.filter(|(_, measured)| measured.total > 0).collect())
    }

    /// Those of the whole time.
    async fn latencies(&self, table: &Table) -> Result<(Option<f64>, Option<f64>), Error> {
        let statement =
            format!("SELECT {} FROM {} WHERE {}", self.measures.latencies(), table.name, self.condition(table));
        let rows = self.reporting.rows(table, &statement).await?.rows;
        Ok(rows.into_iter().next().map_or((None, None), |row| latencies(&mut Values::of(row))))
    }

    async fn groups(&self, groups: Groups) -> Result<Vec<Group>, Error> {
        let table = self.table_of_groups(groups.by)?;
        let name = match (table.of, groups.by) {
            (Of::Events, By::Identity) => "any(external_id)",
            (Of::Events, By::Namespace) => "any(namespace)",
            _ => "any('')",
        };
        let statement = format!(
            "SELECT {} AS id, {name} AS called, max(last_time) AS latest, {} FROM {} WHERE {} GROUP BY id \
             HAVING {} > 0 ORDER BY {} DESC, id LIMIT {}",
            groups.by.column(),
            self.measures.columns(),
            table.name,
            self.condition(table),
            self.measures.total(),
            self.measures.order(groups.order),
            groups.limit
        );
        let rows = self.reporting.rows(table, &statement).await?.rows.into_iter();
        let read = rows.map(|row| {
            let mut values = Values::of(row);
            let (id, name, last_time) = (values.text(), values.some_text(), values.time());
            // Rows of decisions on limits have those of both outcomes.
            let last_time = self.measures.is_of_whole_rows().then_some(last_time);
            Group { id, name, last_time, measured: self.measures.read(&mut values), series: Vec::new() }
        });
        let mut read: Vec<Group> = read.collect();
        if groups.series && !read.is_empty() {
            let mut series = self.series_of(groups.by, &read).await?;
            for group in &mut read {
                group.series = series.remove(&group.id).unwrap_or_default();
            }
        }
        Ok(read)
    }

    /// The series of each of these groups.
    async fn series_of(
        &self,
        by: By,
        groups: &[Group],
    ) -> Result<BTreeMap<String, Vec<(UnixMs, Measured)>>, Error> {
        let table = self.table_of(by)?;
        let ids = groups.iter().map(|group| quoted(&group.id)).collect::<Vec<_>>().join(", ");
        let statement = format!(
            "SELECT {} AS id, {} AS bucket, {} FROM {} WHERE {}{} GROUP BY id, bucket HAVING id IN ({ids}) \
             ORDER BY id, bucket",
            by.column(),
            self.bucket(),
            self.measures.columns(),
            table.name,
            self.condition(table),
            // A row has several tags.
            if by == By::Tag { String::new() } else { format!(" AND {} IN ({ids})", by.column()) },
        );
        let mut series: BTreeMap<String, Vec<(UnixMs, Measured)>> = BTreeMap::new();
        for row in self.reporting.rows(table, &statement).await?.rows {
            let mut values = Values::of(row);
            let (id, time) = (values.text(), UnixMs::new(values.integer().saturating_mul(1000)));
            let measured = self.measures.read(&mut values);
            if measured.total > 0 {
                series.entry(id).or_default().push((time, measured));
            }
        }
        Ok(series)
    }
}

fn latencies(values: &mut Values) -> (Option<f64>, Option<f64>) {
    match values.next() {
        serde_json::Value::Array(all) => {
            let mut all = Values::of(all);
            (all.number(), all.number())
        }
        _ => (None, None),
    }
}
