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
use crate::remote::{self, Remote};
use crate::settings::{self, Settings};

const DEFAULT_URL: &str = "http://127.0.0.1:8080";
const URL: &str = "url";
const ROOT_KEY_FILE_FLAG: &str = "root-key-file";

/// The flags, the same for every command. All but the URL are settings of the program.
pub(crate) fn arguments() -> [Arg; 4] {
    let common = |name: &'static str| Arg::new(name).long(name).global(true).help_heading("Connection");
    [
        common(URL)
            .value_name("URL")
            .env("KEYRACK_URL")
            .hide_env_values(true)
            .help(format!("The server to call [default: {DEFAULT_URL}]")),
        common(ROOT_KEY_FILE_FLAG).value_name("FILE").help(
            "File with the root key, or - for standard input [env: KEYRACK_ROOT_KEY_FILE; the key itself: \
             KEYRACK_ROOT_KEY or UNKEY_ROOT_KEY] [default: for a server on this machine, root-key in the data folder, or \
             the bootstrap root key]",
        ),
        common("data-dir").value_name("FOLDER").help(
            "Where a server on this machine has its root-key file [env: KEYRACK_DATA_DIR] [default: your data folder]",
        ),
        common("config").value_name("FILE").help("Settings file [env: KEYRACK_CONFIG]"),
    ]
}

/// The server and the root key that the flags, the environment and the settings file name.
pub(crate) fn connect(matches: &ArgMatches, inputs: &mut Inputs) -> Result<Remote, Failure> {
    let given = |name: &str| matches.get_one::<String>(name).filter(|text| !text.is_empty());
    let address = given(URL).map_or(DEFAULT_URL, String::as_str);
    let base = remote::parse_base(address).map_err(|what| Failure::Usage(format!("--url {what}")))?;
    if let Some("-") = given(ROOT_KEY_FILE_FLAG).map(String::as_str) {
        let piped = inputs.secret("--root-key-file", Some("-"))?;
        let root_key = settings::secret_in(piped.expose().as_bytes());
        return Ok(Remote::new(base, &root_key.map_err(|what| Failure::Usage(format!("the root key {what}")))?)?);
    }
    let settings = Settings::read(matches).map_err(unreadable)?;
    for warning in settings.warnings() {
        eprintln!("warning: {}", printable::lines(warning));
    }
    let root_key = match settings.root_key().map_err(unreadable)? {
        Some(root_key) => root_key,
        None if remote::is_loopback(&base) => {
            instance::own_root_key(&settings).map_err(|error| no_root_key(&format!("{error:#}")))?
        }
        None => return Err(no_root_key("the server is not on this machine, so its root-key file is not here")),
    };
    Ok(Remote::new(base, &root_key)?)
}

fn unreadable(error: anyhow::Error) -> Failure {
    Failure::Usage(format!("{error:#}"))
}

fn no_root_key(why: &str) -> Failure {
    Failure::NoRootKey(format!(
        "no root key to call with: {why}. Name a file with --root-key-file, or set KEYRACK_ROOT_KEY. The first \
         start of `keyrack serve` leaves a root key in its data folder (--data-dir), unless a bootstrap root key is set; \
         `keyrack root-key create` makes another one."
    ))
}
