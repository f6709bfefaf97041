//! The log of events as it is in a data folder, so that other programs can read it: the oldest file comes first, in a file
//! the oldest event.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ArgMatches;
use keyrack_core::analytics::log;

use crate::printable;
use crate::settings::{self, Settings};

/// Prints every event that the log still has.
///
/// # Errors
/// When the log cannot be read, or nobody reads what is printed.
pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = Settings::read(matches)?;
    let folder = settings.get(&settings::DATA_DIR)?.join(log::FOLDER);
    let files = log::files(&folder)
        .with_context(|| format!("there is no log of events in {}; a server makes one", folder.display()))?;
    let is_terminal = std::io::stdout().is_terminal();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for (path, _) in files {
        let is_torn = log::read(&path, |entry| {
            let line = serde_json::to_string(&entry)?;
            // JSON escapes the control characters of ASCII only.
            let line = if is_terminal { printable::line(&line) } else { line.into() };
            writeln!(out, "{line}")
        });
        match is_torn {
            Ok(false) => {}
            Ok(true) => eprintln!("{}: its end is torn or being written", path.display()),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            // Removed meanwhile, as the oldest are.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            // No file of ours: what is newer is still wanted.
            Err(error) => eprintln!("{}: cannot be read: {error}", path.display()),
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
