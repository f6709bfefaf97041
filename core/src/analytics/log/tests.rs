use std::fs;

use super::format::HEADER;
use super::*;
use crate::analytics::event::{RatelimitRecord, Record};
use crate::calendar::UnixMs;

const NOW: UnixMs = UnixMs::new(1_773_576_000_000);

fn entry<'a>(workspace_id: &'a str, identifier: &'a str) -> Entry<'a> {
    let record = RatelimitRecord {
        request_id: "req_1",
        time: NOW,
        workspace_id,
        namespace_id: "rlns_1",
        namespace: "emails",
        identifier,
        override_id: "",
        passed: true,
        limit: 10,
        remaining: i64::MAX,
        reset_at: NOW.plus(1),
        tokens: 0,
        latency_microseconds: 3,
        root_key_id: "k",
    };
    Entry { record: Record::Ratelimit(record), cut_bytes: identifier.len() as u64 }
}

fn write_of(log: &mut Log, now: UnixMs, workspace_id: &str, identifiers: &[&str]) {
    identifiers.iter().for_each(|identifier| log.add(&entry(workspace_id, identifier)));
    log.write(now).unwrap();
}

fn write(log: &mut Log, now: UnixMs, identifiers: &[&str]) {
    write_of(log, now, "ws_1", identifiers);
}

/// Workspaces and identifiers of a file, and whether its end is torn.
fn read_all(path: &Path) -> (Vec<(String, String)>, bool) {
    let mut found = Vec::new();
    let is_torn = read(path, |read| {
        let Record::Ratelimit(RatelimitRecord { workspace_id, identifier, .. }) = &read.record else {
            panic!("{read:?}")
        };
        assert_eq!(read, entry(workspace_id, identifier));
        found.push(((*workspace_id).to_owned(), (*identifier).to_owned()));
        Ok(())
    });
    (found, is_torn.unwrap())
}

fn identifiers(path: &Path) -> (Vec<String>, bool) {
    let (found, is_torn) = read_all(path);
    (found.into_iter().map(|(_, identifier)| identifier).collect(), is_torn)
}

/// Every identifier of a workspace that the log still has.
fn kept_of(folder: &Path, workspace_id: &str) -> Vec<String> {
    let found = files(folder).unwrap().into_iter().flat_map(|(path, _)| read_all(&path).0);
    found.filter(|(id, _)| id == workspace_id).map(|(_, identifier)| identifier).collect()
}

fn bytes(folder: &Path) -> u64 {
    files(folder).unwrap().iter().map(|(_, bytes)| bytes).sum()
}

#[test]
fn what_was_written_is_read_and_a_torn_end_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::open(folder.path(), 1 << 30).unwrap();
    write(&mut log, NOW, &["a", "b"]);
    write(&mut log, NOW, &[]);
    write(&mut log, NOW.plus(1), &["🗝"]);
    let [(path, bytes)] = files(folder.path()).unwrap().try_into().unwrap();
    assert_eq!(identifiers(&path), (["a", "b", "🗝"].map(str::to_owned).to_vec(), false));
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len() as u64, bytes);
    for torn in [1, 7, 9, 30] {
        fs::write(&path, &whole[..whole.len() - torn]).unwrap();
        assert_eq!(identifiers(&path), (["a", "b"].map(str::to_owned).to_vec(), true), "{torn}");
    }
    let mut flipped = whole;
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&path, flipped).unwrap();
    assert_eq!(identifiers(&path).0.len(), 2);
    fs::write(&path, &HEADER[..3]).unwrap();
    assert_eq!(identifiers(&path), (Vec::new(), true));
    fs::write(&path, "something else").unwrap();
    assert!(read(&path, |_| Ok(())).is_err());
}

