//! Which server is called, and with which root key.
//!
//! The root key comes from a file or from the environment, never from an argument. When nothing is given
//! and the server is on this machine, it is the one that the server's first start left in the data directory, or that of
//! the bootstrap setting.

use clap::{Arg, ArgMatches};

use super::failure::Failure;
use super::input::Inputs;
use crate::instance;
use crate::printable;
use crate::remote::Remote;
use crate::settings::{self, CONFIG, DATA_DIR, PROFILE, ROOT_KEY, RootKeyFor, Settings, URL};

/// The flags, the same for every command.
pub(crate) fn arguments() -> [Arg; 5] {
    [
        URL.facts().flag(),
        ROOT_KEY.file_facts().flag().help(
            "File with the root key, or - for standard input [env: KEYRACK_ROOT_KEY_FILE; the key itself: \
             KEYRACK_ROOT_KEY or UNKEY_ROOT_KEY] [default: for a server on this machine, root-key in the data folder, or \
             the bootstrap root key]",
        ),
        PROFILE.facts().flag(),
        DATA_DIR.facts().flag().help(
            "Where a server on this machine has its root-key file [env: KEYRACK_DATA_DIR] [default: your data folder]",
        ),
        CONFIG.facts().flag(),
    ]
    .map(|flag| flag.global(true).help_heading("Connection"))
}

/// What the flags, the environment and the settings file say, and what is odd about it.
pub(crate) fn settings(matches: &ArgMatches) -> Result<Settings, Failure> {
    let settings = Settings::read(matches).map_err(unreadable)?;
    for warning in settings.warnings() {
        eprintln!("warning: {}", printable::lines(warning));
    }
    Ok(settings)
}

/// The server and the root key that the settings name.
pub(crate) fn connect(settings: &Settings, matches: &ArgMatches, inputs: &mut Inputs) -> Result<Remote, Failure> {
    let base = settings.get(&URL).map_err(unreadable)?;
    // The flag alone means standard input; elsewhere it is the name of a file.
    let piped = matches.get_one::<String>("root-key-file").is_some_and(|file| file == "-");
    if piped {
        let piped = inputs.secret("--root-key-file", Some("-"))?;
        let root_key = settings::secret_in(piped.expose().as_bytes());
        return Ok(Remote::new(base, &root_key.map_err(|what| Failure::Usage(format!("the root key {what}")))?)?);
    }
    let root_key = match settings.root_key_for(&base).map_err(unreadable)? {
        RootKeyFor::Given(root_key) => root_key,
        RootKeyFor::Own => instance::own_root_key(settings).map_err(|error| no_root_key(&format!("{error:#}")))?,
        RootKeyFor::None(why) => return Err(no_root_key(&why)),
    };
    Ok(Remote::new(base, &root_key)?)
}

/// A setting that cannot be read, as what was wrong with the command.
pub(crate) fn unreadable(error: anyhow::Error) -> Failure {
    Failure::Usage(format!("{error:#}"))
}

fn no_root_key(why: &str) -> Failure {
    Failure::NoRootKey(format!(
        "no root key to call with: {why}. Name a file with --root-key-file, or set KEYRACK_ROOT_KEY. The first \
         start of `keyrack serve` leaves a root key in its data folder (--data-dir), unless a bootstrap root key is set; \
         `keyrack root-key create` makes another one."
    ))
}
