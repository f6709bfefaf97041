//! The engine of analytics in this program: where it keeps events, for how long, and how much of them.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use keyrack_analytics_engine::Embedded;
use keyrack_analytics_engine::storage::{self, Kept, Retention, Warehouse};
use keyrack_core::analytics::log::Log;
use keyrack_core::keyrack::Keyrack;

use crate::settings::{self, Settings};

/// What the engine is called among those who follow the log of events.
const CONSUMER: &str = "engine";

/// Has the engine follow this log and answer questions, unless the settings want none. Where another process has the
/// stored events of the data folder, that one answers, and this one says so.
///
/// # Errors
/// When a setting makes no sense, or the system has no threads.
pub(crate) fn start(settings: &Settings, keyrack: &Keyrack, log: &Log) -> anyhow::Result<()> {
    let bytes = settings.get(&settings::ANALYTICS_BYTES)?;
    if bytes == 0 {
        return Ok(());
    }
    let month = settings.get(&settings::ANALYTICS_MONTH_DAYS)?;
    let retention = Retention {
        verifications: Kept {
            raw: settings.get(&settings::ANALYTICS_RAW_DAYS)?,
            day: settings.get(&settings::ANALYTICS_DAY_DAYS)?,
            month,
        },
        ratelimits: Kept {
            raw: settings.get(&settings::ANALYTICS_RATELIMIT_RAW_DAYS)?,
            day: settings.get(&settings::ANALYTICS_RATELIMIT_DAY_DAYS)?,
            month,
        },
    };
    let folder = settings.get(&settings::DATA_DIR)?.join(storage::FOLDER);
    let kept = storage::Settings { most_bytes: bytes, retention, ..storage::Settings::default() };
    let warehouse = match Warehouse::open(&folder, kept) {
        Ok(warehouse) => Arc::new(warehouse),
        Err(fault) => {
            tracing::warn!(%fault, "this process answers no analytics");
            return Ok(());
        }
    };
    let asking = keyrack.clone();
    let shorter = move || {
        let kept = |days| u32::try_from(days).unwrap_or(u32::MAX);
        let workspaces = asking.resident().log_retentions();
        workspaces.into_iter().map(|(id, days)| (id, kept(days))).collect::<HashMap<_, _>>()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let consumer = log.register(CONSUMER);
    let engine = Embedded::following(warehouse, threads, consumer, keyrack.clock().clone(), Box::new(shorter));
    keyrack.analytics().answer_with(Arc::new(engine.context("the system has no threads for analytics")?));
    Ok(())
}
