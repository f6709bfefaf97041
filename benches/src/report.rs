//! What was measured, as the Markdown that goes into benches/README.md.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use crate::load::Run;
use crate::rounds::{Rounds, Spread};
use crate::settings::Settings;

/// What a figure is to reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// Shown beside the others.
    None,
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Goal::AtLeast(bound) => value >= bound,
            Goal::AtMost(bound) => value <= bound,
            Goal::None => true,
        }
    }
}

/// Collects results; the median decides on a goal.
#[derive(Debug, Default)]
pub(crate) struct Report {
    goals: String,
    runs: String,
    failures: String,
    is_missed: bool,
}

impl Report {
    /// A figure and its goal. `what` names its unit.
    pub(crate) fn goal(&mut self, what: &str, spread: Spread, goal: Goal) {
        let bound = match goal {
            Goal::AtLeast(bound) => format!("≥ {}", figure(bound)),
            Goal::AtMost(bound) => format!("≤ {}", figure(bound)),
            Goal::None => "–".to_owned(),
        };
        let verdict = match goal {
            Goal::None => "–",
            goal if goal.is_met(spread.median) => "yes",
            _ => "**no**",
        };
        self.is_missed |= !goal.is_met(spread.median);
        let Spread { median, min, max } = spread;
        let numbers = format!("{} | {} | {}", figure(median), figure(min), figure(max));
        let _ = writeln!(self.goals, "| {what} | {bound} | {numbers} | {verdict} |");
        eprintln!("  {what}: {} (goal {bound}: {})", figure(median), verdict.replace('*', ""));
    }

    /// The ratio of a figure of two variants, for each number of connections.
    pub(crate) fn ratio(
        &mut self,
        rounds: &Rounds,
        what: &str,
        names: (&str, &str),
        figure: fn(&Run) -> f64,
        goal: Goal,
    ) {
        for connections in rounds.connections() {
            let what = format!("{what}, {connections} connections");
            self.goal(&what, rounds.ratio(connections, names, figure), goal);
        }
    }

    /// What each variant did.
    pub(crate) fn runs(&mut self, section: &str, rounds: &Rounds) {
        for connections in rounds.connections() {
            for name in &rounds.names {
                let column = |figure: fn(&Run) -> f64| {
                    let Spread { median, min, max } = rounds.spread(connections, name, figure);
                    format!("{} ({} to {})", self::figure(median), self::figure(min), self::figure(max))
                };
                let _ = writeln!(
                    self.runs,
                    "| {section} | {name} | {connections} | {} | {} | {} | {} |",
                    column(|run| run.cpu_us),
                    column(|run| run.throughput),
                    column(|run| run.p50_us),
                    column(|run| run.p99_us),
                );
            }
        }
    }

    /// A section that could not be measured.
    pub(crate) fn failure(&mut self, section: &str, error: &anyhow::Error) {
        eprintln!("  {section} FAILED: {error:#}");
        let _ = writeln!(self.failures, "- {section}: not measured, {error:#}");
    }

    /// Whether every goal was met and every section measured.
    pub(crate) fn is_good(&self) -> bool {
        !self.is_missed && self.failures.is_empty()
    }

    /// All of it.
    pub(crate) fn markdown(&self, settings: &Settings) -> String {
        let mut text = conditions(settings);
        if !self.goals.is_empty() {
            text.push_str("\n| measure | goal | median | min | max | met |\n|---|---|---|---|---|---|\n");
            text.push_str(&self.goals);
        }
        if !self.runs.is_empty() {
            text.push_str("\nMedian (minimum to maximum) of the rounds:\n\n");
            text.push_str(
                "| section | variant | connections | CPU µs per request | requests/s | p50 µs | p99 µs |\n",
            );
            text.push_str("|---|---|---|---|---|---|---|\n");
            text.push_str(&self.runs);
        }
        if !self.failures.is_empty() {
            let _ = write!(text, "\nFailures:\n\n{}", self.failures);
        }
        text
    }
}

/// A number with the digits that mean something.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => {
            let digits = format!("{value:.0}");
            let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
            groups.join(",")
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The machine, the versions and the settings.
fn conditions(settings: &Settings) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let gib = kib.and_then(|kib| kib.parse::<f64>().ok()).map_or(0.0, |kib| kib / 1024.0 / 1024.0);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let connections: Vec<_> = settings.connections.iter().map(u32::to_string).collect();
    let locked = |package| locked_version(settings, package);
    let lines = [
        format!("- machine: {cores} cores of {}, {gib:.0} GiB", model.map_or("unknown", |(_, name)| name)),
        format!("- system: Linux {}", said("uname", &["-r"])),
        format!(
            "- versions: {}, {}, {}, {}, Node {}, better-auth {}, axum {}, limitador {}, redis (crate) {}, sqlx {}",
            said(&settings.keyrack, &["--version"]),
            said("rustc", &["--version"]),
            said("wrk", &["-v"]).split(" [").next().unwrap_or_default(),
            said("redis-server", &["--version"]).split(" sha").next().unwrap_or_default(),
            said("node", &["--version"]),
            better_auth_version(settings),
            locked("axum"),
            locked("limitador"),
            locked("redis"),
            locked("sqlx"),
        ),
        format!(
            "- settings: {} s per run, {} rounds, {} connections, {} threads of the load generator, up to {} keys",
            settings.seconds,
            settings.rounds,
            connections.join(" and "),
            settings.threads,
            figure(f64::from(settings.keys)),
        ),
    ];
    lines.join("\n") + "\n"
}

/// The first line that a program prints.
fn said(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").trim().to_owned()
}

/// The version of a crate that the peers were built with.
fn locked_version(settings: &Settings, package: &str) -> String {
    let lock = fs::read_to_string(settings.folder.join("Cargo.lock")).unwrap_or_default();
    let entry = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split_once(&entry).and_then(|(_, rest)| rest.split_once('"'));
    version.map_or("unknown", |(version, _)| version).to_owned()
}

fn better_auth_version(settings: &Settings) -> String {
    let file = fs::read_to_string(settings.folder.join("better-auth/package.json")).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_str(&file).unwrap_or_default();
    package["dependencies"]["better-auth"].as_str().unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_is_noticed() {
        let spread = |median| Spread { median, min: 0.0, max: 9.0 };
        for (goal, good, bad) in [(Goal::AtLeast(0.75), 0.75, 0.74), (Goal::AtMost(3.0), 3.0, 3.1)] {
            let mut report = Report::default();
            report.goal("ratio", spread(good), goal);
            assert!(report.is_good());
            report.goal("ratio", spread(bad), goal);
            assert!(!report.is_good());
        }
    }

    #[test]
    fn figures_have_the_digits_that_mean_something() {
        for (value, text) in
            [(0.754, "0.75"), (42.34, "42.3"), (361.4, "361"), (1_234.5, "1,234"), (1_000_000.0, "1,000,000")]
        {
            assert_eq!(figure(value), text);
        }
    }
}
