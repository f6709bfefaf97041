//! The audit log: who changed what.

mod get_log;
mod list_logs;
mod log;

pub use get_log::GetLog;
pub use list_logs::ListLogs;
