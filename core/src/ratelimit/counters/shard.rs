//! A shard: some of the cells, under one lock.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::fingerprint::{Fingerprint, Unhashed};
use crate::ratelimit::window::{self, Window};

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

    /// Puts a cell in, and says whether it is new.
    pub(super) fn put(&mut self, fingerprint: Fingerprint, cell: Cell) -> bool {
        self.cells.insert(fingerprint, cell).is_none()
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
