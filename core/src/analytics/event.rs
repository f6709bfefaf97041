//! Events as decisions make them, and the records that the log keeps of them.

use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::texts::{KeptText, RefusedBy, Tags, kept};
use crate::calendar::UnixMs;
use crate::ids::RequestId;
use crate::keys::verdict::Verdict;
use crate::resident::{FoundKey, Key, Namespace};

/// Where verifications come from so far: the API.
pub(super) const SOURCE: &str = "api";

/// Something that happened. It shares what it can with the resident state: making one copies little.
#[derive(Debug)]
pub enum Event {
    /// A verification that was decided. One that found no key is none.
    Verification(Verification),
    /// A decision of `ratelimit.limit` or `ratelimit.multiLimit`.
    Ratelimit(Ratelimit),
    /// A verification that found no key that the caller may know of.
    Refusal(Refusal),
}

/// A verification that was decided.
#[derive(Debug)]
pub struct Verification {
    /// The request that asked.
    pub request_id: RequestId,
    /// Unix ms.
    pub time: UnixMs,
    /// Who asked: a root key. Copied, as the key space of a [`FoundKey`] is.
    pub root_key_id: CompactString,
    /// The key with what it belongs to.
    pub found: FoundKey,
    /// The verdict.
    pub outcome: Verdict,
    /// What led to it, where that is more than the verdict says.
    pub refused_by: Option<Box<RefusedBy>>,
    /// As far as they are kept.
    pub tags: Tags,
    /// What was taken from the balance.
    pub spent_credits: i64,
    /// How long it took.
    pub latency: Duration,
}

/// A decision on a limit.
#[derive(Debug)]
pub struct Ratelimit {
    /// The request that asked.
    pub request_id: RequestId,
    /// Unix ms.
    pub time: UnixMs,
    /// Who asked: a root key.
    pub root_key_id: CompactString,
    /// Where it was counted.
    pub namespace: Arc<Namespace>,
    /// Who was counted.
    pub identifier: KeptText,
    /// The override that applied.
    pub override_id: Option<Arc<str>>,
    /// Whether it passed.
    pub passed: bool,
    /// Cost admitted per window.
    pub limit: i64,
    /// What is left in the window.
    pub remaining: i64,
    /// Unix ms at which the window ends.
    pub reset_at: UnixMs,
    /// The cost that was asked for.
    pub tokens: i64,
    /// How long it took.
    pub latency: Duration,
}

/// A verification that found no key that the caller may know of. It is no use of a key, and nobody is billed for it.
#[derive(Debug)]
pub struct Refusal {
    /// The request that asked.
    pub request_id: RequestId,
    /// Unix ms.
    pub time: UnixMs,
    /// The workspace of the root key, in which the key was looked for.
    pub workspace_id: CompactString,
    /// Who asked: a root key.
    pub root_key_id: CompactString,
    /// The key of that workspace which the root key may not verify; `None` when there is no such key.
    pub hidden: Option<Arc<Key>>,
    /// As far as they are kept.
    pub tags: Tags,
}

/// What the log keeps of an event.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Entry<'a> {
    /// The event.
    #[serde(flatten)]
    pub record: Record<'a>,
    /// Bytes of texts of the caller's that were cut because they were too long.
    #[serde(rename = "cutBytes", skip_serializing_if = "is_zero")]
    pub cut_bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An event as the log keeps it. Variants and members are part of the log's format: new ones go to the end,
/// the format's version changes with them, and how records were before goes to `log/earlier.rs`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Record<'a> {
    /// A verification.
    #[serde(borrow)]
    Verification(VerificationRecord<'a>),
    /// A decision on a limit.
    #[serde(borrow)]
    Ratelimit(RatelimitRecord<'a>),
    /// A verification that found no key.
    #[serde(borrow)]
    Refusal(RefusalRecord<'a>),
    /// Events that are missing.
    #[serde(borrow)]
    Gap(GapRecord<'a>),
}

/// A verification as the log keeps it. What there is not is an empty text.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names of the analytics tables' columns")]
pub struct VerificationRecord<'a> {
    pub request_id: &'a str,
    /// Unix ms.
    pub time: UnixMs,
    pub workspace_id: &'a str,
    pub api_id: &'a str,
    pub key_space_id: &'a str,
    pub key_id: &'a str,
    pub identity_id: &'a str,
    pub external_id: &'a str,
    /// The wire's name of the verdict.
    pub outcome: &'a str,
    #[serde(borrow)]
    pub tags: Vec<&'a str>,
    pub spent_credits: i64,
    pub latency_microseconds: u64,
    /// `api`.
    pub source: &'a str,
    /// Empty: there are no apps.
    pub app_id: &'a str,
    /// Empty: a process does not know where it runs.
    pub region: &'a str,
    /// The names of the limits that refused, the permission query, or the client's address.
    #[serde(borrow)]
    pub refused_by: Vec<&'a str>,
    /// Who asked; empty in events of earlier formats.
    pub root_key_id: &'a str,
}

/// A decision on a limit as the log keeps it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names of the analytics tables' columns")]
pub struct RatelimitRecord<'a> {
    pub request_id: &'a str,
    /// Unix ms.
    pub time: UnixMs,
    pub workspace_id: &'a str,
    pub namespace_id: &'a str,
    /// Its name.
    pub namespace: &'a str,
    pub identifier: &'a str,
    /// Empty when no override applied.
    pub override_id: &'a str,
    pub passed: bool,
    pub limit: i64,
    pub remaining: i64,
    /// Unix ms.
    pub reset_at: UnixMs,
    pub tokens: i64,
    pub latency_microseconds: u64,
    /// Who asked; empty in events of earlier formats.
    pub root_key_id: &'a str,
}

/// A verification that found no key, as the log keeps it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the same names as a verification's")]
pub struct RefusalRecord<'a> {
    pub request_id: &'a str,
    /// Unix ms.
    pub time: UnixMs,
    pub workspace_id: &'a str,
    pub root_key_id: &'a str,
    /// `UNKNOWN`: there is no such key; `HIDDEN`: there is one that the root key may not verify.
    pub reason: &'a str,
    /// Of a hidden key; empty otherwise.
    pub api_id: &'a str,
    /// Of a hidden key; empty otherwise.
    pub key_id: &'a str,
    #[serde(borrow)]
    pub tags: Vec<&'a str>,
}

