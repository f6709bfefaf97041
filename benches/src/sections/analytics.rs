//! What analytics costs those who verify: at a fixed rate beside a heavy question and beside compaction, and the memory of a
//! server that nobody asks anything.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::json;

use super::{Bench, p99, throughput};
use crate::keyrack::{Database, Population};
use crate::load::{self, Run, Target};
use crate::report::{Goal, Report};
use crate::rounds::{Spread, Variant, alternate};
use crate::server::Server;
use crate::settings::Settings;

/// Each connection waits so long between requests, in ms; with [`CONNECTIONS`] that is about 20,000 a second.
const PAUSE_MS: u32 = 3;
const CONNECTIONS: u32 = 64;
/// How long events are made before they are asked about, in seconds.
const MAKING: u64 = 30;
/// A question that looks at all events, and keeps much of them.
const QUESTION: &str = "SELECT key_id, uniq(request_id) AS requests, quantile(0.95)(latency) AS p95, count() AS n \
                        FROM key_verifications_v1 GROUP BY key_id ORDER BY requests DESC, key_id LIMIT 10";
/// Stored events are of June 2026, and are to stay.
const KEEP: [(&str, &str); 3] = [
    ("KEYRACK_ANALYTICS_RAW_DAYS", "3650"),
    ("KEYRACK_ANALYTICS_DAY_DAYS", "3650"),
    ("KEYRACK_ANALYTICS_MONTH_DAYS", "3650"),
];
const SETTLING: Duration = Duration::from_secs(3);

/// p99 of verifications at a fixed rate: alone, and beside what analytics does.
pub(super) fn beside(bench: &Bench, report: &mut Report) -> Result<()> {
    let settings = &bench.settings;
    let hot = bench.databases.get(settings, "hot", Population::HOT)?;
    let target = hot.verifications(settings)?;
    beside_questions(settings, &hot, &target, report)?;
    match &settings.events {
        Some(events) => beside_compaction(settings, &hot, &target, events, report),
        None => {
            eprintln!("  compaction is left out: BENCH_EVENTS names no folder of events");
            Ok(())
        }
    }
}

fn beside_questions(settings: &Settings, hot: &Database, target: &Target, report: &mut Report) -> Result<()> {
    let server = hot.start(settings, &[])?;
    load::wrk(settings, &server, target, CONNECTIONS, MAKING)?;
    thread::sleep(SETTLING);
    let (questions, answering_us) = (AtomicU64::new(0), AtomicU64::new(0));
    let variants = [
        Variant::loaded_by("verify at a fixed rate", |connections, seconds| {
            load::paced(settings, &server, target, (connections, PAUSE_MS), seconds)
        }),
        Variant::loaded_by("the same beside a heavy question", |connections, seconds| {
            let asking = || -> Result<()> {
                let began = Instant::now();
                server.post("/v2/analytics.getVerifications", &json!({ "query": QUESTION }).to_string())?;
                questions.fetch_add(1, Ordering::Relaxed);
                answering_us.fetch_add(began.elapsed().as_micros() as u64, Ordering::Relaxed);
                Ok(())
            };
            while_going_on(asking, || {
                load::paced(settings, &server, target, (connections, PAUSE_MS), seconds)
            })
        }),
    ];
    let rounds = alternate(settings, &[CONNECTIONS], &variants)?;
    let names = ("the same beside a heavy question", "verify at a fixed rate");
    report.ratio(&rounds, "p99 of verify beside a heavy question ÷ alone", names, p99, Goal::AtMost(3.0));
    let count = questions.load(Ordering::Relaxed);
    ensure!(count > 0, "no question was answered");
    let ms = answering_us.load(Ordering::Relaxed) as f64 / count as f64 / 1000.0;
    report.goal("the question, ms, beside verifications", Spread::of(vec![ms]), Goal::None);
    report.runs("beside a question", &rounds);
    Ok(())
}

/// Does something over and over while `work` runs.
fn while_going_on<T>(again: impl Fn() -> Result<()> + Sync, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let going_on = scope.spawn(|| -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                again()?;
            }
            Ok(())
        });
        let worked = work();
        stop.store(true, Ordering::Relaxed);
        going_on.join().map_err(|_| anyhow!("a thread panicked"))??;
        worked
    })
}

/// Each round has a server of its own, which begins to compact a copy of the events at once.
fn beside_compaction(
    settings: &Settings,
    hot: &Database,
    target: &Target,
    events: &Path,
    report: &mut Report,
) -> Result<()> {
    let kept = hot.folder().join("analytics");
    let compacted = AtomicU64::new(0);
    let load = |server: &Server, connections, seconds| {
        load::paced(settings, server, target, (connections, PAUSE_MS), seconds)
    };
    let begin = |with_events: bool| -> Result<Server> {
        let _ = fs::remove_dir_all(&kept);
        if with_events {
            let copied = Command::new("cp").arg("-r").arg(events).arg(&kept).status().context("cannot run cp")?;
            ensure!(copied.success(), "the events cannot be copied");
        }
        hot.start(settings, &KEEP)
    };
    let variants = [
        Variant::loaded_by("verify at a fixed rate", |connections, seconds| -> Result<Run> {
            load(&begin(false)?, connections, seconds)
        }),
        Variant::loaded_by("the same beside compaction", |connections, seconds| -> Result<Run> {
            let server = begin(true)?;
            let before = files(&kept)?;
            let run = load(&server, connections, seconds)?;
            compacted.fetch_add(before.saturating_sub(files(&kept)?), Ordering::Relaxed);
            Ok(run)
        }),
    ];
    let rounds = alternate(settings, &[CONNECTIONS], &variants)?;
    ensure!(compacted.load(Ordering::Relaxed) > 0, "nothing was compacted meanwhile");
    let names = ("the same beside compaction", "verify at a fixed rate");
    report.ratio(&rounds, "p99 of verify beside compaction ÷ alone", names, p99, Goal::AtMost(3.0));
    report.ratio(&rounds, "verifications a second beside compaction ÷ alone", names, throughput, Goal::None);
    report.runs("beside compaction", &rounds);
    Ok(())
}

fn files(folder: &Path) -> Result<u64> {
    Ok(fs::read_dir(folder)?.count() as u64)
}

/// Resident memory of a server that does nothing, with the engine linked, ÷ without it.
pub(super) fn idle(bench: &Bench, report: &mut Report) -> Result<()> {
    let settings = &bench.settings;
    let Some(without) = &settings.without_engine else {
        eprintln!("  left out: BENCH_WITHOUT_ENGINE names no build");
        return Ok(());
    };
    let empty = bench.many(0)?;
    let other = Settings { keyrack: without.clone(), ..settings.clone() };
    let mut ratios = Vec::new();
    for _ in 0..settings.rounds {
        let resident = |settings: &Settings| -> Result<f64> {
            let server = empty.start(settings, &[])?;
            thread::sleep(SETTLING);
            Ok(server.resident_bytes()? as f64)
        };
        let (with, without) = (resident(settings)?, resident(&other)?);
        eprintln!("  with the engine {:.1} MiB, without {:.1} MiB", with / 1_048_576.0, without / 1_048_576.0);
        ratios.push(with / without);
    }
    report.goal("memory of an idle server with the engine ÷ without", Spread::of(ratios), Goal::AtMost(1.2));
    Ok(())
}
