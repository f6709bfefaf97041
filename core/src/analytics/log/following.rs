//! Consumers: those who follow the log, each at its own pace, and what they have passed.
//!
//! A consumer keeps its positions itself, together with what it made of the events, so that after a kill both are of
//! one moment: then every event counts once. The log is told them so that it can remove what all have passed.
//!
//! A segment is read while it is written. What is at its end and is no whole frame is left for later, until the
//! segment is closed: then it is what a kill left, and passed. Closed is what this process has closed, and what nobody
//! can write any more: whoever writes a segment closes it an hour after it began, so one that is older by [`GRACE_MS`],
//! and has not been written for as long, is closed, whosever it was. What a killed process left is removed that late,
//! and read at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::SEGMENT_AGE_MS;
use super::reading::{End, read_from};
use super::segment::{Segment, segments};
use crate::analytics::event::Entry;
use crate::calendar::{MINUTE_MS, UnixMs};

/// How long in ms whoever should have closed a segment may be late, and clocks may differ.
const GRACE_MS: i64 = 5 * MINUTE_MS;

/// What a consumer has passed of each segment: bytes by the names of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Positions(BTreeMap<String, u64>);

impl Positions {
    fn of(&self, segment: &Segment) -> u64 {
        self.0.get(segment.name()).copied().unwrap_or(0)
    }

    fn note(&mut self, segment: &Segment, offset: u64) {
        if offset > 0 {
            self.0.insert(segment.name().to_owned(), offset);
        }
    }
}

/// Where a consumer stands after it has read on.
#[derive(Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it has passed then, of segments that are still there.
    pub positions: Positions,
    /// Whether there is more already.
    pub has_more: bool,
}

/// Somebody who follows the log.
#[derive(Debug)]
pub struct Consumer {
    name: String,
    folder: PathBuf,
    following: Arc<Following>,
}

impl Consumer {
    /// Shows the events behind these positions, those of the oldest segment first, until at least `most_bytes` of them
    /// were shown. It holds one frame in memory, which is at most 2 MiB (what a moment brought, in files of earlier
    /// formats). To see all that this process has decided, empty the ring first
    /// ([`Recorder::empty_ring`](crate::analytics::recorder::Recorder::empty_ring)).
    ///
    /// # Errors
    /// When the log cannot be read, and what `show` fails with. What was shown then belongs to the old positions: it will
    /// be shown again.
    pub fn read_on(
        &self,
        positions: &Positions,
        most_bytes: u64,
        now: UnixMs,
        mut show: impl FnMut(Entry<'_>) -> io::Result<()>,
    ) -> io::Result<Progress> {
        let mut progress = Progress { positions: Positions::default(), has_more: false };
        let mut left = most_bytes;
        for segment in segments(&self.folder)? {
            let from = positions.of(&segment);
            progress.positions.note(&segment, from);
            if from >= segment.bytes {
                continue;
            }
            if left == 0 {
                progress.has_more = true;
                continue;
            }
            // Asked before: what a closed segment has at its end then, is its end.
            let is_closed = self.following.is_closed(&segment, now);
            let mut has_failed = false;
            let shown =
                read_from(&segment.path, from, left, |entry| show(entry).inspect_err(|_| has_failed = true));
            let stretch = match shown {
                Ok(stretch) => stretch,
                Err(error) if !has_failed && is_to_skip(&error) => continue,
                Err(error) => return Err(error),
            };
            left = left.saturating_sub(stretch.offset.saturating_sub(from));
            progress.has_more |= stretch.end == End::Bound;
            let mut offset = stretch.offset;
            if is_closed && stretch.end == End::Torn {
                let (file, bytes) = (segment.path.display(), stretch.bytes.saturating_sub(offset));
                tracing::info!(%file, bytes, "the end of a file of events is torn, and passed over");
                offset = stretch.bytes;
            }
            progress.positions.note(&segment, offset);
        }
        Ok(progress)
    }

    /// Bytes of the log behind these positions: what it has not been shown.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn behind(&self, positions: &Positions) -> io::Result<u64> {
        let segments = segments(&self.folder)?;
        Ok(segments.iter().map(|segment| segment.bytes.saturating_sub(positions.of(segment))).sum())
    }