#[test]
fn files_are_closed_when_full_or_old_and_the_oldest_go_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::open(folder.path(), 16 << 10).unwrap();
    write(&mut log, NOW, &["first"]);
    write(&mut log, NOW.plus(SEGMENT_AGE_MS), &["an hour later"]);
    assert_eq!(files(folder.path()).unwrap().len(), 2);
    let text = "x".repeat(512);
    for at in 2..100 {
        write(&mut log, NOW.plus(SEGMENT_AGE_MS + at), &[&text]);
    }
    let bytes = bytes(folder.path());
    assert!((8 << 10..20 << 10).contains(&bytes), "{bytes} bytes are left");
    let left = kept_of(folder.path(), "ws_1");
    assert!(left.len() < 40 && left.last().unwrap() == &text, "{} are left", left.len());
}

#[test]
fn a_log_that_cannot_be_written_begins_a_new_file_once_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("events");
    let mut log = Log::open(&inner, 1 << 30).unwrap();
    fs::remove_dir(&inner).unwrap();
    log.add(&entry("ws_1", "lost"));
    assert!(log.write(NOW).is_err());
    assert_eq!(log.take_lost().failed, 1);
    fs::create_dir(&inner).unwrap();
    log.add(&entry("ws_1", "lost, too"));
    log.add(&entry("ws_1", "and this"));
    assert!(log.write(NOW.plus(RETRY_MS - 1)).is_err());
    assert_eq!(log.take_lost().failed, 2);
    write(&mut log, NOW.plus(RETRY_MS), &["kept"]);
    assert_eq!(identifiers(&files(&inner).unwrap()[0].0).0, ["kept"]);
}

const MOST: u64 = 1 << 20;

/// Writes about six times as much as the log may hold for one workspace, and a little for others.
fn flood(log: &mut Log, others: usize) {
    let text = "x".repeat(900);
    for at in 0..600 {
        for loud in 0..10 {
            log.add(&entry("ws_loud", &format!("{at} {loud} {text}")));
        }
        let other = format!("ws_other_{}", at % others);
        write_of(log, NOW.plus(i64::try_from(at).unwrap()), &other, &[&at.to_string()]);
    }
}

#[test]
fn a_flood_of_one_workspace_removes_its_own_events_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::open(folder.path(), MOST).unwrap();
    write_of(&mut log, NOW.minus(1), "ws_quiet", &["first"]);
    flood(&mut log, 3);
    write_of(&mut log, NOW.plus(1000), "ws_quiet", &["last"]);
    assert_eq!(kept_of(folder.path(), "ws_quiet"), ["first", "last"]);
    let others: usize = (0..3).map(|other| kept_of(folder.path(), &format!("ws_other_{other}")).len()).sum();
    assert_eq!(others, 600);
    let loud = kept_of(folder.path(), "ws_loud");
    assert!((500..1200).contains(&loud.len()), "{} of the loud one's are kept", loud.len());
    assert!(loud.last().unwrap().starts_with("599 9 "), "its newest ones");
    let bytes = bytes(folder.path());
    assert!((MOST * 3 / 4..MOST * 17 / 16).contains(&bytes), "{bytes} bytes are left");
    assert_eq!(log.bytes(), bytes);
    assert_eq!(log.oldest(), Some(NOW.minus(1)));
}

#[test]
fn thousands_of_workspaces_share_a_file_and_few_have_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::open(folder.path(), MOST).unwrap();
    let text = "x".repeat(900);
    for at in 0..40 {
        for small in 0..100 {
            log.add(&entry(&format!("ws_small_{at}_{small}"), "once"));
        }
        for large in 0..2 * MOST_OWN {
            let id = format!("ws_large_{large}");
            // Together more than a sixteenth of a file.
            (0..2).for_each(|_| log.add(&entry(&id, &text)));
        }
        log.write(NOW.plus(at)).unwrap();
        assert!(log.own.len() <= MOST_OWN);
    }
    assert_eq!(log.own.len(), MOST_OWN);
    assert!(files(folder.path()).unwrap().len() < 200);
}

