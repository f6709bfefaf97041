//! Secrets of the settings: one way to read them, wherever they come from.
//!
//! Every secret here is a single word of visible ASCII characters: root keys travel in a header, master keys are base64.
//! A byte-order mark, a second line or a NUL would become part of a secret that no request could ever carry, so they
//! are refused where they are read. No message shows anything of the secret.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use keyrack_core::keys::secret::Secret;

/// Larger files hold something else.
const LARGEST_FILE: u64 = 64 << 10;

/// Reads a file that holds a secret and nothing else; white space around it does not belong to it.
///
/// # Errors
/// When it cannot be read, which has an [`std::io::Error`] as its cause, or holds no single secret.
pub(crate) fn read_secret(path: &Path) -> anyhow::Result<Secret> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    secret_in(&bytes).map_err(|reason| anyhow!("{} {reason}", path.display()))
}

/// The secret that these bytes are.
///
/// # Errors
/// Says what else they are, as the end of a sentence.
pub(crate) fn secret_in(bytes: &[u8]) -> Result<Secret, String> {
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(format!("is larger than {} KiB, which no secret is", LARGEST_FILE >> 10));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("is written in UTF-16; write it as plain ASCII".to_owned());
    }
    if bytes.starts_with("\u{feff}".as_bytes()) {
        return Err("starts with a byte-order mark; write it without one".to_owned());
    }
    let secret = bytes.trim_ascii();
    if secret.is_empty() {
        return Err("is empty".to_owned());
    }
    let odd = secret.iter().position(|byte| !byte.is_ascii_graphic());
    match odd.map(|at| (at, secret[at])) {
        None => {}
        Some((_, b'\n' | b'\r')) => return Err("has more than one line; a secret is one".to_owned()),
        Some((at, byte)) => {
            let name = match byte {
                b' ' => "a space",
                b'\t' => "a tab",
                0 => "a NUL",
                1..=0x1f | 0x7f => "a control character",
                _ => "a character outside ASCII",
            };
            return Err(format!("has {name} as character {}; a secret has visible ASCII characters only", at + 1));
        }
    }
    let text = std::str::from_utf8(secret).map_err(|_| "is not text".to_owned())?;
    Ok(Secret::from_string(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_word_of_visible_characters() {
        assert_eq!(secret_in(b" planted-0123\r\n").unwrap().expose(), "planted-0123");
        let large = vec![b'x'; 70_000];
        for (bytes, reason) in [
            (&b""[..], "is empty"),
            (b" \n\t\n", "is empty"),
            (b"\xef\xbb\xbfplanted", "byte-order mark"),
            (b"\xff\xfep\0l\0a\0", "UTF-16"),
            (b"\xfe\xff\0p\0l\0a", "UTF-16"),
            (b"planted\nplanted", "more than one line"),
            (b"planted\0", "a NUL as character 8"),
            (b"planted planted", "a space"),
            ("plant\u{e9}d".as_bytes(), "outside ASCII as character 6"),
            ("plan\u{200b}ted".as_bytes(), "outside ASCII"),
            (b"plan\x1b[2Jted", "a control character"),
            (b"planted\xff", "outside ASCII"),
            (&large, "larger than 64 KiB"),
        ] {
            let error = secret_in(bytes).unwrap_err();
            assert!(error.contains(reason), "{bytes:?}: {error}");
            assert!(!error.contains("plan"), "the secret is shown: {error}");
        }
    }

    #[test]
    fn a_file_is_named_and_why_it_cannot_be_read_is_told_apart_from_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let missing = read_secret(&path).unwrap_err();
        assert!(missing.is::<std::io::Error>() && format!("{missing:#}").contains("key"), "{missing:#}");
        std::fs::write(&path, "").unwrap();
        let empty = read_secret(&path).unwrap_err();
        assert!(!empty.is::<std::io::Error>() && empty.to_string().ends_with("key is empty"), "{empty:#}");
    }
}
