//! `keyrack migration import FILE`: keys of another system from a file, through a running server.
//!
//! The file is sent by portions to `keys.migrateKeys`. A row that is wrong goes to the report, and the others go
//! in. How far it came is noted beside the file, so that the same command goes on where an earlier one was cut
//! off; whatever was sent twice is there once, since the server knows hashes that it has.

mod journal;
mod rows;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use keyrack_core::catalogue;
use keyrack_core::clock::Clock;
use keyrack_core::keys::imported::Algorithm;
use keyrack_core::operations::keys::MigrateKeys;
use serde_json::{Value, json};

use crate::api::{Failure, Inputs, connection};
use crate::printable;
use crate::remote::Remote;
use journal::{Journal, Progress};
use keyrack_core::calendar::UnixMs;
use rows::{COLUMNS, Row};

/// Keys of a request at most.
const PORTION_KEYS: usize = 1000;
/// Bytes of the keys of a request at most.
const PORTION_BYTES: usize = 200 * 1024;
/// How often a portion is sent when the server does not answer or says that it cannot now.
const TRIES: u32 = 5;

/// The command below `keyrack migration`.
pub(crate) fn command() -> Command {
    let text = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let columns = COLUMNS.map(|(name, what)| format!("  {name:<15} {what}")).join("\n");
    Command::new("import")
        .about("Imports the keys of a .csv or .jsonl file through a running server")
        .after_help(format!(
            "A .jsonl file has a key per line, as keys.migrateKeys takes them:\n  \
             {{\"hash\": \"ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=\", \"externalId\": \"user_42\"}}\n\n\
             A .csv file names its columns in the first line:\n  \
             hash,externalId,permissions,remaining\n  \
             ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=,user_42,docs.read|docs.write,1000\n\n\
             Columns:\n{columns}\n\n\
             It is cut off? The same command goes on where it stopped. Rows that are wrong go to the report, the \
             others go in.\nExit codes: 0 every key is there, 1 some are not, 2 usage, 3 authentication, 4 not found, \
             5 rate limited."
        ))
        .arg(Arg::new("file").value_name("FILE").required(true).value_parser(value_parser!(PathBuf)).help(
            "The keys: FILE.csv, FILE.jsonl or FILE.ndjson",
        ))
        .arg(text("migration", "ID").required(true).help("From `keyrack migration create`"))
        .arg(text("api", "ID").required(true).help("The API that the keys belong to from now on"))
        .arg(
            text("algorithm", "NAME")
                .value_parser(clap::builder::PossibleValuesParser::new(Algorithm::ALL.map(Algorithm::name)))
                .help("The migration's, to check hashes before anything is sent [default: any]"),
        )
        .arg(flag("dry-run").help("Check the form of every row on this machine and send nothing: what the server has is not asked"))
        .arg(flag("restart").help("Begin at the first row, whatever an earlier run did"))
        .arg(text("report", "FILE").help("Where rows that are left out go [default: FILE.report.jsonl]"))
        .args(connection::arguments())
}

