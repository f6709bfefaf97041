//! The program's settings: one table, three sources.
//!
//! A flag beats an environment variable, which beats `keyrack.toml`. Each setting is named once:
//! `drain-seconds` is `--drain-seconds`, `KEYRACK_DRAIN_SECONDS` and `drain_seconds`. Secrets have no flag
//! for their value, because argument lists are public; they come from the environment, or from a file
//! that the setting `…-file` names.
//!
//! A value that can have no effect is refused, or said: nobody finds out later that a setting never counted.

mod hosts;
mod oddities;
mod secrets;
mod table;
mod values;

pub(crate) use secrets::{read_secret, secret_in};
pub(crate) use table::{Flags, add_flags};

use std::collections::BTreeMap;
use std::env::VarError;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use clap::ArgMatches;

use crate::printable::is_invisible;

use table::{OTHER_VARIABLES, SETTINGS, Setting, TEST_VARIABLES, variable};

/// Bytes of the longest value: no list of names or addresses is longer.
const LONGEST_VALUE: usize = 16 << 10;

/// The settings of one run.
#[derive(Debug)]
pub(crate) struct Settings {
    /// From flags, then the environment, then the file; secrets among them, so never print it whole.
    values: BTreeMap<&'static str, Value>,
    /// Values that could not be taken at all.
    refused: Vec<String>,
    warnings: Vec<String>,
}

/// A value and where it came from, for error messages.
struct Value {
    text: String,
    source: String,
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "from {}", self.source)
    }
}

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
        let mut settings = Settings { values: BTreeMap::new(), refused: Vec::new(), warnings: Vec::new() };
        for setting in SETTINGS {
            if let Ok(Some(text)) = matches.try_get_one::<String>(setting.name) {
                settings.set(setting, text, format!("--{}", setting.name));
                continue;
            }
            let own = variable(setting.name);
            for name in [Some(own.as_str()), setting.alias].into_iter().flatten() {
                if let Some(text) = settings.variable(setting, name) {
                    settings.set(setting, &text, name.to_owned());
                    break;
                }
            }
        }
        settings.read_file()?;
        settings.warn_of_unknown_variables();
        Ok(settings)
    }

    /// The value of an environment variable, if it has one.
    fn variable(&mut self, setting: &Setting, name: &str) -> Option<String> {
        match std::env::var(name) {
            Ok(text) if text.trim().is_empty() && !setting.may_be_empty => {
                // Compose files and scripts set what they have no value for: that is no mistake to stop for.
                self.warnings.push(format!("{name} is empty and counts as not set"));
                None
            }
            Ok(text) => Some(text),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => {
                self.refused.push(format!("{name}: is not text in UTF-8"));
                None
            }
        }
    }

    /// Takes a value, without the white space around it, unless no setting could mean it.
    fn set(&mut self, setting: &'static Setting, text: &str, source: String) {
        let text = text.trim();
        if text.is_empty() && !setting.may_be_empty {
            self.refused.push(format!("{source}: is empty; leave it out instead"));
        } else if text.len() > LONGEST_VALUE {
            self.refused.push(format!("{source}: is longer than {LONGEST_VALUE} bytes"));
        } else if let Some((at, odd)) = text.chars().enumerate().find(|(_, character)| is_invisible(*character)) {
            let odd = u32::from(odd);
            self.refused.push(format!("{source}: has an invisible character, U+{odd:04X}, at place {}", at + 1));
        } else {
            self.values.insert(setting.name, Value { text: text.to_owned(), source });
        }
    }

    fn read_file(&mut self) -> anyhow::Result<()> {
        let named =
            self.values.get("config").map(|value| (PathBuf::from(&value.text), format!("{}: ", value.source)));
        let is_named = named.is_some();
        let Some((path, source)) = named.or_else(|| Some((default_file()?, String::new()))) else { return Ok(()) };
        let shown = path.display();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => return Ok(()),
            Err(error) => {
                return Err(error).with_context(|| format!("{source}cannot read the settings file {shown}"));
            }
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let table = text.parse::<toml::Table>().map_err(|error| {
            // The error's own text shows the line, which may hold a secret.
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            anyhow!("{source}the settings file {shown} is not valid TOML: line {line}: {}", error.message())
        })?;
        for (entry, value) in table {
            let name = entry.replace('_', "-");
            let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name && name != "config") else {
                bail!("{shown}: unknown entry `{entry}`{}", nearest(&name, |known| known.replace('-', "_")));
            };
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(flag) => flag.to_string(),
                _ => bail!("{shown}: `{entry}` must be a text or a whole number"),
            };
            if !self.values.contains_key(setting.name) {
                self.set(setting, &text, format!("`{entry}` in {shown}"));
            }
        }
        Ok(())
    }

    fn warn_of_unknown_variables(&mut self) {
        let known: Vec<String> = SETTINGS.iter().map(|setting| variable(setting.name)).collect();
        for (name, _) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            let ours = name.starts_with("KEYRACK_") && !name.starts_with(TEST_VARIABLES);
            if ours && !known.contains(&name) && !OTHER_VARIABLES.contains(&name.as_str()) {
                let wanted = name.trim_start_matches("KEYRACK_").to_ascii_lowercase().replace('_', "-");
                self.warnings.push(format!("the variable {name} has no effect{}", nearest(&wanted, variable)));
            }
        }
    }

    /// What is odd about how the settings were given, and stops nothing.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// A setting as it was given, if it was.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.text.as_str())
    }

    /// Reads a setting with `read`, whose error says what is allowed.
    fn parsed<T>(&self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> anyhow::Result<Option<T>> {
        let Some(value) = self.values.get(name) else { return Ok(None) };
        read(&value.text).map(Some).map_err(|reason| anyhow::anyhow!("{}: {reason}", value.source))
    }

    fn number(&self, name: &str, default: u64, range: RangeInclusive<u64>) -> anyhow::Result<u64> {
        let read = |text: &str| {
            let number = text.parse().ok().filter(|number| range.contains(number));
            number.ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
        };
        Ok(self.parsed(name, read)?.unwrap_or(default))
    }
}

fn project_folders() -> Option<directories::ProjectDirs> {
    directories::ProjectDirs::from("", "", "keyrack")
}

fn default_file() -> Option<PathBuf> {
    project_folders().map(|folders| folders.config_dir().join("keyrack.toml"))
}

/// `; did you mean …?` for a name that is close to a setting's.
fn nearest(name: &str, show: impl Fn(&str) -> String) -> String {
    let nearest = SETTINGS
        .iter()
        .map(|setting| (strsim::damerau_levenshtein(name, setting.name), setting.name))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min();
    nearest.map(|(_, known)| format!("; did you mean `{}`?", show(known))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Command;
    use keyrack_core::retention::Retention;

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
        assert_eq!(settings.listen().unwrap().port(), 9002);
        assert_eq!(settings.drain().unwrap().as_secs(), 7);
        assert_eq!(settings.mcp_calls_per_minute().unwrap(), 300);
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
            settings.root_key().unwrap().unwrap().expose().to_owned()
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
        let address = |arguments: &[&str]| read(arguments).unwrap().metrics_listen();
        assert_eq!(address(&["serve", "--metrics-listen", ""]).unwrap(), None);
        let chosen = address(&["serve", "--metrics-listen", "127.0.0.1:9"]).unwrap();
        assert_eq!(chosen, Some(("127.0.0.1:9".parse().unwrap(), true)));
        assert!(read(&["serve", "--metrics-listen", "9090"]).is_err());
    }
}
