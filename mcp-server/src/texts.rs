//! Titles and descriptions of tools that an operator wrote in place of ours: translations, and rules of the house.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::hygiene;

/// Characters of a title.
const LONGEST_TITLE: usize = 80;
/// Characters of a description; every conversation pays for it.
const LONGEST_DESCRIPTION: usize = 300;

/// What is said of a tool. What is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
}

/// Reads a file of texts: a JSON object, its members named after tools, each with a `title`, a `description` or both.
///
/// # Errors
/// What is wrong with it, and where.
pub(crate) fn read(file: &str) -> Result<BTreeMap<String, Text>, String> {
    let texts: BTreeMap<String, Text> = serde_json::from_str(file).map_err(|error| {
        format!("{error}; it is a JSON object such as {{\"keys_createKey\": {{\"description\": \"…\"}}}}")
    })?;
    for (tool, text) in &texts {
        let said =
            [("title", &text.title, LONGEST_TITLE), ("description", &text.description, LONGEST_DESCRIPTION)];
        for (member, said, longest) in said {
            let Some(said) = said else { continue };
            if said.trim().is_empty() || said.chars().count() > longest {
                return Err(format!("{tool}.{member} must have from 1 to {longest} characters"));
            }
            if hygiene::line(said, longest) != *said {
                return Err(format!("{tool}.{member} has line breaks, or characters that nobody sees"));
            }
        }
    }
    Ok(texts)
}
