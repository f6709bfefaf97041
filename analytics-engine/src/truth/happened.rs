//! What happened, by chance, and the events that decisions make of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use keyrack_core::analytics::event::{Event, Ratelimit, Refusal, Verification};
use keyrack_core::analytics::texts::{KeptText, RefusedBy, Tags};
use keyrack_core::calendar::{DAY_MS, HOUR_MS, UnixMs};
use keyrack_core::ids::RequestId;
use keyrack_core::keys::verdict::Verdict;
use keyrack_core::ratelimit::override_rules::OverrideRules;
use keyrack_core::resident::{Access, FoundKey, Identity, Key, NEVER, Namespace, Place};
use keyrack_core::store::namespaces;

/// 2028-01-20 UTC, in Unix ms: of the seventy days from here on, two are the last of a month, and one is a leap day.
pub(super) const BEGIN: i64 = 1_831_939_200_000;
/// How many days events are spread over.
pub(super) const DAYS: i64 = 70;
/// 2028-02-29, which has several times as many events as another day.
const LEAP_DAY: i64 = 40;
/// The days that begin with a clock that is set back: both months' firsts, and the leap day.
const SET_BACK: [i64; 3] = [12, LEAP_DAY, LEAP_DAY + 1];

/// Who has how many of the keys and namespaces: most, some, and few.
pub(super) const WORKSPACES: [&str; 3] = ["ws_loud", "ws_other", "ws_quiet"];
const KEYS: usize = 40;
const NAMESPACES: usize = 6;
const EXTERNAL_IDS: [&str; 7] =
    ["customer_7", "ann@example.com", "über 🗝", "o'brien \"x\"", "a\\b", "NULL", "customer_70"];
pub(super) const IDENTIFIERS: [&str; 8] =
    ["ann", "bob", "203.0.113.7", "über 🗝", "'", "\\", "", "a rather long name of somebody who was counted"];
/// What events keep of tags, each of which is sent twice.
pub(super) const TAGS: [&[&str]; 6] = [
    &[],
    &["path=/v1/letters"],
    &["path=/v1/letters", "plan=free"],
    &["plan=free", "path=/v1/letters"],
    &["a"],
    &["über 🗝"],
];
const REFUSALS: [Verdict; 6] = [
    Verdict::RateLimited,
    Verdict::UsageExceeded,
    Verdict::Expired,
    Verdict::Disabled,
    Verdict::Forbidden,
    Verdict::InsufficientPermissions,
];

/// Numbers that a seed decides (SplitMix64, Steele, Lea and Flood 2014).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one.
    pub(super) fn below(&mut self, bound: i64) -> i64 {
        ((self.next() >> 2) % bound.unsigned_abs()).cast_signed()
    }

    /// A place among so many.
    pub(super) fn place(&mut self, among: usize) -> usize {
        (self.next() % among as u64) as usize
    }
}

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Happened {
    /// Unix ms, by a clock that jumps.
    pub(super) time: i64,
    /// Microseconds.
    pub(super) latency: u64,
    /// Credits that were spent, or the cost that was asked for.
    pub(super) cost: i64,
    pub(super) what: What,
}

/// What happened; keys and namespaces are places in the [`World`].
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Verified {
        key: usize,
        outcome: Verdict,
        tags: usize,
    },
    Limited {
        namespace: usize,
        identifier: usize,
        passed: bool,
    },
    /// A verification that found no key, which no table counts.
    Refused,
}

/// Those to whom it happens.
pub(super) struct World {
    pub(super) keys: Vec<FoundKey>,
    pub(super) namespaces: Vec<Arc<Namespace>>,
    key_places: HashMap<String, usize>,
    namespace_places: HashMap<String, usize>,
}

impl World {
    pub(super) fn new() -> Self {
        let keys: Vec<FoundKey> = (0..KEYS).map(key).collect();
        let namespaces: Vec<_> = (0..NAMESPACES).map(namespace).collect();
        World {
            key_places: keys.iter().map(|found| found.key.id.to_string()).zip(0..).collect(),
            namespace_places: namespaces.iter().map(|one| one.stored.id.clone()).zip(0..).collect(),
            keys,
            namespaces,
        }
    }

