//! The workspace itself: root keys, the audit log, and operators who make workspaces.

mod audit;
mod root_keys;
mod root_keys_change;
mod workspaces;
