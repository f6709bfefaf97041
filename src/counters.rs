//! The counters of rate limits from one run of `keyrack serve` to the next.
//!
//! Only `serve` keeps them, and of several on one data folder the first. `keyrack mcp` comes and goes with
//! its client and starts from nothing. Nothing that goes wrong here stops a start or a stop.

use keyrack_core::Keyrack;
use keyrack_core::clock::Clock;
use keyrack_core::files::create_private_folder;
use keyrack_core::ratelimit::counters::memory::MemoryCounters;
use keyrack_core::ratelimit::counters::saved::CountersFile;

use crate::settings::{self, Settings};

/// Where this run may keep its counters, if anywhere.
pub(crate) struct KeptCounters(Option<CountersFile>);

impl KeptCounters {
    /// Finds the file of the data folder, and the counters that the last run left in it.
    ///
    /// # Errors
    /// When a setting makes no sense.
    pub(crate) fn open(settings: &Settings) -> anyhow::Result<(KeptCounters, MemoryCounters)> {
        let room = settings.get(&settings::RATELIMIT_CELLS)?;
        let folder = settings.get(&settings::DATA_DIR)?;
        let file = match create_private_folder(&folder).and_then(|()| CountersFile::claim(&folder)) {
            Ok(Some(file)) => Some(file),
            Ok(None) => {
                tracing::info!(
                    "another server keeps its rate-limit counters in this data folder; this one does not"
                );
                None
            }
            Err(error) => {
                tracing::warn!(%error, "rate-limit counters cannot be kept from this run to the next");
                None
            }
        };
        let counters = match file.as_ref().map(|file| file.load(room, Clock::system().now())) {
            Some(Ok(Some(counters))) => {
                tracing::info!(counts = counters.len(), "rate limits go on from the counters of the last run");
                counters
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "the rate-limit counters of the last run are lost");
                MemoryCounters::with_room_for(room)
            }
            Some(Ok(None)) | None => MemoryCounters::with_room_for(room),
        };
        Ok((KeptCounters(file), counters))
    }

    /// The counters are in use now: what is in the file grows old.
    pub(crate) fn taken_over(&self) {
        if let Some(Err(error)) = self.0.as_ref().map(CountersFile::remove) {
            tracing::warn!(%error, "the file of rate-limit counters cannot be removed; a start after a kill reads it again");
        }
    }

    /// Leaves the counters to the next run.
    pub(crate) async fn save(self, keyrack: Keyrack) {
        let Some(file) = self.0 else { return };
        let saving = tokio::task::spawn_blocking(move || file.save(keyrack.counters(), keyrack.clock().now()));
        match saving.await.map_err(std::io::Error::other).flatten() {
            Ok(counts) => tracing::info!(counts, "rate-limit counters are kept for the next run"),
            Err(error) => tracing::warn!(%error, "rate-limit counters cannot be kept for the next run"),
        }
    }
}
