//! Which server is called, and with which root key.
//!
//! The root key comes from a file or from the environment, never from an argument. When nothing is given
//! and the server is on this machine, it is the one that the server's first start left in the data directory.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, value_parser};
use keyrack_core::keys::secret::Secret;

use super::failure::Failure;
use crate::remote::{self, Remote};

const DEFAULT_URL: &str = "http://127.0.0.1:8080";
const URL: &str = "url";
const ROOT_KEY_FILE: &str = "root-key-file";
const DATA_DIR: &str = "data-dir";
/// The second name is the one that the official SDKs read.
const ROOT_KEY_VARIABLES: [&str; 2] = ["KEYRACK_ROOT_KEY", "UNKEY_ROOT_KEY"];

/// The flags, the same for every command.
pub(super) fn arguments() -> [Arg; 3] {
    let common = |name: &'static str, variable: &'static str| {
        Arg::new(name)
            .long(name)
            .env(variable)
            .hide_env_values(true)
            .global(true)
            .help_heading("Connection")
            .value_parser(value_parser!(String))
    };
    [
        common(URL, "KEYRACK_URL").value_name("URL").help(format!("The server to call. Default: {DEFAULT_URL}.")),
        common(ROOT_KEY_FILE, "KEYRACK_ROOT_KEY_FILE").value_name("PATH").help(
            "A file that holds the root key, or - for standard input. Default: the variable KEYRACK_ROOT_KEY \
             (or UNKEY_ROOT_KEY); for a server on this machine, the root-key file of the data directory.",
        ),
        common(DATA_DIR, "KEYRACK_DATA_DIR")
            .value_name("PATH")
            .help("The data directory of a server on this machine. Default: the user's data folder."),
    ]
}

/// The server and the root key that the flags and the environment name.
pub(super) fn connect(matches: &ArgMatches, inputs: &mut super::input::Inputs) -> Result<Remote, Failure> {
    let given = |name: &str| matches.get_one::<String>(name).filter(|text| !text.is_empty());
    let address = given(URL).map_or(DEFAULT_URL, String::as_str);
    let base = remote::parse_base(address).map_err(|what| Failure::Usage(format!("--url {what}")))?;
    let root_key = match given(ROOT_KEY_FILE) {
        Some(path) => inputs.secret("--root-key-file", Some(path))?,
        None => match from_environment(|variable| std::env::var(variable).ok()) {
            Some(root_key) => root_key,
            None if remote::is_loopback(&base) => from_data_dir(given(DATA_DIR).map(Path::new))?,
            None => return Err(no_root_key("the server is not on this machine, so its root-key file is not here")),
        },
    };
    Ok(Remote::new(base, &root_key)?)
}

fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Secret> {
    let texts = ROOT_KEY_VARIABLES.iter().filter_map(|name| variable(name));
    let mut texts = texts.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    texts.next().map(Secret::from_string)
}

fn from_data_dir(data_dir: Option<&Path>) -> Result<Secret, Failure> {
    let path = root_key_file(data_dir).ok_or_else(|| no_root_key("there is no data directory"))?;
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => Ok(Secret::from_string(text.trim().to_owned())),
        Ok(_) => Err(no_root_key(&format!("{} is empty", path.display()))),
        Err(error) => Err(no_root_key(&format!("{} cannot be read ({error})", path.display()))),
    }
}

fn no_root_key(why: &str) -> Failure {
    Failure::NoRootKey(format!(
        "no root key to call with: {why}. Name a file with --root-key-file, or set KEYRACK_ROOT_KEY. The first \
         start of `keyrack serve` leaves a root key in its data directory (--data-dir); `keyrack root-key create` \
         makes another one."
    ))
}

/// Where the first start of a server leaves its root key.
pub(crate) fn root_key_file(data_dir: Option<&Path>) -> Option<PathBuf> {
    let own = || Some(directories::BaseDirs::new()?.data_dir().join("keyrack"));
    Some(data_dir.map(Path::to_path_buf).or_else(own)?.join("root-key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_variable_comes_before_the_one_of_the_sdks() {
        let read = |own: Option<&str>, sdk: Option<&str>| {
            let found = from_environment(|name| if name == "KEYRACK_ROOT_KEY" { own } else { sdk }.map(str::to_owned));
            found.map(|secret| secret.expose().to_owned())
        };
        assert_eq!(read(Some("a\n"), Some("b")).as_deref(), Some("a"));
        assert_eq!(read(Some(""), Some("b")).as_deref(), Some("b"));
        assert_eq!(read(None, None), None);
    }

    #[test]
    fn the_root_key_of_the_data_directory_is_read_or_its_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let Err(Failure::NoRootKey(text)) = from_data_dir(Some(folder.path())) else { panic!("there is none") };
        assert!(text.contains("root-key") && text.contains("keyrack serve"), "{text}");
        std::fs::write(folder.path().join("root-key"), "keyrack_1\n").unwrap();
        assert_eq!(from_data_dir(Some(folder.path())).unwrap().expose(), "keyrack_1");
    }
}
