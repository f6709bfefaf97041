//! Writing to standard output: the answers of commands, and nothing else. Words about them go to stderr.

use std::io::{self, ErrorKind, Write as _};

/// Writes a text and ends its line. A reader that stopped reading, such as `head`, is no error.
///
/// # Errors
/// When standard output cannot be written, for example because the disk is full.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(stdout, "{text}{end}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}
