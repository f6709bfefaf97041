//! The one source of time: Unix milliseconds, settable in tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
#[cfg(not(target_os = "linux"))]
use std::time::Instant;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::calendar::UnixMs;

/// Tells the time in Unix milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Clock(None)
    }

    /// A clock that stands still until it is set; its clones are the same clock.
    pub fn standing_at(time: UnixMs) -> Self {
        Clock(Some(Arc::new(AtomicI64::new(time.get()))))
    }

    /// Sets a standing clock; the system's clock does not move.
    pub fn set(&self, now: UnixMs) {
        if let Some(time) = &self.0 {
            time.store(now.get(), Ordering::SeqCst);
        }
    }

    /// Unix milliseconds now.
    pub fn now(&self) -> UnixMs {
        UnixMs::new(match &self.0 {
            Some(time) => time.load(Ordering::SeqCst),
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)),
        })
    }
}

/// How long something takes by a clock that nobody sets. On Linux the sleep of a suspended machine counts, which
/// [`std::time::Instant`] leaves out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch {
    #[cfg(target_os = "linux")]
    started: Duration,
    #[cfg(not(target_os = "linux"))]
    started: Instant,
}

#[cfg(target_os = "linux")]
impl Stopwatch {
    pub(crate) fn start() -> Self {
        Stopwatch { started: since_boot() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        since_boot().saturating_sub(self.started)
    }
}

#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
impl Stopwatch {
    pub(crate) fn start() -> Self {
        Stopwatch { started: Instant::now() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
