//! A shard: some of the cells, under one lock.
//!
//! Cells lie in the map by value, 48 bytes with their fingerprint. Where memory is full, a shard gives room: the
//! cells whose windows are over, and if there are none, a sixteenth of those of the one who has to pay; of
//! these first the ones that used least of their limit, and among equal ones the longest unused. Going through
//! a shard once per so many new cells costs each of them a fraction of a microsecond, and nobody waits for more
//! than one shard's worth.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::accounts::Account;
use super::check::{DURATION_BITS, LONGEST_MS};
use super::fingerprint::Fingerprint;
use super::unhashed::Unhashed;
use crate::calendar::DAY_MS;
use crate::ratelimit::window::{self, Window};

/// At the cap, one cell in so many of an account is taken out of a shard.
const SHARE_EVICTED: usize = 16;
/// How long a count is kept that nobody adds to, in ms, however long its window: 400 days.
const KEPT_UNUSED_MS: i64 = 400 * DAY_MS;

/// The counts of one cell, in 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    /// Length of the window in ms, and above it whose cell it is.
    duration_and_account: u64,
    /// Unix time in ms of the last count, and below it the limit then: 48 and 16 bits.
    last_and_limit: u64,
    /// Cost admitted in the current window.
    pub(super) current: i64,
    /// Cost admitted in the window before.
    pub(super) previous: i64,
}

/// A limit to three digits, in 16 bits: the upper half of a floating-point number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RoughLimit(pub(super) u16);

impl RoughLimit {
    pub(super) fn of(limit: i64) -> RoughLimit {
        RoughLimit(((limit.max(1) as f32).to_bits() >> 16) as u16)
    }

    fn value(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

impl Cell {
    /// An empty cell, into which something is counted next. The length of its window is between 1 and
    /// [`LONGEST_MS`].
    pub(super) fn new(duration_ms: i64) -> Cell {
        Cell { duration_and_account: duration_ms as u64, last_and_limit: 0, current: 0, previous: 0 }
    }

    /// The cell as one of this account.
    pub(super) fn of(self, account: Account) -> Cell {
        let duration_and_account = self.duration_ms() as u64 | u64::from(account.0) << DURATION_BITS;
        Cell { duration_and_account, ..self }
    }

    /// The cell after something was counted at `now_ms`, giving `window`.
    pub(super) fn counted(self, window: Window, limit: RoughLimit, now_ms: i64) -> Cell {
        // A count that came late, behind the turn of the window, does not turn it back.
        let is_late = window.sequence != window::sequence(now_ms, self.duration_ms());
        let last_ms = if is_late { window.sequence.saturating_mul(self.duration_ms()) } else { now_ms };
        self.last_counted(last_ms, limit, window.current, window.previous)
    }

    /// The cell with these counts, the last of them made at `last_ms`.
    pub(super) fn last_counted(self, last_ms: i64, limit: RoughLimit, current: i64, previous: i64) -> Cell {
        let last_and_limit = (last_ms.max(0) as u64) << 16 | u64::from(limit.0);
        Cell { last_and_limit, current, previous, ..self }
    }

    /// Length of the window in ms.
    pub(super) fn duration_ms(&self) -> i64 {
        (self.duration_and_account as i64) & LONGEST_MS
    }

    /// Whose cell it is.
    pub(super) fn account(&self) -> Account {
        Account((self.duration_and_account >> DURATION_BITS) as u32)
    }

    /// Unix time in ms of the last count: it says which window is the current one, and how old the cell is.
    pub(super) fn last_ms(&self) -> i64 {
        (self.last_and_limit >> 16) as i64
    }

    /// The limit of the last count.
    pub(super) fn limit(&self) -> RoughLimit {
        RoughLimit(self.last_and_limit as u16)
    }

    pub(super) fn window(&self) -> Window {
        let sequence = window::sequence(self.last_ms(), self.duration_ms());
        Window { sequence, current: self.current, previous: self.previous }
    }

    /// Whether it can be forgotten: its windows are over, or nobody has counted in it for ages.
    pub(super) fn is_over(&self, now_ms: i64) -> bool {
        self.window().is_over(now_ms, self.duration_ms()) || now_ms - self.last_ms() > KEPT_UNUSED_MS
    }

    /// How much of its limit is used. The bits of a positive floating-point number are ordered as it is.
    fn fullness(&self, now_ms: i64) -> u32 {
        let used = self.window().used(now_ms, self.duration_ms()) as f32;
        (used / self.limit().value()).to_bits()
    }
}

/// Some of the cells. Alone on its cache lines, so that threads at work in neighbours do not slow each other.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Shard {
    cells: HashMap<Fingerprint, Cell, BuildHasherDefault<Unhashed>>,
}

impl Shard {
    /// The window of a cell; an empty one where nothing was ever counted.
    pub(super) fn window(&self, fingerprint: Fingerprint) -> Window {
        self.cells.get(&fingerprint).map_or(Window::default(), Cell::window)
    }

