//! `keyrack doctor`: what is wrong with this machine's Keyrack, and how to mend it.
//!
//! Each check is a line on standard output: `ok`, `warn` or `fail`, and below it what to do. Nothing is
//! changed: a database is opened to read, a port is tried and left. One failure makes the exit code 1.

mod analytics;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use keyrack_core::clock::Clock;
use keyrack_core::keys::secret::{self, ROOT_KEY_PREFIX, root_key_checksum_is_right};
use keyrack_core::store::inspection::{Condition, Inspection, Standing};
use keyrack_core::store::{Location, snapshot};
use tokio::net::TcpListener;

use crate::instance::{ROOT_KEY_FILE, told};
use crate::remote;
use crate::settings::{self, Settings, read_secret};
use crate::{printable, stdout, traces};
use keyrack_core::calendar::{MINUTE_MS, UnixMs};

/// 2026-01-01: no clock that is right shows an earlier time.
const PROGRAM_WRITTEN: UnixMs = UnixMs::new(1_767_225_600_000);
/// How much older than the newest audit entry a clock may be: several processes need not agree to the second.
const CLOCK_SLACK_MS: i64 = MINUTE_MS;
/// How often a port that is taken is looked at again, and what is between.
const LOOKS_AT_A_PORT: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// How long the structure of a database is checked, and how long files of analytics are read: some GB.
const CHECK_LIMIT: Duration = Duration::from_secs(10);
const MIB: u64 = 1024 * 1024;
const LOW_SPACE: u64 = 1024 * MIB;
const NO_SPACE: u64 = 64 * MIB;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Ok,
    Warn,
    Fail,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Finding::Ok => "ok",
            Finding::Warn => "warn",
            Finding::Fail => "fail",
        })
    }
}

/// One line of the report.
#[derive(Debug)]
struct Line {
    finding: Finding,
    subject: &'static str,
    text: String,
    /// What to do, unless all is well.
    mend: String,
}

fn ok(subject: &'static str, text: impl Into<String>) -> Line {
    Line { finding: Finding::Ok, subject, text: text.into(), mend: String::new() }
}

