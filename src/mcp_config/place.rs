//! Where a client's settings file is on this machine, and putting an entry into it: whole or not at all, with what was
//! there kept beside it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use keyrack_core::clock::Clock;
use keyrack_core::files::{self, create_private_folder};

use super::client::{Client, File};
use super::document::{self, Merged};
use super::entry::Entry;

/// No client's settings are larger.
const LARGEST_FILE: u64 = 32 << 20;

/// A settings file as it is, and whether it is there.
#[derive(Debug)]
pub(super) struct Place {
    /// Where it really is: a link is followed once.
    path: PathBuf,
    before: Option<String>,
}

impl Place {
    /// The client's own settings file, or the one that was named.
    ///
    /// # Errors
    /// When the client has none that is known, or it cannot be read.
    pub(super) fn of(client: &Client, named: Option<&Path>) -> anyhow::Result<Place> {
        let path = match (named, &client.file) {
            (Some(named), _) => std::path::absolute(named)?,
            (None, Some(file)) => on_this_machine(file)?,
            (None, None) => bail!(
                "{} keeps its settings itself, in no file that it documents: leave --write out and paste what is printed ({})",
                client.title,
                client.way
            ),
        };
        Place::read(path)
    }

    fn read(path: PathBuf) -> anyhow::Result<Place> {
        let shown = path.display().to_string();
        if std::fs::symlink_metadata(&path).is_err() {
            return Ok(Place { path, before: None });
        }
        let path = std::fs::canonicalize(&path).with_context(|| format!("{shown} is a link to nothing"))?;
        let facts = std::fs::metadata(&path).with_context(|| format!("cannot read {shown}"))?;
        ensure!(facts.is_file(), "{shown} is no file");
        ensure!(facts.len() <= LARGEST_FILE, "{shown} is too large to be a settings file");
        let before = std::fs::read_to_string(&path).with_context(|| format!("cannot read {shown}"))?;
        Ok(Place { path, before: Some(before) })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it would be with this entry.
    ///
    /// # Errors
    /// When it is no settings file of the client: then it stays as it is.
    pub(super) fn with(&self, client: &Client, entry: &Entry) -> anyhow::Result<Merged> {
        let before = self.before.as_deref().unwrap_or_default();
        document::merged(client, entry, before).map_err(|why| {
            anyhow::anyhow!(
                "{} {why}; it stays as it is: mend it, or paste what is printed without --write",
                self.path.display()
            )
        })
    }

    /// Whether the file is in a working copy of Git, from which a secret could be published.
    pub(super) fn is_in_git(&self) -> bool {
        self.path.ancestors().skip(1).any(|folder| folder.join(".git").exists())
    }

    /// Writes the file for its owner alone, and keeps what was there: where, if there was anything.
    ///
    /// # Errors
    /// When it cannot be written, or changed meanwhile; then it is as it was.
    pub(super) fn write(&self, text: &str) -> anyhow::Result<Option<PathBuf>> {
        let shown = self.path.display();
        let now = Place::read(self.path.clone())?.before;
        ensure!(now == self.before, "{shown} has changed a moment ago: nothing was written, try again");
        if let Some(folder) = self.path.parent() {
            create_private_folder(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let kept = self.before.as_ref().map(|before| (backup_of(&self.path), before));
        if let Some((backup, before)) = &kept {
            files::make(backup, |mut file| file.write_all(before.as_bytes()).map(|()| (file, ())))
                .with_context(|| format!("cannot write {}", backup.display()))?;
        }
        files::replace(&self.path, |mut file| file.write_all(text.as_bytes()).map(|()| (file, ())))
            .with_context(|| format!("cannot write {shown}"))?;
        Ok(kept.map(|(backup, _)| backup))
    }
}

/// Where what is there now will be kept.
fn backup_of(path: &Path) -> PathBuf {
    files::beside(path, &format!(".keyrack-backup-{}", Clock::system().now().get()))
}

fn on_this_machine(file: &File) -> anyhow::Result<PathBuf> {
    if let Some((variable, name)) = file.moved_by
        && let Some(moved) = std::env::var_os(variable).filter(|value| !value.is_empty())
    {
        return Ok(name.map_or_else(|| PathBuf::from(&moved), |name| Path::new(&moved).join(name)));
    }
    let path = match std::env::consts::OS {
        "macos" => file.macos,
        "windows" => file.windows,
        _ => file.linux,
    };
    let folders = directories::BaseDirs::new().context("there is no home folder; name the file: --write=FILE")?;
    let from_home = path.strip_prefix("~/").map(|rest| folders.home_dir().join(rest));
    let from_roaming = || path.strip_prefix("%APPDATA%/").map(|rest| folders.config_dir().join(rest));
    from_home.or_else(from_roaming).context("this client's settings file is in no folder that is known")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn entry() -> Entry {
        Entry { name: "keyrack".to_owned(), server: json!({"url": "https://k/mcp"}), input: None }
    }

    fn put(path: &Path) -> anyhow::Result<Option<PathBuf>> {
        let client = Client::named("cursor").unwrap();
        let place = Place::of(client, Some(path))?;
        place.write(&place.with(client, &entry())?.text)
    }

    #[test]
    fn what_was_there_is_kept_and_the_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/mcp.json");
        assert_eq!(put(&path).unwrap(), None);
        let before = fs::read_to_string(&path).unwrap();
        assert!(before.contains("https://k/mcp"));
        let backup = put(&path).unwrap().unwrap();
        assert_eq!(fs::read_to_string(&backup).unwrap(), before);
        #[cfg(unix)]
        for file in [&path, &backup] {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcp.json");
        fs::write(&path, "{ broken").unwrap();
        let error = put(&path).unwrap_err().to_string();
        assert!(error.contains("mcp.json") && error.contains("stays as it is"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{ broken");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        fs::create_dir(folder.path().join("folder")).unwrap();
        assert!(put(&folder.path().join("folder")).is_err());
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcp.json");
        let client = Client::named("cursor").unwrap();
        let place = Place::of(client, Some(&path)).unwrap();
        fs::write(&path, "{}").unwrap();
        assert!(place.write("{\"mine\": 1}").unwrap_err().to_string().contains("changed"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_goes_on_leading_where_it_led() {
        let folder = tempfile::tempdir().unwrap();
        let (link, real) = (folder.path().join("mcp.json"), folder.path().join("dotfiles.json"));
        fs::write(&real, "{\"mcpServers\": {\"theirs\": {}}}").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        put(&link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let text = fs::read_to_string(&real).unwrap();
        assert!(text.contains("theirs") && text.contains("https://k/mcp"), "{text}");
    }

    #[test]
    fn a_client_without_a_file_is_pasted_into() {
        let error = Place::of(Client::named("jetbrains").unwrap(), None).unwrap_err().to_string();
        assert!(error.contains("paste"), "{error}");
    }
}
