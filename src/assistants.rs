//! The tools that this program has for assistants, and how settings speak of them.

use std::sync::{Arc, LazyLock};

use keyrack_mcp_server::{Catalogue, Wish, Wishes};

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

/// Reads a setting that is a wish: as it was written, if it makes sense.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn wish(wish: Wish, text: &str) -> Result<Option<String>, String> {
    Wishes::default().add(wish, text, &catalogue())?;
    Ok(Some(text.to_owned()))
}
