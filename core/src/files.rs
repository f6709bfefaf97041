//! Files that the program makes: for their owner alone, never through a link, replaced whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Creates a folder, and those above it, for its owner alone; one that exists stays as it is.
///
/// # Errors
/// When it cannot be created.
pub fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// What is opened with these options is made for its owner alone, and is no link to something else.
pub fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
        if let Ok(flag) = rustix::fs::OFlags::NOFOLLOW.bits().try_into() {
            options.custom_flags(flag);
        }
    }
    options
}

/// Opens a file that is only locked, and makes it if it is not there. What it holds stays.
///
/// # Errors
/// When it cannot be made, or is a link.
pub fn open_lock(path: &Path) -> io::Result<File> {
    let opened = private(File::options().create(true).append(true)).open(path);
    opened.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// The path with this at its end: what stands beside a file is never the file itself, whatever its name.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Replaces a file, or makes it, with what `write` writes: afterwards all of that is on disk, or what was before.
///
/// # Errors
/// When it cannot be written.
pub fn replace<T>(path: &Path, write: impl FnOnce(File) -> io::Result<(File, T)>) -> io::Result<T> {
    let unfinished = beside(path, ".new");
    let done = write_beside(&unfinished, write)?;
    fs::rename(&unfinished, path)?;
    sync_folder_of(path)?;
    Ok(done)
}

/// Makes a file with what `write` writes: afterwards all of that is on disk, or nothing of that name.
///
/// # Errors
/// When there is something of that name, or it cannot be written.
pub fn make<T>(path: &Path, write: impl FnOnce(File) -> io::Result<(File, T)>) -> io::Result<T> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let unfinished = beside(path, ".new");
    let made = write_beside(&unfinished, write).and_then(|done| {
        name_unless_taken(&unfinished, path)?;
        sync_folder_of(path)?;
        Ok(done)
    });
    if made.is_err() {
        // It is of no use; the reason why not even that can be removed is not the one to tell.
        let _ = remove(&unfinished);
    }
    made
}

fn write_beside<T>(unfinished: &Path, write: impl FnOnce(File) -> io::Result<(File, T)>) -> io::Result<T> {
    remove(unfinished)?;
    let file = private(File::options().create_new(true).write(true)).open(unfinished)?;
    let (file, done) = write(file)?;
    file.sync_all()?;
    Ok(done)
}

/// Gives a file that is written its name.
///
/// # Errors
/// When there is something of that name by now, or the file system does not do it.
pub fn name_unless_taken(unfinished: &Path, path: &Path) -> io::Result<()> {
    // A link is made only if there is nothing of that name.
    match fs::hard_link(unfinished, path) {
        Ok(()) => fs::remove_file(unfinished),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Not every file system has links.
        Err(_) => fs::rename(unfinished, path),
    }
}

/// Removes a file, if it is there: whether it was.
///
/// # Errors
/// When the file system does not let it.
pub fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a rename or a removal in the folder of this path last; only POSIX needs it, and knows how.
///
/// # Errors
/// When the file system does not do it.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return Ok(()),
    };
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let write =
            |text: &'static str| replace(&path, |mut file| file.write_all(text.as_bytes()).map(|()| (file, ())));
        write("first").unwrap();
        // What a kill left is in nobody's way.
        fs::write(beside(&path, ".new"), "half").unwrap();
        write("second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        let failed: io::Result<()> = replace(&path, |_| Err(io::Error::other("the disk is full")));
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
    }

    #[test]
    fn a_file_is_made_whole_or_not_at_all_and_never_in_place_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let write =
            |text: &'static str| make(&path, |mut file| file.write_all(text.as_bytes()).map(|()| (file, ())));
        let failed: io::Result<()> = make(&path, |_| Err(io::Error::other("the disk is full")));
        assert!(failed.is_err() && fs::read_dir(folder.path()).unwrap().next().is_none());
        fs::write(beside(&path, ".new"), "half").unwrap();
        write("first").unwrap();
        assert_eq!(write("second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        // Somebody else makes it meanwhile.
        fs::remove_file(&path).unwrap();
        let late = make(&path, |file| fs::write(&path, "theirs").map(|()| (file, ())));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_made_is_for_the_owner_alone_and_no_link_is_followed() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (victim, lock) = (folder.path().join("victim"), folder.path().join("lock"));
        fs::write(&victim, "kept").unwrap();
        std::os::unix::fs::symlink(&victim, &lock).unwrap();
        assert!(open_lock(&lock).unwrap_err().to_string().contains("lock"));
        assert!(replace(&lock, |file| Ok((file, ()))).is_ok());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept", "the link was replaced, not what it led to");
        assert_eq!(fs::metadata(&lock).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
