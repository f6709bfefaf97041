//! What happened: an event for every decided verification and every decision on a limit.
//!
//! A decision puts its event into a bounded ring and goes on ([`recorder`]); a thread of its own empties the
//! ring many times a second into a log of files ([`log`]), and keeps what is asked for often: when each key
//! was last used, and how much each workspace used per hour ([`usage`]). An overload or a kill loses events,
//! never decisions; what is lost to an overload is counted.

pub mod event;
pub mod log;
pub mod recorder;
pub mod texts;
pub mod usage;
pub(crate) mod writing;
