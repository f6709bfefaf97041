//! What tables say is what happened: two hundred thousand verifications and decisions, on their way through ring, log,
//! follower, files and sums, whatever is done to them meanwhile.
//!
//! All comes from a seed, which a failure prints; `KEYRACK_TEST_TRUTH_SEED` repeats a run.

mod happened;
mod house;
mod killed;
mod known;
mod reports;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::path::Path;

use keyrack_core::calendar::{DAY_MS, HOUR_MS, UnixMs};

use self::happened::{BEGIN, Chance, DAYS, Happened, World, happenings};
use self::house::{ALWAYS, House, Shown};
use self::known::Known;
use crate::storage::{Kept, Retention, Settings, Shorter, to_the_end};

const EVENTS: usize = 200_000;
const EVENTS_OF_REPORTS: usize = 20_000;
/// Noon of the day after the last one: 2028-03-31, so that a month is not over.
const NOW: i64 = BEGIN + (DAYS + 1) * DAY_MS + 12 * HOUR_MS;

/// Tells the seed of a run that fails.
struct Seed(u64);

impl Seed {
    fn of_this_run() -> Self {
        let set = std::env::var("KEYRACK_TEST_TRUTH_SEED").ok().and_then(|seed| seed.parse().ok());
        Seed(set.unwrap_or_else(|| RandomState::new().hash_one("truth")))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("KEYRACK_TEST_TRUTH_SEED={}", self.0);
        }
    }
}

/// Many small files, which stay.
fn settings() -> Settings {
    let kept = Kept { raw: 1000, day: 1000, month: 1096 };
    Settings {
        flush_rows: 6000,
        retention: Retention { verifications: kept, ratelimits: kept },
        ..Settings::default()
    }
}

fn open(folder: &Path, settings: Settings) -> House {
    House::open(folder, UnixMs::new(NOW), settings)
}

/// A week around this day, within which events, minutes and hours are asked for, of the workspace at this place.
fn week_of(day: i64, workspace: usize) -> Shown {
    let begin = BEGIN + (day - 3) * DAY_MS;
    Shown::asked(begin..begin + 7 * DAY_MS, workspace..workspace + 1)
}

#[tokio::test]
async fn every_table_says_what_happened_whatever_is_done_meanwhile() {
    let seed = Seed::of_this_run();
    let world = World::new();
    let happened = happenings(&mut Chance(seed.0), EVENTS);
    let (first, second) = happened.split_at(EVENTS * 3 / 5);
    let mut known = Known::default();
    let folder = tempfile::tempdir().expect("a folder");

    let house = open(folder.path(), settings());
    house.record(&world, first, &mut known);
    house.compare(&world, &known, &week_of(40, 0)).await;
    let mut chance = Chance(seed.0);
    house.reports().await.compare_usage(&world, &known, &mut chance, 20).await;
    house.follower.keep_in_order().expect("compaction");
    house.compare(&world, &known, &week_of(11, 0)).await;
    house.close().await;

    let house = open(folder.path(), settings());
    house.compare(&world, &known, &week_of(27, 1)).await;
    // Days are compacted while what a clock that was set back brings for them is still to come; a clock that leaps by more
    // than three days is not believed.
    for part in second.chunks(6000) {
        house.record(&world, part, &mut known);
        house.follower.keep_in_order().expect("compaction");
    }
    let house = killed_with_some_in_the_ring(house, &world, &happened[..300], folder.path());
    house.compare(&world, &known, &week_of(43, 2)).await;
    house.clock.set(UnixMs::new(NOW));
    house.follower.keep_in_order().expect("compaction");
    house.compare(&world, &known, &Shown::asked(ALWAYS, 0..2)).await;
    house.reports().await.compare_usage(&world, &known, &mut chance, 20).await;
    house.close().await;
    what_is_too_old_goes(folder.path(), &world, &known).await;
}

/// Each question is asked about once, before days are compacted, after it, or after another start.
#[tokio::test]
async fn whole_reports_say_what_happened_before_and_after_compaction_and_a_start() {
    let seed = Seed::of_this_run();
    let (world, mut chance) = (World::new(), Chance(seed.0));
    let happened = happenings(&mut chance, EVENTS_OF_REPORTS);
    let (first, second) = happened.split_at(EVENTS_OF_REPORTS * 4 / 5);
    let mut known = Known::default();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = || Settings { flush_rows: 1200, ..settings() };

    let house = open(folder.path(), settings());
    house.record(&world, first, &mut known);
    let reports = house.reports().await;
    reports.compare_usage(&world, &known, &mut chance, 3).await;
    reports.compare_lists(&world, &known, &mut chance).await;
    house.follower.keep_in_order().expect("compaction");
    house.record(&world, second, &mut known);
    reports.compare_usage(&world, &known, &mut chance, 3).await;
    house.clock.set(UnixMs::new(NOW));
    house.follower.keep_in_order().expect("compaction");
    house.close().await;

    let house = open(folder.path(), settings());
    let reports = house.reports().await;
    reports.compare_usage(&world, &known, &mut chance, 3).await;
    reports.compare_lists(&world, &known, &mut chance).await;
    house.close().await;
}

/// A kill loses what the ring has, and nothing else: what is in the log and in no file is read again.
fn killed_with_some_in_the_ring(house: House, world: &World, lost: &[Happened], folder: &Path) -> House {
    for one in lost {
        house.recorder.record(world.event(one, keyrack_core::ids::RequestId::new()));
    }
    assert_eq!(house.recorder.waiting(), lost.len());
    let dropped = &house.recorder.dropped;
    assert_eq!(
        [dropped.full.value(), dropped.share.value(), dropped.failed.value(), dropped.unread.value()],
        [0; 4]
    );
    drop(house);
    open(folder, settings())
}

/// Events go, and days: what is left of these and all months still say the same.
async fn what_is_too_old_goes(folder: &Path, world: &World, known: &Known) {
    let retention = Retention {
        verifications: Kept { raw: 30, day: 50, month: 1096 },
        ratelimits: Kept { raw: 20, day: 45, month: 1096 },
    };
    let house = open(folder, Settings { retention, ..settings() });
    let removed = house.warehouse.sweep(UnixMs::new(NOW), &Shorter::new(), &mut to_the_end).expect("a sweep");
    assert!(removed.rows > 60_000, "{removed:?}");
    let kept = |days: u32| NOW - 12 * HOUR_MS - i64::from(days) * DAY_MS;
    let shown = Shown {
        raw: [kept(retention.verifications.raw), kept(retention.ratelimits.raw)],
        day: [kept(retention.verifications.day), kept(retention.ratelimits.day)],
        asked: ALWAYS,
        workspaces: 0..1,
    };
    house.compare(world, known, &shown).await;
    house.close().await;
}