/// Runs the command.
pub(crate) async fn run(matches: &ArgMatches) -> ExitCode {
    match execute(matches).await {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

async fn execute(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let given = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let file = matches.get_one::<PathBuf>("file").cloned().unwrap_or_default();
    let rows = rows::open(&file).map_err(Failure::Usage)?;
    let size = std::fs::metadata(&file).map(|metadata| metadata.len()).unwrap_or_default();
    let algorithm = matches.get_one::<String>("algorithm").and_then(|name| Algorithm::named(name));
    let checks = Checks { migration: given("migration"), api: given("api"), algorithm };
    let journal = Journal::beside(&file, matches.get_one::<String>("report"));
    let progress = Progress { of: (checks.migration.clone(), checks.api.clone(), size), ..Progress::default() };
    let mut import = Import { checks, journal, progress, remote: None, portion: Vec::new(), bytes: 0 };
    if !matches.get_flag("dry-run") {
        import.remote = Some(Arc::new(connection::connect(
            &connection::settings(matches)?,
            matches,
            &mut Inputs::of_process(),
        )?));
        let begun = import.journal.begin(import.progress.of.clone(), matches.get_flag("restart"));
        import.progress = begun.map_err(Failure::Output)?;
    }
    if import.progress.line > 0 {
        eprintln!("going on after line {}; --restart begins anew", import.progress.line);
    }
    import.all(rows).await?;
    Ok(import.conclude(&file))
}

/// What is checked of a row here, so that a request is refused for none of them.
struct Checks {
    migration: String,
    api: String,
    algorithm: Option<Algorithm>,
}

impl Checks {
    /// What is wrong with a key.
    fn fault(&self, key: &Value) -> Option<String> {
        let schema = catalogue::request_schema::<MigrateKeys>();
        if let Some(fault) = schema.faults(&self.body(std::slice::from_ref(key))).into_iter().next() {
            let place = fault.location.trim_start_matches("body.keys[0]").trim_start_matches('.').to_owned();
            return Some(format!("{place}: {}", fault.message));
        }
        if let Some(expires) =
            key["expires"].as_i64().map(UnixMs::new).filter(|expires| *expires <= Clock::system().now())
        {
            return Some(format!(
                "expires: {} is past ({}); Unix milliseconds are needed",
                expires.get(),
                expires.rfc3339()
            ));
        }
        let hash = key["hash"].as_str().unwrap_or_default();
        let algorithms = self.algorithm.as_ref().map_or(&Algorithm::ALL[..], std::slice::from_ref);
        if algorithms.iter().any(|algorithm| algorithm.stored_form(hash).is_some()) {
            return None;
        }
        Some(format!("hash: must be {}", algorithms.first().map(|algorithm| algorithm.form()).unwrap_or_default()))
    }

    fn body(&self, keys: &[Value]) -> Value {
        json!({ "migrationId": self.migration, "apiId": self.api, "keys": keys })
    }
}

struct Import {
    checks: Checks,
    journal: Journal,
    progress: Progress,
    /// Nobody in a dry run.
    remote: Option<Arc<Remote>>,
    /// Keys to be sent next, with their lines.
    portion: Vec<(u64, Value)>,
    bytes: usize,
}

impl Import {
    async fn all(&mut self, rows: impl Iterator<Item = Result<Row, String>>) -> Result<(), Failure> {
        let done = self.progress.line;
        for row in rows {
            let row = row.map_err(Failure::Usage)?;
            if row.line <= done {
                continue;
            }
            let key = match row.key {
                Ok(key) => self.checks.fault(&key).map_or(Ok(key.clone()), |fault| Err((Some(key), fault))),
                Err(fault) => Err((None, fault)),
            };
            match key {
                Ok(key) => {
                    self.bytes += key.to_string().len();
                    self.portion.push((row.line, key));
                }
                Err((key, fault)) => self.left_out(row.line, key.as_ref().map(|key| &key["hash"]), &fault)?,
            }
            if self.portion.len() >= PORTION_KEYS || self.bytes >= PORTION_BYTES {
                self.send().await?;
            }
        }
        self.send().await
    }

    /// Sends the portion; keys that the server finds wrong are left out of it and of the next try.
    async fn send(&mut self) -> Result<(), Failure> {
        self.bytes = 0;
        let mut portion = std::mem::take(&mut self.portion);
        let Some(last) = portion.last().map(|(line, _)| *line) else { return Ok(()) };
        let Some(remote) = self.remote.clone() else {
            self.progress.imported += portion.len() as u64;
            return Ok(());
        };
        while !portion.is_empty() {
            let keys: Vec<Value> = portion.iter().map(|(_, key)| key.clone()).collect();
            let answer = call(&remote, &self.checks.body(&keys)).await?;
            if answer.is_success() {
                self.take(&portion, &answer.body["data"])?;
                break;
            }
            let wrong = wrong_keys(&answer.body["error"]["errors"]);
            if wrong.is_empty() {
                return Err(Failure::Refused(answer));
            }
            for (index, reason) in wrong.iter().rev() {
                if *index < portion.len() {
                    let (line, key) = portion.remove(*index);
                    self.left_out(line, Some(&key["hash"]), reason)?;
                }
            }
        }
        self.progress.line = last;
        self.journal.note(&self.progress).map_err(Failure::Output)?;
        self.show();
        Ok(())
    }

    /// Counts what the server has done with a portion.
    fn take(&mut self, portion: &[(u64, Value)], data: &Value) -> Result<(), Failure> {
        let migrated = data["migrated"].as_array().map_or(0, Vec::len);
        self.progress.imported += migrated as u64;
        for failure in data["failures"].as_array().into_iter().flatten() {
            let index = failure["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            let Some((line, key)) = index.and_then(|index| portion.get(index)) else { continue };
            let reason = failure["reason"].as_str().unwrap_or_default();
            self.progress.known += 1;
            self.journal.report(*line, Some(&key["hash"]), reason).map_err(Failure::Output)?;
        }
        Ok(())
    }

    fn left_out(&mut self, line: u64, hash: Option<&Value>, reason: &str) -> Result<(), Failure> {
        self.progress.failed += 1;
        if self.remote.is_none() {
            eprintln!("line {line}: {}", printable::line(reason));
            return Ok(());
        }
        self.journal.report(line, hash, reason).map_err(Failure::Output)
    }

    fn show(&self) {
        let Progress { line, imported, known, failed, .. } = &self.progress;
        let text = format!("line {line}: {imported} imported, {known} known already, {failed} left out");
        if std::io::stderr().is_terminal() {
            eprint!("\r\u{1b}[K{text}");
        } else {
            eprintln!("{text}");
        }
    }

    fn conclude(&self, file: &Path) -> ExitCode {
        let Progress { imported, known, failed, .. } = &self.progress;
        let Some(_) = &self.remote else {
            eprintln!("{}: {imported} rows are right, {failed} are not; nothing was sent", file.display());
            return if *failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        };
        self.journal.end();
        if std::io::stderr().is_terminal() {
            eprintln!();
        }
        eprintln!("{}: {imported} imported, {known} known already, {failed} left out", file.display());
        if known + failed > 0 {
            eprintln!("why is in {}", self.journal.report.display());
        }
        if *failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Calls the server, again after a pause while it cannot answer.
async fn call(remote: &Remote, body: &Value) -> Result<crate::remote::Answer, Failure> {
    for attempt in 1.. {
        let outcome = remote.call("keys.migrateKeys", body).await;
        let may_pass = match &outcome {
            Ok(answer) => matches!(answer.status, 408 | 429 | 500..),
            Err(_) => true,
        };
        if !may_pass || attempt == TRIES {
            return Ok(outcome?);
        }
        tokio::time::sleep(Duration::from_secs(u64::from(attempt))).await;
    }
    Err(Failure::Usage("no try was made".to_owned()))
}

/// The places of the keys that a refusal is about, in order, each with what is wrong.
fn wrong_keys(faults: &Value) -> Vec<(usize, String)> {
    let mut wrong: Vec<(usize, String)> = Vec::new();
    for fault in faults.as_array().into_iter().flatten() {
        let place = fault["location"].as_str().unwrap_or_default();
        let index = place.strip_prefix("body.keys[").and_then(|rest| rest.split(']').next());
        let Some(index) = index.and_then(|index| index.parse().ok()) else { continue };
        if !wrong.iter().any(|(known, _)| *known == index) {
            wrong.push((index, fault["message"].as_str().unwrap_or_default().to_owned()));
        }
    }
    wrong.sort_unstable_by_key(|(index, _)| *index);
    wrong
}
