//! `keyrack analytics export` in a build that can read no stored events.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};

/// The command, whatever its flags are.
pub(super) fn command() -> Command {
    let any = Arg::new("any").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true).hide(true);
    Command::new("export").about("Not in this build, which has no analytics").arg(any)
}

/// Says why not.
///
/// # Errors
/// Always.
#[expect(clippy::unused_async, reason = "as the command that there is in other builds")]
pub(super) async fn run(_: &ArgMatches) -> anyhow::Result<ExitCode> {
    anyhow::bail!(
        "this program was built without analytics; build it with the feature `analytics-engine`, which is on by default"
    )
}
