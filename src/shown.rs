//! How client commands show rows: a table for people, JSON or CSV for scripts.

use std::future::Future;
use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};

use crate::api::{Failure, connection};
use crate::settings::{OUTPUT_AS_JSON, Settings};
use crate::{printable, stdout};

const CSV: &str = "csv";
/// How long somebody at a terminal waits without a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whom rows are shown to, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    People,
    Json,
    Csv,
}

impl Form {
    /// The flags that choose it.
    pub(crate) fn flags() -> [Arg; 2] {
        let output = OUTPUT_AS_JSON.facts().flag().help_heading("Output").help(
            "How to show the answer: `table` for people, or `json` for scripts [default: table] [env: KEYRACK_OUTPUT]",
        );
        let csv =
            Arg::new(CSV).long(CSV).action(ArgAction::SetTrue).help_heading("Output").conflicts_with("output").help(
                "Show rows as CSV. A text that begins with = + - @ or a tab gets an apostrophe, so that no spreadsheet \
                 runs it",
            );
        [output, csv]
    }

    /// What the flags, the environment or a profile say.
    ///
    /// # Errors
    /// When the setting makes no sense.
    pub(crate) fn of(settings: &Settings, matches: &ArgMatches) -> Result<Form, Failure> {
        Ok(match settings.get(&OUTPUT_AS_JSON).map_err(connection::unreadable)? {
            _ if matches.get_flag(CSV) => Form::Csv,
            true => Form::Json,
            false => Form::People,
        })
    }
}

/// Shows a text. Scripts get it as it is; whatever a terminal would obey is spelled out there.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let printed =
        if io::stdout().is_terminal() { stdout::print(&printable::lines(text)) } else { stdout::print(text) };
    printed.map_err(Failure::Output)
}

/// Waits for an answer; somebody at a terminal is told when that takes long.
pub(crate) async fn with_patience<T>(answer: impl Future<Output = T>) -> T {
    let mut answer = pin!(answer);
    if !io::stderr().is_terminal() {
        return answer.await;
    }
    if let Ok(answer) = tokio::time::timeout(PATIENCE, &mut answer).await {
        return answer;
    }
    eprint!("asking …");
    let answer = answer.await;
    eprint!("\r\u{1b}[K");
    answer
}
