//! How commands end: with what was wrong on standard error, and a code that scripts can tell apart.

use std::process::ExitCode;

use crate::printable;

/// A misuse of the command line, or settings that make no sense.
pub(crate) const USAGE: u8 = 2;

/// Says what makes no sense.
pub(crate) fn misused(error: &anyhow::Error) -> ExitCode {
    complain(error);
    ExitCode::from(USAGE)
}

/// Says what went wrong.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    complain(error);
    ExitCode::FAILURE
}

fn complain(error: &anyhow::Error) {
    eprintln!("error: {}", printable::lines(&format!("{error:#}")));
}