/// Events that are missing from the log: it says so in their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GapRecord<'a> {
    /// Whose they were; empty where that is not known, or nobody was told apart: they may have been anybody's.
    pub workspace_id: &'a str,
    /// Unix ms of the first of them.
    pub first_time: UnixMs,
    /// Unix ms of the last of them.
    pub last_time: UnixMs,
    /// How many; `None` when nobody knows.
    pub events: Option<u64>,
    /// [`Reason::name`](super::gaps::Reason::name) of why.
    pub reason: &'a str,
}

impl Record<'_> {
    /// Whose event it is.
    pub fn workspace_id(&self) -> &str {
        match self {
            Record::Verification(record) => record.workspace_id,
            Record::Ratelimit(record) => record.workspace_id,
            Record::Refusal(record) => record.workspace_id,
            Record::Gap(record) => record.workspace_id,
        }
    }
}

impl Event {
    /// Whose event it is.
    pub fn workspace_id(&self) -> &str {
        match self {
            Event::Verification(event) => &event.found.key.place.workspace_id,
            Event::Ratelimit(event) => &event.namespace.stored.workspace_id,
            Event::Refusal(event) => &event.workspace_id,
        }
    }

    /// When it happened.
    pub fn time(&self) -> UnixMs {
        match self {
            Event::Verification(event) => event.time,
            Event::Ratelimit(event) => event.time,
            Event::Refusal(event) => event.time,
        }
    }

    /// What the log keeps of it.
    pub fn entry(&self) -> Entry<'_> {
        match self {
            Event::Verification(event) => event.entry(),
            Event::Ratelimit(event) => event.entry(),
            Event::Refusal(event) => event.entry(),
        }
    }
}

impl Verification {
    fn entry(&self) -> Entry<'_> {
        let FoundKey { key, key_space_id, identity, .. } = &self.found;
        let external_id = identity.as_ref().map_or("", |identity| &identity.external_id);
        let (external_id, cut_bytes) = kept(external_id);
        let refused_by = self.refused_by.as_deref();
        let record = VerificationRecord {
            request_id: self.request_id.as_str(),
            time: self.time,
            workspace_id: &key.place.workspace_id,
            api_id: &key.place.api_id,
            key_space_id,
            key_id: &key.id,
            identity_id: identity.as_ref().map_or("", |identity| &identity.id),
            external_id,
            outcome: self.outcome.name(),
            tags: texts(&self.tags.kept),
            spent_credits: self.spent_credits,
            latency_microseconds: microseconds(self.latency),
            source: SOURCE,
            app_id: "",
            region: "",
            refused_by: refused_by.map_or_else(Vec::new, |refused_by| texts(&refused_by.kept)),
            root_key_id: &self.root_key_id,
        };
        let cut_bytes = cut_bytes + refused_by.map_or(0, |refused_by| refused_by.cut_bytes);
        Entry { record: Record::Verification(record), cut_bytes: self.tags.cut_bytes + cut_bytes }
    }
}

impl Ratelimit {
    fn entry(&self) -> Entry<'_> {
        let namespace = &self.namespace.stored;
        let (name, cut_bytes) = kept(&namespace.name);
        let record = RatelimitRecord {
            request_id: self.request_id.as_str(),
            time: self.time,
            workspace_id: &namespace.workspace_id,
            namespace_id: &namespace.id,
            namespace: name,
            identifier: &self.identifier.kept,
            override_id: self.override_id.as_deref().unwrap_or_default(),
            passed: self.passed,
            limit: self.limit,
            remaining: self.remaining,
            reset_at: self.reset_at,
            tokens: self.tokens,
            latency_microseconds: microseconds(self.latency),
            root_key_id: &self.root_key_id,
        };
        Entry { record: Record::Ratelimit(record), cut_bytes: self.identifier.cut_bytes + cut_bytes }
    }
}

impl Refusal {
    fn entry(&self) -> Entry<'_> {
        let hidden = self.hidden.as_deref();
        let record = RefusalRecord {
            request_id: self.request_id.as_str(),
            time: self.time,
            workspace_id: &self.workspace_id,
            root_key_id: &self.root_key_id,
            reason: if hidden.is_some() { "HIDDEN" } else { "UNKNOWN" },
            api_id: hidden.map_or("", |key| &key.place.api_id),
            key_id: hidden.map_or("", |key| &key.id),
            tags: texts(&self.tags.kept),
        };
        Entry { record: Record::Refusal(record), cut_bytes: self.tags.cut_bytes }
    }
}

fn texts(kept: &[Box<str>]) -> Vec<&str> {
    kept.iter().map(|text| &**text).collect()
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
