//! A process that is killed while it works, by the system: what the log has is there, in every table.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::happened::What;
use super::known::raw_row;
use super::*;

/// Say to the child in which folder it works, by which chance, and what has happened already.
const FOLDER: &str = "KEYRACK_TEST_TRUTH_FOLDER";
const SEED: &str = "KEYRACK_TEST_TRUTH_CHILD_SEED";
const BEGUN: &str = "KEYRACK_TEST_TRUTH_BEGUN";
const EVENTS: usize = 20_000;
const KILLS: usize = 3;
/// Events between two times that the ring is emptied.
const PORTION: usize = 50;

fn all(seed: u64) -> Vec<Happened> {
    happenings(&mut Chance(seed), EVENTS)
}

fn settings() -> Settings {
    Settings { flush_rows: 300, ..super::settings() }
}

/// What is killed: after each portion it says how far the log has all.
#[test]
#[ignore = "the other test starts it"]
fn child() {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let (Ok(folder), Some(seed), Some(begun)) = (std::env::var(FOLDER), number(SEED), number(BEGUN)) else {
        return;
    };
    let (world, happened, mut known) = (World::new(), all(seed), Known::default());
    let mut passed = begun as usize;
    let house = House::open(Path::new(&folder), UnixMs::new(BEGIN), settings());
    for portion in happened[passed..].chunks(PORTION) {
        house.record(&world, portion, &mut known);
        passed += portion.len();
        let mut out = std::io::stdout().lock();
        writeln!(out, "passed {passed}").and_then(|()| out.flush()).expect("somebody who listens");
        if passed.is_multiple_of(PORTION * 20) {
            house.follower.keep_in_order().expect("compaction");
        }
    }
}

/// Starts it, kills it some time after it has passed so many events, and says how many it said.
fn killed_after(folder: &Path, seed: u64, begun: usize, count: usize) -> usize {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "truth::killed::child", "--ignored", "--nocapture"])
        .envs([(FOLDER, folder.display().to_string()), (SEED, seed.to_string()), (BEGUN, begun.to_string())])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut said = begun;
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        let line = line.expect("a line");
        // The test runner's own word may stand before it.
        if let Some((_, number)) = line.split_once("passed ") {
            said = number.parse().unwrap_or(said);
        }
        if said >= begun + count {
            child.kill().expect("a child that runs");
            break;
        }
    }
    child.wait().expect("a child");
    said
}

#[tokio::test]
async fn what_a_killed_process_has_written_to_the_log_is_in_every_table_once() {
    let seed = Seed::of_this_run();
    let mut chance = Chance(seed.0);
    let (world, happened) = (World::new(), all(seed.0));
    let folder = tempfile::tempdir().expect("a folder");
    let (mut begun, mut found) = (0, BTreeSet::new());
    for _ in 0..KILLS {
        let said = killed_after(folder.path(), seed.0, begun, 1000 + chance.below(2000).unsigned_abs() as usize);
        let house = House::open(folder.path(), UnixMs::new(NOW), settings());
        let before = std::mem::take(&mut found);
        found = places(&house.raw_rows().await, &world, &happened);
        let is_due = |place: &usize| before.contains(place) || (begun..said).contains(place);
        let due: BTreeSet<usize> = (0..said).filter(is_due).filter(|place| is_shown(&happened[*place])).collect();
        assert!(due.is_subset(&found), "lost: {:?}", due.difference(&found).collect::<Vec<_>>());
        let more: Vec<_> = found.difference(&due).collect();
        assert!(more.iter().all(|place| **place >= said), "back from the dead: {more:?}");
        let mut known = Known::default();
        found.iter().for_each(|place| known.note(&happened[*place], &place.to_string()));
        house.compare_sums(&world, &known).await;
        begun = found.last().map_or(said, |last| said.max(last + 1));
    }
    assert!(begun > KILLS * 1000 && begun < EVENTS, "{begun}");
}

fn is_shown(happened: &Happened) -> bool {
    !matches!(happened.what, What::Refused)
}

/// Which of the things that happen rows of the raw tables are about. Which request it was is up to the child.
fn places(rows: &[Vec<Value>], world: &World, happened: &[Happened]) -> BTreeSet<usize> {
    let mut open: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, one) in happened.iter().enumerate().rev().filter(|(_, one)| is_shown(one)) {
        open.entry(raw_row(world, one, "").to_string()).or_default().push(place);
    }
    let place_of = |row: &Vec<Value>| {
        let mut row = row.clone();
        row[0] = "".into();
        let row = Value::from(row).to_string();
        open.get_mut(&row)
            .and_then(Vec::pop)
            .unwrap_or_else(|| panic!("nobody knows of {row}, or it is there twice"))
    };
    rows.iter().map(place_of).collect()
}
