//! Instructions per request, counted by callgrind: a figure that a busy machine does not change.
//!
//! Callgrind knows no SHA instructions, so hashing counts for more than it costs; both builds hash the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Bench;
use crate::keyrack::{PLENTY, WINDOW_MS};
use crate::report::{Goal, Report};
use crate::rounds::Spread;
use crate::server::{ROOT_KEY, Server, free_port, mortal};

/// Requests before those that are counted: caches are filled then, and connections made.
const BEFORE: u32 = 300;
const COUNTED: u32 = 2000;
/// Deductions wait for the disk, one after the other.
const COUNTED_PAID: u32 = 300;

/// What requests of this build take, beside those of `BENCH_BASE`.
pub(super) fn instructions(bench: &Bench, report: &mut Report) -> Result<()> {
    let settings = &bench.settings;
    let Some(earlier) = &settings.base else {
        eprintln!("  left out: BENCH_BASE names no other build");
        return Ok(());
    };
    ensure!(Command::new("valgrind").arg("--version").output().is_ok(), "valgrind is missing");
    let mut rounds: [Vec<[f64; 2]>; 3] = Default::default();
    for round in 0..2 {
        let of = |name: &str, program: &Path| {
            let folder = settings.scratch.join(format!("instructions-{name}-{round}"));
            fs::create_dir_all(&folder)?;
            Counting::start(program, folder)?.all()
        };
        let (ours, theirs) = (of("ours", &settings.keyrack)?, of("base", earlier)?);
        for (at, counts) in rounds.iter_mut().enumerate() {
            counts.push([ours[at], theirs[at]]);
        }
    }
    let goals = [("keys.verifyKey", Goal::AtMost(0.92)), ("ratelimit.limit", Goal::None)];
    let goals = goals.into_iter().chain([("keys.verifyKey with credits", Goal::None)]);
    for ((what, goal), counts) in goals.zip(&rounds) {
        let spread = |of: fn(&[f64; 2]) -> f64| Spread::of(counts.iter().map(of).collect());
        report.goal(&format!("{what}, instructions per request"), spread(|[ours, _]| *ours), Goal::None);
        report.goal(&format!("{what} ÷ the earlier build, instructions"), spread(|[a, b]| a / b), goal);
    }
    Ok(())
}

/// A server whose instructions are counted.
struct Counting {
    server: Server,
    folder: PathBuf,
    dumps: u32,
}

impl Counting {
    fn start(program: &Path, folder: PathBuf) -> Result<Counting> {
        let port = free_port()?;
        let mut command = mortal("valgrind");
        command
            .args(["--tool=callgrind", &format!("--callgrind-out-file={}", folder.join("counts").display())])
            .arg(program)
            .arg("serve")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &folder)
            .env("KEYRACK_DATA_DIR", folder.join("data"))
            .env("KEYRACK_LISTEN", format!("127.0.0.1:{port}"))
            .env("KEYRACK_METRICS_LISTEN", "")
            .env("KEYRACK_BOOTSTRAP_ROOT_KEY", ROOT_KEY);
        let server = Server::start(command, port, "/readyz", &folder.join("log"))?;
        Ok(Counting { server, folder, dumps: 0 })
    }

    /// Instructions per verification, per check of a limit, and per verification that is paid.
    fn all(&mut self) -> Result<[f64; 3]> {
        let api = self.server.post("/v2/apis.createApi", &json!({"name": "bench"}).to_string())?;
        let api_id = api.pointer("/data/apiId").and_then(Value::as_str).context("no API")?;
        let limits = json!([{"name": "requests", "limit": PLENTY, "duration": WINDOW_MS, "autoApply": true}]);
        let key = |credits: Option<Value>| {
            let mut body = json!({"apiId": api_id, "externalId": "user_42", "ratelimits": limits});
            if let Some(credits) = credits {
                body["credits"] = credits;
            }
            let made = self.server.post("/v2/keys.createKey", &body.to_string())?;
            let key = made.pointer("/data/key").and_then(Value::as_str).context("no key")?;
            Ok::<_, anyhow::Error>(json!({ "key": key }).to_string())
        };
        let (free, paid) = (key(None)?, key(Some(json!({ "remaining": PLENTY })))?);
        let limit = json!({"namespace": "mail", "identifier": "user_42", "limit": PLENTY, "duration": WINDOW_MS});
        Ok([
            self.per_request("/v2/keys.verifyKey", &free, COUNTED)?,
            self.per_request("/v2/ratelimit.limit", &limit.to_string(), COUNTED)?,
            self.per_request("/v2/keys.verifyKey", &paid, COUNTED_PAID)?,
        ])
    }

    fn per_request(&mut self, path: &str, body: &str, count: u32) -> Result<f64> {
        self.ask(path, body, BEFORE)?;
        self.dump()?;
        self.ask(path, body, count)?;
        Ok(self.dump()? / f64::from(count))
    }

    fn ask(&self, path: &str, body: &str, times: u32) -> Result<()> {
        (0..times).try_for_each(|_| self.server.post(path, body).map(drop))
    }

    /// How many instructions there were since the last dump.
    fn dump(&mut self) -> Result<f64> {
        self.dumps += 1;
        let pid = self.server.first_pid().to_string();
        let told = Command::new("callgrind_control").args(["--dump=counts", &pid]).output()?;
        ensure!(told.status.success(), "callgrind_control failed: {}", String::from_utf8_lossy(&told.stderr));
        let counts = fs::read_to_string(self.folder.join(format!("counts.{}", self.dumps)))?;
        let sum = |line: &str| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")).map(str::to_owned);
        counts.lines().find_map(sum).context("no sum in what callgrind wrote")?.parse().context("no number")
    }
}
