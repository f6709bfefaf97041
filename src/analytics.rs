//! The engine of analytics in this program: where it keeps events, for how long, and how much of them.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use keyrack_analytics_engine::storage::{self, Kept, Retention, Warehouse};
use keyrack_analytics_engine::{Around, Embedded, Place};
use keyrack_core::analytics::log::Log;
use keyrack_core::keyrack::Keyrack;

use crate::archive::{ANALYTICS, Writer};
use crate::settings::{self, Settings};

/// Where the stored events of one moment are while a backup is made of them, or an export.
const OF_A_BACKUP: &str = ".analytics-of-a-backup";
pub(crate) const OF_AN_EXPORT: &str = ".analytics-of-an-export";
/// What the engine is called among those who follow the log of events.
const CONSUMER: &str = "engine";

/// Has the engine follow this log and answer questions, unless the settings want none. Where another process has the
/// stored events of the data folder, that one answers, and this one says so.
///
/// # Errors
/// When a setting makes no sense, or the system has no threads.
pub(crate) fn start(settings: &Settings, keyrack: &Keyrack, log: &Log) -> anyhow::Result<()> {
    let data_folder = settings.get(&settings::DATA_DIR)?;
    remove_left(&data_folder);
    let kept = stored(settings)?;
    if kept.most_bytes == 0 {
        return Ok(());
    }
    let folder = data_folder.join(storage::FOLDER);
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
    let watched = keyrack.clone();
    let ran = move |task, succeeded| watched.metrics().scheduled_run(task, watched.clock().now(), succeeded);
    let around = Around { clock: keyrack.clock().clone(), shorter: Box::new(shorter), ran: Box::new(ran) };
    let engine = Embedded::following(warehouse, threads, consumer, around);
    keyrack.analytics().answer_with(Arc::new(engine.context("the system has no threads for analytics")?));
    Ok(())
}

/// Removes what a backup or an export left that was killed: links hold files that nobody else needs any more.
fn remove_left(data_folder: &Path) {
    for name in [OF_A_BACKUP, OF_AN_EXPORT] {
        match Place::remove_left(&data_folder.join(name)) {
            Ok(true) => tracing::info!(folder = name, "what a backup or an export left is removed"),
            Ok(false) => {}
            Err(fault) => tracing::warn!(%fault, "what a backup or an export left stays"),
        }
    }
}

/// How much is stored, and for how long; with no bytes at all there are no analytics.
///
/// # Errors
/// When a setting makes no sense.
pub(crate) fn stored(settings: &Settings) -> anyhow::Result<storage::Settings> {
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
    let most_bytes = settings.get(&settings::ANALYTICS_BYTES)?;
    Ok(storage::Settings { most_bytes, retention, ..storage::Settings::default() })
}

/// Adds what is stored of events to a backup, while a server goes on: in words.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn save(data_folder: &Path, writer: &mut Writer) -> anyhow::Result<String> {
    let stored = data_folder.join(storage::FOLDER);
    if !stored.exists() {
        return Ok("0 files of analytics".to_owned());
    }
    let place = Place::own(&data_folder.join(OF_A_BACKUP))?;
    let moment = place.path().join(storage::FOLDER);
    let names = storage::link_moment(&stored, &moment)?;
    for name in &names {
        let path = moment.join(name);
        let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        writer.add(&format!("{ANALYTICS}{name}"), file)?;
    }
    Ok(format!("{} files of analytics", names.len()))
}