    /// Says that it needs nothing any more of what is before these positions, which it has stored: what it says late may
    /// be removed as unread meanwhile.
    pub fn passed(&self, positions: &Positions) {
        let mut state = self.following.state();
        if state.consumers.get(&self.name) != Some(positions) {
            state.consumers.insert(self.name.clone(), positions.clone());
            state.has_news = true;
        }
    }
}

/// Whether a segment was just removed by another process, or is of a later version: then it stays for who can read it,
/// while there is room.
fn is_to_skip(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData)
}

/// Who follows the log of this process, and which segments this process has closed.
#[derive(Debug, Default)]
pub(super) struct Following(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    consumers: HashMap<String, Positions>,
    /// Names of segments.
    closed_here: HashSet<String>,
    /// Whether a consumer has passed something since the log was asked.
    has_news: bool,
}

impl Following {
    /// A consumer that has passed nothing yet.
    pub(super) fn register(self: &Arc<Self>, name: &str, folder: &Path) -> Consumer {
        self.state().consumers.insert(name.to_owned(), Positions::default());
        Consumer { name: name.to_owned(), folder: folder.to_owned(), following: self.clone() }
    }

    /// Whether there is a consumer.
    pub(super) fn is_followed(&self) -> bool {
        !self.state().consumers.is_empty()
    }

    /// Notes that this process writes a segment no more.
    pub(super) fn closed(&self, segment: &Segment) {
        self.state().closed_here.insert(segment.name().to_owned());
    }

    /// Whether nobody writes this segment any more.
    pub(super) fn is_closed(&self, segment: &Segment, now: UnixMs) -> bool {
        let is_within = |time: UnixMs, ms: i64| (-GRACE_MS..ms).contains(&now.since(time));
        let may_be_open =
            is_within(segment.began, SEGMENT_AGE_MS + GRACE_MS) || is_within(segment.written, GRACE_MS);
        !may_be_open || self.state().closed_here.contains(segment.name())
    }

    /// What of a segment every consumer has passed, in bytes; all of it when there is no consumer.
    pub(super) fn passed_of(&self, segment: &Segment) -> u64 {
        let state = self.state();
        state.consumers.values().map(|positions| positions.of(segment)).min().unwrap_or(u64::MAX)
    }

    /// Whether consumers have passed something since this was asked last.
    pub(super) fn take_news(&self) -> bool {
        std::mem::take(&mut self.state().has_news)
    }

