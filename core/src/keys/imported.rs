//! Keys that were issued elsewhere and imported by their hashes.
//!
//! A migration says how those hashes were made. With `sha256` they are what Keyrack itself stores, and
//! such keys verify at once. With `prefixed-api-key` they cover only the last part of a key, so the first
//! verification that names the migration finds the key by that part and stores the hash of the whole key.
//! Until then anyone who knows the last part may choose the rest: that is how those keys were checked
//! before.

use crate::keys::secret::KeyHash;

/// Characters of the secret part that `start` shows.
const SHOWN_CHARACTERS: usize = 4;
/// Longest beginning of an imported key that is taken for a prefix.
const LONGEST_PREFIX: usize = 16;
/// What must follow a prefix, so that showing the beginning gives little of the secret away.
const SHORTEST_SECRET: usize = 16;
/// Characters of `start` that the contract allows.
const LONGEST_START: usize = 50;
/// Shorter imported keys are not shown at all.
const SHORTEST_SHOWN: usize = 8;

/// How the hashes of a migration were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Standard base64 of the SHA-256 of the whole key.
    Sha256,
    /// Keys `<prefix>_<short>_<long>`; lower-case hex of the SHA-256 of `<long>`.
    PrefixedApiKey,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::PrefixedApiKey];

    /// Its name, as stored and as users write it.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::PrefixedApiKey => "github.com/seamapi/prefixed-api-key",
        }
    }

    /// What a hash must be, for people.
    pub const fn form(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "the standard base64 of exactly 32 bytes, or 64 hexadecimal digits",
            Algorithm::PrefixedApiKey => "64 hexadecimal digits",
        }
    }

    /// The hash of nothing in particular.
    pub const fn example(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
            Algorithm::PrefixedApiKey => "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        }
    }

    /// A hash as it is stored: one text for every way to write it. `None` for what is no hash.
    pub fn stored_form(self, hash: &str) -> Option<String> {
        match self {
            Algorithm::Sha256 => {
                let read = KeyHash::from_base64(hash).ok();
                read.or_else(|| long_token_hash(&hash.to_ascii_lowercase())).map(|hash| hash.to_base64())
            }
            Algorithm::PrefixedApiKey => {
                let lower = hash.to_ascii_lowercase();
                long_token_hash(&lower).map(|_| lower)
            }
        }
    }

    /// The algorithm with this name.
    pub fn named(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// The hash of a long token, from its lower-case hex form; `None` for any other text.
pub fn long_token_hash(text: &str) -> Option<KeyHash> {
    let digits = text.as_bytes();
    let mut bytes = [0_u8; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(KeyHash::from_bytes(bytes))
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// A key `<prefix>_<short>_<long>` in its parts; the prefix may hold underscores.
pub(super) struct PrefixedKey<'a> {
    prefix: &'a str,
    /// `<short>_<long>`
    rest: &'a str,
    pub(super) long: &'a str,
}

impl<'a> PrefixedKey<'a> {
    pub(super) fn parse(key: &'a str) -> Option<Self> {
        let (before, long) = key.rsplit_once('_')?;
        let (prefix, _) = before.rsplit_once('_')?;
        Some(PrefixedKey { prefix, rest: &key[prefix.len() + 1..], long })
    }

    pub(super) fn start(&self) -> String {
        let start = format!("{}_{}", self.prefix, first_characters(self.rest));
        start.chars().take(LONGEST_START).collect()
    }
}

fn first_characters(text: &str) -> &str {
    text.char_indices().nth(SHOWN_CHARACTERS).map_or(text, |(end, _)| &text[..end])
}

/// What is shown of an imported key whose form nobody told us: a short beginning that ends in an
/// underscore is a prefix. A key too short to show anything of shows nothing.
pub(super) fn start_of(key: &str) -> String {
    if let Some((prefix, rest)) = key.rsplit_once('_')
        && prefix.chars().count() <= LONGEST_PREFIX
        && rest.chars().count() >= SHORTEST_SECRET
    {
        return format!("{prefix}_{}", first_characters(rest));
    }
    if key.chars().count() >= SHORTEST_SHOWN { first_characters(key).to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::secret;

    #[test]
    fn algorithms_are_known_by_their_names() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
        }
        assert_eq!(Algorithm::named("SHA256"), None);
    }

    #[test]
    fn only_lower_case_hex_of_32_bytes_is_the_hash_of_a_long_token() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(long_token_hash(hex), Some(secret::hash("abc")));
        let upper = hex.to_uppercase();
        for text in ["", "abc", &hex[1..], &format!("{hex}0"), &upper, &"é".repeat(32), &"g".repeat(64)] {
            assert_eq!(long_token_hash(text), None, "{text}");
        }
    }

    #[test]
    fn a_hash_has_one_stored_form_however_it_is_written() {
        let (base64, hex) = (Algorithm::Sha256.example(), Algorithm::PrefixedApiKey.example());
        let upper = hex.to_uppercase();
        for (algorithm, sent, stored) in [
            (Algorithm::Sha256, base64, Some(base64)),
            (Algorithm::Sha256, hex, Some(base64)),
            (Algorithm::Sha256, &upper, Some(base64)),
            (Algorithm::Sha256, "abc", None),
            (Algorithm::Sha256, &base64[..43], None),
            (Algorithm::Sha256, &hex[1..], None),
            (Algorithm::PrefixedApiKey, hex, Some(hex)),
            (Algorithm::PrefixedApiKey, &upper, Some(hex)),
            (Algorithm::PrefixedApiKey, base64, None),
            (Algorithm::PrefixedApiKey, &"é".repeat(32), None),
        ] {
            assert_eq!(algorithm.stored_form(sent).as_deref(), stored, "{algorithm:?}: {sent}");
        }
    }

    #[test]
    fn a_prefixed_key_is_split_from_the_right() {
        for (key, start, long) in [
            ("acme_short123_longtoken", "acme_shor", "longtoken"),
            ("my_co_sh_longtoken", "my_co_sh_l", "longtoken"),
            ("a_b_c", "a_b_c", "c"),
            ("__x", "__x", "x"),
            ("acme_é_ü", "acme_é_ü", "ü"),
        ] {
            let parts = PrefixedKey::parse(key).unwrap();
            assert_eq!((parts.start().as_str(), parts.long), (start, long), "{key}");
        }
        for key in ["", "abc", "acme_long"] {
            assert!(PrefixedKey::parse(key).is_none(), "{key}");
        }
    }

    #[test]
    fn what_is_shown_of_an_imported_key_leaves_its_secret_secret() {
        for (key, start) in [
            ("sk_live_abcdefghijklmnop", "sk_live_abcd"),
            ("abcdefghijklmnop", "abcd"),
            ("legacy_abcdef123456", "lega"),
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_abcd", "AAAA"),
            ("short", ""),
            ("éééééééé", "éééé"),
        ] {
            assert_eq!(start_of(key), start, "{key}");
        }
    }
}