    /// The cell, to be changed in place.
    pub(super) fn cell(&mut self, fingerprint: Fingerprint) -> Option<&mut Cell> {
        self.cells.get_mut(&fingerprint)
    }

    /// Puts a cell where there is none.
    pub(super) fn create(&mut self, fingerprint: Fingerprint, cell: Cell) {
        self.cells.insert(fingerprint, cell);
    }

    /// All cells, with what they are found by.
    pub(super) fn cells(&self) -> impl Iterator<Item = (Fingerprint, Cell)> {
        self.cells.iter().map(|(fingerprint, cell)| (*fingerprint, *cell))
    }

    /// Takes cells out to make room: whose they were, and how many of them, the last ones, still counted.
    pub(super) fn make_room(&mut self, payer: Account, now_ms: i64) -> (Vec<Account>, usize) {
        let mut gone = self.forget_idle(now_ms);
        if !gone.is_empty() {
            return (gone, 0);
        }
        let of_payer = self.cells().filter(|(_, cell)| cell.account() == payer);
        let rank = |(place, cell): (Fingerprint, Cell)| (cell.fullness(now_ms), cell.last_ms(), place);
        let mut ranked: Vec<_> = of_payer.map(rank).collect();
        let evicted = ranked.len().div_ceil(SHARE_EVICTED);
        let Some(last) = evicted.checked_sub(1) else { return (gone, 0) };
        ranked.select_nth_unstable(last);
        for (_, _, place) in &ranked[..evicted] {
            self.cells.remove(place);
        }
        // Places that were used once and are not free again make the map grow in time; this undoes it.
        self.cells.shrink_to_fit();
        gone.resize(evicted, payer);
        (gone, evicted)
    }

    /// Takes out all cells whose windows are over, and says whose they were.
    pub(super) fn forget_idle(&mut self, now_ms: i64) -> Vec<Account> {
        let mut gone = Vec::new();
        self.cells.retain(|_, cell| {
            let is_over = cell.is_over(now_ms);
            if is_over {
                gone.push(cell.account());
            }
            !is_over
        });
        if self.cells.len() < self.cells.capacity() / 4 {
            self.cells.shrink_to_fit();
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_takes_48_bytes_with_its_fingerprint() {
        assert_eq!(size_of::<(Fingerprint, Cell)>(), 48);
    }

    #[test]
    fn a_cell_remembers_its_window_also_after_a_late_count() {
        let window = Window { sequence: 178_000_000, current: 4, previous: 6 };
        let start = 178_000_000 * 10_000;
        for now in [start, start + 9_999, start - 1, start - 30_000] {
            let cell = Cell::new(10_000).counted(window, RoughLimit::of(10), now);
            assert_eq!(cell.window(), window, "{now}");
        }
    }

    #[test]
    fn what_shares_a_word_is_kept_apart() {
        let window = Window { sequence: 1, current: i64::MAX, previous: 6 };
        for duration_ms in [2, 1_000, LONGEST_MS] {
            for (account, limit) in [(0, 1), (Account::MOST - 1, i64::MAX), (1, 1_000)] {
                let (account, limit) = (Account(account), RoughLimit::of(limit));
                let cell = Cell::new(duration_ms).of(account).counted(window, limit, duration_ms + 1);
                let expected = (account, limit, duration_ms + 1);
                assert_eq!((cell.account(), cell.limit(), cell.last_ms()), expected);
                assert_eq!(
                    (cell.duration_ms(), cell.window()),
                    (duration_ms, Window { sequence: window::sequence(duration_ms + 1, duration_ms), ..window })
                );
            }
        }
    }

    #[test]
    fn a_rough_limit_is_near_the_limit() {
        for limit in [1, 2, 3, 10, 99, 1_000, 65_537, 1_000_000_007, i64::MAX / 3, i64::MAX] {
            let error = RoughLimit::of(limit).value() / limit as f32 - 1.0;
            assert!(error.abs() < 0.01, "{limit}: {error}");
        }
        assert_eq!(RoughLimit::of(0), RoughLimit::of(1));
    }

    #[test]
    fn a_count_with_a_window_without_end_goes_when_nobody_adds_to_it() {
        let window = Window { sequence: 1, current: 5, previous: 0 };
        let last_ms = LONGEST_MS + 1;
        let cell = Cell::new(LONGEST_MS).counted(window, RoughLimit::of(10), last_ms);
        assert!(!cell.is_over(last_ms + KEPT_UNUSED_MS));
        assert!(cell.is_over(last_ms + KEPT_UNUSED_MS + 1));
    }
}