    pub(super) fn place_of_key(&self, id: &str) -> Option<usize> {
        self.key_places.get(id).copied()
    }

    pub(super) fn place_of_namespace(&self, id: &str) -> Option<usize> {
        self.namespace_places.get(id).copied()
    }

    /// The event that the program makes of what happened.
    pub(super) fn event(&self, happened: &Happened, request_id: RequestId) -> Event {
        let (time, latency) = (UnixMs::new(happened.time), Duration::from_micros(happened.latency));
        let root_key_id = happened.root_key().into();
        match happened.what {
            What::Verified { key, outcome, tags } => Event::Verification(Verification {
                request_id,
                time,
                root_key_id,
                found: self.keys[key].clone(),
                outcome,
                refused_by: (outcome == Verdict::RateLimited)
                    .then(|| Box::new(RefusedBy::of(happened.refused_by()))),
                tags: Tags::of(TAGS[tags].iter().chain(TAGS[tags]).copied()),
                spent_credits: happened.cost,
                latency,
            }),
            What::Limited { namespace, identifier, passed } => Event::Ratelimit(Ratelimit {
                request_id,
                time,
                root_key_id,
                namespace: Arc::clone(&self.namespaces[namespace]),
                identifier: KeptText::of(IDENTIFIERS[identifier]),
                override_id: happened.override_id().map(Arc::from),
                passed,
                limit: happened.limit(),
                remaining: happened.remaining(),
                reset_at: UnixMs::new(happened.reset_at()),
                tokens: happened.cost,
                latency,
            }),
            What::Refused => Event::Refusal(Refusal {
                request_id,
                time,
                workspace_id: WORKSPACES[0].into(),
                root_key_id,
                hidden: None,
                tags: Tags::default(),
            }),
        }
    }
}

// What nothing is summed by follows from the rest.
impl Happened {
    pub(super) fn root_key(&self) -> &'static str {
        ["key_root_1", "key_root_2"][(self.latency % 2) as usize]
    }

    /// The limits that refused a verification.
    pub(super) fn refused_by(&self) -> Vec<&'static str> {
        match self.what {
            What::Verified { outcome: Verdict::RateLimited, .. } => vec!["per_minute", "per_day"],
            _ => Vec::new(),
        }
    }

    pub(super) fn override_id(&self) -> Option<&'static str> {
        self.latency.is_multiple_of(5).then_some("rlor_1")
    }

    pub(super) fn limit(&self) -> i64 {
        10 + (self.latency % 7).cast_signed()
    }

    pub(super) fn remaining(&self) -> i64 {
        (self.latency % 10).cast_signed()
    }

    pub(super) fn reset_at(&self) -> i64 {
        self.time + 60_000
    }
}

/// Which workspace has the one of this place among so many.
fn workspace(place: usize, of: usize) -> &'static str {
    WORKSPACES[usize::from(place * 3 >= of * 2) + usize::from(place + 1 == of)]
}

fn key(place: usize) -> FoundKey {
    let workspace_id: Arc<str> = workspace(place, KEYS).into();
    let api = format!("{workspace_id}_{}", place % 3);
    let id = place % EXTERNAL_IDS.len();
    let identity = Identity {
        id: format!("id_{workspace_id}_{id}").into(),
        workspace_id: Arc::clone(&workspace_id),
        external_id: EXTERNAL_IDS[id].into(),
        meta: None,
        ratelimits: Box::default(),
    };
    let identity = (!place.is_multiple_of(4)).then(|| Arc::new(identity));
    let key = Key {
        id: format!("key_{place:02}").into(),
        place: Arc::new(Place { workspace_id, api_id: format!("api_{api}").into(), pending_migration_id: None }),
        name: None,
        identity_id: identity.as_ref().map(|identity| identity.id.as_str().into()),
        meta: None,
        enabled: true,
        expires_at: NEVER,
        balance: None,
        access: Arc::new(Access { permissions: Box::default(), roles: Box::default() }),
        ratelimits: Box::default(),
    };
    FoundKey { key: Arc::new(key), key_space_id: format!("ks_{api}").into(), restricted_by: None, identity }
}

