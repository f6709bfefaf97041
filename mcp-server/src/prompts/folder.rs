//! Prompts of an operator, in a folder: files in Markdown, each read once.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use keyrack_core::printable;

use super::{Prompt, file};

/// Files of a folder, and bytes of each.
const MOST_FILES: usize = 100;
const LONGEST_FILE: usize = 16 << 10;
const ENDING: &str = "md";

/// Reads all prompts of a folder, by the names of their files. Files whose names begin with a dot are none.
///
/// # Errors
/// What cannot be read, or makes no sense: file, line, and what to do.
pub(super) fn read(folder: &Path) -> Result<Vec<Prompt>, String> {
    let unreadable = |error: std::io::Error| format!("the folder of prompts cannot be read: {error}");
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            paths.push(path);
        }
        if paths.len() > MOST_FILES {
            return Err(format!("the folder of prompts has more than {MOST_FILES} files"));
        }
    }
    if paths.is_empty() {
        return Err("the folder of prompts has no file; put one in, or leave the setting out".to_owned());
    }
    paths.sort_unstable();
    paths.iter().map(|path| of_file(path)).collect()
}

fn of_file(path: &Path) -> Result<Prompt, String> {
    let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let shown = printable::line(&name).into_owned();
    if path.extension() != Some(OsStr::new(ENDING)) {
        return Err(format!("{shown}: prompts are files that end in .{ENDING}; move it elsewhere"));
    }
    let text = text_of(path).map_err(|what| format!("{shown}: {what}"))?;
    let prompt = file::read(&text).map_err(|fault| format!("{shown}, line {}: {}", fault.line, fault.what))?;
    if path.file_stem() != Some(OsStr::new(&prompt.name)) {
        return Err(format!("{shown}: its `name` is `{0}`; call the file {0}.{ENDING}", prompt.name));
    }
    Ok(prompt)
}

fn text_of(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("it cannot be read: {error}");
    // What is no file, such as a pipe, could keep a reader waiting.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(LONGEST_FILE).unwrap_or(u64::MAX) + 1;
    File::open(path).map_err(unreadable)?.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > LONGEST_FILE {
        return Err(format!("it has more than {LONGEST_FILE} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not text in UTF-8".to_owned())
}
