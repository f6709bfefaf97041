//! What tests of statements have in common.

use keyrack_core::analytics::event::VerificationRecord;
use keyrack_core::calendar::UnixMs;

/// 2026-11-29T12:00:00Z
pub(crate) const NOW: i64 = 1_795_953_600_000;

/// A verification of this request at this time, in Unix ms, of `ws_own` and its key space.
pub(crate) fn verification(request_id: &str, time: i64) -> VerificationRecord<'_> {
    VerificationRecord {
        request_id,
        time: UnixMs::new(time),
        workspace_id: "ws_own",
        api_id: "api_1",
        key_space_id: "ks_own",
        key_id: "key_1",
        identity_id: "",
        external_id: "",
        outcome: "VALID",
        tags: Vec::new(),
        spent_credits: 1,
        latency_microseconds: 100,
        source: "api",
        app_id: "",
        region: "",
        refused_by: Vec::new(),
        root_key_id: "",
    }
}