fn namespace(place: usize) -> Arc<Namespace> {
    let workspace_id = workspace(place, NAMESPACES).to_owned();
    let name = format!("mail 🗝 {place}");
    let stored = namespaces::Namespace { id: format!("rlns_{place}"), workspace_id, name, deleted: false };
    Arc::new(Namespace { stored, overrides: OverrideRules::default() })
}

/// So many things that happen, in the order in which they do.
pub(super) fn happenings(chance: &mut Chance, count: usize) -> Vec<Happened> {
    let parts = |day: i64| if day == LEAP_DAY { 5 } else { 1 };
    let all_parts: i64 = (0..DAYS).map(parts).sum();
    let mut happened = Vec::with_capacity(count);
    let mut clock = Jumps { ms: 0, left: 0 };
    let mut due = 0;
    for day in 0..DAYS {
        due += parts(day);
        let until = count * due.unsigned_abs() as usize / all_parts.unsigned_abs() as usize;
        let first = happened.len();
        while happened.len() < until {
            several(chance, BEGIN + day * DAY_MS, until, &mut happened);
        }
        happened[first..].sort_by_key(|one| one.time);
        for (number, one) in happened[first..].iter_mut().enumerate() {
            one.time += clock.jumps(chance, SET_BACK.contains(&day) && number == 0);
        }
    }
    happened
}

/// Something that happens several times within a few seconds of a day.
fn several(chance: &mut Chance, day: i64, until: usize, happened: &mut Vec<Happened>) {
    let time = match chance.below(100) {
        0 => 0,
        1 => DAY_MS - 1,
        _ => chance.below(DAY_MS),
    };
    let what = what(chance);
    for _ in 0..=chance.below(4) {
        if happened.len() < until {
            let time = day + (time + chance.below(2000)).min(DAY_MS - 1);
            let latency = 50 + (chance.below(1000) * (1 + chance.below(100))).unsigned_abs();
            let cost = if chance.below(1000) == 0 { 1_000_000_007 } else { chance.below(4) };
            let is_free = matches!(what, What::Verified { outcome, .. } if outcome != Verdict::Valid);
            happened.push(Happened { time, latency, cost: if is_free { 0 } else { cost }, what });
        }
    }
}

fn what(chance: &mut Chance) -> What {
    match chance.below(100) {
        0 => What::Refused,
        1..26 => What::Limited {
            namespace: chance.place(NAMESPACES),
            identifier: chance.place(IDENTIFIERS.len()),
            passed: chance.below(4) > 0,
        },
        _ => {
            let key = chance.place(KEYS);
            let is_valid = chance.below(5) > 0;
            let refusal = REFUSALS[(key + chance.place(2)) % REFUSALS.len()];
            let outcome = if is_valid { Verdict::Valid } else { refusal };
            What::Verified { key, outcome, tags: (key + chance.place(2)) % TAGS.len() }
        }
    }
}

/// A clock that is set back or forth by hours now and then, and put right again.
struct Jumps {
    ms: i64,
    /// How many things happen until it is put right.
    left: i64,
}

impl Jumps {
    /// How far it is off, in ms.
    fn jumps(&mut self, chance: &mut Chance, is_set_back: bool) -> i64 {
        self.left -= 1;
        if is_set_back || (self.left < 0 && chance.below(3000) == 0) {
            let hours = if is_set_back { -5 } else { chance.below(19) - 9 };
            *self = Jumps { ms: hours * HOUR_MS + chance.below(HOUR_MS), left: 100 + chance.below(400) };
        } else if self.left < 0 {
            self.ms = 0;
        }
        self.ms
    }
}
