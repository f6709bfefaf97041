//! Counts of rate limits in this process's memory, exact under any concurrency.
//!
//! There is one small cell per (workspace, scope, identifier, duration). Cells are found by fingerprint and
//! spread over shards, each a map under a lock of its own that is held for the few nanoseconds of one
//! decision. A batch takes the locks of all its shards in ascending order, each once, decides on copies, and
//! stores them only if everything passed: nobody ever sees a half-counted batch, and two batches can never
//! wait for each other.
//!
//! Memory is bounded: where there is no more room, a new cell takes the place of others that belong to the
//! workspace with most cells, in one shard after the other, those first that used least of their limit. So a
//! workspace with no more than an equal share of the room loses nothing, whatever others do. Below the room, no
//! count is ever lost. Throttles of whole workspaces have shards of their own, from which nothing has to go.
//! Shards are as many as the room needs, so a full one has a map of a good size: all counts together take about
//! 75 bytes per cell that there is room for.
//!
//! What a check means is the window's business ([`Window`]); this file only finds, locks and stores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::accounts::{Accounts, Owner};
pub use super::check::{BatchDecision, CellKey, CellScope, Check, Decisions, Foreseen};
pub use super::decisions::LimitDecisions;
use super::fingerprint::{Fingerprint, Seed};
use super::shard::{Cell, RoughLimit, Shard};
use crate::calendar::UnixMs;
use crate::measure::Counter;
use crate::ratelimit::window::{Decision, Window};

/// How many cells there is room for unless something else is said.
pub const DEFAULT_ROOM: usize = 1_000_000;
/// How many cells a shard has when there is no more room: its map is then three quarters full, and gone through
/// in some ten microseconds.
const CELLS_PER_SHARD: usize = 768;
/// Shards for the throttles of workspaces, of which there is one cell each.
const THROTTLE_SHARDS: usize = 16;
/// Batches up to this size take no memory but the stack's. Verifications have one or two limits.
const USUAL_BATCH: usize = 8;

/// All counts of this process.
#[derive(Debug)]
pub struct MemoryCounters {
    seed: Seed,
    /// Those of tenants, then those of throttles.
    shards: Box<[Mutex<Shard>]>,
    /// Locked after shards, never before.
    accounts: Mutex<Accounts>,
    room: usize,
    /// Which shard gives room next.
    next_payer: AtomicUsize,
    /// Cells that had to go, although they still counted, because there was no more room.
    pub evicted: Counter,
    /// How often which kind of limit passed and refused.
    pub decisions: LimitDecisions,
}

impl Default for MemoryCounters {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryCounters {
    /// Whether what is counted is counted for all processes of an installation: each has counts of its own.
    pub const ARE_SHARED: bool = false;

    /// Counters without any count, with room for [`DEFAULT_ROOM`] cells.
    #[must_use]
    pub fn new() -> Self {
        Self::with_room_for(DEFAULT_ROOM)
    }

    /// Counters without any count, with room for this many cells, at least one.
    #[must_use]
    pub fn with_room_for(room: usize) -> Self {
        Self::seeded(Seed::random(), room)
    }

    pub(super) fn seeded(seed: Seed, room: usize) -> Self {
        let shards = room.div_ceil(CELLS_PER_SHARD).max(1) + THROTTLE_SHARDS;
        Self {
            seed,
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            accounts: Mutex::default(),
            room: room.max(1),
            next_payer: AtomicUsize::new(0),
            evicted: Counter::default(),
            decisions: LimitDecisions::default(),
        }
    }

    /// Decides on one check at `now` and counts its cost if it passed.
    ///
    /// A denied check and one of cost 0 count nothing and create no cell.
    pub fn check(&self, check: &Check<'_>, now: UnixMs) -> Decision {
        let decision = self.decide(check, now.get());
        self.decisions.note(check.cell.scope, decision.passed);
        decision
    }

    /// What a check would come to at `now`: nothing is counted, no cell is created, and no decision is noted.
    pub fn foresee(&self, check: &Check<'_>, now: UnixMs) -> Foreseen {
        let place = self.seed.fingerprint(&check.cell);
        let window = self.shard(place).window(place);
        check.foresee(window, now.get())
    }

