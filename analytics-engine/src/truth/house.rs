//! What a process has of analytics: ring, log, follower, warehouse and engine, with a clock that is set by hand.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keyrack_core::analytics::engine::{Engine as _, Lane, Limits, Rows};
use keyrack_core::analytics::log::{self, Log};
use keyrack_core::analytics::recorder::Recorder;
use keyrack_core::analytics::sql::tables::{Grain, Table, Tables};
use keyrack_core::analytics::sql::{Asked, check};
use keyrack_core::calendar::{DAY_MS, UnixMs};
use keyrack_core::clock::Clock;
use keyrack_core::ids::RequestId;
use serde_json::Value;

use super::happened::{Happened, WORKSPACES, World};
use super::known::{Known, Part, told_apart};
use super::reports::Reports;
use crate::Embedded;
use crate::following::{Around, Follower};
use crate::storage::{self, Settings, Shorter, Warehouse};

const LIMITS: Limits =
    Limits { time: Duration::from_secs(300), memory_bytes: 1 << 30, answer_bytes: 1 << 30, lane: Lane::Questions };
/// Events between two times that the ring is emptied.
const PORTION: usize = 500;

/// All of the time.
pub(super) const ALWAYS: Range<i64> = i64::MIN..i64::MAX;

/// What tables have to show. Times are Unix ms.
pub(super) struct Shown {
    /// Before what time there are no events any more, and so no minutes and hours: of verifications, and of decisions.
    pub(super) raw: [i64; 2],
    /// The same of days.
    pub(super) day: [i64; 2],
    /// Of which time events, minutes and hours are asked for. Days and months are always all asked for.
    pub(super) asked: Range<i64>,
    /// Whose rows.
    pub(super) workspaces: Range<usize>,
}

impl Shown {
    /// Everything, but for events, minutes and hours outside of this time, of these workspaces.
    pub(super) fn asked(asked: Range<i64>, workspaces: Range<usize>) -> Self {
        Shown { raw: [i64::MIN; 2], day: [i64::MIN; 2], asked, workspaces }
    }
}

/// What a process has.
pub(super) struct House {
    pub(super) clock: Clock,
    pub(super) recorder: Recorder,
    pub(super) follower: Arc<Follower>,
    pub(super) warehouse: Arc<Warehouse>,
    engine: Arc<Embedded>,
}

impl House {
    /// A process that starts in this folder.
    pub(super) fn open(folder: &Path, now: UnixMs, settings: Settings) -> Self {
        let clock = Clock::standing_at(now);
        let log = Log::open(&folder.join(log::FOLDER), 1 << 30).expect("a log");
        let consumer = log.register("engine");
        let recorder = Recorder::default();
        recorder.write_to(log);
        let warehouse =
            Arc::new(Warehouse::open(&folder.join(storage::FOLDER), settings).expect("a warehouse of its own"));
        let around = Around { clock: clock.clone(), shorter: Box::new(Shorter::new), ran: Box::new(|_, _| {}) };
        let follower = Arc::new(Follower::new(consumer, warehouse.clone(), around));
        let engine = Arc::new(Embedded::fed_by(warehouse.clone(), 2, follower.clone()));
        House { clock, recorder, follower, warehouse, engine }
    }

    /// Has things happen, each when its time has come, and notes them.
    pub(super) fn record(&self, world: &World, happened: &[Happened], known: &mut Known) {
        for portion in happened.chunks(PORTION) {
            for one in portion {
                let request_id = RequestId::new();
                self.clock.set(UnixMs::new(one.time));
                self.recorder.record(world.event(one, request_id));
                known.note(one, request_id.as_str());
            }
            self.recorder.empty_ring(&self.clock);
            self.follower.follow().expect("a log that can be followed");
        }
    }

    /// Asks for all that tables say, and holds it against the truth.
    pub(super) async fn compare(&self, world: &World, known: &Known, shown: &Shown) {
        self.compare_those(world, known, shown, |_| true).await;
    }

    /// The same of tables of sums alone.
    pub(super) async fn compare_sums(&self, world: &World, known: &Known) {
        self.compare_those(world, known, &Shown::asked(ALWAYS, 0..WORKSPACES.len()), |grain| grain != Grain::Raw)
            .await;
    }

    /// All events that are shown.
    pub(super) async fn raw_rows(&self) -> Vec<Vec<Value>> {
        let mut rows = Vec::new();
        for (tables, table) in
            [(Tables::Verifications, "key_verifications_v1"), (Tables::Ratelimits, "ratelimits_v1")]
        {
            for workspace in WORKSPACES {
                let part = Part { tables, workspace, from: i64::MIN, to: i64::MAX };
                rows.extend(self.ask(part, &format!("SELECT * FROM {table}")).await.rows);
            }
        }
        rows
    }

