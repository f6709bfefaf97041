//! Numbers that may be counted anywhere: what grows, what is as it is, and how things are spread.
//!
//! Counting is one atomic addition: no lock, no text, no allocation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The number.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number as it is now.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Replaces it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of a histogram's buckets, in seconds; a last bucket takes the rest.
pub const BOUNDS: [f64; 17] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
    30.0,
];

/// How long something took, in buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BOUNDS.len() + 1],
    microseconds: Counter,
}

impl Histogram {
    /// Notes one duration.
    pub fn note(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        self.buckets[BOUNDS.partition_point(|bound| *bound < seconds)].add(1);
        self.microseconds.add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// How many durations fell into each bucket, the last one being without bound.
    pub fn buckets(&self) -> [u64; BOUNDS.len() + 1] {
        std::array::from_fn(|at| self.buckets[at].value())
    }

    /// All durations together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.microseconds.value())
    }
}

/// Upper bounds of the buckets of group sizes; a last bucket takes the rest.
pub const SIZE_BOUNDS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/// How large groups were, in buckets.
#[derive(Debug, Default)]
pub struct GroupSizes {
    buckets: [Counter; SIZE_BOUNDS.len() + 1],
    members: Counter,
}

impl GroupSizes {
    /// Notes one group.
    pub fn note(&self, size: u64) {
        self.buckets[SIZE_BOUNDS.partition_point(|bound| *bound < size)].add(1);
        self.members.add(size);
    }

    /// How many groups fell into each bucket, the last one being without bound.
    pub fn buckets(&self) -> [u64; SIZE_BOUNDS.len() + 1] {
        std::array::from_fn(|at| self.buckets[at].value())
    }

    /// The members of all groups together.
    pub fn sum(&self) -> u64 {
        self.members.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for microseconds in [1, 500, 501, 30_000_000, 30_000_001] {
            histogram.note(Duration::from_micros(microseconds));
        }
        let buckets = histogram.buckets();
        assert_eq!([0, 3, 4, 16, 17].map(|bucket| buckets[bucket]), [1; 5]);
        assert_eq!(buckets.iter().sum::<u64>(), 5);
        assert_eq!(histogram.sum(), Duration::from_micros(60_001_003));
    }
}
