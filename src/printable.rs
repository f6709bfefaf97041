//! Texts from outside, on their way to a terminal.
//!
//! Whoever names a key, a file or a host chooses what somebody else's terminal gets to see. What a terminal obeys, what
//! turns the direction of a line and what shows as nothing is spelled out as `\u{…}`; all else stays as it is.

pub(crate) use keyrack_core::printable::{is_invisible, line, lines};
