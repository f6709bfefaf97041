//! What a setting is, and what one run has of them.
//!
//! A [`Setting`] says once how it is named and told of, what counts without a value, and how a value is read and
//! checked. A [`SecretSetting`] is two names of one thing: the secret itself, and a file that holds it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use keyrack_core::keys::secret::Secret;

use super::secrets::{read_secret, secret_in};
use super::values::path;
use crate::printable::is_invisible;

/// Bytes of the longest value: no list of names or addresses is longer.
const LONGEST_VALUE: usize = 16 << 10;

/// Which commands have a setting as a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// Everything that opens the database.
    Data,
    /// `keyrack serve`.
    Serve,
    /// What runs until it is stopped: `keyrack serve` and `keyrack mcp`.
    Running,
    /// Whatever acts with a root key: `keyrack mcp`, and what calls a server.
    Acting,
    /// What calls a server: `keyrack api`.
    Calling,
    /// Every command.
    All,
}

/// How a setting is named and told of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// `drain-seconds`
    pub(super) name: &'static str,
    /// What stands for a value in help, such as `SECONDS`.
    pub(super) value: &'static str,
    pub(super) used_by: For,
    pub(super) default: Shown,
    /// Has no flag, because argument lists are public.
    pub(super) is_secret: bool,
    /// Another environment variable that counts when the setting's own is not there.
    pub(super) alias: Option<&'static str>,
    /// Whether an empty value says something, instead of being no value.
    pub(super) may_be_empty: bool,
    /// Says where in which file to look, so it is not in the file.
    pub(super) chooses: bool,
    /// Says what assistants see: `keyrack mcp`, which serves one, takes it without `mcp-` before its name.
    pub(super) is_wish: bool,
    pub(super) help: &'static str,
}

/// A default, as people read it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shown {
    /// A value that they could have written.
    Value(&'static str),
    Words(&'static str),
    Nothing,
}

impl Facts {
    /// What has no default of its own.
    pub(super) const fn new(name: &'static str, value: &'static str, used_by: For, help: &'static str) -> Facts {
        let (default, alias) = (Shown::Nothing, None);
        Facts {
            name,
            value,
            used_by,
            default,
            is_secret: false,
            alias,
            may_be_empty: false,
            chooses: false,
            is_wish: false,
            help,
        }
    }

    /// The environment variable: `KEYRACK_DRAIN_SECONDS`.
    pub(crate) fn variable(&self) -> String {
        format!("KEYRACK_{}", self.name.replace('-', "_").to_ascii_uppercase())
    }

    /// The name in the settings file: `drain_seconds`.
    pub(super) fn entry(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Whether it says whom to act as, or where: a server without it runs as well.
    pub(super) fn is_of_clients(&self) -> bool {
        matches!(self.used_by, For::Acting | For::Calling)
    }

    /// Whether a profile may hold it.
    pub(super) fn is_of_profiles(&self) -> bool {
        self.is_of_clients() && !self.chooses
    }
}

/// What counts without a value.
pub(super) enum Default<T> {
    /// This text, as if somebody had written it.
    Is(&'static str),
    /// What these words say, and the function finds.
    Means(&'static str, fn(&Settings) -> anyhow::Result<T>),
}

/// A setting that is read as a `T`.
pub(crate) struct Setting<T: 'static> {
    pub(super) facts: Facts,
    default: Default<T>,
    read: fn(&str) -> Result<T, String>,
}

impl<T> Setting<T> {
    /// `read` checks a value; its error says what is allowed, as the end of a sentence.
    pub(super) const fn new(
        name: &'static str,
        value: &'static str,
        used_by: For,
        default: Default<T>,
        read: fn(&str) -> Result<T, String>,
        help: &'static str,
    ) -> Setting<T> {
        let mut facts = Facts::new(name, value, used_by, help);
        facts.default = match &default {
            Default::Is(text) => Shown::Value(text),
            Default::Means(words, _) => Shown::Words(words),
        };
        Setting { facts, default, read }
    }

    pub(super) const fn may_be_empty(mut self) -> Setting<T> {
        self.facts.may_be_empty = true;
        self
    }

    pub(super) const fn wish(mut self) -> Setting<T> {
        self.facts.is_wish = true;
        self
    }

    pub(super) const fn chooses(mut self) -> Setting<T> {
        self.facts.chooses = true;
        self
    }

    pub(crate) const fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// A secret: its text in the environment or the settings file, or the name of a file that holds it.
pub(crate) struct SecretSetting<T: 'static> {
    pub(super) value: Facts,
    pub(super) file: Facts,
    read: fn(Secret) -> Result<T, String>,
    /// Whether it means something beside the other settings.
    check: fn(&Settings) -> Result<(), String>,
}

impl<T> SecretSetting<T> {
    /// `read` checks the secret, and `check` what else it needs; their errors never show it.
    pub(super) const fn new(
        mut value: Facts,
        file: Facts,
        read: fn(Secret) -> Result<T, String>,
        check: fn(&Settings) -> Result<(), String>,
    ) -> SecretSetting<T> {
        value.is_secret = true;
        SecretSetting { value, file, read, check }
    }

    /// The setting that names a file.
    pub(crate) const fn file_facts(&self) -> &Facts {
        &self.file
    }

    /// Which of the two counts, if one is given.
    pub(super) fn counting<'a>(&self, settings: &'a Settings) -> Option<&'a Value> {
        let (value, file) = (settings.values.get(self.value.name), settings.values.get(self.file.name));
        // What is said nearer to this run beats the rest, whichever of the two it is.
        file.filter(|file| value.is_none_or(|value| file.origin < value.origin)).or(value)
    }
}

/// What the list of all settings knows of each.
pub(super) trait Declared: Sync {
    /// Of a secret, those of its value, then those of its file.
    fn facts(&self) -> Vec<&Facts>;

    /// Why what was given makes no sense.
    fn fault(&self, settings: &Settings) -> Option<anyhow::Error>;
}

/// What can be asked for its value.
pub(crate) trait Readable {
    type Value;

    fn value(&self, settings: &Settings) -> anyhow::Result<Self::Value>;
}

impl<T> Readable for Setting<T> {
    type Value = T;

    fn value(&self, settings: &Settings) -> anyhow::Result<T> {
        settings.check_taken(&self.facts)?;
        match (settings.values.get(self.facts.name), &self.default) {
            (Some(value), _) => (self.read)(&value.text).map_err(|reason| anyhow!("{}: {reason}", value.source)),
            (None, Default::Is(text)) => {
                (self.read)(text).map_err(|reason| anyhow!("the default of {}: {reason}", self.facts.name))
            }
            (None, Default::Means(_, find)) => find(settings),
        }
    }
}

impl<T> Readable for SecretSetting<T> {
    type Value = Option<T>;

    fn value(&self, settings: &Settings) -> anyhow::Result<Option<T>> {
        settings.check_taken(&self.value)?;
        settings.check_taken(&self.file)?;
        let Some(value) = self.counting(settings) else { return Ok(None) };
        let fault = |reason: String| anyhow!("{}: {reason}", value.source);
        let secret = if value.name == self.value.name {
            secret_in(value.text.as_bytes()).map_err(fault)?
        } else {
            read_secret(&path(&value.text).map_err(fault)?).with_context(|| value.source.clone())?
        };
        let secret = (self.read)(secret).map_err(fault)?;
        (self.check)(settings).map_err(fault)?;
        Ok(Some(secret))
    }
}

impl<T> Declared for Setting<T> {
    fn facts(&self) -> Vec<&Facts> {
        vec![&self.facts]
    }

    fn fault(&self, settings: &Settings) -> Option<anyhow::Error> {
        self.value(settings).err()
    }
}

impl<T> Declared for SecretSetting<T> {
    fn facts(&self) -> Vec<&Facts> {
        vec![&self.value, &self.file]
    }

    fn fault(&self, settings: &Settings) -> Option<anyhow::Error> {
        self.value(settings).err()
    }
}

/// Where a value comes from; what stands first beats the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Flag,
    Environment,
    /// A profile of the settings file.
    Profile,
    /// The top level of the settings file.
    File,
}

