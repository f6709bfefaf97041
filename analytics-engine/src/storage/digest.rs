//! What is kept of many latencies so that quantiles can be read from it: a t-digest.
//!
//! A digest is a list of centroids, each a mean and how many values it stands for; those near the ends stand for few,
//! so the quantiles people ask for (0.99) are the sharpest. Digests of parts are merged into that of the whole. The
//! method is Dunning and Ertl, [Computing extremely accurate quantiles using t-digests], with its scale function
//! `k1`; values are microseconds. A stored digest of one value takes three bytes or so.
//!
//! [Computing extremely accurate quantiles using t-digests]: https://arxiv.org/abs/1902.04023

use std::f64::consts::PI;

/// How many centroids a stored digest has about: the `δ` of the paper.
const STORED: f64 = 30.0;
/// How many one in memory has: what is merged again and again would be less and less sharp.
const IN_MEMORY: f64 = 64.0;
/// Centroids after which they are merged.
const MOST: usize = 160;
/// Centroids of which all are kept as they are when a digest is stored.
const FEW: usize = 24;

/// Latencies, summed up for quantiles.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Digest {
    /// Sorted by mean after [`Digest::compress`]; new ones stand at the end.
    centroids: Vec<Centroid>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Centroid {
    /// Microseconds.
    mean: f64,
    weight: u64,
}

impl Digest {
    /// Adds a latency in ms.
    pub fn add(&mut self, latency: f64) {
        let microseconds = (latency * 1000.0).round();
        if microseconds.is_finite() {
            self.push(Centroid { mean: microseconds.max(0.0), weight: 1 });
        }
    }

    /// Adds what another one has.
    pub fn merge(&mut self, other: &Digest) {
        other.centroids.iter().for_each(|centroid| self.push(*centroid));
    }

    /// Adds what a stored one has; one that cannot be read adds nothing.
    pub fn merge_stored(&mut self, stored: &[u8]) {
        if let Some(other) = Digest::read(stored) {
            self.merge(&other);
        }
    }

    /// How many latencies it has.
    pub fn count(&self) -> u64 {
        self.centroids.iter().map(|centroid| centroid.weight).sum()
    }

    /// The latency in ms below which this part of them lies, between neighbours in proportion; `None` without any.
    #[expect(clippy::cast_precision_loss, reason = "a rank among fewer than 2^53 values")]
    pub fn quantile(&mut self, part: f64) -> Option<f64> {
        self.sort();
        let (first, last) = (self.centroids.first()?, self.centroids.last()?);
        // A value stands in the middle of what its centroid weighs.
        let rank = part.clamp(0.0, 1.0) * self.count() as f64;
        let (mut before, mut passed) = ((0.0, first.mean), 0.0);
        for centroid in &self.centroids {
            let middle = passed + centroid.weight as f64 / 2.0;
            if rank <= middle {
                let width = middle - before.0;
                let share = if width > 0.0 { (rank - before.0) / width } else { 0.0 };
                return Some((before.1 + share * (centroid.mean - before.1)) / 1000.0);
            }
            before = (middle, centroid.mean);
            passed += centroid.weight as f64;
        }
        Some(last.mean / 1000.0)
    }

