//! What a cell is found by: a keyed hash, of 128 bits, of everything its count belongs to.
//!
//! No text of a request is kept, so a look-up compares two numbers and a cell is small and of one size. The
//! key is random, so nobody outside can make two cells meet or crowd one place of the map; that two meet by
//! chance is as likely, among a million, as one in 2^89. SipHash-1-3 is the hash of the standard library's
//! own maps, here with twice its width.

use std::hash::{Hash, Hasher};

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::accounts::Owner;
use super::check::{CellKey, CellScope};

/// Cannot occur inside a text, so that texts in a row cannot be cut in two ways.
const END_OF_TEXT: [u8; 1] = [0xff];

/// This bit of a fingerprint says what it is of, so that throttles lie behind everything else.
const THROTTLE: u64 = 1 << 63;

/// The key of the hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed([u8; 16]);

impl Seed {
    /// A new one from the system's generator.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: nothing can be named safely then.
    #[expect(clippy::expect_used, reason = "without randomness nothing may be counted")]
    pub(super) fn random() -> Seed {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system's random number generator answers");
        Seed(bytes)
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Seed {
        Seed(bytes)
    }

    pub(super) fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The fingerprint of a cell. Saved counts depend on it: it must not change from one version to the next.
    pub(super) fn fingerprint(&self, key: &CellKey<'_>) -> Fingerprint {
        let (kind, name) = match key.scope {
            CellScope::Namespace(id) => (0, id),
            CellScope::Key(name) => (1, name),
            CellScope::Workspace => (2, ""),
        };
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(&key.duration_ms.to_le_bytes());
        for text in [key.workspace, name, key.identifier] {
            hasher.write(text.as_bytes());
            hasher.write(&END_OF_TEXT);
        }
        hasher.write(&[kind]);
        let hash = hasher.finish128();
        let shard = if key.scope == CellScope::Workspace { hash.h1 | THROTTLE } else { hash.h1 & !THROTTLE };
        Fingerprint { shard, place: hash.h2 }
    }

    /// Whom a cell is charged to. Saved with the counts, like fingerprints.
    pub(super) fn owner(&self, key: &CellKey<'_>) -> Owner {
        if key.scope == CellScope::Workspace {
            return Owner::SERVER;
        }
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(key.workspace.as_bytes());
        Owner(hasher.finish128().h1)
    }
}

/// The fingerprint of a cell. Its order is the order in which shards are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fingerprint {
    shard: u64,
    place: u64,
}

impl Fingerprint {
    pub(super) fn from_bytes(bytes: [u8; 16]) -> Fingerprint {
        let number = |from: usize| u64::from_le_bytes(std::array::from_fn(|at| bytes[from + at]));
        Fingerprint { shard: number(0), place: number(8) }
    }

    pub(super) fn to_bytes(self) -> [u8; 16] {
        let number = u128::from(self.place) << 64 | u128::from(self.shard);
        number.to_le_bytes()
    }

    /// Whether it is of the throttle of a workspace.
    pub(super) fn is_throttle(self) -> bool {
        self.shard & THROTTLE != 0
    }

    /// The fingerprint as that of a limit, whose bits are otherwise random.
    pub(super) fn of_a_limit(self) -> Fingerprint {
        Fingerprint { shard: self.shard & !THROTTLE, ..self }
    }

    /// Which of `count` shards of its sort the cell is in: the larger the fingerprint, the later.
    pub(super) fn shard(self, count: usize) -> usize {
        // The fraction that the lower bits are of 2^63, times `count`: always less than that.
        ((u128::from(self.shard & !THROTTLE) * count as u128) >> 63) as usize
    }
}

/// A fingerprint is random already, so half of it is its hash; the shard takes the other half.
impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_stays_the_same_from_version_to_version() {
        let scope = CellScope::Namespace("rlns_1");
        let key = CellKey { workspace: "ws_1", scope, identifier: "user_42", duration_ms: 60_000 };
        let fingerprint = Seed([7; 16]).fingerprint(&key);
        assert_eq!(
            (fingerprint.shard, fingerprint.place),
            (17_081_566_401_202_119_471 & !THROTTLE, 10_332_134_349_438_932_020)
        );
    }

    #[test]
    fn texts_are_not_cut_in_two_ways() {
        let of = |name, identifier| {
            let scope = CellScope::Key(name);
            Seed([7; 16]).fingerprint(&CellKey { workspace: "ws_1", scope, identifier, duration_ms: 1 })
        };
        assert_ne!(of("a", "bc"), of("ab", "c"));
    }

    #[test]
    fn fingerprints_fill_every_shard_in_their_own_order() {
        let at = |shard| Fingerprint { shard, place: 0 };
        for sort in [0, THROTTLE] {
            for count in [1, 3, 1_302] {
                assert_eq!((at(sort).shard(count), at(sort | (THROTTLE - 1)).shard(count)), (0, count - 1));
            }
            assert_eq!([0, 1, 2, 3].map(|quarter| at(sort | quarter << 61).shard(4)), [0, 1, 2, 3]);
        }
    }
}
