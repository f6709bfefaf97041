//! The settings file: settings at its top level, and profiles, of which one may be chosen.
//!
//! A profile is a server to call, a root key and a form of output. Its members beat the top level and lose to flags and
//! the environment.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use toml::{Table, Value as Entry};

use super::list::{CONFIG, PROFILE, URL, facts, nearest, pairs, project_folders};
use super::setting::{Facts, Origin, Settings, Value};

/// The table of profiles.
const PROFILES: &str = "profiles";

/// Settings that one part of the file holds.
struct Part {
    origin: Origin,
    /// ` of profile …`, for those of one.
    place: String,
    /// Each with its name as it was written.
    entries: Vec<(&'static Facts, String, String)>,
}

impl Settings {
    /// Takes what flags and the environment left open from the settings file, if there is one.
    ///
    /// # Errors
    /// Names the entry that is unknown, or why the file cannot be read; lists the profiles if the chosen one is not
    /// among them.
    pub(super) fn read_file(&mut self, takes_profile: bool) -> anyhow::Result<()> {
        let wanted = if takes_profile { self.get(&PROFILE)? } else { None };
        let file = self.settings_file()?;
        let (path, mut table) = file.unwrap_or_default();
        let shown = path.display();
        let profiles = profiles(table.remove(PROFILES), &shown)?;
        let top = Part { origin: Origin::File, place: String::new(), entries: top_level(table, &shown)? };
        self.note_secrets(&path, profiles.iter().map(|(_, profile)| profile).chain([&top]));
        if let Some(name) = wanted {
            let names: Vec<String> = profiles.iter().map(|(name, _)| format!("`{name}`")).collect();
            let Some((_, profile)) = profiles.into_iter().find(|(known, _)| *known == name) else {
                let source = self.source(PROFILE.facts()).unwrap_or_default();
                match names.as_slice() {
                    _ if path.as_os_str().is_empty() => bail!("{source}: there is no settings file with profiles"),
                    [] => bail!("{source}: there is no profile `{name}`: {shown} has no [profiles.{name}]"),
                    _ => bail!("{source}: there is no profile `{name}` in {shown}; it has {}", names.join(", ")),
                }
            };
            self.take(profile, &shown);
        }
        self.take(top, &shown);
        Ok(())
    }

    /// The file that was named, or that of the user if it is there.
    fn settings_file(&self) -> anyhow::Result<Option<(PathBuf, Table)>> {
        let named = self.get(&CONFIG)?;
        let source = self.source(CONFIG.facts()).map(|source| format!("{source}: ")).unwrap_or_default();
        let is_named = named.is_some();
        let Some(path) = named.or_else(default_file) else { return Ok(None) };
        let shown = path.display();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("{source}cannot read the settings file {shown}"));
            }
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let table = text.parse::<Table>().map_err(|error| {
            // The error's own text shows the line, which may hold a secret.
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            anyhow!("{source}the settings file {shown} is not valid TOML: line {line}: {}", error.message())
        })?;
        Ok(Some((path, table)))
    }

    /// Keeps in mind which files hold secrets, whether or not they count.
    fn note_secrets<'a>(&mut self, path: &Path, parts: impl Iterator<Item = &'a Part>) {
        for (facts, _, text) in parts.flat_map(|part| &part.entries) {
            let held = if facts.is_secret { path } else { Path::new(text.trim()) };
            let is_file = pairs().any(|(_, file)| file.name == facts.name);
            if (facts.is_secret || is_file) && !self.secret_files.iter().any(|known| known == held) {
                self.secret_files.push(held.to_owned());
            }
        }
    }

    /// Takes what nothing else has said before.
    fn take(&mut self, part: Part, shown: &dyn Display) {
        let Part { origin, place, entries } = part;
        for (facts, entry, text) in entries {
            let is_taken = self.values.contains_key(facts.name);
            let source = format!("`{entry}`{place} in {shown}");
            if facts.name == URL.facts().name {
                let url = Value { name: facts.name, text: text.trim().to_owned(), origin, source: source.clone() };
                self.urls_of_file.insert(origin, url);
            }
            if !is_taken {
                self.set(facts, &text, origin, source);
            }
        }
    }
}

fn default_file() -> Option<PathBuf> {
    project_folders().map(|folders| folders.config_dir().join("keyrack.toml"))
}

fn top_level(table: Table, shown: &dyn Display) -> anyhow::Result<Vec<(&'static Facts, String, String)>> {
    let known = || facts().filter(|facts| !facts.chooses);
    let read = |(entry, value): (String, Entry)| {
        let name = entry.replace('_', "-");
        let Some(facts) = known().find(|facts| facts.name == name) else {
            let names = known().map(|facts| facts.name).chain([PROFILES]);
            bail!("{shown}: unknown entry `{entry}`{}", nearest(&name, names, |known| known.replace('-', "_")));
        };
        let text = text(value).with_context(|| format!("{shown}: `{entry}` must be a text or a whole number"))?;
        Ok((facts, entry, text))
    };
    table.into_iter().map(read).collect()
}

/// All profiles, in the order of their names. What is wrong in one is wrong for everybody, as at the top level.
fn profiles(entry: Option<Entry>, shown: &dyn Display) -> anyhow::Result<Vec<(String, Part)>> {
    let profiles = match entry {
        None => return Ok(Vec::new()),
        Some(Entry::Table(profiles)) => profiles,
        Some(_) => bail!("{shown}: `{PROFILES}` must be a table of profiles, such as [profiles.staging]"),
    };
    let read = |(name, entry): (String, Entry)| {
        let Entry::Table(members) = entry else {
            bail!("{shown}: `{PROFILES}.{name}` must be a table; write [profiles.{name}] above its members");
        };
        let place = format!(" of profile `{name}`");
        let entries = members.into_iter().map(|(entry, value)| member(entry, value, &place, shown));
        let entries = entries.collect::<anyhow::Result<_>>()?;
        Ok((name, Part { origin: Origin::Profile, place, entries }))
    };
    profiles.into_iter().map(read).collect()
}

fn member(
    entry: String,
    value: Entry,
    place: &str,
    shown: &dyn Display,
) -> anyhow::Result<(&'static Facts, String, String)> {
    let name = entry.replace('_', "-");
    let known = || facts().filter(|facts| facts.is_of_profiles());
    let Some(facts) = known().find(|facts| facts.name == name) else {
        let names: Vec<String> = known().map(|facts| format!("`{}`", facts.entry())).collect();
        let nearest = nearest(&name, known().map(|facts| facts.name), |known| known.replace('-', "_"));
        let all = if nearest.is_empty() { format!("; a profile has {}", names.join(", ")) } else { nearest };
        bail!("{shown}: unknown entry `{entry}`{place}{all}");
    };
    let text =
        text(value).with_context(|| format!("{shown}: `{entry}`{place} must be a text or a whole number"))?;
    Ok((facts, entry, text))
}

fn text(value: Entry) -> Option<String> {
    match value {
        Entry::String(text) => Some(text),
        Entry::Integer(number) => Some(number.to_string()),
        Entry::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}
