//! What it costs to keep events: how many a second go in, bytes and memory of each stage.
//!
//! ```sh
//! cargo bench -p keyrack-analytics-engine --bench storage             # ten million events
//! cargo bench -p keyrack-analytics-engine --bench storage -- 1000000  # as many as that
//! cargo bench -p keyrack-analytics-engine --bench storage -- 1000000 /tmp/events    # left there, for `queries`
//! cargo bench -p keyrack-analytics-engine --bench storage -- --flushed /tmp/flushed  # the same before compaction
//! ```
//!
//! The events are verifications of thirty days and 50,000 keys of twenty workspaces, few of which have most, with ids as
//! Keyrack makes them. Memory is the most that the process had resident during a stage, less what it had before.

#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use keyrack_analytics_engine::storage::{Positions, Settings, Shorter, Stored, Warehouse, to_the_end};
use keyrack_core::analytics::event::{Record, VerificationRecord};
use keyrack_core::calendar::{DAY_MS, UnixMs};
use parquet::file::reader::{FileReader as _, SerializedFileReader};

const EVENTS: u64 = 10_000_000;
const DAYS: i64 = 30;
const KEYS: usize = 50_000;
/// Events that are taken from the log at once: those of ten milliseconds at 300,000 a second.
const PORTION: usize = 3000;
/// 2026-06-01 UTC, in Unix ms.
const BEGIN: i64 = 1_780_272_000_000;
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const ROOT_KEYS: [&str; 3] = ["key_11aVbNmQwErTyUiPaS", "key_11DfGhJkLzXcVbNmQw", "key_11ErTyUiPaSdFgHjKz"];
const PATHS: [&str; 8] = [
    "path=/v1/letters",
    "path=/v1/letters/{id}",
    "path=/v1/parcels",
    "path=/v1/parcels/{id}/labels",
    "path=/v1/rates",
    "path=/v1/addresses/check",
    "path=/v1/webhooks",
    "path=/v1/account",
];
const OUTCOMES: [&str; 6] =
    ["VALID", "RATE_LIMITED", "USAGE_EXCEEDED", "EXPIRED", "DISABLED", "INSUFFICIENT_PERMISSIONS"];

/// Random numbers, the same ones every time (xorshift64*).
struct Dice(u64);

/// The workspace of a key, its API, key space, own id, identity and external id.
struct Key([String; 6]);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From zero to one.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn base58(&mut self, text: &mut String, count: usize) {
        text.extend((0..count).map(|_| char::from(BASE58[(self.next() >> 32) as usize % BASE58.len()])));
    }

    /// An id whose first characters are a time within some months.
    fn id(&mut self, prefix: &str) -> String {
        let mut id = format!("{prefix}_11");
        self.base58(&mut id, 16);
        id
    }

    /// A place among so many of which the first are the most likely ones.
    fn skewed(&mut self, count: usize) -> usize {
        (self.part().powi(3) * count as f64) as usize
    }
}

fn keys(dice: &mut Dice) -> Vec<Key> {
    let workspaces: Vec<[String; 3]> =
        (0..20).map(|_| ["ws", "api", "ks"].map(|prefix| dice.id(prefix))).collect();
    let key = |at: usize| {
        let [workspace, api, space] = workspaces[dice.skewed(workspaces.len())].clone();
        let external_id = if at.is_multiple_of(5) { String::new() } else { format!("user_{at}") };
        let identity_id = if external_id.is_empty() { String::new() } else { dice.id("id") };
        Key([workspace, api, space, dice.id("key"), identity_id, external_id])
    };
    (0..KEYS).map(key).collect()
}

/// What the process has resident, in bytes: now, and at most since it was asked to begin anew.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap_or(0) * 1024
}

/// What this thread had of a processor.
fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// Does a stage: how long it took, and how much memory.
fn stage<T>(name: &str, events: u64, work: impl FnOnce() -> T) -> T {
    // Linux: the most begins anew.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let (before, began, cpu) = (memory("VmRSS:"), Instant::now(), cpu_seconds());
    let done = work();
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let (per_second, mib) = (events as f64 / seconds, memory("VmHWM:").saturating_sub(before) >> 20);
    println!("{name:20} {per_second:>10.0} events/s {seconds:>6.1} s {cpu:>6.1} s of CPU {mib:>5} MiB more");
    done
}

