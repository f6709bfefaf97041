//! What requests cost against an earlier build, both in rotation.

use anyhow::Result;
use serde_json::json;

use super::flat::{CREATORS, create};
use super::{Bench, cpu, throughput};
use crate::keyrack::{self, Database, PERMISSION, Population};
use crate::load::Target;
use crate::report::{Goal, Report};
use crate::rounds::{Variant, alternate};
use crate::settings::Settings;

/// A twentieth more than before is what rounds differ by.
const NO_WORSE: Goal = Goal::AtMost(1.05);
const NAMES: (&str, &str) = ("this build", "BENCH_BASE");

/// The database of one build, and that build.
type Of<'a> = (&'a Settings, &'a Database);

/// Everything that a user calls often, in this build and the one of `BENCH_BASE`.
pub(super) fn base(bench: &Bench, report: &mut Report) -> Result<()> {
    let settings = &bench.settings;
    let Some(earlier) = &settings.base else {
        eprintln!("  left out: BENCH_BASE names no other build");
        return Ok(());
    };
    let earlier = Settings { keyrack: earlier.clone(), ..settings.clone() };
    let databases = |name: &str, population| {
        let ours = bench.databases.get(settings, name, population)?;
        Ok::<_, anyhow::Error>((ours, bench.databases.get(&earlier, &format!("{name}-base"), population)?))
    };
    let (hot, hot_base) = databases("hot", Population::HOT)?;
    let both = [(settings, &*hot), (&earlier, &*hot_base)];
    compare(bench, report, "keys.verifyKey", both, |(settings, database)| database.verifications(settings))?;
    compare(bench, report, "ratelimit.limit", both, |(settings, _)| keyrack::limits(settings))?;
    let paid = Population { credits: true, ..Population::HOT };
    let (credits, credits_base) = databases("credits", paid)?;
    let both = [(settings, &*credits), (&earlier, &*credits_base)];
    compare(bench, report, "keys.verifyKey with credits", both, |(settings, database)| {
        database.verifications(settings)
    })?;
    let (few, few_base) = databases("keys-10000", Population::many(10_000))?;
    let both = [(settings, &*few), (&earlier, &*few_base)];
    compare(bench, report, "apis.listKeys", both, |(settings, database)| database.pages(settings))?;
    creations(report, settings, both)
}

fn compare(
    bench: &Bench,
    report: &mut Report,
    what: &str,
    [ours, theirs]: [Of<'_>; 2],
    target: impl Fn(Of<'_>) -> Result<Target>,
) -> Result<()> {
    let settings = &bench.settings;
    let targets = (target(ours)?, target(theirs)?);
    let (server, base_server) = (ours.1.start(ours.0, &[])?, theirs.1.start(theirs.0, &[])?);
    let variants = [
        Variant::new(settings, NAMES.0, &server, &targets.0),
        Variant::new(settings, NAMES.1, &base_server, &targets.1),
    ];
    let rounds = alternate(settings, &[settings.most_connections()], &variants)?;
    report.ratio(&rounds, &format!("{what} ÷ the earlier build, CPU per request"), NAMES, cpu, NO_WORSE);
    report.ratio(&rounds, &format!("{what} ÷ the earlier build, throughput"), NAMES, throughput, Goal::None);
    report.runs(&format!("{what}, builds"), &rounds);
    Ok(())
}

/// `keys.createKey` with credits, an identity and a permission.
fn creations(report: &mut Report, settings: &Settings, [ours, theirs]: [Of<'_>; 2]) -> Result<()> {
    let body = |database: &Database| {
        json!({"apiId": database.api_id, "externalId": "user_42", "permissions": [PERMISSION],
               "credits": {"remaining": 1000}})
        .to_string()
    };
    let (server, base_server) = (ours.1.start(ours.0, &[])?, theirs.1.start(theirs.0, &[])?);
    let (body, base_body) = (body(ours.1), body(theirs.1));
    let variants = [
        Variant::loaded_by(NAMES.0, |clients, seconds| create(&server, &body, clients, seconds)),
        Variant::loaded_by(NAMES.1, |clients, seconds| create(&base_server, &base_body, clients, seconds)),
    ];
    let rounds = alternate(settings, &[CREATORS], &variants)?;
    let what = "keys.createKey with credits, identity and permission ÷ the earlier build";
    report.ratio(&rounds, &format!("{what}, CPU per request"), NAMES, cpu, Goal::AtMost(0.6));
    report.ratio(&rounds, &format!("{what}, throughput"), NAMES, throughput, Goal::None);
    report.runs("keys.createKey, builds", &rounds);
    Ok(())
}
