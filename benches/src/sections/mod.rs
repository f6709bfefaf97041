//! What is measured, a section per question.

mod analytics;
mod assistants;
mod attack;
mod base;
mod bodies;
mod credits;
mod flat;
mod hot_path;
mod import;
mod instructions;
mod management;
mod peers;
mod scale;
mod tail;

use std::rc::Rc;

use anyhow::Result;

use crate::keyrack::{Database, Databases, Population};
use crate::load::Run;
use crate::report::Report;
use crate::server::{Server, free_port, mortal};
use crate::settings::Settings;

/// What the sections share.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) settings: Settings,
    pub(crate) databases: Databases,
}

/// One of the things that can be measured alone.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// About how long it takes, in seconds.
    pub(crate) seconds: fn(&Settings) -> u64,
    pub(crate) run: fn(&Bench, &mut Report) -> Result<()>,
}

/// All sections, in the order they run in.
pub(crate) const SECTIONS: &[Section] = &[
    Section {
        name: "verify",
        about: "a verification against answering at all",
        seconds: |settings| settings.seconds_for(3, settings.connections.len()),
        run: hot_path::verify,
    },
    Section {
        name: "limit",
        about: "a check of a limit against the limitador crate",
        seconds: |settings| settings.seconds_for(3, settings.connections.len()),
        run: hot_path::limit,
    },
    Section {
        name: "instructions",
        about: "instructions per request against an earlier build (BENCH_BASE)",
        seconds: |_| 150,
        run: instructions::instructions,
    },
    Section {
        name: "peers",
        about: "a verification against better-auth, Redis and SQL",
        seconds: |settings| settings.seconds_for(6, settings.connections.len()) + 15,
        run: peers::peers,
    },
    Section {
        name: "credits",
        about: "a verification that spends credits against one that does not",
        seconds: |settings| settings.seconds_for(3, 1),
        run: credits::credits,
    },
    Section {
        name: "tail",
        about: "verifications while keys are created and listed",
        seconds: |settings| settings.seconds_for(2, settings.connections.len()) + 10,
        run: tail::tail,
    },
    Section {
        name: "memory",
        about: "memory per resident key",
        seconds: |settings| 10 + u64::from(settings.keys / 30_000),
        run: scale::memory,
    },
    Section {
        name: "start",
        about: "a start with many keys",
        seconds: |settings| settings.rounds as u64 * (1 + u64::from(settings.keys / 250_000)),
        run: scale::start,
    },
    Section {
        name: "base",
        about: "what is called often against an earlier build, that of BENCH_BASE",
        seconds: |settings| if settings.base.is_some() { settings.seconds_for(10, 1) + 20 } else { 0 },
        run: base::base,
    },
    Section {
        name: "import",
        about: "an import against inserting the same rows, and paid verifications beside it",
        seconds: |_| 120,
        run: import::import,
    },
    Section {
        name: "management",
        about: "the overview of a workspace with many keys, and a long audit log",
        seconds: |_| 60,
        run: management::management,
    },
    Section { name: "bodies", about: "requests as large as they may be", seconds: |_| 20, run: bodies::bodies },
    Section {
        name: "attack",
        about: "verifications while another workspace floods the instance",
        seconds: |settings| settings.seconds_for(2, 1) + 10,
        run: attack::attack,
    },
    Section {
        name: "mcp",
        about: "calls of assistants against HTTP, and the list of tools",
        seconds: |settings| settings.seconds_for(3, 1),
        run: assistants::assistants,
    },
    Section {
        name: "beside",
        about: "verifications at a fixed rate beside a heavy question and beside compaction (BENCH_EVENTS)",
        seconds: |settings| settings.seconds_for(4, 1) + 60,
        run: analytics::beside,
    },
    Section {
        name: "idle",
        about: "memory of an idle server with and without the engine of analytics (BENCH_WITHOUT_ENGINE)",
        seconds: |settings| settings.rounds as u64 * 7,
        run: analytics::idle,
    },
    Section {
        name: "flat",
        about: "verifying, creating and listing in small and large databases",
        // What was created is deleted again, which takes as long.
        seconds: |settings| settings.seconds_for(12, 1) + 20,
        run: flat::flat,
    },
];

impl Bench {
    /// Starts one of the peers of this program, with these arguments after its port.
    fn peer(&self, name: &str, arguments: &[&str]) -> Result<Server> {
        let port = free_port()?;
        let mut command = mortal(std::env::current_exe()?);
        command.args(["peer", name, &port.to_string()]).args(arguments);
        Server::start(command, port, "/readyz", &self.settings.scratch.join(format!("{name}.log")))
    }

    /// The largest database.
    fn largest(&self) -> Result<Rc<Database>> {
        self.many(self.settings.keys)
    }

    /// A database of this many keys, some with owners.
    fn many(&self, keys: u32) -> Result<Rc<Database>> {
        self.databases.get(&self.settings, &format!("keys-{keys}"), Population::many(keys))
    }
}

/// CPU time per request.
fn cpu(run: &Run) -> f64 {
    run.cpu_us
}

/// Requests per second.
fn throughput(run: &Run) -> f64 {
    run.throughput
}

/// Median latency.
fn p50(run: &Run) -> f64 {
    run.p50_us
}

/// The latency that one in a hundred is beyond.
fn p99(run: &Run) -> f64 {
    run.p99_us
}
