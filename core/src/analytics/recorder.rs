//! From a decision to the log, the times of last use, and the hourly counts.
//!
//! Recording is one push into a bounded ring: it never waits, and wakes nobody (a parked thread woken per
//! event costs more than all the rest of a verification). A thread looks into the ring every 10 ms while
//! there is something to do. Beyond half of the ring each workspace has its share (`Shares`).

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use compact_str::CompactString;
use crossbeam_queue::ArrayQueue;
use foldhash::quality::RandomState;

use super::counts::Counts;
use super::event::Event;
use super::gaps::{Gaps, Losses, Reason};
use super::log::{Log, Lost};
use crate::calendar::UnixMs;
use crate::clock::Clock;
use crate::error::Error;
use crate::measure::{Counter, Gauge};
use crate::metrics::Metrics;
use crate::shares::{Share, Shares};

/// Events that the ring holds: three million a second bring 30,000 in the 10 ms between two looks; the first look after
/// idleness comes after 50 ms and finds room for 650,000 a second.
const RING: usize = 1 << 15;
/// Between two looks while there is something to do.
const TICK: Duration = Duration::from_millis(10);
/// Between two looks after one that found nothing.
const IDLE_TICK: Duration = Duration::from_millis(50);
/// What its thread is called in logs and metrics, beside scheduled work.
const TASK: &str = "events";
/// How long a log that cannot be written goes without another warning, in ticks.
const WARN_EVERY: u32 = 6000;

/// Takes events and keeps what is made of them until it is written.
#[derive(Debug)]
pub struct Recorder {
    ring: ArrayQueue<(Event, Share)>,
    shares: Shares,
    /// What found no place in the ring since it was emptied last.
    losses: Losses,
    /// Counted by how many have it: events that are still to come.
    due: Arc<()>,
    kept: Mutex<Kept>,
    stopping: AtomicBool,
    /// Events that were taken.
    pub recorded: Counter,
    /// Events that were lost.
    pub dropped: Dropped,
    /// How often the log could not be written.
    pub failed_writes: Counter,
    /// Bytes of the log.
    pub log_bytes: Gauge,
    /// Unix ms of the oldest event in the log; 0 while it has none.
    oldest: Gauge,
}

/// Events that were lost, by reason.
#[derive(Debug, Default)]
pub struct Dropped {
    /// The ring had no place.
    pub full: Counter,
    /// The ring had places, but none more for this workspace.
    pub share: Counter,
    /// They are counted as usage, but could not be written to the log.
    pub failed: Counter,
    /// They were written, and removed before every consumer of the log had passed them, as far as anybody knows.
    pub unread: Counter,
}

impl Dropped {
    /// The number for a reason.
    pub fn by(&self, reason: Reason) -> &Counter {
        match reason {
            Reason::Full => &self.full,
            Reason::Share => &self.share,
            Reason::Failed => &self.failed,
            Reason::Unread => &self.unread,
        }
    }
}

