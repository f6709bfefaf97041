//! What this program has for assistants, tools, prompts and documentation, and how settings speak of them.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use keyrack_http_api::openapi;
use keyrack_mcp_server::{Catalogue, Documents, Prompts, Wish, Wishes};

/// How the texts of keys reach the users of assistants, as the settings say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handing {
    Inline,
    Claim,
    File,
}

/// The tools of this program. They take some milliseconds to make, so who needs none does not ask.
pub(crate) fn catalogue() -> Arc<Catalogue> {
    static CATALOGUE: LazyLock<Arc<Catalogue>> = LazyLock::new(|| Arc::new(Catalogue::new()));
    Arc::clone(&CATALOGUE)
}

/// Titles and descriptions of tools in a file, if they make sense.
///
/// # Errors
/// What is wrong with the file, and where.
pub(crate) fn texts(path: &Path) -> Result<String, String> {
    let file = std::fs::read_to_string(path)
        .map_err(|error| format!("the texts of tools cannot be read: {}: {error}", path.display()))?;
    match Catalogue::new().with_texts(&file) {
        Ok(_) => Ok(file),
        Err(fault) => Err(format!("{}: {fault}", path.display())),
    }
}

/// The prompts that are compiled in, and those of a folder.
///
/// # Errors
/// What of the folder makes no sense: file, line, and what to do.
pub(crate) fn prompts(folder: &Path) -> Result<Arc<Prompts>, String> {
    Prompts::with_folder(folder, &catalogue()).map(Arc::new)
}

/// The documentation of the HTTP API that clients reach at `base`.
pub(crate) fn documents(base: &str) -> Arc<Documents> {
    Arc::new(Documents::new(base, |base| openapi::document(base).to_string()))
}

/// Reads a setting that is a wish: as it was written, if it makes sense.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn wish(wish: Wish, text: &str) -> Result<Option<String>, String> {
    Wishes::default().add(wish, text, &catalogue())?;
    Ok(Some(text.to_owned()))
}
