//! Which segments go when the log is too large: the oldest of whoever has most.
//!
//! A workspace has at most about a sixteenth of the segments that many share: one that had more of the last one
//! writes segments of its own ([`super::Log`]). So what is shared counts as a sixteenth of its bytes when it is
//! compared with workspaces. Segments of 0.1.0, in which anybody may have everything, count whole.

use std::collections::{BTreeMap, VecDeque};

use super::segment::{Owner, Segment};

/// Segments that are shared by so many at least, as far as anybody can tell.
pub(super) const SHARERS: u64 = 16;
/// As many small segments fill a log as would make it too large: it has no more files than that.
const MOST_SEGMENTS: u64 = 1 << 14;

/// Divides segments, which are sorted, into those that stay and those that go, in the order in which they do.
pub(super) fn divide(segments: Vec<Segment>, most_bytes: u64) -> (Vec<Segment>, Vec<Segment>) {
    let least = most_bytes / MOST_SEGMENTS;
    let weight = |segment: &Segment| segment.bytes.max(least);
    let mut total: u64 = segments.iter().map(weight).sum();
    let mut owners: BTreeMap<Owner, (u64, VecDeque<Segment>)> = BTreeMap::new();
    for segment in segments {
        let (bytes, oldest_first) = owners.entry(segment.owner.clone()).or_default();
        *bytes += weight(&segment);
        oldest_first.push_back(segment);
    }
    let mut gone = Vec::new();
    while total > most_bytes {
        let heaviest = owners.iter_mut().max_by_key(|(owner, (bytes, _))| share(owner, *bytes));
        let Some((owner, (bytes, oldest_first))) = heaviest else { break };
        if let Some(oldest) = oldest_first.pop_front() {
            *bytes -= weight(&oldest);
            total -= weight(&oldest);
            gone.push(oldest);
        }
        if oldest_first.is_empty() {
            let owner = owner.clone();
            owners.remove(&owner);
        }
    }
    let mut kept: Vec<Segment> = owners.into_values().flat_map(|(_, segments)| segments).collect();
    kept.sort();
    (kept, gone)
}

/// What a workspace has at most in the segments of this owner.
fn share(owner: &Owner, bytes: u64) -> u64 {
    if *owner == Owner::Shared { bytes / SHARERS } else { bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::UnixMs;

    fn segment(began: i64, owner: &str, bytes: u64) -> Segment {
        let owner = match owner {
            "shared" => Owner::Shared,
            "?" => Owner::Unknown,
            id => Owner::workspace(id).unwrap(),
        };
        Segment { began: UnixMs::new(began), path: began.to_string().into(), owner, bytes, written: UnixMs::EPOCH }
    }

    fn gone(segments: &[(&str, u64)], most_bytes: u64) -> Vec<i64> {
        let segments = (1..).zip(segments).map(|(began, (owner, bytes))| segment(began, owner, *bytes)).collect();
        let (kept, gone) = divide(segments, most_bytes);
        assert!(kept.is_sorted());
        gone.iter().map(|segment| segment.began.get()).collect()
    }

    #[test]
    fn the_oldest_of_whoever_has_most_goes_first() {
        let segments = [("a", 10), ("b", 40), ("b", 40), ("a", 10), ("c", 30)];
        assert_eq!(gone(&segments, 130), [0; 0]);
        assert_eq!(gone(&segments, 129), [2]);
        assert_eq!(gone(&segments, 89), [2, 3]);
        assert_eq!(gone(&segments, 49), [2, 3, 5]);
        assert_eq!(gone(&segments, 0), [2, 3, 5, 1, 4]);
    }

    #[test]
    fn what_is_shared_stays_while_a_workspace_has_more_than_a_sixteenth_of_it() {
        let segments = [("shared", 100), ("shared", 100), ("b", 20), ("b", 20)];
        assert_eq!(gone(&segments, 220), [3]);
        assert_eq!(gone(&segments, 200), [3, 4]);
        assert_eq!(gone(&segments, 199), [3, 4, 1]);
        assert_eq!(gone(&[("shared", 200), ("shared", 200), ("b", 20)], 300), [1]);
    }

    #[test]
    fn segments_of_0_1_0_go_with_those_who_have_most() {
        assert_eq!(gone(&[("?", 50), ("?", 50), ("b", 60), ("shared", 50)], 160), [1]);
        assert_eq!(gone(&[("?", 50), ("?", 50), ("b", 60), ("shared", 50)], 150), [1, 3]);
    }

    #[test]
    fn small_segments_are_no_more_than_some_thousands() {
        let segments: Vec<_> = (0..20_000).map(|_| ("shared", 100)).collect();
        assert_eq!(gone(&segments, 1 << 30).len(), 20_000 - 16_384);
    }
}
