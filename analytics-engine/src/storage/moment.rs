//! What is stored at one moment, for backups: a folder of its own, made of links, while a server goes on.

use std::fs;
use std::io;
use std::path::Path;

use super::fault::Fault;
use super::manifest::Manifest;

/// How often files may be replaced while they are linked before something else must be wrong.
const TRIES: usize = 20;

/// Makes a folder that has what is stored in another one at one moment: the names of its files. Where nothing is stored, no
/// folder is made.
///
/// # Errors
/// When files cannot be linked: both folders have to be on one file system.
pub fn link_moment(folder: &Path, into: &Path) -> Result<Vec<String>, Fault> {
    if !Manifest::path(folder).exists() {
        return Ok(Vec::new());
    }
    for _ in 0..TRIES {
        remove_moment(into)?;
        keyrack_core::files::create_private_folder(into).map_err(Fault::of(into))?;
        let manifest = Manifest::load(folder)?;
        let linked = manifest.names().try_for_each(|name| {
            let (from, to) = (folder.join(name), into.join(name));
            fs::hard_link(&from, &to).map_err(Fault::of(&from))
        });
        match linked {
            Ok(()) => {
                manifest.save(into)?;
                let names = manifest.names().map(str::to_owned);
                return Ok(names.chain([super::manifest::NAME.to_owned()]).collect());
            }
            // It was replaced just now, and so was the manifest.
            Err(Fault::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(fault) => return Err(fault),
        }
    }
    let missing = io::Error::new(io::ErrorKind::NotFound, "a file that the manifest names is not there");
    Err(Fault::File { path: folder.to_owned(), source: missing })
}

/// Removes such a folder, if it is there.
fn remove_moment(folder: &Path) -> Result<(), Fault> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::of(folder)(error)),
        _ => Ok(()),
    }
}