    /// Forgets segments that are not among these.
    pub(super) fn forget_all_but(&self, segments: &[Segment]) {
        let names: HashSet<&str> = segments.iter().map(Segment::name).collect();
        self.state().closed_here.retain(|name| names.contains(name.as_str()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::analytics::event::{GapRecord, Record, RefusalRecord};
    use crate::analytics::log::{Log, files};
    use crate::calendar::{HOUR_MS, SECOND_MS};

    /// Files that a test writes are written now by the file system's clock, whatever its own says.
    fn now() -> UnixMs {
        crate::clock::Clock::system().now()
    }

    fn add(log: &mut Log, workspace_id: &str, number: usize, padding: usize) {
        let request_id = format!("{number}");
        let padding = "x".repeat(padding);
        let record = RefusalRecord {
            request_id: &request_id,
            time: UnixMs::new(i64::try_from(number).unwrap()),
            workspace_id,
            root_key_id: "key_root",
            reason: "UNKNOWN",
            api_id: "",
            key_id: "",
            tags: vec![&padding],
        };
        log.add(&Entry { record: Record::Refusal(record), cut_bytes: 0 });
    }

    /// A consumer with what it made of the events, which it stores with its positions.
    struct Reader {
        consumer: Consumer,
        positions: Positions,
        seen: Vec<usize>,
        gaps: Vec<(String, String, Option<u64>)>,
    }

    impl Reader {
        fn of(log: &Log, name: &str) -> Self {
            Reader { consumer: log.register(name), positions: Positions::default(), seen: vec![], gaps: vec![] }
        }

        /// Reads on: whether there is more. It is killed before it has stored anything when `is_killed`.
        fn read(&mut self, most_bytes: u64, now: UnixMs, is_killed: bool) -> bool {
            let (mut seen, mut gaps) = (self.seen.clone(), self.gaps.clone());
            let progress = self.consumer.read_on(&self.positions, most_bytes, now, |entry| {
                match entry.record {
                    Record::Refusal(record) => seen.push(record.request_id.parse().unwrap()),
                    Record::Gap(GapRecord { workspace_id, reason, events, .. }) => {
                        gaps.push((workspace_id.to_owned(), reason.to_owned(), events));
                    }
                    other => panic!("{other:?}"),
                }
                Ok(())
            });
            let progress = progress.unwrap();
            if !is_killed {
                (self.seen, self.gaps, self.positions) = (seen, gaps, progress.positions);
            }
            progress.has_more
        }

        fn read_all(&mut self, now: UnixMs) {
            while self.read(1 << 14, now, false) {}
        }

        fn sorted(&self) -> Vec<usize> {
            let mut seen = self.seen.clone();
            seen.sort_unstable();
            seen
        }
    }

    fn write(log: &mut Log, now: UnixMs) {
        log.write(now).unwrap();
    }

    fn up_to(end: usize) -> Vec<usize> {
        (0..end).collect()
    }

    #[test]
    fn a_consumer_sees_each_event_once_as_soon_as_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), 1 << 30).unwrap();
        let mut reader = Reader::of(&log, "engine");
        reader.read_all(now());
        let behind = |reader: &Reader| reader.consumer.behind(&reader.positions).unwrap();
        for number in 0..100 {
            add(&mut log, "ws_1", number, 10);
            if number % 3 == 0 {
                write(&mut log, now());
                assert!(behind(&reader) > 10, "{number}");
                reader.read_all(now());
                assert_eq!(behind(&reader), 0, "{number}");
                assert_eq!(reader.seen, up_to(number + 1));
            }
        }
        assert!(!reader.read(1, now(), false), "what is not written is not there");
    }

