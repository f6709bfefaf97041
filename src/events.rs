//! `keyrack events`: single verifications and rate-limit decisions, asked of a server; with `--log`, all that the log of
//! this data folder has.

mod listing;
mod log;

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::api::connection;
use crate::durations::milliseconds;
use crate::exit;
use crate::filters::{COMMON, OF_LISTS};
use crate::shown::Form;

const LOG: &str = "log";
/// Events that are shown where nothing else is said.
const SHOWN: &str = "50";

/// The command and its flags.
pub(crate) fn command() -> Command {
    let since = Arg::new("since")
        .long("since")
        .value_name("AGE")
        .value_parser(milliseconds)
        .help("From so long ago on: 90s, 15m, 12h, 30d or 2w [default: the newest ones]");
    let limit = Arg::new("limit")
        .long("limit")
        .value_name("COUNT")
        .value_parser(clap::value_parser!(u64).range(1..=100_000))
        .default_value(SHOWN)
        .help("How many of the newest, at most 100000");
    let follow = Arg::new("follow")
        .long("follow")
        .short('f')
        .action(ArgAction::SetTrue)
        .help("Go on with what is decided from now on, until you press Ctrl-C");
    let ratelimits = Arg::new("ratelimits")
        .long("ratelimits")
        .action(ArgAction::SetTrue)
        .help("Show decisions of ratelimit.limit and multiLimit instead of verifications");
    let log = Arg::new(LOG).long(LOG).action(ArgAction::SetTrue).help(
        "Print the log in this machine's data folder instead, as one JSON object per line: what no server needs to \
         answer, verifications that found no key and gaps among it",
    );
    let filters = COMMON.iter().chain(&OF_LISTS).map(|filter| filter.argument().conflicts_with(LOG));
    let refused = Arg::new("refused")
        .long("refused")
        .action(ArgAction::SetTrue)
        .help("Only rate-limit decisions that did not pass")
        .help_heading("Filters")
        .conflicts_with(LOG);
    let [since, follow, ratelimits] = [since, follow, ratelimits].map(|flag| flag.conflicts_with(LOG));
    Command::new("events")
        .about("Shows single verifications or rate-limit decisions, the newest last; with --follow as they come")
        .after_help(
            "Examples:\n  keyrack events --since 1h --outcome RATE_LIMITED\n  keyrack events --customer ann --follow\n  \
             keyrack events --log | jq .outcome\n\nExit codes: 0 answered, 2 usage, 3 authentication, 4 not found, 5 \
             rate limited, 1 anything else.",
        )
        .args([since, limit, follow, ratelimits, log])
        .args(filters)
        .arg(refused)
        .args(Form::flags())
        .args(connection::arguments())
}

/// Shows what was asked for.
pub(crate) async fn run(matches: &ArgMatches) -> ExitCode {
    if matches.get_flag(LOG) {
        return log::run(matches).unwrap_or_else(|error| exit::failed(&error));
    }
    listing::run(matches).await
}
