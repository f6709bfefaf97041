//! What it costs that credits are on disk before a verification is answered.

use anyhow::{Result, ensure};

use super::{Bench, cpu, throughput};
use crate::keyrack::{Population, knows_flag};
use crate::report::{Goal, Report};
use crate::rounds::{Variant, alternate};

/// Verifications of keys with credits against those without, at the largest number of connections.
pub(super) fn credits(bench: &Bench, report: &mut Report) -> Result<()> {
    let settings = &bench.settings;
    ensure!(
        knows_flag(&settings.keyrack, "--credits-durability")?,
        "this keyrack has no setting for the durability of credits"
    );
    let paid = Population { credits: true, ..Population::HOT };
    let hot = bench.databases.get(settings, "hot", Population::HOT)?;
    let full = bench.databases.get(settings, "credits", paid)?;
    let normal = bench.databases.get(settings, "credits-normal", paid)?;
    let (target, full_target, normal_target) =
        (hot.verifications(settings)?, full.verifications(settings)?, normal.verifications(settings)?);
    let without = hot.start(settings, &[])?;
    let full = full.start(settings, &[("KEYRACK_CREDITS_DURABILITY", "full")])?;
    let normal = normal.start(settings, &[("KEYRACK_CREDITS_DURABILITY", "normal")])?;
    let variants = [
        Variant::new(settings, "without credits", &without, &target),
        Variant::new(settings, "credits, normal", &normal, &normal_target),
        Variant::new(settings, "credits, full", &full, &full_target),
    ];
    let rounds = alternate(settings, &[settings.most_connections()], &variants)?;
    for (name, goal) in [("credits, normal", 0.40), ("credits, full", 0.30)] {
        let what = format!("{name} ÷ without credits, throughput");
        report.ratio(&rounds, &what, (name, "without credits"), throughput, Goal::AtLeast(goal));
    }
    let what = "without credits ÷ credits, full, CPU per request";
    report.ratio(&rounds, what, ("without credits", "credits, full"), cpu, Goal::AtLeast(0.45));
    report.runs("credits", &rounds);
    Ok(())
}