    #[test]
    fn it_is_shown_no_more_at_a_time_than_it_wants_and_a_frame_is_small() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), 1 << 30).unwrap();
        let mut reader = Reader::of(&log, "engine");
        (0..3000).for_each(|number| add(&mut log, "ws_1", number, 2000));
        write(&mut log, now());
        for part in 1..=3 {
            assert!(reader.read(1, now(), false));
            let shown = reader.seen.len();
            assert!((part * 500..part * 530).contains(&shown), "{shown} after {part}");
        }
        reader.read_all(now());
        assert!(reader.sorted() == up_to(3000), "{} were seen", reader.seen.len());
    }

    #[test]
    fn who_stops_before_it_has_stored_anything_is_shown_the_same_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), 1 << 30).unwrap();
        let mut reader = Reader::of(&log, "engine");
        for number in 0..10 {
            add(&mut log, "ws_1", number, 10);
            write(&mut log, now());
        }
        reader.read(1, now(), true);
        assert!(reader.seen.is_empty());
        reader.read(100, now(), false);
        reader.read(1 << 20, now(), true);
        reader.read_all(now());
        assert_eq!(reader.seen, up_to(10));
    }

    #[test]
    fn what_a_consumer_fails_with_is_its_own_matter_and_nothing_is_passed() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), 1 << 30).unwrap();
        let mut reader = Reader::of(&log, "engine");
        add(&mut log, "ws_1", 0, 10);
        write(&mut log, now());
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::InvalidData, io::ErrorKind::Other] {
            let failed = reader.consumer.read_on(&reader.positions, 1, now(), |_| Err(kind.into()));
            assert_eq!(failed.unwrap_err().kind(), kind);
        }
        reader.read_all(now());
        assert_eq!(reader.seen, [0]);
    }

    #[test]
    fn a_torn_end_is_left_for_later_until_its_file_is_closed() {
        let (folder, now) = (tempfile::tempdir().unwrap(), now());
        let mut other = Log::open(folder.path(), 1 << 30).unwrap();
        add(&mut other, "ws_1", 0, 10);
        write(&mut other, now);
        add(&mut other, "ws_1", 1, 10);
        write(&mut other, now);
        std::mem::forget(other);
        let path = files(folder.path()).unwrap().remove(0).0;
        let whole = fs::read(&path).unwrap();
        let log = Log::open(folder.path(), 1 << 30).unwrap();
        for torn in 1..30 {
            let mut reader = Reader::of(&log, "engine");
            fs::write(&path, &whole[..whole.len() - torn]).unwrap();
            reader.read_all(now);
            assert_eq!(reader.seen, [0], "{torn}");
            fs::write(&path, &whole).unwrap();
            reader.read_all(now);
            assert_eq!(reader.seen, [0, 1], "{torn}");
        }
        let mut reader = Reader::of(&log, "engine");
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let closed_at = now.plus(SEGMENT_AGE_MS + GRACE_MS);
        reader.read_all(closed_at.minus(MINUTE_MS));
        let [segment] = segments(folder.path()).unwrap().try_into().unwrap();
        assert!(reader.positions.of(&segment) < segment.bytes);
        reader.read_all(closed_at);
        assert_eq!((reader.seen.as_slice(), reader.positions.of(&segment)), (&[0][..], segment.bytes));
    }

    #[test]
    fn what_every_consumer_has_passed_is_removed_once_it_is_closed() {
        let (folder, now) = (tempfile::tempdir().unwrap(), now());
        let mut log = Log::open(folder.path(), 1 << 30).unwrap();
        let (mut fast, mut slow) = (Reader::of(&log, "fast"), Reader::of(&log, "slow"));
        add(&mut log, "ws_1", 0, 10);
        write(&mut log, now);
        fast.read_all(now);
        slow.read_all(now);
        let stored = [&fast, &slow].map(|reader| reader.positions.clone());
        fast.consumer.passed(&stored[0]);
        write(&mut log, now.plus(SECOND_MS));
        assert_eq!(files(folder.path()).unwrap().len(), 1, "it is open");
        let later = now.plus(SEGMENT_AGE_MS);
        add(&mut log, "ws_1", 1, 10);
        write(&mut log, later);
        assert_eq!(files(folder.path()).unwrap().len(), 2, "one has not passed it");
        slow.consumer.passed(&stored[1]);
        write(&mut log, later.plus(SECOND_MS));
        assert_eq!(files(folder.path()).unwrap().len(), 1);
        fast.read_all(later);
        slow.read_all(later);
        assert_eq!((fast.seen.as_slice(), slow.seen.as_slice()), (&[0, 1][..], &[0, 1][..]));
        assert_eq!(fast.positions.0.len(), 1, "what is gone has no position");
        assert!(log.take_lost().gaps.is_empty());
    }

    #[test]
    fn what_another_process_left_is_removed_an_hour_later_and_what_it_writes_is_not() {
        let (folder, now) = (tempfile::tempdir().unwrap(), now());
        let mut other = Log::open(folder.path(), 1 << 30).unwrap();
        add(&mut other, "ws_1", 0, 10);
        write(&mut other, now);
        let mut log = Log::open(folder.path(), 1 << 30).unwrap();
        let mut reader = Reader::of(&log, "engine");
        reader.read_all(now);
        reader.consumer.passed(&reader.positions);
        write(&mut log, now.plus(SEGMENT_AGE_MS));
        assert_eq!(files(folder.path()).unwrap().len(), 1);
        write(&mut log, now.plus(SEGMENT_AGE_MS + GRACE_MS));
        assert!(files(folder.path()).unwrap().is_empty());
        // Who has no consumer removes nothing but for want of room.
        add(&mut log, "ws_1", 1, 10);
        write(&mut log, now);
        write(&mut other, now.plus(3 * HOUR_MS));
        assert_eq!(files(folder.path()).unwrap().len(), 1);
    }

    #[test]
    fn a_full_log_removes_what_was_not_read_and_says_so() {
        let (folder, now) = (tempfile::tempdir().unwrap(), now());
        let mut log = Log::open(folder.path(), 64 << 10).unwrap();
        let mut reader = Reader::of(&log, "engine");
        let (mut unread, mut told) = (0, 0);
        for number in 0..500 {
            add(&mut log, if number % 10 == 0 { "ws_quiet" } else { "ws_loud" }, number, 500);
            write(&mut log, now);
            let lost = log.take_lost();
            unread += lost.unread;
            for entry in lost.gaps.entries() {
                let Record::Gap(gap) = entry.record else { panic!("{entry:?}") };
                assert_eq!(gap.reason, "unread");
                told += gap.events.unwrap();
            }
            if number == 400 {
                reader.read_all(now);
                reader.consumer.passed(&reader.positions);
            }
        }
        assert!(unread > 100, "{unread}");
        assert_eq!(unread, told);
        reader.read_all(now);
        let mut seen = reader.sorted();
        seen.dedup();
        assert_eq!(seen.len() as u64 + unread, 500, "each was seen or said to be missing");
    }

    #[test]
    fn what_somebody_else_removed_unread_is_a_gap_of_unknown_size() {
        let (folder, now) = (tempfile::tempdir().unwrap(), now());
        let mut log = Log::open(folder.path(), 1 << 20).unwrap();
        let mut reader = Reader::of(&log, "engine");
        add(&mut log, "ws_1", 0, 10);
        write(&mut log, now);
        fs::remove_file(&files(folder.path()).unwrap()[0].0).unwrap();
        write(&mut log, now.plus(MINUTE_MS));
        let lost = log.take_lost();
        let [entry] = lost.gaps.entries().collect::<Vec<_>>().try_into().unwrap();
        let Record::Gap(gap) = entry.record else { panic!("{entry:?}") };
        assert_eq!((gap.workspace_id, gap.events, gap.reason), ("", None, "unread"));
        assert_eq!((gap.first_time, gap.last_time), (now, now.plus(MINUTE_MS)));
        reader.read_all(now);
        assert!(reader.seen.is_empty());
    }

    #[test]
    fn a_file_of_a_later_version_stays_and_stops_nobody() {
        let (folder, now) = (tempfile::tempdir().unwrap(), now());
        fs::write(folder.path().join("0000000000001-req_a-ws_1.events"), "keyrack events 9\nanything").unwrap();
        let mut log = Log::open(folder.path(), 1 << 20).unwrap();
        let mut reader = Reader::of(&log, "engine");
        add(&mut log, "ws_1", 0, 10);
        write(&mut log, now);
        reader.read_all(now);
        reader.consumer.passed(&reader.positions);
        write(&mut log, now.plus(2 * HOUR_MS));
        assert_eq!(reader.seen, [0]);
        assert_eq!(files(folder.path()).unwrap().len(), 1, "the other one was passed");
    }

    #[test]
    fn positions_are_a_map_of_names_and_numbers() {
        let (folder, now) = (tempfile::tempdir().unwrap(), now());
        let mut log = Log::open(folder.path(), 1 << 20).unwrap();
        let mut reader = Reader::of(&log, "engine");
        add(&mut log, "ws_1", 0, 10);
        write(&mut log, now);
        reader.read_all(now);
        let stored = serde_json::to_value(&reader.positions).unwrap();
        let (name, bytes) = files(folder.path()).map(|files| (files[0].0.clone(), files[0].1)).unwrap();
        assert_eq!(stored, serde_json::json!({name.file_name().unwrap().to_str().unwrap(): bytes}));
        assert_eq!(serde_json::from_value::<Positions>(stored).unwrap(), reader.positions);
    }

    /// What happens to a log and those who follow it.
    #[derive(Debug, Clone)]
    enum Step {
        /// This process, or another one, records so many events of a workspace.
        Record { writer: usize, workspace: usize, events: usize, padding: usize },
        /// It writes what it recorded.
        Write { writer: usize },
        /// Another process is killed within a write, and a new one begins.
        Kill { torn: usize },
        /// A consumer reads on, and stores that unless it is killed.
        Read { reader: usize, most_bytes: u64, is_killed: bool },
        /// It says what it has passed.
        Pass { reader: usize },
        /// Time goes by.
        Wait { ms: i64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let record = (0..2_usize, 0..3_usize, 1..8_usize, 0..600_usize);
        prop_oneof![
            4 => record.prop_map(|(writer, workspace, events, padding)| Step::Record { writer, workspace, events, padding }),
            4 => (0..2_usize).prop_map(|writer| Step::Write { writer }),
            1 => (1..40_usize).prop_map(|torn| Step::Kill { torn }),
            4 => (0..2_usize, 1..5000_u64, any::<bool>())
                .prop_map(|(reader, most_bytes, is_killed)| Step::Read { reader, most_bytes, is_killed }),
            3 => (0..2_usize).prop_map(|reader| Step::Pass { reader }),
            1 => prop_oneof![Just(SECOND_MS), Just(20 * MINUTE_MS), Just(HOUR_MS)].prop_map(|ms| Step::Wait { ms }),
        ]
    }

    /// Two processes that write to one folder, and two consumers of the first.
    struct World {
        folder: tempfile::TempDir,
        logs: [Log; 2],
        readers: [Reader; 2],
        now: UnixMs,
        /// Events so far.
        recorded: usize,
        /// Of each process, those that are not written.
        waiting: [Vec<usize>; 2],
        written: Vec<usize>,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let logs = [0, 1].map(|_| Log::open(folder.path(), 1 << 30).unwrap());
            // Files of a log of this size are closed after a kilobyte.
            let logs = logs.map(|log| Log { segment_bytes: 1 << 10, ..log });
            let readers = ["fast", "slow"].map(|name| Reader::of(&logs[0], name));
            World { folder, logs, readers, now: now(), recorded: 0, waiting: [vec![], vec![]], written: vec![] }
        }

        fn take(&mut self, step: Step) {
            match step {
                Step::Record { writer, workspace, events, padding } => {
                    for _ in 0..events {
                        add(&mut self.logs[writer], &format!("ws_{workspace}"), self.recorded, padding);
                        self.waiting[writer].push(self.recorded);
                        self.recorded += 1;
                    }
                }
                Step::Write { writer } => self.write(writer),
                Step::Kill { torn } => self.kill(torn),
                Step::Read { reader, most_bytes, is_killed } => {
                    self.readers[reader].read(most_bytes, self.now, is_killed);
                }
                Step::Pass { reader } => {
                    let Reader { consumer, positions, .. } = &self.readers[reader];
                    consumer.passed(positions);
                }
                Step::Wait { ms } => self.now = self.now.plus(ms),
            }
        }

        fn write(&mut self, writer: usize) {
            self.logs[writer].write(self.now).unwrap();
            self.written.append(&mut self.waiting[writer]);
        }

        /// What the second process was writing is torn: the file has a beginning of a frame at its end.
        fn kill(&mut self, torn: usize) {
            let new = Log { segment_bytes: 1 << 10, ..Log::open(self.folder.path(), 1 << 30).unwrap() };
            let killed = std::mem::replace(&mut self.logs[1], new);
            self.waiting[1].clear();
            let open = killed.shared.path_of_current();
            std::mem::forget(killed);
            if let Some(path) = open.filter(|path| path.exists()) {
                let mut file = fs::read(&path).unwrap();
                let frame = [&[60, 0, 0, 0], &[7; 60][..]].concat();
                file.extend_from_slice(&frame[..torn]);
                let written = fs::metadata(&path).unwrap().modified().unwrap();
                fs::write(&path, file).unwrap();
                fs::File::options().append(true).open(&path).unwrap().set_modified(written).unwrap();
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn each_consumer_sees_each_event_once_whatever_happens(steps in prop::collection::vec(step(), 1..150)) {
            let mut world = World::new();
            steps.into_iter().for_each(|step| world.take(step));
            (0..2).for_each(|writer| world.write(writer));
            world.written.sort_unstable();
            let later = world.now.plus(2 * HOUR_MS);
            for reader in &mut world.readers {
                while reader.read(3000, later, false) {}
                prop_assert_eq!(&reader.sorted(), &world.written);
                reader.consumer.passed(&reader.positions);
            }
            prop_assert!(world.logs[0].take_lost().gaps.is_empty());
            world.logs[0].write(later).unwrap();
            prop_assert_eq!(files(world.folder.path()).unwrap().len(), 0, "all of it was passed");
        }
    }
}
