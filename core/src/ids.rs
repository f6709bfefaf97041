//! Ids: a prefix that says what the thing is, an underscore, when it was made (milliseconds since 2026 as 7 base58
//! characters, so that ids sort by age until 2095) and 11 base58 characters from the system's generator (about 64
//! bits for each millisecond, so two never meet). What is new stands together in every index, and a write touches few
//! of its pages. So an id tells when its thing was made, as far as clocks agree. On the way in, ids are opaque strings. Those of requests, which are not stored, are random only.

mod typed;

use std::cell::RefCell;
use std::fmt;

use zeroize::Zeroizing;

pub use typed::{
    ApiId, AuditLogId, Id, IdentityId, KeyId, MigrationId, NamespaceId, OverrideId, PermissionId, RatelimitId,
    RoleId, RootKeyId, WorkspaceId,
};

use crate::clock::Clock;

/// The Bitcoin alphabet: no `0`, `O`, `I` and `l`.
pub(crate) const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const TIME_CHARACTERS: usize = 7;
/// 2026-01-01 UTC, in Unix ms.
const TIME_BEGINS: i64 = 1_767_225_600_000;
const RANDOM_CHARACTERS: usize = 11;
const REQUEST_CHARACTERS: usize = 16;

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the thing it names")]
pub enum Kind {
    Api,
    Approval,
    AuditCorrelation,
    AuditLog,
    DataKey,
    Identity,
    Key,
    KeySpace,
    Migration,
    Permission,
    Ratelimit,
    RatelimitNamespace,
    RatelimitOverride,
    Role,
    RootKey,
    Workspace,
}

impl Kind {
    /// The prefix, without its underscore.
    pub const fn prefix(self) -> &'static str {
        match self {
            Kind::Api => "api",
            Kind::Approval => "appr",
            Kind::AuditCorrelation => "cor",
            Kind::AuditLog => "log",
            Kind::DataKey => "dek",
            Kind::Identity => "id",
            Kind::Key | Kind::RootKey => "key",
            Kind::KeySpace => "ks",
            Kind::Migration => "mig",
            Kind::Permission => "perm",
            Kind::Ratelimit => "rl",
            Kind::RatelimitNamespace => "rlns",
            Kind::RatelimitOverride => "rlor",
            Kind::Role => "role",
            Kind::Workspace => "ws",
        }
    }
}

/// A new id, such as `key_1e7UVaQ4Nv8yTq1ZbW`.
///
/// # Panics
/// When the operating system has no randomness to give: nothing can be named safely then.
#[expect(clippy::expect_used, reason = "without randomness nothing may be issued")]
pub fn generate(kind: Kind) -> String {
    let mut id = String::with_capacity(kind.prefix().len() + 1 + TIME_CHARACTERS + RANDOM_CHARACTERS);
    id.push_str(kind.prefix());
    id.push('_');
    // The clock that tests set decides nothing here: any time will do.
    push_time(&mut id, Clock::system().now().get());
    push_random_base58(&mut id, RANDOM_CHARACTERS).expect("the system's random number generator answers");
    id
}

/// Appends a time in Unix ms, so that texts sort as times do; the first or last text for a time outside of theirs.
fn push_time(text: &mut String, unix_ms: i64) {
    const PLACES: u32 = TIME_CHARACTERS as u32;
    let base = BASE58.len() as i64;
    let past = unix_ms.saturating_sub(TIME_BEGINS).clamp(0, base.pow(PLACES) - 1);
    for place in (0..PLACES).rev() {
        let digit = past / base.pow(place) % base;
        text.push(char::from(BASE58[usize::try_from(digit).unwrap_or(0)]));
    }
}

const REQUEST_PREFIX: &[u8] = b"req_";

/// The id of a request, such as `req_4Nv8yTq1ZbWc7XgR`. It is made here and adopted from nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; REQUEST_PREFIX.len() + REQUEST_CHARACTERS]);