/// An event that is still to come: a stop waits for it.
#[derive(Debug)]
pub(crate) struct Due(#[expect(dead_code, reason = "it is counted, not used")] Arc<()>);

/// What was made of the events so far and is not in the store yet.
#[derive(Debug)]
struct Kept {
    log: Option<Log>,
    /// What is missing from the log, which does not say so yet.
    gaps: Gaps,
    /// Unix ms by key.
    last_used: HashMap<CompactString, UnixMs, RandomState>,
    counts: Counts,
    since_warning: u32,
}

impl Default for Kept {
    fn default() -> Self {
        // The first failure is warned of.
        Kept {
            log: None,
            gaps: Gaps::default(),
            last_used: HashMap::default(),
            counts: Counts::default(),
            since_warning: WARN_EVERY,
        }
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder {
            ring: ArrayQueue::new(RING),
            shares: Shares::of(RING),
            losses: Losses::default(),
            due: Arc::default(),
            kept: Mutex::default(),
            stopping: AtomicBool::new(false),
            recorded: Counter::default(),
            dropped: Dropped::default(),
            failed_writes: Counter::default(),
            log_bytes: Gauge::default(),
            oldest: Gauge::default(),
        }
    }
}

impl Recorder {
    /// Takes an event, or drops it and counts that.
    pub fn record(&self, event: Event) {
        let Some(share) = self.shares.take(event.workspace_id(), self.ring.len()) else {
            self.drop(&event, Reason::Share);
            return;
        };
        match self.ring.push((event, share)) {
            Ok(()) => self.recorded.add(1),
            Err((event, share)) => {
                self.shares.give_back(share);
                self.drop(&event, Reason::Full);
            }
        }
    }

    fn drop(&self, event: &Event, reason: Reason) {
        self.dropped.by(reason).add(1);
        self.losses.lose(event.workspace_id(), reason, event.time());
    }

    /// Announces an event: until this is dropped, a stop waits for it, but not for long.
    pub(crate) fn announce(&self) -> Due {
        Due(self.due.clone())
    }

    /// Whether an event is still to come.
    pub(crate) fn is_waiting_for_events(&self) -> bool {
        Arc::strong_count(&self.due) > 1
    }

    /// Events that wait in the ring.
    pub fn waiting(&self) -> usize {
        self.ring.len()
    }

    /// Writes events to this log from now on.
    pub fn write_to(&self, log: Log) {
        self.note_log(&log);
        self.kept().log = Some(log);
    }

    /// How old the oldest event in the log is at `now`, Unix ms; zero while it has none.
    pub fn log_age(&self, now: UnixMs) -> Duration {
        let oldest = self.oldest.value();
        let now = u64::try_from(now.get()).unwrap_or(0);
        Duration::from_millis(if oldest == 0 { 0 } else { now.saturating_sub(oldest) })
    }

    fn note_log(&self, log: &Log) {
        self.log_bytes.set(log.bytes());
        self.oldest.set(log.oldest().and_then(|oldest| u64::try_from(oldest.get()).ok()).unwrap_or(0));
    }

    /// Starts the thread that empties the ring, until [`Recorder::stop`]. How it fares is noted like scheduled work.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start(self: &Arc<Self>, clock: Clock, metrics: Arc<Metrics>) -> std::io::Result<()> {
        let recorder = Arc::clone(self);
        let work = move || {
            while !recorder.is_stopping() {
                let found = caught(|| recorder.empty_ring(&clock));
                metrics.scheduled_run(TASK, clock.now(), found.is_some());
                std::thread::sleep(if found.is_some_and(|found| found > 0) { TICK } else { IDLE_TICK });
            }
        };
        std::thread::Builder::new().name("keyrack-events".to_owned()).spawn(work).map(drop)
    }

    /// Ends the thread, after which the ring is emptied by those who ask for what was made of it, and by the program's
    /// end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether it was told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Empties the ring into the log and what is kept, and says how many events there were. Afterwards the log has all
    /// that was recorded before.
    pub fn empty_ring(&self, clock: &Clock) -> usize {
        let mut kept = self.kept();
        // No more than were there: decisions go on meanwhile.
        let waiting = self.ring.len();
        for (event, share) in std::iter::from_fn(|| self.ring.pop()).take(waiting) {
            self.shares.give_back(share);
            kept.take(&event);
        }
        let lost = self.losses.take();
        kept.gaps.merge(lost);
        self.write(&mut kept, clock.now());
        waiting
    }

    /// Writes what was added to the log, and what is missing from it.
    fn write(&self, kept: &mut Kept, now: UnixMs) {
        let Kept { log, gaps, since_warning, .. } = kept;
        let gaps = std::mem::take(gaps);
        let Some(log) = log else { return };
        gaps.entries().for_each(|entry| log.add(&entry));
        *since_warning = since_warning.saturating_add(1);
        if let Err(error) = log.write(now) {
            self.failed_writes.add(1);
            if *since_warning >= WARN_EVERY {
                tracing::warn!(%error, "events are lost: the log cannot be written");
                *since_warning = 0;
            }
        }
        let Lost { failed, unread, gaps } = log.take_lost();
        self.dropped.failed.add(failed);
        self.dropped.unread.add(unread);
        self.note_log(log);
        kept.gaps = gaps;
    }

    /// Takes the times of last use by key that the store does not know yet.
    pub(crate) fn take_uses(&self) -> Vec<(CompactString, UnixMs)> {
        std::mem::take(&mut self.kept().last_used).into_iter().collect()
    }

    /// Gives back what could not be written, unless the key was used again.
    pub(crate) fn put_back(&self, uses: &[(CompactString, UnixMs)]) {
        let mut kept = self.kept();
        for (key_id, at) in uses {
            kept.last_used.entry(key_id.clone()).or_insert(*at);
        }
    }

    /// Empties the ring, so that consumers of the log find what was recorded before.
    ///
    /// # Errors
    /// As [`Recorder::take_stock`].
    pub(crate) async fn take_in(self: &Arc<Self>, clock: &Clock) -> Result<(), Error> {
        let (recorder, clock) = (self.clone(), clock.clone());
        let look = move || {
            recorder.empty_ring(&clock);
        };
        tokio::task::spawn_blocking(look).await.map_err(Error::unexpected)
    }

    /// Empties the ring, and gives the counts that the store does not know yet.
    ///
    /// # Errors
    /// When the thread that does it panics, or the program ends.
    pub(crate) async fn take_stock(self: &Arc<Self>, clock: &Clock) -> Result<Counts, Error> {
        let (recorder, clock) = (self.clone(), clock.clone());
        let count = move || {
            recorder.empty_ring(&clock);
            recorder.kept().counts.clone()
        };
        // The log may keep its writer waiting.
        tokio::task::spawn_blocking(count).await.map_err(Error::unexpected)
    }

    /// Subtracts counts that are written.
    pub(crate) fn counts_are_written(&self, counts: &Counts) {
        self.kept().counts.subtract(counts);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look into the ring; `None` for one that panicked, which loses what it had taken.
fn caught(look: impl FnOnce() -> usize) -> Option<usize> {
    let found = std::panic::catch_unwind(AssertUnwindSafe(look));
    found.inspect_err(|_| tracing::error!("the thread of events panicked and goes on; some are lost")).ok()
}

impl Kept {
    fn take(&mut self, event: &Event) {
        if let Some(log) = &mut self.log {
            log.add(&event.entry());
        }
        self.counts.add(event);
        if let Event::Verification(event) = event {
            match self.last_used.get_mut(&event.found.key.id) {
                Some(last_used) => *last_used = event.time.max(*last_used),
                None => {
                    self.last_used.insert(event.found.key.id.clone(), event.time);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytics::event::{Ratelimit, Record, Refusal};
    use crate::analytics::log;
    use crate::analytics::texts::{KeptText, Tags};
    use crate::ids::RequestId;
    use crate::ratelimit::override_rules::OverrideRules;
    use crate::resident::Namespace;
    use crate::store::namespaces;

    const NOW: i64 = 1_773_576_000_000;

    fn namespace(workspace_id: &str) -> Arc<Namespace> {
        let (id, name) = ("rlns_1".to_owned(), "mail".to_owned());
        let stored = namespaces::Namespace { id, workspace_id: workspace_id.to_owned(), name, deleted: false };
        Arc::new(Namespace { stored, overrides: OverrideRules::default() })
    }

    fn event(namespace: &Arc<Namespace>) -> Event {
        Event::Ratelimit(Ratelimit {
            request_id: RequestId::new(),
            time: UnixMs::new(NOW),
            root_key_id: "key_root".into(),
            namespace: namespace.clone(),
            identifier: KeptText::of("ann"),
            override_id: None,
            passed: true,
            limit: 1,
            remaining: 0,
            reset_at: UnixMs::new(NOW),
            tokens: 1,
            latency: Duration::ZERO,
        })
    }

    fn record(recorder: &Recorder, workspace_id: &str, events: usize) {
        let namespace = namespace(workspace_id);
        (0..events).for_each(|_| recorder.record(event(&namespace)));
    }

    /// Workspace, reason and number of the gaps in a log.
    fn gaps(folder: &std::path::Path) -> Vec<(String, String, Option<u64>)> {
        let mut gaps = Vec::new();
        for (path, _) in log::files(folder).unwrap() {
            let is_torn = log::read(&path, |entry| {
                if let Record::Gap(gap) = entry.record {
                    assert_eq!((gap.first_time, gap.last_time), (UnixMs::new(NOW), UnixMs::new(NOW)));
                    gaps.push((gap.workspace_id.to_owned(), gap.reason.to_owned(), gap.events));
                }
                Ok(())
            });
            assert!(!is_torn.unwrap());
        }
        gaps.sort();
        gaps
    }

    fn refusal(workspace_id: &str) -> Event {
        Event::Refusal(Refusal {
            request_id: RequestId::new(),
            time: UnixMs::new(NOW),
            workspace_id: workspace_id.into(),
            root_key_id: "key_root".into(),
            hidden: None,
            tags: Tags::default(),
        })
    }

    fn counts(recorder: &Recorder) -> [u64; 4] {
        let Dropped { full, share, failed, .. } = &recorder.dropped;
        [recorder.recorded.value(), full.value(), share.value(), failed.value()]
    }

    #[test]
    fn a_workspace_that_floods_the_ring_loses_its_own_events_alone() {
        let recorder = Recorder::default();
        record(&recorder, "ws_loud", 2 * RING);
        let [recorded, full, share, _] = counts(&recorder);
        assert!((RING / 2..RING * 6 / 10).contains(&usize::try_from(recorded).unwrap()), "{recorded}");
        assert_eq!((full, share), (0, 2 * RING as u64 - recorded));
        record(&recorder, "ws_quiet", 500);
        assert_eq!(counts(&recorder), [recorded + 500, 0, share, 0], "all of the quiet one's");
        let clock = Clock::standing_at(UnixMs::new(NOW));
        assert_eq!(recorder.empty_ring(&clock) as u64, recorded + 500);
        let of = |id: &str| {
            let kept = recorder.kept();
            kept.counts.iter().filter(|(counted, _)| &*counted.workspace_id == id).map(|(_, count)| count).sum()
        };
        assert_eq!((of("ws_quiet"), of("ws_loud")), (500_i64, i64::try_from(recorded).unwrap()));
        // What was taken out has given its places back.
        record(&recorder, "ws_loud", 2 * RING);
        assert_eq!(counts(&recorder)[..3], [2 * recorded + 500, 0, 2 * share]);
    }

    #[test]
    fn events_that_the_log_cannot_take_are_counted_and_its_age_and_size_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join(log::FOLDER);
        let recorder = Recorder::default();
        recorder.write_to(Log::open(&inner, 1 << 30).unwrap());
        assert_eq!((recorder.log_bytes.value(), recorder.log_age(UnixMs::new(NOW))), (0, Duration::ZERO));
        std::fs::remove_dir(&inner).unwrap();
        record(&recorder, "ws_1", 3);
        recorder.empty_ring(&Clock::standing_at(UnixMs::new(NOW)));
        assert_eq!((counts(&recorder), recorder.failed_writes.value()), ([3, 0, 0, 3], 1));
        std::fs::create_dir(&inner).unwrap();
        record(&recorder, "ws_1", 2);
        recorder.empty_ring(&Clock::standing_at(UnixMs::new(NOW + 1000)));
        assert_eq!(counts(&recorder), [5, 0, 0, 3]);
        assert_eq!(recorder.log_age(UnixMs::new(NOW + 61_000)), Duration::from_secs(60));
        let [(_, bytes)] = log::files(&inner).unwrap().try_into().unwrap();
        assert_eq!(recorder.log_bytes.value(), bytes);
    }

    #[test]
    fn the_log_says_what_found_no_place_and_what_could_not_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join(log::FOLDER);
        let recorder = Recorder::default();
        recorder.write_to(Log::open(&inner, 1 << 30).unwrap());
        let clock = Clock::standing_at(UnixMs::new(NOW));
        record(&recorder, "ws_loud", 2 * RING);
        let [_, full, share, _] = counts(&recorder);
        assert_eq!(full, 0);
        recorder.empty_ring(&clock);
        let told = |workspace: &str, reason: &str, events| (workspace.to_owned(), reason.to_owned(), Some(events));
        assert_eq!(gaps(&inner), [told("ws_loud", "share", share)]);
        // What cannot be written is said once it can, and so are gaps that could not be.
        std::fs::remove_dir_all(&inner).unwrap();
        std::fs::create_dir(&inner).unwrap();
        recorder.empty_ring(&Clock::standing_at(UnixMs::new(NOW + 60_000)));
        std::fs::remove_dir(&inner).unwrap();
        record(&recorder, "ws_1", 3);
        record(&recorder, "ws_2", 2);
        record(&recorder, "ws_loud", 2 * RING);
        let [_, _, more, _] = counts(&recorder);
        recorder.empty_ring(&Clock::standing_at(UnixMs::new(NOW + 60_001)));
        recorder.empty_ring(&Clock::standing_at(UnixMs::new(NOW + 60_002)));
        let [_, _, _, failed] = counts(&recorder);
        std::fs::create_dir(&inner).unwrap();
        recorder.empty_ring(&Clock::standing_at(UnixMs::new(NOW + 62_000)));
        let due = [
            told("ws_1", "failed", 3),
            told("ws_2", "failed", 2),
            told("ws_loud", "failed", failed - 5),
            told("ws_loud", "share", more - share),
        ];
        assert_eq!(gaps(&inner), due);
        recorder.empty_ring(&Clock::standing_at(UnixMs::new(NOW + 62_001)));
        assert_eq!(gaps(&inner), due, "each is said once");
        assert_eq!(recorder.dropped.unread.value(), 0);
    }

    #[test]
    fn what_a_full_log_removes_unread_is_counted_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let recorder = Recorder::default();
        let log = Log::open(folder.path(), 1).unwrap();
        let _consumer = log.register("engine");
        recorder.write_to(log);
        let clock = Clock::standing_at(UnixMs::new(NOW));
        for _ in 0..100 {
            record(&recorder, "ws_1", 10);
            recorder.empty_ring(&clock);
        }
        recorder.empty_ring(&clock);
        let unread = recorder.dropped.unread.value();
        assert!((300..1000).contains(&unread), "{unread}");
        let told: u64 = gaps(folder.path()).into_iter().filter_map(|(_, _, events)| events).sum();
        assert!(told <= unread && told > 0, "{told} of {unread}; those of removed files go with the next ones");
    }

    #[test]
    fn a_flood_of_verifications_that_find_no_key_costs_others_nothing_and_counts_as_no_use() {
        let recorder = Recorder::default();
        (0..2 * RING).for_each(|_| recorder.record(refusal("ws_loud")));
        record(&recorder, "ws_quiet", 500);
        let [recorded, full, share, _] = counts(&recorder);
        assert_eq!((full, share), (0, 2 * RING as u64 + 500 - recorded), "all that are lost are the loud one's");
        recorder.empty_ring(&Clock::standing_at(UnixMs::new(NOW)));
        let kept = recorder.kept();
        assert_eq!(kept.counts.iter().map(|(_, count)| count).sum::<i64>(), 500);
        assert!(kept.last_used.is_empty());
    }

    #[test]
    fn a_stop_knows_of_events_that_are_still_to_come() {
        let recorder = Recorder::default();
        let due = recorder.announce();
        assert!(recorder.is_waiting_for_events());
        drop(due);
        assert!(!recorder.is_waiting_for_events());
    }

    #[test]
    fn an_event_is_small() {
        // The ring holds 32,768 of them, whatever they are of.
        assert!(size_of::<Event>() <= 176, "{}", size_of::<Event>());
    }

    #[test]
    fn a_look_that_panics_is_no_end() {
        assert_eq!([caught(|| panic!("of the test")), caught(|| 3)], [None, Some(3)]);
    }
}
