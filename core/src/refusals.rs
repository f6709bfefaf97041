//! Refusals, told to the server's own log: who was refused what, from where, and why. The audit log holds changes
//! alone.
//!
//! What anybody can cause is bounded: so many lines a second, and a count of those that were left out.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::calendar::{MINUTE_MS, SECOND_MS, UnixMs};
use crate::caller::Caller;
use crate::error::Error;

/// Lines a second.
const LINES: u64 = 20;
/// Root keys of which a minute's warnings are remembered; more are warned of no more in it.
const WARNED_OF: usize = 1000;

/// A refusal.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// What was asked for.
    pub operation: &'static str,
    /// Who asked, if that is known.
    pub root_key: Option<&'a str>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// Why not.
    pub error: &'a Error,
}

/// What was told lately.
#[derive(Debug, Default)]
pub struct Refusals {
    lines: Mutex<Lines>,
    warned: Mutex<Warned>,
}

#[derive(Debug, Default)]
struct Lines {
    second: i64,
    written: u64,
    left_out: u64,
}

#[derive(Debug, Default)]
struct Warned {
    minute: i64,
    of: HashSet<String>,
}

impl Refusals {
    /// Writes a refusal to the log if it is one: 401 or 403.
    pub fn tell(&self, now: UnixMs, refusal: &Refusal<'_>) {
        let status = refusal.error.code().status();
        if !matches!(status, 401 | 403) {
            return;
        }
        let Some(left_out) =
            self.lines.lock().unwrap_or_else(PoisonError::into_inner).admit(now.get() / SECOND_MS)
        else {
            return;
        };
        let address = refusal.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        tracing::info!(
            target: "keyrack::refusals",
            operation = refusal.operation,
            root_key = refusal.root_key.unwrap_or("unknown"),
            address,
            status,
            code = refusal.error.code().path(),
            left_out,
            "refused"
        );
    }

    /// The same for a call by a caller.
    pub fn tell_of(&self, now: UnixMs, operation: &'static str, caller: &Caller, error: &Error) {
        let (root_key, address) = (Some(caller.principal().id()), caller.origin().address);
        self.tell(now, &Refusal { operation, root_key, address, error });
    }

    /// Warns, once a minute and root key, that one hides keys which it may not verify: whoever asks with it is
    /// answered `NOT_FOUND`.
    pub(crate) fn warn_of_hidden_key(&self, now: UnixMs, caller: &Caller) {
        let root_key = caller.principal().id();
        if self.warned.lock().unwrap_or_else(PoisonError::into_inner).admits(now.get() / MINUTE_MS, root_key) {
            tracing::warn!(
                target: "keyrack::refusals",
                root_key,
                "this root key has no permission to verify_key: keys that exist are answered NOT_FOUND"
            );
        }
    }
}

impl Lines {
    /// Whether there is room for a line in this second, and how many had none since the last one.
    fn admit(&mut self, second: i64) -> Option<u64> {
        if self.second != second {
            (self.second, self.written) = (second, 0);
        }
        if self.written == LINES {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Warned {
    fn admits(&mut self, minute: i64, root_key: &str) -> bool {
        if self.minute != minute {
            *self = Warned { minute, of: HashSet::new() };
        }
        self.of.len() < WARNED_OF && self.of.insert(root_key.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_so_many_lines_a_second_are_written_and_the_rest_is_counted() {
        let mut lines = Lines::default();
        assert_eq!((0..50).filter_map(|_| lines.admit(7)).count(), 20);
        assert_eq!((lines.admit(8), lines.admit(8)), (Some(30), Some(0)));
    }

    #[test]
    fn a_root_key_is_warned_of_once_a_minute() {
        let mut warned = Warned::default();
        let admitted = [(1, "a"), (1, "a"), (1, "b"), (2, "a")].map(|(minute, key)| warned.admits(minute, key));
        assert_eq!(admitted, [true, false, true, true]);
        let many = (0..2000).filter(|n| warned.admits(3, &n.to_string())).count();
        assert_eq!(many, WARNED_OF);
    }
}