impl RequestId {
    /// A new one. Nothing depends on its being hard to guess, and every request has one: randomness for
    /// many is asked of the system at once.
    ///
    /// # Panics
    /// As [`generate`].
    #[expect(clippy::new_without_default, reason = "a new id is no default")]
    pub fn new() -> Self {
        let mut id = [0; REQUEST_PREFIX.len() + REQUEST_CHARACTERS];
        let (prefix, random) = id.split_at_mut(REQUEST_PREFIX.len());
        prefix.copy_from_slice(REQUEST_PREFIX);
        STOCK.with_borrow_mut(|stock| random.copy_from_slice(stock.take()));
        RequestId(id)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

thread_local! {
    static STOCK: RefCell<Stock> = const { RefCell::new(Stock { characters: [0; 1024], left: 0 }) };
}

/// Random characters for the ids of requests.
struct Stock {
    characters: [u8; 1024],
    /// How many of them, from the beginning, were not taken yet.
    left: usize,
}

impl Stock {
    /// The characters of one id.
    fn take(&mut self) -> &[u8] {
        if self.left < REQUEST_CHARACTERS {
            self.fill();
        }
        self.left -= REQUEST_CHARACTERS;
        &self.characters[self.left..self.left + REQUEST_CHARACTERS]
    }

    #[expect(clippy::expect_used, reason = "without randomness nothing may be named")]
    fn fill(&mut self) {
        let mut random = [0; 1024];
        getrandom::fill(&mut random).expect("the system's random number generator answers");
        self.left = 0;
        for byte in random.into_iter().map(usize::from).filter(|byte| *byte < FAIR) {
            self.characters[self.left] = BASE58[byte % BASE58.len()];
            self.left += 1;
        }
    }
}

/// Of the 256 values of a byte the first 232 (4 × 58) are used; the rest would make some characters
/// likelier and are drawn again.
const FAIR: usize = 4 * BASE58.len();

/// Appends `count` characters drawn uniformly from the alphabet.
pub(crate) fn push_random_base58(text: &mut String, count: usize) -> Result<(), getrandom::Error> {
    let mut random = Zeroizing::new([0_u8; 64]);
    let mut missing = count;
    while missing > 0 {
        getrandom::fill(random.as_mut_slice())?;
        let fair = random.iter().filter(|byte| usize::from(**byte) < FAIR);
        for byte in fair.take(missing) {
            text.push(char::from(BASE58[usize::from(*byte) % BASE58.len()]));
            missing -= 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_prefix_and_base58_characters() {
        let id = generate(Kind::RatelimitNamespace);
        let tail = id.strip_prefix("rlns_").unwrap();
        assert_eq!(tail.len(), TIME_CHARACTERS + RANDOM_CHARACTERS);
        assert!(tail.bytes().all(|byte| BASE58.contains(&byte)));
        assert_ne!(id, generate(Kind::RatelimitNamespace));
        let time = |unix_ms| {
            let mut text = String::new();
            push_time(&mut text, unix_ms);
            text
        };
        let now = Clock::system().now().get();
        let made = &tail[..TIME_CHARACTERS];
        assert!((time(now - 60_000)..=time(now + 60_000)).contains(&made.to_owned()), "{id}");
    }

    #[test]
    fn ids_sort_by_age() {
        let times = [i64::MIN, 0, TIME_BEGINS, TIME_BEGINS + 1, TIME_BEGINS + 57, TIME_BEGINS + 58];
        let late = [1_795_910_400_123, 3_975_000_000_000, i64::MAX];
        let text = |time: &i64| {
            let mut text = String::new();
            push_time(&mut text, *time);
            text
        };
        let texts: Vec<_> = times.iter().chain(&late).map(text).collect();
        assert!(texts.is_sorted(), "{texts:?}");
        assert!(texts.iter().all(|text| text.len() == TIME_CHARACTERS));
        assert_eq!((texts[0].as_str(), texts[2].as_str(), texts[3].as_str()), ("1111111", "1111111", "1111112"));
        assert_eq!((texts[4].as_str(), texts[5].as_str()), ("111111z", "1111121"));
        assert_eq!(texts.last().unwrap(), "zzzzzzz");
    }

    #[test]
    fn requests_have_ids_of_the_same_form() {
        let ids: std::collections::HashSet<String> = (0..500).map(|_| RequestId::new().to_string()).collect();
        assert_eq!(ids.len(), 500);
        let is_base58 = |text: &str| text.len() == 16 && text.bytes().all(|byte| BASE58.contains(&byte));
        assert!(ids.iter().all(|id| id.strip_prefix("req_").is_some_and(is_base58)));
    }
}
