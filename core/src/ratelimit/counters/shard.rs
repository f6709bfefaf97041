//! A shard: some of the cells, under one lock.
//!
//! Cells lie in the map by value, 48 bytes with their fingerprint. Where memory is full, a shard makes room by
//! itself: a sixteenth of its cells at once, those first whose windows are over, then those with the lowest
//! counts, and among equal ones the longest unused. Going through a shard once per so many new cells costs each
//! of them a fraction of a microsecond, and nobody waits for more than one shard's worth.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::fingerprint::{Fingerprint, Unhashed};
use crate::ratelimit::window::{self, Window};

/// At the cap, one cell in so many of a shard is taken out.
const SHARE_EVICTED: usize = 16;

/// The counts of one cell, in 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    /// Length of the window in ms.
    pub(super) duration_ms: i64,
    /// Unix time in ms of the last count: it says which window is the current one, and how old the cell is.
    pub(super) last_ms: i64,
    /// Cost admitted in the current window.
    pub(super) current: i64,
    /// Cost admitted in the window before.
    pub(super) previous: i64,
}

impl Cell {
    /// A cell into which something was counted at `now_ms`, giving `window`.
    pub(super) fn new(duration_ms: i64, window: Window, now_ms: i64) -> Cell {
        // A count that came late, behind the turn of the window, does not turn it back.
        let is_late = window.sequence != window::sequence(now_ms, duration_ms);
        let last_ms = if is_late { window.sequence.saturating_mul(duration_ms) } else { now_ms };
        Cell { duration_ms, last_ms, current: window.current, previous: window.previous }
    }

    pub(super) fn window(&self) -> Window {
        let sequence = window::sequence(self.last_ms, self.duration_ms);
        Window { sequence, current: self.current, previous: self.previous }
    }

    pub(super) fn is_over(&self, now_ms: i64) -> bool {
        self.window().is_over(now_ms, self.duration_ms)
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

    /// Takes cells out to make room: how many of them were over, and how many still counted.
    pub(super) fn make_room(&mut self, now_ms: i64) -> (usize, usize) {
        let wanted = self.cells.len().div_ceil(SHARE_EVICTED);
        let over = self.forget_idle(now_ms);
        let Some(last) = wanted.checked_sub(over + 1) else { return (over, 0) };
        let rank = |(place, cell): (Fingerprint, Cell)| {
            (cell.window().used(now_ms, cell.duration_ms), cell.last_ms, place)
        };
        let mut ranked: Vec<_> = self.cells().map(rank).collect();
        ranked.select_nth_unstable(last);
        for (_, _, place) in &ranked[..=last] {
            self.cells.remove(place);
        }
        // Places that were used once and are not free again make the map grow in time; this undoes it.
        self.cells.shrink_to_fit();
        (over, last + 1)
    }

    /// Takes out all cells whose windows are over, and says how many they were.
    pub(super) fn forget_idle(&mut self, now_ms: i64) -> usize {
        let before = self.cells.len();
        self.cells.retain(|_, cell| !cell.is_over(now_ms));
        if self.cells.len() < self.cells.capacity() / 4 {
            self.cells.shrink_to_fit();
        }
        before - self.cells.len()
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
            assert_eq!(Cell::new(10_000, window, now).window(), window, "{now}");
        }
    }
}
