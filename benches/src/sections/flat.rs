//! The number of keys must not matter: the same requests in a small, a large and a very large database.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};

use super::{Bench, cpu, p50};
use crate::load::{self, Run, Seen};
use crate::report::{Goal, Report, figure};
use crate::rounds::{Rounds, Variant, alternate};
use crate::server::Server;

/// Creations are few at a time: they wait for the disk, one after the other.
pub(super) const CREATORS: u32 = 4;
/// Keys in the smallest database: enough for full pages.
const FEW: u32 = 1000;
const FLAT: Goal = Goal::AtMost(1.5);

/// Listing, creating and verifying.
pub(super) fn flat(bench: &Bench, report: &mut Report) -> Result<()> {
    let settings = &bench.settings;
    let counts = [FEW, settings.keys / 10, settings.keys];
    let names = counts.map(|count| format!("{} keys", figure(f64::from(count))));
    let mut servers = Vec::new();
    for count in counts {
        let database = bench.many(count)?;
        let (verify, pages) = (database.verifications(settings)?, database.pages(settings)?);
        servers.push((database.start(settings, &[])?, verify, pages, database.api_id.clone()));
    }
    let each = || names.iter().zip(&servers);

    let most = [settings.most_connections()];
    let list: Vec<_> =
        each().map(|(name, (server, _, target, _))| Variant::new(settings, name, server, target)).collect();
    compare(report, "apis.listKeys", &names, &alternate(settings, &most, &list)?);
    let create: Vec<_> = each()
        .map(|(name, (server, .., api_id))| {
            let body = json!({"apiId": api_id, "name": "Created"}).to_string();
            Variant::loaded_by(name, move |clients, seconds| create(server, &body, clients, seconds))
        })
        .collect();
    compare(report, "keys.createKey", &names, &alternate(settings, &[CREATORS], &create)?);
    // Last, because when the keys were used is written a minute later, and would be measured with the others.
    let verify: Vec<_> =
        each().map(|(name, (server, target, ..))| Variant::new(settings, name, server, target)).collect();
    compare(report, "keys.verifyKey", &names, &alternate(settings, &most, &verify)?);
    Ok(())
}

fn compare(report: &mut Report, operation: &str, [few, many @ ..]: &[String; 3], rounds: &Rounds) {
    for name in many {
        let what = format!("{operation}, {name} ÷ {few}");
        report.ratio(rounds, &format!("{what}, CPU per request"), (name, few), cpu, FLAT);
        report.ratio(rounds, &format!("{what}, median latency"), (name, few), p50, FLAT);
    }
    report.runs(operation, rounds);
}

/// Creates keys for `seconds`, then removes them without a trace, so that the database keeps its size.
pub(super) fn create(server: &Server, body: &str, clients: u32, seconds: u64) -> Result<Run> {
    let mut created = Vec::new();
    let run = load::measured(server, || {
        let started = Instant::now();
        let end = started + Duration::from_secs(seconds);
        created = at_once(clients, || {
            let mut created = Vec::new();
            while Instant::now() < end {
                let sent = Instant::now();
                let answer = server.post("/v2/keys.createKey", body)?;
                let id = answer.pointer("/data/keyId").and_then(Value::as_str).context("no key id")?;
                created.push((sent.elapsed(), id.to_owned()));
            }
            Ok(created)
        })?;
        let mut latencies: Vec<_> = created.iter().map(|(latency, _)| latency.as_micros() as f64).collect();
        latencies.sort_by(f64::total_cmp);
        let count = latencies.len();
        Ok(Seen {
            requests: count as u64,
            seconds: started.elapsed().as_secs_f64(),
            p50_us: *latencies.get(count / 2).context("no key was created")?,
            p99_us: latencies[count * 99 / 100],
        })
    })?;
    for (_, id) in created {
        server.post("/v2/keys.deleteKey", &json!({"keyId": id, "permanent": true}).to_string())?;
    }
    Ok(run)
}

/// Runs the same work in this many threads and collects what they return.
fn at_once<T: Send>(threads: u32, work: impl Fn() -> Result<Vec<T>> + Sync) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        let mut all = Vec::new();
        for thread in running {
            all.extend(thread.join().map_err(|_| anyhow!("a thread panicked"))??);
        }
        Ok(all)
    })
}