/// A value and where it came from.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) name: &'static str,
    pub(super) text: String,
    pub(super) origin: Origin,
    /// The same for error messages: a flag, a variable, or an entry of a file.
    pub(super) source: String,
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "from {}", self.source)
    }
}

/// The settings of one run.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// What counts; secrets among it, so never print it whole.
    pub(super) values: BTreeMap<&'static str, Value>,
    /// The `url` that each part of the settings file names, whether or not it counts.
    pub(super) urls_of_file: BTreeMap<Origin, Value>,
    /// Files with secrets that the settings file names, and that file itself if it holds one.
    pub(super) secret_files: Vec<PathBuf>,
    /// Why values could not be taken at all, by the names of their settings: whoever reads one is told.
    pub(super) refused: BTreeMap<&'static str, String>,
    pub(super) warnings: Vec<String>,
}

impl Settings {
    /// What a setting says, or its default.
    ///
    /// # Errors
    /// Says where the value is from, and what is allowed.
    pub(crate) fn get<S: Readable>(&self, setting: &S) -> anyhow::Result<S::Value> {
        setting.value(self)
    }

    /// Whether somebody gave a value to a setting.
    pub(crate) fn is_given<T>(&self, setting: &Setting<T>) -> bool {
        self.values.contains_key(setting.facts.name)
    }

    /// A setting as it was given, if it was.
    pub(crate) fn text(&self, facts: &Facts) -> Option<&str> {
        self.values.get(facts.name).map(|value| value.text.as_str())
    }

    /// Where a value is from, for error messages.
    pub(super) fn source(&self, facts: &Facts) -> Option<&str> {
        self.values.get(facts.name).map(|value| value.source.as_str())
    }

    /// What is odd about how the settings were given, and stops nothing.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Notes that a value cannot be taken. The first one, which would have beaten the others, is told.
    pub(super) fn refuse(&mut self, facts: &Facts, fault: String) {
        self.refused.entry(facts.name).or_insert(fault);
    }

    fn check_taken(&self, facts: &Facts) -> anyhow::Result<()> {
        self.refused.get(facts.name).map_or(Ok(()), |fault| Err(anyhow!("{fault}")))
    }

    /// Takes a value, without the white space around it, unless no setting could mean it.
    pub(super) fn set(&mut self, facts: &Facts, text: &str, origin: Origin, source: String) {
        let text = text.trim();
        if text.is_empty() && !facts.may_be_empty {
            self.refuse(facts, format!("{source}: is empty; leave it out instead"));
        } else if text.len() > LONGEST_VALUE {
            self.refuse(facts, format!("{source}: is longer than {LONGEST_VALUE} bytes"));
        } else if let Some((at, odd)) = text.chars().enumerate().find(|(_, character)| is_invisible(*character)) {
            let odd = u32::from(odd);
            self.refuse(facts, format!("{source}: has an invisible character, U+{odd:04X}, at place {}", at + 1));
        } else {
            let value = Value { name: facts.name, text: text.to_owned(), origin, source };
            self.values.insert(facts.name, value);
        }
    }
}
