//! What a workspace's users feel of another workspace that floods the instance.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};

use super::{Bench, p99};
use crate::keyrack::Population;
use crate::load::wrk;
use crate::report::{Goal, Report};
use crate::rounds::{Variant, alternate};
use crate::server::Server;

/// Clients of the attacker for each kind of flood.
const ATTACKERS: usize = 2;

/// Verifications alone, and beside a workspace that sends all that it may, over and over.
pub(super) fn attack(bench: &Bench, report: &mut Report) -> Result<()> {
    let settings = &bench.settings;
    let hot = bench.databases.get(settings, "attack", Population::HOT)?;
    let target = hot.verifications(settings)?;
    let server = hot.start(settings, &[])?;
    let floods = floods(&server)?;
    let variants = [
        Variant::new(settings, "verify", &server, &target),
        Variant::loaded_by("verify, another workspace floods", |connections, seconds| {
            beside(&server, &floods, || wrk(settings, &server, &target, connections, seconds))
        }),
    ];
    let rounds = alternate(settings, &[settings.most_connections()], &variants)?;
    let names = ("verify, another workspace floods", "verify");
    report.ratio(&rounds, "p99 of verify beside a flood of another workspace ÷ alone", names, p99, Goal::None);
    report.runs("attack", &rounds);
    Ok(())
}

/// What the attacker sends, with a root key of its own workspace.
struct Floods {
    root_key: String,
    bodies: Vec<(&'static str, String)>,
}

fn floods(server: &Server) -> Result<Floods> {
    let made = server.post("/v2/workspace.createWorkspace", &json!({"name": "attacker"}).to_string())?;
    let root_key = made.pointer("/data/rootKey").and_then(Value::as_str).context("no root key")?.to_owned();
    let long = "x".repeat(255);
    let limits: Vec<_> = (0..100)
        .map(|at| json!({"namespace": "flood", "identifier": format!("{long}{at}"), "limit": 1, "duration": 1000}))
        .collect();
    let keys: Vec<_> = (0..60_000).map(|_| 1).collect();
    let bodies = vec![
        ("/v2/apis.createApi", json!({"name": "flood"}).to_string()),
        ("/v2/ratelimit.multiLimit", Value::from(limits).to_string()),
        ("/v2/keys.createKey", json!({"apiId": "a", "permissions": keys}).to_string()),
        ("/v2/identities.listIdentities", json!({"search": "nobody"}).to_string()),
        ("/v2/keys.verifyKey", json!({"key": "unknown", "tags": [long.clone(), long]}).to_string()),
    ];
    Ok(Floods { root_key, bodies })
}

fn beside<T>(server: &Server, floods: &Floods, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let attackers: Vec<_> = floods.bodies.iter().cycle().take(ATTACKERS * floods.bodies.len()).collect();
        let running: Vec<_> = attackers
            .into_iter()
            .map(|(path, body)| {
                let stop = &stop;
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        server.ask_as(&floods.root_key, path, body)?;
                    }
                    Ok::<_, anyhow::Error>(())
                })
            })
            .collect();
        let worked = work();
        stop.store(true, Ordering::Relaxed);
        for attacker in running {
            attacker.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        worked
    })
}