#[test]
fn a_workspace_that_falls_silent_shares_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::open(folder.path(), MOST).unwrap();
    flood(&mut log, 600);
    assert_eq!(log.own.keys().collect::<Vec<_>>(), ["ws_loud"]);
    let mut now = NOW.plus(1000);
    for _ in 0..3 {
        now = now.plus(SEGMENT_AGE_MS);
        write_of(&mut log, now, "ws_quiet", &["hourly"]);
    }
    write_of(&mut log, now, "ws_loud", &["back"]);
    assert!(!log.own.contains_key("ws_loud"));
    assert_eq!(kept_of(folder.path(), "ws_loud").last().unwrap(), "back");
}

#[test]
fn who_had_much_of_an_hour_has_a_file_of_its_own_in_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::open(folder.path(), MOST).unwrap();
    // Much of the hour, and less than a sixteenth of a full file.
    write_of(&mut log, NOW, "ws_drip", &["x".repeat(500).as_str()]);
    assert!(log.own.is_empty());
    write_of(&mut log, NOW.plus(SEGMENT_AGE_MS), "ws_quiet", &["a"]);
    assert_eq!(log.own.keys().collect::<Vec<_>>(), ["ws_drip"]);
    write_of(&mut log, NOW.plus(SEGMENT_AGE_MS + 1), "ws_drip", &["next"]);
    assert_eq!(kept_of(folder.path(), "ws_drip").len(), 2);
}

/// What 0.1.0 wrote of a decision.
#[derive(serde::Serialize)]
enum FirstRecord<'a> {
    #[expect(dead_code, reason = "the first variant has the number 0")]
    Verification,
    Ratelimit(&'a str, UnixMs, &'a str, &'a str, &'a str, &'a str, &'a str, bool, [i64; 2], UnixMs, i64, u64),
}

#[test]
fn a_log_of_0_1_0_is_read_and_its_oldest_files_go() {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..4 {
        let mut file = b"keyrack events 1\n".to_vec();
        for number in 0..300 {
            let identifier = format!("{at} {number} {}", "x".repeat(900));
            let record = FirstRecord::Ratelimit(
                "req_1",
                NOW,
                "ws_old",
                "rlns_1",
                "emails",
                &identifier,
                "",
                true,
                [10, 9],
                NOW,
                1,
                3,
            );
            let records = postcard::to_extend(&record, Vec::new()).unwrap();
            file.extend_from_slice(&u32::try_from(records.len()).unwrap().to_le_bytes());
            file.extend_from_slice(&crc32fast::hash(&records).to_le_bytes());
            file.extend_from_slice(&records);
        }
        fs::write(folder.path().join(format!("{:013}-req_abc.events", NOW.get() - 10 + at)), file).unwrap();
    }
    let mut seen = Vec::new();
    for (path, _) in files(folder.path()).unwrap() {
        let is_torn = read(&path, |entry| {
            let Record::Ratelimit(record) = entry.record else { panic!("another kind") };
            assert_eq!((entry.cut_bytes, record.tokens, record.root_key_id), (0, 1, ""));
            seen.push(record.identifier.split(' ').next().unwrap().to_owned());
            Ok(())
        });
        assert!(!is_torn.unwrap());
    }
    assert_eq!(seen.len(), 1200);
    assert!(seen.is_sorted());
    let mut log = Log::open(folder.path(), MOST).unwrap();
    log.write(NOW).unwrap();
    assert_eq!((files(folder.path()).unwrap().len(), log.oldest()), (3, Some(NOW.minus(9))));
}

#[test]
fn a_file_that_somebody_else_deleted_is_not_written_to_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::open(folder.path(), MOST).unwrap();
    write(&mut log, NOW, &["deleted"]);
    fs::remove_file(&files(folder.path()).unwrap()[0].0).unwrap();
    write(&mut log, NOW.plus(SURVEY_MS), &["lost with it"]);
    write(&mut log, NOW.plus(SURVEY_MS + 1), &["kept"]);
    assert_eq!(kept_of(folder.path(), "ws_1"), ["kept"]);
    assert_eq!(log.oldest(), Some(NOW.plus(SURVEY_MS + 1)));
}
