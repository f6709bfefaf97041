//! The two hot operations against what the same HTTP layer costs alone.

use anyhow::Result;

use super::{Bench, cpu, throughput};
use crate::keyrack::{self, Population};
use crate::report::{Goal, Report};
use crate::rounds::{Variant, alternate};

/// `keys.verifyKey` against a handler that parses and answers, and does nothing else; and what it costs to
/// write its events to their log and to keep them for analytics. Pushing and counting them is never off.
pub(super) fn verify(bench: &Bench, report: &mut Report) -> Result<()> {
    let settings = &bench.settings;
    let hot = bench.databases.get(settings, "hot", Population::HOT)?;
    let target = hot.verifications(settings)?;
    let without_log = bench.databases.get(settings, "hot-without-log", Population::HOT)?;
    let (bare, keyrack) = (bench.peer("bare", &[])?, hot.start(settings, &[])?);
    let without_log = without_log.start(settings, &[("KEYRACK_EVENT_LOG_BYTES", "0")])?;
    let variants = [
        Variant::new(settings, "bare", &bare, &target),
        Variant::new(settings, "keyrack verify", &keyrack, &target),
        Variant::new(settings, "keyrack verify, no event log", &without_log, &target),
    ];
    let rounds = alternate(settings, &settings.connections, &variants)?;
    let names = ("bare", "keyrack verify");
    let what = "bare handler ÷ verify, CPU per request";
    report.ratio(&rounds, what, names, cpu, Goal::AtLeast(0.75));
    let names = ("keyrack verify", "bare");
    report.ratio(&rounds, "verify ÷ bare handler, throughput", names, throughput, Goal::None);
    let names = ("keyrack verify", "keyrack verify, no event log");
    report.ratio(&rounds, "verify with events and analytics ÷ without, CPU per request", names, cpu, Goal::AtMost(1.05));
    for connections in rounds.connections() {
        let what = format!("writing the event log, CPU µs per request, {connections} connections");
        report.goal(&what, rounds.difference(connections, names, cpu), Goal::None);
    }
    report.runs("verify", &rounds);
    Ok(())
}

/// `ratelimit.limit` against the `limitador` crate.
pub(super) fn limit(bench: &Bench, report: &mut Report) -> Result<()> {
    let settings = &bench.settings;
    let hot = bench.databases.get(settings, "hot", Population::HOT)?;
    let target = keyrack::limits(settings)?;
    let (bare, limitador) = (bench.peer("bare", &[])?, bench.peer("limitador", &[])?);
    let keyrack = hot.start(settings, &[])?;
    let variants = [
        Variant::new(settings, "bare", &bare, &target),
        Variant::new(settings, "limitador", &limitador, &target),
        Variant::new(settings, "keyrack limit", &keyrack, &target),
    ];
    let rounds = alternate(settings, &settings.connections, &variants)?;
    let what = "limit ÷ limitador, CPU per request";
    report.ratio(&rounds, what, ("keyrack limit", "limitador"), cpu, Goal::AtMost(1.0));
    let what = "bare handler ÷ limit, CPU per request";
    report.ratio(&rounds, what, ("bare", "keyrack limit"), cpu, Goal::None);
    report.runs("limit", &rounds);
    Ok(())
}
