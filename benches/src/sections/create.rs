//! What issuing a key costs, against an earlier build.

use anyhow::Result;
use serde_json::json;

use super::flat::{CREATORS, create as create_keys};
use super::{Bench, cpu};
use crate::keyrack::{Database, PERMISSION, Population};
use crate::report::{Goal, Report};
use crate::rounds::{Variant, alternate};
use crate::settings::Settings;

/// `keys.createKey` with credits, an identity and a permission: this build and the one of `BENCH_BASE` in rotation.
pub(super) fn create(bench: &Bench, report: &mut Report) -> Result<()> {
    let settings = &bench.settings;
    let Some(base) = &settings.base else {
        eprintln!("  left out: BENCH_BASE names no other build");
        return Ok(());
    };
    let base = Settings { keyrack: base.clone(), ..settings.clone() };
    let population = Population::many(1000);
    let body = |database: &Database| {
        json!({"apiId": database.api_id, "externalId": "user_42", "permissions": [PERMISSION],
               "credits": {"remaining": 1000}})
        .to_string()
    };
    let (ours, theirs) = (
        bench.databases.get(settings, "create", population)?,
        bench.databases.get(&base, "create-base", population)?,
    );
    let (server, base_server) = (ours.start(settings, &[])?, theirs.start(&base, &[])?);
    let (body, base_body) = (body(&ours), body(&theirs));
    let variants = [
        Variant::loaded_by("this build", |clients, seconds| create_keys(&server, &body, clients, seconds)),
        Variant::loaded_by("BENCH_BASE", |clients, seconds| create_keys(&base_server, &base_body, clients, seconds)),
    ];
    let rounds = alternate(settings, &[CREATORS], &variants)?;
    let what = "keys.createKey with credits, identity and permission ÷ the earlier build, CPU per request";
    report.ratio(&rounds, what, ("this build", "BENCH_BASE"), cpu, Goal::AtMost(0.6));
    report.runs("create", &rounds);
    Ok(())
}
