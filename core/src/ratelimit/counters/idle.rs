//! Forgetting rate-limit counts that nobody asks for any more.

use std::sync::Arc;
use std::time::Duration;

use super::memory::MemoryCounters;
use crate::clock::Clock;
use crate::error::Error;
use crate::schedule::Job;

/// Forgets them now and then.
#[derive(Debug)]
pub(crate) struct IdleCounters {
    pub(crate) counters: Arc<MemoryCounters>,
    pub(crate) clock: Clock,
}

impl Job for IdleCounters {
    const NAME: &'static str = "idle_counters";
    const PERIOD: Duration = Duration::from_secs(60);

    async fn run(&mut self) -> Result<(), Error> {
        let (counters, now) = (self.counters.clone(), self.clock.now());
        // A million counts take some ten milliseconds, in which a worker would answer nobody.
        let forget = move || counters.forget_idle(now);
        tokio::task::spawn_blocking(forget).await.map(drop).map_err(Error::unexpected)
    }
}
