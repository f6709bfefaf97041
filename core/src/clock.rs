//! The one source of time: Unix milliseconds, settable in tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time in Unix milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Clock(None)
    }

    /// A clock that stands still until it is set; its clones are the same clock.
    pub fn standing_at(unix_ms: i64) -> Self {
        Clock(Some(Arc::new(AtomicI64::new(unix_ms))))
    }

    /// Sets a standing clock; the system's clock does not move.
    pub fn set(&self, unix_ms: i64) {
        if let Some(time) = &self.0 {
            time.store(unix_ms, Ordering::SeqCst);
        }
    }

    /// Unix milliseconds now.
    pub fn now(&self) -> i64 {
        match &self.0 {
            Some(time) => time.load(Ordering::SeqCst),
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

/// Unix milliseconds as RFC 3339 in UTC, for people.
pub fn rfc3339(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map_or_else(|_| format!("{unix_ms} ms"), |time| time.to_string())
}