    async fn compare_those(&self, world: &World, known: &Known, shown: &Shown, is_meant: fn(Grain) -> bool) {
        for (kind, tables) in [Tables::Verifications, Tables::Ratelimits].into_iter().enumerate() {
            for workspace in &WORKSPACES[shown.workspaces.clone()] {
                for table in Table::all(tables).iter().filter(|table| is_meant(table.grain)) {
                    let (kept, asked) = match table.grain {
                        Grain::Raw | Grain::Minute | Grain::Hour => (shown.raw[kind], shown.asked.clone()),
                        Grain::Day => (shown.day[kind], ALWAYS),
                        Grain::Month => (i64::MIN, ALWAYS),
                    };
                    let part = Part { tables, workspace, from: kept.max(asked.start), to: asked.end };
                    self.compare_table(world, known, table, part, &asked).await;
                }
                let part = Part { tables, workspace, from: shown.day[kind], to: i64::MAX };
                self.compare_inner(part, shown.raw[kind]).await;
            }
        }
        assert!(self.warehouse.snapshot().expect("a snapshot").damaged().is_empty());
    }

    async fn compare_table(&self, world: &World, known: &Known, table: &Table, part: Part, asked: &Range<i64>) {
        let time = |ms: i64| match table.grain {
            Grain::Raw => ms.to_string(),
            _ => format!("toDateTime({})", ms / 1000),
        };
        let is_asked = if *asked == ALWAYS {
            String::new()
        } else {
            format!("WHERE time >= {} AND time < {}", time(asked.start), time(asked.end))
        };
        if table.grain == Grain::Raw {
            let rows = self.ask(part, &format!("SELECT * FROM {} {is_asked}", table.name)).await;
            known.compare_raw(world, part, &rows);
            return;
        }
        let keys = told_apart(part.tables).join(", ");
        let sums = match part.tables {
            Tables::Verifications => "SUM(count), SUM(spent_credits)",
            Tables::Ratelimits => "SUM(total), SUM(total_tokens), SUM(passed), SUM(passed_tokens)",
        };
        let statement = format!(
            "SELECT {keys}, {sums}, avgMerge(latency_avg), quantilesTDigestMerge(0.75)(latency_p75), \
             quantilesTDigestMerge(0.99)(latency_p99) FROM {} {is_asked} GROUP BY {keys}",
            table.name
        );
        known.compare(world, part, table.grain, &self.ask(part, &statement).await);
    }

    /// What reports read is what everybody reads, put together; the latest time of a day is that of its last event.
    async fn compare_inner(&self, part: Part, raw_from: i64) {
        let (scope, sums, days, hours, raw) = match part.tables {
            Tables::Verifications => (
                "api_id, outcome",
                "SUM(count), SUM(spent_credits)",
                "key_verifications_per_day_v1",
                "hours_of_apis",
                "key_verifications_v1",
            ),
            Tables::Ratelimits => (
                "namespace_id",
                "SUM(total), SUM(passed), SUM(total_tokens), SUM(passed_tokens)",
                "ratelimits_per_day_v1",
                "hours_of_namespaces",
                "ratelimits_v1",
            ),
        };
        let summed = |table: &str| {
            format!(
                "SELECT toStartOfDay(time) AS day, {scope}, {sums} FROM {table} GROUP BY day, {scope} ORDER BY day, {scope}"
            )
        };
        let (of_days, of_hours) = (self.ask(part, &summed(days)).await, self.ask(part, &summed(hours)).await);
        assert_eq!(of_days.rows, of_hours.rows, "{part:?}");
        // Of whole days that have all their events.
        let first = raw_from.max(0).div_euclid(DAY_MS) + 1;
        let latest = |table: &str, time: &str, day: &str| {
            format!(
                "SELECT {day} AS day, max({time}) AS latest FROM {table} WHERE time >= {} GROUP BY day ORDER BY day",
                if time == "time" {
                    format!("{}", first * DAY_MS)
                } else {
                    format!("toDateTime({})", first * DAY_MS / 1000)
                }
            )
        };
        let of_events = self.ask(part, &latest(raw, "time", "toStartOfDay(fromUnixTimestamp64Milli(time))")).await;
        for table in ["days", hours] {
            let told = self.ask(part, &latest(table, "last_time", "toStartOfDay(time)")).await;
            assert_eq!(told.rows, of_events.rows, "{part:?} of {table}");
        }
    }

    async fn ask(&self, part: Part, statement: &str) -> Rows {
        let asked = Asked {
            operation: part.tables,
            workspace_id: part.workspace.to_owned(),
            narrowed: None,
            retention_days: 0,
            now: self.clock.now(),
            most_rows: 10_000_000,
            reports: true,
        };
        let checked = check(statement, &asked).unwrap_or_else(|error| panic!("{statement}: {error}"));
        self.engine.query(&checked, LIMITS).await.unwrap_or_else(|failure| panic!("{statement}: {failure:?}"))
    }

    /// Who answers reports of what it has.
    pub(super) async fn reports(&self) -> Reports {
        Reports::over(&self.engine, self.clock.now()).await
    }

    /// A stop in good order.
    pub(super) async fn close(self) {
        self.engine.close().await;
    }
}
