//! The program's settings: one list, four sources.
//!
//! A flag beats an environment variable, which beats a profile of `keyrack.toml`, which beats its top level. Each setting
//! is declared once, in `list`: `drain-seconds` is `--drain-seconds`, `KEYRACK_DRAIN_SECONDS` and `drain_seconds`. Secrets
//! have no flag for their value, because argument lists are public; they come from the environment, or from a file that
//! the setting `…-file` names.
//!
//! A value that can have no effect is refused, or said: nobody finds out later that a setting never counted.

mod file;
mod flags;
mod hosts;
mod list;
mod oddities;
#[cfg(test)]
mod readme;
mod secrets;
mod server;
mod setting;
mod values;

pub(crate) use flags::{Flags, add_flags};
pub(crate) use list::*;
pub(crate) use secrets::{read_secret, secret_in};
pub(crate) use server::RootKeyFor;
pub(crate) use setting::{Setting, Settings};

use std::env::VarError;
use std::path::Path;

use clap::ArgMatches;
use keyrack_core::retention::Retention;
use keyrack_core::vault::Vault;

use setting::{Facts, Origin};

/// Variables of this project's own tests.
const TEST_VARIABLES: &str = "KEYRACK_TEST_";

impl Settings {
    /// Reads the flags of a command, the environment and the settings file.
    ///
    /// # Errors
    /// Names the unknown entry of the file and the nearest known one, says why the file cannot be read, or which
    /// value makes no sense: before anything is opened or written.
    pub(crate) fn read(matches: &ArgMatches) -> anyhow::Result<Settings> {
        let settings = Settings::read_unchecked(matches)?;
        match settings.faults().into_iter().next() {
            Some(fault) => Err(fault),
            None => Ok(settings),
        }
    }

    /// The same without a look at the values, for whoever wants to hear all that is wrong with them.
    ///
    /// # Errors
    /// Those of the settings file.
    pub(crate) fn read_unchecked(matches: &ArgMatches) -> anyhow::Result<Settings> {
        let mut settings = Settings::default();
        for facts in list::facts() {
            if let Ok(Some(text)) = matches.try_get_one::<String>(facts.name) {
                settings.set(facts, text, Origin::Flag, format!("--{}", facts.name));
                continue;
            }
            let own = facts.variable();
            for name in [Some(own.as_str()), facts.alias].into_iter().flatten() {
                if let Some(text) = settings.variable(facts, name) {
                    settings.set(facts, &text, Origin::Environment, name.to_owned());
                    break;
                }
            }
        }
        // A profile means something to the commands that can be told of one.
        settings.read_file(matches.try_contains_id(PROFILE.facts().name).is_ok())?;
        settings.warn_of_unknown_variables();
        Ok(settings)
    }

    /// The value of an environment variable, if it has one.
    fn variable(&mut self, facts: &Facts, name: &str) -> Option<String> {
        match std::env::var(name) {
            Ok(text) if text.trim().is_empty() && !facts.may_be_empty => {
                // Compose files and scripts set what they have no value for: that is no mistake to stop for.
                self.warnings.push(format!("{name} is empty and counts as not set"));
                None
            }
            Ok(text) => Some(text),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => {
                self.refuse(facts, format!("{name}: is not text in UTF-8"));
                None
            }
        }
    }

