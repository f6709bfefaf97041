//! Administration must not stall verifications.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use serde_json::json;

use super::{Bench, p99};
use crate::load;
use crate::report::{Goal, Report};
use crate::rounds::{Spread, Variant, alternate};
use crate::server::Server;

/// Keys that are created per second.
const CREATIONS: u32 = 50;

/// The tail of verifications while 50 keys per second are created and the whole list is read, over and over.
pub(super) fn tail(bench: &Bench, report: &mut Report) -> Result<()> {
    let settings = &bench.settings;
    let database = bench.many(settings.keys / 10)?;
    let target = database.verifications(settings)?;
    let server = database.start(settings, &[])?;
    let done = Administration::default();
    let variants = [
        Variant::new(settings, "verify", &server, &target),
        Variant::loaded_by("verify, keys created and listed", |connections, seconds| {
            done.beside(&server, &database.api_id, || load::wrk(settings, &server, &target, connections, seconds))
        }),
    ];
    let rounds = alternate(settings, &settings.connections, &variants)?;
    let names = ("verify, keys created and listed", "verify");
    report.ratio(&rounds, "p99 of verify beside administration ÷ alone", names, p99, Goal::AtMost(3.0));
    let per_second = |count: &AtomicU64| {
        let seconds = done.microseconds.load(Ordering::Relaxed) as f64 / 1e6;
        Spread::of(vec![count.load(Ordering::Relaxed) as f64 / seconds])
    };
    let created = per_second(&done.created);
    report.goal("keys created per second meanwhile", created, Goal::AtLeast(f64::from(CREATIONS) * 0.9));
    report.goal("pages of 100 keys listed per second meanwhile", per_second(&done.pages), Goal::None);
    report.runs("tail", &rounds);
    Ok(())
}

/// What was done beside the verifications, in all runs.
#[derive(Debug, Default)]
struct Administration {
    created: AtomicU64,
    pages: AtomicU64,
    microseconds: AtomicU64,
}

impl Administration {
    /// Creates and lists while `work` runs.
    fn beside<T>(&self, server: &Server, api_id: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let stop = AtomicBool::new(false);
        let started = Instant::now();
        thread::scope(|scope| {
            let creating = scope.spawn(|| self.create(server, api_id, &stop));
            let listing = scope.spawn(|| self.list(server, api_id, &stop));
            let worked = work();
            stop.store(true, Ordering::Relaxed);
            let panicked = |_| anyhow!("a thread panicked");
            creating.join().map_err(panicked)??;
            listing.join().map_err(panicked)??;
            self.microseconds.fetch_add(started.elapsed().as_micros() as u64, Ordering::Relaxed);
            worked
        })
    }

    /// Creates keys at their rate; what came late is made up for.
    fn create(&self, server: &Server, api_id: &str, stop: &AtomicBool) -> Result<()> {
        let body = json!({"apiId": api_id, "name": "Created meanwhile"}).to_string();
        let started = Instant::now();
        for number in 0_u32.. {
            let due = Duration::from_secs(1) * number / CREATIONS;
            thread::sleep(due.saturating_sub(started.elapsed()));
            if stop.load(Ordering::Relaxed) {
                break;
            }
            server.post("/v2/keys.createKey", &body)?;
            self.created.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Reads the list from the first page to the last, and again.
    fn list(&self, server: &Server, api_id: &str, stop: &AtomicBool) -> Result<()> {
        let mut cursor = String::new();
        while !stop.load(Ordering::Relaxed) {
            let body = json!({"apiId": api_id, "limit": 100, "cursor": cursor}).to_string();
            let page = server.post("/v2/apis.listKeys", &body)?;
            ensure!(page["data"].as_array().is_some_and(|keys| !keys.is_empty()), "an empty page: {page}");
            page["pagination"]["cursor"].as_str().unwrap_or_default().clone_into(&mut cursor);
            self.pages.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