    fn decide(&self, check: &Check<'_>, now_ms: i64) -> Decision {
        let place = self.seed.fingerprint(&check.cell);
        let mut shard = self.shard(place);
        let limit = RoughLimit::of(check.limit);
        let Some(cell) = shard.cell(place) else {
            let decision = check.decide(Window::default(), now_ms);
            if decision.passed && check.cost > 0 {
                let owner = self.seed.owner(&check.cell);
                let window = check.count(Window::default(), now_ms);
                let cell = Cell::new(check.cell.window_ms()).counted(window, limit, now_ms);
                let is_over_room = self.create(&mut shard, place, owner, cell);
                drop(shard);
                if is_over_room {
                    self.make_room(owner, now_ms);
                }
            }
            return decision;
        };
        let window = cell.window();
        let decision = check.decide(window, now_ms);
        if decision.passed && check.cost > 0 {
            *cell = cell.counted(check.count(window, now_ms), limit, now_ms);
        }
        decision
    }

    /// Decides on several checks at one instant and counts either all of them or none.
    ///
    /// Checks are looked at in order; one sees the cost of all earlier ones on the same cell,
    /// whether those passed or not (RM2). Each reports its own verdict. When the batch failed, a
    /// check that passed reports what its cell has left without any of the batch (RM6 K), a
    /// denied one reports 0.
    pub fn check_all(&self, checks: &[Check<'_>], now: UnixMs) -> BatchDecision {
        let batch = match checks {
            [one] => {
                let decision = self.decide(one, now.get());
                BatchDecision { passed: decision.passed, decisions: SmallVec::from_iter([decision]) }
            }
            _ => self.decide_all(checks, now.get()),
        };
        for (check, decision) in checks.iter().zip(&batch.decisions) {
            self.decisions.note(check.cell.scope, decision.passed);
        }
        batch
    }

    fn decide_all(&self, checks: &[Check<'_>], now_ms: i64) -> BatchDecision {
        let places: SmallVec<[Fingerprint; USUAL_BATCH]> =
            checks.iter().map(|check| self.seed.fingerprint(&check.cell)).collect();
        let (shards, mut cells) = self.lock_all(checks, &places);
        let at = |cells: &[BatchCell<'_>], place| cells.partition_point(|cell| cell.place < place);

        let mut decisions = Decisions::with_capacity(checks.len());
        for (check, place) in checks.iter().zip(&places) {
            let index = at(&cells, *place);
            let cell = &mut cells[index];
            decisions.push(check.decide(cell.after, now_ms));
            cell.after = check.count(cell.after, now_ms);
            cell.limit = check.limit;
        }

        let passed = decisions.iter().all(|decision| decision.passed);
        if passed {
            self.store(&cells, shards, now_ms);
        } else {
            for ((check, place), decision) in checks.iter().zip(&places).zip(&mut decisions) {
                if decision.passed {
                    decision.remaining = check.remaining(cells[at(&cells, *place)].before, now_ms);
                }
            }
        }
        BatchDecision { passed, decisions }
    }

    /// Stores what a batch has counted, and makes room for its new cells.
    fn store(&self, cells: &[BatchCell<'_>], mut shards: LockedShards<'_>, now_ms: i64) {
        let mut over_room = None;
        for cell in cells.iter().filter(|cell| cell.after != cell.before) {
            let counted = |of: Cell| of.counted(cell.after, RoughLimit::of(cell.limit), now_ms);
            let shard = &mut shards[cell.shard];
            match shard.cell(cell.place) {
                Some(known) => *known = counted(*known),
                None => {
                    let owner = self.seed.owner(&cell.key);
                    let created = counted(Cell::new(cell.key.window_ms()));
                    if self.create(shard, cell.place, owner, created) {
                        over_room = Some(owner);
                    }
                }
            }
        }
        drop(shards);
        if let Some(newest) = over_room {
            self.make_room(newest, now_ms);
        }
    }

    /// Locks the shards of a batch, each once, in ascending order, and reads its cells, each once.
    fn lock_all<'c, 'k>(
        &'c self,
        checks: &[Check<'k>],
        places: &[Fingerprint],
    ) -> (LockedShards<'c>, SmallVec<[BatchCell<'k>; USUAL_BATCH]>) {
        let unread = |(check, place): (&Check<'k>, &Fingerprint)| BatchCell {
            place: *place,
            key: check.cell,
            limit: check.limit,
            shard: 0,
            before: Window::default(),
            after: Window::default(),
        };
        let mut cells: SmallVec<[BatchCell<'k>; USUAL_BATCH]> = checks.iter().zip(places).map(unread).collect();
        cells.sort_unstable_by_key(|cell| cell.place);
        cells.dedup_by_key(|cell| cell.place);
        let mut shards = LockedShards::new();
        let mut last = None;
        for cell in &mut cells {
            let shard = self.shard_of(cell.place);
            if last.replace(shard) != Some(shard) {
                shards.push(lock(&self.shards[shard]));
            }
            cell.shard = shards.len() - 1;
            cell.before = shards[cell.shard].window(cell.place);
            cell.after = cell.before;
        }
        (shards, cells)
    }

    /// How many shards the cells of tenants are in.
    fn tenant_shards(&self) -> usize {
        self.shards.len() - THROTTLE_SHARDS
    }

    /// Where a place is. The larger the place, the later its shard.
    fn shard_of(&self, place: Fingerprint) -> usize {
        let tenants = self.tenant_shards();
        if place.is_throttle() { tenants + place.shard(THROTTLE_SHARDS) } else { place.shard(tenants) }
    }

    fn shard(&self, place: Fingerprint) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.shard_of(place)])
    }

    /// Puts a new cell into its shard, and says whether there are too many now: then whoever did makes room, once
    /// no shard is locked any more.
    fn create(&self, shard: &mut Shard, place: Fingerprint, owner: Owner, cell: Cell) -> bool {
        let mut accounts = self.accounts();
        shard.create(place, cell.of(accounts.charge(owner)));
        accounts.taken() > self.room
    }

    /// Puts back a cell that was saved.
    pub(super) fn restore(&self, place: Fingerprint, owner: Owner, cell: Cell, now_ms: i64) {
        let is_over_room = self.create(&mut self.shard(place), place, owner, cell);
        if is_over_room {
            self.make_room(owner, now_ms);
        }
    }

    /// Takes cells out while there are more than there is room for, from one shard after the other. Threads that
    /// do so at the same time may leave each other nothing, hence the end after a round.
    fn make_room(&self, newest: Owner, now_ms: i64) {
        let mut in_vain = 0;
        while in_vain < self.tenant_shards() {
            let accounts = self.accounts();
            let payer = if accounts.taken() > self.room { accounts.largest(newest) } else { None };
            drop(accounts);
            let Some(payer) = payer else { return };
            let at = self.next_payer.fetch_add(1, Ordering::Relaxed) % self.tenant_shards();
            let (gone, evicted) = lock(&self.shards[at]).make_room(payer, now_ms);
            self.accounts().discharge(&gone);
            self.evicted.add(evicted as u64);
            in_vain = if gone.is_empty() { in_vain + 1 } else { 0 };
        }
    }

    pub(super) fn seed(&self) -> Seed {
        self.seed
    }

    /// Each shard in turn, under its lock.
    pub(super) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(lock)
    }

    /// Whose the cells are. Nobody who holds this locks a shard.
    pub(super) fn accounts(&self) -> MutexGuard<'_, Accounts> {
        lock(&self.accounts)
    }

    /// Forgets every cell whose two windows are both over at `now`, and
    /// says how many there were. Safe to run at any time beside checks.
    pub fn forget_idle(&self, now: UnixMs) -> usize {
        let forget = |shard: &Mutex<Shard>| {
            let gone = lock(shard).forget_idle(now.get());
            self.accounts().discharge(&gone);
            gone.len()
        };
        self.shards.iter().map(forget).sum()
    }

    /// How many cells there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts().total()
    }

    /// Whether there is no cell at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The shards of a batch, locked in ascending order.
type LockedShards<'c> = SmallVec<[MutexGuard<'c, Shard>; USUAL_BATCH]>;

/// A cell that a batch counts in.
#[derive(Debug)]
struct BatchCell<'k> {
    place: Fingerprint,
    key: CellKey<'k>,
    /// Of the last check on it.
    limit: i64,
    /// Which of the batch's locked shards it is in.
    shard: usize,
    before: Window,
    /// Kept apart until the whole batch has passed.
    after: Window,
}

/// A panic cannot leave a cell half-written, since cells are stored whole; so a poisoned lock is as good as
/// any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