/// Makes an event, and gives it away.
fn make(keys: &[Key], dice: &mut Dice, part: f64, take: impl FnOnce(&Record<'_>)) {
    let at_key = dice.skewed(keys.len());
    let Key([workspace_id, api_id, key_space_id, key_id, identity_id, external_id]) = &keys[at_key];
    let mut request_id = String::with_capacity(20);
    request_id.push_str("req_");
    dice.base58(&mut request_id, 16);
    let outcome = if dice.part() < 0.93 { 0 } else { 1 + dice.skewed(OUTCOMES.len() - 1) };
    let plan = ["plan=free", "plan=pro"][at_key % 2];
    take(&Record::Verification(VerificationRecord {
        request_id: &request_id,
        time: UnixMs::new(BEGIN + (part * (DAYS * DAY_MS) as f64) as i64),
        workspace_id,
        api_id,
        key_space_id,
        key_id,
        identity_id,
        external_id,
        outcome: OUTCOMES[outcome],
        tags: vec![PATHS[dice.skewed(PATHS.len())], plan],
        spent_credits: i64::from(outcome == 0),
        latency_microseconds: (60.0 * (1.0 - dice.part()).powf(-0.4)) as u64,
        source: "api",
        app_id: "",
        region: "",
        refused_by: if outcome == 1 { vec!["requests"] } else { Vec::new() },
        root_key_id: ROOT_KEYS[at_key % ROOT_KEYS.len()],
    }));
}

fn append(warehouse: &Warehouse, keys: &[Key], dice: &mut Dice, events: u64) {
    for begin in (0..events).step_by(PORTION) {
        let mut appending = warehouse.appending().expect("room in memory");
        for at in begin..(begin + PORTION as u64).min(events) {
            make(keys, dice, at as f64 / events as f64, |record| appending.add(record));
        }
        appending.commit(Positions::default()).expect("rows that fit");
        if warehouse.is_flush_due() {
            warehouse.flush().expect("a disk with room");
        }
    }
    warehouse.flush().expect("a disk with room");
}

fn sizes(warehouse: &Warehouse, events: u64) {
    let snapshot = warehouse.snapshot().expect("rows that fit");
    for table in Stored::ALL {
        let files = snapshot.files(table);
        let (rows, bytes) =
            files.iter().fold((0, 0), |(rows, bytes), file| (rows + file.rows(), bytes + file.bytes()));
        if rows > 0 {
            let (files, per_row) = (files.len(), bytes as f64 / rows as f64);
            let per_event = bytes as f64 / events as f64;
            let name = table.name();
            println!(
                "    {name:24} {files:>5} files {rows:>10} rows {per_row:>7.2} bytes/row {per_event:>7.2} bytes/event"
            );
        }
    }
}

/// What each column of the events takes.
fn columns(warehouse: &Warehouse) {
    let snapshot = warehouse.snapshot().expect("rows that fit");
    let (mut rows, mut columns) = (0, BTreeMap::<String, i64>::new());
    for file in snapshot.files(Stored::Verifications) {
        let opened = fs::File::open(file.path()).expect("a file that is there");
        let reader = SerializedFileReader::new(opened).expect("a Parquet file");
        rows += file.rows();
        for column in reader.metadata().row_groups().iter().flat_map(|group| group.columns()) {
            *columns.entry(column.column_path().string()).or_default() += column.compressed_size();
        }
    }
    for (name, bytes) in columns {
        println!("        {name:24} {:>7.2} bytes/row", bytes as f64 / rows as f64);
    }
}

fn main() {
    let events = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(EVENTS);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let keys = keys(&mut dice);
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let is_folder = |argument: &String| !argument.starts_with('-') && argument.parse::<u64>().is_err();
    let folder = std::env::args().skip(1).find(is_folder).map_or(temporary.path().to_owned(), PathBuf::from);
    let settings = Settings { flush_after: Duration::from_secs(3600), ..Settings::default() };
    let warehouse = Warehouse::open(&folder, settings).expect("a folder of its own");
    let mut bare = Dice(1);
    stage("make events", events, || {
        (0..events).for_each(|_| make(&keys, &mut bare, 0.0, |record| _ = black_box(record)))
    });
    stage("append and flush", events, || append(&warehouse, &keys, &mut dice, events));
    sizes(&warehouse, events);
    if std::env::args().any(|argument| argument == "--flushed") {
        return;
    }
    let end = UnixMs::new(BEGIN + DAYS * DAY_MS);
    stage("compact", events, || {
        warehouse.compact(end.plus(DAY_MS / 2), &mut to_the_end).expect("a disk with room")
    });
    sizes(&warehouse, events);
    columns(&warehouse);
    let later = end.plus(DAY_MS);
    stage("sweep", events, || warehouse.sweep(later, &Shorter::new(), &mut to_the_end).expect("a disk with room"));
}
