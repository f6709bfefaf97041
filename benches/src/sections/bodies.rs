//! Requests as large as they may be: what the worst of them cost.

use anyhow::Result;
use serde_json::json;

use super::Bench;
use crate::keyrack::{Database, Population};
use crate::report::{Goal, Report};
use crate::rounds::Spread;

/// How often each is sent: CPU time is counted in hundredths of a second.
const TIMES: u32 = 20;
const KIB: usize = 1024;

/// Bodies of the largest size that are refused, at the first fault or the last.
pub(super) fn bodies(bench: &Bench, report: &mut Report) -> Result<()> {
    let population = Population { keys: 1, ..Population::HOT };
    let database = bench.databases.get(&bench.settings, "bodies", population)?;
    let server = database.start(&bench.settings, &[])?;
    let (mut cpu, mut memory) = (Vec::new(), Vec::new());
    for (operation, body) in worst(&database) {
        let path = format!("/v2/{operation}");
        server.forget_peak()?;
        let (idle, before) = (server.resident_bytes()?, server.cpu_us()?);
        let mut status = 0;
        for _ in 0..TIMES {
            status = server.ask(&path, &body)?;
        }
        cpu.push((server.cpu_us()? - before) / 1000.0 / f64::from(TIMES));
        memory.push(server.peak_bytes()?.saturating_sub(idle) as f64 / 1024.0 / 1024.0);
        eprintln!(
            "  {operation}, {} KiB: {status}, {:?} ms, {:?} MiB",
            body.len() / KIB,
            cpu.last(),
            memory.last()
        );
    }
    let most = |values: Vec<f64>| {
        let worst = values.iter().copied().fold(0.0, f64::max);
        Spread { median: worst, ..Spread::of(values) }
    };
    report.goal("CPU of the worst request up to its body limit, ms", most(cpu), Goal::AtMost(100.0));
    report.goal("memory of the worst request up to its body limit, MiB", most(memory), Goal::AtMost(50.0));
    Ok(())
}

/// As many times `item` as fit into so many bytes with what is around them.
fn full(head: &str, item: &str, tail: &str, bytes: usize) -> String {
    let count = (bytes - head.len() - tail.len()) / (item.len() + 1);
    format!("{head}{}{tail}", vec![item; count].join(","))
}

fn worst(database: &Database) -> Vec<(&'static str, String)> {
    let (common, large) = (256 * KIB, 4096 * KIB);
    let members: Vec<_> = (0..26_000).map(|at| format!("\"{at}\":1")).collect();
    let hash = "0".repeat(64);
    let import = json!({"migrationId": "mig_1", "apiId": database.api_id});
    let import = import.to_string().replace('}', ",\"keys\":[");
    let key = json!({"hash": hash, "meta": {"a": [1, 2, 3]}, "permissions": ["a", "b"]}).to_string();
    vec![
        ("keys.createKey", full(r#"{"apiId":"a","permissions":["#, "1", "]}", common)),
        ("keys.createKey", full(r#"{"apiId":"a","meta":{"a":["#, "1", "]}}", common)),
        ("keys.createKey", format!("{{{}}}", members.join(","))),
        ("ratelimit.multiLimit", full("[", "[]", "]", common)),
        ("identities.createIdentity", full(r#"{"externalId":"a","meta":{"a":["#, "[]", "]}}", 2048 * KIB)),
        ("keys.migrateKeys", full(&import, "1", "]}", large)),
        ("keys.migrateKeys", full(&import, "{}", "]}", large)),
        ("keys.migrateKeys", full(&import, &key, "]}", large)),
        ("keys.verifyKey", full(r#"{"key":"a","tags":["#, "\"a\"", "]}", common)),
        ("keys.verifyKey", full(r#"{"key":"a","permissions":""#, "(a AND b) OR c", "\"}", common)),
    ]
}
