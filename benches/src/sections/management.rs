//! What people look at: it must not matter how much there is of it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Bench;
use crate::keyrack::Database;
use crate::report::{Goal, Report};
use crate::rounds::Spread;
use crate::seed::{RARE_EVENT, key_id, seed_audit};
use crate::server::Server;

/// Entries of the audit log.
const ENTRIES: u32 = 1_000_000;
/// How often a question is asked.
const TIMES: usize = 200;

/// The overview of a workspace with very many keys, and a long audit log by target and by a rare event.
pub(super) fn management(bench: &Bench, report: &mut Report) -> Result<()> {
    let database: std::rc::Rc<Database> = bench.largest()?;
    eprintln!("  adding {ENTRIES} entries to the audit log");
    seed_audit(&database.file(), ENTRIES)?;
    let server = database.start(&bench.settings, &[])?;
    let milliseconds = |what: &str| format!("{what}, ms");
    let overview = asked(&server, "workspace.getOverview", |_| json!({}), |answer| answer["data"].is_object())?;
    report.goal(&milliseconds("workspace.getOverview"), overview, Goal::AtMost(1.0));
    let has_entries = |answer: &Value| answer["data"].as_array().is_some_and(|entries| !entries.is_empty());
    let target = |time: usize| json!({"targetId": key_id(u32::try_from(time).unwrap_or_default() * 4_099)});
    let by_target = asked(&server, "audit.listLogs", target, has_entries)?;
    report.goal(&milliseconds("audit.listLogs by target"), by_target, Goal::AtMost(5.0));
    let by_event = asked(&server, "audit.listLogs", |_| json!({"events": [RARE_EVENT]}), has_entries)?;
    report.goal(&milliseconds("audit.listLogs by a rare event"), by_event, Goal::AtMost(5.0));
    Ok(())
}

/// How long each answer took in ms.
fn asked(
    server: &Server,
    operation: &str,
    body: impl Fn(usize) -> Value,
    is_good: impl Fn(&Value) -> bool,
) -> Result<Spread> {
    let path = format!("/v2/{operation}");
    let ask = |time: usize| {
        let body = body(time).to_string();
        let sent = Instant::now();
        let answer = server.post(&path, &body)?;
        ensure!(is_good(&answer), "{operation} {body} answered {answer}");
        Ok(sent.elapsed())
    };
    ask(0)?;
    let times: Vec<Duration> = (0..TIMES).map(ask).collect::<Result<_>>()?;
    Ok(Spread::of(times.iter().map(|time| time.as_secs_f64() * 1000.0).collect()))
}