    /// As it is stored: how many centroids there are, doubled, and one more where weights follow; how much each mean is
    /// above the one before it; the weights. Integers of variable length (LEB128). Of none, nothing.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "means are whole and not negative"
    )]
    pub fn stored(&mut self) -> Vec<u8> {
        if self.centroids.len() > FEW {
            self.compress(STORED);
        } else {
            self.sort();
        }
        let mut bytes = Vec::new();
        if self.centroids.is_empty() {
            return bytes;
        }
        let weighs = self.centroids.iter().any(|centroid| centroid.weight != 1);
        push_integer(&mut bytes, (self.centroids.len() as u64) << 1 | u64::from(weighs));
        let mut before = 0;
        for centroid in &self.centroids {
            let mean = centroid.mean.round() as u64;
            push_integer(&mut bytes, mean.saturating_sub(before));
            before = mean.max(before);
        }
        if weighs {
            self.centroids.iter().for_each(|centroid| push_integer(&mut bytes, centroid.weight));
        }
        bytes
    }

    /// A stored one; `None` for bytes that are none.
    #[expect(clippy::cast_precision_loss, reason = "a mean below 2^53")]
    pub fn read(stored: &[u8]) -> Option<Digest> {
        let mut rest = stored;
        if rest.is_empty() {
            return Some(Digest::default());
        }
        let head = take_integer(&mut rest)?;
        let length = usize::try_from(head >> 1).ok().filter(|length| *length <= stored.len())?;
        let mut centroids = Vec::with_capacity(length);
        let mut mean = 0_u64;
        for _ in 0..length {
            mean = mean.checked_add(take_integer(&mut rest)?)?;
            centroids.push(Centroid { mean: mean as f64, weight: 1 });
        }
        if head & 1 == 1 {
            for centroid in &mut centroids {
                centroid.weight = take_integer(&mut rest)?;
            }
        }
        rest.is_empty().then_some(Digest { centroids })
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        self.centroids.capacity() * size_of::<Centroid>()
    }

    fn push(&mut self, centroid: Centroid) {
        if self.centroids.len() >= MOST {
            self.compress(IN_MEMORY);
        }
        self.centroids.push(centroid);
    }

    fn sort(&mut self) {
        self.centroids.sort_unstable_by(|a, b| a.mean.total_cmp(&b.mean));
    }

    /// Merges neighbours that stand for little together, until there are about so many.
    #[expect(clippy::cast_precision_loss, reason = "a sum of weights below 2^53")]
    fn compress(&mut self, centroids: f64) {
        self.sort();
        let count = self.count() as f64;
        let scale =
            |passed: u64| centroids * ((2.0 * passed as f64 / count - 1.0).clamp(-1.0, 1.0).asin() / PI + 0.5);
        let (mut passed, mut begin) = (0, 0.0);
        let mut merged: Vec<Centroid> = Vec::with_capacity(MOST);
        for centroid in &self.centroids {
            match merged.last_mut() {
                Some(last) if scale(passed + centroid.weight) - begin <= 1.0 => {
                    let weight = last.weight + centroid.weight;
                    last.mean += (centroid.mean - last.mean) * (centroid.weight as f64 / weight as f64);
                    last.weight = weight;
                }
                _ => {
                    begin = scale(passed);
                    merged.push(*centroid);
                }
            }
            passed += centroid.weight;
        }
        self.centroids = merged;
    }
}

fn push_integer(bytes: &mut Vec<u8>, mut integer: u64) {
    while integer >= 0x80 {
        bytes.push((integer & 0x7f) as u8 | 0x80);
        integer >>= 7;
    }
    bytes.push((integer & 0x7f) as u8);
}

fn take_integer(bytes: &mut &[u8]) -> Option<u64> {
    let mut integer = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        integer |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(integer);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values in ms whose logarithms are about normal, as latencies are; the same every time.
    fn latencies(count: u64) -> Vec<f64> {
        let mut state = 7_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f64>() - 6.0).map(f64::exp).collect()
    }

    fn rank_error(sorted: &[f64], digest: &mut Digest, part: f64) -> f64 {
        let value = digest.quantile(part).unwrap();
        let (low, high) =
            (sorted.partition_point(|one| *one < value), sorted.partition_point(|one| *one <= value));
        let rank = part * sorted.len() as f64;
        let distance = if rank < low as f64 { low as f64 - rank } else { (rank - high as f64).max(0.0) };
        distance / sorted.len() as f64
    }

    #[test]
    fn quantiles_are_near_those_of_all_values_also_after_merges_of_stored_parts() {
        let values = latencies(200_000);
        let mut whole = Digest::default();
        values.iter().for_each(|value| whole.add(*value));
        let mut merged = Digest::default();
        for part in values.chunks(777) {
            let mut digest = Digest::default();
            part.iter().for_each(|value| digest.add(*value));
            let stored = digest.stored();
            assert!(stored.len() < 160, "{}", stored.len());
            merged.merge_stored(&stored);
        }
        let mut sorted: Vec<f64> = values.iter().map(|value| (value * 1000.0).round() / 1000.0).collect();
        sorted.sort_by(f64::total_cmp);
        for digest in [&mut whole, &mut merged] {
            assert_eq!(digest.count(), 200_000);
            for part in [0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999] {
                let error = rank_error(&sorted, digest, part);
                assert!(error < 0.01, "{part}: {error}");
            }
        }
    }

    #[test]
    fn a_few_values_are_kept_as_they_are() {
        let mut none = Digest::default();
        assert_eq!((none.quantile(0.5), none.stored()), (None, vec![]));
        assert_eq!(Digest::read(&[]), Some(none));
        let mut one = Digest::default();
        one.add(0.25);
        assert_eq!(one.stored().len(), 3);
        assert_eq!([0.0, 0.5, 1.0].map(|part| one.quantile(part)), [Some(0.25); 3]);
        let mut three = Digest::default();
        [3.0, 1.0, 2.0].iter().for_each(|value| three.add(*value));
        assert_eq!(three.quantile(0.5), Some(2.0));
        let stored = three.stored();
        assert_eq!(Digest::read(&stored), Some(three));
    }

    #[test]
    fn what_is_no_digest_is_none() {
        for bytes in [&[2][..], &[0xff, 0xff, 0xff, 0xff], &[2, 1, 1], &[3, 1], &[0xff; 12]] {
            assert_eq!(Digest::read(bytes), None, "{bytes:?}");
        }
    }
}
