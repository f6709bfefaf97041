//! Benchmarks of Keyrack against its goals and its peers; `benches/run` builds and starts this.
//!
//! `keyrack-bench measure [SECTION…]` measures and prints Markdown; `keyrack-bench peer NAME …` is one of the
//! servers that Keyrack is compared with.

mod keyrack;
mod load;
mod peers;
mod report;
mod rounds;
mod sections;
mod seed;
mod server;
mod settings;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::report::Report;
use crate::sections::{Bench, SECTIONS};
use crate::settings::Settings;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["measure", ref sections @ ..] => measure(sections),
        ["peer", name, ..] => peers::run(name, &arguments[2..]).map(|()| ExitCode::SUCCESS),
        _ => bail!("start benches/run"),
    }
}

/// Measures the sections with these names, or all; the exit code says whether every goal was met.
fn measure(names: &[&str]) -> Result<ExitCode> {
    let known: Vec<_> = SECTIONS.iter().map(|section| section.name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        bail!("there is no section {unknown}; there are: {}", known.join(" "));
    }
    let chosen = || SECTIONS.iter().filter(|section| names.is_empty() || names.contains(&section.name));
    let bench = Bench { settings: Settings::from_environment()?, databases: Default::default() };
    let seconds: u64 = chosen().map(|section| (section.seconds)(&bench.settings)).sum();
    eprintln!("This takes about {} min {} s.", seconds / 60, seconds % 60);
    let mut report = Report::default();
    for section in chosen() {
        let estimate = (section.seconds)(&bench.settings);
        eprintln!("{}: {} (about {estimate} s)", section.name, section.about);
        if let Err(error) = (section.run)(&bench, &mut report) {
            report.failure(section.name, &error);
        }
    }
    std::io::stdout().write_all(report.markdown(&bench.settings).as_bytes())?;
    if report.is_good() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("Not every goal was met.");
    Ok(ExitCode::FAILURE)
}
