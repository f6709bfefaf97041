//! One run: a server under load for a few seconds, and what that cost.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::server::{ROOT_KEY, Server};
use crate::settings::Settings;

/// Work that a request leaves behind, such as its event, is done by then.
const SETTLING: Duration = Duration::from_millis(50);

/// What a run showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// Completed requests per second.
    pub(crate) throughput: f64,
    /// Median latency in microseconds.
    pub(crate) p50_us: f64,
    /// The latency that one request in a hundred was beyond, in microseconds.
    pub(crate) p99_us: f64,
    /// CPU time of the server's processes per completed request, in microseconds.
    pub(crate) cpu_us: f64,
}

/// What the client saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// What to ask a server, over and over.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    path: &'static str,
    bodies: PathBuf,
    first_body: String,
    /// JSON pointer to what is `true` in a good answer, or to what must be there.
    good: &'static str,
}

impl Target {
    /// Writes the bodies to a file of this name.
    pub(crate) fn new(
        settings: &Settings,
        name: &str,
        path: &'static str,
        good: &'static str,
        bodies: &[String],
    ) -> Result<Target> {
        let file = settings.scratch.join(format!("{name}.bodies"));
        fs::write(&file, bodies.join("\n"))?;
        Ok(Target { path, bodies: file, first_body: bodies.first().context("no bodies")?.clone(), good })
    }

    /// Asks once, and refuses a server that does not answer well.
    pub(crate) fn check(&self, server: &Server) -> Result<()> {
        let answer = server.post(self.path, &self.first_body)?;
        let is_good = match answer.pointer(self.good) {
            Some(Value::Bool(said)) => *said,
            Some(Value::Array(items)) => !items.is_empty(),
            _ => false,
        };
        ensure!(is_good, "{} answered {answer}, which is not what is to be measured", self.path);
        Ok(())
    }
}

/// Loads a server with `wrk` for `seconds`; a run with any other answer than 2xx is an error.
pub(crate) fn wrk(
    settings: &Settings,
    server: &Server,
    target: &Target,
    connections: u32,
    seconds: u64,
) -> Result<Run> {
    paced(settings, server, target, (connections, 0), seconds)
}

/// The same, with connections that wait so many ms before each request.
pub(crate) fn paced(
    settings: &Settings,
    server: &Server,
    target: &Target,
    (connections, pause_ms): (u32, u32),
    seconds: u64,
) -> Result<Run> {
    target.check(server)?;
    let run = measured(server, || {
        let output = Command::new("wrk")
            .arg(format!("--threads={}", settings.threads))
            .arg(format!("--connections={connections}"))
            .arg(format!("--duration={seconds}s"))
            .arg("--timeout=10s")
            .arg("--script")
            .arg(settings.folder.join("load.lua"))
            .arg(server.url(target.path))
            .arg("--")
            .arg(&target.bodies)
            .arg(ROOT_KEY)
            .arg(pause_ms.to_string())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run wrk")?;
        read(&String::from_utf8_lossy(&output.stdout))
    })?;
    // Limits and balances must have lasted.
    target.check(server)?;
    Ok(run)
}

/// The line that load.lua writes.
fn read(output: &str) -> Result<Seen> {
    let line = output.lines().find_map(|line| line.strip_prefix("RESULT "));
    let numbers: Vec<u64> = line
        .with_context(|| format!("wrk wrote no result: {output}"))?
        .split(' ')
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [requests, duration_us, bad_answers, faults, p50_us, p99_us] = numbers[..] else {
        bail!("wrk wrote {output}");
    };
    ensure!(bad_answers == 0, "{bad_answers} of {requests} answers were not 2xx: the run does not count");
    ensure!(faults == 0, "{faults} connections failed or timed out: the run does not count");
    ensure!(requests > 0, "no request was completed");
    Ok(Seen { requests, seconds: duration_us as f64 / 1e6, p50_us: p50_us as f64, p99_us: p99_us as f64 })
}

/// Runs `load` and adds what it cost the server.
pub(crate) fn measured(server: &Server, load: impl FnOnce() -> Result<Seen>) -> Result<Run> {
    let before = server.cpu_us()?;
    let seen = load()?;
    thread::sleep(SETTLING);
    let spent = server.cpu_us()? - before;
    let requests = seen.requests as f64;
    Ok(Run {
        throughput: requests / seen.seconds,
        p50_us: seen.p50_us,
        p99_us: seen.p99_us,
        cpu_us: spent / requests,
    })
}
