//! What `keyrack doctor` says of analytics: whether they are on, what is stored, and what of it cannot be read.

use super::Line;
use crate::settings::Settings;

const SUBJECT: &str = "analytics";

/// Looks at the stored events of the data folder; nothing where a setting cannot be read, of which other lines tell.
#[cfg(feature = "analytics-engine")]
pub(super) fn check(settings: &Settings) -> Option<Line> {
    use keyrack_analytics_engine::storage::{self, Inspected};

    use super::{CHECK_LIMIT, MIB, fail, ok, warn};
    use crate::{analytics, settings as names};

    let stored = analytics::stored(settings).ok()?;
    let log_bytes = settings.get(&names::EVENT_LOG_BYTES).ok()?;
    if stored.most_bytes == 0 || log_bytes == 0 {
        let zero = if log_bytes == 0 { "KEYRACK_EVENT_LOG_BYTES" } else { "KEYRACK_ANALYTICS_BYTES" };
        return Some(ok(SUBJECT, format!("off: {zero} is 0")));
    }
    let folder = settings.get(&names::DATA_DIR).ok()?.join(storage::FOLDER);
    let Inspected { files, bytes, event_bytes, damaged, unread } = match storage::inspect(&folder, CHECK_LIMIT) {
        Ok(inspected) => inspected,
        Err(fault) => {
            let mend = "restore a backup (`keyrack restore FILE`), or move the folder away to begin anew";
            return Some(fail(SUBJECT, fault.to_string(), mend));
        }
    };
    if !damaged.is_empty() {
        let rows: u64 = damaged.iter().map(|damage| damage.rows).sum();
        let told = damaged.iter().take(3).map(|damage| format!("{}: {}", damage.name, damage.because));
        let told = told.collect::<Vec<_>>().join("; ");
        let text = format!("{} of {files} files cannot be read, with {rows} rows: {told}", damaged.len());
        let mend = "put them back from a backup (`keyrack restore FILE`); without them answers lack these rows";
        return Some(warn(SUBJECT, text, mend));
    }
    let (verifications, limits) = (stored.retention.verifications, stored.retention.ratelimits);
    let late = if unread > 0 { format!("; {unread} were too many to read here") } else { String::new() };
    Some(ok(
        SUBJECT,
        format!(
            "on: {files} files with {} MiB, of which {} of {} MiB for single events{late}; days kept: verifications {}, per \
             day {}, per month {}, rate limits {}, {}, {}",
            bytes.div_ceil(MIB),
            event_bytes.div_ceil(MIB),
            stored.most_bytes / MIB,
            verifications.raw,
            verifications.day,
            verifications.month,
            limits.raw,
            limits.day,
            limits.month
        ),
    ))
}

/// There is nothing to look at.
#[cfg(not(feature = "analytics-engine"))]
pub(super) fn check(_: &Settings) -> Option<Line> {
    Some(super::ok(SUBJECT, "off: this program was built without the engine"))
}