    fn warn_of_unknown_variables(&mut self) {
        let known: Vec<String> = list::facts().map(Facts::variable).collect();
        for (name, _) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            let ours = name.starts_with("KEYRACK_") && !name.starts_with(TEST_VARIABLES);
            if ours && !known.contains(&name) {
                let wanted = name.trim_start_matches("KEYRACK_").to_ascii_lowercase().replace('_', "-");
                let names = list::facts().map(|facts| facts.name);
                let nearest = list::nearest(&wanted, names, |known| {
                    format!("KEYRACK_{}", known.replace('-', "_").to_ascii_uppercase())
                });
                self.warnings.push(format!("the variable {name} has no effect{nearest}"));
            }
        }
    }

    /// Reads every value once, so that those that make no sense are found before anything is done. What only clients
    /// act with stops nobody else; they find out when they read it.
    pub(crate) fn faults(&self) -> Vec<anyhow::Error> {
        self.faults_of(|facts| !facts.is_of_clients())
    }

    /// The faults of all settings, whoever uses them.
    pub(crate) fn all_faults(&self) -> Vec<anyhow::Error> {
        self.faults_of(|_| true)
    }

    fn faults_of(&self, is_meant: impl Fn(&Facts) -> bool) -> Vec<anyhow::Error> {
        let meant = SETTINGS.iter().filter(|setting| setting.facts().into_iter().all(&is_meant));
        meant.filter_map(|setting| setting.fault(self)).collect()
    }

    /// Files that hold secrets: those that were named, also by profiles that do not count, and the settings file.
    pub(crate) fn secret_files(&self) -> Vec<&Path> {
        let named = list::pairs().filter_map(|(_, file)| self.text(file).map(Path::new));
        let mut files: Vec<&Path> = named.chain(self.secret_files.iter().map(|file| file.as_path())).collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    /// Where plaintexts of recoverable keys go, if a master key was given.
    ///
    /// # Errors
    /// Says what a master key is, or that one is missing.
    pub(crate) fn vault(&self) -> anyhow::Result<Option<Vault>> {
        let (master, previous) = (self.get(&MASTER_KEY)?, self.get(&MASTER_KEY_PREVIOUS)?);
        Ok(master.map(|master| Vault::new(master, previous)))
    }

    /// How long what nobody can use is kept.
    ///
    /// # Errors
    /// When it is no number of days.
    pub(crate) fn retention(&self) -> anyhow::Result<Retention> {
        Ok(Retention {
            deleted_days: self.get(&DELETED_RETENTION_DAYS)?,
            expired_days: self.get(&EXPIRED_RETENTION_DAYS)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;
    use keyrack_core::ratelimit::counters::memory::DEFAULT_ROOM;

    use super::setting::Shown;
    use super::*;

    fn read(arguments: &[&str]) -> anyhow::Result<Settings> {
        let command = add_flags(Command::new("serve"), Flags::Serve);
        Settings::read(&command.get_matches_from(arguments))
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keyrack.toml");
        std::fs::write(&file, "listen = '127.0.0.1:9001'\ndrain_seconds = 7\n").unwrap();
        let file = file.to_str().unwrap();
        let settings = read(&["serve", "--config", file, "--listen", "127.0.0.1:9002"]).unwrap();
        assert_eq!(settings.get(&LISTEN).unwrap().port(), 9002);
        assert_eq!(settings.get(&DRAIN_SECONDS).unwrap().as_secs(), 7);
        assert_eq!(settings.get(&MCP_CALLS_PER_MINUTE).unwrap(), 300);
    }

    #[test]
    fn a_secret_file_that_is_a_flag_beats_a_secret_from_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let (settings_file, key_file) = (folder.path().join("keyrack.toml"), folder.path().join("key"));
        std::fs::write(&settings_file, "root_key = 'from-the-settings'").unwrap();
        std::fs::write(&key_file, "from-the-flag\n").unwrap();
        let command = add_flags(Command::new("mcp"), Flags::Mcp);
        let read = |flags: &[&str]| {
            let line =
                ["mcp", "--config", settings_file.to_str().unwrap()].into_iter().chain(flags.iter().copied());
            let settings = Settings::read(&command.clone().get_matches_from(line)).unwrap();
            settings.get(&ROOT_KEY).unwrap().unwrap().expose().to_owned()
        };
        assert_eq!(read(&[]), "from-the-settings");
        assert_eq!(read(&["--root-key-file", key_file.to_str().unwrap()]), "from-the-flag");
    }

    #[test]
    fn an_unknown_entry_of_the_file_is_refused_with_the_nearest_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keyrack.toml");
        std::fs::write(&file, "lisen = '127.0.0.1:9001'\n").unwrap();
        let error = read(&["serve", "--config", file.to_str().unwrap()]).unwrap_err().to_string();
        assert!(error.ends_with("unknown entry `lisen`; did you mean `listen`?"), "{error}");
    }

    #[test]
    fn an_unreadable_value_says_where_it_came_from_and_what_is_allowed() {
        let error = read(&["serve", "--listen", "here"]).unwrap_err().to_string();
        assert_eq!(error, "--listen: must be an address and a port, such as 127.0.0.1:8080");
    }

    #[test]
    fn retention_is_never_unless_days_are_set() {
        let retention = |arguments: &[&str]| read(arguments).unwrap().retention().unwrap();
        assert_eq!(retention(&["serve"]), Retention::default());
        let set = retention(&["serve", "--deleted-retention-days", "30", "--expired-retention-days", "1"]);
        assert_eq!(set, Retention { deleted_days: Some(30), expired_days: Some(1) });
        for wrong in ["0", "-1", "36501", "30d", "9223372036854775808"] {
            assert!(read(&["serve", &format!("--deleted-retention-days={wrong}")]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_empty_metrics_address_means_nowhere() {
        let address = |arguments: &[&str]| read(arguments).unwrap().get(&METRICS_LISTEN).unwrap();
        assert_eq!(address(&["serve", "--metrics-listen", ""]), None);
        assert_eq!(address(&["serve", "--metrics-listen", "127.0.0.1:9"]), "127.0.0.1:9".parse().ok());
        assert_eq!(address(&["serve"]), "127.0.0.1:9090".parse().ok());
        assert!(read(&["serve", "--metrics-listen", "9090"]).is_err());
    }

    #[test]
    fn without_values_every_setting_says_its_default_and_has_no_fault() {
        let settings = Settings::default();
        assert!(settings.all_faults().is_empty(), "{:?}", settings.all_faults());
        assert_eq!(settings.get(&RATELIMIT_CELLS).unwrap(), DEFAULT_ROOM);
        for facts in list::facts().filter(|facts| !facts.is_secret) {
            let help = facts.flag().get_help().unwrap().to_string();
            let default = match facts.default {
                Shown::Value(text) | Shown::Words(text) => format!("[default: {text}]"),
                Shown::Nothing => format!("[env: {}]", facts.variable()),
            };
            assert!(help.contains(&default), "{help}");
        }
    }

    #[test]
    fn names_are_unique_and_every_secret_has_a_file() {
        let mut names: Vec<&str> = list::facts().map(|facts| facts.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        for (value, file) in list::pairs() {
            assert_eq!(format!("{}-file", value.name), file.name);
            assert!(value.is_secret && !file.is_secret && value.used_by == file.used_by, "{}", value.name);
        }
        assert_eq!(list::pairs().count(), list::facts().filter(|facts| facts.is_secret).count());
    }
}