fn warn(subject: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Line {
    Line { finding: Finding::Warn, subject, text: text.into(), mend: mend.into() }
}

fn fail(subject: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Line {
    Line { finding: Finding::Fail, subject, text: text.into(), mend: mend.into() }
}

/// Looks at everything and says what it found.
pub(crate) async fn run(matches: &ArgMatches) -> ExitCode {
    let lines = match Settings::read_unchecked(matches) {
        Ok(settings) => examine(&settings).await,
        Err(error) => vec![fail("settings", format!("{error:#}"), "correct it; nothing else was looked at")],
    };
    let mut report = String::new();
    for Line { finding, subject, text, mend } in &lines {
        report.push_str(&format!("{finding:<5} {subject:<12} {}\n", printable::line(text)));
        if !mend.is_empty() {
            report.push_str(&format!("{:<18} {mend}\n", ""));
        }
    }
    let failed = lines.iter().any(|line| line.finding == Finding::Fail);
    match stdout::print(report.trim_end()) {
        Ok(()) if !failed => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

async fn examine(settings: &Settings) -> Vec<Line> {
    let mut lines = check_settings(settings);
    let folder = settings.get(&settings::DATA_DIR).ok();
    if let Some(folder) = &folder {
        lines.push(check_folder(folder));
        lines.extend(check_space(folder));
    }
    let now = Clock::system().now();
    let mut database = None;
    if let Ok(location) = settings.get(&settings::DATABASE_URL) {
        let (line, open) = check_database(&location).await;
        lines.push(line);
        database = open;
    }
    lines.push(check_clock(database.as_mut(), now).await);
    if let Some(folder) = &folder {
        lines.push(check_root_key(settings, &folder.join(ROOT_KEY_FILE), database.as_mut(), now).await);
    }
    lines.extend(check_master_key(settings, database.as_mut()).await);
    lines.extend(analytics::check(settings));
    lines.extend(check_ports(settings).await);
    lines
}

/// Reads every setting, so that all faults are said at once.
fn check_settings(settings: &Settings) -> Vec<Line> {
    let faults = settings.all_faults().into_iter().chain(traces::fault());
    let mut lines: Vec<Line> =
        faults.map(|fault| fail("settings", format!("{fault:#}"), "correct it where it was set")).collect();
    let odd = settings.warnings().iter().cloned().chain(settings.oddities()).chain(traces::oddities());
    lines.extend(odd.map(|oddity| warn("settings", oddity, "correct it where it was set, or remove it")));
    lines.extend(settings.secret_files().into_iter().filter_map(exposed));
    if lines.is_empty() {
        lines.push(ok("settings", "all readable"));
    }
    lines
}

/// A file with a secret that others than its owner may read.
fn exposed(file: &Path) -> Option<Line> {
    let mode = open_to_others(file)?;
    let file = file.display();
    let text = format!("{file} holds a secret and can be read by other users of this machine (mode {mode:o})");
    Some(warn("settings", text, format!("chmod 600 {file}, unless it is mounted for this program alone")))
}

fn check_folder(folder: &Path) -> Line {
    const SUBJECT: &str = "data folder";
    let shown = folder.display();
    if !folder.exists() {
        return warn(
            SUBJECT,
            format!("{shown} does not exist yet"),
            "`keyrack serve` makes it on its first start",
        );
    }
    if let Err(error) = tempfile_in(folder) {
        return fail(
            SUBJECT,
            format!("{shown} cannot be written: {error}"),
            "make it yours (chown), or name another one with KEYRACK_DATA_DIR",
        );
    }
    match open_to_others(folder) {
        Some(mode) => warn(
            SUBJECT,
            format!("{shown} is open to other users of this machine (mode {mode:o})"),
            format!("chmod 700 {shown}"),
        ),
        None => ok(SUBJECT, format!("{shown} is there, yours and writable")),
    }
}

/// Makes a file and takes it away again.
fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".doctor-{}", std::process::id()));
    std::fs::File::create_new(&probe)?;
    std::fs::remove_file(&probe)
}

/// The mode of a file that others than its owner may use.
fn open_to_others(path: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        let metadata = std::fs::metadata(path).ok()?;
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
        (mode & 0o077 != 0).then_some(mode)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// How much room there is; nothing where the system cannot be asked.
fn check_space(folder: &Path) -> Option<Line> {
    const SUBJECT: &str = "disk";
    let free = free_bytes(folder)?;
    let text = format!("{} MiB free at {}", free / MIB, folder.display());
    let mend = "make room, or move the data folder (KEYRACK_DATA_DIR) to a larger disk";
    Some(match free {
        ..NO_SPACE => fail(SUBJECT, text, mend),
        NO_SPACE..LOW_SPACE => warn(SUBJECT, text, mend),
        _ => ok(SUBJECT, text),
    })
}

fn free_bytes(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let existing = folder.ancestors().find(|folder| folder.exists())?;
        let facts = rustix::fs::statvfs(existing).ok()?;
        Some(facts.f_bavail.saturating_mul(facts.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

/// The database, and the open look at it if it can be used.
async fn check_database(location: &Location) -> (Line, Option<Inspection>) {
    const SUBJECT: &str = "database";
    let label = location.label();
    let mend = match location {
        Location::Sqlite(_) => {
            "check that the file is yours and is a Keyrack database; restore a backup if it is damaged (`keyrack restore FILE`)"
        }
        Location::Postgres(_) => "check that the server runs, and user, password and name in KEYRACK_DATABASE_URL",
    };
    let unusable = |error| (fail(SUBJECT, format!("{label}: {:#}", told(error)), mend), None);
    let mut inspection = match Inspection::open(location).await {
        Ok(Some(inspection)) => inspection,
        Ok(None) => {
            let line = warn(SUBJECT, format!("{label} does not exist yet"), "`keyrack serve` makes it");
            return (line, None);
        }
        Err(error) => return unusable(error),
    };
    match inspection.condition().await {
        Ok(Condition::Ready) => match check_structure(location) {
            Ok(checked) => (ok(SUBJECT, format!("{label} answers and is up to date{checked}")), Some(inspection)),
            Err(faults) => (fail(SUBJECT, format!("{label} is malformed: {faults}"), mend), None),
        },
        Ok(Condition::Empty) => {
            (warn(SUBJECT, format!("{label} answers and is empty"), "`keyrack serve` sets it up"), None)
        }
        Ok(Condition::Behind(steps)) => {
            let text = format!("{label} answers; {steps} steps bring its tables up to date");
            (
                warn(SUBJECT, text, "`keyrack serve` does that when it starts; make a backup first"),
                Some(inspection),
            )
        }
        Ok(Condition::Ahead) => {
            let text = format!("{label} was set up by a newer Keyrack than this one");
            (fail(SUBJECT, text, "use the newer program, or restore a backup from before"), None)
        }
        Err(error) => unusable(error),
    }
}

/// Checks a SQLite file page by page, for a while: what to say of it, or what is wrong.
fn check_structure(location: &Location) -> Result<&'static str, String> {
    let Location::Sqlite(path) = location else { return Ok("") };
    match snapshot::quick_check(path, CHECK_LIMIT) {
        Ok(Some(faults)) if faults.is_empty() => Ok(", and its structure is whole"),
        Ok(Some(faults)) => Err(faults.join("; ")),
        Ok(None) => Ok("; it is too large for a check of all its structure here"),
        Err(error) => Err(error.detail().to_owned()),
    }
}

async fn check_clock(database: Option<&mut Inspection>, now: UnixMs) -> Line {
    const SUBJECT: &str = "clock";
    const MEND: &str = "set the system's clock, best with NTP: expiry, refills and rate limits follow it";
    if now < PROGRAM_WRITTEN {
        return fail(SUBJECT, format!("it is {} by this machine's clock", now.rfc3339()), MEND);
    }
    let newest = match database {
        Some(database) => database.newest_entry().await.ok().flatten(),
        None => None,
    };
    match newest.filter(|newest| *newest > now.plus(CLOCK_SLACK_MS)) {
        Some(newest) => fail(
            SUBJECT,
            format!(
                "it is {} by this machine's clock, and the audit log reaches to {}",
                now.rfc3339(),
                newest.rfc3339()
            ),
            MEND,
        ),
        None => ok(SUBJECT, format!("it is {}", now.rfc3339())),
    }
}

async fn check_root_key(settings: &Settings, file: &Path, database: Option<&mut Inspection>, now: UnixMs) -> Line {
    const SUBJECT: &str = "root key";
    const ANOTHER: &str = "`keyrack root-key create` makes another one; write it into the file";
    let shown = file.display();
    if !file.exists() {
        // Of a setting that cannot be read, the settings' lines tell.
        if let Ok(Some(bootstrap)) = settings.get(&settings::BOOTSTRAP_ROOT_KEY) {
            return check_bootstrap_key(bootstrap.expose(), database, now).await;
        }
        let text = format!("{shown} is not there, so `keyrack api` needs KEYRACK_ROOT_KEY");
        return warn(SUBJECT, text, "`keyrack root-key create` makes one, unless the first start is yet to come");
    }
    if let Some(mode) = open_to_others(file) {
        let text = format!("{shown} can be read by other users of this machine (mode {mode:o})");
        return fail(SUBJECT, text, format!("chmod 600 {shown}, and reroll the key if somebody may have read it"));
    }
    let key = match read_secret(file) {
        Ok(key) => key,
        Err(error) if error.is::<std::io::Error>() => {
            return fail(SUBJECT, format!("{error:#}"), format!("make it yours: chown, chmod 600 {shown}"));
        }
        Err(error) => return fail(SUBJECT, format!("{error:#}"), ANOTHER),
    };
    let text = key.expose();
    if text.starts_with(ROOT_KEY_PREFIX) && !root_key_checksum_is_right(text) {
        return fail(SUBJECT, format!("{shown} holds no whole root key: its checksum is wrong"), ANOTHER);
    }
    match standing(text, database, now).await {
        Some(Standing::Usable) => ok(SUBJECT, format!("{shown} holds one that the database knows")),
        Some(Standing::Disabled) => fail(SUBJECT, format!("the one in {shown} is disabled"), ANOTHER),
        Some(Standing::Expired) => fail(SUBJECT, format!("the one in {shown} has expired"), ANOTHER),
        Some(Standing::Unknown) => {
            fail(SUBJECT, format!("the database does not know the one in {shown}"), ANOTHER)
        }
        None => ok(SUBJECT, format!("{shown} holds one; there is no database to ask about it")),
    }
}

/// The root key of the bootstrap setting, where the first start left no file because there is one.
async fn check_bootstrap_key(text: &str, database: Option<&mut Inspection>, now: UnixMs) -> Line {
    const SUBJECT: &str = "root key";
    const NEW_VALUE: &str = "give the bootstrap setting a new value; the next start makes it a root key";
    let one = "the bootstrap root key of the settings";
    match standing(text, database, now).await {
        Some(Standing::Usable) => ok(SUBJECT, format!("the database knows {one}")),
        Some(Standing::Disabled) => fail(SUBJECT, format!("{one} is disabled"), NEW_VALUE),
        Some(Standing::Expired) => fail(SUBJECT, format!("{one} has expired"), NEW_VALUE),
        Some(Standing::Unknown) => warn(
            SUBJECT,
            format!("the database does not know {one}"),
            "the next start makes it one, unless it was deleted: then give the setting a new value",
        ),
        None => ok(SUBJECT, format!("{one}; there is no database to ask about it")),
    }
}

/// What the database says of a root key, if it can be asked.
async fn standing(root_key: &str, database: Option<&mut Inspection>, now: UnixMs) -> Option<Standing> {
    database?.standing(secret::hash(root_key), now).await.ok()
}

/// Whether the plaintexts of recoverable keys can be read; nothing where there are none.
async fn check_master_key(settings: &Settings, database: Option<&mut Inspection>) -> Option<Line> {
    const SUBJECT: &str = "master key";
    let needed = database?.master_keys_needed().await.ok().filter(|needed| !needed.is_empty())?;
    let vault = settings.vault().ok()?;
    let is_here =
        |id: &String| vault.as_ref().is_some_and(|vault| vault.master_key_ids().any(|known| known == id));
    let missing: Vec<String> = needed.into_iter().filter(|id| !is_here(id)).collect();
    if missing.is_empty() {
        return Some(ok(SUBJECT, "it opens what is stored of recoverable keys"));
    }
    let text = format!("recoverable keys are stored under another one: {}", missing.join(", "));
    let mend = "set KEYRACK_MASTER_KEY to it, or KEYRACK_MASTER_KEY_PREVIOUS if it was changed; the name of a master \
                key is the first 16 hex digits of the SHA-256 of its 32 bytes";
    Some(fail(SUBJECT, text, mend))
}

async fn check_ports(settings: &Settings) -> Vec<Line> {
    let mut lines = Vec::new();
    let Ok(listen) = settings.get(&settings::LISTEN) else { return lines };
    let is_running = remote::keyrack_answers(from_here(listen)).await;
    lines.push(match try_to_listen(listen).await {
        _ if is_running => ok("port", format!("a Keyrack answers on {listen}")),
        Ok(_) => ok("port", format!("{listen} is free")),
        Err(error) => fail(
            "port",
            format!("{listen} cannot be listened on, and no Keyrack answers there: {error}"),
            "stop what is there, or choose another address with KEYRACK_LISTEN",
        ),
    });
    if let Ok(Some(metrics)) = settings.get(&settings::METRICS_LISTEN)
        && !is_running
        && let Err(error) = try_to_listen(metrics).await
    {
        let text = format!("{metrics} cannot be listened on: {error}");
        let mend = "choose another address with KEYRACK_METRICS_LISTEN, or an empty one";
        let is_chosen = settings.is_given(&settings::METRICS_LISTEN);
        lines.push(if is_chosen { fail("metrics", text, mend) } else { warn("metrics", text, mend) });
    }
    lines
}

/// Listens for a moment. Who else only looks, such as another doctor, is gone a moment later.
async fn try_to_listen(address: SocketAddr) -> std::io::Result<()> {
    for _ in 0..LOOKS_AT_A_PORT {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::time::sleep(BETWEEN_LOOKS).await,
            outcome => return outcome.map(drop),
        }
    }
    TcpListener::bind(address).await.map(drop)
}

/// An address that leads to a listener from this machine.
fn from_here(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}
