//! A server under load: starting it, asking it, what it costs the machine, ending it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// What callers authenticate with, at Keyrack and at the peers that check it.
pub(crate) const ROOT_KEY: &str = "bench-root-key-3d9a51c07e62f84b-not-a-secret";

const START_LIMIT: Duration = Duration::from_secs(300);
/// How long a process is given that says nothing when it is ready.
const BEHIND_STARTS_IN: Duration = Duration::from_millis(500);
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Linux counts CPU time for programs in hundredths of a second, whatever its timer does.
const MICROSECONDS_PER_TICK: f64 = 10_000.0;

/// A running server, of one process or several; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    processes: Vec<Child>,
    port: u16,
    agent: ureq::Agent,
    /// How long it took from the start of the last process until it was ready.
    pub(crate) started_in: Duration,
}

/// A port of the loopback interface that nothing listens on.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A command that is killed when this program ends, however it ends.
pub(crate) fn mortal(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

impl Server {
    /// Starts a process that listens on `port`, and waits until `ready_path` answers 200. What it prints goes
    /// to `log`.
    pub(crate) fn start(command: Command, port: u16, ready_path: &str, log: &Path) -> Result<Server> {
        let mut server = Server::without_process(port);
        let started = Instant::now();
        server.add(command, log)?;
        let url = server.url(ready_path);
        while !server.agent.get(&url).call().is_ok_and(|answer| answer.status().as_u16() == 200) {
            let has_ended = server.processes[0].try_wait()?.is_some();
            if has_ended || started.elapsed() > START_LIMIT {
                bail!("a server did not start; the end of what it wrote:\n{}", last_lines(log));
            }
            thread::sleep(Duration::from_millis(2));
        }
        server.started_in = started.elapsed();
        Ok(server)
    }

    /// Starts a process that `front` talks to, and then `front`; what both use counts.
    pub(crate) fn behind(command: Command, log: &Path, front: impl FnOnce() -> Result<Server>) -> Result<Server> {
        let mut behind = Server::without_process(0);
        behind.add(command, log)?;
        thread::sleep(BEHIND_STARTS_IN);
        let mut server = front()?;
        server.processes.append(&mut behind.processes);
        Ok(server)
    }

    fn without_process(port: u16) -> Server {
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_LIMIT)).build();
        Server { processes: Vec::new(), port, agent: config.into(), started_in: Duration::ZERO }
    }

    fn add(&mut self, mut command: Command, log: &Path) -> Result<()> {
        let log = File::create(log)?;
        let program = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.processes.push(command.spawn().with_context(|| format!("cannot start {program}"))?);
        Ok(())
    }

    /// The process that was started first.
    pub(crate) fn first_pid(&self) -> u32 {
        self.processes[0].id()
    }

    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The answer to a JSON body; anything but 200 is an error.
    pub(crate) fn post(&self, path: &str, body: &str) -> Result<Value> {
        let mut answer = self
            .agent
            .post(self.url(path))
            .header("authorization", format!("Bearer {ROOT_KEY}"))
            .header("content-type", "application/json")
            .send(body)?;
        let text = answer.body_mut().read_to_string()?;
        if answer.status().as_u16() != 200 {
            bail!("{path} answered {}: {text}", answer.status());
        }
        serde_json::from_str(&text).with_context(|| format!("{path} answered {text}"))
    }

    /// The status of the answer to a body, whatever it is.
    pub(crate) fn ask(&self, path: &str, body: &str) -> Result<u16> {
        self.ask_as(ROOT_KEY, path, body)
    }

    /// The same with a root key.
    pub(crate) fn ask_as(&self, root_key: &str, path: &str, body: &str) -> Result<u16> {
        let mut answer = self
            .agent
            .post(self.url(path))
            .header("authorization", format!("Bearer {root_key}"))
            .header("content-type", "application/json")
            .send(body)?;
        answer.body_mut().read_to_vec()?;
        Ok(answer.status().as_u16())
    }

    /// CPU time that its processes have used so far, user and system, in microseconds.
    pub(crate) fn cpu_us(&self) -> Result<f64> {
        let mut ticks = 0;
        for process in &self.processes {
            let stat = fs::read_to_string(format!("/proc/{}/stat", process.id()))?;
            // The second field is the program's name in parentheses, which may hold anything.
            let (_, fields) = stat.rsplit_once(") ").context("/proc/<pid>/stat has another form")?;
            let times: Vec<u64> = fields.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
            ticks += times.iter().sum::<u64>();
        }
        Ok(ticks as f64 * MICROSECONDS_PER_TICK)
    }

    /// Resident memory of its processes in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most resident memory that its processes had since [`Server::forget_peak`], in bytes.
    pub(crate) fn peak_bytes(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// Begins to look for a new peak of resident memory.
    pub(crate) fn forget_peak(&self) -> Result<()> {
        for process in &self.processes {
            // See proc_pid_clear_refs(5).
            fs::write(format!("/proc/{}/clear_refs", process.id()), "5")?;
        }
        Ok(())
    }

    fn memory(&self, name: &str) -> Result<u64> {
        let mut bytes = 0;
        for process in &self.processes {
            let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no such line of memory")?;
            bytes += kib.parse::<u64>()? * 1024;
        }
        Ok(bytes)
    }
}

/// The end of a log.
fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

impl Drop for Server {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // Fails only when it has ended already, which is what is wanted.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
